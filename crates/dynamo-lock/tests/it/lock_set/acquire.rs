//! Acquisition of several locks without the loss of one.

use std::time::Duration;

use dynamo_lock::{AcquireError, Client, Event, LockNamesError, LossReason, Memory, Observer, TryAcquireAll};
use test_support::{LinkFault, World, ms, secs};
use tokio::time::sleep;

use super::{acquire_all, acquire_within, held, writes};

#[tokio::test(start_paused = true)]
async fn each_lock_costs_two_writes_in_order_of_names() {
    let host = World::new().host();
    let client = host.client();
    let guards = acquire_all(&client, &["c", "a", "b"]).await;
    let names: Vec<_> = guards.tokens().iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    guards.release().await.unwrap();
    let mut writes = writes(&host);
    assert_eq!(writes[..3], ["acquire a", "acquire b", "acquire c"]);
    // The releases are sent at the same time.
    writes[3..].sort();
    assert_eq!(writes[3..], ["release a", "release b", "release c"]);
    assert_eq!(host.link.kinds().len(), 6, "no read");
}

#[test]
fn invalid_sets_of_names_are_rejected() {
    let client = Client::builder(Memory::new()).build().unwrap();
    let error = |names: &[&str]| client.lock_all(names.iter().copied()).map(drop).unwrap_err();
    assert_eq!(error(&[]), LockNamesError::Empty);
    assert!(matches!(error(&["a", "b", "a"]), LockNamesError::Duplicate { name } if name.as_str() == "a"));
    assert!(matches!(error(&["a", ""]), LockNamesError::Name(_)));
    let many = |count: u32| client.lock_all((0..count).map(|name| name.to_string())).map(drop);
    assert_eq!(many(33), Err(LockNamesError::TooMany { count: 33 }));
    assert_eq!(many(32), Ok(()));
    // Uppercase letters come before lowercase ones, because bytes are compared.
    let locks = client.lock_all(["b", "é", "B", "a/1", "a"]).unwrap();
    assert_eq!(locks.names().iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["B", "a", "a/1", "b", "é"]);
}

/// Clients that acquire in the order of the arguments wait for each other for ever.
#[tokio::test(start_paused = true)]
async fn overlapping_sets_in_any_order_all_complete() {
    let pairs: &[&[&'static str]] = &[&["a", "b"], &["b", "c"], &["c", "a"]];
    let triples: &[&[&'static str]] = &[&["a", "b", "c"], &["b", "c", "a"], &["c", "a", "b"]];
    let reversed: &[&[&'static str]] = &[&["a", "b"], &["b", "a"]];
    for sets in [pairs, triples, reversed] {
        let world = World::new();
        let mut workers = Vec::new();
        for &names in sets {
            let client = world.host().client();
            workers.push(tokio::spawn(async move {
                for _ in 0..20 {
                    let guards = acquire_within(&client, names, secs(600)).await.expect("no deadlock");
                    sleep(ms(20)).await;
                    guards.release().await.unwrap();
                }
            }));
        }
        for worker in workers {
            worker.await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn overlapping_sets_of_one_client_all_complete() {
    let world = World::new();
    let client = world.host().client();
    let mut workers = Vec::new();
    for names in [["a", "b"], ["b", "a"], ["b", "c"], ["c", "a"]] {
        let client = client.clone();
        workers.push(tokio::spawn(async move {
            for _ in 0..20 {
                acquire_within(&client, &names, secs(600)).await.expect("no deadlock").release().await.unwrap();
            }
        }));
    }
    for worker in workers {
        worker.await.unwrap();
    }
    client.close().await;
    assert_eq!(held(&world, &["a", "b", "c"]).await, [""; 0]);
}

/// The first locks are renewed while the last one is awaited for many leases.
#[tokio::test(start_paused = true)]
async fn held_locks_are_renewed_while_another_is_awaited() {
    let world = World::new();
    let blocker = world.host().client().lock("c").unwrap().acquire().await.unwrap();
    let host = world.host();
    let client = host.client();
    let waiter = tokio::spawn(async move { acquire_all(&client, &["a", "b", "c"]).await });
    sleep(secs(100)).await;
    assert_eq!(held(&world, &["a", "b"]).await, ["a", "b"]);
    blocker.release().await.unwrap();
    let guards = waiter.await.unwrap();
    assert!(guards.is_valid());
    let sent = writes(&host);
    let count = |write: &str| sent.iter().filter(|sent| *sent == write).count();
    assert_eq!((count("acquire a"), count("acquire b")), (1, 1), "{sent:?}");
    assert!(count("renew a") >= 40 && count("renew b") >= 40, "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn held_lock_is_named_and_the_others_are_released() {
    let world = World::new();
    let blocker = world.host();
    let _held = blocker.builder().owner("them").build().unwrap().lock("b").unwrap().acquire().await.unwrap();
    let client = world.host().client();
    match client.lock_all(["c", "b", "a"]).unwrap().try_acquire().await.unwrap() {
        TryAcquireAll::Held { name, holder } => {
            assert_eq!(name.as_str(), "b");
            assert!(holder.owner.unwrap().starts_with("them"));
        }
        TryAcquireAll::Acquired(guards) => panic!("{guards:?}"),
    }
    assert_eq!(held(&world, &["a", "b", "c"]).await, ["b"]);
    match client.lock_all(["c", "a"]).unwrap().try_acquire().await.unwrap() {
        TryAcquireAll::Acquired(guards) => guards.release().await.unwrap(),
        TryAcquireAll::Held { name, .. } => panic!("{name}"),
    }
}

#[tokio::test(start_paused = true)]
async fn limit_counts_for_all_locks_together() {
    let world = World::new();
    let holder = world.host().client();
    let first = holder.lock("a").unwrap().acquire().await.unwrap();
    let _second = holder.lock("b").unwrap().acquire().await.unwrap();
    tokio::spawn(async move {
        sleep(secs(6)).await;
        first.release().await.unwrap();
    });
    let (client, asked) = (world.host().client(), world.time());
    let error = acquire_within(&client, &["a", "b", "c"], secs(10)).await.unwrap_err();
    let took = world.time() - asked;
    assert_eq!(error.name.as_str(), "b");
    assert!(error.is_retryable() && error.to_string().contains("lock \"b\""), "{error}");
    let AcquireError::TimedOut { holder: Some(_), waited } = error.error else { panic!("{error}") };
    assert!(waited >= ms(9_900) && took >= waited && took <= ms(10_500), "{waited:?} {took:?}");
    assert_eq!(held(&world, &["a", "b", "c"]).await, ["b"]);
}

/// Like a single acquisition, a limit of zero takes what is free.
#[tokio::test(start_paused = true)]
async fn limit_of_zero_acquires_free_locks() {
    let world = World::new();
    let host = world.host();
    let guards = acquire_within(&host.client(), &["a", "b", "c"], Duration::ZERO).await.unwrap();
    assert!(guards.is_valid());
    assert_eq!(host.link.kinds(), ["acquire"; 3]);
}

#[tokio::test(start_paused = true)]
async fn store_error_releases_all_locks_and_names_one() {
    let world = World::new();
    let host = world.host();
    let mut count = 0;
    host.link.choose_faults(move |call| {
        count += u32::from(call.kind() == "acquire");
        let is_third = call.kind() == "acquire" && count == 3;
        if is_third { LinkFault::Refuse(dynamo_lock::StoreErrorKind::AccessDenied) } else { LinkFault::None }
    });
    let error = host.client().lock_all(["a", "b", "c"]).unwrap().acquire().await.unwrap_err();
    assert_eq!(error.name.as_str(), "c");
    assert!(matches!(error.error, AcquireError::Store(_)) && !error.is_retryable(), "{error}");
    assert_eq!(held(&world, &["a", "b", "c"]).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn options_out_of_range_send_no_request() {
    let host = World::new().host();
    let locks = host.client().lock_all(["a", "b"]).unwrap();
    for options in
        [locks.options().lease(ms(10)), locks.options().max_hold(ms(10)), locks.options().data("x".repeat(4_097))]
    {
        let error = options.acquire().await.unwrap_err();
        assert!(matches!(error.error, AcquireError::Config(_)) && !error.is_retryable(), "{error}");
    }
    assert!(host.link.kinds().is_empty());
}

#[tokio::test(start_paused = true)]
async fn options_apply_to_each_lock() {
    let world = World::new();
    let options = world.host().client().lock_all(["a", "b"]).unwrap().options();
    let guards = options.lease(secs(3)).data("x").acquire().await.unwrap();
    for name in ["a", "b"] {
        let row = world.row(name).await.unwrap();
        assert_eq!((row.whole("leaseMs"), row.text("data")), (Some(3_000), Some("x")));
    }
    assert!(guards.time_left() <= secs(3));
}

/// The wait for the other locks does not shorten the time with all of them.
#[tokio::test(start_paused = true)]
async fn maximum_hold_counts_from_the_last_acquisition() {
    let world = World::new();
    let blocker = world.host().client().lock("b").unwrap().acquire().await.unwrap();
    let locks = world.host().client().lock_all(["a", "b"]).unwrap();
    let waiter = tokio::spawn(async move { locks.options().max_hold(secs(25)).acquire().await.unwrap() });
    sleep(secs(60)).await;
    blocker.release().await.unwrap();
    let guards = waiter.await.unwrap();
    let acquired = world.time();
    assert_eq!(guards.lost().await.reason, LossReason::MaxHold);
    let held_for = world.time() - acquired;
    assert!(held_for >= ms(24_900) && held_for <= ms(25_010), "{held_for:?}");
}

/// Observer that panics when a lock was acquired.
#[derive(Debug)]
struct Panicking;

impl Observer for Panicking {
    fn event(&self, event: Event<'_>) {
        assert!(!matches!(event, Event::Acquired { name, .. } if name.as_str() == "b"), "of the observer");
    }
}

#[tokio::test(start_paused = true)]
async fn panic_during_the_acquisition_releases_held_locks() {
    let world = World::new();
    let client = world.host().builder().observer(Panicking).build().unwrap();
    let locks = client.lock_all(["a", "b", "c"]).unwrap();
    assert!(tokio::spawn(async move { locks.acquire().await }).await.unwrap_err().is_panic());
    client.close().await;
    assert_eq!(held(&world, &["a", "c"]).await, [""; 0]);
}
