//! The decision of other clients whether a lease has expired (R2 and §5).
//!
//! It rests on an observation of the row (`watch.rs`) and on the bounds of service time (`service_clock.rs`). The
//! holder's own deadline is in `validity.rs`, and `lease_end.rs` has the end that a write stores in the row.

use std::time::Duration;

use crate::{
    ClockReading, EXPIRY_PAD, LegacyRow, Liveness, RowState, ServiceClock, ServiceDate, SharedEntry, Watch,
    time::millis,
};

/// Result of [`expiry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The lease has expired, so that no guard of it is valid and the lock may be taken over.
    Expired,
    /// The lease may not have expired. Without a renewal it can be taken over after a time within these bounds.
    Running {
        /// Earliest end, from now, on the evidence of the service's dates. It is exact to the error of these dates, a
        /// few seconds, and zero if there are none.
        earliest: Duration,
        /// Latest end, from now. A child process of the holder may keep the lock for longer.
        latest: Duration,
    },
}

/// Facts from which [`expiry`] decides, besides the row.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Reading of the host's clocks, taken after the row was read.
    pub at: ClockReading,
    /// Service time as far as responses bound it, `None` if the store has no service clock.
    pub service: Option<&'a ServiceClock>,
    /// Date of the very response that contained the row.
    pub date: Option<ServiceDate>,
    /// Result of a liveness check that began after `at`.
    pub liveness: Liveness,
    /// Observation of exactly this version of the row, if there is one.
    pub watch: Option<&'a Watch>,
    /// Time past the end of a row of npm dynamo-lock during which it is still respected.
    pub legacy_skew: Duration,
}

/// Maximum distance of the wall clock from the bounds of service time at which it confirms them. NTP keeps wall clocks
/// within milliseconds.
const WALL_CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

impl Evidence<'_> {
    fn interval(&self) -> Option<(u64, u64)> {
        self.service.and_then(|clock| clock.interval(self.at))
    }

    /// Returns the lower bound of service time from the response that contained the row. Returns `None` if its date is
    /// later than the other dates allow, because it may be wrong (§5.1).
    fn lower(&self) -> Option<u64> {
        let (lower, (_, upper)) = (self.date?.lower_when_received(), self.interval()?);
        (lower <= upper).then_some(lower)
    }

    /// Returns whether the wall clock of this host confirms the bounds of service time (§5.2).
    fn is_confirmed_by_wall_clock(&self) -> bool {
        let tolerance = millis(WALL_CLOCK_TOLERANCE);
        let is_near = |(lower, upper): (u64, u64)| {
            (lower.saturating_sub(tolerance)..=upper.saturating_add(tolerance)).contains(&self.at.wall_ms)
        };
        self.interval().is_some_and(is_near)
    }
}

/// Decides whether the lease in a row has expired, and when it may expire. A free row counts as expired, and so does a
/// finished one, because it has no lease.
///
/// The result is [`Expiry::Expired`] only if this is certain:
///
/// - the liveness check has shown that the holder's processes have ended, or
/// - the row has a service timestamp, the date of the response that contained it is surely later, and neither earlier
///   dates nor the wall clock contradict that date (§5), or
/// - this version of the row has been observed for its whole lease (R2).
///
/// A live child process of the holder outweighs the last two. For a row of npm dynamo-lock, service time must be past
/// `expiresOn` and the skew; without a service clock the wall clock takes its place. With one, the wall clock is not
/// consulted, because these rows contain no lease: a host with a wrong wall clock could never acquire their locks.
pub fn expiry(state: &RowState, evidence: &Evidence<'_>) -> Expiry {
    match state {
        RowState::Free | RowState::Done(_) => Expiry::Expired,
        RowState::Held(held) => {
            let service_timestamp = held.service_timestamp.then_some(held.expires_on);
            let left = evidence.watch.and_then(|watch| watch.expires_in(evidence.at));
            native(&StoredLease { lease: held.lease, service_timestamp }, left == Some(Duration::ZERO), evidence)
        }
        RowState::Legacy(legacy) => npm(legacy, evidence),
    }
}

/// Decides as npm dynamo-lock does: on the wall clock alone, without any tolerance.
pub(crate) fn expired_for_npm(state: &RowState, wall_ms: u64) -> bool {
    match state {
        RowState::Free => true,
        RowState::Done(_) => false,
        RowState::Held(held) => held.expires_on <= wall_ms,
        RowState::Legacy(legacy) => legacy.expires_on <= i64::try_from(wall_ms).unwrap_or(i64::MAX),
    }
}

/// Decides whether the lease of an entry in a shared row has expired, as [`expiry`] does. `watched_for` is the time for
/// which this version of the entry has been observed; [`Evidence::watch`] is ignored.
pub fn entry_expiry(entry: &SharedEntry, watched_for: Duration, evidence: &Evidence<'_>) -> Expiry {
    let lease = StoredLease { lease: entry.lease, service_timestamp: entry.expires_on };
    native(&lease, watched_for >= entry.lease, evidence)
}

/// Lease in a row or in an entry.
struct StoredLease {
    lease: Duration,
    /// End of the lease, if it is a service timestamp.
    service_timestamp: Option<u64>,
}

/// Decides about a lease that may have been observed for its whole length (R2).
fn native(stored: &StoredLease, observed_for_lease: bool, evidence: &Evidence<'_>) -> Expiry {
    let (expires_on, is_confirmed) = (stored.service_timestamp, evidence.is_confirmed_by_wall_clock());
    let is_past = |end: u64| is_confirmed && evidence.lower().is_some_and(|lower| lower > end);
    let expired_on_service_clock = expires_on.is_some_and(is_past);
    let expired = match evidence.liveness {
        Liveness::Dead => true,
        Liveness::ChildAlive => false,
        Liveness::Unknown | Liveness::ProcessAlive => expired_on_service_clock || observed_for_lease,
    };
    if expired {
        return Expiry::Expired;
    }
    let bounds = evidence.interval().zip(expires_on);
    let (earliest, latest) = bounds.map_or((Duration::ZERO, stored.lease), |((lower, upper), end)| {
        // Another client may have observed the row since it was written, and R2 does not include the pad.
        let observed = end.saturating_sub(millis(EXPIRY_PAD));
        // The service timestamp or one whole lease of observation from now, whichever comes first.
        let dated = if is_confirmed { until(end, lower) } else { stored.lease };
        (until(observed, upper), dated.min(stored.lease))
    });
    Expiry::Running { earliest: earliest.min(latest), latest }
}

fn npm(legacy: &LegacyRow, evidence: &Evidence<'_>) -> Expiry {
    // A lock that was freed by force or never held has expired on every clock.
    let Some(expires_on) = u64::try_from(legacy.expires_on).ok().filter(|expires_on| *expires_on > 0) else {
        return Expiry::Expired;
    };
    let respected_until = expires_on.saturating_add(millis(evidence.legacy_skew));
    let time = match evidence.service {
        Some(_) => evidence.lower(),
        None => Some(evidence.at.wall_ms),
    };
    if time.is_some_and(|time| time > respected_until) {
        return Expiry::Expired;
    }
    let (lower, upper) = evidence.interval().unwrap_or((evidence.at.wall_ms, evidence.at.wall_ms));
    Expiry::Running { earliest: until(expires_on, upper), latest: until(respected_until, lower) }
}

fn until(end_ms: u64, now_ms: u64) -> Duration {
    Duration::from_millis(end_ms.saturating_sub(now_ms))
}
