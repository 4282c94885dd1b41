//! Record of the success of work that runs until it has succeeded once.

use std::convert::Infallible;
use std::time::Duration;

use crate::{
    Body, Deadline, Done, FencingToken, Held, LeaseId, LossReason, Machine, Now, Op, OpKind, Outcome, Refusal,
    Response, Row, SentAt, Step, attr, loss::loss_reason, retry::RETRY_MAX, retry::RepeatedWrite,
};

/// Result of a [`Finish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FinishEnd {
    /// The success is recorded.
    Recorded,
    /// The success is not recorded, so the work may run again. Contains the reason for which the lock was lost.
    NotRecorded(LossReason),
    /// The outcome is unknown.
    Unknown,
    /// The store refused the write for a whole lease, and certainly has not applied it.
    Refused,
}

/// State machine that records a success in place of the release. [`Machine`] describes how to call it.
///
/// The machine only writes. It repeats the identical write for one lease, also if the local validity ends meanwhile,
/// because no other client may have taken the lock over. No release follows an unanswered write. The machine may be
/// dropped at any time; the write in flight may still take effect then.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Finish {
    write: RepeatedWrite,
    token: FencingToken,
    until: Deadline,
    /// Whether the store refused the last attempt.
    refused: bool,
    end: Option<FinishEnd>,
}

impl Finish {
    /// Starts the record of the success of `held`, which is of the kind [`Kind::Once`](crate::Kind::Once). `done_by` is
    /// a label for people. The success counts for `lasts` from the begin of the hold, `None`: until it is reset.
    pub fn new(held: &Held, done_by: String, lasts: Option<Duration>, now: &Now<'_>) -> Self {
        let kind = OpKind::Finish {
            lease_id: held.lease_id.clone(),
            token: held.token(),
            done: Done::new(held, done_by, lasts, now),
            next_lease_id: LeaseId::from_random(now.entropy.lease_id),
            ended: Some(held.ended(now.at)),
        };
        let lost = held.clone().check(now.at);
        let is_known =
            |loss: &LossReason| matches!(loss, LossReason::TakenOver | LossReason::Revoked | LossReason::RowGone);
        Self {
            write: RepeatedWrite::new(Op::new(held.name(), held.kind(), kind, now)),
            token: held.token(),
            until: Deadline::new(SentAt(now.at), held.timing().lease()),
            refused: false,
            end: lost.filter(is_known).map(FinishEnd::NotRecorded),
        }
    }

    /// Returns the result after the condition did not hold on `row`. No other acquisition has this token.
    fn read_conflict(&self, row: Option<&Row>) -> FinishEnd {
        let recorded = row.and_then(|row| row.whole(attr::DONE_TOKEN)) == Some(self.token.get());
        if recorded { FinishEnd::Recorded } else { FinishEnd::NotRecorded(loss_reason(row, self.token)) }
    }
}

impl Machine for Finish {
    type End = FinishEnd;
    type CleanUp = Infallible;

    fn next(&mut self, now: &Now<'_>) -> Step<FinishEnd> {
        if self.end.is_none() && self.write.has_failed() && self.until.passed(now.at) {
            self.end = Some(match (self.write.ambiguous, self.refused) {
                (true, _) => FinishEnd::Unknown,
                (false, true) => FinishEnd::Refused,
                (false, false) => FinishEnd::NotRecorded(LossReason::Expired),
            });
        }
        match (self.end, self.write.step(now.at)) {
            (Some(end), _) => Step::Done(end),
            (None, Step::Pause(left)) => Step::Pause(left.min(self.until.left(now.at))),
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
        self.end = Some(match outcome {
            Some(Outcome::Applied(_)) => FinishEnd::Recorded,
            Some(Outcome::Conflict(row)) => self.read_conflict(row.as_ref()),
            Some(Outcome::Unknown | Outcome::Throttled) | None => return self.write.retry(outcome, RETRY_MAX, now),
        });
    }
}
