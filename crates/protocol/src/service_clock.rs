//! The clock of the service, as bounded by the dates of its responses (§5).

use std::time::Duration;

use crate::{ClockReading, DRIFT_PER_MILLE, ReceivedAt, SentAt};

/// Maximum deviation of the dates of all service hosts from one clock (A4).
pub const DELTA: Duration = Duration::from_secs(2);

/// Maximum number of samples that are kept.
const SAMPLES_MAX: usize = 16;
/// Age after which a sample is ignored.
const AGE_MAX: Duration = Duration::from_secs(600);

/// The `Date` of a response: whole seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceDate(pub u64);

impl ServiceDate {
    /// Returns the upper bound of service time when the answered attempt was sent, in milliseconds (R6).
    pub fn upper_when_sent(self) -> u64 {
        self.0 * 1000 + 1000 + DELTA.as_millis() as u64
    }

    /// Returns the upper bound of service time at `now`, from this response alone, in milliseconds.
    pub(crate) fn upper_at(self, sent_at: SentAt, now: ClockReading) -> u64 {
        // The real time that has passed is at most that of the larger clock, divided by (1 - ρ) (A2).
        let passed = now.lease_elapsed_since(sent_at.0).as_millis() as u64;
        self.upper_when_sent() + (passed * 1000).div_ceil(1000 - DRIFT_PER_MILLE) + 1
    }

    /// Returns the lower bound of service time when the response has arrived, in milliseconds (§5).
    pub fn lower_when_received(self) -> u64 {
        (self.0 * 1000).saturating_sub(DELTA.as_millis() as u64)
    }
}

/// The date of one response, with the times of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Sample {
    date: ServiceDate,
    sent_at: SentAt,
    received_at: ReceivedAt,
}

impl Sample {
    fn lower(&self, now: ClockReading) -> u64 {
        // The real time that has passed is at least that of the smaller clock, divided by (1 + ρ) (A2).
        let passed = now.waiter_elapsed_since(self.received_at.0).as_millis() as u64;
        self.date.lower_when_received() + passed * 1000 / (1000 + DRIFT_PER_MILLE)
    }

    fn upper(&self, now: ClockReading) -> u64 {
        self.date.upper_at(self.sent_at, now)
    }

    /// Returns whether both samples can be true. Samples of which each two agree have a common point.
    fn agrees(&self, other: &Self, now: ClockReading) -> bool {
        self.lower(now) <= other.upper(now) && other.lower(now) <= self.upper(now)
    }
}

/// The clock of the service as an interval.
///
/// The date of each response bounds service time from both sides. The interval is the intersection of the last 16
/// samples, each widened with its age because a lease clock may drift. Samples older than 10 minutes are ignored.
///
/// A date that contradicts the samples is kept apart, because one host of the service may have a wrong clock. If the
/// next date agrees with it, then the samples that contradict both are dropped, because this host may have stood still.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServiceClock {
    samples: Vec<Sample>,
    /// The last sample, if it contradicts the others.
    doubt: Option<Sample>,
}

impl ServiceClock {
    /// Adds the date of a response that was requested at `sent_at` and arrived at `received_at`.
    pub fn observe(&mut self, date: ServiceDate, sent_at: SentAt, received_at: ReceivedAt) {
        let (now, new) = (received_at.0, Sample { date, sent_at, received_at });
        self.samples.retain(|sample| is_recent(sample, now));
        let doubt = self.doubt.take().filter(|doubt| is_recent(doubt, now));
        if !self.samples.iter().all(|sample| sample.agrees(&new, now)) {
            let Some(doubt) = doubt.filter(|doubt| doubt.agrees(&new, now)) else {
                self.doubt = Some(new);
                return;
            };
            self.samples.retain(|sample| sample.agrees(&new, now) && sample.agrees(&doubt, now));
            self.samples.push(doubt);
        }
        self.samples.push(new);
        let surplus = self.samples.len().saturating_sub(SAMPLES_MAX);
        self.samples.drain(..surplus);
    }

    /// Returns the lower and upper bound of service time now, in milliseconds since 1970. Returns `None` without a
    /// recent sample.
    pub fn interval(&self, now: ClockReading) -> Option<(u64, u64)> {
        let recent = || self.samples.iter().filter(|sample| is_recent(sample, now));
        let lower = recent().map(|sample| sample.lower(now)).max()?;
        let upper = recent().map(|sample| sample.upper(now)).min()?;
        (lower <= upper).then_some((lower, upper))
    }
}

fn is_recent(sample: &Sample, now: ClockReading) -> bool {
    now.lease_elapsed_since(sample.received_at.0) <= AGE_MAX
}
