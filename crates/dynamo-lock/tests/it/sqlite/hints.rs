//! Hints for waiters: a release, and the end of a holder, lead to a look at once.
//!
//! The timers of the waiters here never end, except those of 30 ms or less. So a waiter looks again only because of a
//! hint, or shortly after its first looks.

use crate::sqlite::child_process::{acquire, lock_name, release, temporary};
use crate::sqlite::process_holders::{HOUR, client, live_file, start};
use crate::sqlite::write;
use dynamo_lock::simulation::{Clock, ClockReading, SystemClock};
use dynamo_lock::store::{BoxFuture, OpKind};
use dynamo_lock::{Client, Guard, Sqlite, Store};
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;
use test_support::{Call, ObservedStore};

/// The system's clock, with timers that never end if they are longer than 30 ms.
#[derive(Clone, Debug)]
struct ClockWithoutPolls;

impl Clock for ClockWithoutPolls {
    fn now(&self) -> ClockReading {
        SystemClock.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration > Duration::from_millis(30) {
            return Box::pin(std::future::pending());
        }
        SystemClock.sleep(duration)
    }
}

/// Requests of a waiter, by kind.
#[derive(Debug, Default)]
struct Counts {
    reads: AtomicU64,
    writes: AtomicU64,
}

/// Starts a task that acquires the lock through a handle of its own. Returns once it has looked for the first time after
/// its failed attempt.
async fn start_waiter(path: &Path) -> (tokio::task::JoinHandle<Guard>, Arc<Counts>) {
    let counts = Arc::<Counts>::default();
    let counter = counts.clone();
    let store = ObservedStore::new(Sqlite::open(path).expect("opens"), move |call| {
        let count = if matches!(call, Call::Read(..)) { &counter.reads } else { &counter.writes };
        count.fetch_add(1, Ordering::SeqCst);
    });
    let client = Client::builder(store).lease(HOUR).clock(ClockWithoutPolls).build().expect("a client");
    let lock = client.lock("orders").expect("a lock");
    let waiting = tokio::spawn(async move { lock.acquire().await.expect("acquires") });
    while counts.reads.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    (waiting, counts)
}

/// Returns the guard that a waiter has acquired.
async fn end(waiting: tokio::task::JoinHandle<Guard>) -> Guard {
    let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    waited.expect("a hint leads to a look").expect("no panic")
}

#[tokio::test]
async fn release_leads_to_look_without_polls() {
    let (_directory, path) = temporary();
    let holder = client(Sqlite::open(&path).expect("opens"));
    let guard = holder.lock("orders").expect("a lock").acquire().await.expect("free");
    let (waiting, counts) = start_waiter(&path).await;
    guard.release().await.expect("releases");
    assert!(end(waiting).await.is_valid());
    assert_eq!(counts.writes.load(Ordering::SeqCst), 2, "the first attempt, and one after a look at a free row");
    let reads = counts.reads.load(Ordering::SeqCst);
    assert!(reads <= 10, "{reads} reads");
}

/// `kill -9`: the holder releases nothing, and the kernel closes its descriptors.
#[tokio::test]
async fn end_of_holder_leads_to_look_without_polls() {
    let (_directory, path) = temporary();
    let mut holder = start("live holder", &path);
    let (waiting, _) = start_waiter(&path).await;
    holder.kill();
    holder.wait();
    assert!(end(waiting).await.is_valid());
}

/// The times of the file do not change, so the waiters of all locks are not woken by renewals.
#[tokio::test]
async fn renewal_and_acquisition_send_no_hint() {
    let (_directory, path) = temporary();
    let store = Sqlite::open(&path).expect("opens");
    let changed = || std::fs::metadata(live_file(&path)).expect("exists").modified().expect("has times");
    let before = changed();
    let guard = client(store.clone()).lock("orders").expect("a lock").acquire().await.expect("free");
    guard.renew().await.expect("renews");
    assert_eq!(changed(), before);
    guard.release().await.expect("releases");
    assert_ne!(changed(), before, "a release does send a hint");
}

#[tokio::test]
async fn subscription_completes_with_release_through_another_handle() {
    let (_directory, path) = temporary();
    let (one, two) = (Sqlite::open(&path).expect("opens"), Sqlite::open(&path).expect("opens"));
    let name = lock_name("orders");
    write(&one, &acquire(&name, 1)).await;
    let mut changed = pin!(two.changed(&name).expect("on Linux"));
    let poll = changed.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll.is_pending(), "the acquisition was before it");
    let op = release(&name, 2, 1);
    assert!(matches!(op.kind, OpKind::Release { .. }));
    write(&one, &op).await;
    tokio::time::timeout(Duration::from_secs(60), changed).await.expect("the release is reported");
}

#[tokio::test]
async fn waiter_polls_if_file_cannot_be_watched() {
    let (_directory, path) = temporary();
    let holder = client(Sqlite::open(&path).expect("opens"));
    let guard = holder.lock("orders").expect("a lock").acquire().await.expect("free");
    let store = Sqlite::open(&path).expect("opens");
    std::fs::remove_file(live_file(&path)).expect("removes");
    assert!(store.changed(&lock_name("orders")).is_none());
    let waiter = client(store);
    let waiting = tokio::spawn(async move { waiter.lock("orders").expect("a lock").acquire().await });
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    guard.release().await.expect("releases");
    assert!(waiting.await.expect("no panic").expect("acquires").is_valid());
}
