//! Check of children that outlive their process: while such a child lives, no client acquires what its parent held.

use std::{collections::BTreeSet, os::fd::OwnedFd, sync::Arc, time::Duration};

use dynamo_lock::Guard;
use dynamo_lock_protocol::{Op, OpKind, Row, SharedOp, attr};

use crate::world::{Process, World, actors::sharing::SharedHold, lock};

/// Living children of processes that have crashed.
#[derive(Default)]
pub struct Children(Vec<Child>);

struct Child {
    /// Time at which it ends.
    until: Duration,
    /// Lease IDs that its parent held when it crashed.
    leases: BTreeSet<String>,
    /// Descriptor that it has inherited.
    _liveness: OwnedFd,
}

impl World {
    /// Records a child that was started immediately before its parent crashed, with what the parent held then. A holder
    /// relies on the child only for guards that are valid after the child's byte was locked.
    pub fn record_child(
        &self,
        parent: &Process,
        liveness: OwnedFd,
        until: Duration,
        guards: &[Arc<Guard>],
        shared: &[Arc<SharedHold>],
    ) {
        let guards = guards.iter().filter(|guard| guard.is_valid()).filter_map(|guard| guard.lease_id());
        let shared = shared.iter().filter(|hold| hold.is_valid()).filter_map(|hold| hold.lease_id());
        let leases: BTreeSet<_> = guards.chain(shared).map(|lease_id| lease_id.as_str().to_owned()).collect();
        self.trace(|| format!("{parent:?} leaves a child until {until:?}, which holds {leases:?}"));
        self.count("child of a crashed process");
        if !leases.is_empty() {
            self.count("child of a crashed holder");
        }
        lock(&self.children).0.push(Child { until, leases, _liveness: liveness });
    }

    /// Ends the children whose time has come by `now`.
    pub fn end_children(&self, now: Duration) {
        lock(&self.children).0.retain(|child| child.until > now);
    }

    /// Checks a write that was applied to the row `before`: it does not take over the lease that a living child holds,
    /// and does not evict its entry. Only an operator and the parent's own late requests may end such a lease.
    pub fn check_children(&self, process: &Process, op: &Op, before: &Row) {
        let ended = match &op.kind {
            OpKind::TakeOver { .. } => before.text(attr::LEASE_ID),
            OpKind::Shared(write) => match &write.op {
                SharedOp::Evict { holder, .. } => Some(holder.lease_id.as_str()),
                _ => None,
            },
            _ => None,
        };
        let Some(ended) = ended else { return };
        let is_held = lock(&self.children).0.iter().any(|child| child.leases.contains(ended));
        self.check(!is_held, "A (child)", || {
            format!("{process:?} ends the lease {ended} of {}, which a living child holds", op.name)
        });
    }
}
