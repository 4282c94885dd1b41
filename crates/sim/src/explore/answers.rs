//! What answers do: a client's task is told what came of its request, and when.

use dynamo_lock_protocol::{Held, LossReason, Outcome, ReceivedAt, Response, Row, SentAt, ServiceDate, attr};

use super::driver::{Context, Luck, lease_id_of};
use super::service::{self, Violation};
use super::world::{Agent, Answer, Asked, Body, Flight, Machine, World};
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
                self.answer_read(world, &mut agent, &flight, Some(row.as_deref()), date);
                return Ok(agent);
            }
            None if matches!(flight.request, Asked::Read { .. }) => {
                self.answer_read(world, &mut agent, &flight, None, None);
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
            Machine::Acquire(_) | Machine::Dropped(_) => {
                self.answer_acquire(world, &mut agent, &flight, &outcome, date);
            }
            Machine::Held(held) | Machine::Settling(held) | Machine::Renewing(held) => {
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
                self.call(world, host, at, Luck::Answer, |now| closing.release.handle_outcome(now, &outcome));
            }
            Machine::Revoke(revoke) => {
                self.call(world, host, at, Luck::Answer, |now| revoke.handle_outcome(now, &outcome));
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
    ) {
        let from_request = self.mutant.is(Fault::WaiterCountsFromRequest);
        let now_or_sent = if from_request { flight.sent } else { self.agent_clock(world, agent) };
        let ahead = if let Some(Fault::ReaderDateAhead(seconds)) = self.mutant.fault { seconds } else { 0 };
        let date = date.map(|date| ServiceDate(date.0 + ahead));
        let date = date.filter(|_| !self.mutant.is(Fault::ReaderIgnoresDates));
        let row = row.map(|row| row.map(|row| self.row_as_told(agent.host, row)));
        let Machine::Acquire(machine) = &mut agent.machine else { return };
        self.call(world, agent.host, now_or_sent, Luck::Answer, |now| match row {
            Some(row) => machine.handle(now, Response::row(row.as_ref()).with_date(date)),
            None => machine.handle(now, Response::unread()),
        });
        remember(world, agent);
    }

    /// A row as a waiter is told it.
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
        let from_answer = self.mutant.is(Fault::HolderCountsFromAnswer);
        if let (true, Some(first), Outcome::Applied(_)) = (from_answer, agent.noted, outcome) {
            at = first;
        }
        let outcome = match outcome {
            Outcome::Conflict(Some(row)) => &Outcome::Conflict(Some(self.row_as_told(agent.host, row))),
            other => other,
        };
        let (Machine::Acquire(machine) | Machine::Dropped(machine)) = &mut agent.machine else { return };
        self.call(world, agent.host, at, Luck::Answer, |now| {
            machine.handle(now, Response::outcome(SentAt(flight.sent), outcome).with_date(date));
        });
        if from_answer && machine.has_won() {
            agent.lag_ms = here.holder_elapsed_since(at).as_millis() as i64;
        }
        if self.mutant.is(Fault::ReportsWithoutCheck) {
            agent.noted = Some(here);
        }
        remember(world, agent);
    }
}

fn remember(world: &mut World, agent: &Agent) {
    let Machine::Acquire(machine) = &agent.machine else { return };
    if let Some(watch) = machine.watch().cloned() {
        world.host(agent.host, |me| me.watch = Some(watch));
    }
}

/// E: who is told of a takeover, a revocation or a vanished row has lost the row indeed.
fn truthful_loss(
    world: &World,
    held: &Held,
    before: Option<LossReason>,
    after: Option<LossReason>,
) -> Result<(), Violation> {
    let told =
        before.is_none() && matches!(after, Some(LossReason::TakenOver | LossReason::Revoked | LossReason::RowGone));
    if told && service::is_held_by(world, &lease_id_of(held), Some(held.token().get())) {
        return Err(format!("E: a guard is told {after:?} while its reign holds the row"));
    }
    if told && after == Some(LossReason::Revoked) && !world.past.revoked.contains(&held.token().get()) {
        return Err("E: a guard is told that it was revoked, and nobody has".into());
    }
    Ok(())
}
