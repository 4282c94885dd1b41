use std::time::Duration;

use crate::config::DRIFT_PER_MILLE;
use crate::time::{ClockReading, ReceivedAt, SentAt};

/// A4: the `Date`s of the service, whichever of its hosts sends them, are this close to one clock.
pub const DELTA: Duration = Duration::from_secs(2);

const SAMPLES_MAX: usize = 16;
const AGE_MAX: Duration = Duration::from_secs(600);

/// The `Date` of an answer: whole seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceDate(pub u64);

impl ServiceDate {
    /// The latest that service time can have been when the answered try was sent, ms (R6).
    pub fn upper_when_sent(self) -> u64 {
        self.0 * 1000 + 1000 + DELTA.as_millis() as u64
    }

    /// The latest that service time can be at a later moment, by this answer alone, ms.
    pub(crate) fn upper_at(self, sent_at: SentAt, now: ClockReading) -> u64 {
        // Real time passed is at most the larger clock's over (1 - rho).
        let passed = now.lease_elapsed_since(sent_at.0).as_millis() as u64;
        self.upper_when_sent() + (passed * 1000).div_ceil(1000 - DRIFT_PER_MILLE) + 1
    }

    /// The earliest that service time can be once the answer has arrived, ms (§5).
    pub fn lower_when_received(self) -> u64 {
        (self.0 * 1000).saturating_sub(DELTA.as_millis() as u64)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Sample {
    date: ServiceDate,
    sent_at: SentAt,
    received_at: ReceivedAt,
}

impl Sample {
    fn lower(&self, now: ClockReading) -> u64 {
        // Real time passed is at least the smaller clock's over (1 + rho).
        let passed = now.waiter_elapsed_since(self.received_at.0).as_millis() as u64;
        self.date.lower_when_received() + passed * 1000 / (1000 + DRIFT_PER_MILLE)
    }

    fn upper(&self, now: ClockReading) -> u64 {
        self.date.upper_at(self.sent_at, now)
    }
}

/// The service's clock as an interval, from the `Date`s of its answers: each bounds it from both sides, the samples are
/// intersected, and widened with age by the rate at which a lease clock may drift. Samples older than 10 minutes go;
/// where the intersection is empty the oldest goes. At most 16 are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServiceClock {
    samples: Vec<Sample>,
}

impl ServiceClock {
    /// Takes in one answer: its `Date`, when its try was sent and when it arrived.
    pub fn observe(&mut self, date: ServiceDate, sent_at: SentAt, received_at: ReceivedAt) {
        let now = received_at.0;
        self.samples.retain(|s| is_recent(s, now));
        if self.samples.len() == SAMPLES_MAX {
            self.samples.remove(0);
        }
        self.samples.push(Sample { date, sent_at, received_at });
        while self.samples.len() > 1 && self.bounds(now).is_some_and(|(lower, upper)| lower > upper) {
            self.samples.remove(0);
        }
    }

    /// Bounds of service time now, milliseconds since 1970; `None` without a recent sample.
    pub fn interval(&self, now: ClockReading) -> Option<(u64, u64)> {
        self.bounds(now).filter(|(lower, upper)| lower <= upper)
    }

    fn bounds(&self, now: ClockReading) -> Option<(u64, u64)> {
        let recent = || self.samples.iter().filter(|s| is_recent(s, now));
        Some((recent().map(|s| s.lower(now)).max()?, recent().map(|s| s.upper(now)).min()?))
    }
}

fn is_recent(sample: &Sample, now: ClockReading) -> bool {
    now.lease_elapsed_since(sample.received_at.0) <= AGE_MAX
}
