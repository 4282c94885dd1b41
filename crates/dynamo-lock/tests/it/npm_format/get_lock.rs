//! The original's `getLock` through the client, on every store, and on DynamoDB with faults.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dynamo_lock::store::{Row, Value};
use dynamo_lock::{Client, Inspection, LegacyError, Memory, Sqlite, StoreErrorKind};
use serde_json::json;
use test_support::dynamodb::{Dynoxide, Fault};
use test_support::hosts::World;

async fn client_and_server() -> (Client, Dynoxide) {
    let server = Dynoxide::new();
    let store = server.store("Lock").await;
    (Client::builder(store).build().unwrap(), server)
}

fn epoch_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

#[tokio::test]
async fn it_takes_a_lock_for_a_time_on_every_store() {
    let directory = tempfile::tempdir().unwrap();
    let sqlite = Sqlite::open(directory.path().join("locks.db")).unwrap();
    let clients = [
        Client::builder(Memory::new()).build().unwrap(),
        Client::builder(sqlite).build().unwrap(),
        client_and_server().await.0,
    ];
    for client in clients {
        let lock = client.lock("a").unwrap();
        lock.legacy_get(60_000).await.unwrap();
        let Err(LegacyError::Held { expires_on, now_ms }) = lock.legacy_get(1).await else { panic!("twice") };
        let expires_on: u64 = expires_on.parse().unwrap();
        assert!(expires_on > now_ms && expires_on <= now_ms + 60_000);
        assert!(matches!(lock.inspect().await, Ok(Inspection::Held { .. })), "and for us it is held");
        client.lock("b").unwrap().legacy_get(0).await.unwrap();
        client.lock("b").unwrap().legacy_get(0).await.unwrap();
    }
}

#[tokio::test]
async fn it_asks_with_the_originals_two_requests_and_its_words() {
    let (client, server) = client_and_server().await;
    client.lock("a").unwrap().legacy_get(60_000).await.unwrap();
    let requests = server.requests();
    let operations: Vec<_> = requests.iter().map(|request| request.operation.as_str()).collect();
    assert_eq!(operations, ["GetItem", "PutItem"]);
    assert_eq!(requests[0].body["ConsistentRead"], true);
    assert_eq!(requests[1].body["ConditionExpression"], "attribute_not_exists(guid)");
    assert!(requests[1].body.get("ExpressionAttributeNames").is_none());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_lost_is_made_good_whichever_it_was() {
    for fault in [Fault::LoseAnswer, Fault::LoseRequest, Fault::ErrorAfter, Fault::ErrorBefore, Fault::HangAfter] {
        for operation in ["GetItem", "PutItem"] {
            let (client, server) = client_and_server().await;
            server.faults().next_of(operation, fault.clone());
            let got = client.lock("a").unwrap().legacy_get(3_600_000).await;
            assert!(got.is_ok(), "{operation} {fault:?}: {got:?}");
            let item = server.call("GetItem", json!({ "TableName": "Lock", "Key": { "name": { "S": "a" } } })).unwrap();
            assert!(item["Item"]["guid"].is_object());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up() {
    for operation in ["GetItem", "PutItem"] {
        let server = Dynoxide::new();
        let clock = World::new().host().clock.clone();
        let client = Client::builder(server.store("Lock").await).clock(clock).build().unwrap();
        let of = operation.to_owned();
        server.faults().decide(move |request| (request.operation == of).then_some(Fault::Hang));
        let began = tokio::time::Instant::now();
        let Err(LegacyError::Store(error)) = client.lock("a").unwrap().legacy_get(3_600_000).await else {
            panic!("an answer")
        };
        assert_eq!(error.kind(), StoreErrorKind::Unanswered);
        // Virtual time: no request begins after ten seconds, and none takes longer than what is left of them.
        assert!(began.elapsed() <= Duration::from_millis(10_100), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_native_lock_is_respected_until_it_is_over_and_its_token_goes_on() {
    let (client, server) = client_and_server().await;
    let lock = client.lock("a").unwrap();
    let guard = lock.acquire().await.unwrap();
    assert!(matches!(lock.legacy_get(1).await, Err(LegacyError::Held { .. })));
    let token = guard.token();
    guard.release().await.unwrap();
    lock.legacy_get(1).await.unwrap();
    let row = server.call("GetItem", json!({ "TableName": "Lock", "Key": { "name": { "S": "a" } } })).unwrap();
    assert_eq!(row["Item"]["token"]["N"], (token.get() + 1).to_string());
    assert!(row["Item"].get("v").is_none());
}

#[tokio::test]
async fn a_row_that_is_no_lock_is_refused_and_left_as_it_is() {
    let (client, server) = client_and_server().await;
    server.plant("Lock", "a", &Row::new([("total".to_owned(), Value::from(epoch_ms()))]));
    server.forget();
    assert!(matches!(client.lock("a").unwrap().legacy_get(1).await, Err(LegacyError::Row { .. })));
    assert_eq!(server.count("PutItem"), 0);
}
