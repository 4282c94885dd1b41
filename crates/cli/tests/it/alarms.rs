//! `table print --alarms`: each tool makes the same alarms, and only on the table of the template.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use crate::support::{Fixture, Running};
use crate::template::{Case, format_terraform, has_terraform, lint, parameter, tool};

const TOOLS: [&str; 4] = ["--terraform", "--cloudformation", "--cdk", "--aws-cli"];

/// Returns the alarms as requests `PutMetricAlarm`, by name and without their descriptions.
fn alarms(fixture: &Fixture, tool: &str, text: &str) -> BTreeMap<String, Json> {
    let alarms = match tool {
        "--terraform" => terraform(text),
        "--cloudformation" => cloudformation(text),
        "--cdk" => cdk(text),
        _ => aws_cli(fixture, text),
    };
    let named = alarms.into_iter().map(|mut alarm| {
        let description = alarm.remove("AlarmDescription").expect("a description");
        assert!(description.as_str().is_some_and(|text| text.contains("locks")), "{description}");
        (alarm["AlarmName"].as_str().expect("a name").to_owned(), Json::Object(alarm))
    });
    named.collect()
}

/// Returns the alarms that a table of this name gets.
fn expected(table: &str) -> BTreeMap<String, Json> {
    let alarm = |metric: &str, operation: &str| {
        let name = format!("{table}-{metric}-{operation}");
        let alarm = json!({
            "AlarmName": name, "Namespace": "AWS/DynamoDB", "MetricName": metric,
            "Dimensions": dimensions(table, operation), "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 5,
            "DatapointsToAlarm": 3, "Threshold": 0, "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "notBreaching",
        });
        (name, alarm)
    };
    let metrics = ["ThrottledRequests", "SystemErrors"];
    metrics
        .iter()
        .flat_map(|metric| ["GetItem", "UpdateItem", "Scan"].map(|operation| alarm(metric, operation)))
        .collect()
}

fn dimensions(table: &str, operation: &str) -> Json {
    json!([{ "Name": "TableName", "Value": table }, { "Name": "Operation", "Value": operation }])
}

/// Returns the value of an argument that is a string, a number, or another expression.
fn value(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_else(|_| Json::from(text))
}

fn terraform(text: &str) -> Vec<Map<String, Json>> {
    let name = text.lines().find_map(|line| line.strip_prefix("  name ")).expect("the table");
    let table = value(name.trim_start_matches([' ', '=']));
    let mut alarms = Vec::new();
    for resource in text.split("\nresource \"aws_cloudwatch_metric_alarm\" ").skip(1) {
        let arguments = resource.lines().filter_map(|line| line.trim().split_once('='));
        let arguments: BTreeMap<_, _> = arguments.map(|(name, value)| (name.trim(), value.trim())).collect();
        let set = arguments["for_each"].strip_prefix("toset(").and_then(|set| set.strip_suffix(')'));
        for operation in serde_json::from_str::<Vec<String>>(set.expect("a set")).expect("strings") {
            let resolve = |text: &str| match text {
                "aws_dynamodb_table.lock.name" => table.clone(),
                "each.value" => Json::from(operation.as_str()),
                text => value(&text.replace("${each.value}", &operation)),
            };
            let text = |name: &str| resolve(arguments[name]).as_str().unwrap_or_default().to_owned();
            let known = |name: &&str| !["for_each", "dimensions", "TableName", "Operation"].contains(name);
            let plain = arguments.iter().filter(|(name, _)| known(name));
            let mut alarm: Map<_, _> =
                plain.map(|(name, text)| (parameter(&name.replace('_', "-")), resolve(text))).collect();
            alarm.insert("Dimensions".to_owned(), dimensions(&text("TableName"), &text("Operation")));
            alarms.push(alarm);
        }
    }
    alarms
}

fn cloudformation(text: &str) -> Vec<Map<String, Json>> {
    let template: Json = serde_json::from_str(text).expect("JSON");
    let resources = template["Resources"].as_object().expect("resources");
    let alarms = resources.values().filter(|resource| resource["Type"] == "AWS::CloudWatch::Alarm");
    let alarm = |resource: &Json| {
        let mut alarm = resource["Properties"].as_object().expect("properties").clone();
        for dimension in alarm["Dimensions"].as_array_mut().expect("dimensions") {
            if let Some(name) = dimension["Value"]["Ref"].as_str() {
                dimension["Value"] = resources[name]["Properties"]["TableName"].clone();
            }
        }
        alarm
    };
    alarms.map(alarm).collect()
}

/// Parses the two loops. The language is a subset of TypeScript: one property on each line.
fn cdk(text: &str) -> Vec<Map<String, Json>> {
    let name = text.lines().find_map(|line| line.trim().strip_prefix("tableName: ")).expect("the table");
    let table = value(name.trim_end_matches(','));
    let (metrics, body) = text.split_once("of [\n").expect("metrics").1.split_once("    ]) {\n").expect("their end");
    let metrics: Vec<[String; 2]> =
        serde_json::from_str(&format!("[{}]", metrics.trim().trim_end_matches(','))).expect("pairs");
    let (operations, body) = body.trim_start().split_once(") {\n").expect("operations");
    let operations: Vec<String> =
        serde_json::from_str(operations.strip_prefix("for (const operation of ").expect("a loop")).expect("strings");
    let mut alarms = Vec::new();
    for (metric, description, operation) in metrics
        .iter()
        .flat_map(|[metric, description]| operations.iter().map(move |operation| (metric, description, operation)))
    {
        let mut alarm = Map::from_iter([
            ("MetricName".to_owned(), Json::from(metric.as_str())),
            ("AlarmDescription".to_owned(), Json::from(description.as_str())),
        ]);
        for line in body.lines().map(|line| line.trim().trim_end_matches(',')) {
            let Some((property, expression)) = line.split_once(": ") else { continue };
            let value = match (property, expression) {
                ("metric", "new Metric({") => continue,
                ("alarmName", name) => {
                    let name = name.replace("${metricName}", metric).replace("${operation}", operation);
                    Json::from(name.trim_matches('`'))
                }
                ("dimensionsMap", "{ TableName: this.tableName, Operation: operation }") => {
                    alarm.insert("Dimensions".to_owned(), dimensions(table.as_str().expect("text"), operation));
                    continue;
                }
                ("period", seconds) => value(seconds.trim_start_matches("Duration.seconds(").trim_end_matches(')')),
                (_, "ComparisonOperator.GREATER_THAN_THRESHOLD") => "GreaterThanThreshold".into(),
                (_, "TreatMissingData.NOT_BREACHING") => "notBreaching".into(),
                (_, expression) => value(expression),
            };
            alarm.insert(property[..1].to_uppercase() + &property[1..], value);
        }
        assert!(body.contains("        new Alarm(this, metricName + operation, {\n          alarmName"), "{body}");
        alarms.push(alarm);
    }
    alarms
}

/// Runs the script with a stub of `aws` that prints its arguments, and parses them.
fn aws_cli(fixture: &Fixture, text: &str) -> Vec<Map<String, Json>> {
    let stub = "aws() { printf '%s\\0' \"$@\"; printf '\\n'; }\n";
    let printed = fixture.run_script(&format!("{stub}{text}")).exits_with(0).stdout;
    let calls = printed.lines().filter_map(|call| call.strip_prefix("cloudwatch\0put-metric-alarm\0--"));
    let alarm = |call: &str| {
        let options = call.trim_end_matches('\0').split("\0--").map(|option| option.split_once('\0').expect("a value"));
        let options = options.filter(|(name, _)| *name != "region").map(|(name, text)| {
            let dimension = |text: &str| {
                let pair = text.strip_prefix("Name=").and_then(|text| text.split_once(",Value="));
                pair.map(|(name, value)| json!({ "Name": name, "Value": value })).expect("a dimension")
            };
            let value = if name == "dimensions" { text.split('\0').map(dimension).collect() } else { value(text) };
            (parameter(name), value)
        });
        options.collect()
    };
    calls.map(alarm).collect()
}

#[test]
fn alarms_of_each_tool_watch_the_table_of_the_template() {
    for case in Case::all() {
        for tool in TOOLS {
            let text = case.print(tool, &["--alarms"]);
            assert_eq!(alarms(&case.fixture, tool, &text), expected("Lock"), "{tool}");
        }
    }
    let arn = "arn:aws:dynamodb:us-west-2:123456789012:table/Other.table-1";
    for tool in TOOLS {
        let fixture = Fixture::new();
        let text = fixture.run(&["table", "print", tool, "--table", arn, "--alarms"]).exits_with(0).stdout;
        assert_eq!(alarms(&fixture, tool, &text), expected("Other.table-1"), "{tool}");
    }
}

/// Each parser notices an alarm on another table or metric.
#[test]
fn control_other_alarms_are_detected() {
    let case = Case::all().next().expect("a case");
    for (tool, table, other) in [
        ("--terraform", "aws_dynamodb_table.lock.name", "\"Other\""),
        ("--cloudformation", "{ \"Ref\": \"LockTable\" }", "\"Other\""),
        ("--cdk", "TableName: this.tableName", "TableName: \"Other\""),
        ("--aws-cli", "Name=TableName,Value=Lock", "Name=TableName,Value=Other"),
    ] {
        let text = case.print(tool, &["--alarms"]);
        assert!(text.contains(table), "{tool}: {text}");
        for changed in [text.replace(table, other), text.replace("SystemErrors", "UserErrors")] {
            assert_ne!(alarms(&case.fixture, tool, &changed), expected("Lock"), "{tool}");
        }
        assert!(!case.print(tool, &[]).contains("larm"), "{tool}");
    }
}

#[test]
fn alarms_leave_the_table_as_it_is() {
    for case in Case::all() {
        for tool in ["--terraform", "--aws-cli"] {
            assert!(case.print(tool, &["--alarms"]).starts_with(&case.print(tool, &[])), "{tool}");
        }
        let [with, without] = [&["--alarms"][..], &[]].map(|options| {
            let template: Json = serde_json::from_str(&case.print("--cloudformation", options)).expect("JSON");
            template["Resources"]["LockTable"].clone()
        });
        assert_eq!(with, without);
        let [with, without] = [&["--alarms"][..], &[]].map(|options| {
            let text = case.print("--cdk", options);
            text.split_once("/** The table").expect("the class").1.to_owned()
        });
        assert!(with.starts_with(without.strip_suffix("  }\n}\n").expect("its end")), "{with}");
    }
}

#[test]
fn terraform_accepts_the_format_of_alarms() {
    if has_terraform("terraform_accepts_the_format_of_alarms") {
        for case in Case::all() {
            format_terraform(&case.print("--terraform", &["--alarms"])).exits_with(0);
        }
    }
}

#[test]
fn cfn_lint_accepts_every_template_with_alarms() {
    let templates: Vec<_> = Case::all().map(|case| case.print("--cloudformation", &["--alarms"])).collect();
    let lint = |templates: &[String]| lint("cfn_lint_accepts_every_template_with_alarms", templates);
    let Some(finished) = lint(&templates) else { return };
    finished.exits_with(0);
    let wrong = lint(&[templates[0].replace("\"Statistic\"", "\"Statistics\"")]);
    assert!(wrong.is_some_and(|finished| finished.code != Some(0)), "control: an unknown property");
}

/// The real AWS command line accepts the calls. It validates them and sends nothing.
#[test]
fn aws_cli_accepts_the_calls_for_alarms() {
    let case = Case::all().next().expect("a case");
    let Some(tool) = tool("aws_cli_accepts_the_calls_for_alarms", &case.fixture, "awscli.clidriver") else { return };
    let words: Vec<_> = std::iter::once(tool.get_program()).chain(tool.get_args()).collect();
    let words = words.iter().map(|word| format!("'{}'", word.to_string_lossy())).collect::<Vec<_>>().join(" ");
    let stub = format!("aws() {{ test $1 = dynamodb || {words} \"$@\" --generate-cli-skeleton output; }}\n");
    let run = |text: &str| Running::spawn(case.fixture.command_of("sh", &["-c", &(stub.clone() + text)])).wait();
    let text = case.print("--aws-cli", &["--alarms"]);
    run(&text).exits_with(0);
    assert_ne!(run(&text.replace("--period", "--periods")).code, Some(0), "control: an unknown option");
}
