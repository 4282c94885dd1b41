//! Renewals: when they are sent, and what lost, late and repeated ones do.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dynamo_lock::simulation::Random;
use dynamo_lock::store::{Answer, BoxFuture, Consistency, Op, Outcome, Page, Row};
use dynamo_lock::{Client, LockName, Memory, Renewal, Store, StoreErrorKind};
use test_support::{LinkFault, Rng, World, acquire, kind_of, lock, ms, secs, try_acquire};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::acquire::TWO_ROUND_TRIPS;

#[tokio::test(start_paused = true)]
async fn automatic_renewal_keeps_lock_for_ten_leases() {
    let world = World::new();
    let guard = world.host().acquire().await;
    sleep(secs(100)).await;
    assert!(guard.is_valid());
    assert!(try_acquire(&world.host().lock()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn manual_renewal_is_sent_by_caller_alone() {
    let host = World::new().host();
    let guard = host.lock().options().renewal(Renewal::Manual).acquire().await.unwrap();
    sleep(secs(8)).await;
    assert_eq!(host.link.kinds(), ["acquire"]);
    guard.renew().await.unwrap();
    assert_eq!(host.link.kinds(), ["acquire", "renew"]);
    sleep(secs(8)).await;
    assert!(guard.is_valid());
    assert_eq!(guard.lost().await, dynamo_lock::LossReason::Expired);
}

/// Lesson 1. The renewal is applied once.
#[tokio::test(start_paused = true)]
async fn applied_renewal_with_lost_answer_succeeds() {
    let world = World::new();
    let host = world.host();
    let guard = host.lock().options().renewal(Renewal::Manual).acquire().await.unwrap();
    host.link.set_next("renew", [LinkFault::LoseAnswer]);
    let began = world.time();
    guard.renew().await.unwrap();
    assert!(world.time() - began <= TWO_ROUND_TRIPS);
    assert_eq!(host.link.kinds(), ["acquire", "renew", "renew"]);
    assert_eq!(world.row("a").await.unwrap().whole("renewalSeq"), Some(1));
}

/// Lesson 2. In other locks the loss of one answer ends a healthy lease.
#[tokio::test(start_paused = true)]
async fn losing_half_of_renewal_answers_loses_no_lock() {
    for seed in 0..100 {
        let world = World::new();
        let host = world.host();
        let mut rng = Rng::new(seed);
        host.link.choose_faults(move |call| match call.kind() {
            "renew" if rng.below(2) == 0 => LinkFault::LoseAnswer,
            _ => LinkFault::None,
        });
        let guard = host.acquire().await;
        let loss = timeout(secs(100), guard.lost()).await;
        assert!(loss.is_err(), "seed {seed}: {loss:?} at {:?}", world.time());
        let (sent, seconds) = (host.link.kinds().len(), 100);
        assert!(sent <= 3 * seconds, "seed {seed}: {sent} requests in {seconds} s");
    }
}

/// Lesson 3.
#[tokio::test(start_paused = true)]
async fn late_duplicate_of_renewal_restores_no_old_version() {
    let world = World::new();
    let host = world.host();
    let guard = host.acquire().await;
    host.link.set_next("renew", [LinkFault::Twice(ms(3_600))]);
    sleep(secs(4)).await;
    let before = world.row("a").await.unwrap();
    // The first renewal sets the service timestamp. The second one follows by a heartbeat.
    assert_eq!(before.whole("renewalSeq"), Some(2));
    sleep(ms(400)).await; // the duplicate of the first one has arrived
    assert_eq!(world.row("a").await.unwrap(), before);
    assert!(guard.is_valid());
}

/// Lesson 9.
#[tokio::test(start_paused = true)]
async fn renewal_applied_after_release_does_not_relock() {
    let world = World::new();
    let host = world.host();
    let guard = host.acquire().await;
    host.link.set_next("renew", [LinkFault::Late(secs(1))]);
    while host.link.count("renew") == 0 {
        sleep(ms(10)).await;
    }
    guard.release().await.unwrap();
    assert!(world.is_free().await);
    sleep(secs(2)).await;
    assert!(world.is_free().await, "{:?}", world.row("a").await);
    assert_eq!(host.link.kinds(), ["acquire", "renew", "release"]);
}

/// Random bits of a test's own, so that the pauses between attempts differ between its runs.
#[derive(Debug)]
struct Seeded(Mutex<Rng>);

impl Random for Seeded {
    fn bits(&self) -> u128 {
        lock(&self.0).bits()
    }
}

/// Returns whether a lock with this lease lives on after `losses` attempts of a renewal in a row that vanish.
async fn survives(world: World, lease: Duration, losses: usize, seed: u64) -> bool {
    let host = world.host();
    let client = host.builder().lease(lease).random(Seeded(Mutex::new(Rng::new(seed)))).build().unwrap();
    let guard = acquire(&client).await;
    sleep(secs(1)).await;
    let mut left = losses;
    host.link.choose_faults(move |call| match call.kind() {
        "renew" if left > 0 => {
            left -= 1;
            LinkFault::Hang
        }
        _ => LinkFault::None,
    });
    timeout(lease * 2, guard.lost()).await.is_err()
}

/// The figures of `docs/guarantees.md`. NAT gateways and VPNs that forget connections lose requests in this way. The
/// pauses between attempts are random, so that a lease of a minute may survive one more.
#[tokio::test(start_paused = true)]
async fn vanished_renewals_in_a_row_lose_no_lock() {
    for (seconds, losses) in [(1, 2), (4, 4), (10, 4), (20, 4), (60, 7)] {
        for seed in 0..10 {
            for new_world in [World::new, World::without_dates] {
                assert!(survives(new_world(), secs(seconds), losses, seed).await, "{seconds} s, seed {seed}");
                assert!(!survives(new_world(), secs(seconds), losses + 2, seed).await, "{seconds} s, seed {seed}");
            }
        }
    }
}

/// Lesson 12.
#[tokio::test(start_paused = true)]
async fn three_failed_renewals_do_not_end_renewing() {
    for fault in [LinkFault::LoseRequest, LinkFault::Throttle, LinkFault::Refuse(StoreErrorKind::AccessDenied)] {
        let host = World::new().host();
        let guard = host.acquire().await;
        host.link.set_next("renew", vec![fault.clone(); 3]);
        sleep(secs(60)).await;
        assert!(guard.is_valid(), "{fault:?}");
        assert!(!guard.cancellation().is_cancelled(), "{fault:?}");
    }
}

/// Lesson 19.
#[tokio::test(start_paused = true)]
async fn throttling_nine_in_ten_requests_loses_no_lock() {
    for seed in 0..50 {
        let world = World::new();
        let (host, seconds) = (world.host(), 60);
        let guard = host.acquire().await;
        sleep(secs(1)).await;
        host.link.clear_calls();
        host.link.throttle_most(seed);
        let loss = timeout(secs(seconds), guard.lost()).await;
        assert!(loss.is_err(), "seed {seed}: {loss:?} at {:?}", world.time());
        let sent = host.link.kinds().len() as u64;
        assert!(sent <= 6 * seconds, "seed {seed}: {sent} requests in {seconds} s");
    }
}

/// Lesson 46. The wait is longer than a heartbeat, so that another renewal follows the one that carried the payload.
#[tokio::test(start_paused = true)]
async fn payload_of_lost_renewal_is_sent_with_the_next_one() {
    let world = World::new();
    let host = world.host();
    let guard = host.acquire().await;
    sleep(secs(1)).await;
    host.link.set_all_of("renew", LinkFault::LoseRequest);
    assert!(timeout(secs(3), guard.update_data("payload")).await.is_err());
    host.link.heal();
    guard.renew().await.unwrap();
    assert_eq!(world.row("a").await.unwrap().text("data"), Some("payload"));
}

/// A store that is ready only while its gate is open, with the kinds of its writes.
#[derive(Debug)]
struct GatedStore {
    table: Memory,
    gate: watch::Receiver<bool>,
    writes: Arc<Mutex<Vec<&'static str>>>,
    /// Number of times that the store was found not to be ready.
    waits: Arc<AtomicUsize>,
}

impl Store for GatedStore {
    fn read<'a>(&'a self, name: &'a LockName, consistency: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
        self.table.read(name, consistency)
    }

    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>> {
        lock(&self.writes).push(kind_of(op));
        self.table.write(op)
    }

    fn list<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Answer<Page>> {
        self.table.list(after)
    }

    fn ready(&self) -> Option<BoxFuture<'_, ()>> {
        let mut gate = self.gate.clone();
        if *gate.borrow() {
            return None;
        }
        assert!(self.waits.fetch_add(1, Relaxed) < 100, "a task spins");
        Some(Box::pin(async move {
            gate.wait_for(|open| *open).await.expect("the gate exists");
        }))
    }
}

/// The renewal task waits for the store, and must neither continue nor spin once the release has begun.
#[tokio::test(start_paused = true)]
async fn release_ends_renewal_that_waits_for_store() {
    let (gate, opened) = watch::channel(true);
    let (writes, waits) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
    let store = GatedStore { table: Memory::new(), gate: opened, writes: Arc::clone(&writes), waits: waits.clone() };
    let client = Client::builder(store).lease(secs(20)).clock(World::new().host().clock).build().unwrap();
    for is_kept in [true, false] {
        let guard = acquire(&client).await;
        gate.send_replace(false);
        assert!(timeout(secs(1), guard.renew()).await.is_err());
        let open = async {
            sleep(secs(1)).await;
            gate.send_replace(true);
        };
        if is_kept {
            open.await;
            sleep(secs(1)).await;
            guard.release().await.unwrap();
        } else {
            let (released, ()) = tokio::join!(guard.release(), open);
            released.unwrap();
        }
    }
    // Control: the renewal of the first guard, which is kept until the store is ready.
    assert_eq!(*lock(&writes), ["acquire", "renew", "release", "acquire", "release"]);
    assert!(waits.load(Relaxed) < 10, "the renewal task looks once for each change");
}
