//! [`EntryWatches`]: a waiter's observation of the entries of a shared row (R2).

use std::time::Duration;

use crate::{ClockReading, LeaseId, ReceivedAt, SharedEntry, SharedRow};

/// Observation of all entries of a shared row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct EntryWatches {
    seen: Vec<EntryWatch>,
    /// Number of holders that have been seen to leave.
    departures: u64,
}

/// Observation of one version of an entry. Every renewal changes the number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EntryWatch {
    lease_id: LeaseId,
    renewal_seq: u64,
    lease: Duration,
    /// Time at which the first response with this version had arrived (R2).
    received_at: ReceivedAt,
}

impl EntryWatches {
    /// Takes a row. Entries that have not changed continue their observation, all others begin one.
    pub(crate) fn observe(&mut self, row: &SharedRow, at: ClockReading) {
        let gone = |watch: &&EntryWatch| row.entry(&watch.lease_id).is_none();
        self.departures += self.seen.iter().filter(gone).count() as u64;
        self.seen =
            row.entries.iter().map(|entry| self.find(entry).unwrap_or_else(|| EntryWatch::new(entry, at))).collect();
    }

    /// Returns the number of holders that have been seen to leave.
    pub(crate) fn departures(&self) -> u64 {
        self.departures
    }

    /// Returns the time for which this version of the entry has been observed.
    pub(crate) fn watched_for(&self, entry: &SharedEntry, at: ClockReading) -> Duration {
        self.find(entry).map_or(Duration::ZERO, |watch| at.waiter_elapsed_since(watch.received_at.0))
    }

    /// Returns the time until the first of the observed leases has been observed for its whole length.
    pub(crate) fn expires_in(&self, at: ClockReading) -> Option<Duration> {
        let left = |watch: &EntryWatch| watch.lease.saturating_sub(at.waiter_elapsed_since(watch.received_at.0));
        // A live child process of a holder keeps its entry from expiring by observation.
        self.seen.iter().map(left).filter(|left| !left.is_zero()).min()
    }

    fn find(&self, entry: &SharedEntry) -> Option<EntryWatch> {
        let is_same = |watch: &&EntryWatch| {
            watch.lease_id == entry.holder.lease_id
                && watch.renewal_seq == entry.renewal_seq
                && watch.lease == entry.lease
        };
        self.seen.iter().find(is_same).cloned()
    }
}

impl EntryWatch {
    fn new(entry: &SharedEntry, at: ClockReading) -> Self {
        Self {
            lease_id: entry.holder.lease_id.clone(),
            renewal_seq: entry.renewal_seq,
            lease: entry.lease,
            received_at: ReceivedAt(at),
        }
    }
}
