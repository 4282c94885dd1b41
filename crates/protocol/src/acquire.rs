//! Acquisition of a lock.

use std::time::Duration;

use crate::attr;
use crate::backoff::Backoff;
use crate::config::{FLOOR_AHEAD, RETRY_MIN, Timing};
use crate::expiry::{Evidence, Expiry, expiry};
use crate::held::{Held, HeldStep, LossReason, Won};
use crate::lease_end::ends;
use crate::machine::{Body, Machine, Response, Step};
use crate::name::LockName;
use crate::now::Now;
use crate::op::{Lease, Op, OpKind, Outcome};
use crate::release::Release;
use crate::request::{Request, WaitMode};
use crate::row::{Row, RowError, RowState};
use crate::service_clock::ServiceDate;
use crate::takeover::{SeenVersion, Takeover, observe_version, token_floor_wait};
use crate::time::{ClockReading, Deadline, SentAt, millis};
use crate::token::{FencingToken, LeaseId, RecordVersion};
use crate::watch::{Holder, Watch};

/// Maximum number of lease IDs of abandoned operations that are remembered.
const ABANDONED_MAX: usize = 16;
/// Maximum number of immediate restarts. After that, other clients win a race for the lock, and the machine polls.
const RESTARTS_MAX: u32 = 3;

/// Result of an [`Acquire`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcquireEnd {
    /// The lock is acquired.
    Acquired(Box<Held>),
    /// Another client holds the lock, and the wait mode is [`WaitMode::Try`].
    Contended(Holder),
    /// The row cannot be used as a lock.
    RowError(RowError),
    /// No request was answered for a whole lease.
    Unanswered,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// An acquire is started next.
    Begin,
    Read,
    Pausing(Backoff),
    Write(Operation),
    /// A takeover is started next.
    TakeOver,
    Won(Box<Held>),
    Contended(Holder),
    RowError(RowError),
    Unanswered,
}

/// One acquire or takeover. Its lease ID belongs to it alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Operation {
    op: Op,
    lease_id: LeaseId,
    /// Time before the first byte of its first try (R1).
    sent_at: SentAt,
    /// Whether a try was not answered, so that it may have been applied or may still be.
    ambiguous: bool,
    retry: Option<Backoff>,
}

/// State machine that acquires one lock. [`Machine`] describes how to call it.
///
/// An unanswered write is repeated identically until its own lease would have ended, because a write whose response was
/// lost may have been applied. The machine then abandons the operation, returns a clean-up for it, and ends with
/// [`AcquireEnd::Unanswered`]. A write that was applied too late is cleaned up too, and followed by a new operation with
/// a fresh lease ID.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Acquire {
    request: Request,
    phase: Phase,
    watch: Option<Watch>,
    abandoned: Vec<LeaseId>,
    clean_up: Option<Release>,
    pause: Option<Backoff>,
    restarts: u32,
    unread_since: Option<ClockReading>,
}

impl Acquire {
    /// Starts an acquisition. `watch` is the client's earlier observation of this lock. If there is one, the first request
    /// is a read, because a failed write costs more, unless the observed lease has expired and can be taken over.
    pub fn new(request: Request, watch: Option<Watch>) -> Self {
        Self {
            phase: if watch.is_some() { Phase::Read } else { Phase::Begin },
            request,
            watch,
            abandoned: Vec::new(),
            clean_up: None,
            pause: None,
            restarts: 0,
            unread_since: None,
        }
    }

    /// Makes the first request a read, also without an earlier observation. Its date tells the service time, so that the first write can have a
    /// service timestamp.
    pub fn reading_first(mut self) -> Self {
        self.phase = Phase::Read;
        self
    }

    /// Returns the name of the lock.
    pub fn name(&self) -> &LockName {
        &self.request.name
    }

    /// Returns the maximum time for one try of a request.
    pub fn attempt_timeout(&self) -> Duration {
        self.request.timing.attempt_timeout()
    }

    /// Returns the observation of another client's lease, to be kept for the next acquisition.
    pub fn watch(&self) -> Option<&Watch> {
        self.watch.as_ref()
    }

    /// Returns whether the lock is acquired, so that the next step is [`AcquireEnd::Acquired`] unless it is lost before.
    pub fn has_won(&self) -> bool {
        matches!(&self.phase, Phase::Won(held) if held.is_confirmed())
    }

    /// Returns the next step.
    pub fn next(&mut self, now: &Now<'_>) -> Step<AcquireEnd, Release> {
        if let Some(release) = self.clean_up.take() {
            return Step::CleanUp(release);
        }
        match &mut self.phase {
            Phase::Read => match self.watch.as_ref().and_then(|watch| watch.expires_in_without_check(now.at)) {
                Some(left) if left.is_zero() => self.begin(now, true),
                _ => Step::Read { strong: self.request.wait_mode == WaitMode::Try },
            },
            Phase::Begin => self.begin(now, false),
            Phase::TakeOver => self.begin(now, true),
            Phase::Pausing(pause) => {
                let expires_in = self.watch.as_ref().and_then(|watch| watch.expires_in_without_check(now.at));
                match pause.left(now.at).map(|left| expires_in.map_or(left, |expires_in| expires_in.min(left))) {
                    Some(left) if !left.is_zero() => Step::Pause(left),
                    _ => {
                        self.phase = Phase::Read;
                        self.next(now)
                    }
                }
            }
            Phase::Write(operation) => {
                if let Some(left) = operation.retry.and_then(|pause| pause.left(now.at)) {
                    return Step::Pause(left);
                }
                if operation.validity(&self.request.timing).passed(now.at) {
                    self.abandon(now);
                    self.phase = Phase::Unanswered;
                    return self.next(now);
                }
                Step::Write(operation.op.clone())
            }
            Phase::Won(_) => self.next_won(now),
            Phase::Contended(holder) => Step::Done(AcquireEnd::Contended(holder.clone())),
            Phase::RowError(error) => Step::Done(AcquireEnd::RowError(error.clone())),
            Phase::Unanswered => Step::Done(AcquireEnd::Unanswered),
        }
    }

    /// Returns the next step of an acquired lock, which may need a renewal before it is reported (R6).
    fn next_won(&mut self, now: &Now<'_>) -> Step<AcquireEnd, Release> {
        let Phase::Won(held) = &mut self.phase else { return self.next(now) };
        match held.next(now) {
            HeldStep::Lost(loss) => {
                self.clean_up = Some(Release::of(held, now));
                // If no renewal was answered for a whole lease, or none with a date, then the store does not work.
                match loss == LossReason::Expired && !held.is_confirmed() {
                    true => self.phase = Phase::Unanswered,
                    false => self.restart(now),
                }
                self.next(now)
            }
            HeldStep::Write(op) if !held.is_confirmed() => Step::Write(op),
            HeldStep::Sleep(length) if !held.is_confirmed() => Step::Pause(length),
            // R5: the lease is still valid now, after all waiting.
            _ => {
                self.watch = None;
                Step::Done(AcquireEnd::Acquired(held.clone()))
            }
        }
    }

    /// Takes the response to the request in flight. `now` is the time at which it arrived.
    pub fn handle(&mut self, now: &Now<'_>, response: Response<'_>) {
        match response.body {
            Body::Row(row) => self.handle_row(now, row, response),
            Body::Unread => self.handle_unread(now),
            Body::Outcome { sent_at, outcome } => self.handle_outcome(now, sent_at, outcome, response),
        }
    }

    /// Ends the acquisition early. Returns the clean-up that is needed, because an operation may have taken effect.
    pub fn cancel(&mut self, now: &Now<'_>) -> Option<Release> {
        match &self.phase {
            Phase::Won(held) => self.clean_up = Some(Release::of(held, now)),
            Phase::Write(_) => self.abandon(now),
            _ => {}
        }
        self.clean_up.take()
    }

    fn handle_row(&mut self, now: &Now<'_>, row: Option<&Row>, response: Response<'_>) {
        self.unread_since = None;
        if !matches!(self.phase, Phase::Read) {
            return;
        }
        match row {
            None => {
                self.watch = None;
                self.phase = Phase::Begin;
            }
            Some(row) => self.observe(now, row, response),
        }
    }

    fn handle_unread(&mut self, now: &Now<'_>) {
        let since = *self.unread_since.get_or_insert(now.at);
        if now.at.waiter_elapsed_since(since) >= self.request.timing.lease() {
            self.phase = Phase::Unanswered;
        } else {
            self.pause(now);
        }
    }

    fn handle_outcome(&mut self, now: &Now<'_>, sent_at: SentAt, outcome: &Outcome, response: Response<'_>) {
        let operation = match &mut self.phase {
            Phase::Write(operation) => operation,
            Phase::Won(held) => return held.handle_outcome(now, sent_at, outcome, response.date),
            _ => return,
        };
        match outcome {
            Outcome::Applied(row) => self.win(now, row, sent_at, response.date),
            Outcome::Conflict(Some(row)) if row.has_lease_id(&operation.lease_id) && !row.is_free() => {
                // An earlier try of this operation was applied.
                self.win(now, row, sent_at, response.date);
            }
            Outcome::Conflict(row) => {
                let spent = row.as_ref().is_some_and(|row| row.has_lease_id(&operation.lease_id));
                if operation.ambiguous {
                    // The unanswered try may still be applied. We do not adopt the lease that it would leave.
                    let lease_id = operation.lease_id.clone();
                    self.forsake(lease_id);
                }
                match row {
                    Some(row) if !spent => self.observe(now, row, response),
                    _ => self.restart(now),
                }
            }
            Outcome::Unknown | Outcome::Throttled => {
                operation.ambiguous |= *outcome == Outcome::Unknown;
                let cap = self.request.timing.attempt_timeout();
                operation.retry = Some(Backoff::after(operation.retry, RETRY_MIN, cap, now));
            }
        }
    }

    fn win(&mut self, now: &Now<'_>, row: &Row, sent_at: SentAt, date: Option<ServiceDate>) {
        let Phase::Write(operation) = &self.phase else { return };
        let Some(token) = row.token() else {
            self.abandon(now);
            self.phase = Phase::RowError(RowError::Malformed { attribute: attr::TOKEN, expected: "a whole number" });
            return;
        };
        if operation.validity(&self.request.timing).passed(now.at) {
            // The write was applied, but its lease would have ended by now. It is released and not reported.
            self.abandon(now);
            return self.restart(now);
        }
        let won = Won {
            name: self.request.name.clone(),
            lease_id: operation.lease_id.clone(),
            token,
            sent_at: operation.sent_at,
            row,
            date: date.map(|date| (date, sent_at)),
        };
        let Request { timing, renewal, max_hold, .. } = &self.request;
        self.phase = Phase::Won(Box::new(Held::new(won, timing.clone(), *renewal, *max_hold, now)));
    }

    /// Takes a row that this operation does not hold: decides whether to take it over, and watches it otherwise.
    fn observe(&mut self, now: &Now<'_>, row: &Row, response: Response<'_>) {
        let state = match row.state() {
            Err(error) => {
                self.phase = Phase::RowError(error);
                return;
            }
            Ok(RowState::Free) => {
                self.watch = None;
                return self.restart(now);
            }
            Ok(state) => state,
        };
        match self.takeover(now, row, &state, response) {
            Takeover::Now => {
                self.restart(now);
                if matches!(self.phase, Phase::Begin) {
                    self.phase = Phase::TakeOver;
                }
            }
            Takeover::Later if self.request.wait_mode == WaitMode::Try => {
                self.phase = Phase::Contended(Holder::of(row))
            }
            Takeover::Soon | Takeover::Later => self.pause(now),
        }
    }

    fn takeover(&mut self, now: &Now<'_>, row: &Row, state: &RowState, response: Response<'_>) -> Takeover {
        let version = match state {
            RowState::Free => return Takeover::Now,
            RowState::Held(held) => SeenVersion::of_held(held),
            RowState::Legacy(legacy) => SeenVersion::of_legacy(legacy),
        };
        observe_version(&mut self.watch, version, row, now);
        if matches!(state, RowState::Held(held) if self.abandoned.contains(&held.lease_id)) {
            // An abandoned operation of our own. No guard relies on it, even if our own child process is alive.
            return Takeover::Now;
        }
        let evidence = Evidence {
            at: now.at,
            service: now.service,
            date: response.date,
            liveness: response.liveness,
            watch: self.watch.as_ref(),
            legacy_skew: self.request.timing.legacy_skew(),
        };
        match (expiry(state, &evidence), state) {
            (Expiry::Running { .. }, _) => Takeover::Later,
            (Expiry::Expired, RowState::Legacy(legacy)) => token_floor_wait(self.watch.as_ref(), legacy, now),
            (Expiry::Expired, _) => Takeover::Now,
        }
    }

    fn pause(&mut self, now: &Now<'_>) {
        let (base, cap) = self.request.timing.poll_range();
        let pause = Backoff::after(self.pause, base, cap, now);
        (self.pause, self.restarts) = (Some(pause), 0);
        self.phase = Phase::Pausing(pause);
    }

    /// Starts a new operation: a few times at once, after that with a pause, because other clients win the race.
    fn restart(&mut self, now: &Now<'_>) {
        self.restarts += 1;
        match (self.restarts > RESTARTS_MAX, self.request.wait_mode) {
            (false, _) => self.phase = Phase::Begin,
            (true, WaitMode::Wait) => self.pause(now),
            (true, WaitMode::Try) => {
                self.phase = Phase::Contended(self.watch.as_ref().map(|w| w.holder().clone()).unwrap_or_default());
            }
        }
    }

    /// Abandons the present operation: its lease is never adopted, and it is released in the background.
    fn abandon(&mut self, now: &Now<'_>) {
        if let Phase::Write(operation) = &self.phase {
            let lease_id = operation.lease_id.clone();
            let until = Deadline::new(SentAt(now.at), self.request.timing.lease());
            self.clean_up = Some(Release::clean_up(self.request.name.clone(), lease_id.clone(), until, now));
            self.forsake(lease_id);
        }
    }

    fn forsake(&mut self, lease_id: LeaseId) {
        if self.abandoned.len() == ABANDONED_MAX {
            self.abandoned.remove(0);
        }
        self.abandoned.push(lease_id);
    }

    /// Starts an operation. Its `sent_at` is now, before its first byte (R1).
    fn begin(&mut self, now: &Now<'_>, take_over: bool) -> Step<AcquireEnd, Release> {
        let timing = &self.request.timing;
        let lease_id = LeaseId::from_random(now.entropy.lease_id);
        let second = now.service_interval().map_or(now.at.wall_ms, |(lower, _)| lower) / 1000;
        let lost_its_token = take_over && self.watch.as_ref().is_some_and(|watch| watch.token.is_none());
        let second = if lost_its_token { second + FLOOR_AHEAD.as_secs() } else { second };
        let lease = Lease {
            lease_id: lease_id.clone(),
            token_floor: FencingToken::token_floor(second),
            lease_ms: millis(timing.lease()),
            ends: ends(timing.lease(), now),
            owner: self.request.owner.clone(),
            acquired_on: now.at.wall_ms,
            data: self.request.data.clone(),
            liveness_key: self.request.liveness_key.clone(),
        };
        let kind = match &self.watch {
            Some(watch) if take_over => {
                OpKind::TakeOver { lease, seen: watch.version.clone(), seen_token: watch.token }
            }
            _ => OpKind::Acquire(lease),
        };
        let op = Op { name: self.request.name.clone(), version: RecordVersion::from_random(now.entropy.version), kind };
        self.phase = Phase::Write(Operation {
            op: op.clone(),
            lease_id,
            sent_at: SentAt(now.at),
            ambiguous: false,
            retry: None,
        });
        Step::Write(op)
    }
}

impl Operation {
    fn validity(&self, timing: &Timing) -> Deadline {
        Deadline::new(self.sent_at, Timing::validity(timing.lease()))
    }
}

impl Machine for Acquire {
    type End = AcquireEnd;
    type CleanUp = Release;

    fn next(&mut self, now: &Now<'_>) -> Step<AcquireEnd, Release> {
        Acquire::next(self, now)
    }

    fn handle(&mut self, now: &Now<'_>, response: Response<'_>) {
        Acquire::handle(self, now, response);
    }

    fn may_acquire(&self) -> bool {
        true
    }

    fn cancel(&mut self, now: &Now<'_>) -> Option<Release> {
        Acquire::cancel(self, now)
    }

    fn watch(&self) -> Option<&Watch> {
        Acquire::watch(self)
    }
}
