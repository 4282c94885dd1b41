//! Acquisition of a lock exactly as `getLock` of npm dynamo-lock 0.1.x performs it.

use std::convert::Infallible;
use std::time::Duration;

use crate::attr;
use crate::backoff::Backoff;
use crate::config::{RETRY_MAX, RETRY_MIN};
use crate::expiry::expired_for_npm;
use crate::machine::{Body, Machine, Response, Step};
use crate::name::LockName;
use crate::now::Now;
use crate::number::Number;
use crate::op::{Op, OpKind, Outcome};
use crate::row::{Row, RowError};
use crate::time::{ClockReading, Deadline, SentAt};
use crate::token::RecordVersion;

/// Maximum number of requests without a usable response. npm dynamo-lock gives up after the first.
const FAILURES_MAX: u32 = 4;
/// Time after which no further request is sent.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);

/// Result of a [`LegacyGet`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LegacyEnd {
    /// The lock is acquired until the time that was written.
    Got,
    /// Another client holds the lock.
    Held {
        /// End of the lock, as stored in the row.
        expires_on: Number,
        /// Wall clock with which it was compared, in milliseconds since 1970.
        now_ms: u64,
    },
    /// Another client acquired the lock between the read and the write.
    Lost,
    /// The outcome is unknown. If the lock was acquired, it expires at the requested time.
    Unknown,
    /// The row cannot be used as a lock.
    RowError(RowError),
}

/// State machine that acquires a lock as `getLock` of npm dynamo-lock does: a strongly consistent read, then a conditional
/// put of `guid` and `expiresOn`, with the wall clock alone.
///
/// The lock has the guarantees of npm dynamo-lock and no others: it lasts until `expiresOn` passes, if the clocks of
/// all clients agree. Unlike npm dynamo-lock it recognises its own put when the response was lost.
///
/// Call [`next`](Self::next), perform the step, and pass the result to [`handle_row`](Self::handle_row),
/// [`handle_outcome`](Self::handle_outcome) or [`handle_failure`](Self::handle_failure), until [`Step::Done`]. If it is
/// dropped earlier, the lock may be acquired until the requested time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LegacyGet {
    name: LockName,
    /// Duration of the lock. It may be zero or negative, because npm dynamo-lock allows it.
    duration_ms: i64,
    until: Deadline,
    put: Option<Put>,
    failures: u32,
    retry: Option<Backoff>,
    end: Option<LegacyEnd>,
}

/// The put, identical in all its retries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Put {
    op: Op,
    seen: Option<RecordVersion>,
    ends: Deadline,
    /// Whether a try had no usable response, so that it may have been applied.
    ambiguous: bool,
    /// Whether the row must be read before the next try.
    read_back: bool,
}

impl LegacyGet {
    /// Starts the acquisition of lock `name` for `duration_ms`.
    pub fn new(name: LockName, duration_ms: i64, at: ClockReading) -> Self {
        let until = Deadline::new(SentAt(at), GIVE_UP_AFTER);
        Self { name, duration_ms, until, put: None, failures: 0, retry: None, end: None }
    }

    /// Returns the maximum time that a request may take from now.
    pub fn time_left(&self, at: ClockReading) -> Duration {
        self.until.left(at)
    }

    /// Returns the next step.
    pub fn next(&mut self, now: &Now<'_>) -> Step<LegacyEnd> {
        if self.end.is_none() && self.failures > 0 && self.is_hopeless(now.at) {
            self.end = Some(LegacyEnd::Unknown);
        }
        match (&self.end, self.retry.and_then(|pause| pause.left(now.at)), &self.put) {
            (Some(end), _, _) => Step::Done(end.clone()),
            (None, Some(left), _) => Step::Pause(left.min(self.until.left(now.at))),
            (None, None, Some(put)) if !put.read_back => Step::Write(put.op.clone()),
            (None, None, _) => Step::Read { strong: true },
        }
    }

    fn is_hopeless(&self, at: ClockReading) -> bool {
        let ended = self.put.as_ref().is_some_and(|put| put.ends.passed(at));
        self.failures >= FAILURES_MAX || self.until.passed(at) || ended
    }

    /// Takes the row that was read. `now` is the time at which the response arrived.
    pub fn handle_row(&mut self, now: &Now<'_>, row: Option<&Row>) {
        match &mut self.put {
            Some(put) if put.read_back => {
                put.read_back = false;
                let version = row.and_then(Row::version);
                if version.as_ref() == Some(&put.op.version) {
                    self.end = Some(put.applied(now.at));
                } else if version != put.seen {
                    self.end = Some(LegacyEnd::Lost);
                }
                // Otherwise the put has not been applied, or not yet, so it is sent once more.
            }
            Some(_) => {}
            None => self.decide(now, row),
        }
    }

    fn decide(&mut self, now: &Now<'_>, row: Option<&Row>) {
        let wall = now.at.wall_ms;
        match row.map(|row| (row, row.state())) {
            None => {}
            Some((_, Err(error))) => {
                self.end = Some(LegacyEnd::RowError(error));
                return;
            }
            Some((_, Ok(state))) if expired_for_npm(&state, wall) => {}
            Some((row, Ok(_))) => {
                let expires_on = row.number(attr::EXPIRES_ON).cloned().unwrap_or(Number::from(0));
                self.end = Some(LegacyEnd::Held { expires_on, now_ms: wall });
                return;
            }
        }
        let expires_on = wall.saturating_add_signed(self.duration_ms);
        let kind = OpKind::LegacyGet { seen: row.cloned(), expires_on };
        let op = Op { name: self.name.clone(), version: RecordVersion::from_random(now.entropy.version), kind };
        let duration = Duration::from_millis(self.duration_ms.try_into().unwrap_or(0));
        let ends = Deadline::new(SentAt(now.at), duration);
        self.put = Some(Put { op, seen: row.and_then(Row::version), ends, ambiguous: false, read_back: false });
    }

    /// Takes the failure of a request that was not answered or throttled.
    pub fn handle_failure(&mut self, now: &Now<'_>) {
        self.failures += 1;
        self.retry = Some(Backoff::after(self.retry, RETRY_MIN, RETRY_MAX, now));
    }

    /// Takes the outcome of the put in flight. `now` is the time at which the response arrived.
    pub fn handle_outcome(&mut self, now: &Now<'_>, outcome: &Outcome) {
        let Some(put) = &mut self.put else { return };
        match outcome {
            Outcome::Applied(_) => self.end = Some(put.applied(now.at)),
            Outcome::Conflict(Some(row)) if row.version().as_ref() == Some(&put.op.version) => {
                put.ambiguous = true;
                self.end = Some(put.applied(now.at));
            }
            Outcome::Conflict(Some(_)) => self.end = Some(LegacyEnd::Lost),
            // The response does not contain the row, and the user's own client may have sent the put twice.
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

impl Put {
    /// Returns the result of a put that has been applied: the lock is acquired, unless its end passed before a repeated
    /// try was answered. The response to a single try counts whatever the duration, as in npm dynamo-lock.
    fn applied(&self, at: ClockReading) -> LegacyEnd {
        if self.ambiguous && self.ends.passed(at) { LegacyEnd::Unknown } else { LegacyEnd::Got }
    }
}

impl Machine for LegacyGet {
    type End = LegacyEnd;
    type CleanUp = Infallible;

    fn next(&mut self, now: &Now<'_>) -> Step<LegacyEnd> {
        LegacyGet::next(self, now)
    }

    fn handle(&mut self, now: &Now<'_>, response: Response<'_>) {
        match response.body {
            Body::Row(row) => self.handle_row(now, row),
            Body::Unread => self.handle_failure(now),
            Body::Outcome { outcome, .. } => self.handle_outcome(now, outcome),
        }
    }

    fn request_limit(&self, at: ClockReading) -> Duration {
        self.time_left(at)
    }
}
