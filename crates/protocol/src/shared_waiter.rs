//! [`SharedWaiter`]: decisions of a waiter about a shared row.
//!
//! `shared_acquire.rs` runs the loop and sends the writes. `expiry.rs` decides whether the lease of an entry has expired.

use std::time::Duration;

use crate::{
    Access, ClockReading, Evidence, Expiry, LeaseId, Now, Response, Role, SharedEntry, SharedHolder, SharedRow,
    abandoned::Abandoned, entry_expiry, entry_watches::EntryWatches,
};

/// Next write of an acquisition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum NextWrite {
    /// Creates the row with the own entry.
    Create,
    /// Joins the other holders, or takes the row alone.
    Enter,
    /// Announces a writer that waits.
    Announce,
    /// Renews the announcement.
    RenewAnnouncement,
    /// Makes the announced writer the holder.
    Promote,
    /// Removes an expired entry.
    Evict {
        /// The entry.
        holder: SharedHolder,
        /// Renewal sequence number that was observed.
        seen_seq: u64,
    },
}

impl NextWrite {
    /// Returns whether the write adds an entry that holds the row.
    pub(crate) fn enters(&self) -> bool {
        matches!(self, Self::Create | Self::Enter)
    }

    /// Returns whether the write adds an entry with a fresh lease ID.
    pub(crate) fn adds_entry(&self) -> bool {
        matches!(self, Self::Create | Self::Enter | Self::Announce)
    }
}

/// Decision about a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Send this write.
    Write(NextWrite),
    /// Wait for this entry.
    Wait(SharedEntry),
}

/// Facts that a waiting acquisition knows about a shared row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SharedWaiter {
    pub(crate) access: Access,
    watches: EntryWatches,
    abandoned: Abandoned,
}

impl SharedWaiter {
    pub(crate) fn new(access: Access) -> Self {
        Self { access, watches: EntryWatches::default(), abandoned: Abandoned::default() }
    }

    /// Remembers the lease ID of an abandoned operation. Its entry is never adopted, but may be evicted at once.
    pub(crate) fn abandon(&mut self, lease_id: LeaseId) {
        self.abandoned.push(lease_id);
    }

    /// Continues the observation of the entries.
    pub(crate) fn observe(&mut self, row: &SharedRow, at: ClockReading) {
        self.watches.observe(row, at);
    }

    /// Returns the number of holders that have been seen to leave.
    pub(crate) fn departures(&self) -> u64 {
        self.watches.departures()
    }

    /// Returns the time until the first of the observed leases expires.
    pub(crate) fn expires_in(&self, at: ClockReading) -> Option<Duration> {
        self.watches.expires_in(at)
    }

    /// Decides about a row that was observed. `announced` is the lease ID of the own announcement, `waits` whether this
    /// acquisition waits for others.
    pub(crate) fn decide(
        &self,
        now: &Now<'_>,
        row: &SharedRow,
        response: Response<'_>,
        announced: Option<&LeaseId>,
        waits: bool,
    ) -> Decision {
        let others = || row.entries.iter().filter(|entry| announced != Some(&entry.holder.lease_id));
        let expired = |entry: &&SharedEntry| self.has_expired(now, entry, response);
        let evict = |entry: &SharedEntry| {
            Decision::Write(NextWrite::Evict { holder: entry.holder.clone(), seen_seq: entry.renewal_seq })
        };
        if let Some(writer) = others().find(|entry| entry.holder.role != Role::Shared) {
            return if expired(&writer) { evict(writer) } else { Decision::Wait(writer.clone()) };
        }
        if !self.access.is_exclusive {
            let is_full = row.entries.len() as u64 >= self.access.limit;
            return match (is_full, others().find(expired), others().next()) {
                (true, Some(entry), _) => evict(entry),
                (true, None, Some(entry)) => Decision::Wait(entry.clone()),
                _ => Decision::Write(NextWrite::Enter),
            };
        }
        let live = others().find(|entry| !expired(entry));
        let is_announced = announced.is_some_and(|lease_id| row.entry(lease_id).is_some());
        match (live, others().next()) {
            (None, None) if is_announced => Decision::Write(NextWrite::Promote),
            (None, None) if announced.is_none() => Decision::Write(NextWrite::Enter),
            // Without the own announcement the read is stale, or the announcement is lost. A write shows which.
            (None, None) => Decision::Write(NextWrite::RenewAnnouncement),
            (Some(_), _) if announced.is_none() && waits => Decision::Write(NextWrite::Announce),
            (Some(entry), _) if !waits => Decision::Wait(entry.clone()),
            (live, _) => match (others().find(expired), live) {
                (Some(entry), _) => evict(entry),
                (None, Some(entry)) => Decision::Wait(entry.clone()),
                (None, None) => Decision::Write(NextWrite::Enter),
            },
        }
    }

    fn has_expired(&self, now: &Now<'_>, entry: &SharedEntry, response: Response<'_>) -> bool {
        if self.abandoned.contains(&entry.holder.lease_id) {
            return true;
        }
        let evidence = Evidence {
            at: now.at,
            service: now.service,
            date: response.date,
            liveness: response.liveness_of(entry.liveness_key.as_deref()),
            watch: None,
            legacy_skew: Duration::ZERO,
        };
        entry_expiry(entry, self.watches.watched_for(entry, now.at), &evidence) == Expiry::Expired
    }
}
