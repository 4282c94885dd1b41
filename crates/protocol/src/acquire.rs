//! Acquisition of a lock.

use std::time::Duration;

use crate::{
    Body, ClockReading, Deadline, DoneRow, Due, FencingToken, Held, HeldStep, Hint, HoldHistory, HoldRecord, Holder,
    Kind, LeaseId, LossReason, Machine, Now, Outcome, OwnHold, Poller, Refusal, Release, Request, Response, RoundTrip,
    Row, RowError, RowFacts, RowState, SentAt, ServiceDate, Source, Step, Success, WaitMode, Watch, attr, held::Won,
    hint::Hints, operation::Operation, operation::Start, takeover::Takeover, takeover::Waiter,
};

/// Maximum number of immediate restarts. After that, other clients win a race for the lock, and the machine polls.
pub(crate) const RESTARTS_MAX: u32 = 3;

/// Result of an [`Acquire`] or a [`Hold`](crate::Hold).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AcquireEnd {
    /// The lock is acquired.
    Acquired(Box<Held>),
    /// The lock is not acquired, and the wait mode is [`WaitMode::Try`]. Contains the holder that was observed last. If
    /// the lock was free each time, because other clients acquired and released it faster, its fields are `None`.
    Contended(Holder),
    /// The work has succeeded before, so it must not run. Only for [`Kind::Once`].
    Done(Success),
    /// The lock was acquired but lost before its row lasted as long as the hold. An [`Acquire`] starts again instead.
    Lost {
        /// Token of the lost acquisition.
        token: FencingToken,
        /// Reason of the loss.
        reason: LossReason,
    },
    /// The row cannot be used as a lock.
    RowError(RowError),
    /// No request was answered for a whole lease, or those that were answered were refused.
    Unanswered,
    /// The store refused a request, and no earlier attempt of it holds the lock.
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// A new operation is started next.
    Begin(Start),
    Read,
    Pausing,
    /// The client has held the lock before, and lets others look first until `rest` after its release.
    SittingOut {
        hold: OwnHold,
        rest: Duration,
    },
    Write(Operation),
    Won(Box<Held>),
    Ended(AcquireEnd),
}

/// State machine that acquires one lock. [`Machine`] describes how to call it.
///
/// An unanswered write is repeated identically until its own lease would have ended, because a write without a
/// response may have been applied. The machine then abandons the operation, returns a clean-up for it, and ends with
/// [`AcquireEnd::Unanswered`]. A refused attempt counts as unanswered if an earlier one was not answered; otherwise it
/// ends the acquisition with [`AcquireEnd::Refused`]. A write that was applied too late is cleaned up too, and followed
/// by a new operation with a fresh lease ID.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Acquire {
    request: Request,
    phase: Phase,
    waiter: Waiter,
    clean_up: Option<Release>,
    poller: Poller,
    hints: Hints,
    /// Time before the read in flight was sent.
    read_sent: Option<SentAt>,
    /// The client's last hold of this lock. `None` if the attempt has sat out after it.
    own_hold: Option<OwnHold>,
    restarts: u32,
    unread_since: Option<ClockReading>,
}

impl Acquire {
    /// Starts an acquisition. `watch` is the client's earlier observation of this lock. If there is one, the first
    /// request is a read, because a failed write costs more. So it is for [`Kind::Once`], because most attempts find a
    /// success.
    pub fn new(request: Request, watch: Option<Watch>) -> Self {
        let reads_first = watch.is_some() || request.kind == Kind::Once;
        Self {
            phase: if reads_first { Phase::Read } else { Phase::Begin(Start::Acquire) },
            waiter: Waiter::new(watch, request.timing.legacy_skew()),
            request,
            clean_up: None,
            poller: Poller::default(),
            hints: Hints::default(),
            read_sent: None,
            own_hold: None,
            restarts: 0,
            unread_since: None,
        }
    }

    /// Adds the client's last hold of this lock. After it, an acquisition that waits may have to let others look first.
    pub fn after(mut self, own_hold: Option<OwnHold>) -> Self {
        self.own_hold = own_hold;
        self
    }

    /// Adds the lease ID of a guard of this client that has lost the lock, so that its lease may be taken over at once.
    pub fn after_loss(mut self, lease_id: Option<LeaseId>) -> Self {
        self.waiter.lost = lease_id;
        self
    }

    /// Makes the first request a read, also without an earlier observation. The date of its response bounds service
    /// time, so that the first write can have a service timestamp.
    pub fn reading_first(mut self) -> Self {
        self.phase = Phase::Read;
        self
    }

    /// Returns whether the lock is acquired, so that the next step is [`AcquireEnd::Acquired`] unless it is lost
    /// before.
    pub fn has_won(&self) -> bool {
        matches!(&self.phase, Phase::Won(held) if held.is_confirmed)
    }

    /// Lets others look first, if this client has just held the lock while they waited.
    fn sit_out(&mut self, now: &Now<'_>) {
        let rest = |hold: &OwnHold| hold.rest(now.at, self.request.timing.lease(), now.entropy.jitter);
        if let Some(rest) = self.own_hold.as_ref().and_then(rest) {
            // `take`, because the run of holds has ended.
            self.phase = self.own_hold.take().map_or(Phase::Read, |hold| Phase::SittingOut { hold, rest });
        }
    }

    fn reads_strongly(&self) -> bool {
        // A success that was read is final, so the first look for it may be eventually consistent.
        let looks_for_success = self.request.kind == Kind::Once && !self.poller.has_looked();
        self.request.wait_mode == WaitMode::Try && !looks_for_success || self.poller.must_read_consistently()
    }

    fn look(&mut self, now: &Now<'_>) -> Step<AcquireEnd, Release> {
        self.phase = Phase::Read;
        self.next(now)
    }

    /// Returns the next step of an acquired lock, which may need a renewal before it is reported (R6).
    fn next_won(&mut self, now: &Now<'_>) -> Step<AcquireEnd, Release> {
        let Phase::Won(held) = &mut self.phase else { return self.next(now) };
        match held.next(now) {
            HeldStep::Lost(loss) => {
                self.clean_up = Some(Release::of_unreported(held, now));
                // If no renewal was answered for a whole lease, or none with a date, then the store does not work.
                match loss == LossReason::Expired && !held.is_confirmed {
                    true => self.phase = Phase::Ended(AcquireEnd::Unanswered),
                    false => self.restart(now, Start::Acquire),
                }
                self.next(now)
            }
            HeldStep::Write(op) if !held.is_confirmed => Step::Write(op),
            HeldStep::Sleep(length) if !held.is_confirmed => Step::Pause(length),
            // R5: the lease is still valid now, after all waiting.
            _ => {
                self.waiter.watch = None;
                Step::Done(AcquireEnd::Acquired(held.clone()))
            }
        }
    }

    fn handle_outcome(&mut self, now: &Now<'_>, sent_at: SentAt, outcome: &Outcome, response: Response<'_>) {
        let Phase::Write(operation) = &mut self.phase else { return };
        match outcome {
            Outcome::Applied(Some(row)) => self.win(now, row, sent_at, response.date),
            Outcome::Conflict(Some(row)) if row.has_lease_id(&operation.lease_id) && !row.is_free() => {
                // An earlier attempt of this operation was applied.
                self.win(now, row, sent_at, response.date);
            }
            Outcome::Conflict(row) => {
                let spent = row.as_ref().is_some_and(|row| row.has_lease_id(&operation.lease_id));
                if operation.write.ambiguous {
                    // The unanswered attempt may still be applied. We do not adopt the lease that it would leave.
                    self.waiter.abandon(operation.lease_id.clone());
                }
                match row {
                    Some(row) if !spent => self.observe(now, row, response, (Source::Write, sent_at)),
                    _ => self.restart(now, Start::Acquire),
                }
            }
            Outcome::Unknown | Outcome::Throttled | Outcome::Applied(None) => {
                // Without the row, the repetition returns it with a conflict.
                let unknown = matches!(outcome, Outcome::Applied(None));
                let outcome = if unknown { &Outcome::Unknown } else { outcome };
                operation.write.retry(Some(outcome), self.request.timing.attempt_timeout(), now);
            }
        }
    }

    /// Ends the acquisition, unless an earlier attempt of the present operation may have been applied. Then it holds the
    /// lock, which a further attempt shows.
    fn handle_refusal(&mut self, now: &Now<'_>, refusal: Refusal) {
        if let Phase::Write(operation) = &mut self.phase {
            if operation.write.retries(refusal) {
                return operation.write.retry(None, self.request.timing.attempt_timeout(), now);
            }
            if operation.write.ambiguous {
                // The unanswered attempt may still be applied, once the table exists again.
                self.abandon(now);
            }
        }
        self.phase = Phase::Ended(AcquireEnd::Refused);
    }

    fn win(&mut self, now: &Now<'_>, row: &Row, sent_at: SentAt, date: Option<ServiceDate>) {
        let Phase::Write(operation) = &self.phase else { return };
        let Some(token) = row.token() else {
            self.abandon(now);
            let error = RowError::Malformed { attribute: attr::TOKEN, expected: "a whole number" };
            self.phase = Phase::Ended(AcquireEnd::RowError(error));
            return;
        };
        if operation.validity.passed(now.at) {
            // The write was applied, but its lease would have ended by now. It is released and not reported.
            self.abandon(now);
            return self.restart(now, Start::Acquire);
        }
        let (lease_id, date) = (operation.lease_id.clone(), date.map(|date| (date, sent_at)));
        self.poller.observe(&RowFacts::of(row), false, Source::Write, RoundTrip::ending(sent_at, now));
        let history = HoldHistory::of(row);
        let record = HoldRecord::new(history, self.poller.handoffs(), operation.sent_at, self.own_hold);
        let won = Won { lease_id, token, sent_at: operation.sent_at, row, date, record, entry: None };
        self.phase = Phase::Won(Box::new(Held::new(&self.request, won, now)));
    }

    /// Takes a row that this operation does not hold: takes its lock over, or waits.
    fn observe(&mut self, now: &Now<'_>, row: &Row, response: Response<'_>, (source, sent): (Source, SentAt)) {
        let times = RoundTrip::ending(sent, now);
        let state = match row.state_for(self.request.kind) {
            Ok(state) => state,
            Err(_) if self.poller.ignores_unusable(source, times) => {
                self.hints.begin_pause(now, None, self.poller.pause_length());
                return self.pause();
            }
            Err(error) => return self.phase = Phase::Ended(AcquireEnd::RowError(error)),
        };
        let facts = RowFacts::of(row);
        if !self.poller.observe(&facts, state == RowState::Free, source, times) {
            self.begin_pause(now);
            return self.pause();
        }
        if let RowState::Done(done) = state {
            return self.observe_success(now, done);
        }
        match self.waiter.decide(now, row, &state, response) {
            Takeover::Now => self.restart(now, Start::TakeOver),
            // The first look for a success may be stale.
            Takeover::Later if self.request.wait_mode == WaitMode::Try && source == Source::Look => {
                self.phase = Phase::Read;
            }
            Takeover::Later if self.request.wait_mode == WaitMode::Try => {
                self.phase = Phase::Ended(AcquireEnd::Contended(Holder::of(row, now)));
            }
            Takeover::Soon | Takeover::Later => {
                let least = self.begin_pause(now);
                let expires_in = self.watch().and_then(|watch| watch.expires_in(now.at));
                let due = Due { least, expires_in, random: now.entropy.jitter };
                self.poller.schedule(&facts, times, self.request.timing.lease(), due);
                self.pause();
            }
        }
    }

    /// Ends the acquisition, because the work has succeeded, or starts the work anew if that success does not count any
    /// more.
    fn observe_success(&mut self, now: &Now<'_>, done: DoneRow) {
        self.waiter.watch = None;
        match done.counts(now) {
            true => self.phase = Phase::Ended(AcquireEnd::Done(done.success)),
            false => self.restart(now, Start::Anew { seen: done.version, token: done.success.token }),
        }
    }

    /// Waits for the next look, which is scheduled.
    fn pause(&mut self) {
        self.restarts = 0;
        self.phase = Phase::Pausing;
    }

    /// Backs off after a request without a usable response.
    fn back_off(&mut self, now: &Now<'_>) {
        self.begin_pause(now);
        self.poller.back_off(now.at, self.request.timing.lease(), now.entropy.jitter);
        self.pause();
    }

    /// Ends the present pause. Returns the least length of the next one.
    fn begin_pause(&mut self, now: &Now<'_>) -> Duration {
        let token = self.watch().and_then(|watch| watch.token);
        self.hints.begin_pause(now, token, self.poller.pause_length())
    }

    /// Returns the time until the next look, `None` if it is due.
    fn pause_left(&self, at: ClockReading) -> Option<Duration> {
        let left = self.poller.wait(at)?;
        Some(self.hints.left(at).map_or(left, |hinted| hinted.min(left))).filter(|left| !left.is_zero())
    }

    /// Starts a new operation: a few times at once, after that with a pause, because other clients win the race.
    fn restart(&mut self, now: &Now<'_>, start: Start) {
        self.restarts += 1;
        match (self.restarts > RESTARTS_MAX, self.request.wait_mode) {
            (false, _) => self.phase = Phase::Begin(start),
            (true, WaitMode::Wait) => self.back_off(now),
            (true, WaitMode::Try) => {
                let holder = self.watch().map(|watch| watch.holder.clone()).unwrap_or_default();
                self.phase = Phase::Ended(AcquireEnd::Contended(holder));
            }
        }
    }

    /// Abandons the present operation: its lease is never adopted, and it is released in the background.
    fn abandon(&mut self, now: &Now<'_>) {
        if let Phase::Write(operation) = &self.phase {
            let lease_id = operation.lease_id.clone();
            let until = Deadline::new(SentAt(now.at), self.request.timing.lease());
            let lock = (&self.request.name, self.request.kind);
            self.clean_up = Some(Release::clean_up(lock, lease_id.clone(), until, now));
            self.waiter.abandon(lease_id);
        }
    }

    /// Starts an operation. Its `sent_at` is now, before its first byte (R1).
    fn begin(&mut self, now: &Now<'_>, start: Start) -> Step<AcquireEnd, Release> {
        let operation = Operation::new(&self.request, start, self.watch(), now);
        let op = operation.write.op.clone();
        self.phase = Phase::Write(operation);
        Step::Write(op)
    }
}

impl Machine for Acquire {
    type End = AcquireEnd;
    type CleanUp = Release;

    fn next(&mut self, now: &Now<'_>) -> Step<AcquireEnd, Release> {
        if let Some(release) = self.clean_up.take() {
            return Step::CleanUp(release);
        }
        if self.poller.begin(now.at) && self.request.wait_mode == WaitMode::Wait {
            self.sit_out(now);
        }
        match &mut self.phase {
            Phase::Begin(start) => {
                let start = start.clone();
                self.begin(now, start)
            }
            Phase::Read => {
                self.read_sent = Some(SentAt(now.at));
                Step::Read { strong: self.reads_strongly() }
            }
            Phase::Pausing => match self.pause_left(now.at) {
                Some(left) => Step::Pause(left),
                None => self.look(now),
            },
            Phase::SittingOut { hold, rest } => match hold.rest_left(*rest, now.at) {
                Duration::ZERO => self.look(now),
                left => Step::Pause(left),
            },
            Phase::Write(operation) => {
                let step = operation.write.step(now.at);
                if matches!(step, Step::Write(_)) && operation.validity.passed(now.at) {
                    self.abandon(now);
                    self.phase = Phase::Ended(AcquireEnd::Unanswered);
                    return self.next(now);
                }
                step
            }
            Phase::Won(_) => self.next_won(now),
            Phase::Ended(end) => Step::Done(end.clone()),
        }
    }

    fn handle(&mut self, now: &Now<'_>, response: Response<'_>) {
        match (response.body, &mut self.phase) {
            (_, Phase::Won(held)) => held.handle(now, response),
            (Body::Row(row), Phase::Read) => {
                self.unread_since = None;
                let source = match self.reads_strongly() {
                    true => Source::StrongLook,
                    false if self.hints.is_hinted() => Source::HintedLook,
                    false => Source::Look,
                };
                let sent = self.read_sent.take().unwrap_or(SentAt(now.at));
                match row {
                    Some(row) => self.observe(now, row, response, (source, sent)),
                    None => {
                        self.poller.count_look();
                        self.waiter.watch = None;
                        self.phase = Phase::Begin(Start::Acquire);
                    }
                }
            }
            (Body::Unread, _) => {
                let since = *self.unread_since.get_or_insert(now.at);
                match now.at.waiter_elapsed_since(since) >= self.request.timing.lease() {
                    true => self.phase = Phase::Ended(AcquireEnd::Unanswered),
                    false => {
                        self.poller.count_look();
                        self.back_off(now);
                    }
                }
            }
            (Body::Outcome { sent_at, outcome }, _) => self.handle_outcome(now, sent_at, outcome, response),
            (Body::Refused(refusal), _) => self.handle_refusal(now, refusal),
            _ => {}
        }
    }

    fn may_acquire(&self) -> bool {
        true
    }

    fn request_limit(&self, _at: ClockReading) -> Duration {
        if let Phase::Won(held) = &self.phase { held.attempt_timeout() } else { Duration::MAX }
    }

    fn cancel(&mut self, now: &Now<'_>) -> Option<Release> {
        match &self.phase {
            Phase::Won(held) => self.clean_up = Some(Release::of_unreported(held, now)),
            Phase::Write(_) => self.abandon(now),
            _ => {}
        }
        self.clean_up.take()
    }

    fn awaits_change(&self) -> bool {
        // After an error the pause protects the store, and a hint must not end it.
        let waits_for_holder = self.request.wait_mode == WaitMode::Wait && self.unread_since.is_none();
        matches!(self.phase, Phase::Pausing) && waits_for_holder
    }

    fn hint(&mut self, now: &Now<'_>, hint: Hint) {
        if self.awaits_change() || hint == Hint::Unavailable {
            self.hints.take(now, hint);
        }
    }

    fn watch(&self) -> Option<&Watch> {
        self.waiter.watch.as_ref()
    }
}
