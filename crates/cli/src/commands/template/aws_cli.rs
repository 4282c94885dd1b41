//! The table as calls of the AWS command line.

use dynamo_lock::store::{DynamoDbUrl, TableDefinition};

use super::{alarms, quoted};

/// Returns a shell script with the requests that `table create` sends. Structures are JSON, because the shorthand of
/// the AWS command line has no escapes for all names. The calls for the alarms follow if requested.
pub fn render(table: &TableDefinition, url: &DynamoDbUrl, with_alarms: bool) -> String {
    let key = quoted(&table.partition_key);
    let mut create = vec![
        format!("--attribute-definitions {}", shell(&format!(r#"[{{"AttributeName":{key},"AttributeType":"S"}}]"#))),
        format!("--key-schema {}", shell(&format!(r#"[{{"AttributeName":{key},"KeyType":"HASH"}}]"#))),
    ];
    match table.provisioned {
        None => create.push("--billing-mode PAY_PER_REQUEST".to_owned()),
        Some((read, write)) => {
            create.push("--billing-mode PROVISIONED".to_owned());
            let units = format!(r#"{{"ReadCapacityUnits":{read},"WriteCapacityUnits":{write}}}"#);
            create.push(format!("--provisioned-throughput {}", shell(&units)));
        }
    }
    let protection = if table.deletion_protection { "" } else { "no-" };
    create.push(format!("--{protection}deletion-protection-enabled"));
    if !table.tags.is_empty() {
        let tag = |(key, value): &(String, String)| format!(r#"{{"Key":{},"Value":{}}}"#, quoted(key), quoted(value));
        let tags: Vec<_> = table.tags.iter().map(tag).collect();
        create.push(format!("--tags {}", shell(&format!("[{}]", tags.join(",")))));
    }
    let mut script = "# The table that `dynamo-lock table create` makes.\nset -eu\n".to_owned();
    script += &call(table, url, "create-table", &create);
    script += &call(table, url, "wait table-exists", &[]);
    if let Some(attribute) = table.ttl_attribute {
        let ttl = format!(r#"{{"AttributeName":{},"Enabled":true}}"#, quoted(attribute));
        script += &call(table, url, "update-time-to-live", &[format!("--time-to-live-specification {}", shell(&ttl))]);
    }
    if with_alarms {
        script += &alarms(table, url);
    }
    script
}

/// Returns the calls that create the alarms. The endpoint of the URL is that of DynamoDB, so they do not use it.
fn alarms(table: &TableDefinition, url: &DynamoDbUrl) -> String {
    let name = table.table_name();
    let alarm = |(metric, description): (&str, &str)| {
        let mut all = vec!["  aws cloudwatch put-metric-alarm".to_owned()];
        all.extend([("region", &url.region), ("profile", &url.profile)].into_iter().filter_map(option));
        all.extend([
            format!("--alarm-name \"{}\"", alarms::name(table, metric, "$operation")),
            format!("--alarm-description {}", shell(description)),
            format!("--namespace {}", alarms::NAMESPACE),
            format!("--metric-name {metric}"),
            format!("--dimensions \"Name=TableName,Value={name}\" \"Name=Operation,Value=$operation\""),
            "--statistic Sum".to_owned(),
            format!("--period {}", alarms::PERIOD),
            format!("--evaluation-periods {}", alarms::PERIODS),
            format!("--datapoints-to-alarm {}", alarms::FAILING),
            "--threshold 0".to_owned(),
            "--comparison-operator GreaterThanThreshold".to_owned(),
            "--treat-missing-data notBreaching".to_owned(),
        ]);
        all.join(" \\\n    ") + "\n"
    };
    let calls: String = alarms::METRICS.into_iter().map(alarm).collect();
    format!("for operation in {}; do\n{calls}done\n", alarms::operations().join(" "))
}

/// Returns an option of the AWS command line, if it has a value.
fn option((name, value): (&str, &Option<String>)) -> Option<String> {
    value.as_deref().map(|value| format!("--{name} {}", shell(value)))
}

/// Returns one call, with the table and the place of the store's URL.
fn call(table: &TableDefinition, url: &DynamoDbUrl, operation: &str, arguments: &[String]) -> String {
    let mut all = vec![format!("aws dynamodb {operation}"), format!("--table-name {}", shell(&table.table))];
    let place = [("region", &url.region), ("profile", &url.profile), ("endpoint-url", &url.endpoint)];
    all.extend(place.into_iter().filter_map(option));
    all.extend_from_slice(arguments);
    all.join(" \\\n  ") + "\n"
}

/// Returns the text as one word of a POSIX shell.
fn shell(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}
