//! The recent history of a lock, as its row contains it: lengths of holds, and an estimate of the waiters.
//!
//! Waiters derive from it when they look at the row next (`poller.rs`). It never influences who may hold the lock.

use std::time::Duration;

use crate::{Row, attr, time::millis};

/// Maximum number of holds that a row contains.
const HOLDS_MAX: usize = 16;
/// Maximum length of a hold in the row, in milliseconds. A longer one is stored as this.
const HOLD_MS_MAX: u32 = 9_999_999;
/// Maximum of the estimate of waiters, in hundredths.
const WAITERS_MAX: u32 = 100_000;
/// Maximum number of handoffs of one attempt that the estimate takes into account.
const HANDOFFS_MAX: u32 = 200;

/// Lengths of the most recent holds of a lock, and a moving average of its waiters.
///
/// Every client with access to the table can write these attributes, so that they can contain anything. Content that is
/// invalid counts as absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HoldHistory {
    holds_ms: [u32; HOLDS_MAX],
    len: u8,
    /// Moving average of the waiting processes, in hundredths.
    waiters: u32,
}

impl HoldHistory {
    /// Returns the history in a row.
    pub fn of(row: &Row) -> Self {
        let mut history = row.text(attr::RECENT_HOLDS_MS).and_then(Self::parse).unwrap_or_default();
        let waiters = row.whole(attr::WAITER_ESTIMATE).filter(|waiters| *waiters <= WAITERS_MAX.into());
        history.waiters = waiters.unwrap_or(0) as u32;
        history
    }

    /// Creates a history. Each hold is at least 1 ms long; only the last 16 are kept. `waiters` is in hundredths.
    pub fn new(holds: impl IntoIterator<Item = Duration>, waiters: u32) -> Self {
        let mut history = Self { waiters: waiters.min(WAITERS_MAX), ..Self::default() };
        holds.into_iter().for_each(|hold| history.push(hold));
        history
    }

    fn parse(text: &str) -> Option<Self> {
        let mut history = Self::default();
        for number in text.split(' ') {
            let is_number = (1..=7).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
            let ms = number.parse().ok().filter(|ms| is_number && *ms > 0)?;
            *history.holds_ms.get_mut(usize::from(history.len))? = ms;
            history.len += 1;
        }
        Some(history)
    }

    /// Adds a hold. Its acquisition saw this number of handoffs while it waited.
    pub(crate) fn add(&mut self, hold: Duration, handoffs: u32) {
        self.push(hold);
        // A moving average with weight 1/8, rounded to the nearest hundredth.
        self.waiters = (7 * self.waiters + 100 * handoffs.min(HANDOFFS_MAX) + 4) / 8;
    }

    fn push(&mut self, hold: Duration) {
        if usize::from(self.len) == HOLDS_MAX {
            self.holds_ms.rotate_left(1);
            self.len -= 1;
        }
        self.holds_ms[usize::from(self.len)] = millis(hold).clamp(1, HOLD_MS_MAX.into()) as u32;
        self.len += 1;
    }

    /// Returns the lengths of the holds in milliseconds, from 1 to 9,999,999, the oldest first.
    pub fn holds_ms(&self) -> &[u32] {
        &self.holds_ms[..usize::from(self.len)]
    }

    /// Returns the moving average of the waiting processes in hundredths, from 0 to 100,000.
    pub fn waiters(&self) -> u32 {
        self.waiters
    }

    /// Returns the value of [`attr::RECENT_HOLDS_MS`]: numbers separated by spaces, at most 127 bytes.
    pub(crate) fn holds_text(&self) -> String {
        let numbers: Vec<_> = self.holds_ms().iter().map(u32::to_string).collect();
        numbers.join(" ")
    }
}
