//! The table as a resource of Terraform's AWS provider, in the format of `terraform fmt`.

use std::fmt::Write as _;

use dynamo_lock::store::TableDefinition;

use super::alarms;

/// Returns the resource of the table, and those of the alarms if requested.
pub fn render(table: &TableDefinition, with_alarms: bool) -> String {
    let mut text =
        "# The table that `dynamo-lock table create` makes.\nresource \"aws_dynamodb_table\" \"lock\" {\n".to_owned();
    let mut arguments = vec![("name", string(table.table_name()))];
    match table.provisioned {
        None => arguments.push(("billing_mode", string("PAY_PER_REQUEST"))),
        Some((read, write)) => {
            arguments.push(("billing_mode", string("PROVISIONED")));
            arguments.push(("read_capacity", read.to_string()));
            arguments.push(("write_capacity", write.to_string()));
        }
    }
    arguments.push(("hash_key", string(&table.partition_key)));
    arguments.push(("deletion_protection_enabled", table.deletion_protection.to_string()));
    text += &aligned(2, arguments.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    text += &block("attribute", &[("name", string(&table.partition_key)), ("type", string("S"))]);
    if let Some(attribute) = table.ttl_attribute {
        text += &block("ttl", &[("attribute_name", string(attribute)), ("enabled", "true".to_owned())]);
    }
    if !table.tags.is_empty() {
        let tags = table.tags.iter().map(|(key, value)| (string(key), string(value)));
        let _ = write!(text, "\n  tags = {{\n{}  }}\n", aligned(4, tags));
    }
    // A new table would begin with small fencing tokens.
    text += &(block("lifecycle", &[("prevent_destroy", "true".to_owned())]) + "}\n");
    let metrics = alarms::METRICS.iter().filter(|_| with_alarms);
    text + &metrics.map(|(metric, description)| alarm(table, metric, description)).collect::<String>()
}

/// Returns a resource with an alarm for each operation.
fn alarm(table: &TableDefinition, metric: &str, description: &str) -> String {
    // The names of resources are in snake case.
    let resource: String =
        metric.chars().map(|c| if c.is_uppercase() { format!("_{}", c.to_lowercase()) } else { c.into() }).collect();
    let operations: Vec<_> = alarms::operations().into_iter().map(string).collect();
    let first = [("for_each", format!("toset([{}])", operations.join(", ")))];
    let arguments = [
        ("alarm_name", format!("\"{}\"", alarms::name(table, metric, "${each.value}"))),
        ("alarm_description", string(description)),
        ("namespace", string(alarms::NAMESPACE)),
        ("metric_name", string(metric)),
        ("statistic", string("Sum")),
        ("period", alarms::PERIOD.to_string()),
        ("evaluation_periods", alarms::PERIODS.to_string()),
        ("datapoints_to_alarm", alarms::FAILING.to_string()),
        ("threshold", "0".to_owned()),
        ("comparison_operator", string("GreaterThanThreshold")),
        ("treat_missing_data", string("notBreaching")),
    ];
    let dimensions = [("TableName", "aws_dynamodb_table.lock.name"), ("Operation", "each.value")];
    let owned = |(name, value): (&str, String)| (name.to_owned(), value);
    format!(
        "\nresource \"aws_cloudwatch_metric_alarm\" \"lock{resource}\" {{\n{}\n{}\n  dimensions = {{\n{}  }}\n}}\n",
        aligned(2, first.into_iter().map(owned)),
        aligned(2, arguments.into_iter().map(owned)),
        aligned(4, dimensions.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter()),
    )
}

fn block(name: &str, arguments: &[(&str, String)]) -> String {
    let arguments = arguments.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    format!("\n  {name} {{\n{}  }}\n", aligned(4, arguments))
}

/// Returns one line for each argument, with the equals signs in one column.
fn aligned(indent: usize, arguments: impl Iterator<Item = (String, String)> + Clone) -> String {
    let width = arguments.clone().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    arguments.map(|(name, value)| format!("{:indent$}{name:width$} = {value}\n", "")).collect()
}

/// Returns the text as a string without templates.
fn string(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => _ = write!(quoted, "\\u{:04x}", c as u32),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted.replace("${", "$${").replace("%{", "%%{")
}
