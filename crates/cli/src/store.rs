//! The store that was chosen, opened.

use std::any::Any;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use dynamo_lock::store::StoreUrl;
use dynamo_lock::{Client, ClientBuilder, DynamoDb, Sqlite, Store};

use crate::exit::Failure;
use crate::plan::Choice;
use crate::print;

/// An open store and its address, in the one form that a nested run compares.
#[derive(Debug)]
pub struct Open {
    store: Arc<dyn Store>,
    pub url: String,
}

/// Opens it. The default one is created on first use, and that is said once.
pub async fn open(choice: &Choice) -> Result<Open, Failure> {
    let (store, url) = match choice {
        Choice::Url(url) => (url.open().await?, url.clone()),
        Choice::Default => {
            let sqlite = Sqlite::open_default()?;
            let path = sqlite.path().to_owned();
            if sqlite.created() {
                print::line(&format!(
                    "created {}: it guards this user on this machine; for more machines name a table with --table",
                    path.display()
                ));
            }
            (Arc::new(sqlite) as Arc<dyn Store>, StoreUrl::Sqlite { path })
        }
    };
    // One file has one address, whatever links lead to it.
    let file = any(&store).downcast_ref::<Sqlite>().map(|sqlite| StoreUrl::Sqlite { path: sqlite.path().to_owned() });
    Ok(Open { url: file.unwrap_or(url).to_string(), store })
}

impl Open {
    /// Begins a client on it.
    pub fn client(&self) -> ClientBuilder {
        Client::builder(self.store.clone())
    }

    /// By what others see that something we start still lives, where the kernel tells: its descriptor is to be inherited.
    pub fn child_liveness(&self) -> Result<Option<OwnedFd>, Failure> {
        let sqlite = any(&self.store).downcast_ref::<Sqlite>();
        Ok(sqlite.map_or(Ok(None), Sqlite::child_liveness)?)
    }

    /// The table, if it is one.
    pub fn table(&self) -> Result<&DynamoDb, Failure> {
        any(&self.store)
            .downcast_ref()
            .ok_or_else(|| Failure::usage("this store is a file, not a DynamoDB table: name one with --table"))
    }
}

fn any(store: &Arc<dyn Store>) -> &dyn Any {
    &**store
}
