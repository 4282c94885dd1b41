use super::{Row, ServiceDate, StoreError};

/// Consistency of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Consistency {
    /// The read sees every write that was answered before the read began.
    Strong,
    /// The read may return an older state. On DynamoDB it costs half as much, and suffices for a waiter.
    Eventual,
}

/// Answer of a store to one request.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    /// Result of the request.
    pub result: Result<T, StoreError>,
    /// `Date` that the service has set in this answer, `None` if there is none or the store has no service clock.
    pub date: Option<ServiceDate>,
}

impl<T> From<Result<T, StoreError>> for Answer<T> {
    /// Returns an answer without a date.
    fn from(result: Result<T, StoreError>) -> Self {
        Self { result, date: None }
    }
}

/// Page of a listing.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Names and rows. A name may be invalid as a [`LockName`](super::LockName), because other programs can write to
    /// the table.
    pub rows: Vec<(String, Row)>,
    /// Cursor of the next page, for [`Store::list`](super::Store::list). `None` on the last page.
    pub next: Option<String>,
}
