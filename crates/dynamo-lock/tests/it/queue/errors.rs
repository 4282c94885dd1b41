//! Errors that end waits.

use dynamo_lock::{AcquireError, Client, StoreErrorKind};
use test_support::{Host, LEASE, LinkFault, World, acquire, ms, row, secs};
use tokio::time::sleep;

use super::start_waiter;

/// Starts 50 waiters, and returns their errors. The first attempt begins with the first of them, so that its error ends
/// that wait alone. The second attempt ends all others.
async fn errors_of_fifty(world: &World, host: &Host, client: &Client) -> Vec<AcquireError> {
    let mut waiters = Vec::new();
    for _ in 0..50 {
        waiters.push(start_waiter(client).await);
    }
    let began = world.time();
    let mut errors = Vec::new();
    for waiter in waiters {
        errors.push(waiter.await.unwrap().unwrap_err());
    }
    assert!(world.time() - began <= 2 * (LEASE + LEASE / 4), "{:?}", world.time() - began);
    assert!(host.link.calls().len() < 100, "{} requests", host.link.calls().len());
    errors
}

#[tokio::test(start_paused = true)]
async fn refusal_ends_all_waits() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    host.link.set_all(LinkFault::Refuse(StoreErrorKind::AccessDenied));
    for error in errors_of_fifty(&world, &host, &client).await {
        assert!(matches!(&error, AcquireError::Store(error) if error.kind() == StoreErrorKind::AccessDenied));
    }
    assert_eq!(host.link.kinds(), ["acquire", "acquire"], "two attempts for all of them");
    host.link.heal();
    acquire(&client).await.release().await.unwrap();
}

/// The last of 50 waiters does not wait for 50 leases.
#[tokio::test(start_paused = true)]
async fn unanswered_attempt_ends_all_waits() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    host.link.set_all(LinkFault::LoseRequest);
    for error in errors_of_fifty(&world, &host, &client).await {
        assert!(matches!(&error, AcquireError::Store(error) if error.kind() == StoreErrorKind::Unanswered));
    }
}

#[tokio::test(start_paused = true)]
async fn unusable_row_ends_all_waits() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    world.set_row("a", Some(row(&[("x", dynamo_lock::store::Value::S("1".into()))])));
    for error in errors_of_fifty(&world, &host, &client).await {
        assert!(matches!(error, AcquireError::Row { .. }), "{error}");
    }
}

/// The waiter that arrives after the attempt has begun waits for the next attempt.
#[tokio::test(start_paused = true)]
async fn later_waiter_survives_error_of_earlier_attempt() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    host.link.set_next("acquire", [LinkFault::Refuse(StoreErrorKind::Refused)]);
    let first = start_waiter(&client).await;
    sleep(ms(1)).await;
    let later = start_waiter(&client).await;
    assert!(matches!(first.await.unwrap(), Err(AcquireError::Store(_))));
    drop(later.await.unwrap().unwrap());
    assert_eq!(host.link.kinds(), ["acquire", "acquire"]);
}

/// Nothing is known of the lock when the limit passes, and the store is the reason.
#[tokio::test(start_paused = true)]
async fn limit_without_a_row_reports_the_store() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    host.link.set_all(LinkFault::LoseRequest);
    let first = start_waiter(&client).await;
    let began = world.time();
    let error = client.lock("a").unwrap().acquire_within(ms(500)).await.unwrap_err();
    assert!(matches!(&error, AcquireError::Store(error) if error.kind() == StoreErrorKind::Unanswered), "{error}");
    assert!(world.time() - began <= ms(500) + LEASE / 2, "{:?}", world.time() - began);
    first.abort();
}

#[tokio::test(start_paused = true)]
async fn close_ends_all_waits_and_cleans_up() {
    for delay in [0, 1, 6, 2_000] {
        let world = World::new();
        let other = if delay > 1_000 { Some(world.host().acquire().await) } else { None };
        let host = world.host();
        let client = host.client();
        let waiters = [start_waiter(&client).await, start_waiter(&client).await, start_waiter(&client).await];
        sleep(ms(delay)).await;
        client.close().await;
        for waiter in waiters {
            let error = waiter.await.unwrap().expect_err("the client was closed");
            assert!(matches!(&error, AcquireError::Store(error) if error.kind() == StoreErrorKind::Refused), "{error}");
            assert!(error.to_string().contains("the client was closed"), "{error}");
        }
        assert_eq!(world.is_free().await, other.is_none(), "closed after {delay} ms");
        drop(other);
        acquire(&client).await.release().await.unwrap();
    }
}

/// A single waiter polls the store in its own future.
#[tokio::test(start_paused = true)]
async fn close_ends_the_wait_of_a_single_waiter() {
    let world = World::new();
    let _other = world.host().acquire().await;
    let client = world.host().client();
    let waiter = start_waiter(&client).await;
    sleep(secs(1)).await;
    client.close().await;
    assert!(matches!(waiter.await.unwrap(), Err(AcquireError::Store(_))));
}
