//! Release of a lock by its holder.

use std::convert::Infallible;
use std::time::Duration;

use crate::attr;
use crate::backoff::Backoff;
use crate::config::{RETRY_MAX, RETRY_MIN};
use crate::held::{Held, LossReason, loss_reason};
use crate::lease_end::ttl;
use crate::machine::{Body, Machine, Response, Step};
use crate::name::LockName;
use crate::now::Now;
use crate::op::{Op, OpKind, Outcome};
use crate::row::{Row, RowState};
use crate::time::{Deadline, SentAt};
use crate::token::{FencingToken, LeaseId, RecordVersion};
use crate::validity::Validity;

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
}

/// State machine that releases a lock, or that cleans up after an abandoned acquire.
///
/// The machine only writes: call [`next`](Self::next), send the write, pass its outcome to [`handle_outcome`](Self::handle_outcome),
/// and repeat until [`Step::Done`]. It retries the identical write until the lease would have ended. It may be dropped at
/// any time; the lock expires at the end of its lease then.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Release {
    op: Op,
    lease_id: LeaseId,
    /// `None` when cleaning up, because the acquire never received its token.
    token: Option<FencingToken>,
    /// The holder's own validity. The meaning of a conflict depends on it.
    validity: Validity,
    /// Reason of a loss before the release began. One try is sent nevertheless, to free the lock early.
    lost: Option<LossReason>,
    /// Whether a try was not answered, so that it may have been applied.
    ambiguous: bool,
    retry: Option<Backoff>,
    end: Option<ReleaseEnd>,
}

impl Release {
    /// Starts the release of a held lock.
    pub fn of(held: &Held, now: &Now<'_>) -> Self {
        let lost = held.clone().check(now.at);
        let (name, lease_id) = (held.name().clone(), held.lease_id().clone());
        let mut release = Self::new(name, lease_id, Some(held.token()), held.validity(), now);
        release.lost = lost;
        if let Some(loss @ (LossReason::TakenOver | LossReason::Revoked | LossReason::RowGone)) = lost {
            release.end = Some(ReleaseEnd::Lost(loss));
        }
        release
    }

    /// Starts the clean-up after an abandoned acquire with this lease ID. It is retried until `until`, when the lease
    /// would have ended anyway.
    pub(crate) fn clean_up(name: LockName, lease_id: LeaseId, until: Deadline, now: &Now<'_>) -> Self {
        Self::new(name, lease_id, None, Validity { sent: until, row: None }, now)
    }

    /// Starts the clean-up after an abandoned hold that may last `duration` from now.
    pub(crate) fn of_hold(held: &Held, duration: Duration, now: &Now<'_>) -> Self {
        Self::clean_up(held.name().clone(), held.lease_id().clone(), Deadline::new(SentAt(now.at), duration), now)
    }

    fn new(name: LockName, lease_id: LeaseId, token: Option<FencingToken>, validity: Validity, now: &Now<'_>) -> Self {
        let ttl = ttl(Duration::ZERO, now);
        let kind = OpKind::Release { lease_id: lease_id.clone(), token, ttl };
        let op = Op { name, version: RecordVersion::from_random(now.entropy.version), kind };
        Self { op, lease_id, token, validity, lost: None, ambiguous: false, retry: None, end: None }
    }

    /// Returns the name of the lock.
    pub fn name(&self) -> &LockName {
        &self.op.name
    }

    /// Returns the next step.
    pub fn next(&mut self, now: &Now<'_>) -> Step<ReleaseEnd> {
        if let Some(end) = self.end {
            return Step::Done(end);
        }
        // We always send the first try, to free the lock early. Further tries are useless after the deadline, because
        // another client may hold the lock then.
        if self.retry.is_some() && self.validity.passed(now.at) {
            let end = match self.lost {
                Some(loss) => ReleaseEnd::Lost(loss),
                None if self.ambiguous => ReleaseEnd::Unknown,
                None => ReleaseEnd::Lost(LossReason::Expired),
            };
            self.end = Some(end);
            return Step::Done(end);
        }
        match self.retry.and_then(|pause| pause.left(now.at)) {
            Some(left) => Step::Pause(left.min(self.validity.left(now.at))),
            None => Step::Write(self.op.clone()),
        }
    }

    /// Takes the outcome of the write in flight. `now` is the time at which the response arrived.
    pub fn handle_outcome(&mut self, now: &Now<'_>, outcome: &Outcome) {
        let end = match outcome {
            Outcome::Applied(_) => ReleaseEnd::Released,
            Outcome::Conflict(row) => self.read_conflict(now, row.as_ref()),
            Outcome::Unknown | Outcome::Throttled => {
                self.ambiguous |= *outcome == Outcome::Unknown;
                self.retry = Some(Backoff::after(self.retry, RETRY_MIN, RETRY_MAX, now));
                return;
            }
        };
        self.end = Some(match self.lost {
            Some(loss) => ReleaseEnd::Lost(loss),
            None => end,
        });
    }

    /// Returns the result of a release whose condition did not hold on `row`.
    fn read_conflict(&self, now: &Now<'_>, row: Option<&Row>) -> ReleaseEnd {
        let freed = |row: &Row| row.has_lease_id(&self.lease_id) && row.is_free();
        let applied = row.is_some_and(|row| row.version().as_ref() == Some(&self.op.version) || freed(row));
        let Some(token) = self.token.filter(|_| !applied) else {
            return ReleaseEnd::Released;
        };
        let loss = loss_reason(row, token);
        let legacy = row.is_some_and(|row| !matches!(row.state(), Ok(RowState::Free | RowState::Held(_))));
        match (self.ambiguous, self.validity.passed(now.at)) {
            (_, _) if loss == LossReason::Revoked => ReleaseEnd::Lost(loss),
            (false, _) => ReleaseEnd::Lost(loss),
            (true, true) => ReleaseEnd::Unknown,
            // A later revocation has replaced the mark of an earlier one, so our lease may have been revoked too.
            (true, false) if row.is_some_and(|row| row.get(attr::REVOKED_TOKEN).is_some()) => ReleaseEnd::Unknown,
            (true, false) if legacy || row.is_none() => ReleaseEnd::Unknown,
            // Another client can hold the lock before our deadline only because the unanswered try was applied.
            (true, false) => ReleaseEnd::Released,
        }
    }
}

impl Machine for Release {
    type End = ReleaseEnd;
    type CleanUp = Infallible;

    fn next(&mut self, now: &Now<'_>) -> Step<ReleaseEnd> {
        Release::next(self, now)
    }

    fn handle(&mut self, now: &Now<'_>, response: Response<'_>) {
        if let Body::Outcome { outcome, .. } = response.body {
            self.handle_outcome(now, outcome);
        }
    }
}

/// A release leaves nothing behind, so there is nothing to clean up.
impl From<Infallible> for Release {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
