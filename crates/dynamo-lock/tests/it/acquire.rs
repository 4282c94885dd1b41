//! What a user of guards sees, in virtual time.

use std::time::Duration;

use dynamo_lock::store::Row;
use dynamo_lock::{AcquireError, Inspection, Listed, LossReason, Renewal, RevokeError, RowError};
use test_support::hosts::{Fault, IntoGuard, World};
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn acquire_and_release_are_two_writes_and_no_read() {
    let world = World::new();
    let host = world.host();
    let guard = host.client().lock("a").unwrap().acquire().await.unwrap();
    assert!(guard.is_valid());
    guard.release().await.unwrap();
    assert_eq!(host.link.kinds(), ["acquire", "release"]);
    assert!(world.is_free("a").await);
}

#[tokio::test(start_paused = true)]
async fn tokens_rise_across_releases() {
    let client = World::new().host().client();
    let lock = client.lock("a").unwrap();
    let mut last = 0;
    for _ in 0..5 {
        let guard = lock.acquire().await.unwrap();
        assert!(guard.token().get() > last);
        last = guard.token().get();
        guard.release().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_held_lock_is_kept_for_ten_leases() {
    let world = World::new();
    let guard = world.host().client().lock("a").unwrap().acquire().await.unwrap();
    sleep(Duration::from_secs(100)).await;
    assert!(guard.is_valid());
    assert!(world.host().client().lock("a").unwrap().try_acquire().await.unwrap().into_guard().is_none());
}

#[tokio::test(start_paused = true)]
async fn contended_try_is_one_request() {
    let world = World::new();
    let _guard = world.host().client().lock("a").unwrap().acquire().await.unwrap();
    let other = world.host();
    assert!(other.client().lock("a").unwrap().try_acquire().await.unwrap().into_guard().is_none());
    assert_eq!(other.link.kinds(), ["acquire"]);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_gets_the_lock_when_it_is_released() {
    let world = World::new();
    let guard = world.host().client().lock("a").unwrap().acquire().await.unwrap();
    let other = world.host();
    let lock = other.client().lock("a").unwrap();
    let waiter = tokio::spawn(async move { lock.acquire().await.unwrap().token() });
    sleep(Duration::from_secs(30)).await;
    assert!(!waiter.is_finished());
    let token = guard.token();
    guard.release().await.unwrap();
    let released = world.time();
    assert!(waiter.await.unwrap() > token);
    assert!(world.time() - released <= Duration::from_millis(600));
}

#[tokio::test(start_paused = true)]
async fn while_every_request_hangs_the_guard_is_lost_at_its_own_deadline() {
    let world = World::new();
    let host = world.host();
    let guard = host.client().lock("a").unwrap().acquire().await.unwrap();
    let acquired = world.time();
    host.link.all(Fault::Hang);
    let ran = guard.run(std::future::pending::<()>()).await;
    assert_eq!(ran.unwrap_err().reason, LossReason::Expired);
    assert!(!guard.is_valid());
    assert!(guard.cancellation().is_cancelled());
    // Lease 10 s less its margin of 110 ms, counted from before sending.
    assert!(world.time() <= acquired + Duration::from_millis(9_890));
    assert!(world.time() >= Duration::from_millis(9_880));
}

#[tokio::test(start_paused = true)]
async fn another_waiter_follows_a_crashed_holder_within_its_lease_and_a_poll() {
    let world = World::new();
    let crashed = world.host();
    let guard = crashed.client().lock("a").unwrap().acquire().await.unwrap();
    crashed.link.all(Fault::Hang);
    let other = world.host();
    let next = other.client().lock("a").unwrap().acquire().await.unwrap();
    assert!(!guard.is_valid());
    assert!(next.token() > guard.token());
    assert!(world.time() <= Duration::from_millis(11_000), "{:?}", world.time());
    std::mem::forget(guard);
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_takes_a_long_dead_lock_at_once() {
    let world = World::new();
    let crashed = world.host();
    let guard = crashed.client().lock("a").unwrap().acquire().await.unwrap();
    sleep(Duration::from_secs(2)).await;
    crashed.link.all(Fault::Hang);
    sleep(Duration::from_secs(30)).await;
    let other = world.host();
    let before = world.time();
    let next = other.client().lock("a").unwrap().try_acquire().await.unwrap().into_guard().expect("taken over");
    assert!(next.token() > guard.token());
    assert_eq!(other.link.kinds(), ["acquire", "take over"]);
    assert_eq!(world.time() - before, test_support::hosts::LATENCY * 4);
}

#[tokio::test(start_paused = true)]
async fn acquire_within_says_who_held_it() {
    let world = World::new();
    let _guard = world.host().client().lock("a").unwrap().acquire().await.unwrap();
    let error = world.host().client().lock("a").unwrap().acquire_within(Duration::from_secs(3)).await.unwrap_err();
    let AcquireError::TimedOut { holder: Some(holder), waited } = error else { panic!("{error}") };
    assert!(holder.owner.unwrap().starts_with("test ("));
    assert!(waited >= Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn max_hold_ends_the_lock_however_well_renewals_go() {
    let world = World::new();
    let lock = world.host().client().lock("a").unwrap();
    let guard = lock.options().max_hold(Duration::from_secs(25)).acquire().await.unwrap();
    assert_eq!(guard.lost().await, LossReason::MaxHold);
    assert!(world.time() <= Duration::from_millis(25_010));
}

#[tokio::test(start_paused = true)]
async fn a_manual_heartbeat_is_the_callers() {
    let world = World::new();
    let host = world.host();
    let lock = host.client().lock("a").unwrap();
    let guard = lock.options().renewal(Renewal::Manual).acquire().await.unwrap();
    sleep(Duration::from_secs(8)).await;
    assert_eq!(host.link.kinds(), ["acquire"]);
    guard.renew().await.unwrap();
    assert_eq!(host.link.kinds(), ["acquire", "renew"]);
    sleep(Duration::from_secs(8)).await;
    assert!(guard.is_valid());
    assert_eq!(guard.lost().await, LossReason::Expired);
}

#[tokio::test(start_paused = true)]
async fn a_hold_lasts_as_long_as_it_says_and_no_longer() {
    let world = World::new();
    let host = world.host();
    let lock = host.client().lock("a").unwrap();
    let token = lock.hold(Duration::from_secs(60)).await.unwrap();
    let other = world.host();
    let next = other.client().lock("a").unwrap().acquire().await.unwrap();
    assert!(next.token() > token);
    assert!(world.time() >= Duration::from_secs(60));
    assert!(world.time() <= Duration::from_secs(62));
}

#[tokio::test(start_paused = true)]
async fn a_payload_is_in_the_row_and_survives_the_release() {
    let world = World::new();
    let lock = world.host().client().lock("a").unwrap();
    let guard = lock.options().data("first").acquire().await.unwrap();
    assert_eq!(world.row("a").await.unwrap().text("data"), Some("first"));
    guard.update_data("second").await.unwrap();
    assert_eq!(world.row("a").await.unwrap().text("data"), Some("second"));
    guard.release().await.unwrap();
    assert_eq!(world.row("a").await.unwrap().text("data"), Some("second"));
}

#[tokio::test(start_paused = true)]
async fn dropped_guards_are_released_and_close_waits_for_it() {
    let world = World::new();
    let client = world.host().client();
    drop(client.lock("a").unwrap().acquire().await.unwrap());
    client.close().await;
    assert!(world.is_free("a").await);
}

#[tokio::test(start_paused = true)]
async fn a_revoked_holder_is_told_and_others_wait_its_lease_out() {
    let world = World::new();
    let guard = world.host().client().lock("a").unwrap().acquire().await.unwrap();
    let operator = world.host().client().lock("a").unwrap();
    operator.revoke(guard.token()).await.unwrap();
    assert_eq!(guard.lost().await, LossReason::Revoked);
    operator.revoke(guard.token()).await.expect("it is revoked already");
    let next = world.host().client().lock("a").unwrap().acquire().await.unwrap();
    assert!(next.token() > guard.token());
    assert!(world.time() >= Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn with_gives_the_output_of_the_work() {
    let world = World::new();
    let lock = world.host().client().lock("a").unwrap();
    let task = tokio::spawn(async move { lock.with(async |guard| guard.token().get()).await.unwrap() });
    assert!(task.await.unwrap() > 0);
    assert!(world.is_free("a").await);
}

#[tokio::test(start_paused = true)]
async fn a_reign_that_has_ended_cannot_be_revoked() {
    let world = World::new();
    let lock = world.host().client().lock("a").unwrap();
    let token = {
        let guard = lock.acquire().await.unwrap();
        let token = guard.token();
        guard.release().await.unwrap();
        token
    };
    let error = lock.revoke(token).await.unwrap_err();
    assert!(matches!(error, RevokeError::Ended { holder: None, .. }), "{error}");
    let next = lock.acquire().await.unwrap();
    let error = lock.force_revoke(token).await.unwrap_err();
    assert!(matches!(error, RevokeError::Ended { holder: Some(_), .. }), "{error}");
    assert!(next.is_valid());
}

#[tokio::test(start_paused = true)]
async fn force_free_frees_at_once() {
    let world = World::new();
    let guard = world.host().client().lock("a").unwrap().acquire().await.unwrap();
    let operator = world.host().client().lock("a").unwrap();
    operator.force_revoke(guard.token()).await.unwrap();
    let next = operator.try_acquire().await.unwrap().into_guard().expect("free");
    assert!(next.token() > guard.token());
    assert_eq!(guard.lost().await, LossReason::TakenOver);
}

#[tokio::test(start_paused = true)]
async fn a_listing_shows_every_row_and_what_it_says() {
    let world = World::new();
    let client = world.host().client();
    let _held = client.lock("held").unwrap().acquire().await.unwrap();
    client.lock("free").unwrap().acquire().await.unwrap().release().await.unwrap();
    world.plant("data", Some(Row::new([("customer".to_owned(), "Smith".into())])));
    let (mut list, mut seen) = (client.list(), Vec::new());
    while let Some(listed) = list.next().await {
        let Listed { name, inspection, .. } = listed.unwrap();
        seen.push((name, inspection));
    }
    seen.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(seen.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["data", "free", "held"]);
    assert!(matches!(seen[0].1, Err(RowError::NotALock)));
    assert!(matches!(seen[1].1, Ok(Inspection::Free { token: Some(_), .. })));
    assert!(matches!(seen[2].1, Ok(Inspection::Held { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_page_that_could_not_be_read_is_asked_for_again() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    client.lock("a").unwrap().acquire().await.unwrap().release().await.unwrap();
    host.link.once("list", Fault::Throttle);
    let mut list = client.list();
    assert!(list.next().await.unwrap().is_err());
    assert_eq!(list.next().await.unwrap().unwrap().name, "a");
    assert!(list.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn guards_and_locks_may_be_used_from_any_task() {
    fn is_send_and_sync<T: Send + Sync>(_: &T) {}
    fn is_send<T: Send>(_: &T) {}
    let client = World::new().host().client();
    let lock = client.lock("a").unwrap();
    is_send(&lock.acquire());
    is_send(&lock.with(async |_| ()));
    is_send(&lock.hold(Duration::from_secs(1)));
    let guard = lock.acquire().await.unwrap();
    is_send_and_sync(&guard);
    is_send(&guard.run(async {}));
    is_send(&guard.release());
}
