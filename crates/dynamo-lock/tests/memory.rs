//! Memory of held locks, counted by the allocator. A binary of its own, because it replaces
//! the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use dynamo_lock::clock::{Clock, ClockReading, SystemClock};
use dynamo_lock::store::{Answer, BoxFuture, Consistency, LockName, Op, OpKind, Outcome, Page, Row, Store, apply};
use dynamo_lock::{Client, Guard};

static BYTES: AtomicI64 = AtomicI64::new(0);

/// The system's allocator, with a counter.
struct Counting;

#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size() as i64, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size() as i64, Relaxed);
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        BYTES.fetch_add(size as i64 - layout.size() as i64, Relaxed);
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A store that applies each write and keeps no rows, so that only the memory of the client is counted.
#[derive(Debug)]
struct Forgetful;

/// Number of renewals.
static RENEWALS: AtomicI64 = AtomicI64::new(0);

impl Store for Forgetful {
    fn read<'a>(&'a self, _: &'a LockName, _: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
        Box::pin(async { Ok(None).into() })
    }

    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>> {
        if matches!(op.kind, OpKind::Renew { .. }) {
            RENEWALS.fetch_add(1, Relaxed);
        }
        let outcome = if op.kind.returns_row() { apply(None, op).outcome(op) } else { Outcome::Applied(None) };
        Box::pin(async { Ok(outcome).into() })
    }

    fn list<'a>(&'a self, _: Option<&'a str>) -> BoxFuture<'a, Answer<Page>> {
        Box::pin(async { Ok(Page::default()).into() })
    }
}

/// Clocks that follow tokio's time, with the timers of the system's clock.
#[derive(Debug)]
struct PausedClock(tokio::time::Instant);

impl Clock for PausedClock {
    fn now(&self) -> ClockReading {
        let elapsed = self.0.elapsed();
        let ns = elapsed.as_nanos() as u64;
        ClockReading { boot_ns: ns, raw_ns: ns, wall_ms: elapsed.as_millis() as u64 }
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        SystemClock.sleep(duration)
    }
}

const LOCKS: i64 = 1_000;
/// Lengths of the names, which are not counted.
const NAME: usize = 8;
const LEASE: Duration = Duration::from_secs(20);

async fn guards(client: &Client) -> Vec<Guard> {
    let mut guards = Vec::with_capacity(LOCKS as usize);
    for nth in 0..LOCKS {
        guards.push(client.lock(format!("{nth:0NAME$}")).expect("valid").acquire().await.expect("free"));
    }
    guards
}

/// Maximum number of bytes for each held lock without waiters, beside the texts of its name and its payload.
const BYTES_MAX: i64 = 1_024;

/// The bound holds before the first renewal and between two later ones, so that no request is kept.
#[tokio::test(start_paused = true)]
#[allow(clippy::disallowed_methods)] // time is tokio's here, which is paused
async fn held_lock_needs_little_memory() {
    let clock = PausedClock(tokio::time::Instant::now());
    let client = Client::builder(Forgetful).lease(LEASE).clock(clock).build().expect("valid");
    // Tables and caches grow to their size.
    drop(guards(&client).await);
    client.close().await;
    tokio::time::sleep(LEASE).await;
    let before = BYTES.load(Relaxed);
    let guards = guards(&client).await;
    for renewals in [0, 1, 3] {
        let renewed = RENEWALS.load(Relaxed);
        tokio::time::sleep(LEASE / 4 * renewals + Duration::from_millis(100)).await;
        assert_eq!(RENEWALS.load(Relaxed) - renewed, i64::from(renewals) * LOCKS, "control: locks are renewed");
        let each = (BYTES.load(Relaxed) - before) / LOCKS;
        assert!(each <= BYTES_MAX, "{each} bytes for each held lock, after {renewals} more renewals");
        assert!(each > 200, "control: the guards are counted: {each}");
    }
    assert!(guards.iter().all(Guard::is_valid));
}
