//! Delivery of responses to the machines of the clients, and the checks of what they make of them.

use std::time::Duration;

use dynamo_lock_protocol::{
    Evidence, Expiry, Held, Liveness, LossReason, Machine as _, Now, Outcome, ReceivedAt, Response, Row, RowState,
    SentAt, ServiceDate, attr, expiry,
};

use super::driver::{Context, Luck, lease_id_of};
use super::liveness;
use super::service::{self, Violation};
use super::world::{Agent, Answer, Asked, Body, Flight, HoldTask, Machine, World};
use crate::mutants::Fault;

impl Context<'_> {
    /// Gives an agent the answer to its request; `None` if it never comes.
    pub fn answer(&self, world: &mut World, mut agent: Agent, answer: Option<Answer>) -> Result<Agent, Violation> {
        let Some(flight) = agent.flight.take() else { return Ok(agent) };
        let (host, at) = (agent.host, self.agent_clock(world, &agent));
        let date = answer.as_ref().and_then(|answer| answer.date);
        if let Some(date) = date {
            let received = ReceivedAt(self.clock(world, host));
            world.host(host, |me| {
                if let Some(service) = &mut me.service {
                    service.observe(date, SentAt(flight.sent), received);
                }
            });
        }
        let outcome = match answer.map(|answer| answer.body) {
            Some(Body::Row(row)) => {
                self.answer_read(world, &mut agent, &flight, Some(row.as_deref()), date)?;
                return Ok(agent);
            }
            None if matches!(flight.request, Asked::Read { .. }) => {
                self.answer_read(world, &mut agent, &flight, None, None)?;
                return Ok(agent);
            }
            Some(Body::Outcome(outcome)) => (*outcome).clone(),
            None => Outcome::Unknown,
        };
        let back = match (self.mutant.fault, &outcome) {
            (Some(Fault::HolderDateBack(seconds)), Outcome::Applied(_)) => seconds,
            _ => 0,
        };
        let date = date.map(|date| ServiceDate(date.0 - back));
        let date = match &outcome {
            Outcome::Conflict(_) if self.mutant.is(Fault::ReaderIgnoresDates) => None,
            _ if self.mutant.is(Fault::DatelessConfirms) => date.or(Some(ServiceDate(0))),
            _ => date,
        };
        match &mut agent.machine {
            Machine::Acquire(_) | Machine::Hold(_) | Machine::Dropped(_) | Machine::DroppedHold(_) => {
                self.answer_acquire(world, &mut agent, &flight, &outcome, date);
            }
            Machine::Inspect | Machine::Inspected => {}
            Machine::Held(held) | Machine::Renewing(held) => {
                let at = if self.mutant.is(Fault::LateAnswersCount) { flight.sent } else { at };
                let before = held.clone().check(at);
                self.call(world, host, at, Luck::Answer, |now| {
                    held.handle_outcome(now, SentAt(flight.sent), &outcome, date);
                });
                truthful_loss(world, held, before, held.clone().check(at))?;
            }
            Machine::Release(closing) => {
                let unsure = self.mutant.is(Fault::UnknownReleaseIsThrottled) && outcome == Outcome::Unknown;
                let outcome = if unsure { Outcome::Throttled } else { outcome };
                let response = Response::outcome(SentAt(flight.sent), &outcome);
                self.call(world, host, at, Luck::Answer, |now| closing.release.handle(now, response));
            }
            Machine::Revoke(revoke) => {
                let response = Response::outcome(SentAt(flight.sent), &outcome);
                self.call(world, host, at, Luck::Answer, |now| revoke.handle(now, response));
            }
        }
        Ok(agent)
    }

    fn answer_read(
        &self,
        world: &mut World,
        agent: &mut Agent,
        flight: &Flight,
        row: Option<Option<&Row>>,
        date: Option<ServiceDate>,
    ) -> Result<(), Violation> {
        let at =
            if self.mutant.is(Fault::WaiterCountsFromRequest) { flight.sent } else { self.agent_clock(world, agent) };
        let ahead = if let Some(Fault::ReaderDateAhead(seconds)) = self.mutant.fault { seconds } else { 0 };
        let date = date.map(|date| ServiceDate(date.0 + ahead));
        let date = date.filter(|_| !self.mutant.is(Fault::ReaderIgnoresDates));
        let row = row.map(|row| row.map(|row| self.row_as_told(agent.host, row)));
        if matches!(agent.machine, Machine::Inspect) {
            agent.machine = Machine::Inspected;
            let row = row.flatten();
            return row.map_or(Ok(()), |row| self.inspection(world, agent.host, &row, date));
        }
        let liveness = row.as_ref().and_then(Option::as_ref).map_or(Liveness::Unknown, |row| liveness::check(row, at));
        let response = match &row {
            Some(row) => Response::row(row.as_ref()).with_date(date).with_liveness(liveness),
            None => Response::unread(),
        };
        self.call(world, agent.host, at, Luck::Answer, |now| handle(&mut agent.machine, now, response));
        remember(world, agent);
        Ok(())
    }

    /// I: the library's inspection never reports a lease as expired that a guard considers valid. Its other result, a range of
    /// times, is only for display.
    fn inspection(&self, world: &World, host: u8, row: &Row, date: Option<ServiceDate>) -> Result<(), Violation> {
        let Ok(state @ RowState::Held(_)) = row.state() else { return Ok(()) };
        let at = self.clock(world, host);
        let evidence = Evidence {
            at,
            service: world.hosts[usize::from(host)].service.as_ref(),
            date,
            liveness: liveness::check(row, at),
            watch: None,
            legacy_skew: Duration::from_secs(2),
        };
        let is_valid = world.agents.iter().any(|agent| match &agent.machine {
            Machine::Held(held) => {
                let same = row.text(attr::LEASE_ID) == Some(lease_id_of(held).as_str());
                same && held.clone().is_valid(self.agent_clock(world, agent))
            }
            _ => false,
        });
        match expiry(&state, &evidence) {
            Expiry::Expired if is_valid => Err("I: an inspection reports a valid lease as expired".into()),
            _ => Ok(()),
        }
    }

    /// Returns a row as a waiter receives it. Mutants change it.
    fn row_as_told(&self, host: u8, row: &Row) -> Row {
        let mut row = row.clone();
        if self.mutant.is(Fault::WaiterUsesOwnLease) && row.whole(attr::LEASE_MS).is_some() {
            row.set(attr::LEASE_MS, self.client(host).lease_ms.into());
        }
        if let (Some(Fault::WaiterLeasePercent(percent)), Some(lease)) = (self.mutant.fault, row.whole(attr::LEASE_MS))
        {
            row.set(attr::LEASE_MS, (lease * percent / 100).into());
        }
        row
    }

    fn answer_acquire(
        &self,
        world: &mut World,
        agent: &mut Agent,
        flight: &Flight,
        outcome: &Outcome,
        date: Option<ServiceDate>,
    ) {
        let mut at = self.agent_clock(world, agent);
        let here = at;
        if let (true, Outcome::Conflict(_)) = (self.mutant.is(Fault::WaiterCountsFromRequest), outcome) {
            at = flight.sent;
        }
        if let (true, Some(first), Outcome::Applied(_)) =
            (self.mutant.is(Fault::HolderCountsFromAnswer), agent.noted, outcome)
        {
            at = first;
        }
        let outcome = match outcome {
            Outcome::Conflict(Some(row)) => &Outcome::Conflict(Some(self.row_as_told(agent.host, row))),
            other => other,
        };
        let liveness = match outcome {
            Outcome::Conflict(Some(row)) => liveness::check(row, at),
            _ => Liveness::Unknown,
        };
        let response = Response::outcome(SentAt(flight.sent), outcome).with_date(date).with_liveness(liveness);
        self.call(world, agent.host, at, Luck::Answer, |now| handle(&mut agent.machine, now, response));
        let has_won = matches!(&agent.machine, Machine::Acquire(machine) if machine.has_won());
        if self.mutant.is(Fault::HolderCountsFromAnswer) && has_won {
            agent.lag_ms = here.holder_elapsed_since(at).as_millis() as i64;
        }
        if self.mutant.is(Fault::ReportsWithoutCheck) {
            agent.noted = Some(here);
        }
        remember(world, agent);
    }
}

/// Passes a response to an acquire or a hold.
fn handle(machine: &mut Machine, now: &Now<'_>, response: Response<'_>) {
    match machine {
        Machine::Acquire(machine) | Machine::Dropped(machine) => machine.handle(now, response),
        Machine::Hold(HoldTask { hold, .. }) | Machine::DroppedHold(hold) => hold.handle(now, response),
        _ => {}
    }
}

fn remember(world: &mut World, agent: &Agent) {
    let watch = match &agent.machine {
        Machine::Acquire(machine) => machine.watch(),
        Machine::Hold(HoldTask { hold, .. }) => hold.watch(),
        _ => None,
    };
    if let Some(watch) = watch.cloned() {
        world.host(agent.host, |me| me.watch = Some(watch));
    }
}

/// Checks that a guard that reports a takeover, a revocation or a missing row has lost the row (E).
fn truthful_loss(
    world: &World,
    held: &Held,
    before: Option<LossReason>,
    after: Option<LossReason>,
) -> Result<(), Violation> {
    let told =
        before.is_none() && matches!(after, Some(LossReason::TakenOver | LossReason::Revoked | LossReason::RowGone));
    if told && service::is_held_by(world, &lease_id_of(held), Some(held.token().get())) {
        return Err(format!("E: a guard reports {after:?} while its lease ID holds the row"));
    }
    if told && after == Some(LossReason::Revoked) && !world.past.revoked.contains(&held.token().get()) {
        return Err("E: a guard reports a revocation that did not happen".into());
    }
    Ok(())
}
