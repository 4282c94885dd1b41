//! Pauses between requests.

use std::time::Duration;

use crate::now::Now;
use crate::time::ClockReading;

/// A pause between two tries or polls, with decorrelated jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Backoff {
    since: ClockReading,
    length: Duration,
}

impl Backoff {
    /// Starts a pause now. Its length is uniform from `base` to three times the `previous` pause, at most `cap`.
    pub(crate) fn after(previous: Option<Self>, base: Duration, cap: Duration, now: &Now<'_>) -> Self {
        let previous = previous.map_or(base, |pause| pause.length);
        let base = base.min(cap);
        let top = (previous * 3).clamp(base, cap);
        let span = (top - base).as_nanos() as u64;
        let jitter = if span == 0 { 0 } else { now.entropy.jitter % (span + 1) };
        Self { since: now.at, length: base + Duration::from_nanos(jitter) }
    }

    /// Returns the time until the pause ends, `None` if it has ended.
    pub(crate) fn left(&self, at: ClockReading) -> Option<Duration> {
        let left = self.length.saturating_sub(at.waiter_elapsed_since(self.since));
        (!left.is_zero()).then_some(left)
    }
}
