//! The policies of `policy` permit exactly the requests that a proxy records for each use.
//!
//! The table `REQUIREMENTS` of the library maps each request to the actions that it needs. A small evaluator of IAM
//! policies decides whether a policy permits them.

use std::collections::BTreeSet;

use dynamo_lock::aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use dynamo_lock::aws_sdk_dynamodb::{self as sdk, config::Credentials};
use dynamo_lock::store::iam::{REQUIREMENTS, Resource};
use dynamo_lock::{Client, DynamoDb};
use serde_json::Value as Json;

use crate::support::proxy::Proxy;
use crate::support::{Fixture, Running, server_table_url, server_url};

const ACCOUNT: &str = "123456789012";
const REGION: &str = "us-east-1";
/// Table of the user, in transactions.
const OTHER: &str = "other";

/// Access that a policy permits or not.
#[derive(Clone, Debug)]
struct Access {
    action: String,
    resource: String,
    /// Value of `dynamodb:LeadingKeys`.
    key: Option<String>,
}

/// Returns the accesses that a request needs, by the library's table.
fn accesses(operation: &str, body: &Json) -> Vec<Access> {
    let rows: Vec<_> = REQUIREMENTS.iter().filter(|row| row.operation == operation).collect();
    assert!(!rows.is_empty(), "{operation} is not in the table");
    let elements = body["TransactItems"].as_array().into_iter().flatten();
    let mut all = Vec::new();
    for row in rows {
        match row.parameter {
            None => all.push(access(row.action, row.resource, body)),
            Some(parameter) if body.get(parameter).is_some() => all.push(access(row.action, row.resource, body)),
            Some(parameter) => {
                let parts = elements.clone().filter_map(|element| element.get(parameter));
                all.extend(parts.map(|part| access(row.action, row.resource, part)));
            }
        }
    }
    all
}

fn access(action: &str, resource: Resource, body: &Json) -> Access {
    let table = body["TableName"].as_str().or(body["GlobalTableName"].as_str()).expect("the name of the table");
    let resource_of_action = match resource {
        Resource::GlobalTable => format!("arn:aws:dynamodb::{ACCOUNT}:global-table/{table}"),
        _ => table_arn(table),
    };
    let item = body.get("Key").or(body.get("Item"));
    let key = item.map(|item| item["name"]["S"].as_str().or(item["id"]["S"].as_str()).expect("its key").to_owned());
    assert_eq!(key.is_some(), resource == Resource::Item, "{action}");
    Access { action: format!("dynamodb:{action}"), resource: resource_of_action, key }
}

fn table_arn(table: &str) -> String {
    format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}")
}

/// Returns whether the policy permits the access, as IAM decides it.
fn permits(policy: &Json, access: &Access) -> bool {
    let statements = policy["Statement"].as_array().expect("statements").iter();
    let mut permitting = statements.filter(|statement| {
        assert_eq!(statement["Effect"], "Allow");
        actions_of(statement).contains(&access.action) && statement["Resource"] == *access.resource
    });
    permitting.any(|statement| {
        let conditions = statement["Condition"].as_object().into_iter().flatten();
        conditions.into_iter().all(|(operator, keys)| holds(operator, &keys["dynamodb:LeadingKeys"], access))
    })
}

fn holds(operator: &str, expected: &Json, access: &Access) -> bool {
    match operator {
        // True also for a request without the key.
        "ForAllValues:StringLike" => access.key.iter().all(|key| {
            let patterns = expected.as_array().expect("patterns").iter();
            patterns.into_iter().any(|pattern| is_like(pattern.as_str().expect("a pattern"), key))
        }),
        "Null" => expected == if access.key.is_none() { "true" } else { "false" },
        other => panic!("the operator {other} is unknown"),
    }
}

/// Returns whether the text matches a pattern of IAM, with `${*}`, `${?}` and `${$}` for the characters themselves.
fn is_like(pattern: &str, text: &str) -> bool {
    for literal in ["*", "?", "$"] {
        if let Some(rest) = pattern.strip_prefix(&format!("${{{literal}}}")) {
            return text.strip_prefix(literal).is_some_and(|text| is_like(rest, text));
        }
    }
    assert!(!pattern.starts_with("${"), "IAM would replace the variable in {pattern}");
    let (mut pattern_chars, mut text_chars) = (pattern.chars(), text.chars());
    match (pattern_chars.next(), text_chars.next()) {
        (None, None) => true,
        (Some('*'), None) => is_like(pattern_chars.as_str(), text),
        (Some('*'), Some(_)) => is_like(pattern_chars.as_str(), text) || is_like(pattern, text_chars.as_str()),
        (Some('?'), Some(_)) => is_like(pattern_chars.as_str(), text_chars.as_str()),
        (Some(a), Some(b)) => a == b && is_like(pattern_chars.as_str(), text_chars.as_str()),
        _ => false,
    }
}

fn actions_of(statement: &Json) -> BTreeSet<String> {
    let actions = statement["Action"].as_array().expect("actions").iter();
    actions.map(|action| action.as_str().expect("a name").to_owned()).collect()
}

fn actions(policy: &Json) -> BTreeSet<String> {
    policy["Statement"].as_array().expect("statements").iter().flat_map(actions_of).collect()
}

/// Returns the policy without one action.
fn without(policy: &Json, action: &str) -> Json {
    let mut policy = policy.clone();
    for statement in policy["Statement"].as_array_mut().expect("statements") {
        statement["Action"].as_array_mut().expect("actions").retain(|other| other != action);
    }
    policy
}

/// Returns why a policy is not exactly what these requests need, or `Ok`.
fn check(policy: &Json, needed: &[Access]) -> Result<(), String> {
    if let Some(denied) = needed.iter().find(|access| !permits(policy, access)) {
        return Err(format!("{denied:?} is denied"));
    }
    let needless = |action: &String| needed.iter().all(|access| permits(&without(policy, action), access));
    match actions(policy).into_iter().find(needless) {
        Some(action) => Err(format!("{action} is not needed")),
        None => Ok(()),
    }
}

/// A table behind a recording proxy.
struct Recorder {
    proxy: Proxy,
    fixture: Fixture,
    table: String,
}

impl Recorder {
    /// Creates the table. Without a server, reports the test as skipped and returns `None`.
    fn new(test: &str) -> Option<Self> {
        let proxy = Proxy::to(&server_url(test)?);
        let table = format!("{test}-{}", std::process::id());
        let fixture = Fixture::with_store(&server_table_url(&table, &proxy.url()));
        let recorder = Self { proxy, fixture, table };
        recorder.fixture.run(&["table", "create"]).exits_with(0);
        recorder.proxy.take_requests();
        Some(recorder)
    }

    /// Runs these commands, and returns the accesses that they needed.
    fn record(&self, commands: &[&[&str]]) -> Vec<Access> {
        self.proxy.take_requests();
        for command in commands {
            self.fixture.run(command).exits_with(0);
        }
        self.needed()
    }

    /// Returns the accesses that the requests since the last call needed.
    fn needed(&self) -> Vec<Access> {
        self.proxy.take_requests().iter().flat_map(|(operation, body)| accesses(operation, body)).collect()
    }

    fn policy(&self, arguments: &[&str]) -> Json {
        let fixed = ["policy", "--account", ACCOUNT, "--region", REGION, "--json"];
        let finished = self.fixture.run(&[&fixed, arguments].concat()).exits_with(0);
        assert_eq!(finished.stderr, "");
        serde_json::from_str(&finished.stdout).expect("JSON")
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.fixture.run(&["table", "delete", "--yes"]);
    }
}

const RUN: &[&[&str]] = &[
    &["run", "orders/a", "--", "true"],
    &["run", "--also", "orders/b", "orders/a", "--", "true"],
    &["run", "--slots", "2", "orders/slots", "--", "true"],
    &["run", "--shared", "orders/shared", "--", "true"],
    &["once", "orders/job", "--", "true"],
    &["hold", "orders/hold", "1s"],
    &["show", "orders/a"],
];

#[test]
fn policy_of_run_is_exact() {
    let Some(recorder) = Recorder::new("policy_of_run_is_exact") else { return };
    let needed = recorder.record(RUN);
    let (all, orders) = (recorder.policy(&["run"]), recorder.policy(&["run", "--prefix", "orders/"]));
    assert_eq!(check(&all, &needed), Ok(()));
    assert_eq!(check(&orders, &needed), Ok(()));
    let other = recorder.record(&[&["run", "order", "--", "true"], &["show", "order"]]);
    assert_eq!(check(&all, &other), Ok(()));
    assert!(other.iter().all(|access| !permits(&orders, access)), "{other:?}");
    // A condition on a key does not admit requests without one.
    let list = recorder.record(&[&["ls"]]);
    let scan = Json::from("dynamodb:Scan");
    let mut with_scan = orders;
    with_scan["Statement"][0]["Action"].as_array_mut().expect("actions").push(scan);
    assert!(!permits(&with_scan, &list[0]), "{with_scan}");
}

#[test]
fn policies_of_list_and_operate_are_exact() {
    let Some(recorder) = Recorder::new("policies_of_list_and_operate_are_exact") else { return };
    assert_eq!(check(&recorder.policy(&["list"]), &recorder.record(&[&["ls"], &["ls", "--held"]])), Ok(()));
    recorder.record(RUN);
    let token = recorder.fixture.run(&["hold", "orders/b", "1m"]).exits_with(0).stdout;
    let single: &[&[&str]] = &[
        &["show", "orders/b"],
        &["revoke", "orders/b", "--token", token.trim(), "--yes"],
        &["reset", "orders/slots"],
        &["once", "--reset", "orders/job", "--yes"],
    ];
    let mut needed = recorder.record(single);
    assert_eq!(check(&recorder.policy(&["operate", "--prefix", "orders/"]), &needed), Ok(()));
    needed.extend(recorder.record(&[&["ls"]]));
    assert_eq!(check(&recorder.policy(&["operate"]), &needed), Ok(()));
}

#[test]
fn policy_of_admin_is_exact() {
    let Some(recorder) = Recorder::new("policy_of_admin_is_exact") else { return };
    let delete: &[&str] = &["table", "delete", "--yes"];
    recorder.record(&[delete]);
    let create: &[&str] = &["table", "create", "--tag", "team=payments"];
    let needed = recorder.record(&[create, &["table", "check"], delete]);
    let policy = recorder.policy(&["admin"]);
    assert_eq!(check(&policy, &needed), Ok(()));
    // Without tags, the permission for them is not needed.
    let untagged = recorder.record(&[&["table", "create"], &["table", "check"], delete]);
    assert_eq!(check(&policy, &untagged), Err("dynamodb:TagResource is not needed".to_owned()));
    recorder.record(&[create]);
}

#[tokio::test]
async fn policy_of_transaction_is_exact() {
    let Some(recorder) = Recorder::new("policy_of_transaction_is_exact") else { return };
    let other = Fixture::with_store(&server_table_url(OTHER, &recorder.proxy.url()));
    other.run(&["table", "create"]).exits_with(0);
    recorder.record(RUN);
    let config = sdk::Config::builder()
        .behavior_version(sdk::config::BehaviorVersion::latest())
        .region(sdk::config::Region::new(REGION))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(recorder.proxy.url())
        .build();
    let aws = sdk::Client::from_conf(config);
    let store = DynamoDb::new(aws.clone(), &recorder.table);
    let client = Client::builder(store.clone()).build().expect("a client");
    let guard = client.lock("orders/a").expect("a name").acquire().await.expect("acquired");
    let check_of_lock = store.condition_check(&guard).expect("the same table");
    let put = Put::builder().table_name(OTHER).item("name", AttributeValue::S("1".to_owned())).build();
    let transaction = aws
        .transact_write_items()
        .transact_items(TransactWriteItem::builder().condition_check(check_of_lock).build())
        .transact_items(TransactWriteItem::builder().put(put.expect("complete")).build());
    transaction.send().await.expect("applied");
    client.lock("orders/a").expect("a name").inspect().await.expect("a row");
    guard.release().await.expect("released");
    let (own, needed): (Vec<_>, Vec<_>) =
        recorder.needed().into_iter().partition(|access| access.resource == table_arn(OTHER));
    assert_eq!(own.iter().map(|access| &access.action[..]).collect::<Vec<_>>(), ["dynamodb:PutItem"]);
    for arguments in [&["transaction"][..], &["transaction", "--prefix", "orders/"]] {
        let policy = recorder.policy(arguments);
        assert_eq!(check(&policy, &needed), Ok(()));
        assert!(!permits(&policy, &own[0]));
    }
}

#[test]
fn prefix_with_special_characters_is_literal() {
    let fixture = Fixture::new();
    for prefix in ["a*b?c", "${aws:username}/", "$*", "über \"quoted\" \\"] {
        let printed = fixture.run(&["policy", "run", "--table", "Lock", "--prefix", prefix]).exits_with(0).stdout;
        let policy: Json = serde_json::from_str(&printed).expect("JSON");
        let pattern = &policy["Statement"][0]["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"][0];
        let pattern = pattern.as_str().expect("a pattern");
        assert!(is_like(pattern, prefix) && is_like(pattern, &format!("{prefix}x")), "{pattern}");
        for other in ["", "axbyc", "a*byc", "admin/", "$", "$x"] {
            assert!(!is_like(pattern, other), "{pattern} admits {other:?}");
        }
    }
}

#[test]
fn unusable_prefixes_are_refused_with_reason() {
    let fixture = Fixture::new();
    for (arguments, reason) in [
        (["list", "orders/"], "dynamodb:LeadingKeys does not restrict"),
        (["admin", "orders/"], "the table as a whole"),
        (["run", ""], "the prefix is empty and would permit all locks"),
        (["run", "a\nb"], "control character"),
    ] {
        let [permitted, prefix] = arguments;
        fixture.run(&["policy", permitted, "--table", "Lock", "--prefix", prefix]).exits_with(64).prints(reason);
    }
    fixture.run(&["policy", "run"]).exits_with(64).prints("name a table with --table");
    fixture.run(&["policy", "run", "--table", "Lock", "--account", "1"]).exits_with(64).prints("12 digits");
}

#[test]
fn resource_comes_from_arn_options_and_environment() {
    let fixture = Fixture::new();
    let resource = |region: Option<&str>, arguments: &[&str]| {
        let mut command = fixture.command(&[&["policy", "run"], arguments].concat());
        region.map(|region| command.env("AWS_REGION", region));
        let finished = Running::spawn(command).wait().exits_with(0);
        let policy: Json = serde_json::from_str(&finished.stdout).expect("JSON");
        (policy["Statement"][0]["Resource"].as_str().expect("a text").to_owned(), finished.stderr)
    };
    let (arn, notes) = resource(None, &["--table", "Lock"]);
    assert_eq!(arn, "arn:aws:dynamodb:<REGION>:<ACCOUNT>:table/Lock");
    assert!(notes.contains("replace <REGION>, unless --region gives it, and <ACCOUNT>"), "{notes}");
    let given = ["--table", "Lock", "--account", ACCOUNT];
    let (arn, notes) = resource(Some("eu-west-1"), &given);
    assert_eq!(arn, "arn:aws:dynamodb:eu-west-1:123456789012:table/Lock");
    assert!(!notes.contains("placeholder"), "{notes}");
    assert!(
        resource(Some("eu-west-1"), &[&given[..], &["--region", "cn-north-1"]].concat()).0.starts_with("arn:aws-cn")
    );
    let arn = "arn:aws:dynamodb:us-west-2:123456789012:table/Lock";
    assert_eq!(resource(Some("eu-west-1"), &["--table", arn]).0, arn);
    fixture.run(&["policy", "run", "--table", arn, "--account", "210987654321"]).exits_with(64).prints("--account");
}

#[test]
fn control_incomplete_and_excessive_policies_are_detected() {
    let policy = |actions: &[&str]| serde_json::json!({ "Statement": [{ "Effect": "Allow", "Action": actions, "Resource": table_arn("Lock") }] });
    let body = serde_json::json!({ "TableName": "Lock", "Key": { "name": { "S": "a" } } });
    let needed = accesses("GetItem", &body);
    assert_eq!(check(&policy(&["dynamodb:GetItem"]), &needed), Ok(()));
    assert!(check(&policy(&["dynamodb:UpdateItem"]), &needed).is_err_and(|error| error.ends_with("is denied")));
    let excessive = check(&policy(&["dynamodb:GetItem", "dynamodb:PutItem"]), &needed);
    assert_eq!(excessive, Err("dynamodb:PutItem is not needed".to_owned()));
    let other = serde_json::json!({ "TableName": "Other", "Key": { "name": { "S": "a" } } });
    assert!(check(&policy(&["dynamodb:GetItem"]), &accesses("GetItem", &other)).is_err());
}
