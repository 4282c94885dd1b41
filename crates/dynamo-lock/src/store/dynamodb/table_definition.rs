//! [`TableOptions`] and [`TableDefinition`]: the properties of a table for locks.

use aws_sdk_dynamodb::operation::create_table::builders::CreateTableFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ProvisionedThroughput, ScalarAttributeType, Tag,
};

use crate::store::attr;

/// Options of [`DynamoDb::create_table`](super::DynamoDb::create_table). By default the table is billed per request,
/// and DynamoDB deletes the rows of locks that have been idle for a week or more.
#[derive(Clone, Debug, Default)]
pub struct TableOptions {
    provisioned: Option<(u32, u32)>,
    keeps_idle_rows: bool,
    tags: Vec<(String, String)>,
    deletion_protection: bool,
}

impl TableOptions {
    /// Sets a fixed capacity in read and write units, instead of billing per request.
    #[must_use]
    pub fn provisioned(mut self, read: u32, write: u32) -> Self {
        self.provisioned = Some((read, write));
        self
    }

    /// Sets whether DynamoDB deletes idle rows by their attribute `ttl`. Default: yes.
    #[must_use]
    pub fn ttl(mut self, on: bool) -> Self {
        self.keeps_idle_rows = !on;
        self
    }

    /// Adds a tag to the table. Needs the permission `dynamodb:TagResource` in addition.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.push((key.into(), value.into()));
        self
    }

    /// Sets whether the table is protected from deletion. Default: no.
    #[must_use]
    pub fn deletion_protection(mut self, on: bool) -> Self {
        self.deletion_protection = on;
        self
    }
}

/// Properties of the table that [`DynamoDb::create_table`](super::DynamoDb::create_table) creates, for example to
/// create the same table with another tool.
///
/// The partition key is of type string, and there is no sort key, index or stream. All other properties have DynamoDB's
/// defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableDefinition {
    /// Name or ARN of the table.
    pub table: String,
    /// Name of the partition key.
    pub partition_key: String,
    /// Read and write units of provisioned capacity, or `None` if the table is billed per request.
    pub provisioned: Option<(u32, u32)>,
    /// Attribute by which DynamoDB deletes idle rows (time to live), or `None` if it deletes none.
    pub ttl_attribute: Option<&'static str>,
    /// Keys and values of the tags.
    pub tags: Vec<(String, String)>,
    /// Whether the table is protected from deletion.
    pub deletion_protection: bool,
}

impl TableDefinition {
    /// Returns the properties of the table that is created with these options.
    pub fn new(table: impl Into<String>, partition_key: impl Into<String>, options: TableOptions) -> Self {
        Self {
            table: table.into(),
            partition_key: partition_key.into(),
            provisioned: options.provisioned,
            ttl_attribute: (!options.keeps_idle_rows).then_some(attr::TTL),
            tags: options.tags,
            deletion_protection: options.deletion_protection,
        }
    }

    /// Returns the name of the table, also if it was given as an ARN.
    pub fn table_name(&self) -> &str {
        self.table.rsplit('/').next().unwrap_or_default()
    }

    /// Returns the request that creates the table. Time to live needs a request of its own.
    pub(super) fn creation(&self, client: &aws_sdk_dynamodb::Client) -> CreateTableFluentBuilder {
        let key = KeySchemaElement::builder().attribute_name(&self.partition_key).key_type(KeyType::Hash).build();
        let kind = ScalarAttributeType::S;
        let definition =
            AttributeDefinition::builder().attribute_name(&self.partition_key).attribute_type(kind).build();
        let mut request = client
            .create_table()
            .table_name(&self.table)
            .key_schema(key.expect("name and type are set"))
            .attribute_definitions(definition.expect("name and type are set"))
            .deletion_protection_enabled(self.deletion_protection);
        request = match self.provisioned {
            None => request.billing_mode(BillingMode::PayPerRequest),
            Some((read, write)) => {
                let units = ProvisionedThroughput::builder();
                let units = units.read_capacity_units(read.into()).write_capacity_units(write.into()).build();
                request
                    .billing_mode(BillingMode::Provisioned)
                    .provisioned_throughput(units.expect("both units are set"))
            }
        };
        for (key, value) in &self.tags {
            request = request.tags(Tag::builder().key(key).value(value).build().expect("key and value are set"));
        }
        request
    }
}
