//! Creating, deleting and checking the table.

use dynamo_lock::store::Consistency;
use dynamo_lock::store::TableFault;
use dynamo_lock::{DynamoDb, LockName, Store, StoreErrorKind, TableError, TableOptions};
use serde_json::{Value as Json, json};
use test_support::{LocalDynamoDb, Reply, ServerFault};
use tokio::time::Instant;

const TABLE: &str = "Lock";

fn store(server: &LocalDynamoDb) -> DynamoDb {
    DynamoDb::new(server.client(), TABLE)
}

fn create(server: &LocalDynamoDb, keys: &[(&str, &str, &str)]) {
    let schema: Vec<_> = keys.iter().map(|(name, _, role)| json!({ "AttributeName": name, "KeyType": role })).collect();
    let types: Vec<_> =
        keys.iter().map(|(name, kind, _)| json!({ "AttributeName": name, "AttributeType": kind })).collect();
    let body = json!({ "TableName": TABLE, "KeySchema": schema, "AttributeDefinitions": types, "BillingMode": "PAY_PER_REQUEST" });
    server.call("CreateTable", body).expect("a table");
}

fn enable_ttl(server: &LocalDynamoDb, attribute: &str) {
    let on = json!({ "Enabled": true, "AttributeName": attribute });
    server.call("UpdateTimeToLive", json!({ "TableName": TABLE, "TimeToLiveSpecification": on })).expect("TTL");
}

async fn check(server: &LocalDynamoDb) -> Vec<TableFault> {
    store(server).check_table().await.expect("a response")
}

/// Returns the body of the only request of this operation.
fn body(server: &LocalDynamoDb, operation: &str) -> Json {
    let mut requests = server.requests().into_iter().filter(|request| request.operation == operation);
    let request = requests.next().unwrap_or_else(|| panic!("no {operation}"));
    assert!(requests.next().is_none(), "one {operation}");
    request.body
}

#[tokio::test(start_paused = true)]
async fn created_table_passes_check() {
    let server = LocalDynamoDb::new();
    store(&server).create_table(TableOptions::default()).await.expect("a table");
    assert_eq!(check(&server).await, []);
    assert_eq!(body(&server, "CreateTable")["BillingMode"], "PAY_PER_REQUEST");
    assert_eq!(body(&server, "UpdateTimeToLive")["TimeToLiveSpecification"]["AttributeName"], "ttl");
}

#[tokio::test(start_paused = true)]
async fn create_of_existing_table_has_its_own_error() {
    let server = LocalDynamoDb::new();
    store(&server).create_table(TableOptions::default()).await.expect("a table");
    let again = store(&server).create_table(TableOptions::default()).await;
    assert!(matches!(&again, Err(TableError::TableExists { table }) if table == TABLE), "{again:?}");
    server.faults().push(ServerFault::Deny);
    let denied = store(&server).create_table(TableOptions::default()).await;
    let Err(TableError::Store(error)) = denied else { panic!("{denied:?}") };
    assert_eq!(error.kind(), StoreErrorKind::AccessDenied);
    assert!(error.to_string().contains("dynamodb:CreateTable"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn table_options_are_sent() {
    let server = LocalDynamoDb::new();
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
async fn create_waits_until_table_is_active() {
    let server = LocalDynamoDb::new();
    let creating = || {
        let body = json!({ "Table": { "TableName": TABLE, "TableStatus": "CREATING" } }).to_string();
        ServerFault::Reply(Reply { status: 200, body })
    };
    for _ in 0..3 {
        server.faults().push_for("DescribeTable", creating());
    }
    store(&server).create_table(TableOptions::default()).await.expect("a table");
    assert_eq!(server.count("DescribeTable"), 4);
    store(&server).delete_table().await.expect("gone");
    server.faults().set_all_of("DescribeTable", creating());
    let never = store(&server).create_table(TableOptions::default()).await;
    assert!(matches!(never, Err(TableError::NotYet { .. })), "{never:?}");
}

#[tokio::test(start_paused = true)]
async fn create_and_delete_give_up_after_two_minutes() {
    let server = LocalDynamoDb::new();
    server.faults().set_all_of("DescribeTable", ServerFault::Hang);
    let began = Instant::now();
    let never = store(&server).create_table(TableOptions::default()).await;
    assert!(matches!(never, Err(TableError::NotYet { .. })), "{never:?}");
    assert_eq!(began.elapsed().as_secs(), 120);
    let never = store(&server).delete_table().await;
    assert!(matches!(never, Err(TableError::NotYet { .. })), "{never:?}");
    assert_eq!(began.elapsed().as_secs(), 240);
}

#[tokio::test(start_paused = true)]
async fn check_reports_deleted_table() {
    let server = LocalDynamoDb::new();
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
async fn check_reports_all_faults_at_once() {
    let server = LocalDynamoDb::new();
    create(&server, &[("id", "N", "HASH"), ("range", "S", "RANGE")]);
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
        assert!(text.contains("; ") && !text.contains('\n'), "{text:?} names no fix");
    }
}

#[tokio::test]
async fn first_use_reports_wrong_key() {
    for keys in [
        &[("name", "N", "HASH")][..],
        &[("id", "S", "HASH")][..],
        &[("name", "S", "HASH"), ("range", "S", "RANGE")][..],
    ] {
        let server = LocalDynamoDb::new();
        create(&server, keys);
        let name = LockName::new("lock").expect("a name");
        let error = store(&server).read(&name, Consistency::Strong).await.result.expect_err("wrong key");
        assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{keys:?}: {error}");
        assert!(error.to_string().contains("partition key `name` of type S"), "{error}");
    }
}

#[tokio::test]
async fn check_passes_on_server_without_ttl() {
    let server = LocalDynamoDb::new();
    let unknown = || ServerFault::error(400, "UnknownOperationException", "");
    server.faults().push_for("UpdateTimeToLive", unknown()).push_for("DescribeTimeToLive", unknown());
    store(&server).create_table(TableOptions::default()).await.expect("a table");
    assert_eq!(check(&server).await, []);
    server.faults().push_for("DescribeTimeToLive", ServerFault::Deny);
    let error = store(&server).check_table().await.expect_err("access denied");
    assert!(error.to_string().contains("dynamodb:DescribeTimeToLive"), "{error}");
}

#[tokio::test]
async fn check_refuses_eventually_consistent_replicas() {
    let server = LocalDynamoDb::new();
    create(&server, &[("name", "S", "HASH")]);
    enable_ttl(&server, "ttl");
    // A table with strong consistency has no time to live, so its absence is not reported.
    let other = LocalDynamoDb::new();
    create(&other, &[("name", "S", "HASH")]);
    for (server, consistency, count) in [(&server, "EVENTUAL", 1), (&server, "STRONG", 0), (&other, "STRONG", 0)] {
        let described = server.call("DescribeTable", json!({ "TableName": TABLE })).expect("a table");
        let mut table = described["Table"].clone();
        table["Replicas"] = json!([{ "RegionName": "us-east-1", "ReplicaStatus": "ACTIVE" }]);
        table["MultiRegionConsistency"] = json!(consistency);
        let body = json!({ "Table": table }).to_string();
        server.faults().push_for("DescribeTable", ServerFault::Reply(Reply { status: 200, body }));
        let faults = check(server).await;
        assert_eq!(faults.len(), count, "{faults:?}");
        let words = ["us-east-1", "no transactions and no time to live"];
        assert!(faults.iter().all(|f| words.iter().all(|word| f.to_string().contains(word))), "{faults:?}");
    }
}

#[tokio::test]
async fn check_refuses_global_table_of_version_2017() {
    let server = LocalDynamoDb::new();
    store(&server).create_table(TableOptions::default()).await.expect("a table");
    let groups = [(&["eu-west-1", "us-east-1"][..], 1), (&["eu-west-1"], 0)];
    for (regions, count) in groups {
        let group: Vec<_> = regions.iter().map(|region| json!({ "RegionName": region })).collect();
        let body = json!({ "GlobalTableDescription": { "ReplicationGroup": group } }).to_string();
        server.faults().push_for("DescribeGlobalTable", ServerFault::Reply(Reply { status: 200, body }));
        let faults = check(&server).await;
        assert_eq!(faults.len(), count, "{faults:?}");
        assert!(faults.iter().all(|f| f.to_string().contains("replicated to us-east-1 and")), "{faults:?}");
    }
    for fault in [ServerFault::Deny, ServerFault::error(400, "GlobalTableNotFoundException", "")] {
        server.faults().push_for("DescribeGlobalTable", fault);
        assert_eq!(check(&server).await, []);
    }
}
