//! [`Takeover`]: a write that ends the expired lease of another holder, as observers see it.

use dynamo_lock_protocol::{Holder, LeaseId, Machine, Op, OpKind, Outcome, SharedOp, attr};

/// A write that ends an expired lease.
pub(crate) struct Takeover {
    /// Lease ID of the new lease. `None` if the write only removes an entry of a row with several holders.
    new_lease: Option<LeaseId>,
    /// The holder of the expired lease, as far as it is known.
    pub(crate) holder: Holder,
}

impl Takeover {
    /// Returns the takeover if this write of the machine is one.
    pub(crate) fn of(op: &Op, machine: &impl Machine) -> Option<Self> {
        match &op.kind {
            OpKind::TakeOver { lease, seen_token, .. } => {
                let known = machine.holder().filter(|holder| holder.token == *seen_token);
                let holder = known.unwrap_or_else(|| Holder { token: *seen_token, ..Holder::default() });
                Some(Self { new_lease: Some(lease.lease_id.clone()), holder })
            }
            OpKind::Shared(write) => {
                let SharedOp::Evict { holder, .. } = &write.op else { return None };
                let lease_id = Some(holder.lease_id.clone());
                let known = machine.holder().filter(|known| known.lease_id == lease_id);
                let holder = known.unwrap_or_else(|| Holder { lease_id, ..Holder::default() });
                Some(Self { new_lease: None, holder })
            }
            _ => None,
        }
    }

    /// Returns whether this outcome shows that the write was applied.
    pub(crate) fn is_applied(&self, outcome: &Outcome) -> bool {
        match (outcome, &self.new_lease) {
            (Outcome::Applied(_), None) => true,
            // Without the row, the repetition of the write shows it.
            (Outcome::Applied(row) | Outcome::Conflict(row), Some(lease_id)) => {
                row.as_ref().and_then(|row| row.text(attr::LEASE_ID)) == Some(lease_id.as_str())
            }
            _ => false,
        }
    }
}
