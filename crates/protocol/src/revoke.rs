//! Revocation of another client's lock by an operator.

use std::convert::Infallible;
use std::time::Duration;

use crate::{
    Body, Deadline, LeaseId, LockName, Machine, Now, Op, OpKind, Outcome, Response, Row, SentAt, Step, Target, attr,
    lease_end::ttl, retry::RETRY_MAX, retry::RepeatedWrite,
};

/// Time during which an unanswered revocation is retried.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);

/// Result of a revocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RevokeEnd {
    /// The acquisition is revoked, and the lock is free if that was requested.
    Done,
    /// The acquisition had ended before. Contains the present row.
    Ended(Option<Row>),
    /// The outcome is unknown.
    Unknown,
    /// The store refused the revocation, and no earlier attempt may have been applied.
    Refused,
}

/// State machine that revokes one acquisition. [`Machine`] describes how to call it.
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
        let kind = match force {
            false => OpKind::Revoke { target, lease_id },
            true => OpKind::ForceRevoke { target, lease_id, ttl: ttl(Duration::ZERO, now) },
        };
        let until = Deadline::new(SentAt(now.at), GIVE_UP_AFTER);
        Self { write: RepeatedWrite::new(Op::new(name, kind, now)), until, end: None }
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
