//! [`HeldEntry`]: what distinguishes a held entry of a shared row from a held plain lock.

use crate::{
    Condition, Ends, EntryLease, FencingToken, Kind, LeaseId, LossReason, Now, OpKind, Path, Row, SharedHolder,
    SharedOp, SharedWrite, Value, attr, holds, lease_end::shared_ttl,
};

/// Entry of a shared row that a client holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HeldEntry {
    /// Kind of the row.
    pub(crate) kind: Kind,
    /// The entry.
    pub(crate) holder: SharedHolder,
    /// Lease ID of the holder that was forced out last before the acquisition.
    pub(crate) forced: LeaseId,
}

impl HeldEntry {
    /// Returns the write that renews the lease of the entry.
    pub(crate) fn renewal(
        &self,
        token: FencingToken,
        renewal_seq: u64,
        lease_ms: u64,
        ends: Ends,
        now: &Now<'_>,
    ) -> OpKind {
        let lease = EntryLease { renewal_seq, lease_ms, expires_on: ends.service_timestamp.then_some(ends.expires_on) };
        self.write(SharedOp::Renew { holder: self.holder.clone(), token: Some(token), lease }, now)
    }

    /// Returns the write that removes the entry.
    pub(crate) fn leave(&self, now: &Now<'_>) -> OpKind {
        self.write(SharedOp::Leave { holder: self.holder.clone() }, now)
    }

    fn write(&self, op: SharedOp, now: &Now<'_>) -> OpKind {
        OpKind::Shared(SharedWrite { ttl: shared_ttl(now), op })
    }

    /// Returns the condition that holds on the row for as long as the entry holds it under `token`.
    pub(crate) fn condition(&self, token: FencingToken) -> Condition {
        self.holder.holds_under(self.kind, token)
    }

    /// Returns whether the row has the renewal with this number, and the entry still holds it.
    pub(crate) fn was_renewed(&self, row: &Row, token: FencingToken, renewal_seq: u64) -> bool {
        self.whole(row, attr::RENEWAL_SEQ) == Some(renewal_seq) && holds(Some(row), &self.condition(token))
    }

    /// Returns the renewal sequence number of the entry.
    pub(crate) fn renewal_seq(&self, row: &Row) -> Option<u64> {
        self.whole(row, attr::RENEWAL_SEQ)
    }

    /// Returns the end of the entry's lease as a service timestamp, if it has one.
    pub(crate) fn expires_on(&self, row: &Row) -> Option<u64> {
        self.whole(row, attr::EXPIRES_ON)
    }

    fn whole(&self, row: &Row, field: &'static str) -> Option<u64> {
        match row.at(&Path::Field(self.holder.key(), field)) {
            Some(Value::N(number)) => number.whole(),
            _ => None,
        }
    }

    /// Returns the reason for which the entry does not hold `row` any more.
    pub(crate) fn loss_reason(&self, row: Option<&Row>) -> LossReason {
        let Some(row) = row else { return LossReason::RowGone };
        let is_revoked = self.is_in(row) && row.at(&Path::Field(self.holder.key(), attr::REVOKED)).is_some();
        match is_revoked || self.was_forced_out(row) {
            true => LossReason::Revoked,
            false => LossReason::TakenOver,
        }
    }

    /// Returns whether the row contains the entry, in whatever role it may be.
    pub(crate) fn is_in(&self, row: &Row) -> bool {
        match row.at(&Path::Entry(self.holder.key())) {
            Some(Value::Map(fields)) if self.holder.role.is_writer() => {
                fields.get(attr::LEASE_ID) == Some(&self.holder.lease_id.as_str().into())
            }
            entry => entry.is_some() && !self.holder.role.is_writer(),
        }
    }

    /// Returns whether the holder was forced out, and none after it.
    pub(crate) fn was_forced_out(&self, row: &Row) -> bool {
        row.text(attr::FORCED_LEASE_ID) == Some(self.holder.lease_id.as_str())
    }
}
