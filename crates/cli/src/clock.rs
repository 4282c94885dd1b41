//! The clocks of this host: the ones by which the library measures leases.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use dynamo_lock_protocol::ClockReading;
use nix::time::{ClockId, clock_gettime};

/// A clock that counts suspension, and one that is not slewed.
#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCKS: (ClockId, ClockId) = (ClockId::CLOCK_BOOTTIME, ClockId::CLOCK_MONOTONIC_RAW);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCKS: (ClockId, ClockId) = (ClockId::CLOCK_MONOTONIC, ClockId::CLOCK_MONOTONIC);

/// The clocks of the operating system.
pub struct SystemClock;

impl SystemClock {
    /// Reads all clocks.
    #[allow(clippy::disallowed_methods)]
    pub fn now(&self) -> ClockReading {
        // A clock that cannot be read counts as zero, so that elapsed time comes from the others.
        let read = |clock| clock_gettime(clock).map_or(0, |time| Duration::from(time).as_nanos() as u64);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        ClockReading { boot_ns: read(CLOCKS.0), raw_ns: read(CLOCKS.1), wall_ms: wall.as_millis() as u64 }
    }

    /// Waits for `duration`.
    #[allow(clippy::disallowed_methods)]
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
