use std::path::PathBuf;
use std::sync::Arc;

use super::store_url::{DynamoDbUrl, StoreUrl};
#[cfg(feature = "dynamodb")]
use crate::DynamoDb;
use crate::Memory;
#[cfg(feature = "sqlite")]
use crate::Sqlite;
use crate::store::{IntoStore, Store, StoreError, StoreErrorKind, StoreOperation};

/// Store that [`StoreUrl::open`] has opened. [`Client::builder`](crate::Client::builder) accepts it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum OpenedStore {
    /// Memory of this process.
    Memory(Memory),
    /// SQLite file.
    #[cfg(feature = "sqlite")]
    Sqlite(Sqlite),
    /// DynamoDB table.
    #[cfg(feature = "dynamodb")]
    DynamoDb(DynamoDb),
}

impl IntoStore for OpenedStore {
    fn into_store(self) -> Arc<dyn Store> {
        match self {
            Self::Memory(store) => store.into_store(),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(store) => store.into_store(),
            #[cfg(feature = "dynamodb")]
            Self::DynamoDb(store) => store.into_store(),
        }
    }
}

impl StoreUrl {
    /// Opens the store. Sends no request to a table.
    ///
    /// # Errors
    /// [`Misconfigured`](StoreErrorKind::Misconfigured) if the store cannot be opened, or if this program was
    /// built without it.
    ///
    /// # Cancel safety
    /// May be dropped at any time. A database file may then have been created.
    pub async fn open(&self) -> Result<OpenedStore, StoreError> {
        match self {
            Self::Memory => Ok(OpenedStore::Memory(Memory::new())),
            Self::Sqlite { path } => open_sqlite(path.clone()).await,
            Self::DynamoDb(url) => open_dynamodb(url).await,
        }
    }
}

#[cfg(not(all(feature = "sqlite", feature = "dynamodb")))]
fn not_built(store: &str, feature: &str) -> StoreError {
    let problem = format!("this program was built without {store}");
    StoreError::new(StoreErrorKind::Misconfigured, problem)
        .with_operation(StoreOperation::Open)
        .with_fix(format!("build it with the feature `{feature}`"))
}

#[cfg(feature = "sqlite")]
async fn open_sqlite(path: PathBuf) -> Result<OpenedStore, StoreError> {
    // Opening may block while another process creates the same database.
    let opened = tokio::task::spawn_blocking(move || Sqlite::open(path)).await;
    let opened = opened.map_err(|_| {
        StoreError::new(StoreErrorKind::Misconfigured, "opening the lock database was interrupted")
            .with_operation(StoreOperation::Open)
            .with_fix("try again")
    })?;
    opened.map(OpenedStore::Sqlite)
}

#[cfg(not(feature = "sqlite"))]
async fn open_sqlite(_: PathBuf) -> Result<OpenedStore, StoreError> {
    Err(not_built("the embedded store", "sqlite"))
}

#[cfg(feature = "dynamodb")]
async fn open_dynamodb(url: &DynamoDbUrl) -> Result<OpenedStore, StoreError> {
    DynamoDb::open(url).await.map(OpenedStore::DynamoDb)
}

#[cfg(not(feature = "dynamodb"))]
async fn open_dynamodb(_: &DynamoDbUrl) -> Result<OpenedStore, StoreError> {
    Err(not_built("DynamoDB", "dynamodb"))
}
