//! Store URLs.
use super::{Store, StoreError};
use std::sync::Arc;

/// Why a store could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The store said so.
    Store(StoreError),
}

/// Opens a store.
///
/// # Errors
/// [`OpenError`].
pub async fn open(_url: &str) -> Result<Arc<dyn Store>, OpenError> {
    Err(OpenError::Store(StoreError::new(super::StoreErrorKind::Misconfigured, "not there yet")))
}
