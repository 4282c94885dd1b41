//! [`Lease`]: the attributes that a new holder writes.

use crate::{Change, FencingToken, LeaseId, attr, change::increment, change::remove, change::set};

/// Attributes that an acquisition writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Lease ID of this operation.
    pub lease_id: LeaseId,
    /// Token floor: if the row has no token, the new token is this plus one.
    pub token_floor: FencingToken,
    /// Lease of the holder, in milliseconds.
    pub lease_ms: u64,
    /// End of the lease.
    pub ends: Ends,
    /// Human-readable label of the holder.
    pub owner: String,
    /// Time of the acquisition on the holder's wall clock, in milliseconds since 1970.
    pub acquired_on: u64,
    /// Payload. `None` keeps the present one.
    pub data: Option<String>,
    /// Liveness key, with which the SQLite store finds out whether the holder is alive.
    pub liveness_key: Option<String>,
}

/// Attributes that a handover writes. The time of the acquisition stays, because the client still holds the lock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NextLease {
    /// Lease ID of the next holder.
    pub lease_id: LeaseId,
    /// Lease of the next holder, in milliseconds.
    pub lease_ms: u64,
    /// End of the lease.
    pub ends: Ends,
    /// Human-readable label of the next holder.
    pub owner: String,
    /// Payload. `None` keeps the present one.
    pub data: Option<String>,
    /// Liveness key, with which the SQLite store finds out whether the holder is alive.
    pub liveness_key: Option<String>,
}

/// End of a lease as written to the row. The attributes `expiresOn`, `expiryClock` and `ttl` always change together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    /// End of the lease, in milliseconds since 1970.
    pub expires_on: u64,
    /// Whether `expires_on` is a service timestamp: an upper bound of the lease's end on the service clock.
    pub service_timestamp: bool,
    /// Time for DynamoDB's TTL, in seconds since 1970.
    pub ttl: u64,
}

impl Lease {
    pub(crate) fn changes(&self) -> Vec<Change> {
        let mut changes = vec![
            set(attr::V, 1.into()),
            set(attr::LEASE_ID, self.lease_id.as_str().into()),
            increment(attr::TOKEN, self.token_floor.get()),
            set(attr::RENEWAL_SEQ, 0.into()),
            set(attr::LEASE_MS, self.lease_ms.into()),
            set(attr::OWNER, self.owner.as_str().into()),
            set(attr::ACQUIRED_ON, self.acquired_on.into()),
        ];
        changes.extend(self.ends.changes());
        changes.extend(self.data.as_deref().map(|data| set(attr::DATA, data.into())));
        changes.extend([liveness_key(self.liveness_key.as_deref()), remove(attr::REVOKED_TOKEN)]);
        changes
    }
}

impl NextLease {
    pub(crate) fn changes(&self) -> Vec<Change> {
        let mut changes = vec![
            set(attr::LEASE_ID, self.lease_id.as_str().into()),
            set(attr::RENEWAL_SEQ, 0.into()),
            set(attr::LEASE_MS, self.lease_ms.into()),
            set(attr::OWNER, self.owner.as_str().into()),
        ];
        changes.extend(self.ends.changes());
        changes.extend(self.data.as_deref().map(|data| set(attr::DATA, data.into())));
        changes.extend([liveness_key(self.liveness_key.as_deref()), remove(attr::REVOKED_TOKEN)]);
        changes
    }
}

/// Returns the change that sets or removes the liveness key.
fn liveness_key(key: Option<&str>) -> Change {
    key.map_or(remove(attr::LIVENESS_KEY), |key| set(attr::LIVENESS_KEY, key.into()))
}

impl Ends {
    pub(crate) fn changes(&self) -> [Change; 3] {
        let clock = match self.service_timestamp {
            true => set(attr::EXPIRY_CLOCK, attr::SERVICE_CLOCK.into()),
            false => remove(attr::EXPIRY_CLOCK),
        };
        [set(attr::EXPIRES_ON, self.expires_on.into()), clock, set(attr::TTL, self.ttl.into())]
    }
}
