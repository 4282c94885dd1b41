//! Waiters: how often they poll, and for how long they wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dynamo_lock::simulation::{Clock, ClockReading};
use dynamo_lock::store::BoxFuture;
use dynamo_lock::{AcquireError, Client, Memory, Store};
use test_support::{Call, Host, HostClock, LEASE, ObservedStore, POLL_MAX, World, acquire, ms, secs, try_acquire};
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn waiter_acquires_soon_after_release() {
    let world = World::new();
    let guard = world.host().acquire().await;
    let other = world.host();
    let waiter = tokio::spawn(async move { other.acquire().await.token() });
    sleep(secs(30)).await;
    assert!(!waiter.is_finished());
    let token = guard.token();
    guard.release().await.unwrap();
    let released = world.time();
    assert!(waiter.await.unwrap() > token);
    assert!(world.time() - released <= ms(600));
}

/// Returns a store that counts reads, and the count.
fn counting_reads(store: Memory) -> (impl Store, Arc<AtomicU64>) {
    let reads = Arc::<AtomicU64>::default();
    let counter = reads.clone();
    let count = move |call| _ = counter.fetch_add(u64::from(matches!(call, Call::Read(..))), Ordering::Relaxed);
    (ObservedStore::new(store, count), reads)
}

fn in_virtual_time(store: impl Store, world: &World) -> Client {
    Client::builder(store).clock(world.host().clock.clone()).build().unwrap()
}

/// Hints of the store end a pause of up to a second.
#[tokio::test(start_paused = true)]
async fn waiter_looks_at_once_after_release_that_is_reported() {
    let (store, world) = (Memory::new(), World::new());
    let guard = acquire(&in_virtual_time(store.clone(), &world)).await;
    let (counting, reads) = counting_reads(store);
    let client = in_virtual_time(counting, &world);
    let waiter = tokio::spawn(async move { acquire(&client).await.token() });
    sleep(secs(15)).await;
    let (before, released) = (reads.load(Ordering::Relaxed), world.time());
    let token = guard.token();
    guard.release().await.unwrap();
    assert!(waiter.await.unwrap() > token);
    assert_eq!(reads.load(Ordering::Relaxed) - before, 1, "one look, which shows a free row");
    // The last poll may have been shortly before the release, and two looks are at least 25 ms apart.
    assert!(world.time() - released <= ms(27), "{:?} after the release", world.time() - released);
}

/// A store may report changes of all its locks. Those of busy other locks lead to no more looks than polls do.
#[tokio::test(start_paused = true)]
async fn hints_of_busy_other_locks_lead_to_few_looks() {
    let (store, world) = (Memory::new(), World::new());
    let busy = in_virtual_time(store.clone(), &world);
    let _held = acquire(&busy).await;
    let (counting, reads) = counting_reads(store);
    let client = in_virtual_time(counting, &world);
    let waiter = tokio::spawn(async move { acquire(&client).await });
    for _ in 0..6_000 {
        sleep(ms(10)).await;
        busy.lock("b").unwrap().acquire().await.unwrap().release().await.unwrap();
    }
    assert!(!waiter.is_finished());
    let reads = reads.load(Ordering::Relaxed);
    assert!((60..=6 * 60).contains(&reads), "{reads} reads in a minute");
}

/// Lesson 18.
#[tokio::test(start_paused = true)]
async fn waiter_sends_few_reads_per_second_and_no_writes() {
    let world = World::new();
    let client = |host: &Host| host.builder().lease(secs(20)).build().unwrap();
    let _held = acquire(&client(&world.host())).await;
    for _ in 0..10 {
        let host = world.host();
        let acquired = client(&host).lock("a").unwrap().acquire_within(secs(60)).await;
        assert!(matches!(acquired, Err(AcquireError::TimedOut { .. })));
        let (reads, seconds) = (host.link.kinds().len() - 1, 60);
        assert_eq!(host.link.writes(), 1, "one attempt, then only reads");
        assert!(reads <= 6 * seconds, "{reads} reads in {seconds} s");
        assert!(reads >= seconds, "{reads} reads in {seconds} s: a release would be noticed late");
    }
}

/// Lesson 19.
#[tokio::test(start_paused = true)]
async fn throttled_waiters_poll_no_more_often_and_hardly_write() {
    let world = World::new();
    let _held = world.host().acquire().await;
    let (mut sent, mut written) = (0, 0);
    for seed in 0..20 {
        let host = world.host();
        let lock = host.lock();
        assert!(try_acquire(&lock).await.is_none());
        host.link.clear_calls();
        host.link.throttle_most(seed);
        let error = lock.acquire_within(secs(60)).await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        // After a whole lease without an answered read the waiter may try to take over the version that it saw last.
        assert!(host.link.kinds().iter().all(|kind| ["read", "take over"].contains(kind)));
        written += host.link.writes();
        sent += host.link.kinds().len();
    }
    assert!(written <= 20 * 10, "{written} writes of 20 waiters in a minute");
    assert!(sent <= 20 * 6 * 60, "{sent} requests of 20 waiters in a minute");
}

/// Lesson 22.
#[tokio::test(start_paused = true)]
async fn waiter_waits_for_lease_of_row_not_its_own() {
    for (holder, waiter) in [(60, 1), (1, 60)] {
        let world = World::without_dates();
        let host = world.host();
        let token = host.crash(acquire(&host.builder().lease(secs(holder)).build().unwrap()).await);
        let next = acquire(&world.host().builder().lease(secs(waiter)).build().unwrap()).await;
        assert!(next.token() > token);
        assert!(world.time() >= secs(holder), "{holder} s: {:?}", world.time());
        assert!(world.time() <= secs(holder) + ms(1_050), "{holder} s: {:?}", world.time());
    }
}

/// Lesson 47. A client keeps its observation of a held row between attempts.
#[tokio::test(start_paused = true)]
async fn many_short_attempts_wait_no_longer_than_one_long_one() {
    let world = World::without_dates();
    world.crash_holder_after(ms(0)).await;
    let (lock, before) = (world.host().lock(), world.time());
    let mut attempts = 0;
    let _guard = loop {
        attempts += 1;
        match lock.acquire_within(secs(1)).await {
            Ok(guard) => break guard,
            Err(AcquireError::TimedOut { .. }) => assert!(attempts < 20, "each attempt starts a new observation"),
            Err(error) => panic!("{error}"),
        }
    };
    assert!(attempts > 5, "only {attempts} attempts: the test shows nothing");
    assert!(world.time() - before <= LEASE + POLL_MAX, "{:?}", world.time() - before);
}

/// Clock with timers that cannot wait for less than a millisecond.
#[derive(Clone, Debug)]
struct CoarseClock(HostClock);

impl Clock for CoarseClock {
    fn now(&self) -> ClockReading {
        self.0.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        assert!(duration >= ms(1), "a pause of {duration:?} is none");
        self.0.sleep(duration)
    }
}

/// Seed 1614. On a coarse clock a pause of a nanosecond became a loop that never slept.
#[tokio::test(start_paused = true)]
async fn pause_is_never_shorter_than_a_millisecond() {
    let world = World::new();
    let (host, other) = (world.host(), world.host());
    other.clock.slew(-5);
    let _guard = host.acquire().await;
    let waiter = other.builder().clock(CoarseClock(other.clock.clone())).build().unwrap();
    let limit = Duration::from_nanos(20_000_000_001);
    assert!(matches!(waiter.lock("a").unwrap().acquire_within(limit).await, Err(AcquireError::TimedOut { .. })));
}
