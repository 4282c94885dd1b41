//! Revocation of another client's lock by an operator, and the reset of a success.

use std::convert::Infallible;
use std::time::Duration;

use crate::{
    Body, Deadline, EndedHold, FencingToken, HoldEnd, Kind, LeaseId, LockName, Machine, Now, Op, OpKind, Outcome,
    Response, Row, SentAt, Step, Target, attr, lease_end::ttl, retry::RETRY_MAX, retry::RepeatedWrite,
};

/// Time during which an unanswered revocation is retried.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);

/// Result of a revocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RevokeEnd {
    /// The acquisition is revoked, and the lock is free if that was requested. Or the success is forgotten.
    Done,
    /// The acquisition had ended before, or the success was not recorded. Contains the present row.
    Ended(Option<Row>),
    /// The outcome is unknown.
    Unknown,
    /// The store refused the revocation, and no earlier attempt may have been applied.
    Refused,
}

/// State machine that revokes one acquisition, or forgets one success. [`Machine`] describes how to call it.
///
/// The machine only writes. It retries the identical write for 10 s, also if the store refuses it after an attempt that
/// may have been applied. It may be dropped at any time; the write in flight may still take effect then.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revoke {
    write: RepeatedWrite,
    until: Deadline,
    end: Option<RevokeEnd>,
}

impl Revoke {
    /// Starts the revocation of exactly `target`. Other clients wait until its lease has expired. With `force` the lock
    /// is free at once, which is unsafe while the holder is alive.
    pub fn new(name: &LockName, target: Target, force: bool, now: &Now<'_>) -> Self {
        let lease_id = LeaseId::from_random(now.entropy.lease_id);
        // A row without a token is one of npm dynamo-lock, which records no hold.
        let is_native = matches!(target, Target::Token(_));
        let ended = |end| is_native.then(|| EndedHold::new(end, now.at.wall_ms));
        let kind = match force {
            false => OpKind::Revoke { target, lease_id, ended: ended(HoldEnd::Revoked) },
            true => {
                let ttl = ttl(Duration::ZERO, now);
                OpKind::ForceRevoke { target, lease_id, ttl, ended: ended(HoldEnd::Forced) }
            }
        };
        // The condition holds on rows of both kinds.
        Self::write(Op::new(name, Kind::Mutex, kind, now), now)
    }

    /// Starts the reset of exactly the success with this token, so that the work may run again.
    pub fn of_success(name: &LockName, token: FencingToken, now: &Now<'_>) -> Self {
        let lease_id = LeaseId::from_random(now.entropy.lease_id);
        let kind = OpKind::Reset { token, lease_id, ttl: ttl(Duration::ZERO, now) };
        Self::write(Op::new(name, Kind::Once, kind, now), now)
    }

    fn write(op: Op, now: &Now<'_>) -> Self {
        let until = Deadline::new(SentAt(now.at), GIVE_UP_AFTER);
        Self { write: RepeatedWrite::new(op), until, end: None }
    }

    /// Returns whether the row shows that the requested revocation has taken place.
    fn is_done(&self, row: &Row) -> bool {
        let revoked =
            |target: &Target| matches!(target, Target::Token(t) if row.whole(attr::REVOKED_TOKEN) == Some(t.get()));
        match &self.write.op.kind {
            OpKind::Revoke { target, .. } => revoked(target),
            OpKind::ForceRevoke { target, .. } => revoked(target) && row.is_free(),
            _ => false,
        }
    }
}

impl Machine for Revoke {
    type End = RevokeEnd;
    type CleanUp = Infallible;

    fn next(&mut self, now: &Now<'_>) -> Step<RevokeEnd> {
        if self.end.is_none() && self.write.has_failed() && self.until.passed(now.at) {
            self.end = Some(RevokeEnd::Unknown);
        }
        match &self.end {
            Some(end) => Step::Done(end.clone()),
            None => self.write.step(now.at),
        }
    }

    fn handle(&mut self, now: &Now<'_>, response: Response<'_>) {
        let outcome = match response.body {
            Body::Outcome { outcome, .. } => outcome,
            Body::Refused(refusal) if self.write.retries(refusal) => return self.write.retry(None, RETRY_MAX, now),
            Body::Refused(_) => return self.end = Some(RevokeEnd::Refused),
            Body::Row(_) | Body::Unread => return,
        };
        self.end = Some(match outcome {
            Outcome::Applied(_) => RevokeEnd::Done,
            // An earlier attempt was applied, or another operator was faster.
            Outcome::Conflict(Some(row)) if row.has_version(&self.write.op.version) || self.is_done(row) => {
                RevokeEnd::Done
            }
            Outcome::Conflict(row) => RevokeEnd::Ended(row.clone()),
            Outcome::Unknown | Outcome::Throttled => return self.write.retry(Some(outcome), RETRY_MAX, now),
        });
    }
}
