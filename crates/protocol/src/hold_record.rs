//! [`HoldRecord`]: facts about a hold that its release writes to the row, and that the client keeps.

use crate::{ClockReading, HoldHistory, OwnHold, SentAt, time::millis};

/// Facts about the present hold, from its acquisition to its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HoldRecord {
    /// History in the row of the acquisition.
    history: HoldHistory,
    /// Handoffs that the acquisition saw while it waited.
    handoffs: u32,
    /// Time before the first byte of the acquisition was sent.
    acquired: SentAt,
    run_began: ClockReading,
}

impl HoldRecord {
    /// Creates the record of a hold that was acquired by a write sent at `acquired`. `previous` is the client's last
    /// hold, unless the client has sat out since.
    pub fn new(history: HoldHistory, handoffs: u32, acquired: SentAt, previous: Option<OwnHold>) -> Self {
        let run_began = previous.filter(|hold| hold.continues_at(acquired.0)).map_or(acquired.0, |hold| hold.run_began);
        Self { history, handoffs, acquired, run_began }
    }

    /// Returns the time before the first byte of the acquisition was sent.
    pub fn acquired(&self) -> SentAt {
        self.acquired
    }

    /// Returns the end of a hold that is released at this time, in milliseconds since 1970. It counts from the wall clock
    /// at the acquisition, so that a step of that clock does not change the length of the hold.
    pub(crate) fn ended_on(&self, released: ClockReading) -> u64 {
        self.acquired.0.wall_ms.saturating_add(millis(released.lease_elapsed_since(self.acquired.0)))
    }

    /// Returns the history that a release sent at this time writes.
    pub fn history_after(&self, released: ClockReading) -> HoldHistory {
        let mut history = self.history;
        history.add(released.lease_elapsed_since(self.acquired.0), self.handoffs);
        history
    }

    /// Returns the hold that ends with a release sent at this time.
    pub fn end(&self, released: ClockReading) -> OwnHold {
        let waiters = self.history_after(released).waiters();
        let length = released.lease_elapsed_since(self.acquired.0);
        OwnHold { run_began: self.run_began, ended: released, length, waiters }
    }
}
