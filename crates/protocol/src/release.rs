//! Release of a lock by its holder.

use std::convert::Infallible;
use std::time::Duration;

use crate::{
    Body, Deadline, EndedHold, FencingToken, Held, HoldHistory, Kind, LeaseId, LockName, LossReason, Machine, Now, Op,
    OpKind, Outcome, Refusal, Response, Row, RowState, SentAt, Step, attr, entry_release::EntryConflict,
    entry_release::EntryRelease, held_entry::HeldEntry, lease_end::ttl, loss::loss_reason, retry::RETRY_MAX,
    retry::RepeatedWrite, validity::Validity,
};

/// Result of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReleaseEnd {
    /// The lock is released, or there was nothing to clean up.
    Released,
    /// The lock was lost before. Other clients may have held it since.
    Lost(LossReason),
    /// The outcome is unknown. If the lock is still held, it expires within its lease.
    Unknown,
    /// The store refused the release until the lease ended, and certainly has not applied it.
    Refused,
}

/// State machine that releases a lock, or that cleans up after an abandoned acquire. [`Machine`] describes how to call
/// it.
///
/// The machine only writes. It retries the identical write until the lease would have ended, also if the store refuses
/// it, because a missing permission or credentials may come back in time. It may be dropped at any time; the lock
/// expires at the end of its lease then.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Release {
    write: RepeatedWrite,
    lease_id: LeaseId,
    /// `None` when cleaning up, because the acquire never received its token.
    token: Option<FencingToken>,
    /// Lease ID of an unanswered handover, which is released if the row contains it.
    handed_to: Option<LeaseId>,
    /// Entry of a shared row. `None` for a plain lock.
    entry: Option<Box<EntryRelease>>,
    /// The holder's own validity. The meaning of a conflict depends on it.
    validity: Validity,
    /// Reason of a loss before the release began. One attempt is sent nevertheless, to free the lock early.
    lost: Option<LossReason>,
    /// Whether the store refused the last attempt.
    refused: bool,
    end: Option<ReleaseEnd>,
}

impl Release {
    /// Starts the release of a held lock.
    pub fn of(held: &Held, now: &Now<'_>) -> Self {
        Self::ending(held, Some(held.ended(now.at)), now)
    }

    /// Starts the release of a lock whose acquisition was not reported, so that the row has no record of this hold.
    pub(crate) fn of_unreported(held: &Held, now: &Now<'_>) -> Self {
        Self::ending(held, None, now)
    }

    fn ending(held: &Held, ended: Option<EndedHold>, now: &Now<'_>) -> Self {
        let lost = held.clone().check(now.at);
        // A hold that was lost had no release, so its length means nothing.
        let history = lost.is_none().then(|| held.record().history_after(now.at));
        let held_under = (held.lease_id.clone(), Some(held.token()));
        let mut release = match &held.entry {
            Some(entry) => Self::of_entry(held.name(), (**entry).clone(), held.validity, now),
            None => Self::new((held.name(), held.kind()), held_under, held.validity, (history, ended), now),
        };
        release.lost = lost;
        release.end = match lost {
            Some(loss @ (LossReason::TakenOver | LossReason::RowGone)) => Some(ReleaseEnd::Lost(loss)),
            // A revoked entry is still in its row.
            Some(LossReason::Revoked) if held.entry.is_none() => Some(ReleaseEnd::Lost(LossReason::Revoked)),
            _ => None,
        };
        release
    }

    fn of_entry(name: &LockName, entry: HeldEntry, validity: Validity, now: &Now<'_>) -> Self {
        let (lease_id, kind) = (entry.holder.lease_id.clone(), entry.kind);
        let entry = EntryRelease { entry, was_held: true };
        let write = RepeatedWrite::new(entry.op(name, now));
        Self {
            write,
            entry: Some(Box::new(entry)),
            ..Self::new((name, kind), (lease_id, None), validity, (None, None), now)
        }
    }

    /// Starts the clean-up of an entry that an abandoned operation may have left. It is retried until `until`, when the
    /// lease of the entry would have ended anyway.
    pub(crate) fn clean_up_entry(name: &LockName, entry: HeldEntry, until: Deadline, now: &Now<'_>) -> Self {
        let mut release = Self::of_entry(name, entry, Validity { sent: until, row: None }, now);
        release.entry.iter_mut().for_each(|entry| entry.was_held = false);
        release
    }

    /// Starts the clean-up after an abandoned acquire with this lease ID. It is retried until `until`, when the lease
    /// would have ended anyway.
    pub(crate) fn clean_up(lock: (&LockName, Kind), lease_id: LeaseId, until: Deadline, now: &Now<'_>) -> Self {
        Self::new(lock, (lease_id, None), Validity { sent: until, row: None }, (None, None), now)
    }

    /// Starts the clean-up after an abandoned hold that may last `duration` from now.
    pub(crate) fn of_hold(held: &Held, duration: Duration, now: &Now<'_>) -> Self {
        Self::clean_up((held.name(), held.kind()), held.lease_id.clone(), Deadline::new(SentAt(now.at), duration), now)
    }

    /// Starts the release of a lock that was not handed over. Its user has released it, so its validity may have ended
    /// since without a loss.
    pub(crate) fn instead_of_handover(held: &Held, now: &Now<'_>) -> Self {
        let record = (Some(held.record().history_after(now.at)), Some(held.ended(now.at)));
        Self::new((held.name(), held.kind()), (held.lease_id.clone(), Some(held.token())), held.validity, record, now)
    }

    /// Starts the release of a lock after an unanswered handover to the lease ID `handed_to`. The release prevents a late
    /// copy of the handover from taking effect. If the handover has taken effect, its lease is released. Both are
    /// retried until `until`, when that lease would have ended anyway.
    pub(crate) fn after_handover(held: &Held, handed_to: LeaseId, until: Deadline, now: &Now<'_>) -> Self {
        let validity = Validity { sent: until, row: None };
        let held_under = (held.lease_id.clone(), Some(held.token()));
        let record = (None, Some(held.ended(now.at)));
        let release = Self::new((held.name(), held.kind()), held_under, validity, record, now);
        Self { handed_to: Some(handed_to), ..release }
    }

    fn new(
        lock: (&LockName, Kind),
        (lease_id, token): (LeaseId, Option<FencingToken>),
        validity: Validity,
        record: (Option<HoldHistory>, Option<EndedHold>),
        now: &Now<'_>,
    ) -> Self {
        let write = RepeatedWrite::new(release_op(lock, &lease_id, token, record, now));
        Self { write, lease_id, token, handed_to: None, entry: None, validity, lost: None, refused: false, end: None }
    }

    /// Returns the name of the lock.
    pub fn name(&self) -> &LockName {
        &self.write.op.name
    }

    /// Returns whether the row shows that the unanswered handover took effect.
    fn was_handed_over(&self, row: &Row) -> bool {
        let next = self.handed_to.as_ref().filter(|next| **next != self.lease_id);
        next.is_some_and(|next| row.has_lease_id(next) && !row.is_free())
    }

    /// Releases the lease of the handover, because no guard owns it.
    fn release_next(&mut self, now: &Now<'_>) {
        if let Some(next) = self.handed_to.clone() {
            let record = (None, self.write.op.ended().copied());
            let write = RepeatedWrite::new(release_op((self.name(), self.write.op.row_kind), &next, None, record, now));
            (self.write, self.lease_id, self.token) = (write, next, None);
        }
    }

    /// Takes a conflict with `row`. Returns the result, `None` if another write follows.
    fn conflict(&mut self, now: &Now<'_>, row: Option<&Row>) -> Option<ReleaseEnd> {
        let (ambiguous, expired) = (self.write.ambiguous, self.validity.passed(now.at));
        let Some(entry) = &mut self.entry else { return Some(self.read_conflict(now, row)) };
        match entry.read_conflict(row, ambiguous, expired) {
            EntryConflict::End(end) => Some(end),
            EntryConflict::OtherRole => {
                self.write = RepeatedWrite::new(entry.op(&self.write.op.name, now));
                None
            }
        }
    }

    /// Returns the result of the release of a plain lock after its condition did not hold on `row`.
    fn read_conflict(&self, now: &Now<'_>, row: Option<&Row>) -> ReleaseEnd {
        let freed = |row: &Row| row.has_lease_id(&self.lease_id) && row.is_free();
        let applied = row.is_some_and(|row| row.has_version(&self.write.op.version) || freed(row));
        let Some(token) = self.token.filter(|_| !applied) else {
            return ReleaseEnd::Released;
        };
        let loss = loss_reason(row, token);
        let is_native = |state| matches!(state, Ok(RowState::Free | RowState::Held(_) | RowState::Done(_)));
        let legacy = row.is_some_and(|row| !is_native(row.state()));
        match (self.write.ambiguous, self.validity.passed(now.at)) {
            (_, _) if loss == LossReason::Revoked => ReleaseEnd::Lost(loss),
            (_, _) if self.handed_to.is_some() => ReleaseEnd::Unknown,
            (false, _) => ReleaseEnd::Lost(loss),
            (true, true) => ReleaseEnd::Unknown,
            // A later revocation has replaced the mark of an earlier one, so our lease may have been revoked too.
            (true, false) if row.is_some_and(|row| row.get(attr::REVOKED_TOKEN).is_some()) => ReleaseEnd::Unknown,
            (true, false) if legacy || row.is_none() => ReleaseEnd::Unknown,
            // Another client can hold the lock before our deadline only because the unanswered attempt was applied.
            (true, false) => ReleaseEnd::Released,
        }
    }
}

/// Returns the write that releases a lease. `token` is `None` if it is not known.
fn release_op(
    (name, row_kind): (&LockName, Kind),
    lease_id: &LeaseId,
    token: Option<FencingToken>,
    (history, ended): (Option<HoldHistory>, Option<EndedHold>),
    now: &Now<'_>,
) -> Op {
    let ttl = ttl(Duration::ZERO, now);
    Op::new(name, row_kind, OpKind::Release { lease_id: lease_id.clone(), token, ttl, history, ended }, now)
}

impl Machine for Release {
    type End = ReleaseEnd;
    type CleanUp = Infallible;

    fn next(&mut self, now: &Now<'_>) -> Step<ReleaseEnd> {
        // We always send the first attempt, to free the lock early. Further attempts are useless after the deadline,
        // because another client may hold the lock then.
        if self.end.is_none() && self.write.has_failed() && self.validity.passed(now.at) {
            self.end = Some(match self.lost {
                Some(loss) => ReleaseEnd::Lost(loss),
                None if self.write.ambiguous || self.handed_to.is_some() => ReleaseEnd::Unknown,
                None if self.refused => ReleaseEnd::Refused,
                None => ReleaseEnd::Lost(LossReason::Expired),
            });
        }
        match (self.end, self.write.step(now.at)) {
            (Some(end), _) => Step::Done(end),
            (None, Step::Pause(left)) => Step::Pause(left.min(self.validity.left(now.at))),
            (None, step) => step,
        }
    }

    fn handle(&mut self, now: &Now<'_>, response: Response<'_>) {
        let outcome = match response.body {
            Body::Outcome { outcome, .. } => Some(outcome),
            Body::Refused(Refusal::NoTable) => Some(&Outcome::Conflict(None)),
            Body::Refused(Refusal::Other) => None,
            Body::Row(_) | Body::Unread => return,
        };
        self.refused = outcome.is_none();
        let end = match outcome {
            Some(Outcome::Applied(_)) => ReleaseEnd::Released,
            Some(Outcome::Conflict(Some(row))) if self.was_handed_over(row) => return self.release_next(now),
            Some(Outcome::Conflict(row)) => match self.conflict(now, row.as_ref()) {
                Some(end) => end,
                None => return,
            },
            Some(Outcome::Unknown | Outcome::Throttled) | None => return self.write.retry(outcome, RETRY_MAX, now),
        };
        self.end = Some(self.lost.map_or(end, ReleaseEnd::Lost));
    }
}

/// A release leaves nothing behind, so there is nothing to clean up.
impl From<Infallible> for Release {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
