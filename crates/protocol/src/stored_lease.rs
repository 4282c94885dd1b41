//! The lease of a holder as it is in the row, or in an entry of a shared row.

use crate::{Ends, Now, OpKind, Row, SharedOp, SharedWrite, attr, held_entry::HeldEntry};

/// End of a lease in a row or in an entry, and the number of its renewal.
pub(crate) struct StoredEnd {
    pub(crate) expires_on: Option<u64>,
    pub(crate) service_timestamp: bool,
    pub(crate) renewal_seq: u64,
}

impl StoredEnd {
    pub(crate) fn of(row: &Row, entry: Option<&HeldEntry>) -> Self {
        let (expires_on, service_timestamp, renewal_seq) = match entry {
            Some(entry) => (entry.expires_on(row), entry.expires_on(row).is_some(), entry.renewal_seq(row)),
            None => (row.whole(attr::EXPIRES_ON), row.has_service_timestamp(), row.whole(attr::RENEWAL_SEQ)),
        };
        Self { expires_on, service_timestamp, renewal_seq: renewal_seq.unwrap_or(0) }
    }
}

/// Returns whether a lease must be bounded by the row's own `expiresOn` (R6). An entry without it expires by observation
/// alone.
pub(crate) fn needs_bound(is_entry: bool, expires_on: Option<u64>, now: &Now<'_>) -> bool {
    now.service.is_some() && !(is_entry && expires_on.is_none())
}

/// The lease that a renewal has written.
pub(crate) struct WrittenLease {
    pub(crate) lease_ms: u64,
    pub(crate) data: Option<String>,
    pub(crate) expires_on: Option<u64>,
    pub(crate) service_timestamp: bool,
}

impl WrittenLease {
    pub(crate) fn of(kind: OpKind) -> Option<Self> {
        match kind {
            OpKind::Renew { lease_ms, data, ends: Ends { expires_on, service_timestamp, .. }, .. } => {
                Some(Self { lease_ms, data, expires_on: Some(expires_on), service_timestamp })
            }
            OpKind::Shared(SharedWrite { op: SharedOp::Renew { lease, .. }, .. }) => Some(Self {
                lease_ms: lease.lease_ms,
                data: None,
                expires_on: lease.expires_on,
                service_timestamp: lease.expires_on.is_some(),
            }),
            _ => None,
        }
    }
}
