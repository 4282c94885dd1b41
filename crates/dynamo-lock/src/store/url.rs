//! Store URLs: parsing, printing and opening.

mod parse;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::{IntoStore, Store, StoreError};
use crate::Memory;

/// Address of a store, as in the option `--store` and the variable `DYNAMO_LOCK_STORE`.
///
/// [`Display`](fmt::Display) prints a URL that parses to the same value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreUrl {
    /// `sqlite:///path/locks.db`: a file on this machine.
    Sqlite {
        /// Absolute path of the file.
        path: PathBuf,
    },
    /// `memory:`: memory of this process.
    Memory,
    /// `dynamodb://TABLE?…`: a DynamoDB table.
    DynamoDb(DynamoDbUrl),
}

/// DynamoDB table, and the settings that override AWS's default configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DynamoDbUrl {
    /// Name or ARN of the table.
    pub table: String,
    /// Region. Default: the Region in the ARN, or that of AWS's default chain.
    pub region: Option<String>,
    /// Endpoint of the service, `http://…` or `https://…`. Default: that of the Region.
    pub endpoint: Option<String>,
    /// Profile in AWS's configuration files. Its credentials are used even if the environment contains others.
    pub profile: Option<String>,
    /// Name of the partition key. Default: `name`.
    pub partition_key: Option<String>,
    /// Use of the service's clock to determine the end of leases. Default: only if requests go to AWS.
    pub service_clock: Option<bool>,
}

impl DynamoDbUrl {
    /// Returns the Region that the URL names, in the query or in the ARN.
    #[cfg(feature = "dynamodb")]
    pub(crate) fn named_region(&self) -> Option<&str> {
        self.region.as_deref().or_else(|| parse::arn_region(&self.table))
    }
}

/// Error of [`StoreUrl::parse`]. No message repeats more than a scheme or a key, because the rest may be secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// The scheme is unknown.
    #[error("a store URL begins with `sqlite:///`, `dynamodb://` or `memory:`, not with {found:?}")]
    UnknownScheme {
        /// Beginning of the URL.
        found: String,
    },
    /// The URL of a file has no absolute path.
    #[error("a file's store URL has three slashes and an absolute path: sqlite:///path/locks.db")]
    NoPath,
    /// The URL has text after `memory:`.
    #[error("the store URL of this process's memory is just `memory:`")]
    NotJustMemory,
    /// The URL names no table.
    #[error("a DynamoDB store URL names its table: dynamodb://TABLE, or a table's ARN in place of TABLE")]
    NoTable,
    /// The name of the table is invalid.
    #[error(
        "a table's name has 3 to 255 of a-z, A-Z, 0-9, `_`, `-` and `.`; or use arn:aws:dynamodb:REGION:ACCOUNT:table/NAME"
    )]
    BadTable,
    /// The ARN and the query name two Regions.
    #[error("the table's ARN is of Region {arn}, but `region` is {query}; remove `region`")]
    TwoRegions {
        /// Region in the ARN.
        arn: String,
        /// Region in the query.
        query: String,
    },
    /// The query has a key that this store does not know.
    #[error("the store URL's query has the unknown key {key:?}; allowed are {allowed}")]
    UnknownKey {
        /// Beginning of the key.
        key: String,
        /// Known keys.
        allowed: &'static str,
    },
    /// The query has a key twice.
    #[error("the store URL's query has `{key}` twice; keep one")]
    DuplicateKey {
        /// Name of the key.
        key: &'static str,
    },
    /// The value of a key is invalid.
    #[error("the store URL's `{key}` must be {expected}")]
    BadValue {
        /// Name of the key.
        key: &'static str,
        /// Description of valid values.
        expected: &'static str,
    },
    /// The URL contains a user name or a password.
    #[error("a store URL must not contain credentials; remove them, and use AWS's environment variables or a profile")]
    Credentials,
    /// The URL has a fragment.
    #[error("a store URL has no fragment; write `#` as %23")]
    Fragment,
    /// A `%` is not followed by two hexadecimal digits, or the decoded bytes are not UTF-8.
    #[error("a `%` in a store URL must be followed by two hexadecimal digits that form UTF-8; write `%` itself as %25")]
    BadEscape,
}

impl StoreUrl {
    /// Parses a URL. Does not access the store.
    ///
    /// # Errors
    /// [`UrlError`]. Its message describes the valid form.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        parse::parse(url)
    }

    /// Opens the store. Sends no request to a table.
    ///
    /// # Errors
    /// [`Misconfigured`](super::StoreErrorKind::Misconfigured) if the store cannot be opened, or if this program was
    /// built without it.
    ///
    /// # Cancel safety
    /// May be dropped at any time. A database file may then have been created.
    pub async fn open(&self) -> Result<OpenedStore, StoreError> {
        match self {
            Self::Memory => Ok(OpenedStore::Memory(Memory::new())),
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

/// Store that [`StoreUrl::open`] has opened. [`Client::builder`](crate::Client::builder) accepts it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum OpenedStore {
    /// Memory of this process.
    Memory(Memory),
    /// SQLite file.
    #[cfg(feature = "sqlite")]
    Sqlite(crate::Sqlite),
    /// DynamoDB table.
    #[cfg(feature = "dynamodb")]
    DynamoDb(crate::DynamoDb),
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

#[cfg(not(all(feature = "sqlite", feature = "dynamodb")))]
fn not_built(store: &str, feature: &str) -> StoreError {
    let problem = format!("this program was built without {store}");
    StoreError::new(super::StoreErrorKind::Misconfigured, problem)
        .with_operation(super::StoreOperation::Open)
        .with_fix(format!("build it with the feature `{feature}`"))
}

#[cfg(feature = "sqlite")]
async fn open_sqlite(path: PathBuf) -> Result<OpenedStore, StoreError> {
    // Opening may block while another process creates the same database.
    let opened = tokio::task::spawn_blocking(move || crate::Sqlite::open(path)).await;
    let opened = opened.map_err(|_| {
        StoreError::new(super::StoreErrorKind::Misconfigured, "opening the lock database was interrupted")
            .with_operation(super::StoreOperation::Open)
            .with_fix("try again")
    })?;
    opened.map(OpenedStore::Sqlite)
}

#[cfg(not(feature = "sqlite"))]
async fn open_sqlite(_: PathBuf) -> Result<OpenedStore, StoreError> {
    Err(not_built("the embedded store", "sqlite"))
}

#[cfg(feature = "dynamodb")]
async fn open_dynamodb(url: &DynamoDbUrl) -> Result<OpenedStore, StoreError> {
    crate::DynamoDb::open(url).await.map(OpenedStore::DynamoDb)
}

#[cfg(not(feature = "dynamodb"))]
async fn open_dynamodb(_: &DynamoDbUrl) -> Result<OpenedStore, StoreError> {
    Err(not_built("DynamoDB", "dynamodb"))
}
