//! Waiters whose futures are not polled, or are dropped.

use dynamo_lock::Renewal;
use test_support::{LATENCY, LEASE, POLL_MAX, World, acquire, ms, secs};
use tokio::time::sleep;

use super::{Unpolled, start_waiter};

/// The first of two waiters is not polled any more. The lock is offered to it first.
#[tokio::test(start_paused = true)]
async fn unpolled_waiter_delays_next_by_half_a_validity() {
    let world = World::new();
    let other = world.host().acquire().await;
    let host = world.host();
    let client = host.client();
    let mut first = Unpolled::begin(&client);
    let second = start_waiter(&client).await;
    sleep(secs(1)).await;
    other.release().await.unwrap();
    let released = world.time();
    let guard = second.await.unwrap().unwrap();
    let waited = world.time() - released;
    assert!(waited >= LEASE / 4 && waited <= LEASE / 2 + POLL_MAX, "{waited:?}");
    let taken = world.time();
    let is_renewed_early = host.link.calls().iter().any(|(at, call)| call.kind() == "renew" && *at < taken);
    assert!(!is_renewed_early, "a lock that its waiter has not taken is not renewed");
    assert!(guard.is_valid());
    // It has kept its place.
    let third = start_waiter(&client).await;
    assert!(first.poll().is_none());
    guard.release().await.unwrap();
    // After a long hold the client lets other clients look first.
    sleep(ms(300)).await;
    assert!(!third.is_finished());
    first.poll().expect("it is offered to the first waiter").unwrap().release().await.unwrap();
    drop(third.await.unwrap().unwrap());
}

/// No other future waits for the lock that was acquired for a future that is not polled.
#[tokio::test(start_paused = true)]
async fn lock_that_no_waiter_takes_is_released() {
    let world = World::new();
    let other = world.host().acquire().await;
    let host = world.host();
    let client = host.client();
    let mut first = Unpolled::begin(&client);
    let second = start_waiter(&client).await;
    sleep(secs(1)).await;
    second.abort();
    other.release().await.unwrap();
    sleep(LEASE / 4).await;
    assert!(!world.is_free().await, "it is offered");
    sleep(LEASE / 2).await;
    assert!(world.is_free().await, "it is released");
    host.link.clear_calls();
    sleep(secs(60)).await;
    assert!(host.link.calls().is_empty(), "{:?}", host.link.kinds());
    // The waiter goes on once it is polled.
    assert!(first.poll().is_none());
    sleep(ms(100)).await;
    let guard = std::iter::repeat_with(|| first.poll()).take(3).flatten().next();
    match guard {
        Some(guard) => guard.unwrap().release().await.unwrap(),
        None => first.0.await.unwrap().release().await.unwrap(),
    }
}

/// The lock is acquired, and the waiter is dropped before it is polled again.
#[tokio::test(start_paused = true)]
async fn lock_of_dropped_waiter_goes_to_next_without_a_write() {
    let world = World::new();
    let other = world.host().acquire().await;
    let host = world.host();
    let client = host.client();
    let first = Unpolled::begin(&client);
    let second = start_waiter(&client).await;
    sleep(secs(1)).await;
    other.release().await.unwrap();
    sleep(POLL_MAX).await;
    assert!(!second.is_finished() && !world.is_free().await, "it is offered to the first");
    host.link.clear_calls();
    drop(first);
    let guard = second.await.unwrap().unwrap();
    assert!(guard.is_valid());
    assert!(host.link.kinds().iter().all(|kind| *kind == "renew"), "{:?}", host.link.kinds());
}

/// The next waiter has other options, so that the lock cannot be passed on to it.
#[tokio::test(start_paused = true)]
async fn lock_of_dropped_waiter_is_released_for_other_options() {
    let world = World::new();
    let other = world.host().acquire().await;
    let host = world.host();
    let client = host.client();
    let first = Unpolled::begin(&client);
    let options = client.lock("a").unwrap().options().renewal(Renewal::Disabled);
    let second = tokio::spawn(options.acquire());
    sleep(secs(1)).await;
    other.release().await.unwrap();
    sleep(POLL_MAX).await;
    let dropped = world.time();
    drop(first);
    let guard = second.await.unwrap().unwrap();
    assert!(world.time() - dropped <= 8 * LATENCY, "{:?}", world.time() - dropped);
    sleep(2 * LEASE).await;
    assert!(!guard.is_valid(), "it is not renewed");
}

/// All waiters are dropped while the lock is acquired for one of them.
#[tokio::test(start_paused = true)]
async fn dropped_waiters_leave_the_lock_free() {
    for delay in 0..30 {
        let world = World::new();
        let client = world.host().client();
        let waiters = [start_waiter(&client).await, start_waiter(&client).await, start_waiter(&client).await];
        sleep(ms(delay)).await;
        waiters.iter().for_each(|waiter| waiter.abort());
        sleep(ms(1)).await;
        drop(waiters);
        client.wait_for_background().await;
        assert!(world.is_free().await, "dropped after {delay} ms");
        acquire(&client).await.release().await.unwrap();
    }
}
