//! The open store that a command works on.

use std::any::Any;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use dynamo_lock::store::StoreUrl;
use dynamo_lock::{Client, ClientBuilder, DynamoDb, Sqlite, Store};

use crate::failure::Failure;
use crate::plan::StoreChoice;
use crate::ui::output;

/// An open store and its URL.
#[derive(Debug)]
pub struct OpenStore {
    store: Arc<dyn Store>,
    /// Normalized URL. A nested run compares it with the URL of its own store.
    pub url: String,
}

/// Opens the store. The default store is created on first use, and a message then reports that.
pub async fn open(choice: &StoreChoice) -> Result<OpenStore, Failure> {
    let (store, url) = match choice {
        StoreChoice::Url(url) => (url.open().await?, url.clone()),
        StoreChoice::Default => {
            let sqlite = Sqlite::open_default()?;
            let path = sqlite.path().to_owned();
            if sqlite.created() {
                output::message(&format!(
                    "created {}: its locks exclude only processes of this user on this machine; to lock across \
                     machines, name a table with --table",
                    path.display()
                ));
            }
            (Arc::new(sqlite) as Arc<dyn Store>, StoreUrl::Sqlite { path })
        }
    };
    // The path of the open file replaces the given one, because a file must have one URL even if links lead to it.
    let file = any(&store).downcast_ref::<Sqlite>().map(|sqlite| StoreUrl::Sqlite { path: sqlite.path().to_owned() });
    Ok(OpenStore { url: file.unwrap_or(url).to_string(), store })
}

impl OpenStore {
    /// Returns a builder for a client of this store.
    pub fn client(&self) -> ClientBuilder {
        Client::builder(self.store.clone())
    }

    /// Returns a descriptor for child processes to inherit, or `None` if the store does not support process liveness.
    ///
    /// Other clients see that a child process of the holder is alive while any process has the descriptor open.
    pub fn child_liveness(&self) -> Result<Option<OwnedFd>, Failure> {
        let sqlite = any(&self.store).downcast_ref::<Sqlite>();
        Ok(sqlite.map_or(Ok(None), Sqlite::child_liveness)?)
    }

    /// Returns the DynamoDB table, or a usage error if the store is not one.
    pub fn table(&self) -> Result<&DynamoDb, Failure> {
        any(&self.store)
            .downcast_ref()
            .ok_or_else(|| Failure::usage("this store is a file, not a DynamoDB table: name a table with --table"))
    }
}

fn any(store: &Arc<dyn Store>) -> &dyn Any {
    &**store
}
