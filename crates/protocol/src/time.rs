use std::time::Duration;

use crate::ServiceClock;

/// One reading of a host's clocks, all taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClockReading {
    /// A clock that counts suspension (CLOCK_BOOTTIME), nanoseconds.
    pub boot_ns: u64,
    /// A clock that nobody slews (CLOCK_MONOTONIC_RAW), nanoseconds.
    pub raw_ns: u64,
    /// The wall clock, milliseconds since 1970. It may jump: it can end a belief, never extend one.
    pub wall_ms: u64,
}

impl ClockReading {
    /// R4: time elapsed for a holder, the largest that any clock saw.
    pub fn holder_elapsed_since(self, earlier: ClockReading) -> Duration {
        let wall = Duration::from_millis(self.wall_ms.saturating_sub(earlier.wall_ms));
        self.lease_elapsed_since(earlier).max(wall)
    }

    /// The larger that the lease clocks saw, the wall clock aside.
    pub(crate) fn lease_elapsed_since(self, earlier: ClockReading) -> Duration {
        let boot = self.boot_ns.saturating_sub(earlier.boot_ns);
        Duration::from_nanos(boot.max(self.raw_ns.saturating_sub(earlier.raw_ns)))
    }

    /// R4: time elapsed for a waiter, the smaller that the lease clocks saw.
    pub fn waiter_elapsed_since(self, earlier: ClockReading) -> Duration {
        let boot = self.boot_ns.saturating_sub(earlier.boot_ns);
        Duration::from_nanos(boot.min(self.raw_ns.saturating_sub(earlier.raw_ns)))
    }

    /// Time that the host was awake: what the unslewed clock counted.
    fn awake_since(self, earlier: ClockReading) -> Duration {
        Duration::from_nanos(self.raw_ns.saturating_sub(earlier.raw_ns))
    }
}

/// R1: read *before* the first byte of a request is sent. A holder counts from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SentAt(pub ClockReading);

/// R2: read *after* an answer arrived. A waiter counts from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReceivedAt(pub ClockReading);

/// The end of something a holder believes: a time after something was sent, by the holder's clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Deadline {
    from: SentAt,
    after: Duration,
}

impl Deadline {
    /// `after` from the moment `from`.
    pub fn new(from: SentAt, after: Duration) -> Self {
        Self { from, after }
    }

    /// Time left, zero once it has passed.
    pub fn left(&self, now: ClockReading) -> Duration {
        self.after.saturating_sub(now.holder_elapsed_since(self.from.0))
    }

    /// Whether it has passed.
    pub fn passed(&self, now: ClockReading) -> bool {
        self.left(now).is_zero()
    }

    /// The one that is further away now.
    pub(crate) fn later(self, other: Self, now: ClockReading) -> Self {
        if other.left(now) > self.left(now) { other } else { self }
    }

    /// Whether it has passed, or nearly, on the unslewed clock alone; if not, the host was suspended, or the wall clock
    /// jumped. Slewing and rounding are neither: 2 % and a quarter of a second are let pass.
    pub(crate) fn passed_awake(&self, now: ClockReading) -> bool {
        now.awake_since(self.from.0) + self.after / 50 + Duration::from_millis(250) >= self.after
    }

    /// Time from its start to its end.
    pub(crate) fn length(&self) -> Duration {
        self.after
    }

    /// Time since it was set.
    pub(crate) fn age(&self, now: ClockReading) -> Duration {
        now.holder_elapsed_since(self.from.0)
    }
}

/// Luck for one step of a machine: fresh random bits, used at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entropy {
    /// For a record version.
    pub version: u128,
    /// For a nonce.
    pub lease_id: u128,
    /// For jitter.
    pub jitter: u64,
}

/// What a machine may know besides its own state: the time, the service clock, and fresh luck.
#[derive(Clone, Copy, Debug)]
pub struct Now<'a> {
    /// The host's clocks, just read.
    pub at: ClockReading,
    /// What answers have told about the service's clock; `None` if the store has none.
    pub service: Option<&'a ServiceClock>,
    /// Fresh random bits.
    pub entropy: Entropy,
}

impl Now<'_> {
    /// Bounds of the service's time now, milliseconds since 1970, if any answer has told it.
    pub(crate) fn service_interval(&self) -> Option<(u64, u64)> {
        self.service.and_then(|clock| clock.interval(self.at))
    }
}

/// A pause between tries or polls, with decorrelated jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pause {
    since: ClockReading,
    length: Duration,
}

impl Pause {
    /// After the `previous` pause, from `base` to `cap`.
    pub(crate) fn after(previous: Option<Pause>, base: Duration, cap: Duration, now: &Now<'_>) -> Self {
        let previous = previous.map_or(base, |pause| pause.length);
        Self { since: now.at, length: decorrelated(base, previous, cap, now.entropy.jitter) }
    }

    /// What is left of it, at most `cap`; `None` once it is over.
    pub(crate) fn left(&self, at: ClockReading) -> Option<Duration> {
        let left = self.length.saturating_sub(at.waiter_elapsed_since(self.since));
        (!left.is_zero()).then_some(left)
    }
}

/// Decorrelated jitter: uniform from `base` to three times the `previous` pause, at most `cap`.
fn decorrelated(base: Duration, previous: Duration, cap: Duration, luck: u64) -> Duration {
    let base = base.min(cap);
    let top = (previous * 3).clamp(base, cap);
    let span = (top - base).as_nanos() as u64;
    base + Duration::from_nanos(if span == 0 { 0 } else { luck % (span + 1) })
}
