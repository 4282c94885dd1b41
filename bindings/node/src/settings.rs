//! Settings of a client, as `lib/settings.js` sends them, and the store that they describe.

use std::{sync::Arc, time::Duration};

use dynamo_lock::store::{IntoStore, OpenedStore, StoreUrl, check_partition_key};
use dynamo_lock::{Client, ClientBuilder, DynamoDb, Memory};
use serde_json::Value as Json;

use crate::{aws, events::Events, failure::Failure, port::Port};

/// Settings as JSON. JavaScript has checked the types; a missing setting has its default.
pub(crate) struct Settings(Json);

/// A client with its store.
pub(crate) struct Opened {
    pub(crate) client: Client,
    /// The DynamoDB table, unless the client uses another store.
    pub(crate) table: Option<DynamoDb>,
}

impl Settings {
    /// Parses and checks settings. The store is opened later, by the first call that needs it.
    ///
    /// # Errors
    /// A one-line message that names the invalid value and the valid ones.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let settings = Self(serde_json::from_str(text).map_err(|error| error.to_string())?);
        settings.builder(Memory::new()).build().map_err(|error| error.to_string())?;
        settings.text("partitionKey").map_or(Ok(()), check_partition_key).map_err(|error| error.to_string())?;
        Ok(settings)
    }

    pub(crate) fn value(&self, name: &str) -> &Json {
        &self.0[name]
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0[name].as_str()
    }

    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.0[name].as_bool()
    }

    pub(crate) fn millis(&self, name: &str) -> Option<Duration> {
        millis(&self.0[name])
    }

    fn builder(&self, store: impl IntoStore) -> ClientBuilder {
        let mut builder = Client::builder(store);
        if let Some(owner) = self.text("owner") {
            builder = builder.owner(owner);
        }
        if let Some(lease) = self.millis("leaseMs") {
            builder = builder.lease(lease);
        }
        if let Some(heartbeat) = self.millis("heartbeatMs") {
            builder = builder.heartbeat(heartbeat);
        }
        if let Some(skew) = self.millis("legacySkewMs") {
            builder = builder.legacy_skew(skew);
        }
        if let Some(on) = self.flag("serviceClock") {
            builder = builder.service_clock(on);
        }
        builder
    }

    /// Opens the store of these settings.
    ///
    /// # Errors
    /// A failure if the store cannot be opened or no Region is configured.
    pub(crate) async fn open(&self, port: &Arc<Port>, events: Events) -> Result<Opened, Failure> {
        let store = match self.text("url") {
            Some(url) => StoreUrl::parse(url).map_err(Failure::argument)?.open().await?,
            None => {
                let name = self.text("table").unwrap_or_default();
                let mut table = DynamoDb::new(aws::client(self, port).await?, name);
                if let Some(key) = self.text("partitionKey") {
                    table = table.partition_key(key).map_err(Failure::argument)?;
                }
                if let Some(timeout) = self.millis("timeoutMs") {
                    table = table.attempt_timeout(timeout);
                }
                OpenedStore::DynamoDb(table)
            }
        };
        let table = match &store {
            OpenedStore::DynamoDb(table) => Some(table.clone()),
            _ => None,
        };
        let client = self.builder(store).observer(events).build().map_err(Failure::argument)?;
        Ok(Opened { client, table })
    }
}

/// Returns a number of milliseconds as a duration, or `None` if it is missing or negative. Fractions are kept.
pub(crate) fn millis(json: &Json) -> Option<Duration> {
    json.as_f64().and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok())
}
