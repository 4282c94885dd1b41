use std::time::Duration;

use crate::attr;
use crate::backoff::Backoff;
use crate::config::{FLOOR_AHEAD, RETRY_MIN};
use crate::held::{Won, ends};
use crate::time::millis;
use crate::watch::{Holder, Liveness, Watch};
use crate::{
    ClockReading, Deadline, FencingToken, Held, HeldRow, HeldStep, Lease, LeaseId, LegacyRow, LockName, LossReason,
    Now, Op, OpKind, Outcome, ReceivedAt, RecordVersion, Release, Renewal, Row, RowError, RowState, SentAt,
    ServiceDate, Timing,
};

const ABANDONED_MAX: usize = 16;
/// So many beginnings in a row, without a pause, are natural.
const RESTARTS_MAX: u32 = 3;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// The lock.
    pub name: LockName,
    /// Who, for people.
    pub owner: String,
    /// The durations.
    pub timing: Timing,
    /// Who will renew it.
    pub renewal: Renewal,
    /// How long it may be held at most.
    pub max_hold: Option<Duration>,
    /// A payload for the row.
    pub data: Option<String>,
    /// By what the embedded store knows whether this client lives; `None` for a hold, which outlives it.
    pub liveness_key: Option<String>,
    /// Whether to wait for the lock.
    pub wait_mode: WaitMode,
}

/// Whether to wait for a lock that somebody else holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitMode {
    /// Say at once who holds it.
    Try,
    /// Wait.
    Wait,
}

/// What to do next to get a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read the row (strongly consistent if `strong`); feed it to [`Acquire::handle_row`] or, if no answer came, to
    /// [`Acquire::handle_unread`].
    Read {
        /// A stale answer would be a wrong one.
        strong: bool,
    },
    /// Send this, once; feed the answer, or its absence, to [`Acquire::handle_outcome`].
    Write(Op),
    /// Wait so long.
    Pause(Duration),
    /// Hand this to the background: an operation that was given up may have left a row behind. Then ask again.
    CleanUp(Release),
    /// Held.
    Acquired(Box<Held>),
    /// Somebody else holds it, and we do not wait.
    Contended(Holder),
    /// The row is not one that we may touch.
    RowError(RowError),
    /// No request was answered for a whole lease.
    Unanswered,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Begin,
    Read,
    Pausing(Backoff),
    Write(Operation),
    TakeOver,
    Won(Box<Held>),
    Contended(Holder),
    RowError(RowError),
    Unanswered,
}

/// One acquire or takeover, with the nonce that belongs to it alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Operation {
    op: Op,
    lease_id: LeaseId,
    /// R1: before the first byte of its first try.
    sent_at: SentAt,
    /// A try of it went unanswered: it may have landed, or may yet.
    ambiguous: bool,
    retry: Option<Backoff>,
}

/// Whether a held row can be taken.
enum Takeover {
    /// Its lease is over.
    Now,
    /// Nobody holds it any more, but a token above all earlier ones is not to be had for some seconds.
    Soon,
    /// Not before something changes or time passes.
    Later,
}

/// Gets a lock: what to send, when to look, when a lease is over, and whether what came back is ours.
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
    /// Begins. `watch` is what the client saw of this lock before: if it was held then, the first request is a read.
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

    /// Begins with a read even so: its answer tells the service's time, and the first write bears a stamp.
    pub fn reading_first(mut self) -> Self {
        self.phase = Phase::Read;
        self
    }

    /// What has been seen of a holder, to be kept for the next attempt.
    pub fn watch(&self) -> Option<&Watch> {
        self.watch.as_ref()
    }

    /// The lock.
    pub fn name(&self) -> &LockName {
        &self.request.name
    }

    /// How long one try of a request may take.
    pub fn attempt_timeout(&self) -> Duration {
        self.request.timing.attempt_timeout()
    }

    /// What to do next.
    pub fn next(&mut self, now: &Now<'_>) -> Step {
        if let Some(release) = self.clean_up.take() {
            return Step::CleanUp(release);
        }
        match &mut self.phase {
            Phase::Read => match self.watch.as_ref().and_then(|watch| watch.expires_in_without_check(now.at)) {
                Some(over) if over.is_zero() => self.begin(now, true),
                _ => Step::Read { strong: self.request.wait_mode == WaitMode::Try },
            },
            Phase::Begin => self.begin(now, false),
            Phase::TakeOver => self.begin(now, true),
            Phase::Pausing(pause) => {
                let over = self.watch.as_ref().and_then(|watch| watch.expires_in_without_check(now.at));
                match pause.left(now.at).map(|left| over.map_or(left, |over| over.min(left))) {
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
            Phase::Won(held) => match held.next(now) {
                HeldStep::Lost(loss) => {
                    self.clean_up = Some(Release::of(held, now));
                    // Never confirmed for a whole lease: no renewal was answered, or none with the service's time.
                    match loss == LossReason::Expired && !held.is_confirmed() {
                        true => self.phase = Phase::Unanswered,
                        false => self.restart(now),
                    }
                    self.next(now)
                }
                HeldStep::Write(op) if !held.is_confirmed() => Step::Write(op),
                HeldStep::Sleep(length) if !held.is_confirmed() => Step::Pause(length),
                // R5: live now, after all waiting.
                _ => {
                    self.watch = None;
                    Step::Acquired(held.clone())
                }
            },
            Phase::Contended(holder) => Step::Contended(holder.clone()),
            Phase::RowError(fault) => Step::RowError(fault.clone()),
            Phase::Unanswered => Step::Unanswered,
        }
    }

    /// Ends the attempt from outside: what has to be cleaned up, if an operation may have taken effect.
    pub fn cancel(&mut self, now: &Now<'_>) -> Option<Release> {
        match &self.phase {
            Phase::Won(held) => self.clean_up = Some(Release::of(held, now)),
            Phase::Write(_) => self.abandon(now),
            _ => {}
        }
        self.clean_up.take()
    }

    /// Whether the lock is ours: the next step says so. For whoever watches the machine from outside, as a model checker.
    pub fn has_won(&self) -> bool {
        matches!(&self.phase, Phase::Won(held) if held.is_confirmed())
    }

    /// A read was answered: `now` is when.
    pub fn handle_row(&mut self, now: &Now<'_>, row: Option<&Row>, date: Option<ServiceDate>) {
        self.handle_row_and_liveness(now, row, date, Liveness::Unknown);
    }

    /// As [`handle_row`](Self::handle_row), on a store that can tell of the row's holder. It was asked after `now`: what
    /// the holder of a lease that is over by `now` started is then seen.
    pub fn handle_row_and_liveness(
        &mut self,
        now: &Now<'_>,
        row: Option<&Row>,
        date: Option<ServiceDate>,
        liveness: Liveness,
    ) {
        self.unread_since = None;
        if !matches!(self.phase, Phase::Read) {
            return;
        }
        match row {
            None => {
                self.watch = None;
                self.phase = Phase::Begin;
            }
            Some(row) => self.observe(now, row, date, liveness),
        }
    }

    /// A read was not answered.
    pub fn handle_unread(&mut self, now: &Now<'_>) {
        let since = *self.unread_since.get_or_insert(now.at);
        if now.at.waiter_elapsed_since(since) >= self.request.timing.lease() {
            self.phase = Phase::Unanswered;
        } else {
            self.pause(now);
        }
    }

    /// The answer to the write in flight: `now` is when it was received, `sent_at` when its try was sent.
    pub fn handle_outcome(&mut self, now: &Now<'_>, sent_at: SentAt, outcome: &Outcome, date: Option<ServiceDate>) {
        self.handle_outcome_and_liveness(now, sent_at, outcome, date, Liveness::Unknown);
    }

    /// As [`handle_outcome`](Self::handle_outcome), on a store that can tell of the holder of the row in it. It was asked
    /// after `now`.
    pub fn handle_outcome_and_liveness(
        &mut self,
        now: &Now<'_>,
        sent_at: SentAt,
        outcome: &Outcome,
        date: Option<ServiceDate>,
        liveness: Liveness,
    ) {
        let operation = match &mut self.phase {
            Phase::Write(operation) => operation,
            Phase::Won(held) => return held.handle_outcome(now, sent_at, outcome, date),
            _ => return,
        };
        match outcome {
            Outcome::Applied(row) => self.win(now, row, sent_at, date),
            Outcome::Conflict(Some(row)) if row.has_lease_id(&operation.lease_id) && !row.is_free() => {
                // An earlier try of this operation landed.
                self.win(now, row, sent_at, date);
            }
            Outcome::Conflict(row) => {
                let spent = row.as_ref().is_some_and(|row| row.has_lease_id(&operation.lease_id));
                if operation.ambiguous {
                    // That try may still be on its way: whatever it leaves is not ours.
                    let lease_id = operation.lease_id.clone();
                    self.forsake(lease_id);
                }
                match row {
                    Some(row) if !spent => self.observe(now, row, date, liveness),
                    _ => self.restart(now),
                }
            }
            Outcome::Unknown | Outcome::Throttled => {
                operation.ambiguous |= *outcome == Outcome::Unknown;
                let (base, cap) = (RETRY_MIN, self.request.timing.attempt_timeout());
                operation.retry = Some(Backoff::after(operation.retry, base, cap, now));
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
            // Landed after its belief would have ended: released, not reported.
            self.abandon(now);
            return self.restart(now);
        }
        let won = Won {
            name: self.request.name.clone(),
            lease_id: operation.lease_id.clone(),
            token,
            sent_at: operation.sent_at,
            row,
            heard: date.map(|date| (date, sent_at)),
        };
        let Request { timing, renewal, max_hold, .. } = &self.request;
        self.phase = Phase::Won(Box::new(Held::new(won, timing.clone(), *renewal, *max_hold, now)));
    }

    /// A row that is not ours was shown: whether it can be taken, and else since when it is watched.
    fn observe(&mut self, now: &Now<'_>, row: &Row, date: Option<ServiceDate>, liveness: Liveness) {
        let ripe = match row.state() {
            Err(fault) => {
                self.phase = Phase::RowError(fault);
                return;
            }
            Ok(RowState::Free) => {
                self.watch = None;
                return self.restart(now);
            }
            Ok(RowState::Held(held)) => {
                self.watch_row(now, row, &held.version, Some(held.token), Some(held.lease));
                match liveness {
                    // Our own, and nobody believes in it, whatever we started.
                    _ if self.abandoned.contains(&held.lease_id) => Takeover::Now,
                    Liveness::Dead => Takeover::Now,
                    Liveness::ChildAlive => Takeover::Later,
                    _ if has_expired_by_date(&held, date) || self.is_over(now) => Takeover::Now,
                    _ => Takeover::Later,
                }
            }
            Ok(RowState::Legacy(legacy)) => {
                self.watch_row(now, row, &legacy.version, legacy.token, None);
                self.legacy_is_over(now, &legacy, date)
            }
        };
        match ripe {
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

    fn watch_row(
        &mut self,
        now: &Now<'_>,
        row: &Row,
        version: &RecordVersion,
        token: Option<FencingToken>,
        lease: Option<Duration>,
    ) {
        // Of exactly this version: another one may have followed on tokens that we never saw.
        let upper = self.service_or_wall(now).map(|(_, upper)| upper.div_ceil(1000));
        let tokenless_since = upper.filter(|_| token.is_none());
        if let Some(watch) = self.watch.as_mut().filter(|watch| watch.version == *version && watch.token == token) {
            // The answer that first showed it may have told no time.
            watch.tokenless_since = watch.tokenless_since.or(tokenless_since);
            return;
        }
        self.watch = Some(Watch {
            version: version.clone(),
            token,
            lease,
            received_at: ReceivedAt(now.at),
            tokenless_since,
            has_liveness_key: row.get(attr::LIVENESS_KEY).is_some(),
            holder: Holder::of(row),
        });
    }

    /// Bounds of service time, ms; where the store has no service clock, its stand-in is our own wall clock.
    fn service_or_wall(&self, now: &Now<'_>) -> Option<(u64, u64)> {
        match now.service {
            Some(_) => now.service_interval(),
            None => Some((now.at.wall_ms, now.at.wall_ms)),
        }
    }

    /// §5: a legacy row is over when service time is past its `expiresOn`, the most that its own protocol can mean. Not
    /// taken before it is sure that a fresh seed is above every token that was ever given.
    fn legacy_is_over(&self, now: &Now<'_>, legacy: &LegacyRow, date: Option<ServiceDate>) -> Takeover {
        let time = match (now.service, date) {
            (None, _) => Some(now.at.wall_ms),
            (Some(_), date) => date.map(ServiceDate::lower_when_received),
        };
        let skew = millis(self.request.timing.legacy_skew());
        let past = |time: u64| i128::from(time) > i128::from(legacy.expires_on) + i128::from(skew);
        // Freed by force, or never held: that is over by any clock.
        let over = legacy.expires_on <= 0 || time.is_some_and(past);
        let lower = self.service_or_wall(now).map(|(lower, _)| lower / 1000);
        let since = self.watch.as_ref().and_then(|watch| watch.tokenless_since);
        let seed_is_above = || lower.zip(since).is_some_and(|(lower, since)| lower >= since + 2);
        match over {
            false => Takeover::Later,
            true if legacy.token.is_some() || seed_is_above() => Takeover::Now,
            // Without any date a safe seed is never to be had.
            true if lower.is_none() => Takeover::Later,
            true => Takeover::Soon,
        }
    }

    /// R2.
    fn is_over(&self, now: &Now<'_>) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.has_expired(now.at))
    }

    fn pause(&mut self, now: &Now<'_>) {
        let (base, cap) = self.request.timing.poll_range();
        let pause = Backoff::after(self.pause, base, cap, now);
        (self.pause, self.restarts) = (Some(pause), 0);
        self.phase = Phase::Pausing(pause);
    }

    /// Begins anew, a few times at once; after that it is a race that others win, and a poll is sat out.
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

    /// Gives up the operation at hand: what it may leave is foreign from now on, and released in the background.
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

    /// Begins an operation: R1, `sent_at` is now, before its first byte.
    fn begin(&mut self, now: &Now<'_>, take_over: bool) -> Step {
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

/// §5: over on the service clock, by the lower bound that this answer gives.
fn has_expired_by_date(held: &HeldRow, date: Option<ServiceDate>) -> bool {
    held.service_timestamp && date.is_some_and(|date| date.lower_when_received() > held.expires_on)
}
