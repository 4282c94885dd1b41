//! AWS configuration of a table that is given by a URL.

use std::{error::Error, time::Duration};

use aws_config::meta::region::ProvideRegion;
use aws_config::profile::{self, ProfileFileCredentialsProvider, ProfileFileRegionProvider, ProfileSet};
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_config::{imds::region::ImdsRegionProvider, provider_config::ProviderConfig, retry::RetryConfig};
use aws_sdk_dynamodb::config::SharedHttpClient;
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
        let found = timeout(&SystemClock, REGION_LIMIT, find_region(profile)).await.flatten();
        let fix = "set AWS_REGION, or `region` in the profile";
        found.ok_or_else(|| missing_region(fix).with_operation(StoreOperation::Open))
    }

    /// Returns a loader of AWS's default configuration, with the credentials of `profile` if there is one. `region_fix`
    /// is the fix of the error for a missing Region.
    ///
    /// # Errors
    /// [`Misconfigured`](StoreErrorKind::Misconfigured) if the profile does not exist, no Region is configured, or a
    /// configured file is not readable.
    ///
    /// # Cancel safety
    /// Has no side effects.
    #[doc(hidden)] // for the Node package
    pub async fn config_loader(
        region: Option<Region>,
        profile: Option<&str>,
        region_fix: &str,
    ) -> Result<ConfigLoader, StoreError> {
        let profiles = load_profiles(profile).await?;
        let region = match region {
            Some(region) => region,
            None => Self::default_region(profile).await.map_err(|error| error.with_fix(region_fix))?,
        };
        // Without a retry configuration, the SDK reads one from the environment and the profile, and panics unless it
        // knows the mode, for example `legacy`. This one is for the sources of credentials: the store has its own
        // retries.
        let retries = RetryConfig::standard();
        let mut provider =
            ProviderConfig::without_region().with_region(Some(region.clone())).with_retry_config(retries.clone());
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).region(region).retry_config(retries);
        if let Some(client) = https_client(profiles.as_ref())? {
            provider = provider.with_http_client(client.clone());
            loader = loader.http_client(client);
        }
        if let Some(profile) = profile {
            // The default chain would prefer keys in the environment, which may belong to another account. The aws
            // command line ignores them too, once a profile is named.
            let credentials = ProfileFileCredentialsProvider::builder().profile_name(profile).configure(&provider);
            loader = loader.profile_name(profile).credentials_provider(credentials.build());
        }
        Ok(loader)
    }

    /// Opens the table of a URL. Sends no request to DynamoDB.
    pub(crate) async fn open(url: &DynamoDbUrl) -> Result<Self, StoreError> {
        Self::from_config(url, &Self::load_config(url).await?)
    }

    /// Loads AWS's configuration for a URL.
    pub(super) async fn load_config(url: &DynamoDbUrl) -> Result<SdkConfig, StoreError> {
        let region = url.named_region().map(|region| Region::new(region.to_owned()));
        let region_fix = "set AWS_REGION, or `region` in the profile, or add ?region=… to the store URL";
        let loader = Self::config_loader(region, url.profile.as_deref(), region_fix).await?;
        Ok(loader.load().await)
    }

    /// Opens the table of a URL with the configuration that was loaded for it.
    pub(super) fn from_config(url: &DynamoDbUrl, config: &SdkConfig) -> Result<Self, StoreError> {
        let mut config = aws_sdk_dynamodb::config::Builder::from(config);
        if let Some(endpoint) = &url.endpoint {
            // Set only on the DynamoDB client, because STS and SSO must keep their own endpoints.
            config = config.endpoint_url(endpoint);
        }
        let mut store = Self::new(aws_sdk_dynamodb::Client::from_conf(config.build()), &url.table);
        store.profile = url.profile.as_deref().map(Into::into);
        if let Some(key) = &url.partition_key {
            store = store.partition_key(key).map_err(|error| misconfigured(error.to_string()).with_source(error))?;
        }
        if let Some(on) = url.service_clock {
            store = store.service_clock(on);
        }
        Ok(store)
    }
}

/// Returns the Region of the first source that has one.
async fn find_region(profile: Option<&str>) -> Option<Region> {
    if let Some(region) = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION")) {
        return Some(Region::new(region));
    }
    let mut file = ProfileFileRegionProvider::builder();
    if let Some(profile) = profile {
        file = file.profile_name(profile);
    }
    match file.build().region().await.filter(|region| !region.as_ref().is_empty()) {
        None => ImdsRegionProvider::builder().build().region().await,
        region => region,
    }
}

/// Returns the value of an environment variable. An empty one counts as unset, as in the aws command line, because CI
/// systems set variables that they have no value for.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Loads AWS's configuration files. Returns `None` if they are not readable, unless the user has named a profile.
///
/// A named profile must exist, because the SDK treats a missing profile like an empty one.
async fn load_profiles(name: Option<&str>) -> Result<Option<ProfileSet>, StoreError> {
    let selected = name.map(|name| name.to_owned().into());
    let loaded = profile::load(&Fs::real(), &Env::real(), &Default::default(), selected).await;
    let Some(name) = name else { return Ok(loaded.ok()) };
    let profiles = loaded.map_err(|error| {
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        let text = one_line(&format!("{error}: {cause}"));
        misconfigured(format!("cannot read the AWS configuration: {text}"))
            .with_fix("correct that file")
            .with_source(error)
    })?;
    if profiles.get_profile(name).is_some() {
        return Ok(Some(profiles));
    }
    Err(misconfigured(format!("there is no profile `{name}` in the AWS configuration"))
        .with_fix("add it to ~/.aws/config, or name one that `aws configure list-profiles` lists"))
}

fn misconfigured(problem: String) -> StoreError {
    StoreError::new(StoreErrorKind::Misconfigured, problem).with_operation(StoreOperation::Open)
}

/// Returns the HTTPS client for the certificates of `AWS_CA_BUNDLE`, or of `ca_bundle` in the profile. Returns `None` if
/// neither is set.
///
/// # Errors
/// Misconfigured if the file is not readable or is not a list of certificates in PEM format.
#[cfg(feature = "default-https-client")]
fn https_client(profiles: Option<&ProfileSet>) -> Result<Option<SharedHttpClient>, StoreError> {
    let in_profile = || profiles?.get("ca_bundle").filter(|path| !path.is_empty()).map(str::to_owned);
    let Some(path) = variable("AWS_CA_BUNDLE").or_else(in_profile) else { return Ok(None) };
    let client = super::ca_bundle::https_client(&path).map_err(|error| {
        misconfigured(format!("cannot read the CA bundle {path}: {}", one_line(&error.to_string())))
            .with_fix("correct AWS_CA_BUNDLE, or `ca_bundle` in the profile")
    })?;
    Ok(Some(client))
}

/// Returns no HTTPS client, because this build has none.
#[cfg(not(feature = "default-https-client"))]
fn https_client(_: Option<&ProfileSet>) -> Result<Option<SharedHttpClient>, StoreError> {
    Ok(None)
}
