//! AWS configuration of a table that is given by a URL.

use std::{error::Error, time::Duration};

use aws_config::profile::{self, ProfileFileCredentialsProvider};
use aws_config::{BehaviorVersion, Region};
use aws_config::{default_provider::region::DefaultRegionChain, provider_config::ProviderConfig};
use aws_types::os_shim_internal::{Env, Fs};

use super::{DynamoDb, error::missing_region};
use crate::clock::{SystemClock, timeout};
use crate::store::{DynamoDbUrl, StoreError, StoreErrorKind, StoreOperation, error::one_line};

/// Time limit for finding the Region. Environment and files take no time. The EC2 metadata service responds within
/// milliseconds where it exists, and elsewhere would delay the error for many seconds.
const REGION_LIMIT: Duration = Duration::from_secs(2);

impl DynamoDb {
    /// Returns the Region of AWS's default chain: environment, then `profile` or the default profile, then the EC2
    /// metadata service. Waits for at most two seconds.
    ///
    /// # Errors
    /// [`Misconfigured`](StoreErrorKind::Misconfigured) with the cause
    /// [`MissingRegion`](crate::store::StoreErrorCause::MissingRegion) if no source has one.
    ///
    /// # Cancel safety
    /// Has no side effects.
    pub async fn default_region(profile: Option<&str>) -> Result<Region, StoreError> {
        let mut chain = DefaultRegionChain::builder();
        if let Some(profile) = profile {
            chain = chain.profile_name(profile);
        }
        let chain = chain.build();
        let found = timeout(&SystemClock, REGION_LIMIT, chain.region()).await.flatten();
        let fix = "set AWS_REGION, or `region` in the profile";
        found.ok_or_else(|| missing_region(fix).with_operation(StoreOperation::Open))
    }

    /// Opens the table of a URL. Sends no request to DynamoDB.
    pub(crate) async fn open(url: &DynamoDbUrl) -> Result<Self, StoreError> {
        let profile = url.profile.as_deref();
        if let Some(profile) = profile {
            check_profile(profile).await?;
        }
        let region = match url.named_region() {
            Some(region) => Region::new(region.to_owned()),
            None => Self::default_region(profile).await.map_err(|error| {
                error.with_fix("set AWS_REGION, or `region` in the profile, or add ?region=… to the store URL")
            })?,
        };
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).region(region.clone());
        if let Some(profile) = profile {
            // The default chain would prefer keys in the environment, which may belong to another account. The aws
            // command line ignores them too, once a profile is named.
            let credentials = ProfileFileCredentialsProvider::builder().profile_name(profile);
            let credentials = credentials.configure(&ProviderConfig::without_region().with_region(Some(region)));
            loader = loader.profile_name(profile).credentials_provider(credentials.build());
        }
        let mut config = aws_sdk_dynamodb::config::Builder::from(&loader.load().await);
        if let Some(endpoint) = &url.endpoint {
            // Set only on the DynamoDB client, because STS and SSO must keep their own endpoints.
            config = config.endpoint_url(endpoint);
        }
        let mut store = Self::new(aws_sdk_dynamodb::Client::from_conf(config.build()), &url.table);
        store.profile = profile.map(Into::into);
        if let Some(key) = &url.partition_key {
            store = store.partition_key(key);
        }
        if let Some(on) = url.service_clock {
            store = store.service_clock(on);
        }
        Ok(store)
    }
}

/// Checks that a profile exists, because the SDK treats a missing profile like an empty one.
async fn check_profile(name: &str) -> Result<(), StoreError> {
    let misconfigured =
        |problem: String| StoreError::new(StoreErrorKind::Misconfigured, problem).with_operation(StoreOperation::Open);
    let all = profile::load(&Fs::real(), &Env::real(), &Default::default(), None).await.map_err(|error| {
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        let text = one_line(&format!("{error}: {cause}"));
        misconfigured(format!("cannot read the AWS configuration: {text}"))
            .with_fix("correct that file")
            .with_source(error)
    })?;
    if all.get_profile(name).is_some() {
        return Ok(());
    }
    Err(misconfigured(format!("there is no profile `{name}` in the AWS configuration"))
        .with_fix("add it to ~/.aws/config, or name one that `aws configure list-profiles` lists"))
}
