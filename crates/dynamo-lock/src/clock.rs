//! Clocks and luck: the only place that asks the operating system for them. A simulator brings its own.

#[cfg(unix)]
use nix::time::{ClockId, clock_gettime};
use std::fmt;
use std::time::Duration;

use crate::store::BoxFuture;
use dynamo_lock_protocol::ClockReading;

/// A host's clocks, and a way to wait by them.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Reads all clocks, together.
    fn now(&self) -> ClockReading;

    /// Waits at least this long while the host is awake. It may be late by any time: whoever waits looks at
    /// [`now`](Clock::now) afterwards.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// A source of random bits that nobody else gets.
pub trait Random: fmt::Debug + Send + Sync {
    /// 128 of them.
    fn bits(&self) -> u128;
}

/// The operating system's clocks: on Linux CLOCK_BOOTTIME and CLOCK_MONOTONIC_RAW, elsewhere the clock that goes on
/// during suspension, if there is one.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> ClockReading {
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

#[cfg(any(target_os = "linux", target_os = "android"))]
fn lease_clocks() -> (u64, u64) {
    (read(ClockId::CLOCK_BOOTTIME), read(ClockId::CLOCK_MONOTONIC_RAW))
}

#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
fn lease_clocks() -> (u64, u64) {
    // On Apple's systems CLOCK_MONOTONIC goes on during suspension; on the BSDs it is the nearest there is.
    let now = read(ClockId::CLOCK_MONOTONIC);
    (now, now)
}

#[cfg(unix)]
fn read(clock: ClockId) -> u64 {
    // These clocks exist wherever this compiles. If one did not answer, zero ends every belief: elapsed time is the
    // larger of the clocks, and the wall clock is among them.
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

/// The operating system's random source.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn bits(&self) -> u128 {
        let mut bytes = [0; 16];
        #[allow(clippy::disallowed_methods, clippy::expect_used)]
        getrandom::fill(&mut bytes).expect("the operating system gives random bits once it is up");
        u128::from_le_bytes(bytes)
    }
}
