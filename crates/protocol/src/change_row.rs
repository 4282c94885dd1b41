//! [`ChangeRow`]: changes by an operator that need to know the row first.

use std::convert::Infallible;
use std::time::Duration;

use crate::{
    Body, Convert, Deadline, Kind, LeaseId, LockName, Machine, Now, Op, OpKind, Outcome, RecordVersion, Refusal,
    Response, Row, RowError, RowState, SentAt, SharedOp, SharedWrite, Step, attr, lease_end::shared_ttl,
    lease_end::ttl, retry::Backoff, retry::RETRY_MAX, retry::RETRY_MIN, retry::RepeatedWrite,
};

/// Time after which no further request is sent.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);

/// Change of a row by an operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RowChange {
    /// Makes a free row one of this kind. A row of this kind stays as it is.
    Convert(Kind),
    /// Revokes the holder with this lease ID in a shared row.
    RevokeHolder {
        /// Lease ID of the holder.
        lease_id: LeaseId,
        /// Whether the entry is removed at once. Unsafe while the holder is alive.
        force: bool,
    },
}

/// Result of a [`ChangeRow`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChangeRowEnd {
    /// The row is as requested.
    Done,
    /// There is no such row or holder. Contains the present row.
    Ended(Option<Row>),
    /// The row is held, so that its kind cannot change.
    Held(Row),
    /// The row cannot be interpreted.
    RowError(RowError),
    /// The outcome is unknown.
    Unknown,
    /// The store refused a request, and no earlier attempt may have been applied.
    Refused,
}

/// State machine that reads a row and changes it, if it is still the row that was read. [`Machine`] describes how to
/// call it.
///
/// It may be dropped at any time; the write in flight may still take effect then.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChangeRow {
    name: LockName,
    change: RowChange,
    until: Deadline,
    write: Option<RepeatedWrite>,
    /// Pause after a read without a usable response.
    pause: Option<Backoff>,
    end: Option<ChangeRowEnd>,
}

impl ChangeRow {
    /// Starts the change of the row of lock `name`.
    pub fn new(name: &LockName, change: RowChange, now: &Now<'_>) -> Self {
        let until = Deadline::new(SentAt(now.at), GIVE_UP_AFTER);
        Self { name: name.clone(), change, until, write: None, pause: None, end: None }
    }

    /// Decides about a row that was read, or that was returned by a conflict.
    fn decide(&mut self, row: Option<&Row>, now: &Now<'_>) {
        let decision = match &self.change {
            RowChange::Convert(to) => convert(row, *to, now),
            RowChange::RevokeHolder { lease_id, force } => revoke(row, lease_id, *force, now),
        };
        match decision {
            Ok((kind, op)) => self.write = Some(RepeatedWrite::new(Op::new(&self.name, kind, op, now))),
            Err(end) => self.end = Some(end),
        }
    }
}

/// Returns the write that makes `row` one of kind `to`, or the result.
fn convert(row: Option<&Row>, to: Kind, now: &Now<'_>) -> Result<(Kind, OpKind), ChangeRowEnd> {
    // The first acquisition creates the row with its own kind.
    let Some(row) = row else { return Err(ChangeRowEnd::Done) };
    let (kind, seen) = (row.kind().map_err(ChangeRowEnd::RowError)?, version(row)?);
    if kind == to {
        return Err(ChangeRowEnd::Done);
    }
    let is_free = match kind.is_shared() {
        true => row.shared(kind).map_err(ChangeRowEnd::RowError)?.entries.is_empty(),
        false => matches!(row.state().map_err(ChangeRowEnd::RowError)?, RowState::Free | RowState::Done(_)),
    };
    let token = row.token().filter(|_| is_free).ok_or_else(|| ChangeRowEnd::Held(row.clone()))?;
    let ttl = if to.is_shared() { shared_ttl(now) } else { Some(ttl(Duration::ZERO, now)) };
    let lease_id = LeaseId::from_random(now.entropy.lease_id);
    Ok((to, OpKind::Convert(Convert { seen, seen_token: token, lease_id, ttl })))
}

/// Returns the write that revokes a holder, or the result.
fn revoke(row: Option<&Row>, lease_id: &LeaseId, force: bool, now: &Now<'_>) -> Result<(Kind, OpKind), ChangeRowEnd> {
    let Some(row) = row else { return Err(ChangeRowEnd::Ended(None)) };
    let kind = row.kind().map_err(ChangeRowEnd::RowError)?;
    if !kind.is_shared() {
        return Err(ChangeRowEnd::RowError(RowError::OtherKind { found: kind, requested: Kind::RwLock }));
    }
    let shared = row.shared(kind).map_err(ChangeRowEnd::RowError)?;
    let Some(entry) = shared.entry(lease_id) else {
        let was_forced_out = force && row.text(attr::FORCED_LEASE_ID) == Some(lease_id.as_str());
        return Err(if was_forced_out { ChangeRowEnd::Done } else { ChangeRowEnd::Ended(Some(row.clone())) });
    };
    let holder = entry.holder.clone();
    let op = match (force, entry.revoked) {
        (true, _) => SharedOp::ForceOut { holder },
        (false, true) => return Err(ChangeRowEnd::Done),
        (false, false) => SharedOp::Revoke { holder },
    };
    Ok((kind, OpKind::Shared(SharedWrite { ttl: shared_ttl(now), op })))
}

fn version(row: &Row) -> Result<RecordVersion, ChangeRowEnd> {
    row.version().ok_or(ChangeRowEnd::RowError(RowError::NotALock))
}

impl Machine for ChangeRow {
    type End = ChangeRowEnd;
    type CleanUp = Infallible;

    fn next(&mut self, now: &Now<'_>) -> Step<ChangeRowEnd> {
        let has_failed = self.pause.is_some() || self.write.as_ref().is_some_and(RepeatedWrite::has_failed);
        if self.end.is_none() && has_failed && self.until.passed(now.at) {
            self.end = Some(ChangeRowEnd::Unknown);
        }
        match (&self.end, &self.write, self.pause.and_then(|pause| pause.left(now.at))) {
            (Some(end), _, _) => Step::Done(end.clone()),
            (None, Some(write), _) => write.step(now.at),
            (None, None, Some(left)) => Step::Pause(left),
            (None, None, None) => Step::Read { strong: true },
        }
    }

    fn handle(&mut self, now: &Now<'_>, response: Response<'_>) {
        let outcome = match (response.body, &mut self.write) {
            (Body::Row(row), None) => return self.decide(row, now),
            (Body::Unread, None) => {
                return self.pause = Some(Backoff::after(self.pause, RETRY_MIN, RETRY_MAX, now));
            }
            (Body::Refused(refusal), Some(write)) if write.retries(refusal) => {
                return write.retry(None, RETRY_MAX, now);
            }
            (Body::Refused(Refusal::NoTable), Some(_)) => &Outcome::Conflict(None),
            (Body::Refused(_), _) => return self.end = Some(ChangeRowEnd::Refused),
            (Body::Outcome { outcome, .. }, Some(_)) => outcome,
            _ => return,
        };
        let Some(write) = &mut self.write else { return };
        match outcome {
            Outcome::Applied(_) => self.end = Some(ChangeRowEnd::Done),
            Outcome::Conflict(Some(row)) if row.has_version(&write.op.version) => self.end = Some(ChangeRowEnd::Done),
            Outcome::Conflict(_) if self.until.passed(now.at) => self.end = Some(ChangeRowEnd::Unknown),
            Outcome::Conflict(row) => {
                self.decide(row.as_ref(), now);
                // Another write follows a pause and a read, because others change the row now.
                self.write = None;
                self.pause = Some(Backoff::after(self.pause, RETRY_MIN, RETRY_MAX, now));
            }
            Outcome::Unknown | Outcome::Throttled => write.retry(Some(outcome), RETRY_MAX, now),
        }
    }
}
