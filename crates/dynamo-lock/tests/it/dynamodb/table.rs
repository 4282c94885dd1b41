//! Creating, deleting and checking the table.

use dynamo_lock::{DynamoDb, StoreErrorKind, TableError, TableFault, TableOptions};
use serde_json::{Value as Json, json};
use test_support::dynamodb::{Answer, Dynoxide, Fault};
use tokio::time::Instant;

const TABLE: &str = "Lock";

fn store(server: &Dynoxide) -> DynamoDb {
    DynamoDb::new(server.client(), TABLE)
}

fn make(server: &Dynoxide, keys: &[(&str, &str, &str)]) {
    let schema: Vec<_> = keys.iter().map(|(name, _, role)| json!({ "AttributeName": name, "KeyType": role })).collect();
    let types: Vec<_> =
        keys.iter().map(|(name, kind, _)| json!({ "AttributeName": name, "AttributeType": kind })).collect();
    let body = json!({ "TableName": TABLE, "KeySchema": schema, "AttributeDefinitions": types, "BillingMode": "PAY_PER_REQUEST" });
    server.call("CreateTable", body).expect("a table");
}

fn enable_ttl(server: &Dynoxide, attribute: &str) {
    let on = json!({ "Enabled": true, "AttributeName": attribute });
    server.call("UpdateTimeToLive", json!({ "TableName": TABLE, "TimeToLiveSpecification": on })).expect("TTL");
}

async fn check(server: &Dynoxide) -> Vec<TableFault> {
    store(server).check_table().await.expect("a look")
}

/// The body of the one request of this operation.
fn body(server: &Dynoxide, operation: &str) -> Json {
    let mut requests = server.requests().into_iter().filter(|request| request.operation == operation);
    let request = requests.next().unwrap_or_else(|| panic!("no {operation}"));
    assert!(requests.next().is_none(), "one {operation}");
    request.body
}

#[tokio::test(start_paused = true)]
async fn a_created_table_passes_its_own_check() {
    let server = Dynoxide::new();
    store(&server).create_table(TableOptions::default()).await.expect("a table");
    assert_eq!(check(&server).await, []);
    assert_eq!(body(&server, "CreateTable")["BillingMode"], "PAY_PER_REQUEST");
    assert_eq!(body(&server, "UpdateTimeToLive")["TimeToLiveSpecification"]["AttributeName"], "ttl");
}

#[tokio::test(start_paused = true)]
async fn a_table_that_exists_is_told_from_other_errors() {
    let server = Dynoxide::new();
    store(&server).create_table(TableOptions::default()).await.expect("a table");
    let again = store(&server).create_table(TableOptions::default()).await;
    assert!(matches!(&again, Err(TableError::TableExists { table }) if table == TABLE), "{again:?}");
    server.faults().next(Fault::Deny);
    let denied = store(&server).create_table(TableOptions::default()).await;
    let Err(TableError::Store(error)) = denied else { panic!("{denied:?}") };
    assert_eq!(error.kind(), StoreErrorKind::AccessDenied);
    assert!(error.to_string().contains("dynamodb:CreateTable"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn options_reach_the_table() {
    let server = Dynoxide::new();
    let options = TableOptions::default().provisioned(1, 2).ttl(false).tag("team", "a").deletion_protection(true);
    store(&server).create_table(options).await.expect("a table");
    let body = body(&server, "CreateTable");
    assert_eq!(body["ProvisionedThroughput"], json!({ "ReadCapacityUnits": 1, "WriteCapacityUnits": 2 }));
    assert_eq!(body["BillingMode"], "PROVISIONED");
    assert_eq!(body["Tags"], json!([{ "Key": "team", "Value": "a" }]));
    assert_eq!(body["DeletionProtectionEnabled"], true);
    let faults = check(&server).await;
    assert_eq!(faults, [TableFault::NoTtl]);
    assert!(faults[0].is_warning());
}

#[tokio::test(start_paused = true)]
async fn creating_waits_until_the_table_is_active_but_not_for_ever() {
    let server = Dynoxide::new();
    let creating = || {
        let body = json!({ "Table": { "TableName": TABLE, "TableStatus": "CREATING" } }).to_string();
        Fault::Answer(Answer { status: 200, body })
    };
    for _ in 0..3 {
        server.faults().next_of("DescribeTable", creating());
    }
    store(&server).create_table(TableOptions::default()).await.expect("a table");
    assert_eq!(server.count("DescribeTable"), 4);
    store(&server).delete_table().await.expect("gone");
    server.faults().decide(move |request| (request.operation == "DescribeTable").then(creating));
    let never = store(&server).create_table(TableOptions::default()).await;
    assert!(matches!(never, Err(TableError::NotYet { .. })), "{never:?}");
}

#[tokio::test(start_paused = true)]
async fn creating_and_deleting_wait_two_minutes_also_if_no_look_is_answered() {
    let server = Dynoxide::new();
    server.faults().decide(|request| (request.operation == "DescribeTable").then_some(Fault::Hang));
    let begun = Instant::now();
    let never = store(&server).create_table(TableOptions::default()).await;
    assert!(matches!(never, Err(TableError::NotYet { .. })), "{never:?}");
    assert_eq!(begun.elapsed().as_secs(), 120);
    let never = store(&server).delete_table().await;
    assert!(matches!(never, Err(TableError::NotYet { .. })), "{never:?}");
    assert_eq!(begun.elapsed().as_secs(), 240);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_table_is_missing() {
    let server = Dynoxide::new();
    store(&server).create_table(TableOptions::default()).await.expect("a table");
    store(&server).delete_table().await.expect("gone");
    let faults = check(&server).await;
    assert_eq!(faults, [TableFault::Missing { table: TABLE.to_owned() }]);
    assert!(!faults[0].is_warning());
    assert!(faults[0].to_string().contains("create it"));
    let again = store(&server).delete_table().await;
    assert!(matches!(&again, Err(TableError::Store(e)) if e.kind() == StoreErrorKind::Misconfigured), "{again:?}");
}

#[tokio::test]
async fn every_wrong_thing_is_found_at_once() {
    let server = Dynoxide::new();
    make(&server, &[("id", "N", "HASH"), ("range", "S", "RANGE")]);
    enable_ttl(&server, "expiresOn");
    let found = check(&server).await;
    let expected = [
        TableFault::KeyName { found: "id".to_owned(), expected: "name".to_owned() },
        TableFault::KeyType { key: "id".to_owned(), found: "N".to_owned() },
        TableFault::SortKey { name: "range".to_owned() },
        TableFault::WrongTtl { attribute: "expiresOn".to_owned() },
    ];
    assert_eq!(found, expected);
    for fault in found {
        assert!(!fault.is_warning());
        let text = fault.to_string();
        assert!(text.contains(": ") && !text.contains('\n'), "{text:?} has no mend");
    }
}

#[tokio::test]
async fn a_table_with_another_key_says_so_on_first_use() {
    use dynamo_lock::store::Consistency;
    use dynamo_lock::{LockName, Store};
    for keys in [
        &[("name", "N", "HASH")][..],
        &[("id", "S", "HASH")][..],
        &[("name", "S", "HASH"), ("range", "S", "RANGE")][..],
    ] {
        let server = Dynoxide::new();
        make(&server, keys);
        let name = LockName::new("lock").expect("a name");
        let error = store(&server).read(&name, Consistency::Strong).await.result.expect_err("wrong key");
        assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{keys:?}: {error}");
        assert!(error.to_string().contains("partition key `name` of type S"), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_knows_no_ttl_passes() {
    let server = Dynoxide::new();
    let unknown = || Fault::error(400, "UnknownOperationException", "");
    server.faults().next_of("UpdateTimeToLive", unknown()).next_of("DescribeTimeToLive", unknown());
    store(&server).create_table(TableOptions::default()).await.expect("a table");
    assert_eq!(check(&server).await, []);
    server.faults().next_of("DescribeTimeToLive", Fault::Deny);
    let error = store(&server).check_table().await.expect_err("not allowed is not unknown");
    assert!(error.to_string().contains("dynamodb:DescribeTimeToLive"), "{error}");
}

#[tokio::test]
async fn replicas_are_refused_unless_they_are_strongly_consistent() {
    let server = Dynoxide::new();
    make(&server, &[("name", "S", "HASH")]);
    enable_ttl(&server, "ttl");
    for (consistency, count) in [("EVENTUAL", 1), ("STRONG", 0)] {
        let described = server.call("DescribeTable", json!({ "TableName": TABLE })).expect("a table");
        let mut table = described["Table"].clone();
        table["Replicas"] = json!([{ "RegionName": "us-east-1", "ReplicaStatus": "ACTIVE" }]);
        table["MultiRegionConsistency"] = json!(consistency);
        let body = json!({ "Table": table }).to_string();
        server.faults().next_of("DescribeTable", Fault::Answer(Answer { status: 200, body }));
        let faults = check(&server).await;
        assert_eq!(faults.len(), count, "{faults:?}");
        assert!(faults.iter().all(|f| f.to_string().contains("us-east-1")), "{faults:?}");
    }
}
