use std::time::Duration;

use crate::attr;
use crate::backoff::Backoff;
use crate::config::{DRIFT_PER_MILLE, EXPIRY_PAD, RETRY_MIN, TTL_MARGIN};
use crate::time::millis;
use crate::{
    ClockReading, Condition, Deadline, Ends, FencingToken, LeaseId, LockName, Now, Op, OpKind, Outcome, RecordVersion,
    Row, SentAt, ServiceDate, Timing,
};

/// A first renewal comes this soon if the row still bears no service stamp (§5).
const TIMESTAMP_AFTER: Duration = Duration::from_millis(500);
/// A pause between two tries of a renewal is at most this part of the time that is left.
const RETRIES: u32 = 20;

/// Who renews a held lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Renewal {
    /// The library, by itself.
    #[default]
    Automatic,
    /// The caller, with `renew`.
    Manual,
    /// Nobody: the lock is over when its lease is.
    Disabled,
}

/// Why a lock is no longer to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LossReason {
    /// No renewal was known to land in time.
    Expired,
    /// Somebody else has it now.
    TakenOver,
    /// An operator revoked it.
    Revoked,
    /// Its row is gone: somebody deleted the row or the table.
    RowGone,
    /// It was held for as long as it was allowed to be.
    MaxHold,
    /// The host slept, or its wall clock jumped, past the end of the lease; or the process is a forked child.
    Suspended,
}

/// What to do next for a held lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldStep {
    /// Send this, once; feed the answer, or its absence, to [`Held::handle_outcome`].
    Write(Op),
    /// Nothing for so long, unless asked.
    Sleep(Duration),
    /// It is lost. Final.
    Lost(LossReason),
}

/// A renewal that was begun and has not been seen to land.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PendingRenewal {
    op: Op,
    sent_at: SentAt,
}

/// How long a lock may be believed in: while neither has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Validity {
    /// R1: counted from before sending.
    pub(crate) sent: Deadline,
    /// R6: until service time could reach the row's `expiresOn`.
    pub(crate) stamp: Option<Deadline>,
}

impl Validity {
    pub(crate) fn left(&self, at: ClockReading) -> Duration {
        self.stamp.map_or(Duration::MAX, |stamp| stamp.left(at)).min(self.sent.left(at))
    }

    pub(crate) fn passed(&self, at: ClockReading) -> bool {
        self.left(at).is_zero()
    }

    /// Whether the host slept through its end.
    fn slept_through(&self, at: ClockReading) -> bool {
        let ended = |d: &Deadline| d.passed(at);
        let awake = |d: &Deadline| d.passed(at) && d.passed_awake(at);
        (ended(&self.sent) || self.stamp.as_ref().is_some_and(ended))
            && !awake(&self.sent)
            && !self.stamp.as_ref().is_some_and(awake)
    }
}

/// A lock that is held, until it is released or lost: when to renew it, and whether it may be believed in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    name: LockName,
    lease_id: LeaseId,
    token: FencingToken,
    timing: Timing,
    renewal: Renewal,
    /// What the row's `leaseMs` says at least; a renewal never shortens it.
    lease: Duration,
    validity: Validity,
    max_hold: Option<Deadline>,
    /// R6 was over on arrival, or nearly for want of a stamp: not to be reported as held before a renewal has landed.
    unconfirmed: bool,
    service_timestamp: bool,
    /// The `expiresOn` that the row is known to have had.
    expires_on: u64,
    /// The last answer's `Date`, and when its try was sent.
    heard: Option<(ServiceDate, SentAt)>,
    /// The next stamp counts from that answer, whatever was known before.
    afresh: bool,
    renewal_seq: u64,
    pending: Option<PendingRenewal>,
    pause: Option<Backoff>,
    asked: bool,
    landed: u64,
    data: Option<String>,
    lost: Option<LossReason>,
}

/// How a lock was won: by which operation, and what its answer says.
pub(crate) struct Won<'a> {
    pub(crate) name: LockName,
    pub(crate) lease_id: LeaseId,
    pub(crate) token: FencingToken,
    pub(crate) sent_at: SentAt,
    pub(crate) row: &'a Row,
    pub(crate) heard: Option<(ServiceDate, SentAt)>,
}

impl Held {
    pub(crate) fn new(
        won: Won<'_>,
        timing: Timing,
        renewal: Renewal,
        max_hold: Option<Duration>,
        now: &Now<'_>,
    ) -> Self {
        let Won { name, lease_id, token, sent_at, row, heard } = won;
        let stamp = own_stamp(row, heard);
        let lease = timing.lease();
        let service_timestamp = row.has_service_timestamp();
        let unknown = now.service.is_some() && stamp.is_none();
        // Written by a slow wall clock: a renewal bears the service's time, and its stamp ends when the lease does.
        let short = |stamp: Deadline| stamp.left(now.at) < timing.heartbeat() && !service_timestamp;
        let unconfirmed = unknown || stamp.is_some_and(|stamp| stamp.passed(now.at) || short(stamp));
        Self {
            name,
            lease_id,
            token,
            renewal,
            lease,
            validity: Validity { sent: Deadline::new(sent_at, Timing::validity(lease)), stamp },
            max_hold: max_hold.map(|d| Deadline::new(sent_at, d)),
            unconfirmed,
            service_timestamp,
            expires_on: row.whole(attr::EXPIRES_ON).unwrap_or(0),
            heard,
            afresh: false,
            renewal_seq: row.whole(attr::RENEWAL_SEQ).unwrap_or(0),
            pending: None,
            pause: None,
            asked: false,
            landed: 0,
            data: None,
            lost: None,
            timing,
        }
    }

    /// The lock.
    pub fn name(&self) -> &LockName {
        &self.name
    }

    /// Its fencing token.
    pub fn token(&self) -> FencingToken {
        self.token
    }

    /// Whether the row bears the service's time: what nothing renews must (R6 of an unstamped row may be short).
    pub fn has_service_timestamp(&self) -> bool {
        self.service_timestamp
    }

    /// Whether the row may be over before the lease is (R6): its stamp was written by a host that had stood still since it
    /// learned the time. What nothing renews must be stamped once more.
    pub fn outlasts_row(&self, at: ClockReading) -> bool {
        self.validity.stamp.is_some_and(|stamp| stamp.left(at) < self.validity.sent.left(at))
    }

    /// How many renewals are known to have landed, and moved the belief.
    pub fn landed(&self) -> u64 {
        self.landed
    }

    /// How long one try of a renewal may take.
    pub fn attempt_timeout(&self) -> Duration {
        self.timing.attempt_timeout()
    }

    /// Whether the acquisition may be reported: its own stamp allows the belief (R6).
    pub(crate) fn is_confirmed(&self) -> bool {
        !self.unconfirmed
    }

    /// That the row is still held by this reign: exact also while renewals land, so the record version is not in it.
    pub fn condition(&self) -> Condition {
        Condition::All(Condition::held_under(&self.lease_id, Some(self.token)))
    }

    /// R3: whether the lock may be believed in, computed when asked. Once false, for ever.
    pub fn is_valid(&mut self, at: ClockReading) -> bool {
        self.check(at).is_none() && !self.unconfirmed
    }

    /// Time left to believe in it, if nothing renews it; zero once lost.
    pub fn time_left(&mut self, at: ClockReading) -> Duration {
        if self.check(at).is_some() {
            return Duration::ZERO;
        }
        let max_hold = self.max_hold.map_or(Duration::MAX, |d| d.left(at));
        if self.unconfirmed { self.validity.sent.left(at) } else { self.validity.left(at) }.min(max_hold)
    }

    /// Why it is lost, if it is.
    pub fn check(&mut self, at: ClockReading) -> Option<LossReason> {
        if self.lost.is_none() {
            let ended = if self.unconfirmed { self.validity.sent.passed(at) } else { self.validity.passed(at) };
            if self.max_hold.is_some_and(|d| d.passed(at)) {
                self.lost = Some(LossReason::MaxHold);
            } else if ended && self.validity.slept_through(at) {
                self.lost = Some(LossReason::Suspended);
            } else if ended {
                self.lost = Some(LossReason::Expired);
            }
        }
        self.lost
    }

    /// Asks for a renewal now.
    pub fn ask(&mut self) {
        self.asked = true;
        self.pause = None;
    }

    /// Asks for a renewal now that carries this payload; it stays pending until one that carries it has landed.
    pub fn ask_data(&mut self, data: String) {
        self.data = Some(data);
        self.ask();
    }

    /// Asks for a renewal now that makes the lease this long, if that is longer. Its stamp counts from the last answer alone:
    /// what was known before may be from before a standstill.
    pub fn ask_lease(&mut self, lease: Duration) {
        self.lease = self.lease.max(lease);
        self.afresh = true;
        self.ask();
    }

    /// Whether a payload waits for a renewal to carry it.
    pub fn has_pending_data(&self) -> bool {
        self.data.is_some()
    }

    /// What to do next.
    pub fn next(&mut self, now: &Now<'_>) -> HeldStep {
        if let Some(loss) = self.check(now.at) {
            return HeldStep::Lost(loss);
        }
        let wait = self.wait(now);
        if !wait.is_zero() {
            return HeldStep::Sleep(wait.min(self.time_left(now.at)));
        }
        // The identical operation for one heartbeat; after that its successor, which counts from its own sending.
        let fresh = |r: &PendingRenewal| now.at.holder_elapsed_since(r.sent_at.0) < self.timing.heartbeat();
        if let Some(renewal) = self.pending.as_ref().filter(|r| fresh(r)) {
            return HeldStep::Write(renewal.op.clone());
        }
        self.renewal_seq += 1;
        let op = self.renewal_op(now);
        self.pending = Some(PendingRenewal { op: op.clone(), sent_at: SentAt(now.at) });
        HeldStep::Write(op)
    }

    fn renewal_op(&self, now: &Now<'_>) -> Op {
        let mut ends = ends(self.lease, now);
        if !ends.service_timestamp && now.service.is_some() {
            // By a wall clock that was set back the row could end before the belief that stands (R6).
            ends.expires_on = ends.expires_on.max(self.expires_on);
        } else if let Some((date, sent_at)) = self.heard.filter(|_| self.afresh) {
            ends.expires_on = ends.expires_on.max(date.upper_at(sent_at, now.at) + millis(self.lease + EXPIRY_PAD));
        }
        Op {
            name: self.name.clone(),
            version: RecordVersion::from_random(now.entropy.version),
            kind: OpKind::Renew {
                lease_id: self.lease_id.clone(),
                token: self.token,
                renewal_seq: self.renewal_seq,
                lease_ms: millis(self.lease),
                ends,
                data: self.data.clone(),
            },
        }
    }

    /// Time until a renewal is due.
    fn wait(&self, now: &Now<'_>) -> Duration {
        if let Some(left) = self.pause.and_then(|pause| pause.left(now.at)) {
            return left;
        }
        if self.asked || self.unconfirmed || self.pending.is_some() {
            return Duration::ZERO;
        }
        // Nothing that a renewal could add: belief ends by max_hold anyway.
        let covered = self.max_hold.is_some_and(|max| max.left(now.at) <= self.validity.left(now.at));
        if self.renewal != Renewal::Automatic || covered {
            return Duration::MAX;
        }
        let without_timestamp = !self.service_timestamp && now.service_interval().is_some();
        let period = self.timing.heartbeat();
        let period = if without_timestamp { period.min(TIMESTAMP_AFTER) } else { period };
        // A stamp that ends before the lease does is to be moved in good time.
        let period = self.validity.stamp.map_or(period, |stamp| period.min(stamp.length() / 2)).max(RETRY_MIN);
        period.saturating_sub(self.validity.sent.age(now.at))
    }

    /// The answer to the renewal in flight: `now` is when it was received, `sent_at` when its try was sent.
    pub fn handle_outcome(&mut self, now: &Now<'_>, sent_at: SentAt, outcome: &Outcome, date: Option<ServiceDate>) {
        // An answer that comes after the deadline extends nothing: lost is final.
        if self.check(now.at).is_some() {
            return;
        }
        let Some(renewal) = self.pending.take() else { return };
        match outcome {
            Outcome::Applied(row) => self.land(renewal, row, sent_at, date, now),
            Outcome::Conflict(Some(row)) if self.landed_before(&renewal, row) => {
                self.land(renewal, row, sent_at, date, now);
            }
            Outcome::Conflict(row) => self.lost = Some(why(row.as_ref(), self.token)),
            Outcome::Unknown | Outcome::Throttled => {
                self.pending = Some(renewal);
                self.pause_retry(now);
            }
        }
    }

    fn landed_before(&self, renewal: &PendingRenewal, row: &Row) -> bool {
        row.has_lease_id(&self.lease_id)
            && row.token() == Some(self.token)
            && row.version().as_ref() == Some(&renewal.op.version)
            && !row.is_free()
    }

    fn land(&mut self, renewal: PendingRenewal, row: &Row, sent_at: SentAt, date: Option<ServiceDate>, now: &Now<'_>) {
        let OpKind::Renew { lease_ms, data, .. } = renewal.op.kind else { return };
        if self.data == data {
            self.data = None;
        }
        self.asked = self.data.is_some() || lease_ms < millis(self.lease);
        self.service_timestamp = row.has_service_timestamp();
        self.expires_on = row.whole(attr::EXPIRES_ON).unwrap_or(self.expires_on);
        let heard = date.map(|date| (date, sent_at));
        let stamp = own_stamp(row, heard);
        // An answer without a date takes nothing back.
        self.heard = heard.or(self.heard);
        let unknown = now.service.is_some() && stamp.is_none();
        if unknown || stamp.is_some_and(|d| d.passed(now.at)) && self.unconfirmed {
            // No bound on service time came with it: the old belief stands, and the next renewal comes soon.
            return self.pause_retry_landed(now);
        }
        let lease = Duration::from_millis(lease_ms);
        let sent = Deadline::new(renewal.sent_at, Timing::validity(lease));
        self.validity = Validity { sent: self.validity.sent.later(sent, now.at), stamp };
        self.landed += 1;
        self.unconfirmed = false;
        self.pause = None;
    }

    /// The nearer the deadline, the oftener: what fails half the time, or nine times in ten, is asked so often before it
    /// that some try is answered. Far from it, a store in trouble is left alone.
    fn pause_retry(&mut self, now: &Now<'_>) {
        let cap = (self.time_left(now.at) / RETRIES).clamp(RETRY_MIN, self.timing.heartbeat().max(RETRY_MIN));
        self.pause = Some(Backoff::after(self.pause, RETRY_MIN, cap, now));
    }

    fn pause_retry_landed(&mut self, now: &Now<'_>) {
        self.asked = true;
        self.pause_retry(now);
    }

    pub(crate) fn lease_id(&self) -> &LeaseId {
        &self.lease_id
    }

    pub(crate) fn validity(&self) -> Validity {
        self.validity
    }
}

/// Why a row that is not ours any more is not.
pub(crate) fn why(row: Option<&Row>, token: FencingToken) -> LossReason {
    match row {
        None => LossReason::RowGone,
        Some(row) if row.whole(attr::REVOKED_TOKEN) == Some(token.get()) => LossReason::Revoked,
        Some(_) => LossReason::TakenOver,
    }
}

/// R6: a belief ends when service time, bounded from this answer's `Date` alone, could reach the row's `expiresOn`,
/// stamped or not.
fn own_stamp(row: &Row, heard: Option<(ServiceDate, SentAt)>) -> Option<Deadline> {
    let (date, sent_at) = heard?;
    let left = row.whole(attr::EXPIRES_ON)?.saturating_sub(date.upper_when_sent());
    Some(Deadline::new(sent_at, Duration::from_millis(left * (1000 - DRIFT_PER_MILLE) / 1000)))
}

/// The end of a lease that is counted from now, as the row has it.
pub(crate) fn ends(lease: Duration, now: &Now<'_>) -> Ends {
    let upper = now.service_interval().map(|(_, upper)| upper);
    Ends {
        expires_on: upper.unwrap_or(now.at.wall_ms) + millis(lease + EXPIRY_PAD),
        service_timestamp: upper.is_some(),
        ttl: ttl(lease, now),
    }
}

/// When DynamoDB's TTL may delete the row, epoch seconds.
pub(crate) fn ttl(lease: Duration, now: &Now<'_>) -> u64 {
    let upper = now.service_interval().map_or(0, |(_, upper)| upper);
    upper.max(now.at.wall_ms).div_ceil(1000) + (lease + TTL_MARGIN).as_secs() + 1
}
