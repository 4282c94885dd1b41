//! The table itself: create, delete, check.

use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, MultiRegionConsistency, ProvisionedThroughput,
    ScalarAttributeType, TableDescription, TableStatus, Tag, TimeToLiveSpecification, TimeToLiveStatus,
};
use dynamo_lock_protocol::attr;

use super::DynamoDb;
use super::error::{self, Action};
use crate::clock::{Clock, SystemClock};
use crate::store::StoreError;

/// Between two looks at a table that is being made or deleted.
const POLL: Duration = Duration::from_millis(500);
/// How long to look. AWS takes some ten seconds.
const POLLS_LIMIT: Duration = Duration::from_secs(120);

/// How to create a table. By default it is paid by request, and DynamoDB deletes rows of locks that have been idle for
/// a week or more.
#[derive(Clone, Debug)]
pub struct TableOptions {
    provisioned: Option<(u32, u32)>,
    ttl: bool,
    tags: Vec<(String, String)>,
    deletion_protection: bool,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self { provisioned: None, ttl: true, tags: Vec::new(), deletion_protection: false }
    }
}

impl TableOptions {
    /// Fixed capacity in read and write units, in place of paying by request.
    #[must_use]
    pub fn provisioned(mut self, read: u32, write: u32) -> Self {
        self.provisioned = Some((read, write));
        self
    }

    /// Whether DynamoDB deletes idle rows by their `purgeOn`.
    #[must_use]
    pub fn ttl(mut self, on: bool) -> Self {
        self.ttl = on;
        self
    }

    /// Adds a tag.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.push((key.into(), value.into()));
        self
    }

    /// Whether the table refuses to be deleted.
    #[must_use]
    pub fn deletion_protection(mut self, on: bool) -> Self {
        self.deletion_protection = on;
        self
    }
}

/// Why a table was not created or deleted.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// There is a table of this name.
    #[error("table {table} already exists")]
    TableExists {
        /// Its name.
        table: String,
    },
    /// It took longer than two minutes.
    #[error("table {table} is still being created or deleted after two minutes: look again later")]
    NotYet {
        /// Its name.
        table: String,
    },
    /// DynamoDB did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Something wrong with a table, and its mend.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableFault {
    /// There is none.
    Missing {
        /// Its name.
        table: String,
    },
    /// It cannot be used now.
    NotActive {
        /// What DynamoDB says of it.
        status: String,
    },
    /// Its partition key has another name.
    KeyName {
        /// The key's name.
        found: String,
        /// What the store was told.
        expected: String,
    },
    /// Its partition key is no string.
    KeyType {
        /// The key's name.
        key: String,
        /// Its type.
        found: String,
    },
    /// It has a sort key.
    SortKey {
        /// The sort key's name.
        name: String,
    },
    /// Nothing deletes idle rows. A warning: locks work.
    NoTtl,
    /// DynamoDB deletes rows by an attribute that does not say when a lock is idle.
    WrongTtl {
        /// That attribute.
        attribute: String,
    },
    /// It is replicated to other Regions, where the last writer wins.
    EventualReplicas {
        /// Those Regions.
        regions: Vec<String>,
    },
}

impl TableFault {
    /// Whether locks work all the same.
    pub fn is_warning(&self) -> bool {
        matches!(self, Self::NoTtl)
    }
}

impl fmt::Display for TableFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { table } => {
                write!(f, "there is no table {table}; create it, or check name, Region and endpoint")
            }
            Self::NotActive { status } => write!(f, "the table is {status}: wait until it is ACTIVE"),
            Self::KeyName { found, expected } => {
                write!(
                    f,
                    "the partition key is `{found}`, not `{expected}`: tell the store with `partition_key`, \
                    or use another table"
                )
            }
            Self::KeyType { key, found } => {
                write!(
                    f,
                    "the partition key `{key}` is of type {found}, and lock names are strings: use a table \
                    whose key is of type S"
                )
            }
            Self::SortKey { name } => {
                write!(
                    f,
                    "the table has a sort key `{name}`, and a lock has one row: use a table with a partition key only"
                )
            }
            Self::NoTtl => {
                write!(
                    f,
                    "time to live is off, so rows of idle locks stay for ever: enable it on the attribute `{}`",
                    attr::TTL
                )
            }
            Self::WrongTtl { attribute } => write!(
                f,
                "time to live is on `{attribute}`, which deletes rows that are in use: disable it there and \
                enable it on `{}`",
                attr::TTL
            ),
            Self::EventualReplicas { regions } => write!(
                f,
                "the table is replicated to {} and the last writer wins, so two Regions can hold one lock: \
                use a table in one Region, or a global table with strong consistency",
                regions.join(", ")
            ),
        }
    }
}

impl DynamoDb {
    /// Creates the table, waits until it can be used, and turns on the deletion of idle rows.
    ///
    /// # Errors
    /// [`TableError::TableExists`] if there is one of this name, whatever it is like.
    ///
    /// # Cancel safety
    /// If dropped, the table may exist, and without deletion of idle rows.
    pub async fn create_table(&self, options: TableOptions) -> Result<(), TableError> {
        match self.creation(&options)?.send().await {
            Ok(_) => {}
            Err(error) if matches!(error.as_service_error(), Some(CreateTableError::ResourceInUseException(_))) => {
                return Err(TableError::TableExists { table: self.table.to_string() });
            }
            Err(error) => return Err(self.request(Action::CreateTable).error(error).into()),
        }
        self.wait_until(|status| status == Some(&TableStatus::Active)).await?;
        if options.ttl { self.enable_ttl().await } else { Ok(()) }
    }

    /// Deletes the table with all its locks, and waits until it is gone. The fencing tokens of a table created anew
    /// under its name are not promised to go on above the old ones.
    ///
    /// # Errors
    /// [`TableError::Store`], also if there is no such table.
    ///
    /// # Cancel safety
    /// If dropped, the table may be deleted all the same.
    pub async fn delete_table(&self) -> Result<(), TableError> {
        let deleted = self.client.delete_table().table_name(&*self.table).send().await;
        deleted.map_err(|error| self.request(Action::DeleteTable).error(error))?;
        self.wait_until(|status| status.is_none()).await
    }

    /// Looks at everything about the table that locks rest on, and tells all that is wrong. Empty: all is well.
    ///
    /// # Errors
    /// [`StoreError`] if it could not be looked at.
    ///
    /// # Cancel safety
    /// It only reads.
    pub async fn check_table(&self) -> Result<Vec<TableFault>, StoreError> {
        let Some(table) = self.describe().await? else {
            return Ok(vec![TableFault::Missing { table: self.table.to_string() }]);
        };
        let mut faults = self.check_key(&table);
        if let Some(status) = table.table_status().filter(|status| !is_usable(status)) {
            faults.insert(0, TableFault::NotActive { status: status.to_string() });
        }
        faults.extend(self.check_ttl().await?);
        let is_strong = table.multi_region_consistency() == Some(&MultiRegionConsistency::Strong);
        if !table.replicas().is_empty() && !is_strong {
            let regions = table.replicas().iter().filter_map(|replica| replica.region_name().map(str::to_owned));
            faults.push(TableFault::EventualReplicas { regions: regions.collect() });
        }
        Ok(faults)
    }

    fn check_key(&self, table: &TableDescription) -> Vec<TableFault> {
        let mut faults = Vec::new();
        for element in table.key_schema() {
            let name = element.attribute_name().to_owned();
            if *element.key_type() != KeyType::Hash {
                faults.push(TableFault::SortKey { name });
                continue;
            }
            let definition = table.attribute_definitions().iter().find(|there| there.attribute_name() == name);
            let found = definition.map(AttributeDefinition::attribute_type).filter(|t| **t != ScalarAttributeType::S);
            let found = found.map(ToString::to_string);
            if *name != *self.key {
                faults.push(TableFault::KeyName { found: name.clone(), expected: self.key.to_string() });
            }
            faults.extend(found.map(|found| TableFault::KeyType { key: name, found }));
        }
        faults
    }

    async fn check_ttl(&self) -> Result<Option<TableFault>, StoreError> {
        let output = match self.client.describe_time_to_live().table_name(&*self.table).send().await {
            Ok(output) => output,
            Err(error) if is_unknown_operation(&error) => return Ok(None),
            Err(error) => return Err(self.request(Action::DescribeTimeToLive).error(error)),
        };
        let on = |status: &TimeToLiveStatus| matches!(status, TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling);
        let ttl = output.time_to_live_description().filter(|ttl| ttl.time_to_live_status().is_some_and(on));
        Ok(match ttl.and_then(|ttl| ttl.attribute_name()) {
            None => Some(TableFault::NoTtl),
            Some(attr::TTL) => None,
            Some(attribute) => Some(TableFault::WrongTtl { attribute: attribute.to_owned() }),
        })
    }

    async fn enable_ttl(&self) -> Result<(), TableError> {
        let on = TimeToLiveSpecification::builder().enabled(true).attribute_name(attr::TTL).build();
        let on = on.map_err(|error| self.request(Action::UpdateTimeToLive).unbuilt(error))?;
        let request = self.client.update_time_to_live().table_name(&*self.table).time_to_live_specification(on);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) if is_unknown_operation(&error) => Ok(()),
            Err(error) => Err(self.request(Action::UpdateTimeToLive).error(error).into()),
        }
    }

    fn creation(
        &self,
        options: &TableOptions,
    ) -> Result<aws_sdk_dynamodb::operation::create_table::builders::CreateTableFluentBuilder, StoreError> {
        let unbuilt = |error| self.request(Action::CreateTable).unbuilt(error);
        let key = KeySchemaElement::builder().attribute_name(&*self.key).key_type(KeyType::Hash).build();
        let definition =
            AttributeDefinition::builder().attribute_name(&*self.key).attribute_type(ScalarAttributeType::S).build();
        let mut request = self
            .client
            .create_table()
            .table_name(&*self.table)
            .key_schema(key.map_err(unbuilt)?)
            .attribute_definitions(definition.map_err(unbuilt)?)
            .deletion_protection_enabled(options.deletion_protection);
        request = match options.provisioned {
            None => request.billing_mode(BillingMode::PayPerRequest),
            Some((read, write)) => {
                let units = ProvisionedThroughput::builder();
                let units = units.read_capacity_units(read.into()).write_capacity_units(write.into()).build();
                request.billing_mode(BillingMode::Provisioned).provisioned_throughput(units.map_err(unbuilt)?)
            }
        };
        for (key, value) in &options.tags {
            request = request.tags(Tag::builder().key(key).value(value).build().map_err(unbuilt)?);
        }
        Ok(request)
    }

    async fn describe(&self) -> Result<Option<TableDescription>, StoreError> {
        match self.client.describe_table().table_name(&*self.table).send().await {
            Ok(output) => Ok(output.table),
            Err(error) if error::code(&error) == Some("ResourceNotFoundException") => Ok(None),
            Err(error) => Err(self.request(Action::DescribeTable).error(error)),
        }
    }

    async fn wait_until(&self, reached: impl Fn(Option<&TableStatus>) -> bool) -> Result<(), TableError> {
        let looks = async {
            loop {
                match self.describe().await {
                    Ok(table) if reached(table.as_ref().and_then(TableDescription::table_status)) => return Ok(()),
                    Ok(_) => {}
                    Err(error) if error.is_retryable() => {}
                    Err(error) => return Err(error.into()),
                }
                SystemClock.sleep(POLL).await;
            }
        };
        tokio::select! {
            biased;
            end = looks => end,
            () = SystemClock.sleep(POLLS_LIMIT) => Err(TableError::NotYet { table: self.table.to_string() }),
        }
    }
}

fn is_usable(status: &TableStatus) -> bool {
    matches!(status, TableStatus::Active | TableStatus::Updating)
}

/// Whether the server does not know the operation, as emulators may not.
fn is_unknown_operation<E>(
    error: &aws_sdk_dynamodb::error::SdkError<E, aws_smithy_runtime_api::client::orchestrator::HttpResponse>,
) -> bool
where
    E: aws_sdk_dynamodb::error::ProvideErrorMetadata,
{
    let code = error.as_service_error().and_then(|error| error.code());
    code.is_some_and(|code| code.contains("UnknownOperation") || code.contains("UnsupportedOperation"))
}
