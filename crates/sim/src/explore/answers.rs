//! Delivery of responses to the machines of the clients, and checks of the results.

use std::time::Duration;

use dynamo_lock_protocol::{
    AcquireEnd, ClockReading, Evidence, Expiry, Held, Liveness, LossReason, Machine, Now, Outcome, ReceivedAt, Refusal,
    ReleaseEnd, Response, Role, Row, RowState, SentAt, ServiceDate, Value, attr, expiry,
};

use super::{
    Answer, Body, Context, HoldTask, InFlight, ReleaseTask, RequestBody, Task, TaskState, Violation, World,
    driver::EntropyUse, driver::lease_id_of, entries, liveness, properties, service,
};
use crate::mutants::{Fault, entries::with_entries};

impl Context<'_> {
    /// Delivers the answer to the request of a task. `None`: no answer arrives.
    pub fn answer(&self, world: &mut World, mut task: Task, answer: Option<Answer>) -> Result<Task, Violation> {
        let Some(flight) = task.flight.take() else { return Ok(task) };
        let (host, at) = (task.host, self.task_clock(world, &task));
        let date = answer.as_ref().and_then(|answer| answer.date);
        if let Some(date) = date {
            let received = ReceivedAt(self.clock(world, host));
            // A second response with the same date confirms a doubt.
            let times = if self.mutant.is(Fault::DoubtEvicts) { 2 } else { 1 };
            world.host(host, |me| {
                if let Some(service) = &mut me.service {
                    (0..times).for_each(|_| service.observe(date, SentAt(flight.sent), received));
                }
            });
        }
        let outcome = match answer.map(|answer| answer.body) {
            Some(Body::Refused(refusal)) => return self.answer_refusal(world, task, refusal),
            Some(Body::Row(row)) => {
                self.answer_read(world, &mut task, &flight, Some(row.as_deref()), date)?;
                return Ok(task);
            }
            None if matches!(flight.request, RequestBody::Read { .. }) => {
                self.answer_read(world, &mut task, &flight, None, None)?;
                return Ok(task);
            }
            Some(Body::Outcome(outcome)) => (*outcome).clone(),
            None => Outcome::Unknown,
        };
        let (outcome, date) = match outcome {
            Outcome::Applied(row) => {
                let (row, date) = self.row_as_written(world, row, date);
                (Outcome::Applied(row), date)
            }
            other => (other, date),
        };
        let date = match &outcome {
            Outcome::Conflict(_) if self.mutant.is(Fault::ReaderIgnoresDates) => None,
            _ if self.mutant.is(Fault::DatelessConfirms) => date.or(Some(ServiceDate(0))),
            _ => date,
        };
        match &mut task.state {
            TaskState::Acquire(_) | TaskState::Hold(_) | TaskState::Dropped(_) | TaskState::DroppedHold(_) => {
                self.answer_acquire(world, &mut task, &flight, &outcome, date);
            }
            TaskState::Handover(_) => self.answer_handover(world, &mut task, &flight, &outcome, date),
            TaskState::Inspect | TaskState::Inspected => {}
            TaskState::Held(held) | TaskState::Renewing(held) => {
                let at = if self.mutant.is(Fault::LateAnswersCount) { flight.sent } else { at };
                let before = held.clone().check(at);
                self.call(world, host, at, EntropyUse::Response, |now| {
                    held.handle(now, Response::outcome(SentAt(flight.sent), &outcome).with_date(date));
                });
                let is_entry = self.client(host).access.is_some();
                check_loss(world, held, before, held.clone().check(at), is_entry)?;
            }
            state @ (TaskState::Release(_) | TaskState::Finish(_) | TaskState::Revoke(_)) => {
                let is_release = matches!(state, TaskState::Release(_));
                let outcome = match state {
                    TaskState::Release(release) => self.outcome_of_release(release, outcome),
                    TaskState::Finish(task) => self.finish_outcome(task, outcome),
                    _ => outcome,
                };
                let response = Response::outcome(SentAt(flight.sent), &outcome);
                self.call(world, host, at, EntropyUse::Response, |now| handle(state, now, response));
                // The release of an unanswered handover may have begun a second write.
                world.host(host, |me| me.used += u64::from(is_release && self.hands_over(host)));
            }
        }
        Ok(task)
    }

    fn answer_refusal(&self, world: &mut World, mut task: Task, refusal: Refusal) -> Result<Task, Violation> {
        let at = self.task_clock(world, &task);
        let received = if self.mutant.is(Fault::MissingTableIsRefusal) { Refusal::Other } else { refusal };
        let response = Response::refused(received);
        let ended = match &mut task.state {
            TaskState::Inspect => {
                task.state = TaskState::Inspected;
                None
            }
            TaskState::Held(held) | TaskState::Renewing(held) => {
                self.call(world, task.host, at, EntropyUse::Response, |now| held.handle(now, response));
                let is_valid = refusal == Refusal::NoTable && held.clone().is_valid(at);
                is_valid.then(|| "A: a guard is valid although its client has received that its row is gone".into())
            }
            state => {
                self.call(world, task.host, at, EntropyUse::Response, |now| handle(state, now, response));
                match task.state {
                    TaskState::Acquire(_) | TaskState::Hold(_) if self.mutant.is(Fault::RefusalEndsAcquire) => {
                        properties::check_failure(world, self, task.host, &AcquireEnd::Refused)
                    }
                    TaskState::Release(_) if self.mutant.is(Fault::RefusalEndsRelease) => {
                        properties::check_release(world, self, &task, ReleaseEnd::Refused)
                    }
                    _ => None,
                }
            }
        };
        ended.map_or(Ok(task), Err)
    }

    fn answer_read(
        &self,
        world: &mut World,
        task: &mut Task,
        flight: &InFlight,
        row: Option<Option<&Row>>,
        date: Option<ServiceDate>,
    ) -> Result<(), Violation> {
        let at =
            if self.mutant.is(Fault::WaiterCountsFromRequest) { flight.sent } else { self.task_clock(world, task) };
        let wild = self.wild_ms(world, date).filter(|_| self.mutant.is(Fault::DoubtDecides));
        let date = if wild.is_some() { service::exact(world, self.config) } else { date };
        let date = date.filter(|_| !self.mutant.is(Fault::ReaderIgnoresDates));
        let row = row.map(|row| row.map(|row| later(self.row_as_received(task.host, row), -wild.unwrap_or(0))));
        if matches!(task.state, TaskState::Inspect) {
            let at = self.task_clock(world, task);
            task.state = TaskState::Inspected;
            let row = row.flatten();
            return row.map_or(Ok(()), |row| self.inspection(world, task.host, at, &row, date));
        }
        let liveness = row.as_ref().and_then(Option::as_ref).map_or(Liveness::Unknown, |row| liveness::check(row, at));
        let response = match &row {
            Some(row) => Response::row(row.as_ref()).with_date(date).with_liveness(liveness),
            None => Response::unread(),
        };
        self.call(world, task.host, at, EntropyUse::Response, |now| handle(&mut task.state, now, response));
        remember(world, task);
        Ok(())
    }

    /// I: the library's inspection never reports a lease as expired that a guard considers valid. Its other result, a
    /// range of times, is only for display.
    fn inspection(
        &self,
        world: &World,
        host: u8,
        at: ClockReading,
        row: &Row,
        date: Option<ServiceDate>,
    ) -> Result<(), Violation> {
        let Ok(state @ RowState::Held(_)) = row.state() else { return Ok(()) };
        let evidence = Evidence {
            at,
            service: world.hosts[usize::from(host)].service.as_ref(),
            date,
            liveness: liveness::check(row, at),
            watch: None,
            legacy_skew: Duration::from_secs(2),
        };
        let is_valid = world.tasks.iter().any(|task| match &task.state {
            TaskState::Held(held) => {
                let same = row.text(attr::LEASE_ID) == Some(lease_id_of(held).as_str());
                same && held.clone().is_valid(self.task_clock(world, task))
            }
            _ => false,
        });
        match expiry(&state, &evidence) {
            Expiry::Expired if is_valid => Err("I: an inspection reports a valid lease as expired".into()),
            _ => Ok(()),
        }
    }

    /// Returns the deviation of a wild date in milliseconds, `None` for any other date.
    fn wild_ms(&self, world: &World, date: Option<ServiceDate>) -> Option<i64> {
        let wild = self.config.wild?.seconds;
        (date.is_some() && date == service::date(world, self.config, Some(wild))).then_some(wild * 1000)
    }

    /// Returns a row as its writer receives it, and the date of the response. Mutants change them.
    fn row_as_written(
        &self,
        world: &World,
        row: Option<Row>,
        date: Option<ServiceDate>,
    ) -> (Option<Row>, Option<ServiceDate>) {
        match (self.mutant.fault, self.wild_ms(world, date)) {
            (Some(Fault::HolderRowLater(seconds)), _) => (row.map(|row| later(row, seconds * 1000)), date),
            (Some(Fault::DoubtExtends), Some(wild)) => {
                (row.map(|row| later(row, -wild)), service::exact(world, self.config))
            }
            _ => (row, date),
        }
    }

    /// Returns a row as a waiter receives it. Mutants change it.
    fn row_as_received(&self, host: u8, row: &Row) -> Row {
        let earlier = if let Some(Fault::ReaderRowEarlier(seconds)) = self.mutant.fault { seconds * 1000 } else { 0 };
        let mut row = later(row.clone(), -earlier);
        if self.client(host).access.is_some() {
            return self.entries_as_received(host, row);
        }
        if self.mutant.is(Fault::SuccessIgnored) && row.get(attr::DONE_TOKEN).is_some() {
            row.remove(attr::DONE_TOKEN);
            row.set(attr::EXPIRES_ON, 0.into());
        }
        if self.mutant.is(Fault::SuccessCountsShort)
            && let Some(until) = row.whole(attr::DONE_UNTIL)
        {
            row.set(attr::DONE_UNTIL, until.saturating_sub(8_000).into());
        }
        if self.mutant.is(Fault::WaiterUsesOwnLease) && row.whole(attr::LEASE_MS).is_some() {
            row.set(attr::LEASE_MS, self.client(host).lease_ms.into());
        }
        if let (Some(Fault::WaiterLeasePercent(percent)), Some(lease)) = (self.mutant.fault, row.whole(attr::LEASE_MS))
        {
            row.set(attr::LEASE_MS, (lease * percent / 100).into());
        }
        row
    }

    /// Returns a shared row as a waiter receives it. Mutants change it.
    fn entries_as_received(&self, host: u8, row: Row) -> Row {
        match self.mutant.fault {
            Some(Fault::WaiterUsesOwnLease) => with_entries(row, |_, entry| {
                entry.insert(attr::LEASE_MS.to_owned(), self.client(host).lease_ms.into());
            }),
            Some(Fault::WaiterLeasePercent(percent)) => with_entries(row, |_, entry| {
                if let Some(Value::N(lease)) = entry.get(attr::LEASE_MS) {
                    let lease = lease.whole().unwrap_or(0) * percent / 100;
                    entry.insert(attr::LEASE_MS.to_owned(), lease.into());
                }
            }),
            Some(Fault::AnnouncementNeverExpires) => with_entries(row, |role, entry| {
                if role == Role::Waiting {
                    entry.insert(attr::LEASE_MS.to_owned(), 86_400_000.into());
                    entry.remove(attr::EXPIRES_ON);
                }
            }),
            Some(Fault::RevokedIsAdopted) => with_entries(row, |_, entry| drop(entry.remove(attr::REVOKED))),
            _ => row,
        }
    }

    /// Returns the outcome of a release as it is received. Mutants change it.
    fn outcome_of_release(&self, release: &ReleaseTask, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Unknown if self.mutant.is(Fault::UnknownReleaseIsThrottled) => Outcome::Throttled,
            Outcome::Conflict(_) if self.mutant.is(Fault::CleanUpTriesOneRole) && release.token.is_none() => {
                Outcome::Conflict(None)
            }
            Outcome::Conflict(Some(mut row)) if self.mutant.is(Fault::ForcedIsIgnored) => {
                row.set(attr::FORCED_LEASE_ID, "none".into());
                Outcome::Conflict(Some(row))
            }
            outcome => outcome,
        }
    }

    fn answer_acquire(
        &self,
        world: &mut World,
        task: &mut Task,
        flight: &InFlight,
        outcome: &Outcome,
        date: Option<ServiceDate>,
    ) {
        let mut at = self.task_clock(world, task);
        let here = at;
        if let (true, Outcome::Conflict(_)) = (self.mutant.is(Fault::WaiterCountsFromRequest), outcome) {
            at = flight.sent;
        }
        if let (true, Some(first), Outcome::Applied(_)) =
            (self.mutant.is(Fault::HolderCountsFromAnswer), task.noted, outcome)
        {
            at = first;
        }
        let outcome = match outcome {
            Outcome::Conflict(Some(row)) => &Outcome::Conflict(Some(self.row_as_received(task.host, row))),
            other => other,
        };
        let liveness = match outcome {
            Outcome::Conflict(Some(row)) => liveness::check(row, at),
            _ => Liveness::Unknown,
        };
        let response = Response::outcome(SentAt(flight.sent), outcome).with_date(date).with_liveness(liveness);
        self.call(world, task.host, at, EntropyUse::Response, |now| handle(&mut task.state, now, response));
        let has_won = matches!(&task.state, TaskState::Acquire(machine) if machine.has_won());
        if self.mutant.is(Fault::HolderCountsFromAnswer) && has_won {
            task.lag_ms = here.holder_elapsed_since(at).as_millis() as i64;
        }
        if self.mutant.is(Fault::ReportsWithoutCheck) {
            task.noted = Some(here);
        }
        remember(world, task);
    }
}

/// Returns a held row whose lease ends this much later.
fn later(mut row: Row, ms: i64) -> Row {
    if ms != 0 && entries::is_shared(&row) {
        return with_entries(row, |_, entry| {
            if let Some(Value::N(end)) = entry.get(attr::EXPIRES_ON) {
                let end = end.whole().unwrap_or(0).saturating_add_signed(ms);
                entry.insert(attr::EXPIRES_ON.to_owned(), end.into());
            }
        });
    }
    if let Some(end) = row.whole(attr::EXPIRES_ON).filter(|end| *end > 0) {
        row.set(attr::EXPIRES_ON, end.saturating_add_signed(ms).into());
    }
    row
}

/// Passes a response to the state machine of a task.
pub fn handle(state: &mut TaskState, now: &Now<'_>, response: Response<'_>) {
    match state {
        TaskState::Acquire(machine) | TaskState::Dropped(machine) => Machine::handle(machine, now, response),
        TaskState::Hold(HoldTask { hold, .. }) | TaskState::DroppedHold(hold) => Machine::handle(hold, now, response),
        TaskState::Handover(task) => Machine::handle(&mut task.handover, now, response),
        TaskState::Release(task) => Machine::handle(&mut task.release, now, response),
        TaskState::Finish(task) => Machine::handle(&mut task.finish, now, response),
        TaskState::Revoke(revoke) => Machine::handle(revoke, now, response),
        TaskState::Held(_) | TaskState::Renewing(_) | TaskState::Inspect | TaskState::Inspected => {}
    }
}

fn remember(world: &mut World, task: &Task) {
    let watch = match &task.state {
        TaskState::Acquire(machine) => Machine::watch(machine),
        TaskState::Hold(HoldTask { hold, .. }) => Machine::watch(hold),
        _ => None,
    };
    if let Some(watch) = watch.cloned() {
        world.host(task.host, |me| me.watch = Some(watch));
    }
}

/// Checks that a guard that reports a takeover, a revocation or a missing row has lost the row (E).
fn check_loss(
    world: &World,
    held: &Held,
    before: Option<LossReason>,
    after: Option<LossReason>,
    is_entry: bool,
) -> Result<(), Violation> {
    let reported =
        before.is_none() && matches!(after, Some(LossReason::TakenOver | LossReason::Revoked | LossReason::RowGone));
    if let (true, true, Some(loss)) = (reported, is_entry, after) {
        return entries::check_loss(world, held, loss);
    }
    if reported && service::is_held_by(world, &lease_id_of(held), Some(held.token().get())) {
        return Err(format!("E: a guard reports {after:?} while its lease ID holds the row"));
    }
    if reported && after == Some(LossReason::Revoked) && !world.past.revoked.contains(&held.token().get()) {
        return Err("E: a guard reports a revocation that did not happen".into());
    }
    Ok(())
}
