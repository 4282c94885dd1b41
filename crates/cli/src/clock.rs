//! The clocks of this host, by which the wrapper and its supervisor measure leases.
//!
//! The library reads the same clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dynamo_lock_protocol::ClockReading;
use nix::time::{ClockId, clock_gettime};

/// A clock that counts suspensions of the host, and a clock that is not slewed.
#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCKS: (ClockId, ClockId) = (ClockId::CLOCK_BOOTTIME, ClockId::CLOCK_MONOTONIC_RAW);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCKS: (ClockId, ClockId) = (ClockId::CLOCK_MONOTONIC, ClockId::CLOCK_MONOTONIC);

/// Reads all clocks. It is async-signal-safe.
#[allow(clippy::disallowed_methods)]
pub fn now() -> ClockReading {
    // A clock that cannot be read counts as zero, so the other clock measures elapsed time.
    let read = |clock| clock_gettime(clock).map_or(0, |time| Duration::from(time).as_nanos() as u64);
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    ClockReading { boot_ns: read(CLOCKS.0), raw_ns: read(CLOCKS.1), wall_ms: wall.as_millis() as u64 }
}

/// Waits for `duration`.
#[allow(clippy::disallowed_methods)]
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}
