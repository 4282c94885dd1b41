//! Faults that were found in the library, a test each. `docs/track-record.md` tells their stories.
#![allow(clippy::disallowed_methods)] // tokio's time is paused here

#[path = "support/world.rs"]
mod world;

use std::future::Future;
use std::task::Poll;
use std::time::Duration;

use dynamo_lock::store::{Row, Value};
use dynamo_lock::{AcquireError, HoldError, Loss};
use tokio::time::sleep;
use world::{Call, EPOCH_MS, Fault, World};

const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

fn legacy(expires_on: u64) -> Row {
    Row::new([("guid".to_owned(), Value::from("g")), ("expiresOn".to_owned(), expires_on.into())])
}

#[tokio::test(start_paused = true)]
async fn a_hold_respects_a_legacy_row_for_as_long_as_its_client_does() {
    let world = World::new();
    world.plant("a", Some(legacy(EPOCH_MS)));
    let client = world.host().builder().legacy_skew(Duration::from_secs(60)).build().unwrap();
    let lock = client.lock("a").unwrap();
    for _ in 0..4 {
        sleep(Duration::from_secs(10)).await;
        assert!(matches!(lock.hold(Duration::from_secs(5)).await, Err(HoldError::Held { .. })), "{:?}", world.time());
    }
    sleep(Duration::from_secs(30)).await;
    lock.hold(Duration::from_secs(5)).await.expect("over");
}

/// Polls a hold of a month `times` times, then drops it; whether it had ended before.
async fn dropped_after(times: usize, hold: impl Future) -> bool {
    let mut hold = std::pin::pin!(hold);
    let mut polls = 0;
    std::future::poll_fn(|cx| {
        if polls == times {
            return Poll::Ready(false);
        }
        polls += 1;
        hold.as_mut().poll(cx).map(|_| true)
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_long_hold_that_is_dropped_leaves_nothing_behind() {
    for times in 0..40 {
        let world = World::new();
        let client = world.host().client();
        let lock = client.lock("a").unwrap();
        if dropped_after(times, lock.hold(MONTH)).await {
            assert!(times > 4, "the test shows nothing");
            assert!(!world.is_free("a").await, "it is held for a month");
            return;
        }
        client.close().await;
        assert!(world.is_free("a").await, "dropped after {times} polls");
    }
    panic!("the hold never ended");
}

#[tokio::test(start_paused = true)]
async fn a_long_hold_whose_answers_are_lost_is_given_up_until_that_is_answered() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    // The acquire is answered; from then on everything lands, and nothing is answered for five minutes.
    host.link.rule(|call| match call {
        Call::Write(op)
            if call.kind() != "acquire" && matches!(op.kind, dynamo_lock_protocol::OpKind::Renew { .. }) =>
        {
            Fault::LoseAnswer
        }
        Call::Write(_) if call.kind() == "release" => Fault::LoseRequest,
        _ => Fault::None,
    });
    let error = client.lock("a").unwrap().hold(MONTH).await.unwrap_err();
    assert!(matches!(error, HoldError::Lost(_)), "{error}");
    assert!(!world.is_free("a").await);
    sleep(Duration::from_secs(300)).await;
    host.link.heal();
    sleep(Duration::from_secs(5)).await;
    assert!(world.is_free("a").await, "the background went on until it was answered");
}

#[tokio::test(start_paused = true)]
async fn an_expiry_on_a_slewed_host_is_not_called_a_suspension() {
    for slew in [-1, 0, 1, 5] {
        let world = World::new();
        let host = world.host();
        host.clock.slew(slew);
        let guard = host.client().lock("a").unwrap().acquire().await.unwrap();
        host.link.all(Fault::Hang);
        assert_eq!(guard.lost().await, Loss::Expired, "slewed by {slew} in a thousand");
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_counts_neither_suspensions_nor_steps_of_the_wall_clock() {
    let world = World::new();
    let _held = world.host().client().lock("a").unwrap().acquire().await.unwrap();
    let host = world.host();
    let lock = host.client().lock("a").unwrap();
    let waiting = tokio::spawn(async move { lock.acquire_within(Duration::from_secs(60)).await });
    sleep(Duration::from_secs(1)).await;
    host.clock.step_wall(3_600_000);
    sleep(Duration::from_secs(50)).await;
    assert!(!waiting.is_finished());
    let error = waiting.await.unwrap().unwrap_err();
    assert!(matches!(error, AcquireError::TimedOut { waited, .. } if waited < Duration::from_secs(61)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_timed_out_acquisition_gives_back_once() {
    let world = World::new();
    let host = world.host();
    host.link.always("acquire", Fault::LoseAnswer);
    let client = host.client();
    let error = client.lock("a").unwrap().acquire_within(Duration::from_millis(5)).await.unwrap_err();
    assert!(matches!(error, AcquireError::TimedOut { .. }), "{error}");
    client.close().await;
    assert_eq!(host.link.kinds().iter().filter(|kind| **kind == "release").count(), 1, "{:?}", host.link.kinds());
}

#[tokio::test(start_paused = true)]
async fn a_service_clock_that_is_never_heard_of_is_told_within_a_lease() {
    let world = World::without_dates();
    let host = world.host();
    host.clock.slew(1);
    let client = host.builder().service_clock(true).build().unwrap();
    let error = client.lock("a").unwrap().acquire().await.unwrap_err();
    assert!(error.to_string().contains("service_clock"), "{error}");
    assert!(world.time() < Duration::from_secs(11), "{:?}", world.time());
}

#[tokio::test(start_paused = true)]
async fn a_close_that_gave_up_does_not_keep_another_waiting() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    let guard = client.lock("a").unwrap().options().lease(Duration::from_secs(60)).acquire().await.unwrap();
    host.link.always("release", Fault::LoseRequest);
    drop(guard);
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.close().await }
    });
    sleep(Duration::from_secs(5)).await;
    let begun = world.time();
    let second = tokio::spawn(async move {
        client.close().await;
    });
    first.await.unwrap();
    assert!(!world.is_free("a").await, "the first has given up");
    host.link.heal();
    second.await.unwrap();
    assert!(world.is_free("a").await);
    assert!(world.time() - begun < Duration::from_secs(10), "{:?}", world.time() - begun);
}

/// A host learns the time, stands still for so long, and holds a lock; whoever comes is kept out for as long.
async fn holds_after_a_standstill(still: Duration, dates_off: (i64, i64)) {
    let world = World::new();
    let (host, other) = (world.host(), world.host());
    host.link.dates_off(dates_off.0);
    other.link.dates_off(dates_off.1);
    let client = host.client();
    client.lock("b").unwrap().inspect().await.expect("it learns the time");
    sleep(still).await;
    host.clock.frozen(still);
    let (began, duration) = (world.time(), Duration::from_secs(8));
    client.lock("a").unwrap().hold(duration).await.unwrap();
    let newcomer = other.client();
    let lock = newcomer.lock("a").unwrap();
    while world.time() < began + duration * 99 / 100 - Duration::from_millis(10) {
        let taken = lock.try_acquire().await.unwrap();
        assert!(taken.is_none(), "after {:?} of {duration:?}", world.time() - began);
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hold_by_a_host_that_stood_still_lasts_as_long_as_it_was_asked_for() {
    // A long standstill, which its own answers tell of; and one that is too short for them to disagree.
    holds_after_a_standstill(Duration::from_secs(10), (0, 0)).await;
    holds_after_a_standstill(Duration::from_millis(5900), (-2, 2)).await;
}
