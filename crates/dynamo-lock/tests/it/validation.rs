//! Invalid names, options and tables. Each is refused with one clear line, and nothing is written.

use std::error::Error;
use std::time::Duration;

use dynamo_lock::{
    AcquireError, Client, ClientBuilder, DynamoDb, HoldError, Inspection, LockOptions, Memory, StoreErrorKind,
};
use serde_json::{Value as Json, json};
use test_support::{LocalDynamoDb, ServerFault, World, ms, secs};

const HOUR: Duration = secs(3600);

/// Checks that the message of `error` is one line of less than 300 characters that contains all of `words`.
#[track_caller]
pub fn check_message(error: &dyn Error, words: &[&str]) {
    let line = error.to_string();
    assert!(!line.contains('\n') && line.len() < 300, "{line}");
    for word in words {
        assert!(line.contains(word), "{word:?} is not in {line:?}");
    }
}

fn builder() -> ClientBuilder {
    Client::builder(Memory::new())
}

#[test]
fn invalid_lock_name_is_refused() {
    let client = builder().build().unwrap();
    check_message(&client.lock("").unwrap_err(), &["empty", "choose a name"]);
    check_message(&client.lock("x".repeat(2049)).unwrap_err(), &["2048", "2049", "shorter"]);
    check_message(&client.lock("a\0b").unwrap_err(), &["U+0000 at byte 1", "remove"]);
    check_message(&client.lock("tab\there").unwrap_err(), &["U+0009 at byte 3", "remove"]);
    check_message(&client.lock("c1\u{85}").unwrap_err(), &["U+0085 at byte 2", "remove"]);
    client.lock("x".repeat(2048)).expect("the longest");
    client.lock("ordinary/name, with spaces: grüße").expect("any text");
}

#[test]
fn lease_or_heartbeat_out_of_range_is_refused() {
    let lease = |lease| builder().lease(lease).build();
    for out_of_range in [Duration::ZERO, ms(999), HOUR * 2, HOUR * 24 * 40, Duration::MAX] {
        check_message(&lease(out_of_range).unwrap_err(), &["from 1s to 3600s", "choose"]);
    }
    lease(secs(1)).expect("the shortest");
    lease(HOUR).expect("the longest");
    let heartbeat = |heartbeat| builder().heartbeat(heartbeat).build();
    for out_of_range in [Duration::ZERO, secs(7), secs(21), HOUR] {
        check_message(&heartbeat(out_of_range).unwrap_err(), &["heartbeat", "shorten"]);
    }
    heartbeat(ms(6_600)).expect("a third of 20 s");
}

/// A row has at most 1 KB and contains two owners.
#[tokio::test]
async fn row_contains_first_128_bytes_of_label() {
    let client = builder().owner(format!("x{}", "é".repeat(127))).build().unwrap();
    let _guard = client.lock("a").unwrap().acquire().await.unwrap();
    let Ok(Inspection::Held { holder, .. }) = client.lock("a").unwrap().inspect().await else { panic!("held") };
    assert!(holder.owner.unwrap().starts_with(&format!("x{} (", "é".repeat(63))));
}

#[test]
fn empty_or_long_owner_is_refused() {
    for owner in [String::new(), "x".repeat(257)] {
        check_message(&builder().owner(owner).build().unwrap_err(), &["owner", "256", "short"]);
    }
}

#[tokio::test(start_paused = true)]
async fn invalid_options_are_refused_without_a_write() {
    let world = World::new();
    let lock = world.host().lock();
    let error = async |options: LockOptions| match options.acquire().await.unwrap_err() {
        AcquireError::Config(error) => error,
        other => panic!("{other}"),
    };
    check_message(&error(lock.options().lease(ms(999))).await, &["lease", "choose"]);
    check_message(&error(lock.options().data("x".repeat(4097))).await, &["4096", "4097", "elsewhere"]);
    check_message(&error(lock.options().max_hold(ms(10))).await, &["at least 1s", "allow more"]);
    for duration in [Duration::ZERO, ms(999), HOUR * 24 * 31, Duration::MAX] {
        let error = lock.hold(duration).await.unwrap_err();
        assert!(matches!(error, HoldError::Acquire(AcquireError::Config(_))));
        check_message(&error, &["from 1s to 2592000s"]);
    }
    assert_eq!(world.row("a").await, None);
}

/// Values without an upper bound may be as large as their type allows.
#[tokio::test(start_paused = true)]
async fn largest_durations_do_not_overflow() {
    let world = World::new();
    let client = world.host().builder().legacy_skew(Duration::MAX).build().unwrap();
    let lock = client.lock("a").unwrap();
    let guard = lock.options().max_hold(Duration::MAX).acquire_within(Duration::MAX).await.unwrap();
    assert!(guard.ensure(Duration::MAX).is_err());
    lock.inspect().await.unwrap();
    tokio::time::sleep(secs(60)).await;
    assert!(guard.is_valid());
    world.set_row("b", Some(test_support::row(&[("guid", "g".into()), ("expiresOn", 1.into())])));
    let legacy = client.lock("b").unwrap();
    assert!(matches!(legacy.try_acquire().await.unwrap(), dynamo_lock::TryAcquire::Held(_)));
    legacy.inspect().await.unwrap();
    guard.release().await.unwrap();
}

/// Track record: a partition key named like another attribute was accepted, and each request was then refused because of
/// another key schema.
#[tokio::test]
async fn partition_key_named_like_a_lock_attribute_is_refused() {
    let store = DynamoDb::new(LocalDynamoDb::new().client(), "Lock");
    let used = ["v", "kind", "guid", "leaseId", "token", "expiresOn", "ttl", "data", "session", "wanted"];
    for key in used {
        check_message(&store.clone().partition_key(key).unwrap_err(), &["partition key", &format!("`{key}`"), "use"]);
    }
    for key in ["", &"x".repeat(256)] {
        check_message(&store.clone().partition_key(key).unwrap_err(), &["1 to 255 bytes", "correct"]);
    }
    for key in ["name", "id", "Token", &"x".repeat(255)] {
        store.clone().partition_key(key).expect("a free name");
    }
}

/// Acquires on a table, and returns the error with its kind.
async fn acquire_error(store: DynamoDb) -> (StoreErrorKind, AcquireError) {
    let client = Client::builder(store).lease(secs(1)).build().unwrap();
    let error = client.lock("a").unwrap().acquire().await.unwrap_err();
    let AcquireError::Store(store) = &error else { panic!("{error}") };
    (store.kind(), error)
}

fn server_with_table(key: Json, attributes: Json) -> LocalDynamoDb {
    let server = LocalDynamoDb::new();
    let table = json!({
        "TableName": "Lock", "KeySchema": key, "AttributeDefinitions": attributes, "BillingMode": "PAY_PER_REQUEST",
    });
    server.call("CreateTable", table).unwrap();
    server
}

/// Lesson 26. A missing table is asked for once.
#[tokio::test(start_paused = true)]
async fn unusable_table_is_refused_without_a_write() {
    let missing = LocalDynamoDb::new();
    let (kind, error) = acquire_error(DynamoDb::new(missing.client(), "Lock")).await;
    assert_eq!(kind, StoreErrorKind::Misconfigured);
    check_message(&error, &["no table", "Lock", "create"]);
    assert_eq!(missing.count("UpdateItem"), 1);

    let sorted = server_with_table(
        json!([{"AttributeName": "name", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}]),
        json!([{"AttributeName": "name", "AttributeType": "S"}, {"AttributeName": "at", "AttributeType": "S"}]),
    );
    let numeric = server_with_table(
        json!([{"AttributeName": "name", "KeyType": "HASH"}]),
        json!([{"AttributeName": "name", "AttributeType": "N"}]),
    );
    for server in [&sorted, &numeric] {
        let (kind, error) = acquire_error(DynamoDb::new(server.client(), "Lock")).await;
        assert_eq!(kind, StoreErrorKind::Misconfigured);
        check_message(&error, &["key", "Lock"]);
        assert_eq!(server.call("Scan", json!({"TableName": "Lock"})).unwrap()["Count"], 0);
    }

    let forbidden = LocalDynamoDb::new();
    let store = forbidden.store("Lock").await;
    forbidden.faults().choose(|_| Some(ServerFault::Deny));
    let (kind, error) = acquire_error(store).await;
    assert_eq!(kind, StoreErrorKind::AccessDenied);
    check_message(&error, &["dynamodb:UpdateItem"]);
}
