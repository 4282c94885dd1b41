//! A guard hands its lock over to the next waiter of its client.

use std::time::Duration;

use dynamo_lock::{Client, Guard, LossReason, ReleaseError, StoreErrorKind};
use test_support::{Call, Host, LATENCY, LEASE, LinkFault, POLL_MAX, RecordingObserver, World, acquire, ms, secs};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::{start_waiter, work};

const ROUND_TRIP: Duration = ms(2 * LATENCY.as_millis() as u64);

/// Returns the kinds of all requests but renewals.
fn kinds(host: &Host) -> Vec<&'static str> {
    host.link.kinds().into_iter().filter(|kind| *kind != "renew").collect()
}

/// Starts tasks that each work under the lock `times` times.
fn start_workers(client: &Client, tasks: usize, times: usize) -> Vec<JoinHandle<()>> {
    let start = |_| {
        let client = client.clone();
        tokio::spawn(async move {
            for _ in 0..times {
                work(&client).await;
            }
        })
    };
    (0..tasks).map(start).collect()
}

#[tokio::test(start_paused = true)]
async fn fifty_tasks_need_about_one_write_each_and_no_read() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    for task in start_workers(&client, 50, 1) {
        task.await.unwrap();
    }
    assert_eq!(host.link.count("read"), 0, "{:?}", host.link.kinds());
    assert!(host.link.writes() <= 55, "{} writes", host.link.writes());
    assert!(world.time() <= (ms(10) + ROUND_TRIP) * 50 * 115 / 100, "{:?}", world.time());
    assert!(world.is_free().await);
    let row = world.row("a").await.unwrap();
    assert_eq!(row.whole("handovers"), Some(host.link.count("hand over") as u64));
}

/// Each further task costs the same time and the same requests.
#[tokio::test(start_paused = true)]
async fn thousand_tasks_take_linear_time() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    for task in start_workers(&client, 1_000, 1) {
        task.await.unwrap();
    }
    assert!(host.link.writes() <= 1_100, "{} writes", host.link.writes());
    assert!(world.time() <= (ms(10) + ROUND_TRIP) * 1_000 * 125 / 100, "{:?}", world.time());
}

#[tokio::test(start_paused = true)]
async fn lock_is_released_after_sixteen_handovers() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    for task in start_workers(&client, 18, 1) {
        task.await.unwrap();
    }
    let expected = [&["acquire"][..], &["hand over"; 16], &["release", "acquire", "release"]].concat();
    assert_eq!(kinds(&host), expected);
}

/// The lock has no waiter after each handover, before the next one arrives.
#[tokio::test(start_paused = true)]
async fn handovers_to_single_waiters_are_counted() {
    let host = World::new().host();
    let client = host.client();
    let mut guard = acquire(&client).await;
    for _ in 0..18 {
        let waiter = start_waiter(&client).await;
        guard.release().await.unwrap();
        guard = waiter.await.unwrap().unwrap();
    }
    let expected = [&["acquire"][..], &["hand over"; 16], &["release", "acquire", "hand over"]].concat();
    assert_eq!(kinds(&host), expected);
}

#[tokio::test(start_paused = true)]
async fn lock_is_released_one_lease_after_acquisition() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    let tasks: Vec<_> = (0..5)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                let guard = acquire(&client).await;
                sleep(secs(4)).await;
                guard.release().await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let writes: Vec<_> = kinds(&host).into_iter().filter(|kind| *kind != "read").collect();
    assert_eq!(writes, ["acquire", "hand over", "hand over", "release", "acquire", "hand over", "release"]);
}

/// Acquires the lock, and starts a waiter behind it.
async fn guard_and_waiter(client: &Client) -> (Guard, JoinHandle<Result<Guard, dynamo_lock::AcquireError>>) {
    let guard = acquire(client).await;
    sleep(secs(1)).await;
    let waiter = start_waiter(client).await;
    (guard, waiter)
}

#[tokio::test(start_paused = true)]
async fn handover_takes_one_round_trip_and_reports_both_events() {
    let (world, observer) = (World::new(), RecordingObserver::default());
    let host = world.host();
    let client = host.builder().observer(observer.clone()).build().unwrap();
    let (guard, waiter) = guard_and_waiter(&client).await;
    let (token, acquired_on) = (guard.token(), world.row("a").await.unwrap().whole("acquiredOn"));
    let (began, cancelled) = (world.time(), guard.cancellation());
    host.link.clear_calls();
    guard.release().await.unwrap();
    assert!(cancelled.is_cancelled());
    let next = waiter.await.unwrap().unwrap();
    assert!(next.token() > token);
    assert_eq!(world.time() - began, ROUND_TRIP);
    assert_eq!(host.link.kinds(), ["hand over"]);
    assert_eq!(observer.count("Released"), 1);
    assert_eq!(observer.count("Acquired"), 2);
    let row = world.row("a").await.unwrap();
    assert_eq!((row.token(), row.whole("acquiredOn")), (Some(next.token()), acquired_on));
    next.release().await.unwrap();
    assert_eq!(kinds(&host), ["hand over", "release"]);
}

/// The options of the next guard are those of its waiter.
#[tokio::test(start_paused = true)]
async fn handover_uses_options_of_the_waiter() {
    let world = World::new();
    let client = world.host().client();
    let guard = acquire(&client).await;
    let options = client.lock("a").unwrap().options().lease(secs(30)).data("next").max_hold(secs(60));
    let waiter = tokio::spawn(options.acquire());
    tokio::task::yield_now().await;
    guard.release().await.unwrap();
    let next = waiter.await.unwrap().unwrap();
    let row = world.row("a").await.unwrap();
    assert_eq!((row.whole("leaseMs"), row.text("data")), (Some(30_000), Some("next")));
    assert!(next.time_left() > secs(29));
    assert_eq!(next.lost().await, LossReason::MaxHold);
}

#[tokio::test(start_paused = true)]
async fn applied_handover_with_lost_answer_succeeds() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    let (guard, waiter) = guard_and_waiter(&client).await;
    host.link.clear_calls();
    host.link.set_next("hand over", [LinkFault::LoseAnswer]);
    guard.release().await.unwrap();
    let next = waiter.await.unwrap().unwrap();
    assert!(next.is_valid());
    assert_eq!(kinds(&host), ["hand over", "hand over"]);
    assert_eq!(world.row("a").await.unwrap().token(), Some(next.token()));
}

/// The waiter keeps its place, and acquires the lock after the lease that was revoked.
#[tokio::test(start_paused = true)]
async fn handover_of_revoked_lock_reports_the_loss() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    let (guard, waiter) = guard_and_waiter(&client).await;
    client.lock("a").unwrap().revoke(guard.token()).await.unwrap();
    let token = guard.token();
    let error = guard.release().await.unwrap_err();
    assert!(matches!(&error, ReleaseError::Lost(lost) if lost.reason == LossReason::Revoked), "{error}");
    let began = world.time();
    assert!(waiter.await.unwrap().unwrap().token() > token);
    assert!(world.time() - began <= LEASE + POLL_MAX, "{:?}", world.time() - began);
}

/// The store refuses handovers, and the release succeeds.
#[tokio::test(start_paused = true)]
async fn refused_handover_is_replaced_by_release() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    let (guard, waiter) = guard_and_waiter(&client).await;
    host.link.clear_calls();
    host.link.set_all_of("hand over", LinkFault::Refuse(StoreErrorKind::Refused));
    guard.release().await.unwrap();
    waiter.await.unwrap().unwrap().release().await.unwrap();
    assert_eq!(kinds(&host), ["hand over", "release", "acquire", "release"]);
}

/// The lease of the waiter, and so the handover, lasts much longer.
#[tokio::test(start_paused = true)]
async fn unanswered_handover_ends_release_at_its_own_deadline() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    let guard = acquire(&client).await;
    let waiter = tokio::spawn(client.lock("a").unwrap().options().lease(secs(60)).acquire());
    tokio::task::yield_now().await;
    let deadline = world.time() + guard.time_left();
    host.link.set_all(LinkFault::LoseRequest);
    let error = guard.release().await.unwrap_err();
    assert!(matches!(error, ReleaseError::Unknown), "{error}");
    assert!(world.time() >= deadline && world.time() <= deadline + ms(10), "{:?}", world.time() - deadline);
    assert!(!waiter.is_finished(), "its handover or its own attempt goes on");
    host.link.heal();
    assert!(waiter.await.unwrap().unwrap().is_valid());
}

/// The waiter goes away while the lock is handed over to it.
#[tokio::test(start_paused = true)]
async fn waiter_dropped_during_handover_passes_the_lock_on() {
    for (has_next, is_equal) in [(false, false), (true, false), (true, true)] {
        let world = World::new();
        let host = world.host();
        let client = host.client();
        let (guard, waiter) = guard_and_waiter(&client).await;
        let options = client.lock("a").unwrap().options();
        let options = if is_equal { options } else { options.lease(secs(7)) };
        let next = has_next.then(|| tokio::spawn(options.acquire()));
        tokio::task::yield_now().await;
        let release = tokio::spawn(guard.release());
        sleep(ms(1)).await;
        waiter.abort();
        release.await.unwrap().unwrap();
        if let Some(next) = next {
            assert!(next.await.unwrap().unwrap().is_valid());
            assert_eq!(host.link.count("release"), usize::from(!is_equal), "{:?}", host.link.kinds());
        }
        client.close().await;
        assert!(world.is_free().await, "the last guard was dropped");
    }
}

/// The data that the old guard has not written yet is not lost.
#[tokio::test(start_paused = true)]
async fn pending_data_is_written_by_the_handover() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    let (guard, waiter) = guard_and_waiter(&client).await;
    host.link.set_all_of("renew", LinkFault::LoseRequest);
    let update = guard.update_data("pending");
    assert!(tokio::time::timeout(ms(100), update).await.is_err());
    guard.release().await.unwrap();
    let _next = waiter.await.unwrap().unwrap();
    assert_eq!(world.row("a").await.unwrap().text("data"), Some("pending"));
}

/// A lock is not handed over by a guard that has lost it.
#[tokio::test(start_paused = true)]
async fn lost_guard_hands_nothing_over() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    let lost = client.lock("a").unwrap().options().max_hold(secs(2)).acquire().await.unwrap();
    let waiter = start_waiter(&client).await;
    sleep(secs(3)).await;
    assert!(!lost.is_valid());
    assert!(lost.release().await.is_err());
    let next = waiter.await.unwrap().unwrap();
    assert_eq!(host.link.count("hand over"), 0);
    drop(next);
}

/// Requests of a waiter that reaches its limit while the lock is handed over to another one.
#[tokio::test(start_paused = true)]
async fn limit_during_handover_needs_no_request() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    let (guard, waiter) = guard_and_waiter(&client).await;
    let lock = client.lock("a").unwrap();
    let limited = tokio::spawn(async move { lock.acquire_within(ms(5)).await });
    tokio::task::yield_now().await;
    host.link.clear_calls();
    guard.release().await.unwrap();
    assert!(matches!(limited.await.unwrap(), Err(dynamo_lock::AcquireError::TimedOut { .. })));
    let sent: Vec<_> = host.link.calls().into_iter().filter(|(_, call)| !matches!(call, Call::Write(_))).collect();
    assert!(sent.is_empty() && host.link.count("acquire") == 0, "{:?}", host.link.kinds());
    drop(waiter.await.unwrap().unwrap());
}
