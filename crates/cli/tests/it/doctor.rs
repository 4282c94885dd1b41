//! `doctor`: names the right fault of each broken set-up, and none of a healthy one.
//!
//! A scripted server on loopback stands in for AWS: it responds to each operation as DynamoDB would, except in what the
//! test breaks.

use std::collections::HashMap;
use std::io::BufReader;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use dynamo_lock::aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};
use serde_json::{Value as Json, json};

use crate::support::{Finished, Fixture, Request, dynamodb_error, respond_with, server_table_url, server_url};
use crate::support::{silent_server, table_url};

const ARN: &str = "arn:aws:sts::123456789012:assumed-role/ci/build";
const KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "IQoJb3JpZ2luX2VjEXAMPLETOKENabcdefghijklmnopqrstuvwxyzQRSTUVWXYZ";

/// Responses of the server: status and body by operation, the empty one for STS.
type Responses = HashMap<&'static str, (&'static str, String)>;

/// A scripted server, and a directory in which `doctor` runs.
struct Setup {
    fixture: Fixture,
    requests: Arc<Mutex<Vec<(String, String)>>>,
    environment: Vec<(&'static str, String)>,
}

impl Setup {
    /// A healthy set-up with these responses in place of the usual ones. The server's clock is ahead by `ahead` seconds.
    fn new(changed: &[(&'static str, (&'static str, String))], ahead: i64) -> Self {
        let mut responses = healthy_responses();
        responses.extend(changed.iter().cloned());
        let (fixture, listener) = silent_server();
        let requests = Arc::<Mutex<Vec<(String, String)>>>::default();
        let recorded = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Ok(request) = Request::read(&mut BufReader::new(&stream)) else { continue };
                let body = String::from_utf8_lossy(&request.body).into_owned();
                recorded.lock().unwrap().push((request.operation.clone(), body));
                let (status, body) = responses.get(&*request.operation).expect("a known operation");
                let headers = format!("Date: {}\r\nx-amzn-RequestId: R1", http_date(ahead));
                let _client_reports_errors = respond_with(&stream, status, &headers, body);
            }
        });
        let endpoint = fixture.store().split("endpoint=").nth(1).expect("an endpoint").to_owned();
        let environment = vec![
            ("AWS_ACCESS_KEY_ID", KEY_ID.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("AWS_SESSION_TOKEN", TOKEN.to_owned()),
            ("AWS_ENDPOINT_URL_STS", endpoint),
        ];
        Self { fixture, requests, environment }
    }

    /// A healthy set-up with another response to one operation.
    fn with(operation: &'static str, status: &'static str, body: impl Into<String>) -> Self {
        Self::new(&[(operation, (status, body.into()))], 0)
    }

    /// A set-up in which the operation fails with this error of DynamoDB.
    fn failing(operations: &[&'static str], code: &str, message: &str) -> Self {
        let error = ("400 Bad Request", dynamodb_error(code, message));
        Self::new(&operations.iter().map(|operation| (*operation, error.clone())).collect::<Vec<_>>(), 0)
    }

    /// Sets a variable, or removes it if the value is empty.
    fn env(mut self, name: &'static str, value: &str) -> Self {
        self.environment.retain(|(other, _)| *other != name);
        self.environment.push((name, value.to_owned()));
        self
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        let mut command = self.fixture.command(&[&["doctor"], arguments].concat());
        for (name, value) in &self.environment {
            match value.as_str() {
                "" => command.env_remove(name),
                value => command.env(name, value),
            };
        }
        let finished = crate::support::Running::spawn(command).wait();
        for secret in [KEY_ID, SECRET, TOKEN, &TOKEN[10..30]] {
            assert!(!finished.stdout.contains(secret) && !finished.stderr.contains(secret), "{finished:?}");
        }
        finished
    }

    fn report(&self, code: i32) -> Report {
        Report::of(self.run(&["--json"]).exits_with(code))
    }

    fn take_requests(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

/// The output of `doctor --json`.
#[derive(Debug)]
struct Report(Json);

impl Report {
    fn of(finished: Finished) -> Self {
        assert_eq!(finished.stderr, "");
        Self(serde_json::from_str(&finished.stdout).expect("one JSON object"))
    }

    fn checks(&self) -> Vec<(&str, &str, &str)> {
        let checks = self.0["checks"].as_array().expect("checks").iter();
        checks.map(|check| (text(check, "name"), text(check, "state"), text(check, "message"))).collect()
    }

    fn check(&self, name: &str) -> (&str, &str) {
        let checks = self.checks();
        let found = checks.iter().find(|(other, ..)| *other == name).unwrap_or_else(|| panic!("no {name} in {self:?}"));
        (found.1, found.2)
    }

    /// Asserts that this check alone has this state among warnings and faults, with these parts in its message.
    #[track_caller]
    fn finds(&self, name: &str, state: &str, parts: &[&str]) -> &Self {
        let (found, message) = self.check(name);
        assert_eq!(found, state, "{name}: {self:#?}");
        parts.iter().for_each(|part| assert!(message.contains(part), "{part:?} is missing in {message:?}"));
        let others: Vec<_> = self
            .checks()
            .into_iter()
            .filter(|(other, state, _)| *other != name && !["ok", "untested"].contains(state))
            .collect();
        assert!(others.is_empty(), "{others:?}");
        assert_eq!(self.0["state"], state);
        self
    }

    /// Asserts that all checks are ok, except that of the permissions of `admin`.
    #[track_caller]
    fn is_healthy(&self) -> &Self {
        for (name, state, message) in self.checks() {
            assert_eq!(state, if name == "admin" { "untested" } else { "ok" }, "{name}: {message}");
        }
        assert_eq!(self.checks().len(), 18, "{self:#?}");
        self
    }
}

fn text<'a>(check: &'a Json, key: &str) -> &'a str {
    check[key].as_str().expect("text")
}

/// Returns the time of the server as HTTP writes it.
#[allow(clippy::disallowed_methods)] // the program under test has a real clock
fn http_date(ahead: i64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs() as i64;
    DateTime::from_secs(now + ahead).fmt(DateTimeFormat::HttpDate).expect("a date")
}

fn ok(body: Json) -> (&'static str, String) {
    ("200 OK", body.to_string())
}

fn table(changes: Json) -> (&'static str, String) {
    let mut table = json!({
        "TableName": "Lock", "TableStatus": "ACTIVE",
        "KeySchema": [{ "AttributeName": "name", "KeyType": "HASH" }],
        "AttributeDefinitions": [{ "AttributeName": "name", "AttributeType": "S" }],
        "BillingModeSummary": { "BillingMode": "PAY_PER_REQUEST" },
        "ProvisionedThroughput": { "ReadCapacityUnits": 0, "WriteCapacityUnits": 0 },
    });
    table.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
    ok(json!({ "Table": table }))
}

fn ttl(status: &str, attribute: &str) -> (&'static str, String) {
    ok(json!({ "TimeToLiveDescription": { "TimeToLiveStatus": status, "AttributeName": attribute } }))
}

/// Responses as those of a table that `table create` has made.
fn healthy_responses() -> Responses {
    let failed = dynamodb_error("ConditionalCheckFailedException", "The conditional request failed");
    let mut cancelled: Json =
        serde_json::from_str(&dynamodb_error("TransactionCanceledException", "Transaction cancelled")).expect("JSON");
    cancelled["CancellationReasons"] = json!([{ "Code": "ConditionalCheckFailed", "Message": "failed" }]);
    let caller = format!(
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
         <Arn>{ARN}</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>"
    );
    HashMap::from([
        ("GetItem", ok(json!({}))),
        ("UpdateItem", ("400 Bad Request", failed)),
        ("Scan", ok(json!({ "Items": [], "Count": 0, "ScannedCount": 0 }))),
        ("TransactWriteItems", ("400 Bad Request", cancelled.to_string())),
        ("DescribeTable", table(json!({}))),
        ("DescribeTimeToLive", ttl("ENABLED", "ttl")),
        ("DescribeGlobalTable", ("400 Bad Request", dynamodb_error("GlobalTableNotFoundException", "none"))),
        ("", ("200 OK", caller)),
    ])
}

#[test]
fn healthy_table_has_no_fault() {
    let setup = Setup::new(&[], 0);
    let report = setup.report(0);
    report.is_healthy();
    assert_eq!(report.check("credentials").1, format!("{ARN}, from environment variables"));
    assert_eq!(report.0["state"], "ok");
    // The requests that could write have a condition that never holds.
    let never = "attribute_exists(#key) AND attribute_not_exists(#key)";
    for (operation, body) in setup.take_requests() {
        match operation.as_str() {
            "UpdateItem" | "TransactWriteItems" => assert!(body.contains(never), "{body}"),
            other => assert!(["GetItem", "Scan", ""].contains(&other) || other.starts_with("Describe"), "{other}"),
        }
    }
    let lines = setup.run(&[]).exits_with(0).stdout;
    assert!(lines.lines().skip(1).all(|line| line.starts_with("ok ") || line.starts_with("untested admin")), "{lines}");
}

/// With dates of the service, a provisioned table and deletion protection.
#[test]
fn facts_of_the_table_are_printed() {
    let properties = json!({
        "BillingModeSummary": null,
        "ProvisionedThroughput": { "ReadCapacityUnits": 5, "WriteCapacityUnits": 7 },
        "DeletionProtectionEnabled": true,
    });
    let mut setup = Setup::new(&[("DescribeTable", table(properties))], 0);
    setup.fixture = Fixture::with_store(&format!("{}&service_clock=on", setup.fixture.store()));
    let report = setup.report(0);
    report.is_healthy();
    assert_eq!(report.check("capacity").1, "5 read and 7 write units, provisioned");
    assert_eq!(report.check("deletion protection").1, "on");
    assert!(report.check("service clock").1.starts_with("on: "), "{report:?}");
}

#[test]
fn missing_region_is_found() {
    let mut setup = Setup::new(&[], 0);
    setup.fixture = Fixture::with_store(&setup.fixture.store().replace("region=us-east-1&", ""));
    setup.report(78).finds("region", "fault", &["no AWS Region", "AWS_REGION"]);
    setup.env("AWS_REGION", "us-east-1").report(0).is_healthy();
}

#[test]
fn missing_credentials_are_found() {
    let setup = Setup::new(&[], 0).env("AWS_ACCESS_KEY_ID", "").env("AWS_SECRET_ACCESS_KEY", "");
    setup.env("AWS_SESSION_TOKEN", "").report(78).finds("credentials", "fault", &["credentials", "AWS_PROFILE"]);
}

#[test]
fn expired_credentials_are_found() {
    let setup = Setup::failing(&["GetItem"], "ExpiredTokenException", "The security token is expired");
    setup.report(78).finds("credentials", "fault", &["have expired", "aws sso login"]);
}

#[test]
fn unreachable_endpoint_is_found() {
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("bound").port();
    let mut setup = Setup::new(&[], 0);
    setup.fixture = Fixture::with_store(&table_url(port));
    let report = setup.report(69);
    report.finds("endpoint", "fault", &["the connection was refused", "check that a server listens"]);
    assert!(report.check("credentials").1.contains("access key ID ending in MPLE; not verified"), "{report:?}");
}

#[test]
fn tls_failure_is_found() {
    let mut setup = Setup::new(&[], 0);
    setup.fixture = Fixture::with_store(&setup.fixture.store().replace("http://", "https://"));
    setup.report(69).finds("tls", "fault", &["the TLS connection failed", "CA certificates"]);
}

/// AWS rejects the signature of a clock that is wrong by more than five minutes.
#[test]
fn wrong_clock_is_found() {
    let expired =
        dynamodb_error("InvalidSignatureException", "Signature expired: 20260101T000000Z is now earlier than");
    let setup = Setup::new(&[("GetItem", ("400 Bad Request", expired))], 3600);
    setup.report(78).finds("clock", "fault", &["clock is wrong", "behind the service's", "NTP"]);
    // A server that accepts the signature, and clocks that only make recovery slow.
    Setup::new(&[], -3600).report(78).finds("clock", "fault", &["ahead of the service's"]);
    Setup::new(&[], 60).report(0).finds("clock", "warning", &["behind the service's"]);
}

#[test]
fn missing_table_is_found() {
    let operations = ["GetItem", "UpdateItem", "Scan", "TransactWriteItems", "DescribeTable"];
    let setup = Setup::failing(&operations, "ResourceNotFoundException", "Requested resource not found");
    setup.report(78).finds("table", "fault", &["there is no table Lock", "`dynamo-lock table create`"]);
}

/// Returns a set-up whose table has this description, and rejects the keys of requests.
fn wrong_key(description: Json) -> Setup {
    let error = (
        "400 Bad Request",
        dynamodb_error("ValidationException", "The provided key element does not match the schema"),
    );
    let mut changed: Vec<_> =
        ["GetItem", "UpdateItem", "TransactWriteItems"].map(|operation| (operation, error.clone())).into();
    changed.push(("DescribeTable", table(description)));
    Setup::new(&changed, 0)
}

#[test]
fn sort_key_is_found() {
    let setup = wrong_key(json!({ "KeySchema": [
        { "AttributeName": "name", "KeyType": "HASH" }, { "AttributeName": "at", "KeyType": "RANGE" }] }));
    setup.report(78).finds("key", "fault", &["sort key `at`"]);
}

#[test]
fn numeric_key_is_found() {
    let setup = wrong_key(json!({ "AttributeDefinitions": [{ "AttributeName": "name", "AttributeType": "N" }] }));
    setup.report(78).finds("key", "fault", &["type N", "type S"]);
}

#[test]
fn missing_ttl_is_a_warning() {
    let setup = Setup::new(&[("DescribeTimeToLive", ttl("DISABLED", ""))], 0);
    setup.report(0).finds("ttl", "warning", &["time to live is disabled", "`ttl`"]);
}

#[test]
fn ttl_on_another_attribute_is_found() {
    let setup = Setup::new(&[("DescribeTimeToLive", ttl("ENABLED", "expiresOn"))], 0);
    setup.report(78).finds("ttl", "fault", &["`expiresOn`", "enable it on `ttl`"]);
}

#[test]
fn missing_permission_is_found() {
    let denied = "User: u is not authorized to perform: dynamodb:UpdateItem on resource: r";
    let report = Setup::failing(&["UpdateItem"], "AccessDeniedException", denied).report(77);
    assert_eq!(report.check("run").0, "fault");
    assert_eq!(report.check("operate").0, "warning");
    assert_eq!((report.check("list").0, report.check("table").0), ("ok", "ok"));
    let (_, message) = report.check("run");
    assert!(
        message.contains("missing permission: dynamodb:UpdateItem (") && message.contains("dynamo-lock policy run")
    );
}

/// A role with the policy of `run` alone is healthy, although not all can be examined with it.
#[test]
fn least_privilege_of_run_has_no_fault() {
    let operations = ["Scan", "TransactWriteItems", "DescribeTable", "DescribeTimeToLive"];
    let report = Setup::failing(&operations, "AccessDeniedException", "not authorized").report(0);
    for (name, state) in [
        ("run", "ok"),
        ("list", "warning"),
        ("transaction", "warning"),
        ("table", "ok"),
        ("key", "ok"),
        ("ttl", "untested"),
    ] {
        assert_eq!(report.check(name).0, state, "{name} in {report:#?}");
    }
    assert!(report.check("ttl").1.contains("dynamodb:DescribeTable is denied"), "{report:?}");
}

#[test]
fn global_table_is_found() {
    let setup = Setup::new(&[("DescribeTable", table(json!({ "Replicas": [{ "RegionName": "eu-west-1" }] })))], 0);
    setup.report(78).finds("replicas", "fault", &["replicated to eu-west-1", "the last writer wins"]);
    // Control: strong consistency.
    let strong = json!({ "Replicas": [{ "RegionName": "eu-west-1" }], "MultiRegionConsistency": "STRONG" });
    Setup::new(&[("DescribeTable", table(strong))], 0).report(0).is_healthy();
}

#[test]
fn throttled_table_is_found() {
    let operations = ["GetItem", "UpdateItem", "Scan", "TransactWriteItems"];
    let setup = Setup::failing(&operations, "ProvisionedThroughputExceededException", "slow down");
    setup.report(69).finds("capacity", "fault", &["throttles table Lock", "raise its capacity"]);
}

/// AWS quotes the signed request, with its token, in the message for a wrong secret.
#[test]
fn quoted_request_is_hidden() {
    let message = format!("The Canonical String should have been 'POST / x-amz-security-token:{TOKEN}' for {KEY_ID}");
    let setup = Setup::failing(&["GetItem"], "InvalidSignatureException", &message);
    for arguments in [&["--json"][..], &[]] {
        let printed = setup.run(arguments).exits_with(78).stdout;
        assert!(printed.contains("x-amz-security-token:***"), "{printed}");
    }
}

/// A server that does not respect conditions must not be trusted with locks.
#[test]
fn ignored_condition_is_found() {
    let report = Setup::with("UpdateItem", "200 OK", "{}").report(69);
    assert_eq!(report.check("run").0, "fault");
    assert!(report.check("run").1.contains("accepts a write whose condition is false"), "{report:?}");
}

#[test]
fn permissions_are_tested_below_the_prefix() {
    let setup = Setup::new(&[], 0);
    setup.run(&["--prefix", "orders/"]).exits_with(0);
    let requests = setup.take_requests();
    let keys = requests
        .iter()
        .filter(|(operation, _)| ["GetItem", "UpdateItem", "TransactWriteItems"].contains(&&**operation));
    assert!(
        keys.clone().count() >= 3 && keys.clone().all(|(_, body)| body.contains("orders/dynamo-lock-doctor")),
        "{requests:?}"
    );
}

/// STS takes longer than its limit, so that the source of the credentials is printed.
#[test]
fn silent_sts_is_not_waited_for() {
    let (_, listener) = silent_server();
    let silent = format!("http://127.0.0.1:{}", listener.local_addr().expect("bound").port());
    let report = Setup::new(&[], 0).env("AWS_ENDPOINT_URL_STS", &silent).report(0);
    assert_eq!(report.is_healthy().check("credentials").1, "from environment variables, access key ID ending in MPLE");
}

/// The table of the emulator is healthy, and has the same rows before and after.
#[test]
fn healthy_table_of_emulator_is_not_changed() {
    let test = "healthy_table_of_emulator_is_not_changed";
    let Some(server) = server_url(test) else { return };
    let table = format!("doctor-{}", std::process::id());
    let fixture = Fixture::with_store(&server_table_url(&table, &server));
    fixture.run(&["table", "create"]).exits_with(0);
    fixture.run(&["run", "dynamo-lock-doctor", "true"]).exits_with(0);
    let before = fixture.run(&["ls", "--json"]).exits_with(0).stdout;
    let report = Report::of(fixture.run(&["doctor", "--json"]).exits_with(0));
    report.is_healthy();
    assert_eq!(fixture.run(&["ls", "--json"]).exits_with(0).stdout, before);
    fixture.run(&["table", "delete", "--yes"]).exits_with(0);
    Report::of(fixture.run(&["doctor", "--json"]).exits_with(78)).finds("table", "fault", &["there is no table"]);
    // It was not created.
    fixture.run(&["table", "check"]).exits_with(78);
}
