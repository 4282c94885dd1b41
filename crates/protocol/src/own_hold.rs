//! [`OwnHold`]: the last hold of a client, after which it may let other clients go first.

use std::time::Duration;

use crate::{ClockReading, rate_plan::RATE};

/// Estimate of waiters, in hundredths, from which on a client sits out after its release.
const CONTENDED: u32 = 50;
/// Gap between two holds of a client that ends its run of holds.
const RUN_GAP: Duration = Duration::from_millis(100);
/// Maximum length of a run of holds, unless the lease is shorter.
const RUN_MAX: Duration = Duration::from_secs(2);
/// Shortest time of sitting out, less jitter.
const REST_MIN: Duration = Duration::from_millis(25);

/// The last hold of a lock by a client, which the client keeps for its next attempt.
///
/// A client that asks for the lock again at once would win nearly always, because it knows first that the lock is free.
/// It therefore lets the others look first. The attempt begins with a read after a short time:
///
/// - if there were waiters at the last release, or
/// - if the client has held the lock almost without a gap for a while, because waiters that never acquire the lock cannot
///   report themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnHold {
    /// Begin of the run of holds with gaps below 100 ms.
    pub(crate) run_began: ClockReading,
    pub(crate) ended: ClockReading,
    pub(crate) length: Duration,
    /// Estimate of waiters at the release, in hundredths.
    pub(crate) waiters: u32,
}

impl OwnHold {
    /// Returns the time at which a next attempt may begin, as a time after the release, if it must begin with a read.
    /// Returns `None` if it may begin with a write at once.
    pub fn rest(&self, at: ClockReading, lease: Duration, random: u64) -> Option<Duration> {
        let run = self.ended.waiter_elapsed_since(self.run_began);
        let is_long_run = self.continues_at(at) && run > lease.min(RUN_MAX);
        if self.waiters < CONTENDED && !is_long_run {
            return None;
        }
        let longest = Duration::from_secs_f64(1.0 / RATE);
        // A number from 75 to 125.
        let percent = 75 + (random as u32) % 51;
        Some(self.length.max(REST_MIN).min(longest) * percent / 100)
    }

    /// Returns the time left until `rest` after the release has passed, zero if it has.
    pub fn rest_left(&self, rest: Duration, at: ClockReading) -> Duration {
        rest.saturating_sub(at.waiter_elapsed_since(self.ended))
    }

    /// Returns whether a hold that begins at `at` belongs to the same run.
    pub(crate) fn continues_at(&self, at: ClockReading) -> bool {
        at.waiter_elapsed_since(self.ended) < RUN_GAP
    }
}
