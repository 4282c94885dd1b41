//! What a client is made of, as `lib/settings.js` says it, and the store that this opens.

use std::sync::Arc;
use std::time::Duration;

use aws_config::default_provider::region::DefaultRegionChain;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::config::Builder;
use aws_smithy_types::timeout::TimeoutConfig;
use dynamo_lock::store::StoreUrl;
use dynamo_lock::{Client, ConfigError, DynamoDb, Memory, Store, StoreError, StoreErrorKind};
use serde_json::Value as Json;

use crate::bridge::{Db, Provider, credentials};
use crate::failure::Failure;
use crate::port::Port;

/// How long to look for a Region: what is beyond environment and files is the metadata service of EC2, which answers in
/// milliseconds where there is one.
const REGION_LIMIT: Duration = Duration::from_secs(2);

/// Checked by JavaScript; what is not there keeps its default.
pub(crate) struct Settings(Json);

/// A store, opened, and its table if it is one.
pub(crate) struct Opened {
    pub(crate) client: Client,
    pub(crate) table: Option<DynamoDb>,
}

impl Settings {
    /// # Errors
    /// One line that says which value cannot be, and what can.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let settings = Self(serde_json::from_str(text).map_err(|error| error.to_string())?);
        // The values are checked now, the store is opened when it is needed.
        settings.build(Arc::new(Memory::new())).map_err(|error| error.to_string())?;
        Ok(settings)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0[name].as_str()
    }

    fn millis(&self, name: &str) -> Option<Duration> {
        millis(&self.0[name])
    }

    fn build(&self, store: Arc<dyn Store>) -> Result<Client, ConfigError> {
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
        if let Some(on) = self.0["serviceClock"].as_bool() {
            builder = builder.service_clock(on);
        }
        builder.build()
    }

    pub(crate) async fn open(&self, port: &Arc<Port>) -> Result<Opened, Failure> {
        if let Some(url) = self.text("url") {
            let url = StoreUrl::parse(url)?;
            let store = url.open().await?;
            let table = match url {
                StoreUrl::DynamoDb(_) => downcast(&store),
                _ => None,
            };
            return Ok(Opened { client: self.build(store)?, table });
        }
        let table = self.text("table").unwrap_or_default();
        let mut store = DynamoDb::new(self.sdk(port).await?, table);
        if let Some(key) = self.text("partitionKey") {
            store = store.partition_key(key);
        }
        if let Some(timeout) = self.millis("timeoutMs") {
            store = store.attempt_timeout(timeout);
        }
        Ok(Opened { client: self.build(Arc::new(store.clone()))?, table: Some(store) })
    }

    async fn sdk(&self, port: &Arc<Port>) -> Result<aws_sdk_dynamodb::Client, StoreError> {
        if self.0["db"].as_bool() == Some(true) {
            let mut config = aws_sdk_dynamodb::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                // Nothing leaves here: `db` has an address of its own, and signs.
                .endpoint_url("http://db.invalid")
                .allow_no_auth()
                .http_client(Db(Arc::downgrade(port)));
            // For messages alone; a client of SDK v3 does not say it.
            config.set_region(self.text("region").map(|region| Region::new(region.to_owned())));
            return Ok(aws_sdk_dynamodb::Client::from_conf(config.build()));
        }
        let region = match self.text("region") {
            Some(region) => Region::new(region.to_owned()),
            None => find_region().await?,
        };
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).region(region);
        if let Some(fixed) = credentials(&self.0["credentials"]) {
            loader = loader.credentials_provider(SharedCredentialsProvider::new(fixed));
        } else if self.0["askForCredentials"].as_bool() == Some(true) {
            loader = loader.credentials_provider(SharedCredentialsProvider::new(Provider(port.clone())));
        }
        if let Some(on) = self.0["useFips"].as_bool() {
            loader = loader.use_fips(on);
        }
        if let Some(on) = self.0["useDualStack"].as_bool() {
            loader = loader.use_dual_stack(on);
        }
        let mut config = Builder::from(&loader.load().await);
        if let Some(endpoint) = self.text("endpoint") {
            // For the table alone: the services that give credentials stay where they are.
            config = config.endpoint_url(endpoint);
        }
        if let Some(connect) = self.millis("connectTimeoutMs") {
            config = config.timeout_config(TimeoutConfig::builder().connect_timeout(connect).build());
        }
        Ok(aws_sdk_dynamodb::Client::from_conf(config.build()))
    }
}

fn downcast(store: &Arc<dyn Store>) -> Option<DynamoDb> {
    let store: &dyn std::any::Any = &**store;
    store.downcast_ref::<DynamoDb>().cloned()
}

/// Whole or not, never negative.
pub(crate) fn millis(json: &Json) -> Option<Duration> {
    json.as_f64().and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok())
}

#[allow(clippy::disallowed_methods)] // an ordinary timeout, which no lease depends on
async fn find_region() -> Result<Region, StoreError> {
    let chain = DefaultRegionChain::builder().build();
    let found = tokio::select! {
        biased;
        found = chain.region() => found,
        () = tokio::time::sleep(REGION_LIMIT) => None,
    };
    found.ok_or_else(|| {
        StoreError::new(StoreErrorKind::Misconfigured, "no AWS Region is configured")
            .with_fix("set `region` in awsConfig, AWS_REGION, or `region` in the AWS profile")
    })
}
