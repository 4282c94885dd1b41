//! Hints of a store that a row may have changed, and the look that follows one.
//!
//! A hint is not evidence: it may be wrong, late or missing, so that it only ends a pause early. The row that the look
//! returns decides.

use std::time::Duration;

use crate::{ClockReading, FencingToken, Now};

/// Shortest time from one look of a waiter to the next.
const SPACING_MIN: Duration = Duration::from_millis(25);

/// Longest time from one look to the next that hints without a handoff lead to.
const SPACING_MAX: Duration = Duration::from_secs(1);

/// Mean time that all waiters together leave between two looks after one hint.
const GAP: Duration = Duration::from_millis(5);

/// Maximum number of handoffs that the estimate of waiters takes into account.
const HANDOFFS_MAX: u32 = 200;

/// Report of a store to a waiter, besides the responses to its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hint {
    /// From now on the store reports when the row may have changed. It may have changed before.
    Available,
    /// The row may have changed since the last look.
    Changed,
    /// The store reports no changes any more.
    Unavailable,
}

/// Hints that a waiter has received, and the time at which it looks because of them.
///
/// Two looks are at least 25 ms apart. That time doubles with each hint after which the row shows no handoff, up to 1
/// s, because hints of busy other locks must not cost more than polls; it halves with each look without a hint. A
/// waiter that has seen N handoffs, and so has about N rivals, waits for a random time of up to N × 5 ms.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Hints {
    is_available: bool,
    /// Begin of the present pause, which is the time of the last look.
    looked: Option<ClockReading>,
    /// Time from the last look to the next one after a hint, `None` without a hint.
    length: Option<Duration>,
    /// Whether a change was reported in the present pause.
    is_changed: bool,
    spacing: Duration,
    handoffs: u32,
    token: Option<FencingToken>,
}

impl Default for Hints {
    fn default() -> Self {
        Self {
            is_available: false,
            looked: None,
            length: None,
            is_changed: false,
            spacing: SPACING_MIN,
            handoffs: 0,
            token: None,
        }
    }
}

impl Hints {
    /// Begins a pause after a look, which showed this token. Returns the least length of the next one. `previous` is the
    /// length of the previous one.
    ///
    /// With hints, polls are a fallback: their pauses grow to the longest one and stay there. After a hint they start
    /// again, because a store may report a change a moment before a read shows it.
    pub(crate) fn begin_pause(
        &mut self,
        now: &Now<'_>,
        token: Option<FencingToken>,
        previous: Option<Duration>,
    ) -> Duration {
        let (was_hinted, was_changed) = (self.length.take().is_some(), std::mem::take(&mut self.is_changed));
        let is_handoff = self.looked.is_some() && token.is_some() && token != self.token;
        self.spacing = match (is_handoff, was_changed) {
            (true, _) => SPACING_MIN,
            (false, true) => (self.spacing * 2).min(SPACING_MAX),
            (false, false) => (self.spacing / 2).max(SPACING_MIN),
        };
        self.handoffs = (self.handoffs + u32::from(is_handoff)).min(HANDOFFS_MAX);
        self.token = token.or(self.token);
        self.looked = Some(now.at);
        match (was_hinted, self.is_available) {
            (true, _) => self.spacing * 2,
            (false, true) => previous.map_or(Duration::ZERO, |previous| previous * 2),
            (false, false) => Duration::ZERO,
        }
    }

    /// Returns whether the look of this pause follows a hint.
    pub(crate) fn is_hinted(&self) -> bool {
        self.length.is_some()
    }

    /// Takes a hint during a pause.
    pub(crate) fn take(&mut self, now: &Now<'_>, hint: Hint) {
        self.is_available = hint != Hint::Unavailable;
        let Some(looked) = self.looked.filter(|_| self.is_available && self.length.is_none()) else { return };
        let spread = (GAP * self.handoffs.saturating_sub(1)).as_nanos() as u64;
        let delay = Duration::from_nanos(now.entropy.jitter % (spread + 1));
        self.is_changed = hint == Hint::Changed;
        self.length = Some(now.at.waiter_elapsed_since(looked).max(self.spacing) + delay);
    }

    /// Returns the time until the look that a hint has led to, `None` without a hint.
    pub(crate) fn left(&self, at: ClockReading) -> Option<Duration> {
        Some(self.length?.saturating_sub(at.waiter_elapsed_since(self.looked?)))
    }
}
