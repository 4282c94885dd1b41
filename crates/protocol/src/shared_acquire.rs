//! Acquisition of an entry in a shared row.

use std::time::Duration;

use crate::{
    Access, AcquireEnd, Body, ClockReading, Deadline, Due, FencingToken, Held, HeldStep, Hint, HoldHistory, HoldRecord,
    Holder, LossReason, Machine, Now, Outcome, Poller, Refusal, Release, Request, Response, Role, RoundTrip, Row,
    RowError, RowFacts, SentAt, SharedEntry, SharedHolder, SharedRow, Source, Step, WaitMode, acquire::RESTARTS_MAX,
    attr, held::Won, held_entry::HeldEntry, hint::Hints, row::malformed, shared_operation::Announcement,
    shared_operation::Operation, shared_waiter::Decision, shared_waiter::NextWrite, shared_waiter::SharedWaiter,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// This write is sent next.
    Begin(NextWrite),
    Read,
    Pausing,
    Write(Operation),
    Won(Box<Held>),
    Ended(AcquireEnd),
}

/// State machine that acquires an entry of a shared row. [`Machine`] describes how to call it.
///
/// An unanswered write is treated as by [`Acquire`](crate::Acquire): it is repeated identically until its lease would
/// have ended, and then cleaned up. Each operation that adds an entry has a fresh lease ID.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SharedAcquire {
    request: Request,
    phase: Phase,
    waiter: SharedWaiter,
    announced: Option<Announcement>,
    /// Holder for which the acquisition waits, as the last row showed it.
    blocker: Option<Box<Holder>>,
    clean_up: Option<Release>,
    poller: Poller,
    hints: Hints,
    /// Time before the read in flight was sent.
    read_sent: Option<SentAt>,
    restarts: u32,
    unread_since: Option<ClockReading>,
}

impl SharedAcquire {
    /// Starts an acquisition. The first request is a write, because the row is mostly free.
    pub fn new(request: Request, access: Access) -> Self {
        Self {
            request,
            phase: Phase::Begin(NextWrite::Enter),
            waiter: SharedWaiter::new(access),
            announced: None,
            blocker: None,
            clean_up: None,
            poller: Poller::default(),
            hints: Hints::default(),
            read_sent: None,
            restarts: 0,
            unread_since: None,
        }
    }

    /// Returns whether the entry is acquired, so that the next step is [`AcquireEnd::Acquired`] unless it is lost
    /// before.
    pub fn has_won(&self) -> bool {
        matches!(&self.phase, Phase::Won(held) if held.is_confirmed)
    }

    fn reads_strongly(&self) -> bool {
        self.request.wait_mode == WaitMode::Try || self.poller.must_read_consistently()
    }

    /// Starts a write.
    fn begin(&mut self, now: &Now<'_>, step: NextWrite) -> Step<AcquireEnd, Release> {
        let operation = Operation::begin(&self.request, self.waiter.access, step, &mut self.announced, now);
        let op = operation.write.op.clone();
        self.phase = Phase::Write(operation);
        Step::Write(op)
    }

    /// Returns the next step of an entry that was acquired, which may need a renewal before it is reported (R6).
    fn next_won(&mut self, now: &Now<'_>) -> Step<AcquireEnd, Release> {
        let Phase::Won(held) = &mut self.phase else { return self.next(now) };
        match held.next(now) {
            HeldStep::Lost(loss) => {
                self.clean_up = Some(Release::of(held, now));
                // If no renewal was answered for a whole lease, or none with a date, then the store does not work.
                match loss == LossReason::Expired && !held.is_confirmed {
                    true => self.phase = Phase::Ended(AcquireEnd::Unanswered),
                    false => self.restart(now, NextWrite::Enter),
                }
                self.next(now)
            }
            HeldStep::Write(op) if !held.is_confirmed => Step::Write(op),
            HeldStep::Sleep(length) if !held.is_confirmed => Step::Pause(length),
            // R5: the lease is still valid now, after all waiting.
            _ => Step::Done(AcquireEnd::Acquired(held.clone())),
        }
    }

    fn handle_outcome(&mut self, now: &Now<'_>, sent_at: SentAt, outcome: &Outcome, response: Response<'_>) {
        let Phase::Write(operation) = &mut self.phase else { return };
        let row = match outcome {
            Outcome::Applied(Some(row)) | Outcome::Conflict(Some(row)) => row,
            Outcome::Conflict(None) => return self.begin_again(now, NextWrite::Create),
            Outcome::Unknown | Outcome::Throttled | Outcome::Applied(None) => {
                // Without the row, the repetition returns it with a conflict.
                let unknown = matches!(outcome, Outcome::Applied(None));
                let outcome = if unknown { &Outcome::Unknown } else { outcome };
                return operation.write.retry(Some(outcome), self.request.timing.attempt_timeout(), now);
            }
        };
        let parsed = match row.shared(self.waiter.access.kind) {
            Ok(parsed) => parsed,
            Err(error) => return self.refuse_row(now, error, matches!(outcome, Outcome::Applied(_))),
        };
        let Some(own) = operation.own.clone() else {
            return self.after_eviction(now, &parsed, response, sent_at);
        };
        let (enters, is_new) = (operation.step.enters(), operation.step.adds_entry());
        match parsed.entry(&own.lease_id) {
            Some(entry) if !entry.revoked && own.role != Role::Waiting && operation.has_written(entry) => {
                self.win(now, (row, &parsed), own, sent_at, response);
            }
            // The operation is spent, because an operator has revoked its entry.
            Some(entry) if entry.revoked || enters => {
                self.give_up_entry(now);
                self.restart(now, NextWrite::Enter);
            }
            Some(entry) => {
                self.note_announcement(&own, entry);
                self.observe(now, &parsed, response, (Source::Write, sent_at));
            }
            None if matches!(outcome, Outcome::Applied(_)) => {
                self.refuse_row(now, malformed(attr::HOLDERS, "a map with the entry that was written"), true);
            }
            None => {
                // An unanswered attempt may still be applied. We do not adopt the entry that it would leave.
                if operation.write.ambiguous || !is_new {
                    self.waiter.abandon(own.lease_id);
                }
                self.announced = None;
                self.observe(now, &parsed, response, (Source::Write, sent_at));
            }
        }
    }

    /// Notes that the own announcement is in the row, or that it was renewed.
    fn note_announcement(&mut self, own: &SharedHolder, entry: &SharedEntry) {
        let Phase::Write(operation) = &self.phase else { return };
        match &mut self.announced {
            Some(announced) if entry.renewal_seq == operation.renewal_seq => announced.renewed = operation.sent_at,
            Some(_) => {}
            None => {
                let (lease_id, renewal_seq) = (own.lease_id.clone(), entry.renewal_seq);
                self.announced = Some(Announcement { lease_id, renewal_seq, renewed: operation.sent_at });
            }
        }
    }

    fn after_eviction(&mut self, now: &Now<'_>, row: &SharedRow, response: Response<'_>, sent_at: SentAt) {
        if let Some(lost) = self.announced.take_if(|announced| row.entry(&announced.lease_id).is_none()) {
            self.waiter.abandon(lost.lease_id);
        }
        self.observe(now, row, response, (Source::Write, sent_at));
    }

    /// Ends the acquisition, because the row cannot be used. Cleans up after a write that may have been applied.
    fn refuse_row(&mut self, now: &Now<'_>, error: RowError, is_applied: bool) {
        let is_ambiguous = matches!(&self.phase, Phase::Write(operation) if operation.write.ambiguous);
        if is_applied || is_ambiguous || self.announced.is_some() {
            self.give_up_entry(now);
        }
        self.phase = Phase::Ended(AcquireEnd::RowError(error));
    }

    /// Ends the acquisition, unless an earlier attempt of the present write may have been applied. Then a further
    /// attempt shows whether it was.
    fn handle_refusal(&mut self, now: &Now<'_>, refusal: Refusal) {
        if let Phase::Write(operation) = &mut self.phase {
            if operation.write.retries(refusal) {
                return operation.write.retry(None, self.request.timing.attempt_timeout(), now);
            }
            if operation.write.ambiguous {
                self.give_up_entry(now);
            }
        }
        self.end(now, AcquireEnd::Refused);
    }

    fn win(
        &mut self,
        now: &Now<'_>,
        (row, parsed): (&Row, &SharedRow),
        own: SharedHolder,
        attempt: SentAt,
        response: Response<'_>,
    ) {
        let Phase::Write(operation) = &self.phase else { return };
        let sent_at = operation.sent_at;
        if operation.validity.passed(now.at) {
            // The write was applied, but its lease would have ended by now. It is released and not reported.
            self.give_up_entry(now);
            return self.restart(now, NextWrite::Enter);
        }
        self.announced = None;
        self.waiter.observe(parsed, now.at);
        let facts = RowFacts::of_shared(parsed, self.waiter.departures());
        self.poller.observe(&facts, false, Source::Write, RoundTrip::ending(attempt, now));
        let won = Won {
            lease_id: own.lease_id.clone(),
            token: parsed.token,
            sent_at,
            row,
            date: response.date.map(|date| (date, attempt)),
            record: HoldRecord::new(HoldHistory::default(), self.poller.handoffs(), sent_at, None),
            entry: Some(Box::new(HeldEntry {
                kind: self.waiter.access.kind,
                holder: own,
                forced: parsed.forced.clone(),
            })),
        };
        self.phase = Phase::Won(Box::new(Held::new(&self.request, won, now)));
    }

    /// Takes a row that this acquisition does not hold: sends the next write, or waits.
    fn observe(&mut self, now: &Now<'_>, row: &SharedRow, response: Response<'_>, (source, sent): (Source, SentAt)) {
        self.waiter.observe(row, now.at);
        let (facts, times) = (RowFacts::of_shared(row, self.waiter.departures()), RoundTrip::ending(sent, now));
        if !self.poller.observe(&facts, row.entries.is_empty(), source, times) {
            self.begin_pause(now, row);
            return self.pause();
        }
        let waits = self.request.wait_mode == WaitMode::Wait;
        let announced = self.announced.as_ref().map(|announced| &announced.lease_id);
        match self.waiter.decide(now, row, response, announced, waits) {
            // Each eviction removes an entry, so that there is no endless race.
            Decision::Write(step @ NextWrite::Evict { .. }) => self.phase = Phase::Begin(step),
            Decision::Write(step) => self.restart(now, step),
            Decision::Wait(entry) if !waits => {
                self.end(now, AcquireEnd::Contended(Holder::of_entry(&entry, row)));
            }
            Decision::Wait(entry) => {
                self.blocker = Some(Box::new(Holder::of_entry(&entry, row)));
                let least = self.begin_pause(now, row);
                let due = Due { least, expires_in: self.waiter.expires_in(now.at), random: now.entropy.jitter };
                self.poller.schedule(&facts, times, self.request.timing.lease(), due);
                self.pause();
            }
        }
    }

    /// Waits for the next look, which is scheduled.
    fn pause(&mut self) {
        self.restarts = 0;
        self.phase = Phase::Pausing;
    }

    /// Backs off after a request without a usable response, or after a race.
    fn back_off(&mut self, now: &Now<'_>) {
        self.hints.begin_pause(now, None, self.poller.pause_length());
        self.poller.back_off(now.at, self.request.timing.lease(), now.entropy.jitter);
        self.pause();
    }

    /// Ends the present pause. Returns the least length of the next one.
    fn begin_pause(&mut self, now: &Now<'_>, row: &SharedRow) -> Duration {
        // A holder that leaves lets a waiter acquire, although it does not change the token of a semaphore.
        let handoffs = row.token.get().saturating_add(self.waiter.departures());
        self.hints.begin_pause(now, Some(FencingToken::new(handoffs)), self.poller.pause_length())
    }

    /// Returns the time until the next look or the next renewal of the announcement, `None` if it is due.
    fn pause_left(&self, at: ClockReading) -> Option<Duration> {
        let left = self.poller.wait(at)?;
        let left = self.hints.left(at).map_or(left, |hinted| hinted.min(left));
        Some(self.renewal_left(at).map_or(left, |renewal| renewal.min(left))).filter(|left| !left.is_zero())
    }

    /// Returns the time until the announcement must be renewed, `None` without one.
    fn renewal_left(&self, at: ClockReading) -> Option<Duration> {
        let renewed = self.announced.as_ref()?.renewed;
        Some(self.request.timing.heartbeat().saturating_sub(at.holder_elapsed_since(renewed.0)))
    }

    /// Starts a new write: a few times at once, after that with a pause, because other clients win the race.
    fn restart(&mut self, now: &Now<'_>, step: NextWrite) {
        self.restarts += 1;
        match (self.restarts > RESTARTS_MAX, self.request.wait_mode) {
            (false, _) => self.phase = Phase::Begin(step),
            (true, WaitMode::Wait) => self.back_off(now),
            (true, _) => self.end(now, AcquireEnd::Contended(Holder::default())),
        }
    }

    /// Starts again after a row that has gone, with everything that it contained.
    fn begin_again(&mut self, now: &Now<'_>, step: NextWrite) {
        if let Phase::Write(Operation { own: Some(own), write, .. }) = &self.phase
            && write.ambiguous
        {
            self.waiter.abandon(own.lease_id.clone());
        }
        if let Some(lost) = self.announced.take() {
            self.waiter.abandon(lost.lease_id);
        }
        self.restart(now, step);
    }

    /// Ends the acquisition. Withdraws an announcement.
    fn end(&mut self, now: &Now<'_>, end: AcquireEnd) {
        if self.announced.is_some() {
            self.give_up_entry(now);
        }
        self.phase = Phase::Ended(end);
    }

    /// Cleans up the entry that the present write may have left, or the announcement.
    fn give_up_entry(&mut self, now: &Now<'_>) {
        let written = match &self.phase {
            Phase::Write(operation) => operation.own.clone(),
            _ => None,
        };
        let announced = self.announced.take();
        let announced = announced.map(|a| SharedHolder { lease_id: a.lease_id, role: Role::Waiting });
        let Some(holder) = written.or(announced) else { return };
        let until = Deadline::new(SentAt(now.at), self.request.timing.lease());
        self.waiter.abandon(holder.lease_id.clone());
        // The last lease ID that was forced out does not matter for a clean-up.
        let entry = HeldEntry { kind: self.waiter.access.kind, forced: holder.lease_id.clone(), holder };
        self.clean_up = Some(Release::clean_up_entry(&self.request.name, entry, until, now));
    }

    fn handle_row(&mut self, now: &Now<'_>, row: Option<&Row>, response: Response<'_>) {
        self.unread_since = None;
        let source = match self.reads_strongly() {
            true => Source::StrongLook,
            false if self.hints.is_hinted() => Source::HintedLook,
            false => Source::Look,
        };
        let sent = self.read_sent.take().unwrap_or(SentAt(now.at));
        match row.map(|row| row.shared(self.waiter.access.kind)) {
            Some(Ok(row)) => self.observe(now, &row, response, (source, sent)),
            Some(Err(_)) if self.poller.ignores_unusable(source, RoundTrip::ending(sent, now)) => {
                self.hints.begin_pause(now, None, self.poller.pause_length());
                self.pause();
            }
            Some(Err(error)) => self.refuse_row(now, error, false),
            None => {
                self.poller.count_look();
                // The read may be stale, so an announcement is not lost yet.
                let step = if self.announced.is_some() { NextWrite::RenewAnnouncement } else { NextWrite::Create };
                self.phase = Phase::Begin(step);
            }
        }
    }

    fn handle_unread(&mut self, now: &Now<'_>) {
        let since = *self.unread_since.get_or_insert(now.at);
        match now.at.waiter_elapsed_since(since) >= self.request.timing.lease() {
            true => self.end(now, AcquireEnd::Unanswered),
            false => {
                self.poller.count_look();
                self.back_off(now);
            }
        }
    }
}

impl Machine for SharedAcquire {
    type End = AcquireEnd;
    type CleanUp = Release;

    fn next(&mut self, now: &Now<'_>) -> Step<AcquireEnd, Release> {
        if let Some(release) = self.clean_up.take() {
            return Step::CleanUp(release);
        }
        self.poller.begin(now.at);
        match &mut self.phase {
            Phase::Begin(step) => {
                let step = step.clone();
                self.begin(now, step)
            }
            Phase::Read => {
                self.read_sent = Some(SentAt(now.at));
                Step::Read { strong: self.reads_strongly() }
            }
            Phase::Pausing => match (self.pause_left(now.at), self.renewal_left(now.at)) {
                (_, Some(Duration::ZERO)) => self.begin(now, NextWrite::RenewAnnouncement),
                (Some(left), _) => Step::Pause(left),
                (None, _) => {
                    self.phase = Phase::Read;
                    self.next(now)
                }
            },
            Phase::Write(operation) => {
                let step = operation.write.step(now.at);
                if matches!(step, Step::Write(_)) && operation.validity.passed(now.at) {
                    self.give_up_entry(now);
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
            (Body::Row(row), Phase::Read) => self.handle_row(now, row, response),
            (Body::Unread, _) => self.handle_unread(now),
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
            Phase::Won(held) => self.clean_up = Some(Release::of(held, now)),
            _ => self.give_up_entry(now),
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

    fn holder(&self) -> Option<Holder> {
        self.blocker.as_deref().cloned()
    }
}
