//! Hosts with clocks that are wrong, slewed, stepped or suspended.

use dynamo_lock::{LossReason, Renewal};
use test_support::{LinkFault, World, acquire, ms, secs, try_acquire};
use tokio::time::sleep;

const DAY_MS: i64 = 24 * 3600 * 1000;

/// Lesson 6. Locks that compare wall clocks take over valid leases.
#[tokio::test(start_paused = true)]
async fn wrong_wall_clocks_take_over_no_valid_lock() {
    for world in [World::new, World::without_dates] {
        for (holder_ms, other_ms) in [(DAY_MS, -DAY_MS), (-DAY_MS, DAY_MS), (0, 61_000), (61_000, 0)] {
            let world = world();
            let (host, other) = (world.host(), world.host());
            host.clock.step_wall(holder_ms);
            other.clock.step_wall(other_ms);
            let guard = host.acquire().await;
            let lock = other.lock();
            for _ in 0..10 {
                sleep(secs(3)).await;
                assert!(try_acquire(&lock).await.is_none(), "{holder_ms} and {other_ms}");
            }
            // After a crash no other client acquires the lock before the guard has expired.
            host.link.set_all(LinkFault::Hang);
            let ((_, lost), (next, acquired)) = tokio::join!(async { (guard.lost().await, world.time()) }, async {
                (lock.acquire().await.unwrap(), world.time())
            });
            assert!(lost < acquired, "{holder_ms} and {other_ms}: lost at {lost:?}, acquired at {acquired:?}");
            assert!(next.token() > guard.token());
        }
    }
}

/// Lesson 43.
#[tokio::test(start_paused = true)]
async fn holder_with_slow_clock_expires_in_time() {
    let world = World::without_dates();
    let host = world.host();
    host.clock.slew(-80);
    let guard = host.acquire().await;
    host.link.set_all(LinkFault::Hang);
    guard.lost().await;
    assert!(world.time() <= ms(9_890), "{:?}", world.time());
}

/// Lesson 43.
#[tokio::test(start_paused = true)]
async fn waiter_with_fast_clock_waits_a_whole_lease() {
    let world = World::without_dates();
    let host = world.host();
    let _guard = host.acquire().await;
    host.link.set_all(LinkFault::Hang);
    let waiter = world.host();
    waiter.clock.slew(80);
    let _next = waiter.acquire().await;
    assert!(world.time() >= secs(10), "{:?}", world.time());
}

/// Lesson 49. The successor has no service clock, and its wall clock is an hour slow. A client with a service clock
/// must not take its lease for expired.
#[tokio::test(start_paused = true)]
async fn wall_clock_expiry_removes_old_service_timestamp() {
    let world = World::new();
    world.crash_holder_after(secs(1)).await;
    assert_eq!(world.row("a").await.unwrap().text("expiryClock"), Some("service"));
    let successor = world.host();
    successor.clock.step_wall(-3_600_000);
    let guard = acquire(&successor.builder().service_clock(false).build().unwrap()).await;
    let row = world.row("a").await.unwrap();
    assert_eq!(row.text("expiryClock"), None);
    assert!(row.whole("expiresOn").unwrap() < world.epoch_ms());
    assert!(try_acquire(&world.host().lock()).await.is_none());
    assert!(guard.is_valid());
}

/// Lesson 14. The guard is valid for 9.89 s.
#[tokio::test(start_paused = true)]
async fn suspension_of_host_counts_towards_its_lease() {
    let host = World::new().host();
    let guard = host.acquire().await;
    host.clock.suspend(secs(9));
    assert!(guard.is_valid());
    host.clock.suspend(secs(11));
    assert!(!guard.is_valid());
    assert_eq!(guard.lost().await, LossReason::Suspended);
}

/// Lesson 14.
#[tokio::test(start_paused = true)]
async fn wall_clock_set_back_does_not_lengthen_lease() {
    let world = World::new();
    let host = world.host();
    let guard = host.lock().options().renewal(Renewal::Disabled).acquire().await.unwrap();
    host.clock.step_wall(-DAY_MS);
    guard.lost().await;
    assert!(world.time() <= ms(9_890), "{:?}", world.time());
}
