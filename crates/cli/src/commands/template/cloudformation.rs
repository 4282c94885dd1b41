//! The table as a CloudFormation template.

use dynamo_lock::store::TableDefinition;

use super::quoted;

/// Returns the template, in JSON.
pub fn render(table: &TableDefinition) -> String {
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
    }}
  }}
}}
"#
    )
}
