//! The open store that a command works on.

use std::{io, os::fd::OwnedFd, sync::Arc};

use dynamo_lock::store::{IntoStore as _, OpenedStore, Store, StoreUrl};
use dynamo_lock::{Client, ClientBuilder, DynamoDb, Sqlite};
use tokio::runtime::Handle;

use crate::{exit, failure::Failure, plan, ui::output};

/// An open store and its URL.
#[derive(Debug)]
pub struct OpenStore {
    store: OpenedStore,
    /// Normalized URL. A nested run compares it with the URL of its own store.
    pub url: String,
}

/// Opens the store, or the default store without a URL. The default store is created on first use, and a message then
/// reports that.
pub async fn open(url: Option<StoreUrl>) -> Result<OpenStore, Failure> {
    if let Some(StoreUrl::DynamoDb(_)) = &url {
        reserve_thread()?;
    }
    let store = match &url {
        // Nothing else runs yet, so that it may block and needs no thread.
        Some(StoreUrl::Sqlite { path }) => OpenedStore::Sqlite(Sqlite::open(path)?),
        Some(url) => url.open().await?,
        None => {
            let sqlite = Sqlite::open_default()?;
            if sqlite.created() {
                output::message(&format!(
                    "created {}: its locks exclude only processes of this user on this machine; to lock across \
                     machines, name a table with --table",
                    sqlite.path().display()
                ));
            }
            OpenedStore::Sqlite(sqlite)
        }
    };
    let url = match &store {
        // The path of the open file replaces the given one, so that a file has one URL even if links lead to it.
        OpenedStore::Sqlite(sqlite) => StoreUrl::Sqlite { path: sqlite.path().to_owned() }.to_string(),
        _ => url.map(|url| url.to_string()).unwrap_or_default(),
    };
    Ok(OpenStore { store, url })
}

/// Starts the thread on which requests look up host names.
pub fn reserve_thread() -> Result<(), Failure> {
    let reserve = || dynamo_lock::reserve_thread(&Handle::current());
    let reserved = exit::catch_panic(reserve).unwrap_or_else(|message| Err(io::Error::other(message)));
    reserved.map_err(|error| {
        Failure::internal(format!("cannot start a thread for requests: {error}; try again with less load"))
    })
}

impl OpenStore {
    /// Returns a builder for a client of this store.
    pub fn client(&self) -> ClientBuilder {
        Client::builder(self.store.clone())
    }

    /// Returns the store itself.
    pub fn shared(&self) -> Arc<dyn Store> {
        self.store.clone().into_store()
    }

    /// Returns a descriptor for child processes to inherit, or `None` if the store does not support process liveness.
    ///
    /// Other clients see that a child process of the holder is alive while any process has the descriptor open.
    pub fn child_liveness(&self) -> Result<Option<OwnedFd>, Failure> {
        let OpenedStore::Sqlite(sqlite) = &self.store else { return Ok(None) };
        Ok(sqlite.child_liveness()?)
    }

    /// Returns whether requests wait for the provider of AWS credentials.
    pub fn is_waiting_for_credentials(&self) -> bool {
        matches!(&self.store, OpenedStore::DynamoDb(table) if table.ready().is_some())
    }

    /// Returns the DynamoDB table, or a usage error if the store is not one.
    pub fn table(&self) -> Result<&DynamoDb, Failure> {
        match &self.store {
            OpenedStore::DynamoDb(table) => Ok(table),
            _ => Err(plan::not_a_table()),
        }
    }
}
