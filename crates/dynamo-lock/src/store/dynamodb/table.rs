//! Creating, deleting and checking the table.

use std::time::Duration;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, KeyType, MultiRegionConsistency, ScalarAttributeType, TableDescription, TableStatus,
    TimeToLiveSpecification, TimeToLiveStatus,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::DynamoDb;
use super::error::{self, Action};
use super::table_definition::{TableDefinition, TableOptions};
use crate::clock::{Clock, SystemClock, timeout};
use crate::store::{StoreError, attr};

/// Interval between requests for the status of a table that is being created or deleted.
const POLL: Duration = Duration::from_millis(500);
/// Time limit for creating or deleting a table. AWS takes about ten seconds.
const POLLS_LIMIT: Duration = Duration::from_secs(120);

/// Error of [`DynamoDb::create_table`] and [`DynamoDb::delete_table`].
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// A table with this name exists already.
    #[error("table {table} already exists")]
    TableExists {
        /// Name of the table.
        table: String,
    },
    /// The operation takes longer than two minutes.
    #[error("table {table} is still being created or deleted after two minutes; check it again later")]
    NotYet {
        /// Name of the table.
        table: String,
    },
    /// A request has failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Problem of a table. It prints as one line with the fix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableFault {
    /// The table does not exist.
    #[error("there is no table {table}; create it, or check name, Region and endpoint")]
    Missing {
        /// Name of the table.
        table: String,
    },
    /// The table is not usable at the moment.
    #[error("the table is {status}; wait until it is ACTIVE")]
    NotActive {
        /// Status of the table.
        status: String,
    },
    /// The partition key has another name.
    #[error("the partition key is `{found}`, not `{expected}`; set `partition_key` to its name, or use another table")]
    KeyName {
        /// Name of the key.
        found: String,
        /// Name that the store was configured with.
        expected: String,
    },
    /// The partition key is not a string.
    #[error(
        "the partition key `{key}` is of type {found}, and lock names are strings; use a table whose key is of type S"
    )]
    KeyType {
        /// Name of the key.
        key: String,
        /// Type of the key.
        found: String,
    },
    /// The table has a sort key.
    #[error("the table has a sort key `{name}`, and a lock has one row; use a table with a partition key only")]
    SortKey {
        /// Name of the sort key.
        name: String,
    },
    /// Time to live is disabled, so that idle rows remain. This is only a warning, because locks work nevertheless.
    #[error("time to live is disabled, so that rows of idle locks remain; enable it on the attribute `{}`", attr::TTL)]
    NoTtl,
    /// Time to live is enabled on an attribute other than `ttl`, so that DynamoDB may delete rows of held locks.
    #[error(
        "time to live is enabled on `{attribute}`, which deletes rows that are in use; disable it there and enable it \
         on `{}`",
        attr::TTL
    )]
    WrongTtl {
        /// Name of that attribute.
        attribute: String,
    },
    /// The table is replicated to other Regions without strong consistency, so that the last writer wins.
    #[error(
        "the table is replicated to {} and the last writer wins, so that two Regions can hold one lock; \
         use a table in one Region, or a global table with strong consistency, which has no transactions and no time \
         to live",
        .regions.join(", ")
    )]
    EventualReplicas {
        /// Names of those Regions.
        regions: Vec<String>,
    },
}

impl TableFault {
    /// Returns whether locks work nevertheless.
    pub fn is_warning(&self) -> bool {
        matches!(self, Self::NoTtl)
    }
}

impl DynamoDb {
    /// Creates the table, waits until it is active, and enables the deletion of idle rows.
    ///
    /// # Errors
    /// [`TableError::TableExists`] if a table with this name exists, even if locks could not use it.
    ///
    /// # Cancel safety
    /// If dropped, the table may have been created, possibly without the deletion of idle rows.
    pub async fn create_table(&self, options: TableOptions) -> Result<(), TableError> {
        self.load_identity().await;
        let definition = TableDefinition::new(&*self.table, &*self.key, options);
        match definition.creation(&self.client).send().await {
            Ok(_) => {}
            Err(error) if matches!(error.as_service_error(), Some(CreateTableError::ResourceInUseException(_))) => {
                return Err(TableError::TableExists { table: self.table.to_string() });
            }
            Err(error) => return Err(self.request(Action::CREATE_TABLE).error(error).into()),
        }
        self.wait_until(|status| status == Some(&TableStatus::Active)).await?;
        match definition.ttl_attribute {
            Some(attribute) => self.enable_ttl(attribute).await,
            None => Ok(()),
        }
    }

    /// Deletes the table with all its locks, and waits until it has disappeared. In a new table with the same name,
    /// fencing tokens may be smaller than before.
    ///
    /// # Errors
    /// [`TableError::Store`] if a request fails, or if the table does not exist.
    ///
    /// # Cancel safety
    /// If dropped, the table may be deleted nevertheless.
    pub async fn delete_table(&self) -> Result<(), TableError> {
        self.load_identity().await;
        let deleted = self.client.delete_table().table_name(&*self.table).send().await;
        deleted.map_err(|error| self.request(Action::DELETE_TABLE).error(error))?;
        self.wait_until(|status| status.is_none()).await
    }

    /// Checks all properties of the table on which locks depend. Returns all problems, or an empty list.
    ///
    /// # Errors
    /// [`StoreError`] if a request fails.
    ///
    /// # Cancel safety
    /// Sends only reads, so it may be dropped at any time.
    pub async fn check_table(&self) -> Result<Vec<TableFault>, StoreError> {
        self.load_identity().await;
        let Some(table) = self.describe().await? else {
            return Ok(vec![TableFault::Missing { table: self.table.to_string() }]);
        };
        let mut faults: Vec<_> = check_status(&table).into_iter().chain(self.check_key(&table)).collect();
        // A global table with strong consistency has no time to live.
        if !is_strong(&table) {
            faults.extend(self.check_ttl().await?);
        }
        faults.extend(self.check_replicas(&table).await?);
        Ok(faults)
    }

    pub(super) async fn check_replicas(&self, table: &TableDescription) -> Result<Option<TableFault>, StoreError> {
        let regions: Vec<_> = match table.replicas() {
            [] => self.old_replicas().await?,
            _ if is_strong(table) => Vec::new(),
            replicas => replicas.iter().filter_map(|replica| replica.region_name().map(str::to_owned)).collect(),
        };
        Ok((!regions.is_empty()).then_some(TableFault::EventualReplicas { regions }))
    }

    /// Returns the Regions of a global table of version 2017.11.29, which `DescribeTable` does not return. They are
    /// unknown, and the result is empty, if the permission for `DescribeGlobalTable` or the operation is missing.
    async fn old_replicas(&self) -> Result<Vec<String>, StoreError> {
        // The operation accepts no ARN.
        let name = self.table.rsplit('/').next().unwrap_or_default();
        let output = match self.client.describe_global_table().global_table_name(name).send().await {
            Ok(output) => output,
            Err(error) => {
                let error = self.request(Action::DESCRIBE_GLOBAL_TABLE).error(error);
                return if error.is_retryable() { Err(error) } else { Ok(Vec::new()) };
            }
        };
        let replicas = output.global_table_description().map(|table| table.replication_group()).unwrap_or_default();
        let names = replicas.iter().filter_map(|replica| replica.region_name().map(str::to_owned));
        let own = self.client.config().region().map(AsRef::as_ref);
        Ok(names.filter(|region| Some(&**region) != own).collect())
    }

    pub(super) fn check_key(&self, table: &TableDescription) -> Vec<TableFault> {
        let mut faults = Vec::new();
        for element in table.key_schema() {
            let name = element.attribute_name().to_owned();
            if *element.key_type() != KeyType::Hash {
                faults.push(TableFault::SortKey { name });
                continue;
            }
            if *name != *self.key {
                faults.push(TableFault::KeyName { found: name.clone(), expected: self.key.to_string() });
            }
            let mut definitions = table.attribute_definitions().iter();
            let definition = definitions.find(|definition| definition.attribute_name() == name);
            match definition.map(AttributeDefinition::attribute_type) {
                None | Some(ScalarAttributeType::S) => {}
                Some(found) => faults.push(TableFault::KeyType { key: name, found: found.to_string() }),
            }
        }
        faults
    }

    pub(super) async fn check_ttl(&self) -> Result<Option<TableFault>, StoreError> {
        let output = match self.client.describe_time_to_live().table_name(&*self.table).send().await {
            Ok(output) => output,
            Err(error) if is_unknown_operation(&error) => return Ok(None),
            Err(error) => return Err(self.request(Action::DESCRIBE_TTL).error(error)),
        };
        let on = |status: &TimeToLiveStatus| matches!(status, TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling);
        let ttl = output.time_to_live_description().filter(|ttl| ttl.time_to_live_status().is_some_and(on));
        Ok(match ttl.and_then(|ttl| ttl.attribute_name()) {
            None => Some(TableFault::NoTtl),
            Some(attr::TTL) => None,
            Some(attribute) => Some(TableFault::WrongTtl { attribute: attribute.to_owned() }),
        })
    }

    async fn enable_ttl(&self, attribute: &str) -> Result<(), TableError> {
        let on = TimeToLiveSpecification::builder().enabled(true).attribute_name(attribute).build();
        let on = on.expect("state and attribute are set");
        let request = self.client.update_time_to_live().table_name(&*self.table).time_to_live_specification(on);
        match request.send().await {
            Err(error) if !is_unknown_operation(&error) => Err(self.request(Action::UPDATE_TTL).error(error).into()),
            _ => Ok(()),
        }
    }

    pub(super) async fn describe(&self) -> Result<Option<TableDescription>, StoreError> {
        match self.client.describe_table().table_name(&*self.table).send().await {
            Ok(output) => Ok(output.table),
            Err(error) if error::definite(&error).is_some_and(|error| error.is_resource_not_found_exception()) => {
                Ok(None)
            }
            Err(error) => Err(self.request(Action::DESCRIBE_TABLE).error(error)),
        }
    }

    async fn wait_until(&self, reached: impl Fn(Option<&TableStatus>) -> bool) -> Result<(), TableError> {
        let looks = async {
            loop {
                match self.describe().await {
                    Ok(table) if reached(table.as_ref().and_then(TableDescription::table_status)) => return Ok(()),
                    Err(error) if !error.is_retryable() => return Err(error.into()),
                    _ => SystemClock.sleep(POLL).await,
                }
            }
        };
        let not_yet = || Err(TableError::NotYet { table: self.table.to_string() });
        timeout(&SystemClock, POLLS_LIMIT, looks).await.unwrap_or_else(not_yet)
    }
}

pub(super) fn check_status(table: &TableDescription) -> Option<TableFault> {
    match table.table_status() {
        None | Some(TableStatus::Active | TableStatus::Updating) => None,
        Some(status) => Some(TableFault::NotActive { status: status.to_string() }),
    }
}

/// Returns whether the table is a global table with strong consistency.
pub(super) fn is_strong(table: &TableDescription) -> bool {
    table.multi_region_consistency() == Some(&MultiRegionConsistency::Strong)
}

/// Returns whether the server does not support the operation, for example because it is an emulator.
fn is_unknown_operation<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let code = error.as_service_error().and_then(|error| error.code());
    code.is_some_and(|code| code.contains("UnknownOperation") || code.contains("UnsupportedOperation"))
}
