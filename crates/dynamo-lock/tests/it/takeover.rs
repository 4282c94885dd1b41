//! Takeover of locks after a crash of the holder.

use test_support::{LATENCY, LEASE, LinkFault, POLL_MAX, World, ms, secs, try_acquire};
use tokio::time::sleep;

use crate::acquire::TWO_ROUND_TRIPS;

#[tokio::test(start_paused = true)]
async fn waiter_acquires_one_lease_after_crash() {
    let world = World::new();
    let crashed = world.host();
    let guard = crashed.acquire().await;
    crashed.link.set_all(LinkFault::Hang);
    let next = world.host().acquire().await;
    assert!(!guard.is_valid());
    assert!(next.token() > guard.token());
    assert!(world.time() <= secs(11), "{:?}", world.time());
    std::mem::forget(guard);
}

#[tokio::test(start_paused = true)]
async fn newcomer_takes_over_expired_lock_with_two_requests() {
    let world = World::new();
    let token = world.crash_holder_after(secs(2)).await;
    sleep(secs(30)).await;
    let (other, before) = (world.host(), world.time());
    let next = try_acquire(&other.lock()).await.expect("the lease has expired");
    assert!(next.token() > token);
    assert_eq!(other.link.kinds(), ["acquire", "take over"]);
    assert_eq!(world.time() - before, LATENCY * 4);
}

/// Lesson 4. In other locks newcomers wait for a whole lease, however long ago it expired.
#[tokio::test(start_paused = true)]
async fn lock_abandoned_for_years_is_taken_over_without_waiting() {
    let world = World::new();
    let token = world.crash_holder_after(secs(2)).await;
    sleep(secs(3 * 365 * 24 * 3600)).await;
    for waits in [false, true] {
        let (host, before) = (world.host(), world.time());
        let row = world.row("a").await;
        let guard = match waits {
            false => try_acquire(&host.lock()).await.expect("the lease has expired"),
            true => host.acquire().await,
        };
        assert!(guard.token() > token);
        assert!(host.link.kinds().len() <= 3, "{:?}", host.link.kinds());
        assert_eq!(world.time() - before, LATENCY * 2 * host.link.kinds().len() as u32, "no time but for requests");
        host.crash(guard);
        world.set_row("a", row);
    }
}

/// Lesson 32.
#[tokio::test(start_paused = true)]
async fn crash_before_service_timestamp_costs_one_lease() {
    let world = World::new();
    world.crash_holder_after(ms(200)).await;
    assert_eq!(world.row("a").await.unwrap().text("expiryClock"), None);
    sleep(secs(3600)).await;
    let (host, before) = (world.host(), world.time());
    host.acquire().await.release().await.unwrap();
    let waited = world.time() - before;
    assert!(waited <= LEASE + POLL_MAX, "{waited:?}");
}

/// Lesson 32.
#[tokio::test(start_paused = true)]
async fn crash_after_service_timestamp_costs_no_wait() {
    let world = World::new();
    world.crash_holder_after(ms(700)).await;
    assert_eq!(world.row("a").await.unwrap().text("expiryClock"), Some("service"));
    sleep(secs(3600)).await;
    let (host, before) = (world.host(), world.time());
    let _guard = host.acquire().await;
    assert!(host.link.kinds().len() <= 3, "{:?}", host.link.kinds());
    assert!(world.time() - before <= LATENCY * 6);
}

/// Lesson 1. The takeover is applied once, so the token grows by one.
#[tokio::test(start_paused = true)]
async fn applied_takeover_with_lost_answer_succeeds() {
    let world = World::new();
    let expired = world.crash_holder_after(secs(2)).await;
    sleep(secs(30)).await;
    let host = world.host();
    host.link.set_next("take over", [LinkFault::LoseAnswer]);
    let began = world.time();
    let guard = try_acquire(&host.lock()).await.expect("the first takeover was applied");
    assert_eq!(host.link.kinds(), ["acquire", "take over", "take over"]);
    assert!(world.time() - began <= TWO_ROUND_TRIPS + 2 * LATENCY);
    assert_eq!(guard.token().get(), expired.get() + 1);
}
