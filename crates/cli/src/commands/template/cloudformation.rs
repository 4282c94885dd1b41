//! The table as a CloudFormation template.

use dynamo_lock::store::TableDefinition;

use super::{alarms, quoted};

/// Returns the template, in JSON, with the alarms if requested.
pub fn render(table: &TableDefinition, with_alarms: bool) -> String {
    let key = quoted(&table.partition_key);
    let mut properties = vec![
        format!("\"TableName\": {}", quoted(table.table_name())),
        format!("\"AttributeDefinitions\": [{{ \"AttributeName\": {key}, \"AttributeType\": \"S\" }}]"),
        format!("\"KeySchema\": [{{ \"AttributeName\": {key}, \"KeyType\": \"HASH\" }}]"),
    ];
    match table.provisioned {
        None => properties.push("\"BillingMode\": \"PAY_PER_REQUEST\"".to_owned()),
        Some((read, write)) => {
            properties.push("\"BillingMode\": \"PROVISIONED\"".to_owned());
            let units = format!("{{ \"ReadCapacityUnits\": {read}, \"WriteCapacityUnits\": {write} }}");
            properties.push(format!("\"ProvisionedThroughput\": {units}"));
        }
    }
    if let Some(attribute) = table.ttl_attribute {
        let ttl = format!("{{ \"AttributeName\": {}, \"Enabled\": true }}", quoted(attribute));
        properties.push(format!("\"TimeToLiveSpecification\": {ttl}"));
    }
    properties.push(format!("\"DeletionProtectionEnabled\": {}", table.deletion_protection));
    if !table.tags.is_empty() {
        let tag = |(key, value): &(String, String)| {
            format!("\n          {{ \"Key\": {}, \"Value\": {} }}", quoted(key), quoted(value))
        };
        let tags: Vec<_> = table.tags.iter().map(tag).collect();
        properties.push(format!("\"Tags\": [{}\n        ]", tags.join(",")));
    }
    let properties = properties.join(",\n        ");
    let alarms = if with_alarms { alarms(table) } else { String::new() };
    // The table outlives its stack, because a new one would begin with small fencing tokens.
    format!(
        r#"{{
  "AWSTemplateFormatVersion": "2010-09-09",
  "Description": "The table that `dynamo-lock table create` makes",
  "Resources": {{
    "LockTable": {{
      "Type": "AWS::DynamoDB::Table",
      "DeletionPolicy": "Retain",
      "UpdateReplacePolicy": "Retain",
      "Properties": {{
        {properties}
      }}
    }}{alarms}
  }}
}}
"#
    )
}

/// Returns the resources of the alarms, each after a comma.
fn alarms(table: &TableDefinition) -> String {
    let mut resources = String::new();
    for (metric, description) in alarms::METRICS {
        for operation in alarms::operations() {
            let dimension = format!(r#"{{ "Name": "Operation", "Value": {} }}"#, quoted(operation));
            let properties = [
                format!("\"AlarmName\": {}", quoted(&alarms::name(table, metric, operation))),
                format!("\"AlarmDescription\": {}", quoted(description)),
                format!("\"Namespace\": {}", quoted(alarms::NAMESPACE)),
                format!("\"MetricName\": {}", quoted(metric)),
                format!(r#""Dimensions": [{{ "Name": "TableName", "Value": {{ "Ref": "LockTable" }} }}, {dimension}]"#),
                "\"Statistic\": \"Sum\"".to_owned(),
                format!("\"Period\": {}", alarms::PERIOD),
                format!("\"EvaluationPeriods\": {}", alarms::PERIODS),
                format!("\"DatapointsToAlarm\": {}", alarms::FAILING),
                "\"Threshold\": 0".to_owned(),
                "\"ComparisonOperator\": \"GreaterThanThreshold\"".to_owned(),
                "\"TreatMissingData\": \"notBreaching\"".to_owned(),
            ];
            resources += &format!(
                r#",
    "LockTable{metric}{operation}": {{
      "Type": "AWS::CloudWatch::Alarm",
      "Properties": {{
        {}
      }}
    }}"#,
                properties.join(",\n        ")
            );
        }
    }
    resources
}
