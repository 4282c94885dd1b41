//! The clocks by which leases are measured.
//!
//! A program that measures a lease itself, for example in a process that does not hold it, reads the same clocks with
//! [`SystemClock`]. A holder uses [`ClockReading::holder_elapsed_since`], a waiting client
//! [`ClockReading::waiter_elapsed_since`].
//!
//! ```
//! use dynamo_lock::clock::{Clock, SystemClock};
//!
//! let began = SystemClock.now();
//! let elapsed = SystemClock.now().holder_elapsed_since(began); // includes time during which the host is suspended
//! # let _ = elapsed;
//! ```

#[cfg(unix)]
use nix::time::{ClockId, clock_gettime};
use std::{fmt, time::Duration};

use crate::boxed_future::BoxFuture;
pub use dynamo_lock_protocol::ClockReading;

/// The clocks of a host, and a timer that follows them.
///
/// A simulator implements this trait and passes it to `ClientBuilder::clock` (feature `simulation`).
pub trait Clock: fmt::Debug + Send + Sync {
    /// Reads all clocks at the same moment. No reading of the two lease clocks may be earlier than a previous one; the
    /// wall clock may jump. Must not block, because it is called before and after each request.
    fn now(&self) -> ClockReading;

    /// Waits for at least `duration` while the host is not suspended.
    ///
    /// The future may complete arbitrarily late, so callers read [`now`](Clock::now) afterwards.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// The clocks of the operating system.
///
/// Linux and Android: `CLOCK_BOOTTIME` and `CLOCK_MONOTONIC_RAW`. Other Unix systems: `CLOCK_MONOTONIC`, which counts
/// suspension on Apple's systems. Elsewhere: [`std::time::Instant`]. [`sleep`](Clock::sleep) panics outside of a tokio
/// runtime with time enabled.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> ClockReading {
        // Must stay async-signal-safe, because the command line calls it between fork and exec.
        let (boot_ns, raw_ns) = lease_clocks();
        #[allow(clippy::disallowed_methods)]
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        ClockReading { boot_ns, raw_ns, wall_ms: wall.as_millis() as u64 }
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        #[allow(clippy::disallowed_methods)]
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Waits for a future. Returns `None` if it takes longer than `limit` on `clock`.
pub(crate) async fn timeout<T>(clock: &dyn Clock, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = future => Some(done),
        () = clock.sleep(limit) => None,
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn lease_clocks() -> (u64, u64) {
    (read(ClockId::CLOCK_BOOTTIME), read(ClockId::CLOCK_MONOTONIC_RAW))
}

#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
fn lease_clocks() -> (u64, u64) {
    // The BSDs have no clock that is certain to count suspension.
    let now = read(ClockId::CLOCK_MONOTONIC);
    (now, now)
}

#[cfg(unix)]
fn read(clock: ClockId) -> u64 {
    // These clocks exist on every system that this compiles for. If a call failed, zero would be safe, because a holder
    // uses the largest elapsed time of all its clocks, and the wall clock is one of them.
    clock_gettime(clock).map_or(0, |time| Duration::from(time).as_nanos() as u64)
}

#[cfg(not(unix))]
fn lease_clocks() -> (u64, u64) {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    #[allow(clippy::disallowed_methods)]
    let now = Instant::now();
    let elapsed = now.duration_since(*START.get_or_init(|| now)).as_nanos() as u64;
    (elapsed, elapsed)
}
