use std::time::Duration;

use crate::held::{Belief, purge_on, why};
use crate::op::attr;
use crate::time::Pause;
use crate::{
    Deadline, FencingToken, Guid, Held, LockName, Loss, Now, Op, OpKind, Outcome, Reign, Row, Standing, Target,
};

const RETRY_MIN: Duration = Duration::from_millis(25);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// How long an operator's write is retried.
const REVOKE_FOR: Duration = Duration::from_secs(10);

/// How a release ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReleaseEnd {
    /// Released; or nothing was there to clean up.
    Released,
    /// It was lost before: others may have been in since.
    Lost(Loss),
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
    reign: Reign,
    /// Absent when cleaning up: the acquire never learned it.
    token: Option<FencingToken>,
    /// Our own deadline: what an answer means depends on it.
    belief: Belief,
    /// It was lost before the release began; one try is sent even so, to free early.
    lost: Option<Loss>,
    ambiguous: bool,
    retry: Option<Pause>,
    end: Option<ReleaseEnd>,
}

impl Release {
    /// Releases what is held.
    pub fn of(held: &Held, now: &Now<'_>) -> Self {
        let lost = held.clone().check(now.at);
        let (name, reign) = (held.name().clone(), held.reign().clone());
        let mut release = Self::new(name, reign, Some(held.token()), held.belief(), now);
        release.lost = lost;
        if let Some(loss @ (Loss::TakenOver | Loss::Revoked | Loss::RowGone)) = lost {
            release.end = Some(ReleaseEnd::Lost(loss));
        }
        release
    }

    /// Frees whatever an abandoned acquire of this nonce left, until its lease would be over anyway.
    pub(crate) fn clean_up(name: LockName, reign: Reign, until: Deadline, now: &Now<'_>) -> Self {
        Self::new(name, reign, None, Belief { sent: until, stamp: None }, now)
    }

    fn new(name: LockName, reign: Reign, token: Option<FencingToken>, belief: Belief, now: &Now<'_>) -> Self {
        let purge_on = purge_on(Duration::ZERO, now);
        let kind = OpKind::Release { reign: reign.clone(), token, purge_on };
        let op = Op { name, guid: Guid::from_random(now.fresh.guid), kind };
        Self { op, reign, token, belief, lost: None, ambiguous: false, retry: None, end: None }
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
        let passed = self.belief.passed(now.at);
        // The first try is always sent, to free early; further ones only while nobody else can be in.
        if self.retry.is_some() && passed {
            let end = match self.lost {
                Some(loss) => ReleaseEnd::Lost(loss),
                None if self.ambiguous => ReleaseEnd::Unknown,
                None => ReleaseEnd::Lost(Loss::Expired),
            };
            self.end = Some(end);
            return ReleaseStep::Done(end);
        }
        match self.retry.and_then(|pause| pause.left(now.at)) {
            Some(left) => ReleaseStep::Pause(left.min(self.belief.left(now.at))),
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
                self.retry = Some(Pause::after(self.retry, RETRY_MIN, RETRY_MAX, now));
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
        let ours = |row: &Row| row.is_reign(&self.reign) && row.says_free();
        let landed = row.is_some_and(|row| row.guid().as_ref() == Some(&self.op.guid) || ours(row));
        let Some(token) = self.token.filter(|_| !landed) else {
            return ReleaseEnd::Released;
        };
        let loss = why(row, token);
        let legacy = row.is_some_and(|row| !matches!(row.standing(), Ok(Standing::Free | Standing::Held(_))));
        match (self.ambiguous, self.belief.passed(now.at)) {
            (_, _) if loss == Loss::Revoked => ReleaseEnd::Lost(loss),
            (false, _) => ReleaseEnd::Lost(loss),
            (true, true) => ReleaseEnd::Unknown,
            (true, false) if legacy || row.is_none() => ReleaseEnd::Unknown,
            // A later reign was revoked: ours may have been, before it, and its mark is overwritten.
            (true, false) if row.is_some_and(|row| row.get(attr::REVOKED).is_some()) => ReleaseEnd::Unknown,
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
    retry: Option<Pause>,
    end: Option<RevokeEnd>,
}

impl Revoke {
    /// Of exactly `target`; `force` frees the lock at once, and is unsafe if the holder lives.
    pub fn new(name: LockName, target: Target, force: bool, now: &Now<'_>) -> Self {
        let reign = Reign::from_random(now.fresh.reign);
        let kind = match force {
            false => OpKind::Revoke { target, reign },
            true => OpKind::ForceFree { target, reign, purge_on: purge_on(Duration::ZERO, now) },
        };
        let op = Op { name, guid: Guid::from_random(now.fresh.guid), kind };
        let until = Deadline::new(crate::SentAt(now.at), REVOKE_FOR);
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
            Outcome::Conflict(Some(row)) if row.guid().as_ref() == Some(&self.op.guid) => Some(RevokeEnd::Done),
            // An earlier try landed, or somebody else was faster.
            Outcome::Conflict(Some(row)) if self.revoked(row) => Some(RevokeEnd::Done),
            Outcome::Conflict(row) => Some(RevokeEnd::Ended(row.clone())),
            Outcome::Unknown | Outcome::Throttled => {
                self.retry = Some(Pause::after(self.retry, RETRY_MIN, RETRY_MAX, now));
                None
            }
        };
    }

    /// Whether the row says that what was asked for has been done.
    fn revoked(&self, row: &Row) -> bool {
        let of = |target: &Target| matches!(target, Target::Token(t) if row.whole(attr::REVOKED) == Some(t.get()));
        match &self.op.kind {
            OpKind::Revoke { target, .. } => of(target),
            OpKind::ForceFree { target, .. } => of(target) && row.says_free(),
            _ => false,
        }
    }
}
