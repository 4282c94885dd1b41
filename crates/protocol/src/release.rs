use std::time::Duration;

use crate::attr;
use crate::backoff::Backoff;
use crate::config::{RETRY_MAX, RETRY_MIN};
use crate::held::{Validity, ttl, why};
use crate::{
    Deadline, FencingToken, Held, LeaseId, LockName, LossReason, Now, Op, OpKind, Outcome, RecordVersion, Row,
    RowState, SentAt, Target,
};

/// How long an operator's write is retried.
const REVOKE_FOR: Duration = Duration::from_secs(10);

/// How a release ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReleaseEnd {
    /// Released; or nothing was there to clean up.
    Released,
    /// It was lost before: others may have been in since.
    Lost(LossReason),
    /// No answer told. If it is still held, it is over within its lease.
    Unknown,
}

/// What to do next to release a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReleaseStep {
    /// Send this, once; feed the answer, or its absence, to [`Release::handle_outcome`].
    Write(Op),
    /// Wait so long.
    Pause(Duration),
    /// Done.
    Done(ReleaseEnd),
}

/// Gives a lock up, or cleans up after an acquire that was abandoned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Release {
    op: Op,
    lease_id: LeaseId,
    /// Absent when cleaning up: the acquire never learned it.
    token: Option<FencingToken>,
    /// Our own deadline: what an answer means depends on it.
    validity: Validity,
    /// It was lost before the release began; one try is sent even so, to free early.
    lost: Option<LossReason>,
    ambiguous: bool,
    retry: Option<Backoff>,
    end: Option<ReleaseEnd>,
}

impl Release {
    /// Releases what is held.
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

    /// Gives up a hold that was being made to last `duration`, until that would be over anyway.
    pub fn of_hold(held: &Held, duration: Duration, now: &Now<'_>) -> Self {
        Self::clean_up(held.name().clone(), held.lease_id().clone(), Deadline::new(SentAt(now.at), duration), now)
    }

    /// Frees whatever an abandoned acquire of this nonce left, until its lease would be over anyway.
    pub(crate) fn clean_up(name: LockName, lease_id: LeaseId, until: Deadline, now: &Now<'_>) -> Self {
        Self::new(name, lease_id, None, Validity { sent: until, stamp: None }, now)
    }

    fn new(name: LockName, lease_id: LeaseId, token: Option<FencingToken>, validity: Validity, now: &Now<'_>) -> Self {
        let ttl = ttl(Duration::ZERO, now);
        let kind = OpKind::Release { lease_id: lease_id.clone(), token, ttl };
        let op = Op { name, version: RecordVersion::from_random(now.entropy.version), kind };
        Self { op, lease_id, token, validity, lost: None, ambiguous: false, retry: None, end: None }
    }

    /// The lock.
    pub fn name(&self) -> &LockName {
        &self.op.name
    }

    /// What to do next.
    pub fn next(&mut self, now: &Now<'_>) -> ReleaseStep {
        if let Some(end) = self.end {
            return ReleaseStep::Done(end);
        }
        let passed = self.validity.passed(now.at);
        // The first try is always sent, to free early; further ones only while nobody else can be in.
        if self.retry.is_some() && passed {
            let end = match self.lost {
                Some(loss) => ReleaseEnd::Lost(loss),
                None if self.ambiguous => ReleaseEnd::Unknown,
                None => ReleaseEnd::Lost(LossReason::Expired),
            };
            self.end = Some(end);
            return ReleaseStep::Done(end);
        }
        match self.retry.and_then(|pause| pause.left(now.at)) {
            Some(left) => ReleaseStep::Pause(left.min(self.validity.left(now.at))),
            None => ReleaseStep::Write(self.op.clone()),
        }
    }

    /// The answer to the try in flight; `now` is when it was received.
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

    /// What the row that is there says of our release.
    fn read_conflict(&self, now: &Now<'_>, row: Option<&Row>) -> ReleaseEnd {
        let ours = |row: &Row| row.has_lease_id(&self.lease_id) && row.is_free();
        let landed = row.is_some_and(|row| row.version().as_ref() == Some(&self.op.version) || ours(row));
        let Some(token) = self.token.filter(|_| !landed) else {
            return ReleaseEnd::Released;
        };
        let loss = why(row, token);
        let legacy = row.is_some_and(|row| !matches!(row.state(), Ok(RowState::Free | RowState::Held(_))));
        match (self.ambiguous, self.validity.passed(now.at)) {
            (_, _) if loss == LossReason::Revoked => ReleaseEnd::Lost(loss),
            (false, _) => ReleaseEnd::Lost(loss),
            (true, true) => ReleaseEnd::Unknown,
            // Revoked again after us: whether our reign was revoked too, or had ended before, cannot be told.
            (true, false) if row.is_some_and(|row| row.get(attr::REVOKED_TOKEN).is_some()) => ReleaseEnd::Unknown,
            (true, false) if legacy || row.is_none() => ReleaseEnd::Unknown,
            // Nobody else could have been in before our deadline: the try without an answer had landed.
            (true, false) => ReleaseEnd::Released,
        }
    }
}

/// How a revocation ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RevokeEnd {
    /// That reign is revoked, or freed.
    Done,
    /// That reign had ended before, by itself; the row as it is.
    Ended(Option<Row>),
    /// No answer told.
    Unknown,
}

/// What to do next to revoke a reign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RevokeStep {
    /// Send this, once; feed the answer, or its absence, to [`Revoke::handle_outcome`].
    Write(Op),
    /// Wait so long.
    Pause(Duration),
    /// Done.
    Done(RevokeEnd),
}

/// Takes one reign away by hand: by revoking, others wait its lease out; by force, the lock is free at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revoke {
    op: Op,
    until: Deadline,
    retry: Option<Backoff>,
    end: Option<RevokeEnd>,
}

impl Revoke {
    /// Of exactly `target`; `force` frees the lock at once, and is unsafe if the holder lives.
    pub fn new(name: LockName, target: Target, force: bool, now: &Now<'_>) -> Self {
        let lease_id = LeaseId::from_random(now.entropy.lease_id);
        let kind = match force {
            false => OpKind::Revoke { target, lease_id },
            true => OpKind::ForceRevoke { target, lease_id, ttl: ttl(Duration::ZERO, now) },
        };
        let op = Op { name, version: RecordVersion::from_random(now.entropy.version), kind };
        let until = Deadline::new(SentAt(now.at), REVOKE_FOR);
        Self { op, until, retry: None, end: None }
    }

    /// What to do next.
    pub fn next(&mut self, now: &Now<'_>) -> RevokeStep {
        if self.end.is_none() && self.retry.is_some() && self.until.passed(now.at) {
            self.end = Some(RevokeEnd::Unknown);
        }
        match (&self.end, self.retry.and_then(|pause| pause.left(now.at))) {
            (Some(end), _) => RevokeStep::Done(end.clone()),
            (None, Some(left)) => RevokeStep::Pause(left),
            (None, None) => RevokeStep::Write(self.op.clone()),
        }
    }

    /// The answer to the try in flight; `now` is when it was received.
    pub fn handle_outcome(&mut self, now: &Now<'_>, outcome: &Outcome) {
        self.end = match outcome {
            Outcome::Applied(_) => Some(RevokeEnd::Done),
            Outcome::Conflict(Some(row)) if row.version().as_ref() == Some(&self.op.version) => Some(RevokeEnd::Done),
            // An earlier try landed, or somebody else was faster.
            Outcome::Conflict(Some(row)) if self.revoked(row) => Some(RevokeEnd::Done),
            Outcome::Conflict(row) => Some(RevokeEnd::Ended(row.clone())),
            Outcome::Unknown | Outcome::Throttled => {
                self.retry = Some(Backoff::after(self.retry, RETRY_MIN, RETRY_MAX, now));
                None
            }
        };
    }

    /// Whether the row says that what was asked for has been done.
    fn revoked(&self, row: &Row) -> bool {
        let of =
            |target: &Target| matches!(target, Target::Token(t) if row.whole(attr::REVOKED_TOKEN) == Some(t.get()));
        match &self.op.kind {
            OpKind::Revoke { target, .. } => of(target),
            OpKind::ForceRevoke { target, .. } => of(target) && row.is_free(),
            _ => false,
        }
    }
}
