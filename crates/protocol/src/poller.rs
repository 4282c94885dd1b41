//! [`Poller`]: when a waiter looks at the row next.
//!
//! A look is one read of the row. The times of looks depend on the lengths of recent holds and on the number of waiters
//! (`hold_history.rs`), as far as the row contains them. They never influence who may hold the lock, and whatever a row
//! contains, the rate of looks is bounded. `docs/internals/rationale.md` has the reasons and figures.

use std::time::Duration;

use crate::{
    ClockReading, HoldHistory, Now, RatePlan, ReceivedAt, RecordVersion, Row, SentAt, SharedRow, attr, rate_plan::RATE,
};

/// Shortest time from one look to the next, in seconds.
const FLOOR: f64 = 0.025;
/// Shortest time that all waiters together leave between two looks, in seconds, and as a part of the round trip.
const GAP: f64 = 0.010;
const GAP_ROUND_TRIP: f64 = 0.6;
/// Longest time between two looks while the store gives hints, in seconds, unless a tenth of the lease is shorter.
const FALLBACK: f64 = 2.0;
/// Relative jitter of the time between two looks.
const JITTER: f64 = 0.25;
/// Longest time between two looks without a history, in seconds, and its growth from one look to the next.
const COLD: f64 = 0.2;
const COLD_GROWTH: f64 = 1.6;
/// Number of holds that a plan needs.
const HOLDS_MIN: usize = 3;
/// Number by which the handoffs seen may raise the number of waiters above the estimate in the row.
const LEAD: f64 = 8.0;
/// Number of waiters from which on they are spread over time.
const CROWD: f64 = 1.5;
/// Number of looks that an attempt may send at once. After that there are at most `2 * RATE` per second.
const BURST: u32 = 4;
/// First pause after a throttled or unanswered look, in seconds.
const ERROR_PAUSE: f64 = 0.05;
/// Number of stale rows in a row after which a strongly consistent read is believed.
const STALE_MAX: u8 = 3;
/// Tolerance for the wall clocks of two hosts, by which a hold may seem to begin before the previous look.
const WALL_TOLERANCE: Duration = Duration::from_millis(10);
/// Upper bound of the handoffs that an attempt counts.
const HANDOFFS_MAX: u64 = 1_000;

/// Facts in a row from which a waiter derives when to look next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RowFacts {
    token: Option<u64>,
    acquisition: Acquisition,
    acquired_on: Option<u64>,
    history: HoldHistory,
}

/// Identity of an acquisition by a process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Acquisition {
    /// Token less the number of handovers within a process, which free nothing for others.
    Number(u64),
    /// Record version of a row without a token.
    Version(Option<RecordVersion>),
}

impl RowFacts {
    /// Returns the facts in a row.
    pub fn of(row: &Row) -> Self {
        let token = row.token().map(crate::FencingToken::get);
        let handovers = row.whole(attr::HANDOVERS).unwrap_or(0);
        let number = |token| if handovers < token { token - handovers } else { token };
        Self {
            token,
            acquisition: token.map_or_else(|| Acquisition::Version(row.version()), |t| Acquisition::Number(number(t))),
            acquired_on: row.whole(attr::ACQUIRED_ON),
            history: HoldHistory::of(row),
        }
    }

    /// Returns the facts in a shared row, of which a waiter has seen `departures` holders leave. Each counts as a handoff,
    /// because it lets a waiter acquire.
    pub fn of_shared(row: &SharedRow, departures: u64) -> Self {
        let (token, acquisition) = (Some(row.token.get()), Acquisition::Number(departures));
        Self { token, acquisition, acquired_on: None, history: HoldHistory::default() }
    }

    /// Returns the facts in a row with this token and without handovers.
    pub fn new(token: u64, acquired_on: Option<u64>, history: HoldHistory) -> Self {
        Self { token: Some(token), acquisition: Acquisition::Number(token), acquired_on, history }
    }
}

/// The times of one request: before its first byte was sent, and after its response had arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RoundTrip {
    /// Time before the first byte was sent.
    pub sent: SentAt,
    /// Time at which the response had arrived.
    pub received: ReceivedAt,
}

impl RoundTrip {
    /// Returns the times of a request that was sent at `sent`. Its response has arrived now.
    pub(crate) fn ending(sent: SentAt, now: &Now<'_>) -> Self {
        Self { sent, received: ReceivedAt(now.at) }
    }
}

/// Facts besides the row on which the time of the next look depends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Due {
    /// Pause before jitter while the store gives hints, otherwise zero. The longest pause of a waiter limits it, or a
    /// tenth of the lease and 2 s if that is more.
    pub least: Duration,
    /// Time until the observed lease expires, from the response: a look is due then.
    pub expires_in: Option<Duration>,
    /// Fresh random bits.
    pub random: u64,
}

/// Kind of the request that returned a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A look by an eventually consistent read.
    Look,
    /// A look that followed a hint of the store. Hints have bounds of their own.
    HintedLook,
    /// A look by a strongly consistent read.
    StrongLook,
    /// A write. It is not a look.
    Write,
}

impl Source {
    /// Returns whether the row may be older than one that was returned before.
    fn may_be_stale(self) -> bool {
        matches!(self, Self::Look | Self::HintedLook)
    }
}

/// State of one attempt to acquire a lock, as far as it concerns the times of looks.
///
/// Whatever the rows contain, an attempt sends at most 4 looks, and 11 more for each second since it began. Two looks
/// are at least 25 ms apart, and pauses are at most 2 s.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Poller {
    began: Option<ClockReading>,
    looks: u32,
    /// Looks without a usable response in a row.
    unanswered: u8,
    /// Stale rows in a row.
    stale: u8,
    /// Handoffs that this attempt has seen.
    handoffs: u32,
    /// Whether the first row was free, so that this attempt has not waited.
    began_free: bool,
    seen: Option<Seen>,
    next: Option<NextLook>,
}

/// The last row that was believed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Seen {
    /// Largest token so far.
    token: Option<u64>,
    acquisition: Acquisition,
    sent: SentAt,
    /// Begin of the present hold, in microseconds since `began`.
    since_us: Option<i64>,
    /// Whether this row was the first one of its acquisition, and not the first one of the attempt.
    is_new: bool,
}

/// Time of the next look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct NextLook {
    from: SentAt,
    /// Time from `from` to the next look.
    after: Duration,
}

impl Poller {
    /// Notes the time of the first step of the attempt. Returns `false` for later calls, which have no effect.
    pub fn begin(&mut self, at: ClockReading) -> bool {
        let is_first = self.began.is_none();
        self.began.get_or_insert(at);
        is_first
    }

    /// Returns whether the next look must be strongly consistent, because rows older than one seen before were returned
    /// repeatedly. A table that was restored from a backup has such a row, too.
    pub fn must_read_consistently(&self) -> bool {
        self.stale >= STALE_MAX
    }

    /// Takes a row that cannot be used. Returns whether it must be ignored, because it may be stale: the name may have had
    /// a row of another kind before. The next look is then scheduled, and it is strongly consistent.
    pub(crate) fn ignores_unusable(&mut self, source: Source, times: RoundTrip) -> bool {
        let ignored = source.may_be_stale();
        if ignored {
            self.begin(times.sent.0);
            self.count_look();
            self.unanswered = 0;
            self.stale = STALE_MAX;
            self.schedule_after(times.sent, FLOOR);
        }
        ignored
    }

    /// Returns whether this attempt has looked.
    pub(crate) fn has_looked(&self) -> bool {
        self.looks > 0
    }

    /// Returns the handoffs that the estimate of waiters counts for this attempt: zero if the lock was free at first.
    pub fn handoffs(&self) -> u32 {
        if self.began_free { 0 } else { self.handoffs }
    }

    /// Takes a row. Returns `false` if it is older than one that was seen before, so that it must be ignored; the next
    /// look is then scheduled.
    pub fn observe(&mut self, row: &RowFacts, is_free: bool, source: Source, times: RoundTrip) -> bool {
        self.begin(times.sent.0);
        let known = self.seen.as_ref().and_then(|seen| seen.token);
        if matches!(source, Source::Look | Source::StrongLook) {
            self.count_look();
        }
        self.unanswered = 0;
        if source.may_be_stale() && row.token.is_some_and(|token| known.is_some_and(|known| token < known)) {
            self.stale = self.stale.saturating_add(1);
            self.schedule_after(times.sent, FLOOR);
            return false;
        }
        self.stale = 0;
        let before = self.seen.take();
        if before.is_none() {
            self.began_free = is_free;
        }
        let passed = before.as_ref().map_or(0, |seen| handoffs_between(&seen.acquisition, &row.acquisition));
        self.handoffs = (u64::from(self.handoffs) + passed).min(HANDOFFS_MAX) as u32;
        let since_us = match &before {
            _ if is_free => None,
            Some(seen) if passed == 0 => seen.since_us.or_else(|| self.begin_of_hold(row, None, times)),
            Some(seen) => self.begin_of_hold(row, Some(seen.sent), times),
            None => self.begin_of_hold(row, None, times),
        };
        self.seen = Some(Seen {
            token: row.token.or(known),
            acquisition: row.acquisition.clone(),
            sent: times.sent,
            since_us,
            is_new: passed > 0,
        });
        true
    }

    /// Returns the begin of the hold in `row`, by the own wall clock. It lies after the `previous` look, which showed
    /// another acquisition, and before the response.
    fn begin_of_hold(&self, row: &RowFacts, previous: Option<SentAt>, times: RoundTrip) -> Option<i64> {
        let received = self.micros(times.received.0);
        let earliest = previous.map(|sent| self.micros(sent.0) - WALL_TOLERANCE.as_micros() as i64);
        let by_wall_clock = row.acquired_on.map(|acquired_on| {
            let age_ms = i128::from(times.received.0.wall_ms) - i128::from(acquired_on);
            let since = i128::from(received) - age_ms * 1000;
            since.clamp(i64::MIN.into(), received.into()) as i64
        });
        match (by_wall_clock, earliest) {
            (Some(since), Some(earliest)) => Some(since.max(earliest)),
            (Some(since), None) => Some(since),
            // Without the time of the acquisition, it lies between the two looks.
            (None, Some(earliest)) => Some(earliest + (received - earliest) / 2),
            (None, None) => None,
        }
    }

    /// Schedules the next look after `row`, which is held. `lease` is the lease of the waiter.
    pub fn schedule(&mut self, row: &RowFacts, times: RoundTrip, lease: Duration, due: Due) {
        let random = due.random;
        let round_trip = times.received.0.waiter_elapsed_since(times.sent.0);
        let spacing = Spacing::new(self.handoffs, f64::from(row.history.waiters()) / 100.0, round_trip, lease);
        let jitter = 1.0 - JITTER + 2.0 * JITTER * unit(random as u32);
        let gap = match self.age(times.sent).filter(|_| row.history.holds_ms().len() >= HOLDS_MIN) {
            Some(age) => {
                let plan = RatePlan::fit(row.history.holds_ms(), spacing.slow, spacing.waiters);
                let is_new = self.seen.as_ref().is_some_and(|seen| seen.is_new);
                // Each waiter of a crowd looks at a random time of its own, because all see the new token.
                let mass = if is_new && spacing.waiters > CROWD { unit((random >> 32) as u32) } else { jitter };
                let next = plan.walk(age, mass, 1.0 / spacing.longest, 1.0 / spacing.shortest);
                (next - age).max(jitter * spacing.shortest)
            }
            None => jitter * cold_gap(self.looks).clamp(spacing.shortest, spacing.longest),
        };
        let fallback = (lease.as_secs_f64() / 10.0).min(FALLBACK).max(spacing.cap()) / (1.0 + JITTER);
        // With hints, a look where a release is expected would only delay the look after its hint by `FLOOR`.
        let hinted = jitter * due.least.as_secs_f64().max(spacing.shortest).min(fallback);
        let gap = if due.least.is_zero() { gap } else { hinted };
        let expires_in = due.expires_in.filter(|left| !left.is_zero()).map(|left| (round_trip + left).as_secs_f64());
        self.schedule_after(times.sent, gap.min(expires_in.unwrap_or(gap)));
    }

    /// Counts a look that returned no row. [`observe`](Self::observe) counts the others.
    pub fn count_look(&mut self) {
        self.looks = self.looks.saturating_add(1);
    }

    /// Schedules the next look after a request that was throttled or not answered until `now`.
    pub fn back_off(&mut self, now: ClockReading, lease: Duration, random: u64) {
        self.begin(now);
        self.unanswered = self.unanswered.saturating_add(1).min(16);
        let pause =
            Spacing::new(0, 0.0, Duration::ZERO, lease).cap().min(ERROR_PAUSE * f64::from(1_u32 << self.unanswered));
        let jitter = 1.0 - JITTER + 2.0 * JITTER * unit(random as u32);
        self.schedule_after(SentAt(now), jitter * pause);
    }

    /// Schedules the next look, at least `FLOOR` and `gap` seconds after `from`, and not before the bound on the number
    /// of looks permits it.
    fn schedule_after(&mut self, from: SentAt, gap: f64) {
        let passed = self.began.map_or(Duration::ZERO, |began| from.0.waiter_elapsed_since(began));
        let looks = f64::from((self.looks + 1).saturating_sub(BURST));
        let permitted = seconds(looks / (2.0 * RATE)).saturating_sub(passed);
        self.next = Some(NextLook { from, after: seconds(gap.max(FLOOR)).max(permitted) });
    }

    /// Returns the time until the next look, `None` if it is due.
    pub fn wait(&self, at: ClockReading) -> Option<Duration> {
        let next = self.next?;
        let left = next.after.saturating_sub(at.waiter_elapsed_since(next.from.0));
        (!left.is_zero()).then_some(left)
    }

    /// Returns the time from the last request to the next look.
    pub fn pause_length(&self) -> Option<Duration> {
        self.next.map(|next| next.after)
    }

    /// Returns the age of the present hold when a look was sent, in seconds, if it is known.
    fn age(&self, sent: SentAt) -> Option<f64> {
        let since = self.seen.as_ref()?.since_us?;
        Some(self.micros(sent.0).saturating_sub(since).max(0) as f64 / 1e6)
    }

    fn micros(&self, at: ClockReading) -> i64 {
        let passed = self.began.map_or(Duration::ZERO, |began| at.waiter_elapsed_since(began));
        i64::try_from(passed.as_micros()).unwrap_or(i64::MAX)
    }
}

/// Limits of the time between two looks of one waiter, in seconds.
struct Spacing {
    /// Estimated number of waiting processes, at least one.
    waiters: f64,
    shortest: f64,
    longest: f64,
    /// Rate of looks where no release is expected.
    slow: f64,
}

impl Spacing {
    fn new(handoffs: u32, estimate: f64, round_trip: Duration, lease: Duration) -> Self {
        let handoffs = f64::from(handoffs);
        let waiters = estimate.max(handoffs.min(estimate + LEAD)).max(1.0);
        // Those who have waited longer look more often.
        let seniority = if waiters > CROWD { 0.5 + handoffs / waiters } else { 1.0 };
        let gap = GAP.max(GAP_ROUND_TRIP * round_trip.as_secs_f64());
        let shortest = FLOOR.max(gap * waiters / seniority);
        let lease = lease.as_secs_f64();
        let crowded = ((1.0 + JITTER) * shortest).min(lease / 10.0).min(2.0);
        let cap = (lease / 20.0).min(1.0).max(crowded).max(0.25);
        let longest = cap / (1.0 + JITTER);
        let slow = (1.0 / longest).clamp(RATE / 4.0, RATE);
        Self { waiters, shortest: shortest.min(longest), longest, slow }
    }
}

impl Spacing {
    /// Returns the longest time between two looks with jitter.
    fn cap(&self) -> f64 {
        self.longest * (1.0 + JITTER)
    }
}

/// Returns the number of handoffs between two acquisitions that were seen one after the other.
fn handoffs_between(before: &Acquisition, now: &Acquisition) -> u64 {
    match (before, now) {
        _ if before == now => 0,
        (Acquisition::Number(before), Acquisition::Number(now)) => now.saturating_sub(*before).max(1),
        // The next token lies a day ahead of one that was lost, so the difference of tokens means nothing.
        _ => 1,
    }
}

/// Returns the time to the next look after this number of looks, without a history.
fn cold_gap(looks: u32) -> f64 {
    (0..looks.min(8)).fold(FLOOR, |gap, _| gap * COLD_GROWTH).min(COLD)
}

/// Returns a number from 0 to 1.
fn unit(random: u32) -> f64 {
    f64::from(random) / f64::from(u32::MAX)
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO)
}
