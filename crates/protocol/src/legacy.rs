//! Acquisition of a lock exactly as `getLock` of npm dynamo-lock 0.1.x performs it.

use std::convert::Infallible;
use std::time::Duration;

use crate::{
    Body, ClockReading, Deadline, Kind, LockName, Machine, Now, Number, Op, OpKind, Outcome, RecordVersion, Refusal,
    Response, Row, RowError, SentAt, Step, attr, expiry::expired_for_npm, retry::Backoff, retry::RETRY_MAX,
    retry::RETRY_MIN,
};

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
    /// The store refused a request, and no put may have been applied.
    Refused,
}

/// State machine that acquires a lock as `getLock` of npm dynamo-lock does: a strongly consistent read, then a
/// conditional put of `guid` and `expiresOn`, with the wall clock alone.
///
/// The lock has the guarantees of npm dynamo-lock and no others: it lasts until `expiresOn` passes, if the clocks of
/// all clients agree. Unlike npm dynamo-lock it recognises its own put when the response was lost.
///
/// [`Machine`] describes how to call it. If it is dropped before [`Step::Done`], the lock may be acquired until the
/// requested time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LegacyGet {
    name: LockName,
    /// Duration of the lock. It may be zero or negative, because npm dynamo-lock allows it.
    duration_ms: i64,
    until: Deadline,
    put: Option<Put>,
    failures: u32,
    pause: Option<Backoff>,
    end: Option<LegacyEnd>,
}

/// The put, identical in all its retries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Put {
    op: Op,
    seen: Option<RecordVersion>,
    ends: Deadline,
    /// Whether an attempt had no usable response, so that it may have been applied.
    ambiguous: bool,
    /// Whether the row must be read before the next attempt.
    read_back: bool,
}

impl LegacyGet {
    /// Starts the acquisition of lock `name` for `duration_ms`.
    pub fn new(name: LockName, duration_ms: i64, at: ClockReading) -> Self {
        let until = Deadline::new(SentAt(at), GIVE_UP_AFTER);
        Self { name, duration_ms, until, put: None, failures: 0, pause: None, end: None }
    }

    fn handle_row(&mut self, now: &Now<'_>, row: Option<&Row>) {
        match &mut self.put {
            Some(put) if put.read_back => {
                put.read_back = false;
                if row.is_some_and(|row| row.has_version(&put.op.version)) {
                    self.end = Some(put.applied(now.at));
                } else if row.and_then(Row::version) != put.seen {
                    self.end = Some(LegacyEnd::Lost);
                }
                // Otherwise the put has not been applied, or not yet, so it is sent once more.
            }
            Some(_) => {}
            None => match self.decide(now, row) {
                Ok(put) => self.put = Some(put),
                Err(end) => self.end = Some(end),
            },
        }
    }

    /// Returns the put over the row that was read, or the result if the row must not be replaced.
    fn decide(&self, now: &Now<'_>, seen: Option<&Row>) -> Result<Put, LegacyEnd> {
        let now_ms = now.at.wall_ms;
        if let Some(row) = seen {
            let state = row.state_for(Kind::Mutex).map_err(LegacyEnd::RowError)?;
            if !expired_for_npm(&state, now_ms) {
                let expires_on = row.number(attr::EXPIRES_ON).cloned().unwrap_or(Number::from(0));
                return Err(LegacyEnd::Held { expires_on, now_ms });
            }
        }
        let expires_on = now_ms.saturating_add_signed(self.duration_ms);
        let kind = OpKind::LegacyGet { seen: seen.cloned(), expires_on };
        let op = Op::new(&self.name, Kind::Mutex, kind, now);
        let duration = Duration::from_millis(self.duration_ms.try_into().unwrap_or(0));
        let ends = Deadline::new(SentAt(now.at), duration);
        Ok(Put { op, seen: seen.and_then(Row::version), ends, ambiguous: false, read_back: false })
    }

    fn handle_outcome(&mut self, now: &Now<'_>, outcome: &Outcome) {
        let Some(put) = &mut self.put else { return };
        match outcome {
            Outcome::Applied(_) => self.end = Some(put.applied(now.at)),
            Outcome::Conflict(Some(row)) if row.has_version(&put.op.version) => {
                put.ambiguous = true;
                self.end = Some(put.applied(now.at));
            }
            Outcome::Conflict(Some(_)) => self.end = Some(LegacyEnd::Lost),
            // The response does not contain the row, and the user's own client may have sent the put twice.
            Outcome::Conflict(None) => {
                (put.ambiguous, put.read_back) = (true, true);
                self.failures += 1;
            }
            Outcome::Unknown => {
                (put.ambiguous, put.read_back) = (true, true);
                self.retry(now);
            }
            Outcome::Throttled => self.retry(now),
        }
    }

    /// Counts a request that was not answered or throttled, and starts the pause before the next one.
    fn retry(&mut self, now: &Now<'_>) {
        self.failures += 1;
        self.pause = Some(Backoff::after(self.pause, RETRY_MIN, RETRY_MAX, now));
    }
}

impl Put {
    /// Returns the result of a put that has been applied: the lock is acquired, unless its end passed before a repeated
    /// attempt was answered. The response to a single attempt counts whatever the duration, as in npm dynamo-lock.
    fn applied(&self, at: ClockReading) -> LegacyEnd {
        if self.ambiguous && self.ends.passed(at) { LegacyEnd::Unknown } else { LegacyEnd::Got }
    }
}

impl Machine for LegacyGet {
    type End = LegacyEnd;
    type CleanUp = Infallible;

    fn next(&mut self, now: &Now<'_>) -> Step<LegacyEnd> {
        let ended = self.until.passed(now.at) || self.put.as_ref().is_some_and(|put| put.ends.passed(now.at));
        if self.end.is_none() && (self.failures >= FAILURES_MAX || self.failures > 0 && ended) {
            self.end = Some(LegacyEnd::Unknown);
        }
        match (&self.end, self.pause.and_then(|pause| pause.left(now.at)), &self.put) {
            (Some(end), _, _) => Step::Done(end.clone()),
            (None, Some(left), _) => Step::Pause(left.min(self.until.left(now.at))),
            (None, None, Some(put)) if !put.read_back => Step::Write(put.op.clone()),
            (None, None, _) => Step::Read { strong: true },
        }
    }

    fn handle(&mut self, now: &Now<'_>, response: Response<'_>) {
        match response.body {
            Body::Row(row) => self.handle_row(now, row),
            Body::Unread => self.retry(now),
            Body::Refused(Refusal::Other) if self.put.as_ref().is_some_and(|put| put.ambiguous) => self.retry(now),
            Body::Refused(_) => self.end = Some(LegacyEnd::Refused),
            Body::Outcome { outcome, .. } => self.handle_outcome(now, outcome),
        }
    }

    fn request_limit(&self, at: ClockReading) -> Duration {
        self.until.left(at)
    }
}
