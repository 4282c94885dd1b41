//! Revocation of another client's lock by an operator.

use std::convert::Infallible;
use std::time::Duration;

use crate::attr;
use crate::backoff::Backoff;
use crate::config::{RETRY_MAX, RETRY_MIN};
use crate::lease_end::ttl;
use crate::machine::{Body, Machine, Response, Step};
use crate::name::LockName;
use crate::now::Now;
use crate::op::{Op, OpKind, Outcome, Target};
use crate::row::Row;
use crate::time::{Deadline, SentAt};
use crate::token::{LeaseId, RecordVersion};

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
}

/// State machine that revokes one acquisition.
///
/// The machine only writes: call [`next`](Self::next), send the write, pass its outcome to [`handle_outcome`](Self::handle_outcome),
/// and repeat until [`Step::Done`]. It retries the identical write for 10 s. It may be dropped at any time; the write in
/// flight may still take effect then.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revoke {
    op: Op,
    until: Deadline,
    retry: Option<Backoff>,
    end: Option<RevokeEnd>,
}

impl Revoke {
    /// Starts the revocation of exactly `target`. Other clients wait until its lease has expired. With `force` the lock is
    /// free at once, which is unsafe while the holder is alive.
    pub fn new(name: LockName, target: Target, force: bool, now: &Now<'_>) -> Self {
        let lease_id = LeaseId::from_random(now.entropy.lease_id);
        let kind = match force {
            false => OpKind::Revoke { target, lease_id },
            true => OpKind::ForceRevoke { target, lease_id, ttl: ttl(Duration::ZERO, now) },
        };
        let op = Op { name, version: RecordVersion::from_random(now.entropy.version), kind };
        let until = Deadline::new(SentAt(now.at), GIVE_UP_AFTER);
        Self { op, until, retry: None, end: None }
    }

    /// Returns the next step.
    pub fn next(&mut self, now: &Now<'_>) -> Step<RevokeEnd> {
        if self.end.is_none() && self.retry.is_some() && self.until.passed(now.at) {
            self.end = Some(RevokeEnd::Unknown);
        }
        match (&self.end, self.retry.and_then(|pause| pause.left(now.at))) {
            (Some(end), _) => Step::Done(end.clone()),
            (None, Some(left)) => Step::Pause(left),
            (None, None) => Step::Write(self.op.clone()),
        }
    }

    /// Takes the outcome of the write in flight. `now` is the time at which the response arrived.
    pub fn handle_outcome(&mut self, now: &Now<'_>, outcome: &Outcome) {
        self.end = match outcome {
            Outcome::Applied(_) => Some(RevokeEnd::Done),
            Outcome::Conflict(Some(row)) if row.version().as_ref() == Some(&self.op.version) => Some(RevokeEnd::Done),
            // An earlier try was applied, or another operator was faster.
            Outcome::Conflict(Some(row)) if self.is_done(row) => Some(RevokeEnd::Done),
            Outcome::Conflict(row) => Some(RevokeEnd::Ended(row.clone())),
            Outcome::Unknown | Outcome::Throttled => {
                self.retry = Some(Backoff::after(self.retry, RETRY_MIN, RETRY_MAX, now));
                None
            }
        };
    }

    /// Returns whether the row shows that the requested revocation has taken place.
    fn is_done(&self, row: &Row) -> bool {
        let revoked =
            |target: &Target| matches!(target, Target::Token(t) if row.whole(attr::REVOKED_TOKEN) == Some(t.get()));
        match &self.op.kind {
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
        Revoke::next(self, now)
    }

    fn handle(&mut self, now: &Now<'_>, response: Response<'_>) {
        if let Body::Outcome { outcome, .. } = response.body {
            self.handle_outcome(now, outcome);
        }
    }
}
