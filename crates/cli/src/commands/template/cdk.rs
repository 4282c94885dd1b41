//! The table as a construct of the AWS CDK.

use std::fmt::Write as _;

use dynamo_lock::store::TableDefinition;

use super::{alarms, quoted};

/// Returns a module in TypeScript, with the alarms if requested.
pub fn render(table: &TableDefinition, with_alarms: bool) -> String {
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
    let mut imports = vec!["RemovalPolicy"];
    imports.splice(0..0, with_alarms.then_some("Duration"));
    imports.extend((!tags.is_empty()).then_some("Tags"));
    let imports = imports.join(", ");
    let (alarm_import, alarms) = if with_alarms { (ALARM_IMPORT, alarms(table)) } else { ("", String::new()) };
    format!(
        r#"import {{ {imports} }} from "aws-cdk-lib";
{alarm_import}import {{ AttributeType, BillingMode, Table }} from "aws-cdk-lib/aws-dynamodb";
import {{ Construct }} from "constructs";

/** The table that `dynamo-lock table create` makes. */
export class LockTable extends Table {{
  constructor(scope: Construct, id: string) {{
    super(scope, id, {{
{properties}    }});
{tags}{alarms}  }}
}}
"#
    )
}

/// Import of the alarms.
const ALARM_IMPORT: &str =
    "import { Alarm, ComparisonOperator, Metric, TreatMissingData } from \"aws-cdk-lib/aws-cloudwatch\";\n";

/// Returns the statements that create the alarms.
fn alarms(table: &TableDefinition) -> String {
    let operations: Vec<_> = alarms::operations().into_iter().map(quoted).collect();
    let metrics = alarms::METRICS.map(|(metric, description)| format!("[{}, {}]", quoted(metric), quoted(description)));
    format!(
        r#"    for (const [metricName, alarmDescription] of [
      {metrics},
    ]) {{
      for (const operation of [{operations}]) {{
        new Alarm(this, metricName + operation, {{
          alarmName: `{name}`,
          alarmDescription,
          metric: new Metric({{
            namespace: {namespace},
            metricName,
            dimensionsMap: {{ TableName: this.tableName, Operation: operation }},
            statistic: "Sum",
            period: Duration.seconds({period}),
          }}),
          evaluationPeriods: {periods},
          datapointsToAlarm: {failing},
          threshold: 0,
          comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
          treatMissingData: TreatMissingData.NOT_BREACHING,
        }});
      }}
    }}
"#,
        metrics = metrics.join(",\n      "),
        operations = operations.join(", "),
        name = alarms::name(table, "${metricName}", "${operation}"),
        namespace = quoted(alarms::NAMESPACE),
        period = alarms::PERIOD,
        periods = alarms::PERIODS,
        failing = alarms::FAILING,
    )
}
