//! `Lock::legacy_get`: `getLock` of npm dynamo-lock, on every store.

use std::time::{SystemTime, UNIX_EPOCH};

use dynamo_lock::{Client, Inspection, LegacyError, Memory, Sqlite, StoreErrorKind};
use test_support::{LEASE, LinkFault, LocalDynamoDb, POLL_MAX, ServerFault, World, acquire, ms, row};
use tokio::time::sleep;

async fn client_and_server() -> (Client, LocalDynamoDb) {
    let server = LocalDynamoDb::new();
    let store = server.store("Lock").await;
    (Client::builder(store).build().unwrap(), server)
}

#[tokio::test]
async fn legacy_get_locks_for_a_time_on_every_store() {
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
        let Err(LegacyError::Held { expires_on, now_ms }) = lock.legacy_get(1).await else { panic!("held") };
        let expires_on: u64 = expires_on.parse().unwrap();
        assert!(expires_on > now_ms && expires_on <= now_ms + 60_000);
        assert!(matches!(lock.inspect().await, Ok(Inspection::Held { .. })), "native clients see it as held");
        let lock = client.lock("b").unwrap();
        lock.legacy_get(0).await.unwrap();
        lock.legacy_get(0).await.unwrap();
    }
}

/// The table has no service clock, and the holder's wall clock is slow. A client of npm dynamo-lock with a right clock
/// must not overwrite the holder's row, because a third client would acquire the lock after that.
#[tokio::test(start_paused = true)]
async fn npm_client_respects_lock_of_host_with_slow_wall_clock() {
    for slow_ms in [10_000, 600_000] {
        let world = World::without_dates();
        let (host, other) = (world.host(), world.host());
        host.clock.step_wall(-slow_ms);
        let guard = host.acquire().await;
        host.link.set_all(LinkFault::Hang);
        let third = tokio::spawn(async move { other.acquire().await });
        let npm_client = world.host().lock();
        while guard.is_valid() {
            assert!(npm_client.legacy_get(1_000).await.is_err(), "{slow_ms} at {:?}", world.time());
            sleep(ms(50)).await;
            assert!(!(guard.is_valid() && third.is_finished()), "{slow_ms} at {:?}", world.time());
        }
        let next = third.await.unwrap();
        assert!(world.time() < LEASE + POLL_MAX && next.token() > guard.token(), "{:?}", world.time());
    }
}

#[tokio::test]
async fn legacy_get_sends_the_requests_of_npm_client() {
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
async fn legacy_get_recovers_from_a_lost_answer() {
    use ServerFault::{ErrorAfter, ErrorBefore, HangAfter, LoseAnswer, LoseRequest};
    for fault in [LoseAnswer, LoseRequest, ErrorAfter, ErrorBefore, HangAfter] {
        for operation in ["GetItem", "PutItem"] {
            let (client, server) = client_and_server().await;
            server.faults().push_for(operation, fault.clone());
            let got = client.lock("a").unwrap().legacy_get(3_600_000).await;
            assert!(got.is_ok(), "{operation} {fault:?}: {got:?}");
            assert!(server.item("Lock", "a")["guid"].is_object());
        }
    }
}

/// No request begins after ten seconds, and none takes longer than what is left of them.
#[tokio::test(start_paused = true)]
async fn legacy_get_gives_up_after_ten_seconds() {
    for operation in ["GetItem", "PutItem"] {
        let server = LocalDynamoDb::new();
        let clock = World::new().host().clock.clone();
        let client = Client::builder(server.store("Lock").await).clock(clock).build().unwrap();
        server.faults().set_all_of(operation, ServerFault::Hang);
        let began = tokio::time::Instant::now();
        let got = client.lock("a").unwrap().legacy_get(3_600_000).await;
        let Err(LegacyError::Store(error)) = got else { panic!("{got:?}") };
        assert_eq!(error.kind(), StoreErrorKind::Unanswered);
        assert!(began.elapsed() <= ms(10_100), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn legacy_get_respects_native_lock_and_raises_its_token() {
    let (client, server) = client_and_server().await;
    let lock = client.lock("a").unwrap();
    let guard = acquire(&client).await;
    assert!(matches!(lock.legacy_get(1).await, Err(LegacyError::Held { .. })));
    let token = guard.token();
    guard.release().await.unwrap();
    lock.legacy_get(1).await.unwrap();
    let item = server.item("Lock", "a");
    assert_eq!(item["token"]["N"], (token.get() + 1).to_string());
    assert!(item.get("v").is_none());
}

#[tokio::test]
async fn legacy_get_refuses_row_that_is_no_lock() {
    let (client, server) = client_and_server().await;
    let epoch_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    server.set_row("Lock", "a", Some(&row(&[("total", epoch_ms.into())])));
    server.clear_requests();
    assert!(matches!(client.lock("a").unwrap().legacy_get(1).await, Err(LegacyError::Row { .. })));
    assert_eq!(server.count("PutItem"), 0);
}
