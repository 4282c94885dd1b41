use std::error::Error;
use std::sync::Arc;

use crate::store::{BoxFuture, LockName, Row, Store};

/// Error of [`StoreUnderTest::insert_raw`].
pub type InsertError = Box<dyn Error + Send + Sync>;

/// Store under test, and direct access to its rows.
pub trait StoreUnderTest: Send + Sync {
    /// Returns the store.
    fn store(&self) -> Arc<dyn Store>;

    /// Returns a second handle to the same rows, as separate from the first one as possible: with another connection or
    /// in another process, rather than a clone. May return the same handle as [`store`](Self::store).
    fn other(&self) -> Arc<dyn Store>;

    /// Replaces a row without a condition, as another program would. `None` deletes the row. After the future has
    /// completed, strong reads through both handles return this row.
    fn insert_raw<'a>(&'a self, name: &'a LockName, row: Option<Row>) -> BoxFuture<'a, Result<(), InsertError>>;
}
