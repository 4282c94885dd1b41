//! The CloudWatch alarms of `table print --alarms`, as data for each tool.

use dynamo_lock::store::TableDefinition;
use dynamo_lock::store::iam::{Resource, Use};

/// Metrics of DynamoDB that are watched, with the description of their alarms. Both have the dimensions `TableName` and
/// `Operation`.
pub const METRICS: [(&str, &str); 2] = [
    ("ThrottledRequests", "DynamoDB throttles requests of locks: raise the capacity of the table"),
    ("SystemErrors", "DynamoDB fails to answer requests of locks"),
];

/// Namespace of these metrics.
pub const NAMESPACE: &str = "AWS/DynamoDB";
/// Length of a period over which the metric is summed, in seconds.
pub const PERIOD: u32 = 60;
/// Number of latest periods that are evaluated.
pub const PERIODS: u32 = 5;
/// Number of these periods with a sum above 0 at which the alarm is raised. A single failure is repeated by its client.
pub const FAILING: u32 = 3;

/// Returns the operations that locks send to their table, so that the alarms watch no others.
pub fn operations() -> Vec<&'static str> {
    [Resource::Item, Resource::Table].into_iter().flat_map(|resource| Use::Operate.actions(resource)).collect()
}

/// Returns the name of an alarm. Parts may be variables of the template's language.
pub fn name(table: &TableDefinition, metric: &str, operation: &str) -> String {
    format!("{}-{metric}-{operation}", table.table_name())
}
