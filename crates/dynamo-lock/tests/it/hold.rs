//! `Lock::hold`: a lock for a fixed time, which nothing renews.

use std::future::Future;
use std::task::Poll;
use std::time::Duration;

use dynamo_lock::HoldError;
use test_support::{EPOCH_MS, Host, LATENCY, LinkFault, World, ms, row, secs, try_acquire};
use tokio::time::sleep;

const MONTH: Duration = secs(30 * 24 * 3600);

#[tokio::test(start_paused = true)]
async fn hold_ends_after_its_duration() {
    let world = World::new();
    let token = world.host().lock().hold(secs(60)).await.unwrap();
    let next = world.host().acquire().await;
    assert!(next.token() > token);
    assert!(world.time() >= secs(60));
    assert!(world.time() <= secs(62));
}

/// Lesson 48. One waiter observes the row from the beginning, another one comes after half of the time.
#[tokio::test(start_paused = true)]
async fn hold_longer_than_the_lease_excludes_others_to_its_end() {
    for world in [World::new(), World::without_dates()] {
        let token = world.host().lock().hold(secs(120)).await.unwrap();
        let held_from = world.time();
        assert_eq!(world.row("a").await.unwrap().whole("leaseMs"), Some(120_000));
        let (early, late) = (world.host(), world.host().lock());
        let (first, ()) = tokio::join!(early.acquire(), async {
            sleep(secs(60)).await;
            assert!(try_acquire(&late).await.is_none());
        });
        assert!(first.token() > token);
        // The hold began with its renewal, one round trip before `hold` returned.
        assert!(world.time() + ms(20) >= held_from + secs(120), "{:?}", world.time() - held_from);
    }
}

#[tokio::test(start_paused = true)]
async fn hold_respects_legacy_row_for_skew_of_client() {
    let world = World::new();
    world.set_row("a", Some(row(&[("guid", "g".into()), ("expiresOn", EPOCH_MS.into())])));
    let client = world.host().builder().legacy_skew(secs(60)).build().unwrap();
    let lock = client.lock("a").unwrap();
    for _ in 0..4 {
        sleep(secs(10)).await;
        assert!(matches!(lock.hold(secs(5)).await, Err(HoldError::Held { .. })), "{:?}", world.time());
    }
    sleep(secs(30)).await;
    lock.hold(secs(5)).await.expect("the row has expired");
}

/// Polls `work` at most `polls` times, and drops it when it is woken again. Returns whether it had ended before.
async fn drop_after(polls: usize, work: impl Future) -> bool {
    let (mut work, mut polled) = (std::pin::pin!(work), 0);
    std::future::poll_fn(|cx| {
        if polled == polls {
            return Poll::Ready(false);
        }
        polled += 1;
        work.as_mut().poll(cx).map(|_| true)
    })
    .await
}

/// A hold is first acquired with the client's lease, so that an abandoned one cannot last for its whole duration.
#[tokio::test(start_paused = true)]
async fn long_hold_dropped_at_any_await_leaves_lock_free() {
    for polls in 0..40 {
        let world = World::new();
        let client = world.host().client();
        let lock = client.lock("a").unwrap();
        if drop_after(polls, lock.hold(MONTH)).await {
            assert!(polls > 4, "nothing was dropped: the test shows nothing");
            assert!(!world.is_free().await, "it is held for a month");
            return;
        }
        client.close().await;
        assert!(world.is_free().await, "dropped after {polls} polls");
    }
    panic!("the hold never ended");
}

/// The acquire is answered. All later renewals are applied but not answered, and no release arrives for five minutes.
#[tokio::test(start_paused = true)]
async fn unanswered_long_hold_is_released_in_the_background() {
    let world = World::new();
    let host = world.host();
    let lock = host.lock();
    host.link.choose_faults(|call| match call.kind() {
        "renew" => LinkFault::LoseAnswer,
        "release" => LinkFault::LoseRequest,
        _ => LinkFault::None,
    });
    let error = lock.hold(MONTH).await.unwrap_err();
    let HoldError::Lost(lost) = error else { panic!("{error}") };
    assert!(lost.last_error.is_some(), "the loss has its cause: {lost}");
    assert!(!world.is_free().await);
    sleep(secs(300)).await;
    host.link.heal();
    sleep(secs(5)).await;
    assert!(world.is_free().await, "the release is repeated until it is answered");
}

/// Checks that `other` cannot acquire the lock before `until`.
async fn check_held_until(world: &World, other: &Host, until: Duration) {
    let lock = other.lock();
    while world.time() < until {
        assert!(try_acquire(&lock).await.is_none(), "{:?} before {until:?}", until - world.time());
        sleep(ms(50)).await;
    }
}

/// Returns the earliest end of a hold of `duration` from `start`, by clocks that may run fast.
fn earliest_end(start: Duration, duration: Duration) -> Duration {
    start + duration * 99 / 100 - ms(10)
}

/// Freezes a host after it has learned the service's time, then holds a lock on it. The dates that the two hosts
/// receive are off by these seconds.
async fn check_hold_after_freeze(freeze: Duration, date_offsets: (i64, i64)) {
    let world = World::new();
    let (host, other) = (world.host(), world.host());
    host.link.set_date_offset(date_offsets.0);
    other.link.set_date_offset(date_offsets.1);
    let client = host.client();
    client.lock("b").unwrap().inspect().await.expect("it learns the service's time");
    sleep(freeze).await;
    host.clock.freeze(freeze);
    let (began, duration) = (world.time(), secs(8));
    client.lock("a").unwrap().hold(duration).await.unwrap();
    check_held_until(&world, &other, earliest_end(began, duration)).await;
}

/// Seed 8035. Dates reveal the long freeze. The short one is too short for the dates to disagree.
#[tokio::test(start_paused = true)]
async fn hold_by_frozen_host_lasts_for_its_duration() {
    check_hold_after_freeze(secs(10), (0, 0)).await;
    check_hold_after_freeze(ms(5_900), (-2, 2)).await;
}

/// Holds a lock on a host that freezes for six seconds during the first renewal. The next `throttled` renewals are
/// throttled. Returns the earliest end of the hold.
async fn hold_across_freeze(world: &World, host: &Host, throttled: usize) -> Duration {
    let (freeze, duration) = (ms(5_900), secs(50));
    let (clock, mut renewals) = (host.clock.clone(), 0);
    sleep(freeze).await;
    host.link.set_date_offset(-2);
    host.link.choose_faults(move |call| {
        renewals += usize::from(call.kind() == "renew");
        match (call.kind(), renewals) {
            ("renew", 1) => {
                clock.freeze(freeze);
                LinkFault::Late(freeze)
            }
            ("renew", n) if n <= 1 + throttled => LinkFault::Throttle,
            _ => LinkFault::None,
        }
    });
    let began = world.time();
    let client = host.builder().lease(secs(40)).build().unwrap();
    client.lock("a").unwrap().hold(duration).await.unwrap();
    earliest_end(began + freeze, duration)
}

#[tokio::test(start_paused = true)]
async fn hold_frozen_during_its_renewal_is_renewed_again() {
    let world = World::new();
    let (host, other) = (world.host(), world.host());
    let until = hold_across_freeze(&world, &host, 0).await;
    other.link.set_date_offset(2);
    check_held_until(&world, &other, until).await;
}

/// The first date after the freeze contradicts those before it. So a third renewal follows the second one, whose date
/// agrees with it.
#[tokio::test(start_paused = true)]
async fn throttled_second_renewal_of_hold_is_paced() {
    let (world, tries) = (World::new(), 8);
    let host = world.host();
    hold_across_freeze(&world, &host, tries).await;
    let renewals: Vec<_> = host.link.calls().into_iter().filter(|(_, call)| call.kind() == "renew").collect();
    let pauses = renewals[1..].windows(2).filter(|pair| pair[1].0 - pair[0].0 > 3 * LATENCY).count();
    assert_eq!((renewals.len(), pauses), (3 + tries, tries), "{renewals:?}");
}

/// Each date is further ahead than the padding of the row allows for, so that no renewal is ever enough.
#[tokio::test(start_paused = true)]
async fn hold_with_runaway_dates_ends_and_is_released() {
    let world = World::new();
    let host = world.host();
    let (link, mut seconds) = (host.link.clone(), 0);
    host.link.choose_faults(move |call| {
        seconds += if call.kind() == "renew" { 10 } else { 0 };
        link.set_date_offset(seconds);
        LinkFault::None
    });
    let client = host.client();
    let held = client.lock("a").unwrap().hold(secs(20)).await;
    assert!(matches!(&held, Err(HoldError::Lost(_))), "{held:?}");
    client.close().await;
    assert!(host.link.count("renew") <= 4, "{:?}", host.link.kinds());
    assert!(world.is_free().await);
}

/// Seed 44082. With a slow wall clock other clients could take such a hold before its end. With a fast one npm
/// dynamo-lock was kept out for longer than it should be.
#[tokio::test(start_paused = true)]
async fn hold_gets_service_timestamp_before_it_is_reported() {
    for off in [-4_000, 60_000] {
        let world = World::new();
        let host = world.host();
        host.clock.step_wall(off);
        host.link.set_next("read", [LinkFault::Undated]);
        host.lock().hold(secs(8)).await.unwrap();
        let row = world.row("a").await.unwrap();
        assert_eq!(row.text("expiryClock"), Some("service"), "{row:?}");
        let left = row.whole("expiresOn").unwrap() - world.epoch_ms();
        assert!((8_000..20_000).contains(&left), "{left} ms, {row:?}");
    }
}
