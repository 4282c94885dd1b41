//! The table as a construct of the AWS CDK.

use std::fmt::Write as _;

use dynamo_lock::store::TableDefinition;

use super::quoted;

/// Returns a module in TypeScript.
pub fn render(table: &TableDefinition) -> String {
    let mut properties = String::new();
    let mut property = |name: &str, value: &str| _ = writeln!(properties, "      {name}: {value},");
    property("tableName", &quoted(table.table_name()));
    let key = quoted(&table.partition_key);
    property("partitionKey", &format!("{{ name: {key}, type: AttributeType.STRING }}"));
    match table.provisioned {
        None => property("billingMode", "BillingMode.PAY_PER_REQUEST"),
        Some((read, write)) => {
            property("billingMode", "BillingMode.PROVISIONED");
            property("readCapacity", &read.to_string());
            property("writeCapacity", &write.to_string());
        }
    }
    if let Some(attribute) = table.ttl_attribute {
        property("timeToLiveAttribute", &quoted(attribute));
    }
    property("deletionProtection", &table.deletion_protection.to_string());
    // A new table would begin with small fencing tokens.
    property("removalPolicy", "RemovalPolicy.RETAIN");
    let tag = |(key, value): &(String, String)| format!("    Tags.of(this).add({}, {});\n", quoted(key), quoted(value));
    let tags: String = table.tags.iter().map(tag).collect();
    let imports = if tags.is_empty() { "RemovalPolicy" } else { "RemovalPolicy, Tags" };
    format!(
        r#"import {{ {imports} }} from "aws-cdk-lib";
import {{ AttributeType, BillingMode, Table }} from "aws-cdk-lib/aws-dynamodb";
import {{ Construct }} from "constructs";

/** The table that `dynamo-lock table create` makes. */
export class LockTable extends Table {{
  constructor(scope: Construct, id: string) {{
    super(scope, id, {{
{properties}    }});
{tags}  }}
}}
"#
    )
}
