//! `Lock::acquire`, `acquire_within` and `with`.

use std::time::Duration;

use dynamo_lock::{AcquireError, StoreErrorKind};
use dynamo_lock_protocol::OpKind;
use test_support::{Call, Host, LATENCY, LinkFault, World, ms, secs, try_acquire};
use tokio::time::sleep;

/// Two round trips and the longest first pause between two tries.
pub const TWO_ROUND_TRIPS: Duration = ms(4 * LATENCY.as_millis() as u64 + 75);

#[tokio::test(start_paused = true)]
async fn acquire_and_release_send_two_writes_and_no_read() {
    let world = World::new();
    let host = world.host();
    let guard = host.acquire().await;
    assert!(guard.is_valid());
    guard.release().await.unwrap();
    assert_eq!(host.link.kinds(), ["acquire", "release"]);
    assert!(world.is_free().await);
}

/// Lesson 1. A write that was applied but not answered must be recognized as one's own.
#[tokio::test(start_paused = true)]
async fn applied_acquire_with_lost_answer_succeeds() {
    let world = World::new();
    let host = world.host();
    host.link.set_next("acquire", [LinkFault::LoseAnswer]);
    let guard = try_acquire(&host.lock()).await.expect("the first try was applied");
    assert_eq!(host.link.kinds(), ["acquire", "acquire"]);
    assert!(world.time() <= TWO_ROUND_TRIPS, "{:?}", world.time());
    assert_eq!(world.row("a").await.unwrap().token(), Some(guard.token()));
}

/// Lesson 40. A client must not adopt a row that one of its abandoned requests locked late. It takes its own orphaned
/// lease over at once and does not wait for the end of that lease.
#[tokio::test(start_paused = true)]
async fn late_abandoned_acquire_is_taken_over_not_adopted() {
    let world = World::without_dates();
    let other = world.host().acquire().await;
    let host = world.host();
    let (clock, mut first) = (world.clone(), true);
    host.link.choose_faults(move |call| match call.kind() {
        // The first try is applied 3 s after it was given up. Reads miss the moment between the release and that.
        "acquire" if std::mem::take(&mut first) => LinkFault::LoseAnswerAndLand(secs(3)),
        "read" if clock.time() > secs(2) && clock.time() < ms(3_100) => LinkFault::LoseRequest,
        _ => LinkFault::None,
    });
    let waiter = tokio::spawn({
        let host = host.clone();
        async move { host.acquire().await }
    });
    sleep(ms(2_500)).await;
    other.release().await.unwrap();
    let guard = waiter.await.unwrap();
    assert!(world.time() < secs(4), "{:?}", world.time());
    assert_eq!(host.link.kinds().last(), Some(&"take over"));
    let row = world.row("a").await.unwrap();
    assert_ne!(row.text("leaseId"), Some(first_lease_id(&host).as_str()));
    assert_eq!(row.token(), Some(guard.token()));
}

/// Returns the lease ID of the first acquire that this host sent.
fn first_lease_id(host: &Host) -> String {
    let lease_id = |call| match call {
        Call::Write(op) => match op.kind {
            OpKind::Acquire(lease) => Some(lease.lease_id.as_str().to_owned()),
            _ => None,
        },
        _ => None,
    };
    host.link.calls().into_iter().find_map(|(_, call)| lease_id(call)).expect("an acquire was sent")
}

/// Lesson 51.
#[tokio::test(start_paused = true)]
async fn late_duplicate_of_acquire_does_not_lock_released_row() {
    let world = World::new();
    let host = world.host();
    host.link.set_next("acquire", [LinkFault::Twice(ms(500))]);
    host.acquire().await.release().await.unwrap();
    sleep(secs(1)).await;
    assert!(world.is_free().await);
}

/// Lesson 26. Repeating the request would not help.
#[tokio::test(start_paused = true)]
async fn misconfigured_store_fails_after_one_request() {
    let host = World::new().host();
    host.link.set_all(LinkFault::Refuse(StoreErrorKind::Misconfigured));
    let acquire = tokio::time::timeout(ms(100), host.lock().acquire()).await;
    let error = acquire.expect("it does not retry").unwrap_err();
    assert!(matches!(&error, AcquireError::Store(e) if e.kind() == StoreErrorKind::Misconfigured), "{error:?}");
    assert!(!error.is_retryable());
    assert_eq!(error.to_string().lines().count(), 1);
    assert_eq!(host.link.kinds(), ["acquire"]);
}

/// On a slewed host an expiry was taken for a suspension, and the acquisition went on without end.
#[tokio::test(start_paused = true)]
async fn service_clock_without_dates_fails_within_a_lease() {
    let world = World::without_dates();
    let host = world.host();
    host.clock.slew(1);
    let client = host.builder().service_clock(true).build().unwrap();
    let error = client.lock("a").unwrap().acquire().await.unwrap_err();
    assert!(error.to_string().contains("service clock"), "{error}");
    assert!(world.time() < secs(11), "{:?}", world.time());
}

#[tokio::test(start_paused = true)]
async fn acquire_within_timeout_names_the_holder() {
    let world = World::new();
    let _guard = world.host().acquire().await;
    let error = world.host().lock().acquire_within(secs(3)).await.unwrap_err();
    let AcquireError::TimedOut { holder: Some(holder), waited } = error else { panic!("{error}") };
    assert!(holder.owner.unwrap().starts_with("test ("));
    assert!(waited >= secs(3));
}

/// Track record: the message had the time in nanoseconds, such as "303.893399ms".
#[test]
fn message_of_time_limit_has_a_rounded_time() {
    let rounded =
        [(0, "0ns"), (529_560, "1ms"), (303_893_399, "304ms"), (9_000_000_001, "9.001s"), (60_400_000_000, "61s")];
    for (nanos, text) in rounded {
        let error = AcquireError::TimedOut { holder: None, waited: Duration::from_nanos(nanos) };
        assert!(error.to_string().starts_with(&format!("cannot acquire the lock within {text}: ")), "{error}");
    }
    let error = AcquireError::TimedOut { holder: None, waited: Duration::MAX };
    assert!(error.to_string().contains("615s: "), "{error}");
}

/// A caller that takes "held" for "done by another process" would skip its work while the store is down.
#[tokio::test(start_paused = true)]
async fn failing_store_is_not_reported_as_a_holder() {
    let kinds = [StoreErrorKind::Unanswered, StoreErrorKind::Throttled];
    let refusals = kinds.map(LinkFault::Refuse);
    for fault in refusals.into_iter().chain([LinkFault::Hang, LinkFault::Throttle, LinkFault::LoseRequest]) {
        let host = World::new().host();
        host.link.set_all(fault.clone());
        let error = host.lock().acquire_within(secs(3)).await.unwrap_err();
        assert!(matches!(error, AcquireError::Store(_)), "{fault:?}: {error}");
    }
    // Control: the holder was seen before the store failed.
    let world = World::new();
    let _guard = world.host().acquire().await;
    let host = world.host();
    let lock = host.lock();
    let waiting = tokio::spawn(async move { lock.acquire_within(secs(3)).await });
    sleep(secs(1)).await;
    host.link.set_all(LinkFault::Hang);
    let error = waiting.await.unwrap().unwrap_err();
    assert!(matches!(error, AcquireError::TimedOut { holder: Some(_), .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn acquire_within_ignores_suspensions_and_clock_steps() {
    let world = World::new();
    let _held = world.host().acquire().await;
    let host = world.host();
    let lock = host.lock();
    let waiting = tokio::spawn(async move { lock.acquire_within(secs(60)).await });
    sleep(secs(1)).await;
    host.clock.step_wall(3_600_000);
    sleep(secs(50)).await;
    assert!(!waiting.is_finished());
    let error = waiting.await.unwrap().unwrap_err();
    assert!(matches!(error, AcquireError::TimedOut { waited, .. } if waited < secs(61)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn timed_out_acquire_within_releases_once() {
    let host = World::new().host();
    host.link.set_all_of("acquire", LinkFault::LoseAnswer);
    let client = host.client();
    let error = client.lock("a").unwrap().acquire_within(ms(5)).await.unwrap_err();
    assert!(matches!(error, AcquireError::Store(_)), "{error}");
    client.close().await;
    assert_eq!(host.link.count("release"), 1, "{:?}", host.link.kinds());
}

#[tokio::test(start_paused = true)]
async fn payload_is_stored_and_survives_the_release() {
    let world = World::new();
    let guard = world.host().lock().options().data("first").acquire().await.unwrap();
    assert_eq!(world.row("a").await.unwrap().text("data"), Some("first"));
    guard.update_data("second").await.unwrap();
    assert_eq!(world.row("a").await.unwrap().text("data"), Some("second"));
    guard.release().await.unwrap();
    assert_eq!(world.row("a").await.unwrap().text("data"), Some("second"));
}

#[tokio::test(start_paused = true)]
async fn with_returns_the_output_and_releases() {
    let world = World::new();
    let lock = world.host().lock();
    let task = tokio::spawn(async move { lock.with(async |guard| guard.token().get()).await.unwrap() });
    assert!(task.await.unwrap() > 0);
    assert!(world.is_free().await);
}

#[tokio::test(start_paused = true)]
async fn guards_locks_and_their_futures_can_change_threads() {
    fn is_send_and_sync<T: Send + Sync>(_: &T) {}
    fn is_send<T: Send>(_: &T) {}
    let lock = World::new().host().lock();
    is_send(&lock.acquire());
    is_send(&lock.with(async |_| ()));
    is_send(&lock.lead(async |_| ()));
    is_send(&lock.hold(secs(1)));
    let guard = lock.acquire().await.unwrap();
    is_send_and_sync(&guard);
    is_send(&guard.run(async {}));
    is_send(&guard.at_risk(secs(1)));
    is_send(&guard.recovered(secs(1)));
    is_send(&guard.release());
}
