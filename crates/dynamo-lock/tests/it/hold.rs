//! Faults that were found in the library, a test each. `docs/track-record.md` tells their stories.

use std::future::Future;
use std::task::Poll;
use std::time::Duration;

use dynamo_lock::simulation::{Clock, ClockReading};
use dynamo_lock::store::{BoxFuture, Row, Value};
use dynamo_lock::{AcquireError, HoldError, LossReason, TryAcquire};
use test_support::hosts::{Call, EPOCH_MS, Fault, Host, HostClock, LATENCY, World};
use tokio::time::sleep;

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
        assert_eq!(guard.lost().await, LossReason::Expired, "slewed by {slew} in a thousand");
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
    assert!(error.to_string().contains("service clock"), "{error}");
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

/// Nobody is let in before this time.
async fn keeps_out(world: &World, other: &Host, until: Duration) {
    let newcomer = other.client();
    let lock = newcomer.lock("a").unwrap();
    while world.time() < until {
        let taken = lock.try_acquire().await.unwrap();
        assert!(matches!(taken, TryAcquire::Held(_)), "{:?} before {until:?}", until - world.time());
        sleep(Duration::from_millis(50)).await;
    }
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
    keeps_out(&world, &other, began + duration * 99 / 100 - Duration::from_millis(10)).await;
}

#[tokio::test(start_paused = true)]
async fn a_hold_by_a_host_that_stood_still_lasts_as_long_as_it_was_asked_for() {
    // A long standstill, which its own answers tell of; and one that is too short for them to disagree.
    holds_after_a_standstill(Duration::from_secs(10), (0, 0)).await;
    holds_after_a_standstill(Duration::from_millis(5900), (-2, 2)).await;
}

/// A hold whose first renewal is under way while its host stands still for six seconds. What comes after that renewal is
/// throttled so often.
async fn hold_over_a_standstill(world: &World, host: &Host, throttled: usize) -> Duration {
    let (still, duration) = (Duration::from_millis(5900), Duration::from_secs(50));
    let (clock, mut renewals) = (host.clock.clone(), 0);
    sleep(still).await;
    host.link.dates_off(-2);
    host.link.rule(move |call| {
        renewals += usize::from(call.kind() == "renew");
        match (call.kind(), renewals) {
            ("renew", 1) => {
                clock.frozen(still);
                Fault::Late(still)
            }
            ("renew", n) if n <= 1 + throttled => Fault::Throttle,
            _ => Fault::None,
        }
    });
    let began = world.time();
    let client = host.builder().lease(Duration::from_secs(40)).build().unwrap();
    client.lock("a").unwrap().hold(duration).await.unwrap();
    began + still + duration * 99 / 100 - Duration::from_millis(10)
}

#[tokio::test(start_paused = true)]
async fn a_hold_whose_host_stood_still_while_it_was_written_is_written_once_more() {
    let world = World::new();
    let (host, other) = (world.host(), world.host());
    let until = hold_over_a_standstill(&world, &host, 0).await;
    other.link.dates_off(2);
    keeps_out(&world, &other, until).await;
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_is_written_once_more_and_throttled_rests_between_its_tries() {
    let (world, tries) = (World::new(), 8);
    let host = world.host();
    hold_over_a_standstill(&world, &host, tries).await;
    let renewals: Vec<_> = host.link.calls().into_iter().filter(|(_, call)| call.kind() == "renew").collect();
    let rests = renewals[1..].windows(2).filter(|two| two[1].0 - two[0].0 > 3 * LATENCY).count();
    assert_eq!((renewals.len(), rests), (2 + tries, tries), "{renewals:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hold_whose_dates_run_away_ends_and_is_given_back() {
    let world = World::new();
    let host = world.host();
    let (link, mut seconds) = (host.link.clone(), 0);
    host.link.rule(move |call| {
        seconds += if call.kind() == "renew" { 10 } else { 0 };
        link.dates_off(seconds);
        Fault::None
    });
    let client = host.client();
    let held = client.lock("a").unwrap().hold(Duration::from_secs(20)).await;
    assert!(matches!(&held, Err(HoldError::Lost(_))), "{held:?}");
    client.close().await;
    let renewals = host.link.kinds().iter().filter(|kind| **kind == "renew").count();
    assert!(renewals <= 4, "{renewals} renewals");
    assert!(world.is_free("a").await);
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_was_written_without_the_services_time_is_stamped_before_it_is_reported() {
    // By a slow clock others could take it before it is over; by a fast one clients of the original were kept out for longer.
    for off in [-4_000, 60_000] {
        let world = World::new();
        let host = world.host();
        host.clock.step_wall(off);
        host.link.once("read", Fault::Undated);
        host.client().lock("a").unwrap().hold(Duration::from_secs(8)).await.unwrap();
        let row = world.row("a").await.unwrap();
        assert_eq!(row.text("expiryClock"), Some("service"), "{row:?}");
        let left = row.whole("expiresOn").unwrap() - world.epoch_ms();
        assert!((8_000..20_000).contains(&left), "{left} ms, {row:?}");
    }
}

/// A clock whose timers see nothing that is shorter than a millisecond.
#[derive(Clone, Debug)]
struct Coarse(HostClock);

impl Clock for Coarse {
    fn now(&self) -> ClockReading {
        self.0.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        assert!(duration >= Duration::from_millis(1), "a pause of {duration:?} is none");
        self.0.sleep(duration)
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_no_clock_can_tell_is_one_all_the_same() {
    let world = World::new();
    let (host, other) = (world.host(), world.host());
    other.clock.slew(-5);
    let holder = host.client();
    let _guard = holder.lock("a").unwrap().acquire().await.unwrap();
    let waiter = other.builder().clock(Coarse(other.clock.clone())).build().unwrap();
    let limit = Duration::from_nanos(20_000_000_001);
    assert!(matches!(waiter.lock("a").unwrap().acquire_within(limit).await, Err(AcquireError::TimedOut { .. })));
}
