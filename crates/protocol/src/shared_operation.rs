//! [`Operation`]: one write of an acquisition to a shared row, with its retries.

use crate::{
    Access, Deadline, EntryLease, LeaseId, NewEntry, Now, Op, OpKind, Request, Role, SentAt, SharedEntry, SharedHolder,
    SharedOp, SharedWrite, Timing, lease_end::ends, lease_end::shared_ttl, retry::RepeatedWrite,
    shared_waiter::NextWrite, takeover::token_floor, time::millis,
};

/// Maximum length of the owner in an entry, in bytes, because each write costs the size of the whole row.
const OWNER_MAX: usize = 64;

/// One write, repeated identically until it has a usable response.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Operation {
    pub(crate) write: RepeatedWrite,
    pub(crate) step: NextWrite,
    /// Entry that the write adds or changes. `None` for an eviction.
    pub(crate) own: Option<SharedHolder>,
    /// Number that a renewal or a promotion writes, 0 for a new entry.
    pub(crate) renewal_seq: u64,
    /// Time before the first byte of its first attempt (R1).
    pub(crate) sent_at: SentAt,
    /// End of the validity of its lease.
    pub(crate) validity: Deadline,
}

/// Announcement of a writer that waits. The writer relies on nothing until it is promoted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Announcement {
    pub(crate) lease_id: LeaseId,
    /// Last number that was sent. It is used up, whether it was answered or not.
    pub(crate) renewal_seq: u64,
    /// Time before the last write that has extended it was sent.
    pub(crate) renewed: SentAt,
}

impl Operation {
    /// Begins a write. Its `sent_at` is now, before its first byte (R1). A renewal or promotion uses up a number of the
    /// announcement.
    pub(crate) fn begin(
        request: &Request,
        access: Access,
        step: NextWrite,
        announced: &mut Option<Announcement>,
        now: &Now<'_>,
    ) -> Self {
        let (own, renewal_seq, op) = shared_op(new_entry(request, now), access, &step, announced.as_mut(), now);
        let write = SharedWrite { ttl: shared_ttl(now), op };
        let write = RepeatedWrite::new(Op::new(&request.name, access.kind, OpKind::Shared(write), now));
        let sent_at = SentAt(now.at);
        let validity = Deadline::new(sent_at, Timing::validity(request.timing.lease()));
        Self { write, step, own, renewal_seq, sent_at, validity }
    }

    /// Returns whether the entry is as this write leaves it, so that the writer holds the row.
    pub(crate) fn has_written(&self, entry: &SharedEntry) -> bool {
        let role = self.own.as_ref().map(|own| own.role);
        Some(entry.holder.role) == role && entry.renewal_seq == self.renewal_seq
    }
}

/// Returns the write of this step, the entry that it adds or changes, and the number that it writes.
fn shared_op(
    entry: NewEntry,
    access: Access,
    step: &NextWrite,
    announced: Option<&mut Announcement>,
    now: &Now<'_>,
) -> (Option<SharedHolder>, u64, SharedOp) {
    let Access { limit, is_exclusive: exclusive, .. } = access;
    let own = |role| Some(SharedHolder { lease_id: entry.lease_id.clone(), role });
    match (step, announced) {
        (NextWrite::Evict { holder, seen_seq }, _) => {
            (None, 0, SharedOp::Evict { holder: holder.clone(), seen_seq: *seen_seq })
        }
        (NextWrite::RenewAnnouncement | NextWrite::Promote, Some(announced)) => {
            announced.renewal_seq = announced.renewal_seq.saturating_add(1);
            let renewal_seq = announced.renewal_seq;
            let lease = EntryLease { renewal_seq, lease_ms: entry.lease_ms, expires_on: entry.expires_on };
            let lease_id = announced.lease_id.clone();
            match step {
                NextWrite::Promote => {
                    let own = SharedHolder { lease_id: lease_id.clone(), role: Role::Exclusive };
                    (Some(own), renewal_seq, SharedOp::Promote { lease_id, lease, acquired_on: now.at.wall_ms })
                }
                _ => {
                    let holder = SharedHolder { lease_id, role: Role::Waiting };
                    (Some(holder.clone()), renewal_seq, SharedOp::Renew { holder, token: None, lease })
                }
            }
        }
        (NextWrite::Announce, _) => (own(Role::Waiting), 0, SharedOp::Announce { entry }),
        (NextWrite::Create, _) => {
            let token_floor = token_floor(None, now);
            (own(access.role()), 0, SharedOp::Create { limit, token_floor, exclusive, entry })
        }
        _ if exclusive => (own(access.role()), 0, SharedOp::TakeExclusive { entry }),
        _ => (own(access.role()), 0, SharedOp::Join { limit, entry }),
    }
}

fn new_entry(request: &Request, now: &Now<'_>) -> NewEntry {
    let lease = request.timing.lease();
    let ends = ends(lease, now);
    let mut owner = request.owner.clone();
    owner.truncate(owner.floor_char_boundary(OWNER_MAX));
    NewEntry {
        lease_id: LeaseId::from_random(now.entropy.lease_id),
        lease_ms: millis(lease),
        expires_on: ends.service_timestamp.then_some(ends.expires_on),
        owner,
        acquired_on: now.at.wall_ms,
        liveness_key: request.liveness_key.clone(),
    }
}
