//! Configuration of the AWS SDK from the settings of a client.

use std::sync::Arc;

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{Builder, Config};
use aws_smithy_types::timeout::TimeoutConfig;
use dynamo_lock::{DynamoDb, StoreError};

use crate::{credentials, db::Db, port::Port, settings::Settings};

/// Returns an SDK client for the user's `db`, or for `awsConfig` completed from the environment.
///
/// # Errors
/// Misconfigured if no Region is configured, or a configured file is not readable.
pub(crate) async fn client(settings: &Settings, port: &Arc<Port>) -> Result<Client, StoreError> {
    if settings.flag("db") == Some(true) {
        return Ok(client_over_db(settings, port));
    }
    let region = settings.text("region").map(|region| Region::new(region.to_owned()));
    let region_fix = "set `region` in awsConfig, AWS_REGION, or `region` in the AWS profile";
    let mut loader = DynamoDb::config_loader(region, None, region_fix).await?;
    if let Some(fixed) = credentials::from_json(settings.value("credentials")) {
        loader = loader.credentials_provider(SharedCredentialsProvider::new(fixed));
    } else if settings.flag("credentialsProvider") == Some(true) {
        let provider = credentials::Provider(Arc::downgrade(port));
        loader = loader.credentials_provider(SharedCredentialsProvider::new(provider));
    }
    if let Some(on) = settings.flag("useFips") {
        loader = loader.use_fips(on);
    }
    if let Some(on) = settings.flag("useDualStack") {
        loader = loader.use_dual_stack(on);
    }
    let mut config = Builder::from(&loader.load().await);
    if let Some(endpoint) = settings.text("endpoint") {
        // Set only on the DynamoDB client, because STS and SSO must keep their own endpoints.
        config = config.endpoint_url(endpoint);
    }
    if let Some(connect) = settings.millis("connectTimeoutMs") {
        config = config.timeout_config(TimeoutConfig::builder().connect_timeout(connect).build());
    }
    Ok(Client::from_conf(config.build()))
}

fn client_over_db(settings: &Settings, port: &Arc<Port>) -> Client {
    let mut config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        // The SDK requires an endpoint. No request is sent to it, because `db` has its own endpoint and signs its
        // requests.
        .endpoint_url("http://db.invalid")
        .allow_no_auth()
        .http_client(Db(Arc::downgrade(port)));
    // Only used in messages. Unknown for a client of SDK v3.
    config.set_region(settings.text("region").map(|region| Region::new(region.to_owned())));
    Client::from_conf(config.build())
}
