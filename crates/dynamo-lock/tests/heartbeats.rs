//! Heartbeats of held locks: their number, their times, and the allocations that they need. A binary of its own, because
//! it replaces the allocator.
#![allow(unsafe_code)] // an allocator
#![allow(clippy::disallowed_methods)] // time is tokio's here, which is paused

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dynamo_lock::Client;
use dynamo_lock::store::{Answer, BoxFuture, Consistency, LockName, Op, OpKind, Outcome, Page, Row, Store, apply};
use test_support::{World, lock, ms, secs};
use tokio::time::{Instant, sleep};

thread_local! {
    /// Number of allocations of this thread, which runs one test.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The allocator of the system, which counts allocations.
struct Counting;

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A store that applies each write after a round trip and keeps no rows, so that only the work of the client is counted.
/// It notes the times of the writes of each lock.
#[derive(Clone, Debug, Default)]
struct Forgetful(Arc<Mutex<BTreeMap<LockName, Vec<Instant>>>>);

const ROUND_TRIP: Duration = ms(10);

impl Store for Forgetful {
    fn read<'a>(&'a self, _: &'a LockName, _: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
        Box::pin(async { Ok(None).into() })
    }

    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>> {
        if matches!(op.kind, OpKind::Acquire(_)) {
            lock(&self.0).insert(op.name.clone(), Vec::with_capacity(64));
        } else if let Some(times) = lock(&self.0).get_mut(&op.name) {
            times.push(Instant::now());
        }
        let outcome = if op.kind.returns_row() { apply(None, op).outcome(op) } else { Outcome::Applied(None) };
        Box::pin(async {
            sleep(ROUND_TRIP).await;
            Ok(outcome).into()
        })
    }

    fn list<'a>(&'a self, _: Option<&'a str>) -> BoxFuture<'a, Answer<Page>> {
        Box::pin(async { Ok(Page::default()).into() })
    }
}

const HEARTBEAT: Duration = secs(5);

impl Forgetful {
    /// Returns a client of this store whose clocks follow tokio's.
    fn client(&self) -> Client {
        Client::builder(self.clone()).lease(HEARTBEAT * 4).clock(World::new().host().clock).build().expect("valid")
    }

    /// Returns the number of writes so far, without acquisitions.
    fn writes(&self) -> usize {
        lock(&self.0).values().map(Vec::len).sum()
    }
}

/// Maximum number of allocations of one heartbeat. 20 of them are the timers of its slices of 250 ms, so that a second
/// allocation in each slice would exceed it.
const ALLOCATIONS_MAX: u64 = 34;

#[tokio::test(start_paused = true)]
async fn heartbeat_needs_few_allocations() {
    const HEARTBEATS: u32 = 20;
    let store = Forgetful::default();
    let client = store.client();
    let guard = client.lock("a").expect("valid").acquire().await.expect("free");
    sleep(HEARTBEAT * 7 / 2).await; // tables and timers grow to their size
    let count = async || {
        let before = (ALLOCATIONS.get(), store.writes());
        sleep(HEARTBEAT * HEARTBEATS).await;
        ((ALLOCATIONS.get() - before.0) / u64::from(HEARTBEATS), store.writes() - before.1)
    };
    let (allocations, writes) = count().await;
    assert_eq!(writes, HEARTBEATS as usize, "one write per heartbeat");
    assert!(allocations <= ALLOCATIONS_MAX, "{allocations} allocations per heartbeat");
    assert!(allocations > 0, "control: they are counted");
    guard.release().await.expect("held");
    assert_eq!(count().await, (0, 0), "control: a released lock has no heartbeats");
}

/// No heartbeat is late, although all locks were acquired at the same time.
#[tokio::test(start_paused = true)]
async fn thousand_locks_send_one_punctual_write_per_heartbeat() {
    let store = Forgetful::default();
    let client = store.client();
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for nth in 0..1_000 {
        let lock = client.lock(format!("{nth}")).expect("valid");
        tasks.spawn(async move { lock.acquire().await.expect("free") });
    }
    let guards = tasks.join_all().await;
    let began = Instant::now();
    assert_eq!(began - start, ROUND_TRIP, "control: all were acquired at the same time");
    sleep(HEARTBEAT * 4 + HEARTBEAT / 2).await;
    assert!(guards.iter().all(|guard| guard.is_valid()));
    for times in lock(&store.0).values() {
        assert_eq!(times.len(), 4, "one write per heartbeat");
        for (before, time) in [began].iter().chain(times).zip(times) {
            assert!(*time - *before < HEARTBEAT + ms(10), "a heartbeat after {:?}", *time - *before);
        }
    }
}
