use std::sync::Arc;

use super::StoreUrl;
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
    /// Opens the store. Sends no request to a table. Call it on a tokio runtime with time enabled,
    /// because it may panic elsewhere.
    ///
    /// - `memory:`: each call returns a new, empty store.
    /// - `sqlite:`: the file is opened or created as by `Sqlite::open`. The wait for other processes does not block the
    ///   runtime.
    /// - `dynamodb:`: AWS's configuration files are read. A Region that neither the URL nor the configuration contains
    ///   is requested from the EC2 metadata service, for up to two seconds. The table is not checked; see
    ///   `DynamoDb::check_table`.
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
            #[cfg(feature = "sqlite")]
            Self::Sqlite { path } => {
                let path = path.clone();
                // Opening may block while another process creates the same database. `spawn_blocking` would panic if
                // the system has no thread left.
                let (result, opened) = tokio::sync::oneshot::channel();
                let open = move || drop(result.send(Sqlite::open(path)));
                let started = std::thread::Builder::new().name("dynamo-lock-open".to_owned()).spawn(open);
                started.map_err(|error| no_thread(error).with_operation(StoreOperation::Open))?;
                let interrupted = |_| not_opened("opening the lock database was interrupted", "try again");
                let opened = opened.await;
                opened.map_err(interrupted)?.map(OpenedStore::Sqlite)
            }
            #[cfg(not(feature = "sqlite"))]
            Self::Sqlite { .. } => {
                let problem = "this program was built without the embedded store";
                Err(not_opened(problem, "build it with the feature `sqlite`"))
            }
            #[cfg(feature = "dynamodb")]
            Self::DynamoDb(url) => DynamoDb::open(url).await.map(OpenedStore::DynamoDb),
            #[cfg(not(feature = "dynamodb"))]
            Self::DynamoDb(_) => {
                Err(not_opened("this program was built without DynamoDB", "build it with the feature `dynamodb`"))
            }
        }
    }
}

#[cfg(feature = "sqlite")]
fn no_thread(error: std::io::Error) -> StoreError {
    let problem = format!("cannot start a thread that opens the lock database: {error}");
    crate::store::sqlite::error::from_io(problem, "check the limits of this system", error)
}

fn not_opened(problem: &str, fix: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Misconfigured, problem).with_operation(StoreOperation::Open).with_fix(fix)
}
