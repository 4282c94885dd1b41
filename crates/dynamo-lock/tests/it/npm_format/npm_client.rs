//! npm dynamo-lock 0.1.3 on the same table. Its wall clock is wrong, and it is paused between its read and its write.

use std::time::Duration;

use dynamo_lock::store::Value;
use dynamo_lock::{Client, DynamoDb, Guard};
use test_support::{LocalDynamoDb, NpmClient, World, acquire, ms, row, secs};
use tokio::time::sleep;

const LEASE: Duration = secs(2);
const HOUR_MS: i64 = 3_600_000;

async fn table(world: &World) -> (LocalDynamoDb, DynamoDb) {
    let server = LocalDynamoDb::new();
    let clock = world.clone();
    server.set_clock(move || clock.epoch_ms() / 1000);
    let store = server.store("Lock").await.service_clock(true);
    (server, store)
}

async fn acquire_on_new_host(world: &World, store: &DynamoDb) -> Guard {
    acquire(&Client::builder(store.clone()).lease(LEASE).clock(world.host().clock).build().unwrap()).await
}

/// Lesson 30. The clock of the npm client is an hour ahead, so that it takes every lease for expired. It reads the
/// version of a renewal, which the next renewal replaces while the client is paused.
#[tokio::test(start_paused = true)]
async fn paused_npm_client_cannot_overwrite_renewed_lock() {
    let Some(modules) = NpmClient::modules("paused_npm_client_cannot_overwrite_renewed_lock") else { return };
    let world = World::new();
    let (server, store) = table(&world).await;
    let guard = acquire_on_new_host(&world, &store).await;
    sleep(LEASE).await;
    let callback = NpmClient::start(&modules).get_lock(&world, &server, HOUR_MS, 10_000, LEASE * 3).await;
    assert_eq!(callback["error"], "ERROR");
    sleep(LEASE).await;
    assert!(guard.is_valid());
    guard.release().await.unwrap();
}

/// The same schedule on the row of a client that never changes its record version.
#[tokio::test(start_paused = true)]
async fn control_paused_npm_client_overwrites_constant_version() {
    let Some(modules) = NpmClient::modules("control_paused_npm_client_overwrites_constant_version") else { return };
    let world = World::new();
    let (server, _store) = table(&world).await;
    let held = row(&[("guid", "constant".into()), ("expiresOn", Value::from(world.epoch_ms() + 60_000))]);
    server.set_row("Lock", "a", Some(&held));
    let callback = NpmClient::start(&modules).get_lock(&world, &server, HOUR_MS, 10_000, LEASE * 3).await;
    assert_eq!(callback["success"], "SUCCESS");
}

/// Lesson 30.
#[tokio::test(start_paused = true)]
async fn guards_never_overlap_whatever_npm_client_does() {
    let Some(modules) = NpmClient::modules("guards_never_overlap_whatever_npm_client_does") else { return };
    let (mut overwrites, mut handoffs) = (0, 0);
    for ahead_ms in [-86_400_000, 1_000, 9_000, 12_000, 86_400_000] {
        for duration_ms in [1_u64, 3_000] {
            for pause in [Duration::ZERO, LEASE * 3] {
                let world = World::new();
                let (server, store) = table(&world).await;
                let first = acquire_on_new_host(&world, &store).await;
                let second = tokio::spawn({
                    let world = world.clone();
                    async move { acquire_on_new_host(&world, &store).await }
                });
                let mut npm_client = NpmClient::start(&modules);
                sleep(ms(700)).await;
                let callback = npm_client.get_lock(&world, &server, ahead_ms, duration_ms, pause).await;
                overwrites += u32::from(callback["success"] == "SUCCESS");
                // The second guard exists from when its task has ended. The first one must have expired before.
                for _ in 0..400 {
                    sleep(ms(50)).await;
                    assert!(!(first.is_valid() && second.is_finished()), "{ahead_ms} {duration_ms} {pause:?}");
                }
                if second.is_finished() {
                    let second = second.await.unwrap();
                    assert!(second.token() > first.token(), "{ahead_ms} {duration_ms} {pause:?}");
                    handoffs += 1;
                } else {
                    second.abort();
                }
            }
        }
    }
    assert!(overwrites >= 4, "only {overwrites} overwrites by the npm client: the test shows nothing");
    assert!(handoffs >= 2, "only {handoffs} handoffs to the second guard: the test shows nothing");
}
