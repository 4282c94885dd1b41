use std::time::Duration;

use crate::config::{DRIFT_PER_MILLE, PURGE_AFTER, STAMP_PAD};
use crate::op::{attr, in_reign, millis};
use crate::time::Pause;
use crate::{
    Condition, Deadline, Ends, FencingToken, Guid, LockName, Moment, Now, Op, OpKind, Outcome, Reign, Row, SentAt,
    ServiceDate, Timing,
};

/// A first renewal comes this soon if the row still bears no service stamp (§5).
const STAMP_AFTER: Duration = Duration::from_millis(500);
const RETRY_MIN: Duration = Duration::from_millis(25);
/// A pause between two tries of a renewal is at most this part of the time that is left.
const RETRIES: u32 = 20;

/// Who renews a held lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Heartbeat {
    /// The library, by itself.
    #[default]
    Background,
    /// The caller, with `renew`.
    Manual,
    /// Nobody: the lock is over when its lease is.
    Off,
}

/// Why a lock is no longer to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Loss {
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
pub enum Beat {
    /// Send this, once; feed the answer, or its absence, to [`Held::handle_outcome`].
    Write(Op),
    /// Nothing for so long, unless asked.
    Sleep(Duration),
    /// It is lost. Final.
    Lost(Loss),
}

/// A renewal that was begun and has not been seen to land.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Renewal {
    op: Op,
    sent_at: SentAt,
}

/// How long a lock may be believed in: while neither has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Belief {
    /// R1: counted from before sending.
    pub(crate) sent: Deadline,
    /// R6: until service time could reach the row's `expiresOn`.
    pub(crate) stamp: Option<Deadline>,
}

impl Belief {
    pub(crate) fn left(&self, at: Moment) -> Duration {
        self.stamp.map_or(Duration::MAX, |stamp| stamp.left(at)).min(self.sent.left(at))
    }

    pub(crate) fn passed(&self, at: Moment) -> bool {
        self.left(at).is_zero()
    }

    /// Whether the host slept through its end.
    fn slept_through(&self, at: Moment) -> bool {
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
    reign: Reign,
    token: FencingToken,
    timing: Timing,
    heartbeat: Heartbeat,
    /// What the row's `leaseMs` says at least; a renewal never shortens it.
    lease: Duration,
    belief: Belief,
    max_hold: Option<Deadline>,
    /// R6 was over on arrival, or nearly for want of a stamp: not to be reported as held before a renewal has landed.
    unconfirmed: bool,
    stamped: bool,
    /// The `expiresOn` that the row is known to have had.
    expires_on: u64,
    /// The last answer's `Date`, and when its try was sent.
    heard: Option<(ServiceDate, SentAt)>,
    /// The next stamp counts from that answer, whatever was known before.
    afresh: bool,
    beat: u64,
    renewal: Option<Renewal>,
    pause: Option<Pause>,
    asked: bool,
    landed: u64,
    data: Option<String>,
    lost: Option<Loss>,
}

/// How a lock was won: by which operation, and what its answer says.
pub(crate) struct Won<'a> {
    pub(crate) name: LockName,
    pub(crate) reign: Reign,
    pub(crate) token: FencingToken,
    pub(crate) sent_at: SentAt,
    pub(crate) row: &'a Row,
    pub(crate) heard: Option<(ServiceDate, SentAt)>,
}

impl Held {
    pub(crate) fn new(
        won: Won<'_>,
        timing: Timing,
        heartbeat: Heartbeat,
        max_hold: Option<Duration>,
        now: &Now<'_>,
    ) -> Self {
        let Won { name, reign, token, sent_at, row, heard } = won;
        let stamp = own_stamp(row, heard);
        let lease = timing.lease();
        let stamped = is_stamped(row);
        let unknown = now.service.is_some() && stamp.is_none();
        // Written by a slow wall clock: a renewal bears the service's time, and its stamp ends when the lease does.
        let short = |stamp: Deadline| stamp.left(now.at) < timing.heartbeat() && !stamped;
        let unconfirmed = unknown || stamp.is_some_and(|stamp| stamp.passed(now.at) || short(stamp));
        Self {
            name,
            reign,
            token,
            heartbeat,
            lease,
            belief: Belief { sent: Deadline::new(sent_at, Timing::belief(lease)), stamp },
            max_hold: max_hold.map(|d| Deadline::new(sent_at, d)),
            unconfirmed,
            stamped,
            expires_on: row.whole(attr::EXPIRES_ON).unwrap_or(0),
            heard,
            afresh: false,
            beat: row.whole(attr::BEAT).unwrap_or(0),
            renewal: None,
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
    pub fn is_stamped(&self) -> bool {
        self.stamped
    }

    /// Whether the row may be over before the lease is (R6): its stamp was written by a host that had stood still since it
    /// learned the time. What nothing renews must be stamped once more.
    pub fn outlasts_row(&self, at: Moment) -> bool {
        self.belief.stamp.is_some_and(|stamp| stamp.left(at) < self.belief.sent.left(at))
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
        Condition::All(in_reign(&self.reign, Some(self.token)))
    }

    /// R3: whether the lock may be believed in, computed when asked. Once false, for ever.
    pub fn is_live(&mut self, at: Moment) -> bool {
        self.check(at).is_none() && !self.unconfirmed
    }

    /// Time left to believe in it, if nothing renews it; zero once lost.
    pub fn time_left(&mut self, at: Moment) -> Duration {
        if self.check(at).is_some() {
            return Duration::ZERO;
        }
        let max_hold = self.max_hold.map_or(Duration::MAX, |d| d.left(at));
        if self.unconfirmed { self.belief.sent.left(at) } else { self.belief.left(at) }.min(max_hold)
    }

    /// Why it is lost, if it is.
    pub fn check(&mut self, at: Moment) -> Option<Loss> {
        if self.lost.is_none() {
            let ended = if self.unconfirmed { self.belief.sent.passed(at) } else { self.belief.passed(at) };
            if self.max_hold.is_some_and(|d| d.passed(at)) {
                self.lost = Some(Loss::MaxHold);
            } else if ended && self.belief.slept_through(at) {
                self.lost = Some(Loss::Suspended);
            } else if ended {
                self.lost = Some(Loss::Expired);
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
    pub fn next(&mut self, now: &Now<'_>) -> Beat {
        if let Some(loss) = self.check(now.at) {
            return Beat::Lost(loss);
        }
        let wait = self.wait(now);
        if !wait.is_zero() {
            return Beat::Sleep(wait.min(self.time_left(now.at)));
        }
        // The identical operation for one heartbeat; after that its successor, which counts from its own sending.
        let fresh = |r: &Renewal| now.at.holder_elapsed_since(r.sent_at.0) < self.timing.heartbeat();
        if let Some(renewal) = self.renewal.as_ref().filter(|r| fresh(r)) {
            return Beat::Write(renewal.op.clone());
        }
        self.beat += 1;
        let op = self.renewal_op(now);
        self.renewal = Some(Renewal { op: op.clone(), sent_at: SentAt(now.at) });
        Beat::Write(op)
    }

    fn renewal_op(&self, now: &Now<'_>) -> Op {
        let mut ends = ends(self.lease, now);
        if !ends.stamped && now.service.is_some() {
            // By a wall clock that was set back the row could end before the belief that stands (R6).
            ends.expires_on = ends.expires_on.max(self.expires_on);
        } else if let Some((date, sent_at)) = self.heard.filter(|_| self.afresh) {
            ends.expires_on = ends.expires_on.max(date.upper_at(sent_at, now.at) + millis(self.lease + STAMP_PAD));
        }
        Op {
            name: self.name.clone(),
            guid: Guid::from_random(now.fresh.guid),
            kind: OpKind::Renew {
                reign: self.reign.clone(),
                token: self.token,
                beat: self.beat,
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
        if self.asked || self.unconfirmed || self.renewal.is_some() {
            return Duration::ZERO;
        }
        // Nothing that a renewal could add: belief ends by max_hold anyway.
        let covered = self.max_hold.is_some_and(|max| max.left(now.at) <= self.belief.left(now.at));
        if self.heartbeat != Heartbeat::Background || covered {
            return Duration::MAX;
        }
        let unstamped = !self.stamped && now.service_interval().is_some();
        let period = self.timing.heartbeat();
        let period = if unstamped { period.min(STAMP_AFTER) } else { period };
        // A stamp that ends before the lease does is to be moved in good time.
        let period = self.belief.stamp.map_or(period, |stamp| period.min(stamp.length() / 2)).max(RETRY_MIN);
        period.saturating_sub(self.belief.sent.age(now.at))
    }

    /// The answer to the renewal in flight: `now` is when it was received, `sent_at` when its try was sent.
    pub fn handle_outcome(&mut self, now: &Now<'_>, sent_at: SentAt, outcome: &Outcome, date: Option<ServiceDate>) {
        // An answer that comes after the deadline extends nothing: lost is final.
        if self.check(now.at).is_some() {
            return;
        }
        let Some(renewal) = self.renewal.take() else { return };
        match outcome {
            Outcome::Applied(row) => self.land(renewal, row, sent_at, date, now),
            Outcome::Conflict(Some(row)) if self.landed_before(&renewal, row) => {
                self.land(renewal, row, sent_at, date, now);
            }
            Outcome::Conflict(row) => self.lost = Some(why(row.as_ref(), self.token)),
            Outcome::Unknown | Outcome::Throttled => {
                self.renewal = Some(renewal);
                self.pause_retry(now);
            }
        }
    }

    fn landed_before(&self, renewal: &Renewal, row: &Row) -> bool {
        row.is_reign(&self.reign)
            && row.token() == Some(self.token)
            && row.guid().as_ref() == Some(&renewal.op.guid)
            && !row.says_free()
    }

    fn land(&mut self, renewal: Renewal, row: &Row, sent_at: SentAt, date: Option<ServiceDate>, now: &Now<'_>) {
        let OpKind::Renew { lease_ms, data, .. } = renewal.op.kind else { return };
        if self.data == data {
            self.data = None;
        }
        self.asked = self.data.is_some() || lease_ms < millis(self.lease);
        self.stamped = is_stamped(row);
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
        let sent = Deadline::new(renewal.sent_at, Timing::belief(lease));
        self.belief = Belief { sent: self.belief.sent.later(sent, now.at), stamp };
        self.landed += 1;
        self.unconfirmed = false;
        self.pause = None;
    }

    /// The nearer the deadline, the oftener: what fails half the time, or nine times in ten, is asked so often before it
    /// that some try is answered. Far from it, a store in trouble is left alone.
    fn pause_retry(&mut self, now: &Now<'_>) {
        let cap = (self.time_left(now.at) / RETRIES).clamp(RETRY_MIN, self.timing.heartbeat().max(RETRY_MIN));
        self.pause = Some(Pause::after(self.pause, RETRY_MIN, cap, now));
    }

    fn pause_retry_landed(&mut self, now: &Now<'_>) {
        self.asked = true;
        self.pause_retry(now);
    }

    pub(crate) fn reign(&self) -> &Reign {
        &self.reign
    }

    pub(crate) fn belief(&self) -> Belief {
        self.belief
    }
}

/// Why a row that is not ours any more is not.
pub(crate) fn why(row: Option<&Row>, token: FencingToken) -> Loss {
    match row {
        None => Loss::RowGone,
        Some(row) if row.whole(attr::REVOKED) == Some(token.get()) => Loss::Revoked,
        Some(_) => Loss::TakenOver,
    }
}

fn is_stamped(row: &Row) -> bool {
    row.text(attr::STAMP) == Some(attr::STAMP_SERVICE)
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
        expires_on: upper.unwrap_or(now.at.wall_ms) + millis(lease + STAMP_PAD),
        stamped: upper.is_some(),
        purge_on: purge_on(lease, now),
    }
}

/// When DynamoDB's TTL may delete the row, epoch seconds.
pub(crate) fn purge_on(lease: Duration, now: &Now<'_>) -> u64 {
    let upper = now.service_interval().map_or(0, |(_, upper)| upper);
    upper.max(now.at.wall_ms).div_ceil(1000) + (lease + PURGE_AFTER).as_secs() + 1
}
