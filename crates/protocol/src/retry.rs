//! Retry and backoff: the repetition of a write without a usable response, and the pauses between requests.
//!
//! A write that was not answered may have been applied, or may still be. It is repeated identically, so that the row
//! shows whether an attempt was applied. Each state machine decides until when a repetition is useful. Renewals have
//! rules of their own in `held.rs`, because their pauses depend on the validity that is left. Times of
//! looks are in `poller.rs`. In the library, `core.rs` decides which errors of a store are refusals.

use std::time::Duration;

use crate::{ClockReading, Now, Op, Outcome, Refusal, Step};

/// Shortest pause between two attempts of a request.
pub(crate) const RETRY_MIN: Duration = Duration::from_millis(25);
/// Longest pause between two attempts of a release, a revocation, or a request of npm dynamo-lock's `getLock`.
pub(crate) const RETRY_MAX: Duration = Duration::from_secs(1);

/// A pause between two attempts, with decorrelated jitter.
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

/// A write that is repeated identically until an attempt has a usable response.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RepeatedWrite {
    pub(crate) op: Op,
    /// Whether an attempt was not answered, so that it may have been applied or may still be.
    pub(crate) ambiguous: bool,
    pause: Option<Backoff>,
}

impl RepeatedWrite {
    pub(crate) fn new(op: Op) -> Self {
        Self { op, ambiguous: false, pause: None }
    }

    /// Takes the outcome of a failed attempt: unknown, throttled, or `None` if the store refused it. The next attempt
    /// follows after a pause of at most `longest`.
    pub(crate) fn retry(&mut self, outcome: Option<&Outcome>, longest: Duration, now: &Now<'_>) {
        self.ambiguous |= outcome == Some(&Outcome::Unknown);
        self.pause = Some(Backoff::after(self.pause, RETRY_MIN, longest, now));
    }

    /// Returns whether this refusal of an attempt counts as one more failure, because an earlier attempt may have been
    /// applied. Without a table there is no row, so nothing has been applied that still exists.
    pub(crate) fn retries(&self, refusal: Refusal) -> bool {
        self.ambiguous && refusal == Refusal::Other
    }

    /// Returns whether an attempt had no usable response.
    pub(crate) fn has_failed(&self) -> bool {
        self.pause.is_some()
    }

    /// Returns the next step: the rest of the pause after a failed attempt, or the write.
    pub(crate) fn step<T, C>(&self, at: ClockReading) -> Step<T, C> {
        match self.pause.and_then(|pause| pause.left(at)) {
            Some(left) => Step::Pause(left),
            None => Step::Write(self.op.clone()),
        }
    }
}
