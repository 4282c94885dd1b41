//! Lessons from waiters: too patient, too eager, or too many. `docs/lessons.md` names each.

use std::time::Duration;

use dynamo_lock::{AcquireError, Client, Guard};
use test_support::hosts::{Call, Fault, Host, IntoGuard, World, dice};
use tokio::time::sleep;

const LEASE: Duration = Duration::from_secs(10);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

async fn acquired(client: &Client) -> Guard {
    client.lock("a").unwrap().acquire().await.unwrap()
}

/// Acquires on a host of its own and crashes after this time, which is counted from the acquisition.
async fn crashed_after(world: &World, time: Duration) -> u64 {
    let host = world.host();
    let guard = acquired(&host.client()).await;
    sleep(time).await;
    host.link.all(Fault::Hang);
    let token = guard.token().get();
    std::mem::forget(guard);
    token
}

fn writes(host: &Host) -> usize {
    host.link.calls().iter().filter(|(_, call)| matches!(call, Call::Write(_))).count()
}

#[tokio::test(start_paused = true)]
async fn lesson_04_a_lock_dead_for_years_is_taken_without_waiting() {
    let world = World::new();
    let token = crashed_after(&world, ms(2_000)).await;
    sleep(Duration::from_secs(3 * 365 * 24 * 3600)).await;
    for try_only in [true, false] {
        let (host, before) = (world.host(), world.time());
        let lock = host.client().lock("a").unwrap();
        let row = world.row("a").await;
        let guard = match try_only {
            true => lock.try_acquire().await.unwrap().into_guard().expect("long dead"),
            false => lock.acquire().await.unwrap(),
        };
        assert!(guard.token().get() > token);
        assert!(host.link.kinds().len() <= 3, "{:?}", host.link.kinds());
        assert_eq!(
            world.time() - before,
            test_support::hosts::LATENCY * 2 * host.link.kinds().len() as u32,
            "it waited"
        );
        host.link.all(Fault::Hang);
        std::mem::forget(guard);
        world.plant("a", row);
    }
}

#[tokio::test(start_paused = true)]
async fn lesson_18_a_waiter_sends_a_few_reads_a_second_and_no_writes() {
    let world = World::new();
    let client = |host: &Host| host.builder().lease(Duration::from_secs(20)).build().unwrap();
    let _held = acquired(&client(&world.host())).await;
    for _ in 0..10 {
        let host = world.host();
        let lock = client(&host).lock("a").unwrap();
        let limit = Duration::from_secs(60);
        assert!(matches!(lock.acquire_within(limit).await, Err(AcquireError::TimedOut { .. })));
        let (reads, seconds) = (host.link.kinds().len() - 1, 60);
        assert_eq!(writes(&host), 1, "one attempt, and then it watches");
        assert!(reads <= 6 * seconds, "{reads} reads in {seconds} s");
        assert!(reads >= seconds, "{reads} reads in {seconds} s: a release would be noticed late");
    }
}

#[tokio::test(start_paused = true)]
async fn lesson_18_a_client_that_tries_again_and_again_reads_before_it_writes() {
    let world = World::new();
    let _held = acquired(&world.host().client()).await;
    let host = world.host();
    let lock = host.client().lock("a").unwrap();
    for _ in 0..20 {
        assert!(lock.try_acquire().await.unwrap().into_guard().is_none());
    }
    assert_eq!((writes(&host), host.link.kinds().len()), (1, 20));
}

/// Nine in ten requests are throttled.
fn throttle(host: &Host, seed: u64) {
    let mut luck = dice(seed);
    host.link.rule(move |_| if luck().is_multiple_of(10) { Fault::None } else { Fault::Throttle });
}

#[tokio::test(start_paused = true)]
async fn lesson_19_holders_keep_their_leases_while_nine_in_ten_requests_are_throttled_for_a_minute() {
    for seed in 0..50 {
        let world = World::new();
        let (host, seconds) = (world.host(), 60);
        let guard = acquired(&host.client()).await;
        sleep(ms(1_000)).await;
        host.link.forget();
        throttle(&host, seed);
        let loss = tokio::time::timeout(Duration::from_secs(seconds), guard.lost()).await;
        assert!(loss.is_err(), "seed {seed}: {loss:?} at {:?}", world.time());
        let sent = host.link.kinds().len() as u64;
        assert!(sent <= 6 * seconds, "seed {seed}: {sent} requests in {seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn lesson_19_throttled_waiters_ask_no_more_often_than_others_and_hardly_write() {
    let world = World::new();
    let _held = acquired(&world.host().client()).await;
    let (mut sent, mut written) = (0, 0);
    for seed in 0..20 {
        let host = world.host();
        let lock = host.client().lock("a").unwrap();
        assert!(lock.try_acquire().await.unwrap().into_guard().is_none());
        host.link.forget();
        throttle(&host, seed);
        let limit = Duration::from_secs(60);
        let error = lock.acquire_within(limit).await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        // After a whole lease without an answered read it may try to take over what it last saw; that is all it writes.
        assert!(host.link.kinds().iter().all(|kind| ["read", "take over"].contains(kind)));
        written += writes(&host);
        sent += host.link.kinds().len();
    }
    assert!(written <= 20 * 10, "{written} writes of 20 waiters in a minute");
    assert!(sent <= 20 * 6 * 60, "{sent} requests of 20 waiters in a minute");
}

#[tokio::test(start_paused = true)]
async fn lesson_22_a_waiter_waits_the_lease_of_the_row_and_not_its_own() {
    for (theirs, ours) in [(60, 1), (1, 60)] {
        let world = World::without_dates();
        let lease = Duration::from_secs(theirs);
        let host = world.host();
        let guard = acquired(&host.builder().lease(lease).build().unwrap()).await;
        let token = guard.token();
        host.link.all(Fault::Hang);
        std::mem::forget(guard);
        let waiter = world.host().builder().lease(Duration::from_secs(ours)).build().unwrap();
        let next = acquired(&waiter).await;
        assert!(next.token() > token);
        assert!(world.time() >= lease, "{theirs} s: {:?}", world.time());
        assert!(world.time() <= lease + ms(1_050), "{theirs} s: {:?}", world.time());
    }
}

#[tokio::test(start_paused = true)]
async fn lesson_32_a_holder_that_dies_before_its_first_stamp_is_waited_for_once() {
    let world = World::new();
    crashed_after(&world, ms(200)).await;
    assert_eq!(world.row("a").await.unwrap().text("expiryClock"), None);
    sleep(Duration::from_secs(3600)).await;
    let (host, before) = (world.host(), world.time());
    acquired(&host.client()).await.release().await.unwrap();
    let waited = world.time() - before;
    assert!(waited <= LEASE + ms(550), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn lesson_32_a_holder_that_dies_after_its_first_stamp_is_not_waited_for() {
    let world = World::new();
    crashed_after(&world, ms(700)).await;
    assert_eq!(world.row("a").await.unwrap().text("expiryClock"), Some("service"));
    sleep(Duration::from_secs(3600)).await;
    let (host, before) = (world.host(), world.time());
    let _guard = acquired(&host.client()).await;
    assert!(host.link.kinds().len() <= 3, "{:?}", host.link.kinds());
    assert!(world.time() - before <= test_support::hosts::LATENCY * 6);
}

#[tokio::test(start_paused = true)]
async fn lesson_47_many_short_attempts_wait_no_longer_than_one_long_one() {
    let world = World::without_dates();
    crashed_after(&world, ms(0)).await;
    let (host, before) = (world.host(), world.time());
    let lock = host.client().lock("a").unwrap();
    let mut attempts = 0;
    let _guard = loop {
        attempts += 1;
        match lock.acquire_within(ms(1_000)).await {
            Ok(guard) => break guard,
            Err(AcquireError::TimedOut { .. }) => assert!(attempts < 20, "it begins its watch anew each time"),
            Err(error) => panic!("{error}"),
        }
    };
    assert!(attempts > 5, "{attempts} attempts: too few to show anything");
    assert!(world.time() - before <= LEASE + ms(550), "{:?}", world.time() - before);
}
