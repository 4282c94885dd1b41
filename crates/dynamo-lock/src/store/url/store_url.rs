//! The types of a store URL.

use std::path::PathBuf;

/// Address of a store, as in the option `--store` and the variable `DYNAMO_LOCK_STORE` of the command line.
///
/// Use it to read the store from the configuration of your program. [`Display`](std::fmt::Display) prints a URL that
/// parses to the same value.
///
/// ```
/// use dynamo_lock::{Client, store::StoreUrl};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let url = StoreUrl::parse("memory:")?; // or sqlite:///var/lib/locks.db, or dynamodb://Lock?region=eu-west-1
/// let client = Client::builder(url.open().await?).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreUrl {
    /// `sqlite:///path/locks.db`: a file on this machine.
    Sqlite {
        /// Absolute path of the file.
        path: PathBuf,
    },
    /// `memory:`: memory of this process, for tests.
    Memory,
    /// `dynamodb://TABLE?…`: a DynamoDB table.
    DynamoDb(DynamoDbUrl),
}

/// DynamoDB table, and the settings that override AWS's default configuration.
///
/// In a URL the table follows `dynamodb://`. The other fields are parameters of the query with the same names, for
/// example `dynamodb://Lock?region=eu-west-1&service_clock=off`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DynamoDbUrl {
    /// Name of the table, with 3 to 255 letters, digits, `_`, `-` and `.`, or its ARN.
    pub table: String,
    /// Region, for example `eu-west-1`. Default: the Region in the ARN, or that of AWS's default chain. If the table is
    /// an ARN, both Regions must be equal.
    pub region: Option<String>,
    /// Endpoint of the service, `http://…` or `https://…`. Default: that of the Region.
    pub endpoint: Option<String>,
    /// Profile in AWS's configuration files. Its credentials are used even if the environment contains others.
    pub profile: Option<String>,
    /// Name of the partition key, 1 to 255 bytes, and not that of another attribute of a lock. Default: `name`.
    pub partition_key: Option<String>,
    /// Use of the service's clock to determine the end of leases, `on` or `off` in a URL. Default: only if requests go
    /// to AWS. See [`ClientBuilder::service_clock`](crate::ClientBuilder::service_clock).
    pub service_clock: Option<bool>,
}
