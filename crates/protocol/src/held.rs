//! A held lock: renewal, local validity and loss.

use std::time::Duration;

use crate::{
    Body, ClockReading, Condition, Deadline, EXPIRY_PAD, EndedHold, FencingToken, HoldEnd, HoldRecord, Kind, LeaseId,
    LockName, LossReason, Now, Op, OpKind, Outcome, Refusal, Renewal, Request, Response, Row, SentAt, Timing,
    held_entry::HeldEntry, holds, lease_end::ends, loss::loss_reason, retry::Backoff, retry::RETRY_MIN,
    stored_lease::StoredEnd, stored_lease::WrittenLease, stored_lease::needs_bound, time::millis, validity::DatedTry,
    validity::Validity, validity::row_deadline,
};

/// Time after which the first renewal is due if the row has no service timestamp (§5).
const TIMESTAMP_AFTER: Duration = Duration::from_millis(500);
/// Number of attempts that fit into the remaining validity: a pause between two attempts is at most this part of it.
const TRIES: u32 = 20;

/// Next step for a held lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldStep {
    /// Send this write once and pass its outcome to [`Held::handle`].
    Write(Op),
    /// Wait for this time, unless a renewal is requested earlier.
    Sleep(Duration),
    /// The lock is lost. Every later call returns the same step.
    Lost(LossReason),
}

/// A renewal that was started and is not known to be applied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PendingRenewal {
    op: Op,
    sent_at: SentAt,
}

/// State machine of a held lock, from its acquisition until it is released or lost.
///
/// The machine performs no I/O and reads no clock. The caller runs this loop:
///
/// 1. Call [`next`](Self::next) with the current time.
/// 2. Send the write, or wait. [`request_renewal`](Self::request_renewal) and the other requests end a wait early.
/// 3. Pass the outcome of a write to [`handle`](Self::handle), then start again at 1.
///
/// [`is_valid`](Self::is_valid), [`check`](Self::check) and [`time_left`](Self::time_left) can be called at any time.
/// Once the lock is lost, it stays lost.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    name: LockName,
    kind: Kind,
    pub(crate) lease_id: LeaseId,
    token: FencingToken,
    timing: Timing,
    renewal: Renewal,
    /// Lower bound of the lease in the row. A renewal never shortens the lease.
    lease: Duration,
    pub(crate) validity: Validity,
    max_hold: Option<Box<Deadline>>,
    /// Whether the lock may be reported as held, because the row's own `expiresOn` is late enough (R6). Otherwise a
    /// renewal must be applied before.
    pub(crate) is_confirmed: bool,
    service_timestamp: bool,
    /// The last known `expiresOn` of the row.
    expires_on: u64,
    /// Date of the last response that had one within the bounds of service time, and the time at which its request was
    /// sent.
    last_date: Option<DatedTry>,
    /// Whether the next service timestamp is based on the last date alone, because older dates may be from before a
    /// standstill of the host.
    from_last_date: bool,
    renewal_seq: u64,
    // Fields that are rarely used are boxed, because a process may hold thousands of locks.
    pending: Option<Box<PendingRenewal>>,
    pause: Option<Box<Backoff>>,
    attempt_timeout: Duration,
    requested: bool,
    renewals: u64,
    /// Payload that this acquisition has stored, if it has stored one.
    data: Option<Box<str>>,
    /// Payload that was requested and is not known to be stored.
    pub(crate) pending_data: Option<Box<str>>,
    /// Whether the row's `handovers` can be increased.
    counts_handovers: bool,
    lost: Option<LossReason>,
    record: HoldRecord,
    exit_code: Option<u8>,
    /// Entry of a shared row. `None` for a plain lock.
    pub(crate) entry: Option<Box<HeldEntry>>,
}

/// The write that acquired a lock, and the row in its response.
pub(crate) struct Won<'a> {
    pub(crate) lease_id: LeaseId,
    pub(crate) token: FencingToken,
    /// Time before the first byte of the first attempt (R1).
    pub(crate) sent_at: SentAt,
    pub(crate) row: &'a Row,
    pub(crate) date: Option<DatedTry>,
    pub(crate) record: HoldRecord,
    pub(crate) entry: Option<Box<HeldEntry>>,
}

impl Held {
    pub(crate) fn new(request: &Request, won: Won<'_>, now: &Now<'_>) -> Self {
        let Won { lease_id, token, sent_at, row, date, record, entry } = won;
        let date = date.filter(|date| !now.is_too_early(*date)); // R6
        let timing = request.timing.clone();
        let StoredEnd { expires_on, service_timestamp, renewal_seq } = StoredEnd::of(row, entry.as_deref());
        let bound = row_deadline(expires_on, date);
        // If a slow wall clock wrote the row, a renewal replaces the time by a service timestamp, which is late enough.
        let is_late_enough =
            |bound: Deadline| !bound.passed(now.at) && (service_timestamp || bound.left(now.at) >= timing.heartbeat());
        Self {
            name: request.name.clone(),
            kind: entry.as_ref().map_or(request.kind, |entry| entry.kind),
            lease_id,
            token,
            renewal: request.renewal,
            lease: timing.lease(),
            validity: Validity { sent: Deadline::new(sent_at, Timing::validity(timing.lease())), row: bound },
            max_hold: request.max_hold.map(|max_hold| Box::new(Deadline::new(sent_at, max_hold))),
            is_confirmed: bound.map_or(!needs_bound(entry.is_some(), expires_on, now), is_late_enough),
            service_timestamp,
            expires_on: expires_on.unwrap_or(0),
            last_date: date.filter(|date| !now.is_too_late(*date)),
            from_last_date: false,
            renewal_seq,
            pending: None,
            pause: None,
            attempt_timeout: timing.first_renewal_timeout(),
            requested: false,
            renewals: 0,
            data: request.data.as_deref().map(Box::from),
            pending_data: None,
            counts_handovers: entry.is_none() && holds(Some(row), &Condition::counts_handovers()),
            lost: None,
            record,
            exit_code: None,
            entry,
            timing,
        }
    }

    /// Returns the name of the lock.
    pub fn name(&self) -> &LockName {
        &self.name
    }

    /// Returns the kind of the lock.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the lease ID of this acquisition.
    pub fn lease_id(&self) -> &LeaseId {
        &self.lease_id
    }

    /// Returns the fencing token of this acquisition.
    pub fn token(&self) -> FencingToken {
        self.token
    }

    /// Returns the facts about this hold that its release writes, and that the client keeps.
    pub fn record(&self) -> &HoldRecord {
        &self.record
    }

    /// Sets the exit code of the work, which the release of this hold records.
    pub fn set_exit_code(&mut self, code: u8) {
        self.exit_code = Some(code);
    }

    /// Returns the record of this hold, which its holder ends at this time.
    pub(crate) fn ended(&self, at: ClockReading) -> EndedHold {
        EndedHold { exit_code: self.exit_code, ..EndedHold::new(HoldEnd::Released, self.record.ended_on(at)) }
    }

    /// Returns whether the row lasts as long as the lease, so that the lock needs no renewal before its lease ends. It
    /// does not if a wall clock wrote its `expiresOn`, or if the host stood still between the last date and the write
    /// (R6).
    pub(crate) fn row_outlasts_lease(&self, now: &Now<'_>) -> bool {
        let may_end_first = |row: Deadline| row.left(now.at) < self.validity.sent.left(now.at);
        (self.service_timestamp || now.service.is_none()) && !self.validity.row.is_some_and(may_end_first)
    }

    /// Returns the number of renewals that are known to be applied and that have extended the validity.
    pub fn renewals(&self) -> u64 {
        self.renewals
    }

    /// Returns the durations of this acquisition.
    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    /// Returns the maximum time for the next attempt of a renewal. It grows with each attempt without an answer.
    pub fn attempt_timeout(&self) -> Duration {
        self.attempt_timeout
    }

    /// Returns a condition that holds on the row for as long as this acquisition holds the lock. It stays true across
    /// renewals, because it does not contain the record version.
    pub fn condition(&self) -> Condition {
        match &self.entry {
            Some(entry) => entry.condition(self.token),
            None => Condition::All(Condition::held_under(&self.lease_id, Some(self.token))),
        }
    }

    /// Returns whether the lease is valid at this time (R3). Once `false`, it never becomes `true` again.
    pub fn is_valid(&mut self, at: ClockReading) -> bool {
        self.check(at).is_none() && self.is_confirmed
    }

    /// Returns whether this lock can be handed over at this time. If not, it is released. A lock whose row counts
    /// handovers in an unknown way is only released, and so is one with the last token or of another kind.
    pub fn can_hand_over(&mut self, at: ClockReading) -> bool {
        self.is_valid(at) && self.kind == Kind::Mutex && self.counts_handovers && self.token.next() < FencingToken::MAX
    }

    /// Returns the remaining validity if no further renewal succeeds, zero once the lock is lost.
    pub fn time_left(&mut self, at: ClockReading) -> Duration {
        if self.check(at).is_some() {
            return Duration::ZERO;
        }
        let max_hold = self.max_hold.as_ref().map_or(Duration::MAX, |d| d.left(at));
        self.lease_left(at).min(max_hold)
    }

    /// Returns the remaining validity of the lease. The row's own `expiresOn` bounds a confirmed lease only.
    fn lease_left(&self, at: ClockReading) -> Duration {
        if self.is_confirmed { self.validity.left(at) } else { self.validity.sent.left(at) }
    }

    /// Returns the reason of the loss if the lock is lost at this time.
    pub fn check(&mut self, at: ClockReading) -> Option<LossReason> {
        if self.lost.is_none() {
            let ended = self.lease_left(at).is_zero();
            self.lost = match self.max_hold.as_ref().is_some_and(|max_hold| max_hold.passed(at)) {
                true => Some(LossReason::MaxHold),
                false if ended && self.validity.slept_through(at) => Some(LossReason::Suspended),
                false => ended.then_some(LossReason::Expired),
            };
        }
        self.lost
    }

    /// Limits the time from `from` to the loss of the lock, in place of the limit of the request. For a lock that is
    /// acquired together with others, the time counts from the acquisition of the last one.
    pub fn limit_hold(&mut self, from: ClockReading, max_hold: Duration) {
        self.max_hold = Some(Box::new(Deadline::new(SentAt(from), max_hold)));
    }

    /// Ends the lease, because nothing renews it any more. Does nothing if the lock is lost.
    pub fn stop_renewing(&mut self, at: ClockReading) {
        self.lost = self.check(at).or(Some(LossReason::RenewalStopped));
    }

    /// Requests a renewal now.
    pub fn request_renewal(&mut self) {
        self.requested = true;
        self.pause = None;
    }

    /// Requests a renewal now that writes this payload. The payload stays pending until a renewal with it was applied.
    pub fn request_data(&mut self, data: String) {
        self.pending_data = Some(data.into());
        self.request_renewal();
    }

    /// Requests a renewal now that extends the lease to `lease`, unless it is longer already. The service timestamp of
    /// the renewal is based on the last date alone, because older dates may be from before a standstill of the host.
    pub fn request_lease(&mut self, lease: Duration) {
        self.lease = self.lease.max(lease);
        self.from_last_date = true;
        self.request_renewal();
    }

    /// Returns the payload that this acquisition has stored, if it has stored one.
    pub fn data(&self) -> Option<&str> {
        self.data.as_deref()
    }

    /// Returns whether a payload has not been written yet.
    pub fn has_pending_data(&self) -> bool {
        self.pending_data.is_some()
    }

    /// Returns the next step.
    pub fn next(&mut self, now: &Now<'_>) -> HeldStep {
        if let Some(loss) = self.check(now.at) {
            return HeldStep::Lost(loss);
        }
        if let Some(length) = self.sleep(now.at, now.service_interval().is_some()) {
            return HeldStep::Sleep(length);
        }
        // We repeat a renewal identically for one heartbeat, because it may have been applied. After that its successor
        // extends the validity further, because it counts from its own sending.
        let fresh = |r: &PendingRenewal| now.at.holder_elapsed_since(r.sent_at.0) < self.timing.heartbeat();
        if let Some(renewal) = self.pending.as_deref().filter(|r| fresh(r)) {
            return HeldStep::Write(renewal.op.clone());
        }
        // A renewal with the largest number is refused, so the lock is lost.
        self.renewal_seq = self.renewal_seq.saturating_add(1);
        let op = self.renewal_op(now);
        self.pending = Some(Box::new(PendingRenewal { op: op.clone(), sent_at: SentAt(now.at) }));
        HeldStep::Write(op)
    }

    fn renewal_op(&self, now: &Now<'_>) -> Op {
        let mut ends = ends(self.lease, now);
        if !ends.service_timestamp && now.service.is_some() {
            // If the wall clock was set back, the row could end before the present validity does (R6).
            ends.expires_on = ends.expires_on.max(self.expires_on);
        } else if let Some((date, sent_at)) = self.last_date.filter(|_| self.from_last_date) {
            ends.expires_on = ends.expires_on.max(date.upper_at(sent_at, now.at) + millis(self.lease + EXPIRY_PAD));
        }
        let (renewal_seq, lease_ms) = (self.renewal_seq, millis(self.lease));
        let kind = match &self.entry {
            Some(entry) => entry.renewal(self.token, renewal_seq, lease_ms, ends, now),
            None => OpKind::Renew {
                lease_id: self.lease_id.clone(),
                token: self.token,
                renewal_seq,
                lease_ms,
                ends,
                data: self.pending_data.as_deref().map(str::to_owned),
            },
        };
        Op::new(&self.name, self.kind, kind, now)
    }

    /// Returns the length of the sleep if that is the next step. `may_have_service_time` is whether service time may be
    /// known, because a renewal can have a service timestamp then. If it is `true` without need, the result is `None` or a
    /// shorter sleep.
    pub fn sleep(&mut self, at: ClockReading, may_have_service_time: bool) -> Option<Duration> {
        let length = self.wait(at, may_have_service_time).min(self.time_left(at));
        Some(length).filter(|length| !length.is_zero())
    }

    /// Returns the time until a renewal is due.
    fn wait(&self, at: ClockReading, may_have_service_time: bool) -> Duration {
        if let Some(left) = self.pause.as_ref().and_then(|pause| pause.left(at)) {
            return left;
        }
        if self.requested || !self.is_confirmed || self.pending.is_some() {
            return Duration::ZERO;
        }
        // A renewal is useless if the maximum holding time ends first.
        let covered = self.max_hold.as_ref().is_some_and(|max| max.left(at) <= self.validity.left(at));
        if self.renewal != Renewal::Automatic || covered {
            return Duration::MAX;
        }
        let without_timestamp = !self.service_timestamp && may_have_service_time;
        let period = self.period();
        let period = if without_timestamp { period.min(TIMESTAMP_AFTER) } else { period };
        period.saturating_sub(at.holder_elapsed_since(self.validity.sent.from.0))
    }

    /// Returns the time from a renewal to the next one, if the row has a service timestamp.
    fn period(&self) -> Duration {
        let period = self.timing.heartbeat();
        // If the row's own `expiresOn` ends first (R6), it must be moved in time.
        self.validity.row.map_or(period, |row| period.min(row.after / 2)).max(RETRY_MIN)
    }

    /// Returns the time since the next renewal has been due at this time. It is zero before, and if renewals are not
    /// automatic.
    pub fn renewal_lateness(&self, at: ClockReading) -> Duration {
        let period = if self.renewal == Renewal::Automatic { self.period() } else { Duration::MAX };
        at.holder_elapsed_since(self.validity.sent.from.0).saturating_sub(period)
    }

    /// Takes the response to the renewal in flight. `now` is the time at which it arrived.
    pub fn handle(&mut self, now: &Now<'_>, response: Response<'_>) {
        let (sent_at, outcome) = match response.body {
            Body::Outcome { sent_at, outcome } => (Some(sent_at), outcome),
            Body::Refused(Refusal::NoTable) => (None, &Outcome::Conflict(None)),
            // The lease goes on until its deadline, so a refusal is one more failed attempt.
            Body::Refused(Refusal::Other) => (None, &Outcome::Throttled),
            Body::Row(_) | Body::Unread => return,
        };
        // A response after the deadline extends nothing, because a loss is final.
        if self.check(now.at).is_some() {
            return;
        }
        let Some(renewal) = self.pending.take() else { return };
        // R6: a date that is too early would lengthen the validity. One that is too late shortens it.
        let date = response.date.zip(sent_at).filter(|date| !now.is_too_early(*date));
        match outcome {
            Outcome::Applied(_) => self.renewed(renewal, None, date, now),
            Outcome::Conflict(Some(row)) if self.was_applied(&renewal, row) => {
                self.renewed(renewal, Some(row), date, now);
            }
            Outcome::Conflict(row) => self.lost = Some(self.loss_reason(row.as_ref())),
            Outcome::Unknown | Outcome::Throttled => {
                if *outcome == Outcome::Unknown {
                    self.attempt_timeout = self.timing.next_renewal_timeout(self.attempt_timeout);
                }
                self.pending = Some(renewal);
                self.pause_retry(now);
            }
        }
    }

    /// Returns whether an earlier attempt of `renewal` has been applied: the row has its version, or its entry the
    /// number, because other holders replace the version of a shared row.
    fn was_applied(&self, renewal: &PendingRenewal, row: &Row) -> bool {
        match &self.entry {
            Some(entry) => entry.was_renewed(row, self.token, self.renewal_seq),
            None => row.has_version(&renewal.op.version) && holds(Some(row), &self.condition()),
        }
    }

    fn loss_reason(&self, row: Option<&Row>) -> LossReason {
        self.entry.as_ref().map_or_else(|| loss_reason(row, self.token), |entry| entry.loss_reason(row))
    }

    /// Takes a renewal that was applied. `row` is the row in a conflict with it. A response without a row means that the
    /// row is as this renewal has written it.
    fn renewed(&mut self, renewal: Box<PendingRenewal>, row: Option<&Row>, date: Option<DatedTry>, now: &Now<'_>) {
        let Some(written) = WrittenLease::of(renewal.op.kind) else { return };
        let WrittenLease { lease_ms, data, expires_on, service_timestamp } = written;
        self.attempt_timeout = self.timing.first_renewal_timeout();
        if let Some(data) = data.map(String::into_boxed_str) {
            self.pending_data.take_if(|pending| *pending == data);
            self.data = Some(data);
        }
        self.requested = self.pending_data.is_some() || lease_ms < millis(self.lease);
        let stored = row.map(|row| StoredEnd::of(row, self.entry.as_deref()));
        self.service_timestamp = stored.as_ref().map_or(service_timestamp, |stored| stored.service_timestamp);
        let expires_on = stored.map_or(expires_on, |stored| stored.expires_on);
        self.expires_on = expires_on.unwrap_or(self.expires_on);
        let bound = row_deadline(expires_on, date);
        self.last_date = date.filter(|date| !now.is_too_late(*date)).or(self.last_date);
        let needs_bound = needs_bound(self.entry.is_some(), expires_on, now);
        if bound.map_or(needs_bound, |bound| bound.passed(now.at) && !self.is_confirmed) {
            // Without a bound on service time the present validity stands, and another renewal is needed soon (R6).
            self.requested = true;
            return self.pause_retry(now);
        }
        let lease = Duration::from_millis(lease_ms);
        let sent = Deadline::new(renewal.sent_at, Timing::validity(lease));
        let later = if sent.left(now.at) > self.validity.sent.left(now.at) { sent } else { self.validity.sent };
        self.validity = Validity { sent: later, row: bound };
        self.renewals += 1;
        self.is_confirmed = true;
        self.pause = None;
    }

    /// Starts a pause before the next attempt. It is short when the deadline is near, so that one of many attempts
    /// succeeds even if most of them fail. Far from the deadline it is long, because a store in trouble needs rest.
    fn pause_retry(&mut self, now: &Now<'_>) {
        let cap = (self.time_left(now.at) / TRIES).clamp(RETRY_MIN, self.timing.heartbeat().max(RETRY_MIN));
        let previous = self.pause.as_deref().copied();
        self.pause = Some(Box::new(Backoff::after(previous, RETRY_MIN, cap, now)));
    }
}
