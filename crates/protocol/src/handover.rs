//! Handover of a held lock to the next waiter of the same client.

use std::time::Duration;

use crate::{
    Body, ClockReading, Deadline, Held, HeldStep, LeaseId, LossReason, Machine, NextLease, Now, Op, OpKind, Outcome,
    Refusal, Release, ReleaseEnd, Request, Response, Row, SentAt, ServiceDate, Step, Timing, Watch, condition::holds,
    held::Won, lease_end::ends, loss::loss_reason, retry::RepeatedWrite, takeover::Waiter, time::millis,
};

/// Result of a [`Handover`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HandoverEnd {
    /// The waiter holds the lock. The result of the old guard's release is [`ReleaseEnd::Released`].
    Done(Box<Held>),
    /// The waiter does not hold the lock, and the handover will not take effect any more. The waiter acquires the lock
    /// in the usual way.
    Failed {
        /// Result of the old guard's release.
        release: ReleaseEnd,
        /// Observation of the other client's lease, with which the waiter's acquisition starts.
        watch: Option<Watch>,
    },
    /// The handover was not answered, or the store refused it. The caller runs this release. Its result is that of the
    /// old guard's release. The waiter acquires the lock in the usual way.
    Unanswered(Box<Release>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Writing,
    Won(Box<Held>),
    Ended(HandoverEnd),
}

/// State machine that passes a held lock to the next waiter of the same client with one write. [`Machine`] describes how
/// to call it.
///
/// The old guard must be invalid before the first call of [`new`](Self::new), because the new one counts from it (R1).
///
/// An unanswered write is repeated identically until the new guard's validity would end, because a write without a
/// response may have been applied. After that, the lock is released: the old lease first, so that a late copy of the
/// handover cannot take effect, or the new lease if the row contains it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Handover {
    old: Box<Held>,
    next: Box<Request>,
    write: RepeatedWrite,
    /// Lease ID of the new guard. It belongs to this operation alone.
    lease_id: LeaseId,
    /// Time before the first byte of the first attempt (R1).
    sent_at: SentAt,
    /// End of the new guard's validity.
    validity: Deadline,
    phase: Phase,
    clean_up: Option<Release>,
}

impl Handover {
    /// Starts the handover of `held` to a waiter with the request `next`. Its payload is written if it has one,
    /// otherwise the pending one of `held`. [`Held::can_hand_over`] must have returned `true`.
    pub fn new(held: &Held, next: &Request, now: &Now<'_>) -> Self {
        let (lease_id, lease) = (LeaseId::from_random(now.entropy.lease_id), next.timing.lease());
        let next_lease = NextLease {
            lease_id: lease_id.clone(),
            lease_ms: millis(lease),
            ends: ends(lease, now),
            owner: next.owner.clone(),
            data: next.data.clone().or_else(|| held.pending_data.as_deref().map(str::to_owned)),
            liveness_key: next.liveness_key.clone(),
        };
        let kind = OpKind::HandOver { lease_id: held.lease_id.clone(), token: held.token(), next: next_lease };
        let sent_at = SentAt(now.at);
        Self {
            old: Box::new(held.clone()),
            next: Box::new(next.clone()),
            write: RepeatedWrite::new(Op::new(held.name(), held.kind(), kind, now)),
            lease_id,
            sent_at,
            validity: Deadline::new(sent_at, Timing::validity(lease)),
            phase: Phase::Writing,
            clean_up: None,
        }
    }

    /// Returns whether the handover is known to have taken effect, so that the old guard is released. The new guard may
    /// still need a renewal before it is reported (R6).
    pub fn has_taken_effect(&self) -> bool {
        matches!(self.phase, Phase::Won(_))
    }

    /// Returns whether a conflict with this row means that an earlier attempt was applied.
    fn was_applied(&self, row: &Row) -> bool {
        row.has_lease_id(&self.lease_id) && !row.is_free() && row.token() == Some(self.old.token().next())
    }

    fn handle_outcome(&mut self, now: &Now<'_>, sent_at: SentAt, outcome: &Outcome, response: Response<'_>) {
        match outcome {
            Outcome::Applied(_) => self.win(now, sent_at, response.date),
            Outcome::Conflict(Some(row)) if self.was_applied(row) => self.win(now, sent_at, response.date),
            Outcome::Conflict(row) => self.handle_conflict(now, row.as_ref()),
            Outcome::Unknown | Outcome::Throttled => {
                self.write.retry(Some(outcome), self.next.timing.attempt_timeout(), now);
            }
        }
    }

    /// Ends the handover, because its condition did not hold on `row`. It never will, because tokens only increase.
    fn handle_conflict(&mut self, now: &Now<'_>, row: Option<&Row>) {
        if holds(row, &self.old.condition()) {
            // The old lease still holds the lock, but its row cannot be handed over.
            return self.phase = Phase::Ended(HandoverEnd::Unanswered(Box::new(self.release(now))));
        }
        let loss = loss_reason(row, self.old.token());
        let release = match self.write.ambiguous && loss != LossReason::Revoked {
            true => ReleaseEnd::Unknown,
            false => ReleaseEnd::Lost(loss),
        };
        let mut waiter = Waiter::new(None, self.next.timing.legacy_skew());
        if let Some((row, Ok(state))) = row.map(|row| (row, row.state())) {
            waiter.observe(now, row, &state);
        }
        self.phase = Phase::Ended(HandoverEnd::Failed { release, watch: waiter.watch });
    }

    fn handle_refusal(&mut self, now: &Now<'_>, refusal: Refusal) {
        match refusal {
            Refusal::NoTable => self.handle_conflict(now, None),
            Refusal::Other if self.write.retries(refusal) => {
                self.write.retry(None, self.next.timing.attempt_timeout(), now);
            }
            Refusal::Other => self.phase = Phase::Ended(HandoverEnd::Unanswered(Box::new(self.release(now)))),
        }
    }

    fn win(&mut self, now: &Now<'_>, sent_at: SentAt, date: Option<ServiceDate>) {
        if self.validity.passed(now.at) {
            // R5: the new lease would have ended by now. It is released and not reported.
            let until = Deadline::new(SentAt(now.at), self.next.timing.lease());
            let release = Release::clean_up((self.old.name(), self.old.kind()), self.lease_id.clone(), until, now);
            return self.end_without_lock(release);
        }
        let won = Won {
            lease_id: self.lease_id.clone(),
            token: self.old.token().next(),
            sent_at: self.sent_at,
            row: &self.write.op.written(),
            date: date.map(|date| (date, sent_at)),
            // For other processes the hold goes on.
            record: *self.old.record(),
            entry: None,
        };
        self.phase = Phase::Won(Box::new(Held::new(&self.next, won, now)));
    }

    /// Ends a handover that took effect too late for the new guard.
    fn end_without_lock(&mut self, release: Release) {
        self.clean_up = Some(release);
        self.phase = Phase::Ended(HandoverEnd::Failed { release: ReleaseEnd::Released, watch: None });
    }

    /// Returns the next step of a handover that took effect, which may need a renewal before it is reported (R6).
    fn next_won(&mut self, now: &Now<'_>) -> Step<HandoverEnd, Release> {
        let Phase::Won(held) = &mut self.phase else { return self.next(now) };
        match held.next(now) {
            HeldStep::Lost(_) => {
                let release = Release::of(held, now);
                self.end_without_lock(release);
                self.next(now)
            }
            HeldStep::Write(op) if !held.is_confirmed => Step::Write(op),
            HeldStep::Sleep(length) if !held.is_confirmed => Step::Pause(length),
            // R5: the lease is still valid now, after all waiting.
            _ => Step::Done(HandoverEnd::Done(held.clone())),
        }
    }

    /// Returns the release of the lock, which also covers a handover that may have taken effect or still may.
    fn release(&self, now: &Now<'_>) -> Release {
        if !self.write.ambiguous {
            return Release::instead_of_handover(&self.old, now);
        }
        let until = Deadline::new(SentAt(now.at), self.next.timing.lease());
        Release::after_handover(&self.old, self.lease_id.clone(), until, now)
    }
}

impl Machine for Handover {
    type End = HandoverEnd;
    type CleanUp = Release;

    fn next(&mut self, now: &Now<'_>) -> Step<HandoverEnd, Release> {
        if let Some(release) = self.clean_up.take() {
            return Step::CleanUp(release);
        }
        match &self.phase {
            Phase::Writing if self.validity.passed(now.at) => {
                let end = HandoverEnd::Unanswered(Box::new(self.release(now)));
                self.phase = Phase::Ended(end.clone());
                Step::Done(end)
            }
            Phase::Writing => match self.write.step(now.at) {
                Step::Pause(length) => Step::Pause(length.min(self.validity.left(now.at))),
                step => step,
            },
            Phase::Won(_) => self.next_won(now),
            Phase::Ended(end) => Step::Done(end.clone()),
        }
    }

    fn handle(&mut self, now: &Now<'_>, response: Response<'_>) {
        match (response.body, &mut self.phase) {
            (_, Phase::Won(held)) => held.handle(now, response),
            (Body::Outcome { sent_at, outcome }, Phase::Writing) => {
                self.handle_outcome(now, sent_at, outcome, response);
            }
            (Body::Refused(refusal), Phase::Writing) => self.handle_refusal(now, refusal),
            _ => {}
        }
    }

    fn may_acquire(&self) -> bool {
        true
    }

    fn request_limit(&self, _at: ClockReading) -> Duration {
        if let Phase::Won(held) = &self.phase { held.attempt_timeout() } else { Duration::MAX }
    }

    fn cancel(&mut self, now: &Now<'_>) -> Option<Release> {
        match &self.phase {
            Phase::Won(held) | Phase::Ended(HandoverEnd::Done(held)) => Some(Release::of(held, now)),
            Phase::Writing => Some(self.release(now)),
            Phase::Ended(HandoverEnd::Unanswered(release)) => Some((**release).clone()),
            Phase::Ended(HandoverEnd::Failed { .. }) => self.clean_up.take(),
        }
    }
}
