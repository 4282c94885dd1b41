//! Store URLs: parsing, printing and opening.

mod error;
mod opened;
mod parse;

use std::path::PathBuf;

pub use self::error::UrlError;
pub use self::opened::OpenedStore;

/// Address of a store, as in the option `--store` and the variable `DYNAMO_LOCK_STORE`.
///
/// [`Display`](std::fmt::Display) prints a URL that parses to the same value.
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
