//! [`LossReason`]: why a lock was lost.

use crate::{FencingToken, Row, attr};

/// Reason why a lock was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LossReason {
    /// The lease expired, because no renewal was known to be applied in time.
    Expired,
    /// The row shows another acquisition: another client has acquired the lock, and may have released it since.
    TakenOver,
    /// An operator revoked the lease.
    Revoked,
    /// The row does not exist any more, because it or its table was deleted.
    RowGone,
    /// The lock was held for the maximum time that its options allow, `LockOptions::max_hold`.
    MaxHold,
    /// The host was suspended, or its wall clock jumped, past the end of the lease. Also the reason in a forked child.
    Suspended,
    /// The task that renews the lease ended early, because its runtime was shut down or a callback panicked.
    RenewalStopped,
}

/// Returns the reason for which a holder with this token does not hold `row` any more.
pub(crate) fn loss_reason(row: Option<&Row>, token: FencingToken) -> LossReason {
    match row {
        None => LossReason::RowGone,
        Some(row) if row.whole(attr::REVOKED_TOKEN) == Some(token.get()) => LossReason::Revoked,
        Some(_) => LossReason::TakenOver,
    }
}
