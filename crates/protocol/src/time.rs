//! Readings of a host's clocks, and deadlines on them.

use std::time::{Duration, SystemTime};

/// A reading of all clocks of a host, taken at one moment. Readings of different hosts, or from before a reboot, cannot
/// be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClockReading {
    /// Clock that counts suspension (`CLOCK_BOOTTIME` on Linux), in nanoseconds.
    pub boot_ns: u64,
    /// Clock that is never slewed (`CLOCK_MONOTONIC_RAW` on Linux), in nanoseconds.
    pub raw_ns: u64,
    /// Wall clock, in milliseconds since 1970. A jump of it may end a lease early; it never extends one.
    pub wall_ms: u64,
}

impl ClockReading {
    /// Returns the time elapsed for a holder: the largest that any clock has counted, the wall clock included (R4).
    pub fn holder_elapsed_since(self, earlier: ClockReading) -> Duration {
        let wall = Duration::from_millis(self.wall_ms.saturating_sub(earlier.wall_ms));
        self.lease_elapsed_since(earlier).max(wall)
    }

    /// Returns the larger of the times that the two lease clocks have counted.
    pub(crate) fn lease_elapsed_since(self, earlier: ClockReading) -> Duration {
        let boot = self.boot_ns.saturating_sub(earlier.boot_ns);
        Duration::from_nanos(boot.max(self.raw_ns.saturating_sub(earlier.raw_ns)))
    }

    /// Returns the time elapsed for a waiter: the smaller of the times that the two lease clocks have counted (R4).
    pub fn waiter_elapsed_since(self, earlier: ClockReading) -> Duration {
        let boot = self.boot_ns.saturating_sub(earlier.boot_ns);
        Duration::from_nanos(boot.min(self.raw_ns.saturating_sub(earlier.raw_ns)))
    }
}

/// Clock reading taken *before* the first byte of a request was sent. A holder counts its lease from here (R1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SentAt(pub ClockReading);

/// Clock reading taken *after* a response had arrived. A waiter counts a lease from here (R2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReceivedAt(pub ClockReading);

/// A time after a request was sent, measured with the holder's clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Deadline {
    pub(crate) from: SentAt,
    pub(crate) after: Duration,
}

impl Deadline {
    /// Returns the deadline that is `after` later than `from`.
    pub fn new(from: SentAt, after: Duration) -> Self {
        Self { from, after }
    }

    /// Returns the time left, zero if the deadline has passed.
    pub fn left(&self, now: ClockReading) -> Duration {
        self.after.saturating_sub(now.holder_elapsed_since(self.from.0))
    }

    /// Returns whether the deadline has passed.
    pub fn passed(&self, now: ClockReading) -> bool {
        self.left(now).is_zero()
    }

    /// Returns whether the deadline has passed, or nearly, on the unslewed clock alone. If it has not, but the deadline
    /// has passed, then the host was suspended or its wall clock jumped. The tolerance of 2 % and 250 ms covers slewing
    /// and rounding.
    pub(crate) fn passed_awake(&self, now: ClockReading) -> bool {
        let awake = Duration::from_nanos(now.raw_ns.saturating_sub(self.from.0.raw_ns));
        awake + self.after / 50 + Duration::from_millis(250) >= self.after
    }
}

/// Returns a time in milliseconds since 1970 as the platform's type. A time that the platform cannot represent becomes
/// 1970.
pub(crate) fn system_time(epoch_ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(epoch_ms)).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Returns a duration in whole milliseconds, as rows store it.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
