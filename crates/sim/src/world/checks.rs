//! What is watched: who believes when, resources beside the lock, and whether answers are true.
//!
//! A guard's `is_valid` goes from yes to no once. So it believes from its report to the last time that it said yes, and
//! two guards believe together exactly if such spans overlap. Asking a guard may itself tell it that it is lost, so in
//! some worlds nobody is asked who would not ask by himself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dynamo_lock::simulation::ClockReading;
use dynamo_lock::{Event, Guard, LockName, LossReason, Observer, ReleaseError};
use dynamo_lock_protocol::{Op, OpKind, attr};

use super::host::{Host, Inside};
use super::store::show_op;
use super::{World, lock};

/// R4: how much a holder has to age between two readings: by the clock that says most. Said here once more, since the
/// product's own word for it may be what is wrong.
pub fn aged(now: ClockReading, then: ClockReading) -> Duration {
    let boot = Duration::from_nanos(now.boot_ns.saturating_sub(then.boot_ns));
    let raw = Duration::from_nanos(now.raw_ns.saturating_sub(then.raw_ns));
    boot.max(raw).max(Duration::from_millis(now.wall_ms.saturating_sub(then.wall_ms)))
}

/// How late a loss may be told: one slice, the granularity of timers.
const LATE_MAX: Duration = Duration::from_millis(252);

#[derive(Default)]
pub struct Validities {
    next: u64,
    /// By lock, then by number.
    spans: BTreeMap<(String, u64), Span>,
}

/// From when to when somebody believed.
struct Span {
    token: u64,
    from: Duration,
    to: Duration,
    host: Arc<Host>,
    guard: Option<Arc<Guard>>,
    /// A hold has no guard: it believes for so long from this moment, on its host's clocks.
    hold: Option<(ClockReading, Duration)>,
    said_no: bool,
}

/// A span under watch, by its lock and number.
pub type SpanId = (String, u64);

impl World {
    /// An acquisition was reported: from now on this guard is watched.
    pub fn reported(&self, host: &Arc<Host>, name: &LockName, token: u64, guard: Option<Arc<Guard>>) -> SpanId {
        self.span(host, name, token, guard, None)
    }

    /// A hold was reported that was asked for at this moment.
    pub fn held(&self, host: &Arc<Host>, name: &LockName, token: u64, from: ClockReading, length: Duration) -> SpanId {
        self.lasts(host, name, token, (from, length));
        self.span(host, name, token, None, Some((from, length)))
    }

    /// A hold has no guard that would look at its row (R6): that has to bear the service's time, and to last for as
    /// long as the hold does.
    fn lasts(&self, host: &Host, name: &LockName, token: u64, (from, length): (ClockReading, Duration)) {
        let left = length.saturating_sub(aged(host.machine.moment(self), from)).as_millis() as u64;
        let table = lock(&self.table);
        let entry = table.locks.get(name.as_str()).filter(|entry| entry.is_held_by(token));
        let Some(row) = entry.and_then(|entry| entry.row.as_ref()).filter(|_| self.plan.service_clock) else { return };
        let service_timestamp = row.text(attr::EXPIRY_CLOCK).is_some();
        self.check(service_timestamp, "§5 (stamped)", || {
            format!("{name}: the row of {token} is a hold's and bears no time")
        });
        let short = (self.epoch_ms() + left).saturating_sub(row.whole(attr::EXPIRES_ON).unwrap_or(0));
        self.check(short == 0, "A (hold)", || format!("{name}: the row of {token} is over {short} ms before its hold"));
    }

    fn span(
        &self,
        host: &Arc<Host>,
        name: &LockName,
        token: u64,
        guard: Option<Arc<Guard>>,
        hold: Option<(ClockReading, Duration)>,
    ) -> SpanId {
        let time = self.time();
        self.trace(|| {
            format!("{host:?} {name} reported with token {token}{}", if hold.is_some() { " (hold)" } else { "" })
        });
        {
            let mut table = lock(&self.table);
            let known = table.locks.get_mut(name.as_str()).and_then(|entry| entry.lease_ids.get_mut(&token));
            let ours = known.as_ref().is_some_and(|lease_id| lease_id.host == host.id && !lease_id.reported);
            known.into_iter().for_each(|lease_id| (lease_id.reported, lease_id.hold) = (true, hold.is_some()));
            self.check(ours, "E (whose)", || format!("{host:?} reports {name} with {token}, which it was not given"));
        }
        let id = {
            let mut validities = lock(&self.validities);
            validities.next += 1;
            let id = (name.as_str().to_owned(), validities.next);
            let host = host.clone();
            let span = Span { token, from: time, to: time, host, guard, hold, said_no: false };
            validities.spans.insert(id.clone(), span);
            id
        };
        self.overlaps(&id);
        self.ask_all(name.as_str(), true);
        id
    }

    /// A guard said whether it is live.
    pub fn saw(&self, id: &SpanId, live: bool) {
        let time = self.time();
        let (mut revived, mut token) = (None, None);
        if let Some(span) = lock(&self.validities).spans.get_mut(id) {
            token = Some(span.token).filter(|_| live);
            match live {
                // A hold has no guard that would remember: whoever took it asked the clocks once and knows.
                true if span.said_no && span.hold.is_some() => token = None,
                true if span.said_no => revived = Some(span.token),
                true => span.to = time,
                false => span.said_no = true,
            }
        }
        if let Some(token) = revived {
            self.violation("A (final)", format!("the guard of {} with {token} is live again", id.0));
        }
        if let Some(token) = token {
            self.told_live(&id.0, token);
        }
        if live {
            self.overlaps(id);
            self.beyond_deadline(id);
            self.beyond_row(id);
        }
    }

    /// Whoever believes, believes on: asks the guards of a lock, or those of hosts that would ask by themselves.
    pub fn ask_all(&self, name: &str, acquired: bool) {
        let eager = self.plan.eager;
        if !eager && !acquired {
            return;
        }
        let asked: Vec<_> = {
            let validities = lock(&self.validities);
            let of_lock = validities.spans.range((name.to_owned(), 0)..=(name.to_owned(), u64::MAX));
            let awake = |span: &Span| !span.host.is_dead() && (eager || !span.host.machine.is_paused(self));
            of_lock
                .filter(|(_, span)| span.hold.is_some() || awake(span))
                .map(|(id, span)| (id.clone(), span.guard.clone(), span.hold, span.host.clone()))
                .collect()
        };
        for (id, guard, hold, host) in asked {
            let live = match (guard, hold) {
                (Some(guard), _) => guard.is_valid(),
                (None, Some((from, length))) => {
                    let at = host.machine.moment(self);
                    aged(at, from) < length
                }
                // The guard is inside a `with`, and is asked there.
                (None, None) => continue,
            };
            self.saw(&id, live);
        }
    }

    fn overlaps(&self, id: &SpanId) {
        let found = {
            let table = lock(&self.table);
            let lease_ids = table.locks.get(&id.0).map(|entry| &entry.lease_ids);
            let forced =
                |token| lease_ids.and_then(|lease_ids| lease_ids.get(&token)).is_some_and(|lease_id| lease_id.forced);
            let validities = lock(&self.validities);
            let Some(mine) = validities.spans.get(id).filter(|mine| !forced(mine.token)) else { return };
            let of_lock = validities.spans.range((id.0.clone(), 0)..=(id.0.clone(), u64::MAX));
            of_lock
                .filter(|(other, span)| {
                    *other != id && span.from <= mine.to && mine.from < span.to && !forced(span.token)
                })
                .map(|(_, span)| format!("{:?} with {} and {:?} with {}", mine.host, mine.token, span.host, span.token))
                .next()
        };
        if let Some(who) = found {
            self.violation("A (exclusion)", format!("two believe in {}: {who}", id.0));
        }
    }

    /// R1: nobody believes longer than the last write of his that took effect allows.
    fn beyond_deadline(&self, id: &SpanId) {
        let (token, host) = match lock(&self.validities).spans.get(id) {
            Some(span) if span.hold.is_none() => (span.token, span.host.clone()),
            _ => return,
        };
        if let Some(over) = self.over(&host, &id.0, token) {
            self.check(over.is_zero(), "A (R1)", || format!("{host:?} believes in {} {over:?} too long", id.0));
        }
    }

    /// Nobody believes who has heard of another's row. R6: nor once the service's time is past what his own row says, for
    /// then others may take it.
    fn beyond_row(&self, id: &SpanId) {
        let Some(token) = lock(&self.validities).spans.get(id).map(|span| span.token) else { return };
        let time = if self.plan.service_clock { self.epoch_ms() } else { 0 };
        let table = lock(&self.table);
        let lease_id = table.locks.get(&id.0).and_then(|entry| entry.lease_ids.get(&token));
        let told = lease_id.is_some_and(|lease_id| lease_id.told_lost);
        let row = table.locks.get(&id.0).filter(|entry| entry.is_held_by(token)).and_then(|entry| entry.row.as_ref());
        let over = row.and_then(|row| row.whole(attr::EXPIRES_ON)).map_or(0, |ends| time.saturating_sub(ends));
        drop(table);
        self.check(!told, "A (told)", || format!("{} with {token} is believed in by who has heard of its loss", id.0));
        self.check(over == 0, "A (R6)", || format!("{} with {token} is believed in {over} ms after its row", id.0));
    }

    /// Nothing is tried once more that would come too late: a release when its belief is over, an operator's write after
    /// ten seconds.
    pub fn still_tries(&self, host: &Host, op: &Op) {
        let late = match &op.kind {
            OpKind::Release { token: Some(token), .. } => self.over(host, op.name.as_str(), token.get()),
            OpKind::Revoke { .. } | OpKind::ForceRevoke { .. } => {
                let sent = lock(&self.table).sent.get(op.version.as_str()).copied();
                sent.map(|(at, _)| aged(host.machine.moment(self), at).saturating_sub(Duration::from_secs(10)))
            }
            _ => None,
        };
        let late = late.unwrap_or_default();
        self.check(late.is_zero(), "§6 (an end)", || format!("{} is tried again, {late:?} too late", show_op(op)));
    }

    /// How far a reign is past the end of its belief, on its host's clocks: the belief that the last write to take effect
    /// gives, or one that was sent before it. For a wall clock that was set back and then forward ages the later one more.
    fn over(&self, host: &Host, name: &str, token: u64) -> Option<Duration> {
        let at = host.machine.moment(self);
        let table = lock(&self.table);
        let writes = &table.locks.get(name)?.lease_ids.get(&token)?.writes;
        let past = |(sent_at, lease): &(ClockReading, Duration)| {
            let validity = *lease - *lease / 100 - Duration::from_millis(10);
            aged(at, *sent_at).saturating_sub(validity)
        };
        let (last, _) = writes.last()?;
        writes.iter().filter(|(sent_at, _)| sent_at.boot_ns <= last.boot_ns).map(past).min()
    }

    /// Nobody is told that his lease is over before it is, by the first write of his reign if that bore a stamp. Where hosts
    /// stop, an answer may be handed over so late that its date says nothing any more.
    fn not_early(&self, host: &Host, name: &str, token: u64) {
        let plan = &self.plan;
        if plan.freezes || plan.pauses || plan.suspends || plan.starved {
            return;
        }
        let at = host.machine.moment(self);
        let table = lock(&self.table);
        let Some(entry) = table.locks.get(name).filter(|entry| entry.is_held_by(token)) else { return };
        let Some(lease_id) = entry.lease_ids.get(&token).filter(|lease_id| lease_id.service_timestamp) else { return };
        let Some((sent_at, lease)) = lease_id.writes.first() else { return };
        // R6: a date and a stamp may mislead by 5 s, and the pad is 3; the date is younger than the try that it is counted
        // from, by as much as one may take.
        let least = (*lease - *lease / 100).saturating_sub(Duration::from_millis(2100) + *lease / 4);
        let left = least.saturating_sub(aged(at, *sent_at));
        self.check(left.is_zero(), "E (early)", || format!("{host:?} {name} {token}: expired with {left:?} to go"));
    }

    /// A guard is gone: released, dropped, or crashed with its host.
    pub fn gone(&self, id: &SpanId) {
        let mut token = None;
        if let Some(span) = lock(&self.validities).spans.get_mut(id) {
            span.guard = None;
            token = Some(span.token);
        }
        if let Some(entry) = lock(&self.table).locks.get_mut(&id.0) {
            let lease_id = token.and_then(|token| entry.lease_ids.get_mut(&token));
            lease_id.into_iter().for_each(|lease_id| lease_id.given_up = Some(self.time()));
        }
        // What can overlap nothing any more is forgotten.
        let time = self.time();
        lock(&self.validities)
            .spans
            .retain(|_, span| span.guard.is_some() || span.hold.is_some() || span.to + HORIZON > time);
    }

    pub fn forget_host(&self, host: &Host) -> Vec<Arc<Guard>> {
        let mut validities = lock(&self.validities);
        let of_host = validities.spans.values_mut().filter(|span| span.host.id == host.id);
        of_host.filter_map(|span| span.guard.take()).collect()
    }

    /// A release was answered; `live` is whether the guard believed when it began.
    pub fn released(&self, host: &Host, name: &LockName, token: u64, live: bool, answer: &Result<(), ReleaseError>) {
        self.trace(|| format!("{host:?} {name} release of {token}: {answer:?}"));
        let table = lock(&self.table);
        let Some(entry) = table.locks.get(name.as_str()) else { return };
        let Some(lease_id) = entry.lease_ids.get(&token) else { return };
        let held = entry.is_held_by(token);
        match answer {
            Ok(()) => {
                self.count("release Ok");
                self.check(!held, "E (release)", || format!("{name}: Ok, and {token} still holds it"));
                self.check(live, "E (release)", || format!("{name}: Ok, and {token} had been lost before"));
                // What a lost answer means is told by A, which a forced release breaks.
                let landed = lease_id.released || lease_id.forced;
                self.check(landed, "E (release)", || format!("{name}: Ok, and no release of {token} landed"));
            }
            Err(ReleaseError::Lost(lost)) => {
                self.count("release Lost");
                let taken = matches!(lost.reason, LossReason::TakenOver | LossReason::Revoked | LossReason::RowGone);
                self.check(!(live && lease_id.released), "E (release)", || {
                    format!("{name}: {lost}, but it was released")
                });
                self.check(!taken || !held, "E (release)", || format!("{name}: {lost}, but {token} holds it"));
                let revoked = lost.reason != LossReason::Revoked || lease_id.revoked;
                self.check(revoked, "E (release)", || format!("{name}: {lost}, but nobody revoked it"));
            }
            Err(ReleaseError::Unknown) => self.count("release Unknown"),
            Err(_) => self.count("release refused"),
        }
    }
}

/// Spans that ended this long ago cannot overlap a new one.
const HORIZON: Duration = Duration::from_secs(120);

/// Hears from a client that a lock is lost.
#[derive(Debug)]
pub struct Ear(pub Inside);

impl Observer for Ear {
    fn event(&self, event: Event<'_>) {
        let host = &self.0.0;
        let world = &host.world;
        match event {
            Event::Lost { name, token, reason, .. } if !host.is_dead() => {
                world.trace(|| format!("{host:?} {name} lost {token}: {reason:?}"));
                world.count(match reason {
                    LossReason::Expired => "lost Expired",
                    LossReason::TakenOver => "lost TakenOver",
                    LossReason::Revoked => "lost Revoked",
                    LossReason::RowGone => "lost RowGone",
                    LossReason::MaxHold => "lost MaxHold",
                    _ => "lost Suspended",
                });
                if reason == LossReason::Expired {
                    world.not_early(host, name.as_str(), token.get());
                }
                if world.plan.starved {
                    return;
                }
                let awake = world.time().saturating_sub(host.machine.stirred());
                let over = world.over(host, name.as_str(), token.get()).unwrap_or_default().min(awake);
                let told = over <= LATE_MAX || host.machine.is_paused(world);
                world.check(told, "lost() by the deadline", || format!("{host:?} {name} {token}: {over:?} late"));
            }
            Event::RequestFailed { .. } => world.count("request failed"),
            _ => {}
        }
    }
}
