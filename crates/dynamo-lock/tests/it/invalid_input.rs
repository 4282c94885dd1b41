//! Bad input: each gets one clear line that says what to do, and nothing is written.

use std::error::Error;
use std::time::Duration;

use dynamo_lock::store::{Row, Value};
use dynamo_lock::{AcquireError, Client, DynamoDb, HoldError, Memory, StoreErrorKind};
use serde_json::{Value as Json, json};
use test_support::dynamodb::{Dynoxide, Fault};
use test_support::hosts::World;

const HOUR: Duration = Duration::from_secs(3600);

/// That an error is one line, and says these words: what is wrong, and the mend.
#[track_caller]
fn says(error: &dyn Error, words: &[&str]) {
    let line = error.to_string();
    assert!(!line.contains('\n') && line.len() < 300, "{line}");
    for word in words {
        assert!(line.contains(word), "{word:?} is not in {line:?}");
    }
}

#[test]
fn names() {
    let client = Client::builder(Memory::new()).build().unwrap();
    says(&client.lock("").unwrap_err(), &["empty", "name what"]);
    says(&client.lock("x".repeat(2049)).unwrap_err(), &["2048", "2049", "shorter"]);
    says(&client.lock("a\0b").unwrap_err(), &["U+0000 at byte 1", "remove"]);
    says(&client.lock("tab\there").unwrap_err(), &["U+0009 at byte 3", "remove"]);
    says(&client.lock("c1\u{85}").unwrap_err(), &["U+0085 at byte 2", "remove"]);
    client.lock("x".repeat(2048)).expect("the longest");
    client.lock("ordinary/name, with spaces: grüße").expect("any text");
}

#[test]
fn leases_and_heartbeats() {
    let build = |lease| Client::builder(Memory::new()).lease(lease).build();
    for lease in [Duration::ZERO, Duration::from_millis(999), HOUR * 2, HOUR * 24 * 40, Duration::MAX] {
        says(&build(lease).unwrap_err(), &["from 1s to 3600s", "choose"]);
    }
    build(Duration::from_secs(1)).expect("the shortest");
    build(HOUR).expect("the longest");
    let renewal_seq = |heartbeat| Client::builder(Memory::new()).heartbeat(heartbeat).build();
    for heartbeat in [Duration::ZERO, Duration::from_secs(7), Duration::from_secs(21), HOUR] {
        says(&renewal_seq(heartbeat).unwrap_err(), &["heartbeat", "shorten"]);
    }
    renewal_seq(Duration::from_millis(6_600)).expect("a third of 20 s");
    let poll =
        |from, to| Client::builder(Memory::new()).poll(Duration::from_millis(from)..=Duration::from_millis(to)).build();
    says(&poll(0, 10).unwrap_err(), &["polls", "reorder"]);
    says(&poll(20, 10).unwrap_err(), &["polls", "reorder"]);
    says(&poll(1_000, 61_000).unwrap_err(), &["polls", "60s"]);
}

#[test]
fn owners() {
    for owner in [String::new(), "x".repeat(257)] {
        says(&Client::builder(Memory::new()).owner(owner).build().unwrap_err(), &["owner", "256", "short"]);
    }
}

#[tokio::test(start_paused = true)]
async fn options_of_an_acquisition() {
    let world = World::new();
    let lock = world.host().client().lock("a").unwrap();
    let config = async |options: dynamo_lock::LockOptions| match options.acquire().await.unwrap_err() {
        AcquireError::Config(error) => error,
        other => panic!("{other}"),
    };
    says(&config(lock.options().lease(Duration::from_millis(999))).await, &["lease", "choose"]);
    says(&config(lock.options().data("x".repeat(4097))).await, &["4096", "4097", "elsewhere"]);
    says(&config(lock.options().max_hold(Duration::from_millis(10))).await, &["at least 1s", "allow more"]);
    for duration in [Duration::ZERO, Duration::from_millis(999), HOUR * 24 * 31] {
        let error = lock.hold(duration).await.unwrap_err();
        assert!(matches!(error, HoldError::Acquire(AcquireError::Config(_))));
        says(&error, &["from 1s to 2592000s"]);
    }
    assert_eq!(world.row("a").await, None);
}

fn row(attributes: &[(&str, Value)]) -> Row {
    Row::new(attributes.iter().map(|(name, value)| (name.to_string(), value.clone())))
}

/// A free row of ours, with these attributes changed.
fn free_but(changes: &[(&str, Value)]) -> Row {
    let mut row = row(&[
        ("v", 1.into()),
        ("guid", "g".into()),
        ("leaseId", "r".into()),
        ("token", 7.into()),
        ("expiresOn", 0.into()),
        ("ttl", 1.into()),
    ]);
    changes.iter().for_each(|(name, value)| row.set(name, value.clone()));
    row
}

#[tokio::test(start_paused = true)]
async fn rows_of_others() {
    let cases = [
        (free_but(&[("token", "seven".into())]), vec!["`token`", "whole number", "correct it"]),
        (free_but(&[("v", 2.into())]), vec!["`v` = 2", "upgrade"]),
        (free_but(&[("kind", "semaphore".into())]), vec!["`kind` \"semaphore\"", "upgrade"]),
        (row(&[("customer", "Smith".into())]), vec!["no `guid`", "another lock name"]),
        (row(&[("guid", "g".into()), ("kind", "order".into())]), vec!["`kind` \"order\""]),
        (row(&[("v", 1.into()), ("guid", "g".into()), ("reign", "r".into())]), vec!["unreleased", "delete the row"]),
        (free_but(&[("expiresOn", 9.into()), ("leaseMs", "long".into())]), vec!["`leaseMs`", "30 days"]),
        (free_but(&[("expiresOn", 9.into()), ("leaseMs", 2_592_000_001.into())]), vec!["`leaseMs`", "30 days"]),
        (free_but(&[("token", 9_007_199_254_740_992.into())]), vec!["`token`", "2^53"]),
    ];
    for (planted, words) in cases {
        let world = World::new();
        world.plant("a", Some(planted.clone()));
        let lock = world.host().client().lock("a").unwrap();
        says(&lock.acquire().await.unwrap_err(), &words);
        says(&lock.try_acquire().await.unwrap_err(), &words);
        says(&lock.hold(HOUR).await.unwrap_err(), &words);
        says(&lock.inspect().await.unwrap_err(), &words);
        // Not the reign that is there: nothing to take away, and a reason.
        says(&lock.revoke(dynamo_lock::FencingToken::new(8)).await.unwrap_err(), &[]);
        says(&lock.force_revoke(dynamo_lock::FencingToken::new(8)).await.unwrap_err(), &[]);
        assert_eq!(world.row("a").await, Some(planted), "it is left as it was");
    }
}

/// Acquires on a table, and gives the error.
async fn refused(store: DynamoDb) -> (StoreErrorKind, AcquireError) {
    let client = Client::builder(store).lease(Duration::from_secs(1)).build().unwrap();
    let error = client.lock("a").unwrap().acquire().await.unwrap_err();
    let AcquireError::Store(store) = &error else { panic!("{error}") };
    (store.kind(), error)
}

fn table_with(key: Json, attributes: Json) -> Dynoxide {
    let dynoxide = Dynoxide::new();
    let table = json!({
        "TableName": "Lock", "KeySchema": key, "AttributeDefinitions": attributes, "BillingMode": "PAY_PER_REQUEST",
    });
    dynoxide.call("CreateTable", table).unwrap();
    dynoxide
}

#[tokio::test(start_paused = true)]
async fn tables() {
    let missing = Dynoxide::new();
    let (kind, error) = refused(DynamoDb::new(missing.client(), "Lock")).await;
    assert_eq!(kind, StoreErrorKind::Misconfigured);
    says(&error, &["no table", "Lock", "create"]);
    assert_eq!(missing.count("UpdateItem"), 1, "asked once, not again and again");

    let sorted = table_with(
        json!([{"AttributeName": "name", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}]),
        json!([{"AttributeName": "name", "AttributeType": "S"}, {"AttributeName": "at", "AttributeType": "S"}]),
    );
    let numeric = table_with(
        json!([{"AttributeName": "name", "KeyType": "HASH"}]),
        json!([{"AttributeName": "name", "AttributeType": "N"}]),
    );
    for table in [&sorted, &numeric] {
        let (kind, error) = refused(DynamoDb::new(table.client(), "Lock")).await;
        assert_eq!(kind, StoreErrorKind::Misconfigured);
        says(&error, &["key", "Lock"]);
        assert_eq!(table.call("Scan", json!({"TableName": "Lock"})).unwrap()["Count"], 0);
    }

    let forbidden = Dynoxide::new();
    let store = forbidden.store("Lock").await;
    forbidden.faults().decide(|_| Some(Fault::Deny));
    let (kind, error) = refused(store).await;
    assert_eq!(kind, StoreErrorKind::AccessDenied);
    says(&error, &["dynamodb:UpdateItem"]);
}
