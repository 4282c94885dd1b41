//! Store URLs: parsing, which is pure, and opening.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Store, StoreError, StoreErrorKind};
use crate::Memory;

mod parse;

/// A store's address, as in `--store` and `DYNAMO_LOCK_STORE`. Valid once it is parsed; [`Display`](fmt::Display)
/// gives a URL that parses to the same.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreUrl {
    /// `sqlite:///path/locks.db`: a file on this machine.
    Sqlite {
        /// The file; absolute.
        path: PathBuf,
    },
    /// `memory:`: this process alone.
    Memory,
    /// `dynamodb://TABLE?…`
    DynamoDb(DynamoDbUrl),
}

/// A DynamoDB table, and what of AWS's default configuration to override.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DynamoDbUrl {
    /// The table's name or ARN.
    pub table: String,
    /// The Region; else the ARN's, else what AWS's default chain says.
    pub region: Option<String>,
    /// Where the service is, `http://…` or `https://…`.
    pub endpoint: Option<String>,
    /// The profile in AWS's configuration files: its own credentials are used, whatever the environment has.
    pub profile: Option<String>,
    /// The partition key's attribute name; else `name`.
    pub partition_key: Option<String>,
    /// Whether to tell the end of leases by the service's clock; else as the endpoint suggests.
    pub service_clock: Option<bool>,
}

/// Why a text is no store URL. No message repeats more than a scheme or a key, since the rest may be secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// The scheme is none of ours.
    #[error("a store URL begins with `sqlite:///`, `dynamodb://` or `memory:`, not with {found:?}")]
    UnknownScheme {
        /// What is there instead.
        found: String,
    },
    /// A file's URL without an absolute path.
    #[error("a file's store URL has three slashes and an absolute path: sqlite:///path/locks.db")]
    NoPath,
    /// Something follows `memory:`.
    #[error("the store URL of this process's memory is just `memory:`")]
    NotJustMemory,
    /// No table.
    #[error("a DynamoDB store URL names its table: dynamodb://TABLE, or a table's ARN in place of TABLE")]
    NoTable,
    /// What is in the table's place cannot be one.
    #[error(
        "a table's name has 3 to 255 of a-z, A-Z, 0-9, `_`, `-` and `.`; or use arn:aws:dynamodb:REGION:ACCOUNT:table/NAME"
    )]
    BadTable,
    /// The ARN and the query name two Regions.
    #[error("the table's ARN is of Region {arn}, but `region` says {query}: remove `region`")]
    TwoRegions {
        /// The ARN's.
        arn: String,
        /// The query's.
        query: String,
    },
    /// A key that this store does not know.
    #[error("the store URL's query has the unknown key {key:?}: allowed are {allowed}")]
    UnknownKey {
        /// The key.
        key: String,
        /// Those that it knows.
        allowed: &'static str,
    },
    /// A key is there twice.
    #[error("the store URL's query has `{key}` twice: keep one")]
    DuplicateKey {
        /// The key.
        key: &'static str,
    },
    /// A key's value cannot be right.
    #[error("the store URL's `{key}` must be {expected}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A user or a password.
    #[error("a store URL carries no credentials: remove them, and use AWS's environment variables or a profile")]
    Credentials,
    /// A fragment.
    #[error("a store URL has no fragment: write `#` as %23")]
    Fragment,
    /// `%` not followed by two hexadecimal digits, or bytes that are no text.
    #[error(
        "a `%` in a store URL is followed by two hexadecimal digits and they make up UTF-8: write `%` itself as %25"
    )]
    BadEscape,
}

impl StoreUrl {
    /// Parses a URL, without looking at anything else.
    ///
    /// # Errors
    /// [`UrlError`], which says what is allowed.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        parse::parse(url)
    }

    /// Opens the store. No request is sent to a table yet.
    ///
    /// # Errors
    /// What the store says: Misconfigured if it cannot be opened, or if this program was built without it.
    ///
    /// # Cancel safety
    /// May be dropped at any time. A database file may then have been created.
    pub async fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        match self {
            Self::Memory => Ok(Arc::new(Memory::new())),
            Self::Sqlite { path } => open_sqlite(path.clone()).await,
            Self::DynamoDb(url) => open_dynamodb(url).await,
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        parse::display(self, f)
    }
}

fn misconfigured(message: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Misconfigured, message)
}

#[cfg(feature = "sqlite")]
async fn open_sqlite(path: PathBuf) -> Result<Arc<dyn Store>, StoreError> {
    // Opening may wait for another process.
    let opened = tokio::task::spawn_blocking(move || crate::Sqlite::open(path)).await;
    let store = opened.map_err(|_| misconfigured("opening the lock database was cut short: try again"))??;
    Ok(Arc::new(store))
}

#[cfg(not(feature = "sqlite"))]
async fn open_sqlite(_: PathBuf) -> Result<Arc<dyn Store>, StoreError> {
    Err(misconfigured("this program was built without the embedded store: build it with the feature `sqlite`"))
}

#[cfg(not(feature = "dynamodb"))]
async fn open_dynamodb(_: &DynamoDbUrl) -> Result<Arc<dyn Store>, StoreError> {
    Err(misconfigured("this program was built without DynamoDB: build it with the feature `dynamodb`"))
}

#[cfg(feature = "dynamodb")]
use self::aws::open_dynamodb;

#[cfg(feature = "dynamodb")]
mod aws {
    use super::{DynamoDbUrl, misconfigured, parse};
    use crate::DynamoDb;
    use crate::clock::{Clock, SystemClock};
    use crate::store::{Store, StoreError};
    use aws_config::default_provider::region::DefaultRegionChain;
    use aws_config::profile::{self, ProfileFileCredentialsProvider};
    use aws_config::provider_config::ProviderConfig;
    use aws_config::{BehaviorVersion, Region};
    use aws_types::os_shim_internal::{Env, Fs};
    use std::error::Error;
    use std::sync::Arc;
    use std::time::Duration;

    /// How long to look for a Region. Environment and files take no time; the rest is for the metadata service of EC2,
    /// which answers in milliseconds where there is one, and elsewhere would hold up a newcomer for many seconds.
    const REGION_LIMIT: Duration = Duration::from_secs(2);

    pub(super) async fn open_dynamodb(url: &DynamoDbUrl) -> Result<Arc<dyn Store>, StoreError> {
        if let Some(profile) = &url.profile {
            find_profile(profile).await?;
        }
        let named = url.region.as_deref().or_else(|| parse::arn_region(&url.table));
        let region = match named {
            Some(region) => Region::new(region.to_owned()),
            None => find_region(url.profile.as_deref()).await?,
        };
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).region(region.clone());
        if let Some(profile) = &url.profile {
            // The default chain would prefer keys in the environment, perhaps another account's. The aws command line does
            // not, once a profile is named.
            let own = ProfileFileCredentialsProvider::builder().profile_name(profile);
            let own = own.configure(&ProviderConfig::without_region().with_region(Some(region)));
            loader = loader.profile_name(profile).credentials_provider(own.build());
        }
        let shared = loader.load().await;
        let mut config = aws_sdk_dynamodb::config::Builder::from(&shared);
        if let Some(endpoint) = &url.endpoint {
            // For the table alone: the services that give credentials stay where they are.
            config = config.endpoint_url(endpoint);
        }
        Ok(store(aws_sdk_dynamodb::Client::from_conf(config.build()), url))
    }

    /// Whether there is such a profile: whoever reads its settings takes one that is missing for an empty one.
    async fn find_profile(name: &str) -> Result<(), StoreError> {
        let all = profile::load(&Fs::real(), &Env::real(), &Default::default(), None).await;
        let all = all.map_err(|error| {
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            let why = format!("{error}: {cause}").split_whitespace().collect::<Vec<_>>().join(" ");
            misconfigured(&format!("the AWS configuration cannot be read: {why}: mend that file")).with_source(error)
        })?;
        all.get_profile(name).map(|_| ()).ok_or_else(|| {
            misconfigured(&format!(
                "there is no profile `{name}` in the AWS configuration: add it to ~/.aws/config, or name one that \
                `aws configure list-profiles` tells"
            ))
        })
    }

    async fn find_region(profile: Option<&str>) -> Result<Region, StoreError> {
        let mut chain = DefaultRegionChain::builder();
        if let Some(profile) = profile {
            chain = chain.profile_name(profile);
        }
        let chain = chain.build();
        let found = tokio::select! {
            biased;
            found = chain.region() => found,
            () = SystemClock.sleep(REGION_LIMIT) => None,
        };
        found.ok_or_else(|| {
            misconfigured(
                "no AWS Region is configured: set AWS_REGION, or `region` in the profile, or add ?region=… to the store URL",
            )
        })
    }

    /// The table's store over a client.
    fn store(client: aws_sdk_dynamodb::Client, url: &DynamoDbUrl) -> Arc<dyn Store> {
        let mut store = DynamoDb::new(client, &url.table);
        if let Some(profile) = &url.profile {
            store = store.of_profile(profile);
        }
        if let Some(key) = &url.partition_key {
            store = store.partition_key(key);
        }
        if let Some(on) = url.service_clock {
            store = store.service_clock(on);
        }
        Arc::new(store)
    }
}
