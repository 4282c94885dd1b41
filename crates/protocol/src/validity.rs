//! Local validity: the time during which a holder may rely on its lease.

use std::time::Duration;

use crate::{ClockReading, DRIFT_PER_MILLE, Deadline, SentAt, ServiceDate};

/// The two bounds of a lease's local validity. The lease is valid until the first of them passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Validity {
    /// Bound counted from before the request was sent (R1).
    pub(crate) sent: Deadline,
    /// Bound by the row's own `expiresOn`: service time could reach it then (R6). `None` without a date.
    pub(crate) row: Option<Deadline>,
}

impl Validity {
    /// Returns the time left, zero if the validity has ended.
    pub(crate) fn left(&self, at: ClockReading) -> Duration {
        self.row.map_or(Duration::MAX, |row| row.left(at)).min(self.sent.left(at))
    }

    /// Returns whether the validity has ended.
    pub(crate) fn passed(&self, at: ClockReading) -> bool {
        self.left(at).is_zero()
    }

    /// Returns whether an ended validity ended while the host was suspended: no bound of it has passed while it was
    /// awake.
    pub(crate) fn slept_through(&self, at: ClockReading) -> bool {
        ![Some(self.sent), self.row].iter().flatten().any(|bound| bound.passed(at) && bound.passed_awake(at))
    }
}

/// Date of a response, and the time at which the attempt that it answers was sent.
pub(crate) type DatedTry = (ServiceDate, SentAt);

/// Returns the time at which service time, bounded from this response's date alone, could reach the `expiresOn` of a
/// row, with or without a service timestamp (R6). Returns `None` without a date.
pub(crate) fn row_deadline(expires_on: Option<u64>, response: Option<DatedTry>) -> Option<Deadline> {
    let (date, sent_at) = response?;
    let left = expires_on?.saturating_sub(date.upper_when_sent());
    // Any number can be in the row, so the product may need more than 64 bits.
    let left = u128::from(left) * u128::from(1000 - DRIFT_PER_MILLE) / 1000;
    Some(Deadline::new(sent_at, Duration::from_millis(left as u64)))
}
