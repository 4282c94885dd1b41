//! [`EntryRelease`]: the part of a release that concerns an entry of a shared row.

use crate::{LeaseId, LockName, Now, Op, Path, ReleaseEnd, Role, Row, attr, held_entry::HeldEntry};

/// Release of an entry of a shared row: of a guard's entry, or of what an abandoned operation may have left.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EntryRelease {
    pub(crate) entry: HeldEntry,
    /// Whether a guard held the entry. Otherwise the operation that it was to come from was abandoned, and the entry of a
    /// writer may hold the row or wait.
    pub(crate) was_held: bool,
}

/// Meaning of a conflict.
pub(crate) enum EntryConflict {
    /// The release has ended.
    End(ReleaseEnd),
    /// The writer's entry has the other role, so that another write removes it.
    OtherRole,
}

impl EntryRelease {
    /// Returns the write that removes the entry.
    pub(crate) fn op(&self, name: &LockName, now: &Now<'_>) -> Op {
        Op::new(name, self.entry.kind, self.entry.leave(now), now)
    }

    /// Returns the meaning of a conflict with `row`. `ambiguous` is whether an earlier attempt was not answered, and
    /// `expired` whether the lease has ended.
    pub(crate) fn read_conflict(&mut self, row: Option<&Row>, ambiguous: bool, expired: bool) -> EntryConflict {
        if !self.was_held {
            let Some(role) = row.and_then(|row| self.present_role(row)) else {
                return EntryConflict::End(ReleaseEnd::Released);
            };
            self.entry.holder.role = role;
            return EntryConflict::OtherRole;
        }
        let loss = self.entry.loss_reason(row);
        let is_as_before =
            |row: &Row| row.text(attr::FORCED_LEASE_ID).map(LeaseId::from) == Some(self.entry.forced.clone());
        EntryConflict::End(match (ambiguous, expired) {
            (false, _) => ReleaseEnd::Lost(loss),
            // Before the end of the lease, an entry disappears only by the unanswered attempt or by force.
            (true, false) if row.is_some_and(is_as_before) => ReleaseEnd::Released,
            // Also if this holder was forced out: a late copy of its join may have brought the entry back before that.
            (true, _) => ReleaseEnd::Unknown,
        })
    }

    /// Returns the role of the writer's entry in `row`, if that is another one than the write was for.
    fn present_role(&self, row: &Row) -> Option<Role> {
        let role = self.entry.holder.role;
        if !role.is_writer() || !self.entry.is_in(row) {
            return None;
        }
        let is_held = row.at(&Path::Field(self.entry.holder.key(), attr::HELD)).is_some();
        let present = if is_held { Role::Exclusive } else { Role::Waiting };
        (present != role).then_some(present)
    }
}
