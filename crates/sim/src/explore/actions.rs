//! Everything that can happen next, and what comes of it.

use dynamo_lock_protocol::{Outcome, Row, ServiceDate, attr};

use super::calm::{self, Fate};
use super::clocks::EPOCH_MS;
use super::driver::{Context, Did};
use super::properties;
use super::service::{self, Violation};
use super::world::{Agent, Answer, Asked, Body, Flight, Machine, Shared, World};
use crate::mutants::Fault;

/// One thing that happens. Numbers are places in the lists of the state before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Time passes, to the grid's next instant.
    Tick,
    /// A host's user asks for the lock.
    Begin(u8),
    /// An agent takes its next step.
    Step(u8),
    /// An agent sends its request, or has one under way; this becomes of it.
    Ask(u8, How),
    /// An agent gets its answer.
    Deliver(u8),
    /// A request that was given up is applied.
    Land(u8),
    /// The user drops an acquire.
    Drop(u8),
    /// The user lets go of a guard; a renewal in flight may still be on its way.
    LetGo(u8, bool),
    /// A host loses all that it knows; its requests may still be on their way.
    Crash(u8, bool),
    Revoke,
    LegacyRead,
    LegacyPut,
    /// Time passes, and no clock of this host counts it.
    Freeze(u8),
    /// Time passes while this host sleeps.
    Sleep(u8),
    Force,
    /// A host's user inspects the lock.
    Inspect(u8),
    /// The service deletes the row.
    Purge,
    /// Nothing disturbs from here on.
    Calm(Fate),
    /// This number of milliseconds passes without an event.
    Pass(u32),
}

/// Fate of a request.
///
/// An event between sending, applying and receiving at the same instant would make no difference, because a request depends
/// on its sender alone and no clock moves. So each request takes its whole way at once, or waits for a later instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Applied and answered at once, with that one of the possible dates.
    Quick(u8),
    /// On its way until a later instant.
    SlowRequest,
    /// Applied at once; the answer comes at a later instant.
    SlowAnswer(u8),
    /// Never applied and never answered.
    Lost,
    /// Applied, and its sender does not learn it.
    Unheard,
    /// Given up by its sender, and still on its way.
    Late,
    /// Applied and answered, and a copy of it is still on its way.
    Copied,
    /// A read that is answered with the version before.
    Stale,
    /// Applied and answered at once, with the service's exact second.
    Exact,
}

/// Lists what can happen. Some of it may turn out to change nothing.
pub fn enabled(world: &World, context: &Context<'_>) -> Vec<Action> {
    let mut actions = Vec::new();
    for (i, agent) in (0_u8..).zip(&world.agents) {
        match &agent.flight {
            None => match step(&mut world.clone(), context, i) {
                Ok(Did::Waits(_)) => {}
                Ok(Did::Became(Some(Agent { flight: Some(flight), .. }))) => {
                    ask(world, context, i, &flight.request, false, &mut actions);
                }
                _ => actions.push(Action::Step(i)),
            },
            Some(flight) if flight.since == world.tick => {}
            Some(Flight { answer: Some(_), .. }) => actions.push(Action::Deliver(i)),
            Some(flight) => ask(world, context, i, &flight.request, true, &mut actions),
        }
        match &agent.machine {
            Machine::Acquire(_) | Machine::Hold(_) if world.left.drops > 0 => actions.push(Action::Drop(i)),
            // Nothing releases a hold.
            Machine::Held(_) if context.client(agent.host).hold_ms.is_some() => {}
            Machine::Held(_) => {
                actions.push(Action::LetGo(i, false));
                if is_unserved_write(agent) && world.left.late > 0 {
                    actions.push(Action::LetGo(i, true));
                }
            }
            _ => {}
        }
    }
    actions.extend((0_u8..).zip(&world.wire).map(|(i, _)| Action::Land(i)));
    hosts(world, context, &mut actions);
    others(world, context, &mut actions);
    if usize::from(world.tick) + 1 < context.config.grid.len() {
        actions.push(Action::Tick);
    }
    actions
}

fn ask(world: &World, context: &Context<'_>, i: u8, request: &Asked, under_way: bool, actions: &mut Vec<Action>) {
    let left = &world.left;
    let mut add = |how| actions.push(Action::Ask(i, how));
    let is_write = matches!(request, Asked::Write(_));
    let dates = 0..context.config.dates.len().max(1) as u8;
    dates.clone().for_each(|date| add(How::Quick(date)));
    if left.delay > 0 && !under_way {
        add(How::SlowRequest);
    }
    // A waiter counts from hearing: its read may as well have been applied then.
    if left.delay > 0 && is_write {
        dates.for_each(|date| add(How::SlowAnswer(date)));
    }
    if left.unknown > 0 {
        add(How::Lost);
        if is_write {
            add(How::Unheard);
        }
        if is_write && left.late > 0 {
            add(How::Late);
        }
    }
    if is_write && left.copies > 0 {
        add(How::Copied);
    }
    if left.stale > 0 && matches!(request, Asked::Read { strong: false }) && world.before.is_some() {
        add(How::Stale);
    }
}

fn hosts(world: &World, context: &Context<'_>, actions: &mut Vec<Action>) {
    for (h, host) in (0_u8..).zip(&world.hosts) {
        let mine = || world.agents.iter().filter(|agent| agent.host == h);
        if host.acquisitions > 0 && !mine().any(|agent| agent.is_main()) {
            actions.push(Action::Begin(h));
        }
        if world.left.crashes > 0 && mine().next().is_some() {
            actions.push(Action::Crash(h, false));
            if world.left.late > 0 && mine().any(|agent| is_unserved_write(agent)) {
                actions.push(Action::Crash(h, true));
            }
        }
        let holds_or_writes = |a: &Agent| {
            matches!(a.machine, Machine::Held(_))
                || context.is_about_to_report(world, a)
                || matches!(&a.machine, Machine::Acquire(machine) if machine.has_won())
                || matches!(&a.machine, Machine::Release(closing) if closing.token.is_some())
                || matches!(&a.flight, Some(Flight { request: Asked::Write(_), .. }))
        };
        if world.left.freezes > 0 && mine().next().is_some() && !mine().any(|agent| holds_or_writes(agent)) {
            actions.push(Action::Freeze(h));
        }
        if world.left.inspections > 0 {
            actions.push(Action::Inspect(h));
        }
        if world.left.sleeps > 0 && mine().next().is_some() {
            actions.push(Action::Sleep(h));
        }
    }
}

fn others(world: &World, context: &Context<'_>, actions: &mut Vec<Action>) {
    if world.left.revokes > 0 && world.row.as_deref().is_some_and(service::is_held) {
        actions.push(Action::Revoke);
    }
    if world.left.forces > 0 && world.row.as_deref().is_some_and(service::is_held) {
        actions.push(Action::Force);
    }
    if world.left.purges > 0 && service::is_purgeable(world, context.config) {
        actions.push(Action::Purge);
    }
    let Some(legacy) = context.config.legacy.filter(|_| world.left.legacy > 0) else { return };
    if world.legacy_saw.is_some() {
        return actions.push(Action::LegacyPut);
    }
    let wall = (EPOCH_MS + world.real_ms(context.config)).saturating_add_signed(legacy.wall_ms);
    let expires = world.row.as_ref().and_then(|row| row.whole(attr::EXPIRES_ON));
    if expires.is_some_and(|expires| expires < wall) {
        actions.push(Action::LegacyRead);
    }
}

fn is_unserved_write(agent: &Agent) -> bool {
    matches!(&agent.flight, Some(Flight { request: Asked::Write(_), answer: None, .. }))
}

/// Does it: the state after, `None` if nothing has changed, or what it goes against.
pub fn successor(
    world: &World,
    action: Action,
    context: &Context<'_>,
) -> Result<Option<World>, Box<(World, Violation)>> {
    let mut next = world.clone();
    match act(&mut next, action, context) {
        Err(violation) => return Err(Box::new((next, violation))),
        Ok(false) => return Ok(None),
        Ok(true) => next.sort(),
    }
    match properties::check(&next, context) {
        Some(violation) => Err(Box::new((next, violation))),
        None => Ok(Some(next)),
    }
}

fn act(world: &mut World, action: Action, context: &Context<'_>) -> Result<bool, Violation> {
    match action {
        Action::Tick => return tick(world, context),
        Action::Begin(h) => context.begin(world, h),
        Action::Step(i) => match step(world, context, i)? {
            Did::Waits(_) => return Ok(false),
            Did::Became(agent) => world.agents.extend(agent.map(Shared::new)),
        },
        Action::Ask(i, how) => return become_of(world, context, i, how),
        Action::Deliver(i) => {
            let mut agent = world.agents.remove(i.into()).clone_inner();
            let answer = agent.flight.as_mut().and_then(|flight| flight.answer.take());
            let agent = context.answer(world, agent, answer)?;
            world.agents.push(Shared::new(agent));
        }
        Action::Land(i) => {
            let op = world.wire.remove(i.into());
            service::write(world, context.mutant, &op)?;
        }
        Action::Drop(i) => {
            world.left.drops -= 1;
            let agent = world.agents.remove(i.into()).clone_inner();
            let agent = context.drop_acquire(world, agent);
            world.agents.extend(agent.map(Shared::new));
        }
        Action::LetGo(i, late) => let_go(world, context, i, late),
        Action::Crash(h, late) => crash(world, context, h, late),
        Action::Revoke => {
            world.left.revokes -= 1;
            context.revoke(world, false);
        }
        Action::Force => {
            world.left.forces -= 1;
            context.revoke(world, true);
        }
        Action::Inspect(h) => {
            world.left.inspections -= 1;
            context.inspect(world, h);
        }
        Action::Purge => {
            world.left.purges -= 1;
            world.before = world.row.take();
        }
        Action::Calm(fate) => calm::begin(world, context, fate),
        Action::Pass(ms) => world.jumped_ms += u64::from(ms),
        Action::LegacyRead => {
            world.legacy_saw = world.row.as_ref().and_then(|row| row.text(attr::GUID)).map(str::to_owned)
        }
        Action::LegacyPut => legacy_put(world, context),
        Action::Freeze(h) => {
            world.left.freezes -= 1;
            world.jumped_ms += context.config.jump_ms;
            world.host(h, |host| host.frozen_ms += context.config.jump_ms);
        }
        Action::Sleep(h) => {
            world.left.sleeps -= 1;
            world.jumped_ms += context.config.jump_ms;
            world.host(h, |host| host.slept_ms += context.config.jump_ms);
        }
    }
    Ok(true)
}

fn tick(world: &mut World, context: &Context<'_>) -> Result<bool, Violation> {
    let mut pending = false;
    for i in 0..world.agents.len() {
        let acts = || step(&mut world.clone(), context, i as u8);
        pending |= world.agents[i].flight.is_some() || !matches!(acts(), Ok(Did::Waits(_)));
    }
    if pending {
        if world.left.delay == 0 {
            return Ok(false);
        }
        world.left.delay -= 1;
    }
    world.tick += 1;
    Ok(true)
}

/// An agent's next step. It is taken out of the list.
pub fn step(world: &mut World, context: &Context<'_>, i: u8) -> Result<Did, Violation> {
    let agent = world.agents.remove(i.into()).clone_inner();
    context.step(world, agent)
}

fn become_of(world: &mut World, context: &Context<'_>, i: u8, how: How) -> Result<bool, Violation> {
    let mut agent = match &world.agents[usize::from(i)].flight {
        Some(_) => world.agents.remove(i.into()).clone_inner(),
        None => match step(world, context, i)? {
            Did::Became(Some(agent)) => agent,
            _ => return Ok(false),
        },
    };
    let Some(mut flight) = agent.flight.take() else { return Ok(false) };
    flight.since = world.tick;
    let first = context.config.dates.first().copied().flatten();
    let date = |n: u8| context.config.dates.get(usize::from(n)).copied().flatten();
    let mut answer = None;
    match how {
        How::Exact => {
            answer = Some(serve_dated(world, context, &flight, service::exact(world, context.config), false)?)
        }
        How::Quick(n) | How::SlowAnswer(n) => answer = Some(serve(world, context, &flight, date(n), false)?),
        How::SlowRequest => {}
        How::Lost => world.left.unknown -= 1,
        How::Unheard => {
            world.left.unknown -= 1;
            serve(world, context, &flight, first, false)?;
        }
        How::Late => {
            world.left.unknown -= 1;
            stray(world, Some(&flight), true);
        }
        How::Copied => {
            world.left.copies -= 1;
            if let Asked::Write(op) = &flight.request {
                world.wire.push(op.clone());
            }
            answer = Some(serve(world, context, &flight, first, false)?);
        }
        How::Stale => {
            world.left.stale -= 1;
            answer = Some(serve(world, context, &flight, first, true)?);
        }
    }
    if matches!(how, How::SlowRequest | How::SlowAnswer(_)) {
        flight.answer = answer;
        agent.flight = Some(flight);
    } else {
        agent.flight = Some(flight);
        agent = context.answer(world, agent, answer)?;
    }
    world.agents.push(Shared::new(agent));
    Ok(true)
}

fn serve(
    world: &mut World,
    context: &Context<'_>,
    flight: &Flight,
    date: Option<i64>,
    stale: bool,
) -> Result<Answer, Violation> {
    let date = service::date(world, context.config, date);
    serve_dated(world, context, flight, date, stale)
}

fn serve_dated(
    world: &mut World,
    context: &Context<'_>,
    flight: &Flight,
    date: Option<ServiceDate>,
    stale: bool,
) -> Result<Answer, Violation> {
    let body = match &flight.request {
        Asked::Read { .. } if stale => Body::Row(world.before.clone()),
        Asked::Read { .. } => Body::Row(world.row.clone()),
        Asked::Write(op) => {
            let outcome: Outcome = service::write(world, context.mutant, op)?;
            Body::Outcome(Shared::new(outcome))
        }
    };
    Ok(Answer { body, date })
}

/// A request is given up; if `late`, it may still be applied.
fn stray(world: &mut World, flight: Option<&Flight>, late: bool) {
    if let (true, Some(Flight { request: Asked::Write(op), answer: None, .. })) = (late, flight) {
        world.left.late -= 1;
        world.wire.push(op.clone());
    }
}

fn let_go(world: &mut World, context: &Context<'_>, i: u8, late: bool) {
    let agent = world.agents.remove(i.into()).clone_inner();
    stray(world, agent.flight.as_ref(), late);
    context.let_go(world, &agent);
    if context.mutant.is(Fault::ValidUntilReleased) {
        let Machine::Held(_) = agent.machine else { return };
        world.agents.push(Shared::new(Agent { flight: None, ..agent }));
    }
}

fn crash(world: &mut World, context: &Context<'_>, h: u8, late: bool) {
    world.left.crashes -= 1;
    let gone: Vec<_> = world.agents.iter().filter(|agent| agent.host == h).cloned().collect();
    world.agents.retain(|agent| agent.host != h);
    let stray_one = gone.iter().find(|agent| is_unserved_write(agent)).filter(|_| late);
    if let Some(agent) = stray_one {
        stray(world, agent.flight.as_ref(), true);
    }
    let service = (!context.config.dates.is_empty()).then(Default::default);
    world.host(h, |host| (host.watch, host.service) = (None, service));
}

/// The original's PutItem: a whole new item, on condition that the version is the one it saw.
fn legacy_put(world: &mut World, context: &Context<'_>) {
    let (Some(seen), Some(legacy)) = (world.legacy_saw.take(), context.config.legacy) else { return };
    let used = world.left.legacy;
    world.left.legacy -= 1;
    if world.row.as_ref().and_then(|row| row.text(attr::GUID)) != Some(&seen) {
        return;
    }
    let wall = (EPOCH_MS + world.real_ms(context.config)).saturating_add_signed(legacy.wall_ms);
    let mut row = Row::default();
    row.set(attr::GUID, format!("legacy-{used}").as_str().into());
    row.set(attr::EXPIRES_ON, (wall + legacy.lease_ms).into());
    service::set_row(world, row);
    world.past.legacy = true;
}
