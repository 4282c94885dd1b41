//! Stores: where lock rows live. [`Store`] is all that a lock needs of one; its contract is in its documentation, and
//! the `conformance` module checks it.

#[cfg(feature = "dynamodb")]
pub(crate) mod dynamodb;
mod error;
pub(crate) mod memory;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
#[cfg(feature = "config")]
mod url;

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub use dynamo_lock_protocol::{
    Change, Condition, Ends, FencingToken, Lease, LeaseId, Liveness, LockName, NAME_MAX, Number, Op, OpKind, Outcome,
    RecordVersion, Row, ServiceDate, Target, Value, Verdict, apply, attr, holds,
};

#[cfg(feature = "dynamodb")]
pub use self::dynamodb::TableFault;
pub use self::error::{StoreError, StoreErrorCause, StoreErrorKind, StoreOperation};
#[cfg(feature = "config")]
pub use self::url::{DynamoDbUrl, OpenedStore, StoreUrl, UrlError};

#[cfg(feature = "dynamodb")]
pub use crate::error::TableMismatch;

/// A boxed future, so that [`Store`] and `Clock` stay object-safe.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where lock rows live: any store with linearizable conditional writes on single rows.
///
/// # Contract
///
/// - **Writes**: [`write`](Store::write) takes effect exactly as [`apply`] says, atomically, at one instant between call
///   and answer, or not at all. Where it may have taken effect but that is not known, the answer is
///   [`StoreErrorKind::Unanswered`], never a conflict. One call sends one request: no retries inside.
/// - **Answers**: `Applied` brings the row as the write left it; `Conflict` the row as it stood when the condition
///   failed, read together with it.
/// - **Reads**: with [`Consistency::Strong`] a read sees every write that was answered before it began. With
///   [`Consistency::Eventual`] it may be stale, but shows some state that the row was in.
/// - **Attributes** that an op does not name stay as they are, whatever their type.
/// - **Dates**: an answer's `date` comes from the service itself, on this very answer. If in doubt there is none.
/// - **Futures** may be dropped at any time; a dropped write may or may not take effect. They never block the thread.
/// - **Names**: any [`LockName`] is a row of its own, compared by bytes.
pub trait Store: Any + fmt::Debug + Send + Sync {
    /// Reads one row.
    fn read<'a>(&'a self, name: &'a LockName, consistency: Consistency) -> BoxFuture<'a, Answer<Option<Row>>>;

    /// Performs one op: `Ok` with [`Outcome::Applied`] or [`Outcome::Conflict`], else the error that says why not.
    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>>;

    /// One page of all rows, eventually consistent, in any order: those that follow `after`, the cursor of the page
    /// before.
    fn list<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Answer<Page>>;

    /// Whether answers carry the service's `Date`, so that the end of a lease can be told by it.
    fn service_clock(&self) -> bool {
        false
    }

    /// What the rows that are acquired through this handle bear as `liveness_key`: by it [`liveness`](Store::liveness) knows
    /// whether this handle is still there. `None` where there is no such thing: leases decide alone.
    fn liveness_key(&self) -> Option<&str> {
        None
    }

    /// What the row of a [`hold`](crate::Lock::hold) bears as `liveness_key` that begins now, whoever lives: by it
    /// [`liveness`](Store::liveness) knows when that is over. `None` where no clock is everybody's: leases decide alone.
    fn hold_liveness_key(&self, duration: Duration) -> Option<String> {
        let _ = duration;
        None
    }

    /// Whether the handle whose rows bear this `liveness_key` is still there. It looks after it was called, and does not wait.
    ///
    /// [`Liveness::Dead`] is a promise: no guard that was acquired through that handle is in any process, now or later; a hold
    /// is over by every clock of a holder.
    /// Whoever cannot be sure of that says [`Liveness::Unknown`].
    fn liveness(&self, liveness_key: &str) -> Liveness {
        let _ = liveness_key;
        Liveness::Unknown
    }
}

/// What a client can be built on: a store, or one that is shared already, as `StoreUrl::open` returns it.
pub trait IntoStore {
    /// The store, shared.
    fn into_store(self) -> Arc<dyn Store>;
}

impl<S: Store> IntoStore for S {
    fn into_store(self) -> Arc<dyn Store> {
        Arc::new(self)
    }
}

impl IntoStore for Arc<dyn Store> {
    fn into_store(self) -> Arc<dyn Store> {
        self
    }
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Consistency {
    /// Sees every write that was answered before the read began.
    Strong,
    /// May be stale. Half the price on DynamoDB, and enough for a waiter.
    Eventual,
}

/// A store's answer to one request.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    /// What it says, or why it says nothing.
    pub result: Result<T, StoreError>,
    /// The service's `Date` on this very answer.
    pub date: Option<ServiceDate>,
}

impl<T> From<Result<T, StoreError>> for Answer<T> {
    /// An answer without a date.
    fn from(result: Result<T, StoreError>) -> Self {
        Self { result, date: None }
    }
}

/// One page of a listing.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Names and rows. Names are whatever is in the table, so plain text.
    pub rows: Vec<(String, Row)>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}
