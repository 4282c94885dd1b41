//! Continuations of a state without further disturbance: waiters acquire the lock (D), and orphaned leases end (E).
//!
//! From every state three continuations are run, beyond the grid, by one fair schedule: every agent that can act acts at once,
//! every request is answered at once, with the service's exact second, and time passes until the next pause is over.
//! Requests that are still on their way are lost. A state in which they are applied is explored separately.

use super::actions::{Action, How, step, successor};
use super::driver::{Context, Did, letter};
use super::properties;
use super::search::Visited;
use super::service::{self, Violation};
use super::world::{Agent, Budget, Flight, Host, Machine, Past, World};
use super::{clocks::EPOCH_MS, fingerprint::fingerprint};
use dynamo_lock_protocol::{Row, RowState, attr};

/// Processes that continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// No process: every process ends, and a newcomer asks for the lock.
    Newcomer,
    /// The processes of this host, which waits for the lock; all others end.
    Waiter(u8),
    /// Everybody; users let go of what they hold or get, and ask for nothing more.
    Rest,
}

/// Nothing disturbs any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Calm {
    pub fate: Fate,
    /// Before, a request went astray or a host crashed: it may have left a row behind.
    pub astray: bool,
}

/// More steps than this are a circle.
const STEPS_MAX: usize = 5_000;
/// Time that polls, retries and rounded clocks add to a wait, in milliseconds.
const POLLS_MS: u64 = 100;
/// Time until a row without a token is taken over, in milliseconds, because a fresh token floor must be above all earlier
/// tokens. The time that the response took is added.
const SEED_MS: u64 = 9_000;
/// A legacy row is respected for its skew, and the service's second may be this much less than the time.
const LEGACY_MS: u64 = 5_000;

/// Counterexample: the actions after the state, and the broken promise.
pub type Broken = (Vec<Action>, Violation);

/// Runs a state on in every way; those that were run before are known to be good.
pub fn check(world: &World, context: &Context<'_>, good: &mut Visited) -> Option<Broken> {
    // A hold does not wait, so it may end without the lock.
    let waits = |agent: &Agent| matches!(agent.machine, Machine::Acquire(_));
    let waiters = world.agents.iter().filter(|agent| waits(agent)).map(|agent| Fate::Waiter(agent.host));
    let rest = (!world.agents.is_empty()).then_some(Fate::Rest);
    let fates = std::iter::once(Fate::Newcomer).chain(waiters).chain(rest);
    fates.into_iter().find_map(|fate| from(world, fate, context, good))
}

fn from(world: &World, fate: Fate, context: &Context<'_>, good: &mut Visited) -> Option<Broken> {
    let mut run = Run { actions: vec![Action::Calm(fate)], context };
    let mut world = match successor(world, Action::Calm(fate), context) {
        Ok(Some(next)) => next,
        Ok(None) => return None,
        Err(end) => return Some((run.actions, end.1)),
    };
    if !good.insert(fingerprint(&world)) {
        return None;
    }
    let ended = match fate {
        Fate::Newcomer => run.gets_the_lock(&mut world, context.newcomer(), 1),
        // An attempt that nothing answered for a lease ends with an error, and its user asks again.
        Fate::Waiter(host) => run.gets_the_lock(&mut world, host, 2),
        Fate::Rest => run.comes_to_rest(&mut world),
    };
    if let Err(violation) = ended {
        return Some((run.actions, violation));
    }
    let (mut rest, violation) = (fate == Fate::Rest).then(|| from(&world, Fate::Newcomer, context, good)).flatten()?;
    run.actions.append(&mut rest);
    Some((run.actions, violation))
}

/// One continuation.
struct Run<'a> {
    actions: Vec<Action>,
    context: &'a Context<'a>,
}

impl Run<'_> {
    /// D: this host's attempt ends with the lock, in time.
    fn gets_the_lock(&mut self, world: &mut World, host: u8, attempts: usize) -> Result<(), Violation> {
        let main = |world: &World| world.agents.iter().find(|agent| agent.host == host && agent.is_main()).cloned();
        for attempt in 1..=attempts {
            if attempt > 1 {
                self.does(world, Action::Begin(host))?;
            }
            let (since, most) = (world.real_ms(self.context.config), self.wait_mode(world, host));
            while let Some(agent) = main(world) {
                let waited = world.real_ms(self.context.config) - since;
                if waited > most {
                    let who = letter(host);
                    return Err(format!("D: {who} has waited for {waited} ms, and the row asks for {most} ms at most"));
                }
                if let Machine::Held(_) = agent.machine {
                    return Ok(());
                }
                self.goes_on(world)?;
            }
        }
        Err(format!("D: the attempt of {} ends without the lock, though nothing disturbs it", letter(host)))
    }

    /// Checks that every task ends, and that an orphaned lease is not renewed any more (E).
    fn comes_to_rest(&mut self, world: &mut World) -> Result<(), Violation> {
        let since = world.real_ms(self.context.config);
        let leases = self.context.config.clients.iter().map(|client| client.hold_ms.unwrap_or(0).max(client.lease_ms));
        let row = world.row.as_deref().map_or(0, |row| self.held_for(row, world));
        let most = row + leases.map(|lease| lease + POLLS_MS).sum::<u64>();
        while let Some(agent) = world.agents.first() {
            let passed = world.real_ms(self.context.config) - since;
            if passed > most {
                return Err(format!(
                    "E: a task of {} has not ended {passed} ms after everything was let go of",
                    letter(agent.host)
                ));
            }
            self.goes_on(world)?;
        }
        Ok(())
    }

    fn goes_on(&mut self, world: &mut World) -> Result<(), Violation> {
        let action = next(world, self.context)?;
        if self.actions.len() > STEPS_MAX {
            return Err("D: requests go round and round".into());
        }
        self.does(world, action)
    }

    fn does(&mut self, world: &mut World, action: Action) -> Result<(), Violation> {
        self.actions.push(action);
        match successor(world, action, self.context) {
            Ok(next) => *world = next.unwrap_or_else(|| world.clone()),
            Err(end) => return Err(end.1),
        }
        Ok(())
    }

    /// Returns the maximum wait that promise D allows, in milliseconds.
    fn wait_mode(&self, world: &World, host: u8) -> u64 {
        let row = world.row.as_deref();
        let held = row.map_or(0, |row| self.held_for(row, world));
        let is_seeded = matches!(row.map(Row::state), Some(Ok(RowState::Legacy(row))) if row.token.is_none());
        let on_its_way = if is_seeded { self.context.config.grid.last().copied().unwrap_or(0) } else { 0 };
        // What a newcomer need not wait for it takes at once. Others may be in a pause, or in one try's.
        match host == self.context.newcomer() {
            true if held == 0 => 0,
            true => held + POLLS_MS,
            false => held + on_its_way + POLLS_MS,
        }
    }

    /// For how long a row keeps a newcomer out at most, on clocks that are 0.5 % slow.
    fn held_for(&self, row: &Row, world: &World) -> u64 {
        let now = EPOCH_MS + world.real_ms(self.context.config);
        let date = service::exact(world, self.context.config);
        let long_dead = |expires_on| date.is_some_and(|date| date.lower_when_received() > expires_on);
        match row.state() {
            Ok(RowState::Held(held)) if row.get(attr::EXPIRY_CLOCK).is_some() && long_dead(held.expires_on) => 0,
            Ok(RowState::Held(held)) => held.lease.as_millis() as u64 * 1006 / 1000 + 1,
            Ok(RowState::Legacy(row)) => {
                let seed = if row.token.is_none() { SEED_MS } else { 0 };
                (row.expires_on as u64 + LEGACY_MS).saturating_sub(now) + seed
            }
            Ok(_) | Err(_) => 0,
        }
    }
}

/// Returns the next action of the fair schedule.
fn next(world: &World, context: &Context<'_>) -> Result<Action, Violation> {
    let lets_go = matches!(world.calm, Some(Calm { fate: Fate::Rest, .. }));
    let mut pause = None;
    for (i, agent) in (0_u8..).zip(&world.agents) {
        match &agent.flight {
            Some(Flight { answer: Some(_), .. }) => return Ok(Action::Deliver(i)),
            Some(_) => return Ok(Action::Ask(i, How::Exact)),
            None => {}
        }
        if lets_go && matches!(agent.machine, Machine::Held(_)) {
            return Ok(Action::LetGo(i, false));
        }
        match step(&mut world.clone(), context, i)? {
            Did::Waits(length) => pause = pause.map_or(Some(length), |pause| Some(length.min(pause))),
            Did::Became(Some(Agent { flight: Some(_), .. })) => return Ok(Action::Ask(i, How::Exact)),
            Did::Became(_) => return Ok(Action::Step(i)),
        }
    }
    let ms = pause.map(|pause| pause.as_millis()).and_then(|ms| u32::try_from(ms + ms / 200 + 1).ok());
    // No agent waits for anything.
    ms.map(Action::Pass).ok_or_else(|| "D: the remaining clients do nothing any more".into())
}

/// From now on nothing disturbs: what cannot matter any more is forgotten, so that many states become one.
pub fn begin(world: &mut World, context: &Context<'_>, fate: Fate) {
    let lives = |host: u8| fate == Fate::Rest || fate == Fate::Waiter(host);
    let astray = properties::is_astray(world, context) || fate != Fate::Rest;
    world.calm = Some(Calm { fate, astray });
    (world.left, world.before, world.legacy_saw) = (Budget::default(), None, None);
    world.wire.clear();
    world.agents.retain(|agent| lives(agent.host));
    for host in 0..world.hosts.len() as u8 {
        let blank = Host { service: None, watch: None, used: 0, acquisitions: 0, frozen_ms: 0, slept_ms: 0 };
        match lives(host) {
            // The user asks once more, should the attempt end with an error.
            true => world.host(host, |host| host.acquisitions = u8::from(fate != Fate::Rest)),
            false => world.host(host, |host| *host = blank),
        }
    }
    if fate == Fate::Newcomer {
        let Past { reported, forced, .. } = world.past;
        world.past = Past { reported, forced, ..Past::default() };
        world.hosts.push(context.fresh_host(context.newcomer()));
        context.begin(world, context.newcomer());
    }
}
