//! `Guard::at_risk` and `Guard::recovered`: the warning before the end of a lease.

use std::time::Duration;

use dynamo_lock::{Guard, LossReason, Renewal};
use test_support::{LEASE, LinkFault, World, ms, secs};
use tokio::time::{sleep, timeout};

/// Half of the lease.
const MARGIN: Duration = secs(5);
/// Longest time after which a change is noticed: one slice, and the shortest pause.
const NOTICED: Duration = ms(251);

/// Returns the time left at the warning, `None` if there is none for a minute.
async fn warning(guard: &Guard, margin: Duration) -> Option<Duration> {
    timeout(secs(60), guard.at_risk(margin)).await.ok().map(|left| left.expect("the lock is held"))
}

#[tokio::test(start_paused = true)]
async fn no_warning_comes_while_renewals_succeed() {
    let host = World::new().host();
    let guard = host.acquire().await;
    assert_eq!(warning(&guard, MARGIN).await, None);
    // A minute has 24 heartbeats of 2.5 s, and the wait itself sends nothing.
    let kinds = host.link.kinds();
    assert!(kinds[0] == "acquire" && kinds[1..].iter().all(|kind| *kind == "renew") && kinds.len() <= 26, "{kinds:?}");
}

#[tokio::test(start_paused = true)]
async fn warning_comes_when_margin_is_left() {
    for margin in [ms(10), secs(1), MARGIN, ms(7_300)] {
        for fault in [LinkFault::Hang, LinkFault::LoseRequest, LinkFault::Throttle] {
            let host = World::new().host();
            let guard = host.acquire().await;
            host.link.set_all(fault.clone());
            let left = warning(&guard, margin).await.expect("no renewal succeeds");
            assert!(left < margin && left + ms(2) >= margin, "{fault:?}: {left:?} are left, not {margin:?}");
            assert!(guard.is_valid());
            assert!(guard.at_risk(margin).await.unwrap() <= left, "it returns at once until a renewal succeeds");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn warning_comes_again_after_a_renewal() {
    let world = World::new();
    let host = world.host();
    let guard = host.acquire().await;
    for _ in 0..3 {
        host.link.set_all(LinkFault::LoseRequest);
        warning(&guard, MARGIN).await.expect("no renewal succeeds");
        assert!(timeout(secs(1), guard.recovered(MARGIN)).await.is_err(), "no renewal has succeeded");
        host.link.heal();
        guard.recovered(MARGIN).await.unwrap();
        assert!(guard.time_left() >= MARGIN);
        assert_eq!(warning(&guard, MARGIN).await, None, "it has not waited again");
    }
}

/// A renewal that fails long before its deadline is repeated, so it ends the wait without a call of `renew`.
#[tokio::test(start_paused = true)]
async fn renewal_during_the_wait_moves_the_warning() {
    let host = World::new().host();
    let guard = host.acquire().await;
    sleep(secs(2)).await;
    host.link.set_next("renew", [LinkFault::LoseRequest, LinkFault::LoseRequest]);
    assert_eq!(warning(&guard, MARGIN).await, None);
    assert!(guard.is_valid());
}

#[tokio::test(start_paused = true)]
async fn loss_before_the_margin_is_an_error() {
    let world = World::new();
    let host = world.host();
    let guard = host.acquire().await;
    let (lost, ()) = tokio::join!(guard.at_risk(MARGIN), async {
        sleep(secs(1)).await;
        world.host().lock().revoke(guard.token()).await.unwrap();
    });
    assert_eq!(lost.unwrap_err().reason, LossReason::Revoked);
    assert_eq!(guard.at_risk(MARGIN).await.unwrap_err().reason, LossReason::Revoked);
    assert_eq!(guard.recovered(MARGIN).await.unwrap_err().reason, LossReason::Revoked);
}

/// A margin of zero is never reached before the loss. One of the lease or more is reached at once, and no renewal
/// restores it.
#[tokio::test(start_paused = true)]
async fn margins_outside_the_lease_have_defined_results() {
    let host = World::new().host();
    let guard = host.acquire().await;
    for margin in [LEASE, LEASE * 2, Duration::MAX] {
        assert!(timeout(Duration::ZERO, guard.at_risk(margin)).await.expect("at once").is_ok());
        assert!(timeout(secs(60), guard.recovered(margin)).await.is_err());
    }
    guard.recovered(Duration::ZERO).await.unwrap();
    assert_eq!(warning(&guard, Duration::ZERO).await, None);
    host.link.set_all(LinkFault::Hang);
    let (warned, recovered) = tokio::join!(guard.at_risk(Duration::ZERO), guard.recovered(LEASE));
    assert_eq!(warned.unwrap_err().reason, LossReason::Expired);
    assert_eq!(recovered.unwrap_err().reason, LossReason::Expired);
}

/// Timers do not count a suspension of the host, so the timer of the wait alone would fire 3 s after it.
#[tokio::test(start_paused = true)]
async fn warning_follows_soon_after_a_suspension() {
    let world = World::new();
    let host = world.host();
    let guard = host.acquire().await;
    host.link.set_all(LinkFault::Hang);
    let (left, ()) = tokio::join!(guard.at_risk(MARGIN), async {
        sleep(secs(2)).await;
        host.clock.suspend(secs(4));
    });
    assert!(left.unwrap() < secs(4));
    assert!(world.time() <= secs(2) + NOTICED + ms(10), "{:?}", world.time());
}

#[tokio::test(start_paused = true)]
async fn end_of_max_hold_is_a_warning_despite_renewals() {
    let world = World::new();
    let guard = world.host().lock().options().max_hold(secs(25)).acquire().await.unwrap();
    warning(&guard, MARGIN).await.expect("it ends");
    assert!(world.time() >= secs(20) && world.time() <= ms(20_010) + NOTICED, "{:?}", world.time());
    assert_eq!(guard.recovered(MARGIN).await.unwrap_err().reason, LossReason::MaxHold);
}

#[tokio::test(start_paused = true)]
async fn manual_renewal_is_due_at_the_warning() {
    let guard = World::new().host().lock().options().renewal(Renewal::Manual).acquire().await.unwrap();
    for _ in 0..5 {
        warning(&guard, MARGIN).await.expect("nothing renews it");
        guard.renew().await.unwrap();
    }
    assert!(guard.is_valid());
}
