//! [`Abandoned`]: the abandoned operations of an acquisition.

use crate::LeaseId;

/// Maximum number of lease IDs that are remembered.
const COUNT_MAX: usize = 16;

/// Lease IDs of an acquisition's abandoned operations. Their leases are never adopted, but may be ended at once, because
/// no guard relies on them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Abandoned(Vec<LeaseId>);

impl Abandoned {
    /// Remembers the lease ID of an operation, and forgets the oldest one if there are too many.
    pub(crate) fn push(&mut self, lease_id: LeaseId) {
        if self.0.len() == COUNT_MAX {
            self.0.remove(0);
        }
        self.0.push(lease_id);
    }

    pub(crate) fn contains(&self, lease_id: &LeaseId) -> bool {
        self.0.contains(lease_id)
    }
}
