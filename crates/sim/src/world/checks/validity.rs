//! Checks of the validity of guards, of resources beside the lock, and of reported results.
//!
//! A guard's `is_valid` changes from `true` to `false` once. So its span is from its report to the last time that it
//! was valid, and two guards are valid together exactly if such spans overlap. A check of a guard may itself make it
//! report its loss. So in some worlds only those guards are checked that would check themselves.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dynamo_lock::simulation::ClockReading;
use dynamo_lock::{Event, Guard, LockName, LossReason, Observer, ReleaseError};
use dynamo_lock_protocol::{Op, OpKind, attr};

use crate::world::{Process, ProcessEnv, World, host::TIMER_DELAY_MAX, lock, show_op};

/// Returns the time that a holder has to count between two readings: that of its fastest clock (R4). This repeats the
/// rule of the product on purpose, because the product's own code may be wrong.
pub fn holder_elapsed(now: ClockReading, then: ClockReading) -> Duration {
    let boot = Duration::from_nanos(now.boot_ns.saturating_sub(then.boot_ns));
    let raw = Duration::from_nanos(now.raw_ns.saturating_sub(then.raw_ns));
    boot.max(raw).max(Duration::from_millis(now.wall_ms.saturating_sub(then.wall_ms)))
}

/// Upper bound of the delay of a reported loss: one slice of the driver's timers.
const LOSS_DELAY_MAX: Duration = Duration::from_millis(252);

#[derive(Default)]
pub struct Validities {
    next: u64,
    /// Spans by lock and number.
    spans: BTreeMap<(String, u64), Span>,
}

/// Time during which a guard was valid.
struct Span {
    token: u64,
    /// Number of tables that were deleted before the acquisition.
    tables: u64,
    from: Duration,
    to: Duration,
    process: Arc<Process>,
    guard: Option<Arc<Guard>>,
    /// A hold has no guard: it is valid for this time after this reading of its host's clocks.
    hold: Option<(ClockReading, Duration)>,
    was_invalid: bool,
}

/// Lock and number of a span.
pub type SpanId = (String, u64);

impl World {
    /// Checks the row of a hold. A hold has no guard that compares the row with the service's time (R6), so the row
    /// needs a service timestamp and must last for as long as the hold.
    fn check_hold_row(&self, process: &Process, name: &LockName, token: u64, (from, length): (ClockReading, Duration)) {
        let left = length.saturating_sub(holder_elapsed(process.host.clock(self), from)).as_millis() as u64;
        let table = lock(&self.table);
        let Some(row) = table.held_row(name.as_str(), token).filter(|_| self.plan.service_clock) else { return };
        let service_timestamp = row.text(attr::EXPIRY_CLOCK).is_some();
        self.check(service_timestamp, "§5 (has a timestamp)", || {
            format!("{name}: the row of the hold {token} has no service timestamp")
        });
        let short = (self.epoch_ms() + left).saturating_sub(row.whole(attr::EXPIRES_ON).unwrap_or(0));
        self.check(short == 0, "A (hold)", || format!("{name}: the row of {token} ends {short} ms before its hold"));
    }

    /// Records a reported acquisition, whose guard is checked from now on, or a hold that was requested at a reading.
    pub fn record_reported(
        &self,
        process: &Arc<Process>,
        name: &LockName,
        token: u64,
        guard: Option<Arc<Guard>>,
        hold: Option<(ClockReading, Duration)>,
    ) -> SpanId {
        if let Some(hold) = hold {
            self.check_hold_row(process, name, token, hold);
        }
        let (time, kind) = (self.time(), if hold.is_some() { "hold" } else { "guard" });
        self.trace(|| format!("{process:?} {name}: {kind} reported with token {token}"));
        let tables = {
            let mut table = lock(&self.table);
            let known = table.acquisition_mut(name.as_str(), token);
            let tables = known.as_ref().map_or(0, |acquisition| acquisition.tables);
            let ours =
                known.as_ref().is_some_and(|acquisition| acquisition.process == process.id && !acquisition.reported);
            known.into_iter().for_each(|acquisition| (acquisition.reported, acquisition.hold) = (true, hold.is_some()));
            self.check(ours, "E (own token)", || {
                format!("{process:?} reports {name} with {token}, which it did not get")
            });
            tables
        };
        let id = {
            let mut validities = lock(&self.validities);
            validities.next += 1;
            let id = (name.as_str().to_owned(), validities.next);
            let process = process.clone();
            let span = Span { token, tables, from: time, to: time, process, guard, hold, was_invalid: false };
            validities.spans.insert(id.clone(), span);
            id
        };
        self.check_overlap(&id);
        self.check_guards(name.as_str(), true);
        id
    }

    /// Records whether a guard was valid at this instant.
    pub fn record_validity(&self, id: &SpanId, live: bool) {
        let time = self.time();
        let (mut revived, mut token) = (None, None);
        if let Some(span) = lock(&self.validities).spans.get_mut(id) {
            token = Some(span.token).filter(|_| live);
            match live {
                // A hold has no guard that remembers a loss: its caller has read the clocks once.
                true if span.was_invalid && span.hold.is_some() => token = None,
                true if span.was_invalid => revived = Some(span.token),
                true => span.to = time,
                false => span.was_invalid = true,
            }
        }
        if let Some(token) = revived {
            self.violation("A (final)", format!("the guard of {} with {token} is valid again", id.0));
        }
        if let Some(token) = token {
            self.guard_was_valid(&id.0, token);
        }
        if live {
            self.check_overlap(id);
            self.check_deadline(id);
            self.check_row_end(id);
        }
    }

    /// Checks the guards of a lock: all, or those on hosts that are running.
    pub fn check_guards(&self, name: &str, acquired: bool) {
        let checks_all = self.plan.checks_all;
        if !checks_all && !acquired {
            return;
        }
        let checked: Vec<_> = {
            let validities = lock(&self.validities);
            let of_lock = validities.spans.range((name.to_owned(), 0)..=(name.to_owned(), u64::MAX));
            let awake = |span: &Span| !span.process.is_dead() && (checks_all || !span.process.host.is_paused(self));
            of_lock
                .filter(|(_, span)| span.hold.is_some() || awake(span))
                .map(|(id, span)| (id.clone(), span.guard.clone(), span.hold, span.process.clone()))
                .collect()
        };
        for (id, guard, hold, process) in checked {
            let live = match (guard, hold) {
                (Some(guard), _) => guard.is_valid(),
                (None, Some((from, length))) => holder_elapsed(process.host.clock(self), from) < length,
                // The guard belongs to a call of `with`, which checks it.
                (None, None) => continue,
            };
            self.record_validity(&id, live);
        }
    }

    fn check_overlap(&self, id: &SpanId) {
        let found = {
            let table = lock(&self.table);
            let forced = |token| table.acquisition(&id.0, token).is_some_and(|acquisition| acquisition.forced);
            let validities = lock(&self.validities);
            let Some(mine) = validities.spans.get(id).filter(|mine| !forced(mine.token)) else { return };
            let of_lock = validities.spans.range((id.0.clone(), 0)..=(id.0.clone(), u64::MAX));
            // The holder of a deleted row learns it by its next request.
            let overlaps = |span: &Span| {
                let exempt = forced(span.token) || span.tables != mine.tables;
                span.from <= mine.to && mine.from < span.to && !exempt
            };
            let other = of_lock.into_iter().find(|(other, span)| *other != id && overlaps(span));
            other.map(|(_, span)| {
                format!("{:?} with {} and {:?} with {}", mine.process, mine.token, span.process, span.token)
            })
        };
        if let Some(pair) = found {
            self.violation("A (exclusion)", format!("two guards of {} are valid: {pair}", id.0));
        }
    }

    /// Checks that a guard is valid no longer than its last applied write allows (R1).
    fn check_deadline(&self, id: &SpanId) {
        let (token, process) = match lock(&self.validities).spans.get(id) {
            Some(span) if span.hold.is_none() => (span.token, span.process.clone()),
            _ => return,
        };
        if let Some(over) = self.past_deadline(&process, &id.0, token) {
            self.check(over.is_zero(), "A (R1)", || {
                format!("the guard of {process:?} for {} is valid {over:?} too long", id.0)
            });
        }
    }

    /// Checks that a guard is not valid after its client has received the row of another, nor after the service's time
    /// has passed the end of its own row (R6), because others may take it over then.
    fn check_row_end(&self, id: &SpanId) {
        let Some(token) = lock(&self.validities).spans.get(id).map(|span| span.token) else { return };
        let time = if self.plan.service_clock { self.epoch_ms() } else { 0 };
        let table = lock(&self.table);
        let lost = table.acquisition(&id.0, token).is_some_and(|acquisition| acquisition.loss_received);
        let row = table.held_row(&id.0, token);
        let over = row.and_then(|row| row.whole(attr::EXPIRES_ON)).map_or(0, |ends| time.saturating_sub(ends));
        drop(table);
        self.check(!lost, "A (known loss)", || {
            format!("{} with {token} is valid although its client has received its loss", id.0)
        });
        self.check(over == 0, "A (R6)", || {
            format!("{} with {token} is valid {over} ms after the end of its row", id.0)
        });
    }

    /// Checks that no write is retried after its deadline: a release after the end of its validity, a revocation after
    /// ten seconds.
    pub fn check_retry_deadline(&self, process: &Process, op: &Op) {
        let late = match &op.kind {
            OpKind::Release { token: Some(token), .. } => self.past_deadline(process, op.name.as_str(), token.get()),
            OpKind::Revoke { .. } | OpKind::ForceRevoke { .. } => {
                let sent = lock(&self.table).sent.get(op.version.as_str()).copied();
                sent.map(|(at, _)| holder_elapsed(process.host.clock(self), at).saturating_sub(Duration::from_secs(10)))
            }
            _ => None,
        };
        let late = late.unwrap_or_default();
        self.check(late.is_zero(), "§6 (deadline)", || format!("{} is retried {late:?} too late", show_op(op)));
    }

    /// Returns the time by which an acquisition is past the end of its validity, on its host's clocks. The validity is
    /// that of the last applied write, or of one that was sent before it, because a wall clock that was set back and
    /// then forward counts more for the later one.
    fn past_deadline(&self, process: &Process, name: &str, token: u64) -> Option<Duration> {
        let at = process.host.clock(self);
        let table = lock(&self.table);
        let acquisition = table.acquisition(name, token)?;
        let writes = &acquisition.writes;
        let past = |(sent_at, lease): &(ClockReading, Duration)| {
            let validity = *lease - *lease / 100 - Duration::from_millis(10);
            holder_elapsed(at, *sent_at).saturating_sub(validity)
        };
        let (last, _) = writes.last()?;
        let own = writes.iter().filter(|(sent_at, _)| sent_at.boot_ns <= last.boot_ns).map(past).min();
        // A handover is repeated until its validity ends, and its last attempt takes a quarter of the lease. The release
        // that follows lasts one more lease. A stop of the host delays it, and it may begin after a step of the wall
        // clock. A late timer prolongs the last attempt.
        let handover = acquisition.handover.as_ref();
        let plan = &self.plan;
        if handover.is_some() && (plan.freezes || plan.pauses || plan.suspends || plan.wall_steps) {
            return None;
        }
        let late = if plan.starved { TIMER_DELAY_MAX } else { Duration::ZERO };
        let handover =
            handover.map(|(sent_at, lease, _)| holder_elapsed(at, *sent_at).saturating_sub(*lease * 9 / 4 + late));
        own.into_iter().chain(handover).min()
    }

    /// Checks that a lease is not reported as expired before it has, counted from its first write if that has a
    /// service timestamp. Where hosts stop, an answer may arrive so late that its date means nothing.
    fn check_not_early(&self, process: &Process, name: &str, token: u64) {
        let plan = &self.plan;
        // A wild date that is late ends a lease early.
        if plan.freezes || plan.pauses || plan.suspends || plan.starved || plan.wild_host > 0 {
            return;
        }
        let at = process.host.clock(self);
        let table = lock(&self.table);
        let acquisition = table.acquisition(name, token).filter(|_| table.held_row(name, token).is_some());
        let with_timestamp = acquisition.filter(|acquisition| acquisition.service_timestamp);
        let Some((sent_at, lease)) = with_timestamp.and_then(|acquisition| acquisition.writes.first()) else { return };
        // R6: a date and a service timestamp may mislead by 5 s, and the pad is 3 s. The date is younger than the try
        // from which it is counted, by at most the duration of a try.
        let least = (*lease - *lease / 100).saturating_sub(Duration::from_millis(2100) + *lease / 4);
        let left = least.saturating_sub(holder_elapsed(at, *sent_at));
        self.check(left.is_zero(), "E (early)", || {
            format!("{process:?} {name} {token}: reported as expired {left:?} too early")
        });
    }

    /// Records that a guard was released or dropped, or that its process has crashed.
    pub fn record_guard_gone(&self, id: &SpanId) {
        let mut token = None;
        if let Some(span) = lock(&self.validities).spans.get_mut(id) {
            span.guard = None;
            token = Some(span.token);
        }
        if let Some(token) = token {
            let mut table = lock(&self.table);
            let acquisition = table.acquisition_mut(&id.0, token);
            acquisition.into_iter().for_each(|acquisition| acquisition.given_up = Some(self.time()));
        }
        // Forget spans that cannot overlap a new one.
        let time = self.time();
        lock(&self.validities)
            .spans
            .retain(|_, span| span.guard.is_some() || span.hold.is_some() || span.to + HORIZON > time);
    }

    pub fn take_guards(&self, process: &Process) -> Vec<Arc<Guard>> {
        let mut validities = lock(&self.validities);
        let of_process = validities.spans.values_mut().filter(|span| span.process.id == process.id);
        of_process.filter_map(|span| span.guard.take()).collect()
    }

    /// Checks the result of a release. `live` is whether the guard was valid when the release began.
    pub fn check_release(
        &self,
        process: &Process,
        name: &LockName,
        token: u64,
        live: bool,
        answer: &Result<(), ReleaseError>,
    ) {
        self.trace(|| format!("{process:?} {name} release of {token}: {answer:?}"));
        let table = lock(&self.table);
        let Some(entry) = table.locks.get(name.as_str()) else { return };
        let Some(acquisition) = entry.acquisitions.get(&token) else { return };
        let held = entry.is_held_by(token);
        match answer {
            Ok(()) => {
                self.count("release Ok");
                self.check(!held, "E (release)", || format!("{name}: Ok, but {token} still holds it"));
                self.check(live, "E (release)", || format!("{name}: Ok, but {token} had been lost before"));
                // Validity (A) decides the meaning of a lost answer, and a forced revocation breaks A.
                let released = acquisition.released || acquisition.forced;
                self.check(released, "E (release)", || format!("{name}: Ok, but no release of {token} was applied"));
            }
            Err(ReleaseError::Lost(lost)) => {
                self.count("release Lost");
                let taken = matches!(lost.reason, LossReason::TakenOver | LossReason::Revoked | LossReason::RowGone);
                self.check(!(live && acquisition.released), "E (release)", || {
                    format!("{name}: {lost}, but it was released")
                });
                self.check(!taken || !held, "E (release)", || format!("{name}: {lost}, but {token} holds it"));
                let revoked = lost.reason != LossReason::Revoked || acquisition.revoked;
                self.check(revoked, "E (release)", || format!("{name}: {lost}, but it was not revoked"));
            }
            Err(ReleaseError::Unknown) => self.count("release Unknown"),
            Err(_) => {
                self.count("release refused");
                self.check(!acquisition.released, "E (release)", || format!("{name}: refused, but it was released"));
                // The row of a store with a service clock may end earlier (R6).
                let (at, writes) = (process.host.clock(self), &acquisition.writes);
                let left = |(sent_at, lease): &(ClockReading, Duration)| {
                    let validity = *lease - *lease / 100 - Duration::from_millis(10);
                    validity.saturating_sub(holder_elapsed(at, *sent_at))
                };
                let early = writes.iter().map(left).min().filter(|_| held && live && !self.plan.service_clock);
                self.check(early.is_none_or(|left| left.is_zero()), "E (release)", || {
                    format!("{name}: the release of {token} was given up {early:?} before its lease ended")
                });
            }
        }
    }
}

/// Age after which a span cannot overlap a new one.
const HORIZON: Duration = Duration::from_secs(120);

/// Observer of a client that checks the losses it reports.
#[derive(Debug)]
pub struct LossChecker(pub ProcessEnv);

impl Observer for LossChecker {
    fn event(&self, event: Event<'_>) {
        let process = &self.0.0;
        let world = &process.world;
        match event {
            Event::Lost { name, token, reason, .. } if !process.is_dead() => {
                world.trace(|| format!("{process:?} {name} lost {token}: {reason:?}"));
                world.count(match reason {
                    LossReason::Expired => "lost Expired",
                    LossReason::TakenOver => "lost TakenOver",
                    LossReason::Revoked => "lost Revoked",
                    LossReason::RowGone => "lost RowGone",
                    LossReason::MaxHold => "lost MaxHold",
                    LossReason::Suspended => "lost Suspended",
                    _ => "lost RenewalStopped",
                });
                if reason == LossReason::RenewalStopped {
                    world.violation("E (loss)", format!("{name}: the renewal task of {token} ended early"));
                }
                if reason == LossReason::Expired {
                    world.check_not_early(process, name.as_str(), token.get());
                }
                lock(&world.table).record_lost_guard(name.as_str(), token.get());
                if world.plan.starved {
                    return;
                }
                let awake = world.time().saturating_sub(process.host.disturbed_at());
                let over = world.past_deadline(process, name.as_str(), token.get()).unwrap_or_default().min(awake);
                let in_time = over <= LOSS_DELAY_MAX || process.host.is_paused(world);
                world.check(in_time, "lost() by the deadline", || {
                    format!("{process:?} {name} {token}: the loss was reported {over:?} late")
                });
            }
            Event::RequestFailed { .. } => world.count("request failed"),
            _ => {}
        }
    }
}
