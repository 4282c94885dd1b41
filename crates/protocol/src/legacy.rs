use std::time::Duration;

use crate::backoff::Backoff;
use crate::config::{RETRY_MAX, RETRY_MIN};
use crate::{
    ClockReading, Deadline, LockName, Now, Number, Op, OpKind, Outcome, RecordVersion, Row, RowError, RowState, SentAt,
};

/// So many requests without an answer that tells; the original gave up after the first.
const FAILURES_MAX: u32 = 4;
/// And no request begins later.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);

/// How a legacy get ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LegacyEnd {
    /// The lock is ours until the time that was written.
    Got,
    /// Somebody's lock is not over yet.
    Held {
        /// Until when, as its row has it.
        expires_on: Number,
        /// The wall clock that it was compared with, epoch ms.
        now_ms: u64,
    },
    /// Somebody else was faster.
    Lost,
    /// No answer told, in time. It may have been taken; then it is over as it was to be.
    Unknown,
    /// The row of this name is not one that we may touch.
    RowError(RowError),
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LegacyStep {
    /// Read the row, strongly consistent; feed [`LegacyGet::handle_row`], or [`LegacyGet::handle_failure`].
    Read,
    /// Send this, once; feed [`LegacyGet::handle_outcome`].
    Write(Op),
    /// Wait so long.
    Pause(Duration),
    /// Done.
    Done(LegacyEnd),
}

/// Takes a lock as `getLock` of the original npm `dynamo-lock` did: a read, then a conditional put of `version` and
/// `expiresOn`, by the wall clock alone. It keeps the original's promises, no others: whoever gets the lock has it until
/// `expiresOn` passes, if clocks agree. Unlike the original it recognises its own put when the answer was lost.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LegacyGet {
    name: LockName,
    /// May be zero or negative, as the original's could.
    duration_ms: i64,
    until: Deadline,
    put: Option<Put>,
    failures: u32,
    retry: Option<Backoff>,
    end: Option<LegacyEnd>,
}

/// The one put of a get, the same in its retries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Put {
    op: Op,
    seen: Option<RecordVersion>,
    over: Deadline,
    /// A try went unanswered, or its answer did not tell: the row is read before another.
    ambiguous: bool,
    read_back: bool,
}

impl LegacyGet {
    /// Of this lock, for so many milliseconds.
    pub fn new(name: LockName, duration_ms: i64, at: ClockReading) -> Self {
        let until = Deadline::new(SentAt(at), GIVE_UP_AFTER);
        Self { name, duration_ms, until, put: None, failures: 0, retry: None, end: None }
    }

    /// How long a request may take from now.
    pub fn time_left(&self, at: ClockReading) -> Duration {
        self.until.left(at)
    }

    /// What to do next.
    pub fn next(&mut self, now: &Now<'_>) -> LegacyStep {
        if self.end.is_none() && self.failures > 0 && self.is_hopeless(now.at) {
            self.end = Some(LegacyEnd::Unknown);
        }
        match (&self.end, self.retry.and_then(|pause| pause.left(now.at)), &self.put) {
            (Some(end), _, _) => LegacyStep::Done(end.clone()),
            (None, Some(left), _) => LegacyStep::Pause(left.min(self.until.left(now.at))),
            (None, None, Some(put)) if !put.read_back => LegacyStep::Write(put.op.clone()),
            (None, None, _) => LegacyStep::Read,
        }
    }

    fn is_hopeless(&self, at: ClockReading) -> bool {
        let over = self.put.as_ref().is_some_and(|put| put.over.passed(at));
        self.failures >= FAILURES_MAX || self.until.passed(at) || over
    }

    /// The row that was read; `now` is when the answer was received.
    pub fn handle_row(&mut self, now: &Now<'_>, row: Option<&Row>) {
        match &mut self.put {
            Some(put) if put.read_back => {
                put.read_back = false;
                let there = row.and_then(Row::version);
                if there.as_ref() == Some(&put.op.version) {
                    self.end = Some(landed(put, now.at));
                } else if there != put.seen {
                    self.end = Some(LegacyEnd::Lost);
                }
                // Else it has not landed, or not yet: the same put again.
            }
            Some(_) => {}
            None => self.decide(now, row),
        }
    }

    fn decide(&mut self, now: &Now<'_>, row: Option<&Row>) {
        let wall = now.at.wall_ms;
        let not_over = match row.map(Row::state) {
            Some(Err(fault)) => {
                self.end = Some(LegacyEnd::RowError(fault));
                return;
            }
            Some(Ok(RowState::Held(held))) if held.expires_on > wall => Some(Number::from(held.expires_on)),
            Some(Ok(RowState::Legacy(legacy))) if legacy.expires_on > wall.try_into().unwrap_or(i64::MAX) => {
                row.and_then(|row| row.number(crate::attr::EXPIRES_ON)).cloned()
            }
            _ => None,
        };
        if let Some(expires_on) = not_over {
            self.end = Some(LegacyEnd::Held { expires_on, now_ms: wall });
            return;
        }
        let expires_on = wall.saturating_add_signed(self.duration_ms);
        let kind = OpKind::LegacyGet { seen: row.cloned(), expires_on };
        let op = Op { name: self.name.clone(), version: RecordVersion::from_random(now.entropy.version), kind };
        let lasts = Duration::from_millis(self.duration_ms.try_into().unwrap_or(0));
        let over = Deadline::new(SentAt(now.at), lasts);
        self.put = Some(Put { op, seen: row.and_then(Row::version), over, ambiguous: false, read_back: false });
    }

    /// A request went unanswered, or was throttled.
    pub fn handle_failure(&mut self, now: &Now<'_>) {
        self.failures += 1;
        self.retry = Some(Backoff::after(self.retry, RETRY_MIN, RETRY_MAX, now));
    }

    /// The answer to the put in flight; `now` is when it was received.
    pub fn handle_outcome(&mut self, now: &Now<'_>, outcome: &Outcome) {
        let Some(put) = &mut self.put else { return };
        match outcome {
            Outcome::Applied(_) => self.end = Some(landed(put, now.at)),
            Outcome::Conflict(Some(row)) if row.version().as_ref() == Some(&put.op.version) => {
                put.ambiguous = true;
                self.end = Some(landed(put, now.at));
            }
            Outcome::Conflict(Some(_)) => self.end = Some(LegacyEnd::Lost),
            // The answer does not bring the row; whoever sent the put may have sent it twice.
            Outcome::Conflict(None) => {
                put.ambiguous = true;
                put.read_back = true;
                self.failures += 1;
            }
            Outcome::Unknown => {
                put.ambiguous = true;
                put.read_back = true;
                self.handle_failure(now);
            }
            Outcome::Throttled => self.handle_failure(now),
        }
    }
}

/// Ours, unless that was learned only after it was over. An answer at once counts whatever the duration, as with the
/// original.
fn landed(put: &Put, at: ClockReading) -> LegacyEnd {
    if put.ambiguous && put.over.passed(at) { LegacyEnd::Unknown } else { LegacyEnd::Got }
}
