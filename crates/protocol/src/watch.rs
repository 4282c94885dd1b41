//! Observation of a held row by a waiter, and the holder that a row describes.

use std::time::{Duration, SystemTime};

use crate::{
    ClockReading, EXPIRY_PAD, EndedHold, FencingToken, HoldEnd, Kind, LeaseId, Now, ReceivedAt, RecordVersion, Row,
    SharedEntry, SharedRow, attr, lease_end::shown_end, time::millis, time::system_time,
};

/// The holder of a lock, as described by the lock's row.
///
/// Every client with access to the table can write these fields, so escape the texts before printing them on a
/// terminal, for example by printing them with `{:?}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Holder {
    /// Label that the holder chose, with its host, process ID and instance ID, for example
    /// `worker-7 (host-3, pid 4711, 1a2b3c4d)`.
    pub owner: Option<String>,
    /// Fencing token of the holder. `None` for a row that npm dynamo-lock wrote.
    pub token: Option<FencingToken>,
    /// Lease ID of the acquisition. `None` for a row that npm dynamo-lock wrote.
    pub lease_id: Option<LeaseId>,
    /// Time of the acquisition on the holder's wall clock.
    pub acquired_at: Option<SystemTime>,
    /// Lease of the holder: if the holder crashes, a waiting client acquires the lock after this time.
    pub lease: Option<Duration>,
    /// End of the lease, without the pad that the row adds to it. Only for display: the value may come from a wall
    /// clock, so a comparison with another clock does not show whether the lease has expired.
    pub expires_at: Option<SystemTime>,
    /// Payload that the holder stored.
    pub data: Option<String>,
    /// Whether an operator has revoked the acquisition. The holder cannot renew its lease then, but other clients still
    /// wait for the end of the lease.
    pub revoked: bool,
}

impl Holder {
    /// Returns the holder that `row` describes at this time. Attributes that are missing or malformed are `None`.
    pub fn of(row: &Row, now: &Now<'_>) -> Self {
        Self {
            owner: row.text(attr::OWNER).map(str::to_owned),
            token: row.token(),
            lease_id: row.text(attr::LEASE_ID).map(LeaseId::from),
            acquired_at: row.whole(attr::ACQUIRED_ON).map(system_time),
            lease: row.whole(attr::LEASE_MS).map(Duration::from_millis),
            expires_at: shown_end(row, now).map(system_time),
            data: row.text(attr::DATA).map(str::to_owned),
            revoked: row.whole(attr::REVOKED_TOKEN).is_some(),
        }
    }
}

impl Holder {
    /// Returns the holder that an entry of a shared row describes. Holders of a semaphore have no token.
    pub fn of_entry(entry: &SharedEntry, row: &SharedRow) -> Self {
        let shown_end = |end: u64| system_time(end.saturating_sub(millis(EXPIRY_PAD)));
        Self {
            owner: entry.owner.clone(),
            token: Some(row.token).filter(|_| row.kind == Kind::RwLock),
            lease_id: Some(entry.holder.lease_id.clone()),
            acquired_at: entry.acquired_on.map(system_time),
            lease: Some(entry.lease),
            expires_at: entry.expires_on.map(shown_end),
            data: None,
            revoked: entry.revoked,
        }
    }
}

/// Result of a liveness check: whether the process that holds a lock is alive, as far as the store can find out.
///
/// DynamoDB always returns `Unknown`. SQLite on Linux checks byte locks of the kernel. The check begins *after* the row
/// was read, because the holder may start a child process between the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Liveness {
    /// The store does not know, so only the lease counts.
    #[default]
    Unknown,
    /// The process exists, but it may be stopped, so only the lease counts.
    ProcessAlive,
    /// A child process that was started under the lock is alive. The lock is not taken over even if its lease has
    /// expired, because the child may still be working.
    ChildAlive,
    /// The process and all its children have ended, for ever. The lock can be taken over at once.
    Dead,
}

/// Observation of one version of a held row.
///
/// A client keeps its watches between acquisitions, so that several short attempts add up to one long observation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Watch {
    /// Version of the observed row. Every write changes it.
    pub(crate) version: RecordVersion,
    /// Token of the observed row.
    pub(crate) token: Option<FencingToken>,
    /// Lease stored in the row (R2); the client's own lease is irrelevant here. `None` for rows of npm dynamo-lock.
    pub(crate) lease: Option<Duration>,
    /// Time at which the first response with this version had arrived (R2).
    pub(crate) received_at: ReceivedAt,
    /// For a row without a token: a second of service time by which this version existed already. The next token must
    /// be derived from a later second, because two holders could otherwise get the same token.
    pub(crate) tokenless_since: Option<u64>,
    /// Whether the row has recorded the end of this hold already, because its lease was revoked.
    pub(crate) is_revoked: bool,
    /// Holder that the row describes.
    pub holder: Holder,
}

impl Watch {
    /// Returns the time until this version may be taken over, zero if that time has come (R2). Returns `None` for a row
    /// without a lease.
    pub(crate) fn expires_in(&self, at: ClockReading) -> Option<Duration> {
        let lease = self.lease?;
        Some(lease.saturating_sub(at.waiter_elapsed_since(self.received_at.0)))
    }

    /// Returns the record of the hold that a takeover sent at this time ends. `None` for rows of npm dynamo-lock, and if
    /// the end of the hold is recorded already.
    pub(crate) fn ended(&self, at: ClockReading) -> Option<EndedHold> {
        let is_native = self.lease.is_some();
        let shown_end = self.holder.expires_at.filter(|_| is_native && !self.is_revoked)?;
        let shown_end = shown_end.duration_since(SystemTime::UNIX_EPOCH).map_or(0, millis);
        // The lock may be taken over early, for example if the holder's process has ended.
        Some(EndedHold::new(HoldEnd::Expired, shown_end.min(at.wall_ms)))
    }
}
