//! The order of the waiters, and what they ask of the store.

use std::sync::{Arc, Mutex};

use dynamo_lock::{AcquireError, Renewal};
use test_support::{LEASE, LinkFault, POLL_MAX, World, acquire, lock, ms, secs, try_acquire};
use tokio::time::{sleep, timeout};

use super::start_waiter;

#[tokio::test(start_paused = true)]
async fn waiters_acquire_in_order_without_reads() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    let order = Arc::new(Mutex::new(Vec::new()));
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let (client, order) = (client.clone(), order.clone());
            tokio::spawn(async move {
                let guard = acquire(&client).await;
                lock(&order).push((number, guard.token()));
                sleep(ms(10)).await;
                guard.release().await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let order = lock(&order);
    assert!(order.iter().map(|(number, _)| *number).eq(0..20), "{order:?}");
    assert!(order.is_sorted_by(|(_, one), (_, next)| one < next), "{order:?}");
    assert_eq!(host.link.count("read"), 0);
}

/// One of the waiters polls for all of them.
#[tokio::test(start_paused = true)]
async fn many_waiters_poll_no_more_often_than_one() {
    let reads_of = async |waiters: usize| {
        let (world, mut tasks) = (World::new(), Vec::new());
        let _held = world.host().acquire().await;
        let host = world.host();
        let client = host.client();
        for _ in 0..waiters {
            tasks.push(start_waiter(&client).await);
        }
        sleep(secs(60)).await;
        tasks.iter().for_each(|task| task.abort());
        assert_eq!(host.link.writes(), 1, "one attempt, then only reads");
        host.link.count("read")
    };
    let (one, many) = (reads_of(1).await, reads_of(50).await);
    assert!(many <= one + one / 4, "{many} reads of 50 waiters, {one} of one");
    assert!(many >= one / 2, "{many} reads of 50 waiters, {one} of one");
}

/// A valid guard of the same client counts as a holder that was seen, so that no request is needed.
#[tokio::test(start_paused = true)]
async fn own_guard_is_the_holder_of_a_wait_that_times_out() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    let guard = acquire(&client).await;
    host.link.clear_calls();
    for limit in [ms(0), secs(1)] {
        let began = world.time();
        let error = client.lock("a").unwrap().acquire_within(limit).await.unwrap_err();
        let AcquireError::TimedOut { holder: Some(holder), waited } = error else { panic!("{error}") };
        assert_eq!(holder.token, Some(guard.token()));
        assert!(holder.owner.is_some_and(|owner| owner.starts_with("test")));
        assert!(waited >= limit && world.time() - began <= limit + ms(2), "{waited:?}");
    }
    assert!(host.link.kinds().iter().all(|kind| *kind == "renew"), "{:?}", host.link.kinds());
}

/// The wait of another waiter does not change `try_acquire`.
#[tokio::test(start_paused = true)]
async fn try_acquire_and_hold_ignore_the_queue() {
    let world = World::new();
    let other = world.host().acquire().await;
    let host = world.host();
    let client = host.client();
    let waiter = start_waiter(&client).await;
    sleep(secs(1)).await;
    let before = host.link.calls().len();
    assert!(try_acquire(&client.lock("a").unwrap()).await.is_none());
    assert!(client.lock("a").unwrap().hold(secs(1)).await.is_err());
    assert!(host.link.calls().len() >= before + 2);
    other.release().await.unwrap();
    // The waiter is between two polls.
    let guard = try_acquire(&client.lock("a").unwrap()).await.expect("it is free");
    host.link.clear_calls();
    sleep(secs(60)).await;
    assert_eq!(host.link.count("read"), 0, "the waiter sees the guard of its own client");
    assert!(!waiter.is_finished());
    guard.release().await.unwrap();
    waiter.await.unwrap().unwrap().release().await.unwrap();
}

/// The owner of the lost guard does not notice the loss, and keeps it.
#[tokio::test(start_paused = true)]
async fn lost_guard_of_same_client_does_not_block_waiters() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    let lost = client.lock("a").unwrap().options().max_hold(secs(3)).acquire().await.unwrap();
    let next = acquire(&client).await;
    assert!(!lost.is_valid() && next.is_valid());
    assert!(world.time() <= secs(3) + LEASE + POLL_MAX, "{:?}", world.time());
    assert!(lost.release().await.is_err());
    assert!(next.is_valid());
}

/// A guard that is dropped hands its lock to the next waiter too.
#[tokio::test(start_paused = true)]
async fn dropped_guard_is_followed_by_next_waiter() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    let guard = acquire(&client).await;
    let waiter = start_waiter(&client).await;
    sleep(secs(1)).await;
    let dropped = world.time();
    drop(guard);
    drop(waiter.await.unwrap().unwrap());
    assert!(world.time() - dropped <= ms(50), "{:?}", world.time() - dropped);
    assert_eq!(host.link.count("read"), 0);
}

/// The limit of a waiter in the middle of the queue ends its wait alone.
#[tokio::test(start_paused = true)]
async fn limit_of_one_waiter_ends_its_wait_alone() {
    let world = World::new();
    let other = world.host().acquire().await;
    let host = world.host();
    let client = host.client();
    let first = start_waiter(&client).await;
    let lock = client.lock("a").unwrap();
    let began = world.time();
    let limited = tokio::spawn(async move { lock.acquire_within(secs(2)).await });
    let last = start_waiter(&client).await;
    let error = limited.await.unwrap().unwrap_err();
    assert!(matches!(error, AcquireError::TimedOut { holder: Some(_), .. }), "{error}");
    assert!(world.time() - began <= ms(2_010), "{:?}", world.time() - began);
    other.release().await.unwrap();
    let guard = first.await.unwrap().unwrap();
    assert!(!last.is_finished());
    guard.release().await.unwrap();
    drop(last.await.unwrap().unwrap());
}

/// The waiter that the attempt was begun for is at its limit.
#[tokio::test(start_paused = true)]
async fn attempt_is_passed_on_at_the_limit_of_its_waiter() {
    let world = World::new();
    let other = world.host().acquire().await;
    let host = world.host();
    let client = host.client();
    let lock = client.lock("a").unwrap();
    let limited = tokio::spawn(async move { lock.acquire_within(secs(2)).await });
    tokio::task::yield_now().await;
    let next = start_waiter(&client).await;
    assert!(matches!(limited.await.unwrap(), Err(AcquireError::TimedOut { holder: Some(_), .. })));
    assert!(world.time() <= ms(2_010), "{:?}", world.time());
    other.release().await.unwrap();
    drop(next.await.unwrap().unwrap());
    assert_eq!(host.link.count("acquire"), 2, "{:?}", host.link.kinds());
}

/// The first write is in flight when its waiter goes away.
#[tokio::test(start_paused = true)]
async fn attempt_is_passed_on_only_to_equal_options() {
    let kinds = async |is_equal: bool| {
        let world = World::new();
        let host = world.host();
        let client = host.client();
        let first = start_waiter(&client).await;
        let lock = client.lock("a").unwrap();
        let options = if is_equal { lock.options() } else { lock.options().lease(secs(7)) };
        let second = tokio::spawn(options.acquire());
        sleep(ms(1)).await;
        first.abort();
        let guard = second.await.unwrap().unwrap();
        sleep(secs(1)).await;
        assert!(guard.is_valid());
        let lease = world.row("a").await.unwrap().whole("leaseMs");
        assert_eq!(lease, Some(if is_equal { LEASE.as_millis() as u64 } else { 7_000 }));
        host.link.kinds().into_iter().filter(|kind| *kind != "renew").collect::<Vec<_>>()
    };
    assert_eq!(kinds(true).await, ["acquire"]);
    let different = kinds(false).await;
    assert!(different.starts_with(&["acquire", "acquire"]) && different.contains(&"release"), "{different:?}");
}

/// The holder in the error of a wait that has timed out is complete, although no row was read.
#[tokio::test(start_paused = true)]
async fn own_guard_as_holder_has_its_payload() {
    let world = World::new();
    let client = world.host().client();
    let lock = client.lock("a").unwrap();
    let guard = lock.options().data("first").acquire().await.unwrap();
    let data_seen = async || match lock.acquire_within(ms(10)).await.unwrap_err() {
        AcquireError::TimedOut { holder: Some(holder), .. } => holder.data,
        error => panic!("{error}"),
    };
    assert_eq!(data_seen().await.as_deref(), Some("first"));
    guard.update_data("second").await.unwrap();
    assert_eq!(data_seen().await.as_deref(), Some("second"));
    let next = tokio::spawn(lock.options().data("third").acquire());
    tokio::task::yield_now().await;
    guard.release().await.unwrap();
    let _next = next.await.unwrap().unwrap();
    assert_eq!(data_seen().await.as_deref(), Some("third"));
}

/// The payload is stored by a later renewal, of which no call waits.
#[tokio::test(start_paused = true)]
async fn own_guard_as_holder_has_payload_of_cancelled_update() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    let lock = client.lock("a").unwrap();
    let guard = lock.options().data("first").acquire().await.unwrap();
    let data_seen = async || match lock.acquire_within(ms(10)).await.unwrap_err() {
        AcquireError::TimedOut { holder: Some(holder), .. } => holder.data,
        error => panic!("{error}"),
    };
    host.link.set_all_of("renew", LinkFault::LoseRequest);
    assert!(timeout(secs(1), guard.update_data("second")).await.is_err());
    assert_eq!(data_seen().await.as_deref(), Some("first"));
    host.link.heal();
    guard.renew().await.unwrap();
    assert_eq!(world.row("a").await.unwrap().text("data"), Some("second"));
    assert_eq!(data_seen().await.as_deref(), Some("second"));
}

/// The client knows that its guard is lost, so that the row does not have to be observed for a lease.
#[tokio::test(start_paused = true)]
async fn waiter_acquires_when_guard_of_its_client_expires() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    let guard = client.lock("a").unwrap().options().renewal(Renewal::Manual).acquire().await.unwrap();
    let waiter = start_waiter(&client).await;
    guard.lost().await;
    let before = host.link.count("read");
    let next = waiter.await.unwrap().unwrap();
    assert!(host.link.count("read") <= before + 2, "{} reads", host.link.count("read") - before);
    assert!(next.token() > guard.token());
}
