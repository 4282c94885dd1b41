//! The events that can occur in a state, and their successors.

use dynamo_lock_protocol::{Kind, Machine, OpKind, Refusal, Row, attr};

use super::{
    Answer, Body, Context, EPOCH_MS, InFlight, RequestBody, Shared, StepResult, Task, TaskState, Violation, World,
    entries, once, properties, quiescence, quiescence::Continuation, service,
};
use crate::mutants::Fault;

/// One event. Numbers are indices into the lists of the state before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Time passes until the next instant of the grid.
    Tick,
    /// The user of a host requests the lock.
    Begin(u8),
    /// A task performs its next step.
    Step(u8),
    /// A task sends its request, or has one in flight, which is delivered like this.
    Send(u8, Delivery),
    /// A task receives its answer.
    Deliver(u8),
    /// An abandoned request is applied.
    Apply(u8),
    /// A waiter receives a hint of the store.
    Hint(u8),
    /// The user drops an acquire.
    Drop(u8),
    /// The user releases a guard. With `true`, a renewal in flight may still be applied.
    Release(u8, bool),
    /// The user releases a guard for which another user of the client waits. With `true`, a renewal in flight may still
    /// be applied.
    HandOver(u8, bool),
    /// The work of a guard has succeeded. With `true`, a renewal in flight may still be applied.
    Finish(u8, bool),
    /// A host crashes. With `true`, its write in flight may still be applied.
    Crash(u8, bool),
    Revoke,
    /// An operator revokes the holder of this entry, or forces it out.
    Operate(u8, bool),
    /// An operator makes the row, which is free, a row of this kind.
    Convert(u8),
    /// An operator resets a success.
    Reset,
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
    /// The table is deleted.
    DeleteTable,
    /// The table is created again, empty.
    CreateTable,
    /// No fault and no request of a user happens any more.
    Quiescence(Continuation),
    /// This number of milliseconds passes without an event.
    Pass(u32),
}

/// Delivery of a request.
///
/// An event between sending, applying and receiving at the same instant would make no difference, because a request
/// depends on its sender alone and no clock moves. So each request takes its whole way at once, or waits for a later
/// instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Applied and answered at once, with the possible date of this index.
    Immediate(u8),
    /// Delivered at a later instant.
    RequestDelayed,
    /// Applied at once; the answer comes at a later instant.
    ResponseDelayed(u8),
    /// Never applied and never answered.
    Lost,
    /// Applied, and its response is lost.
    ResponseLost,
    /// Abandoned by its sender. It may still be applied.
    Abandoned,
    /// Applied and answered, and a copy of it may be applied later.
    Duplicated,
    /// A read that returns the previous version.
    Stale,
    /// Applied and answered at once, with a wild date.
    WildDate,
    /// Applied and answered at once, with the service's exact second.
    ExactDate,
    /// Refused at once, and not applied.
    Refused,
}

/// Returns the events that can occur. Some of them may change nothing.
pub fn enabled(world: &World, context: &Context<'_>) -> Vec<Action> {
    let mut actions = Vec::new();
    for (i, task) in (0_u8..).zip(&world.tasks) {
        match &task.flight {
            None => match step(&mut world.clone(), context, i) {
                Ok(StepResult::Pending(_)) => {}
                Ok(StepResult::Progress(Some(Task { flight: Some(flight), .. }))) => {
                    deliveries(world, context, i, &flight, &mut actions);
                }
                _ => actions.push(Action::Step(i)),
            },
            Some(flight) if flight.since == world.tick => {}
            Some(InFlight { answer: Some(_), .. }) => actions.push(Action::Deliver(i)),
            Some(flight) => deliveries(world, context, i, flight, &mut actions),
        }
        if matches!(&task.state, TaskState::Acquire(machine) if world.left.hints > 0 && machine.awaits_change()) {
            actions.push(Action::Hint(i));
        }
        match &task.state {
            TaskState::Acquire(_) | TaskState::Hold(_) if world.left.drops > 0 => actions.push(Action::Drop(i)),
            TaskState::Handover(task) if world.left.drops > 0 && task.has_waiter => actions.push(Action::Drop(i)),
            // Nothing releases a hold.
            TaskState::Held(_) if context.client(task.host).hold_ms.is_some() => {}
            TaskState::Held(held) => {
                let may_be_late = is_unserved_write(task) && world.left.late > 0;
                let late = [Some(false), may_be_late.then_some(true)].into_iter().flatten();
                actions.extend(late.clone().map(|late| Action::Release(i, late)));
                if context.kind() == Kind::Once && world.quiescence.is_none() {
                    actions.extend(late.clone().map(|late| Action::Finish(i, late)));
                }
                if context.can_hand_over(world, task, held) {
                    actions.extend(late.map(|late| Action::HandOver(i, late)));
                }
            }
            _ => {}
        }
    }
    actions.extend((0_u8..).zip(&world.late_requests).map(|(i, _)| Action::Apply(i)));
    host_events(world, context, &mut actions);
    external_events(world, context, &mut actions);
    if usize::from(world.tick) + 1 < context.config.grid.len() {
        actions.push(Action::Tick);
    }
    actions
}

fn deliveries(world: &World, context: &Context<'_>, i: u8, flight: &InFlight, actions: &mut Vec<Action>) {
    let (left, request) = (&world.left, &flight.request);
    let task = &world.tasks[usize::from(i)];
    let in_flight = task.flight.is_some();
    let mut add = |delivery| actions.push(Action::Send(i, delivery));
    let is_write = matches!(request, RequestBody::Write(_));
    let may_be_late = left.delay > 0 && context.may_be_late(task);
    let dates = 0..context.config.dates.len().max(1) as u8;
    dates.clone().for_each(|date| add(Delivery::Immediate(date)));
    if may_be_late && !in_flight {
        add(Delivery::RequestDelayed);
    }
    // A waiter counts from its receipt of the response, so its read may as well have been applied then.
    if may_be_late && is_write {
        dates.for_each(|date| add(Delivery::ResponseDelayed(date)));
    }
    if left.unknown > 0 {
        add(Delivery::Lost);
        if is_write {
            add(Delivery::ResponseLost);
        }
        if is_write && left.late > 0 {
            add(Delivery::Abandoned);
        }
    }
    if is_write && left.copies > 0 {
        add(Delivery::Duplicated);
    }
    if left.wild > 0 && context.config.wild.is_some_and(|wild| wild.first || has_dates(world, context, task.host)) {
        add(Delivery::WildDate);
    }
    if left.refusals > 0 && !world.has_no_table {
        add(Delivery::Refused);
    }
    if left.stale > 0 && matches!(request, RequestBody::Read { strong: false }) && world.before.is_some() {
        add(Delivery::Stale);
    }
}

/// Returns whether a client knows the service's time.
fn has_dates(world: &World, context: &Context<'_>, host: u8) -> bool {
    let service = world.hosts[usize::from(host)].service.as_ref();
    service.is_some_and(|service| service.interval(context.clock(world, host)).is_some())
}

fn host_events(world: &World, context: &Context<'_>, actions: &mut Vec<Action>) {
    for (h, host) in (0_u8..).zip(&world.hosts) {
        let mine = || world.tasks.iter().filter(|task| task.host == h);
        if host.acquisitions > 0 && !mine().any(|task| task.is_main()) {
            actions.push(Action::Begin(h));
        }
        if world.left.crashes > 0 && mine().next().is_some() {
            actions.push(Action::Crash(h, false));
            if world.left.late > 0 && mine().any(|task| is_unserved_write(task)) {
                actions.push(Action::Crash(h, true));
            }
        }
        let holds_or_writes = |a: &Task| {
            matches!(a.state, TaskState::Held(_) | TaskState::Handover(_) | TaskState::Finish(_))
                || context.is_about_to_report(world, a)
                || matches!(&a.state, TaskState::Acquire(machine) if machine.has_won())
                || matches!(&a.state, TaskState::Release(release_task) if release_task.token.is_some())
                || matches!(&a.flight, Some(InFlight { request: RequestBody::Write(_), .. }))
        };
        if world.left.freezes > 0 && mine().next().is_some() && !mine().any(|task| holds_or_writes(task)) {
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

fn external_events(world: &World, context: &Context<'_>, actions: &mut Vec<Action>) {
    if let Some(row) = entries::parse(world.row.as_deref()) {
        for entry in 0..row.entries.len() as u8 {
            actions.extend((world.left.revokes > 0).then_some(Action::Operate(entry, false)));
            actions.extend((world.left.forces > 0).then_some(Action::Operate(entry, true)));
        }
    } else if world.left.revokes > 0 && world.row.as_deref().is_some_and(service::is_held) {
        actions.push(Action::Revoke);
    }
    if world.left.resets > 0 && world.row.as_deref().is_some_and(|row| row.get(attr::DONE_TOKEN).is_some()) {
        actions.push(Action::Reset);
    }
    let is_plain = world.row.as_deref().is_some_and(|row| !entries::is_shared(row) && service::is_held(row));
    if world.left.forces > 0 && is_plain {
        actions.push(Action::Force);
    }
    if world.left.conversions > 0 && world.row.as_deref().is_some_and(entries::is_free) {
        actions.extend((0..entries::KINDS.len() as u8).map(Action::Convert));
    }
    if world.left.purges > 0 && service::is_purgeable(world, context.config) {
        actions.push(Action::Purge);
    }
    if world.has_no_table {
        actions.push(Action::CreateTable);
    } else if world.left.deletions > 0 {
        actions.push(Action::DeleteTable);
    }
    let Some(legacy) = context.config.legacy.filter(|_| world.left.legacy > 0) else { return };
    if world.legacy_seen.is_some() {
        return actions.push(Action::LegacyPut);
    }
    let wall = (EPOCH_MS + world.real_ms(context.config)).saturating_add_signed(legacy.wall_ms);
    let expires = world.row.as_ref().and_then(|row| row.whole(attr::EXPIRES_ON));
    if expires.is_some_and(|expires| expires < wall) {
        actions.push(Action::LegacyRead);
    }
}

fn is_unserved_write(task: &Task) -> bool {
    matches!(&task.flight, Some(InFlight { request: RequestBody::Write(_), answer: None, .. }))
}

/// Returns the state after an event, `None` if nothing has changed, or the property that the state violates.
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
            StepResult::Pending(_) => return Ok(false),
            StepResult::Progress(task) => world.tasks.extend(task.map(Shared::new)),
        },
        Action::Send(i, delivery) => return deliver(world, context, i, delivery),
        Action::Deliver(i) => {
            let mut task = world.tasks.remove(i.into()).clone_inner();
            let answer = task.flight.as_mut().and_then(|flight| flight.answer.take());
            let task = context.answer(world, task, answer)?;
            world.tasks.push(Shared::new(task));
        }
        Action::Apply(i) => {
            let op = world.late_requests.remove(i.into());
            if world.has_no_table {
                return Ok(true);
            }
            service::write(world, context, &op)?;
        }
        Action::Hint(i) => {
            world.left.hints -= 1;
            let task = world.tasks.remove(i.into()).clone_inner();
            let task = context.hint(world, task);
            world.tasks.push(Shared::new(task));
        }
        Action::Drop(i) => {
            world.left.drops -= 1;
            let mut task = world.tasks.remove(i.into()).clone_inner();
            if let TaskState::Handover(handover) = &mut task.state {
                handover.has_waiter = false;
                world.tasks.push(Shared::new(task));
            } else if let StepResult::Progress(task) = context.drop_acquire(world, task)? {
                world.tasks.extend(task.map(Shared::new));
            }
        }
        Action::Release(i, late) => release_guard(world, context, i, late),
        Action::HandOver(i, late) => {
            let task = world.tasks.remove(i.into()).clone_inner();
            abandon(world, task.flight.as_ref().filter(|_| late));
            context.hand_over(world, &task);
        }
        Action::Finish(i, late) => {
            let task = world.tasks.remove(i.into()).clone_inner();
            abandon(world, task.flight.as_ref().filter(|_| late));
            context.finish_guard(world, &task);
        }
        Action::Crash(h, late) => crash(world, context, h, late),
        Action::Revoke => {
            world.left.revokes -= 1;
            context.revoke(world, false);
        }
        Action::Operate(entry, force) => {
            let left = if force { &mut world.left.forces } else { &mut world.left.revokes };
            *left -= 1;
            context.operate(world, entry, force);
        }
        Action::Convert(kind) => {
            world.left.conversions -= 1;
            context.convert(world, entries::KINDS[usize::from(kind)]);
        }
        Action::Force => {
            world.left.forces -= 1;
            context.revoke(world, true);
        }
        Action::Reset => {
            world.left.resets -= 1;
            context.reset(world);
        }
        Action::Inspect(h) => {
            world.left.inspections -= 1;
            world.tasks.push(Shared::new(Task::new(h, TaskState::Inspect)));
        }
        Action::Purge => {
            world.left.purges -= 1;
            entries::check_purge(world, context)?;
            once::note_purge(world, context.config)?;
            world.before = world.row.take();
        }
        Action::DeleteTable => {
            world.left.deletions -= 1;
            service::delete_table(world);
        }
        Action::CreateTable => world.has_no_table = false,
        Action::Quiescence(continuation) => quiescence::begin(world, context, continuation),
        Action::Pass(ms) => world.jumped_ms += u64::from(ms),
        Action::LegacyRead => {
            world.legacy_seen = world.row.as_ref().and_then(|row| row.text(attr::GUID)).map(str::to_owned)
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
    for i in 0..world.tasks.len() {
        let acts = || step(&mut world.clone(), context, i as u8);
        let is_pending = world.tasks[i].flight.is_some() || !matches!(acts(), Ok(StepResult::Pending(_)));
        if is_pending && !context.may_be_late(&world.tasks[i]) {
            return Ok(false);
        }
        pending |= is_pending;
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

/// Removes a task from the list and performs its next step.
pub fn step(world: &mut World, context: &Context<'_>, i: u8) -> Result<StepResult, Violation> {
    let task = world.tasks.remove(i.into()).clone_inner();
    context.step(world, task)
}

fn deliver(world: &mut World, context: &Context<'_>, i: u8, delivery: Delivery) -> Result<bool, Violation> {
    let mut task = match &world.tasks[usize::from(i)].flight {
        Some(_) => world.tasks.remove(i.into()).clone_inner(),
        None => match step(world, context, i)? {
            StepResult::Progress(Some(task)) => task,
            _ => return Ok(false),
        },
    };
    let Some(mut flight) = task.flight.take() else { return Ok(false) };
    flight.since = world.tick;
    count_handover_fault(world, delivery, &flight.request);
    match (delivery, &flight.request) {
        (Delivery::Lost | Delivery::ResponseLost | Delivery::Abandoned, _) => world.left.unknown -= 1,
        (Delivery::Stale, _) => world.left.stale -= 1,
        (Delivery::WildDate, _) => world.left.wild -= 1,
        (Delivery::Refused, _) => world.left.refusals -= 1,
        (Delivery::Duplicated, RequestBody::Write(op)) => {
            world.left.copies -= 1;
            world.late_requests.push(op.clone());
        }
        _ => {}
    }
    let answer = match delivery {
        Delivery::RequestDelayed | Delivery::Lost => None,
        Delivery::Abandoned => {
            abandon(world, Some(&flight));
            None
        }
        Delivery::ResponseLost => {
            serve(world, context, &flight, delivery)?;
            None
        }
        _ => Some(serve(world, context, &flight, delivery)?),
    };
    task.flight = Some(flight);
    match (delivery, &mut task.flight) {
        (Delivery::RequestDelayed | Delivery::ResponseDelayed(_), Some(flight)) => flight.answer = answer,
        _ => task = context.answer(world, task, answer)?,
    }
    world.tasks.push(Shared::new(task));
    Ok(true)
}

/// Counts a fault that befalls the request of a handover, in the units of the budget.
fn count_handover_fault(world: &mut World, delivery: Delivery, request: &RequestBody) {
    if !matches!(request, RequestBody::Write(op) if matches!(op.kind, OpKind::HandOver { .. })) {
        return;
    }
    world.past.handover_faults += match delivery {
        Delivery::Lost | Delivery::ResponseLost | Delivery::Duplicated | Delivery::Refused => 1,
        Delivery::Abandoned => 2, // It may be applied late, too.
        _ => 0,
    };
}

fn serve(world: &mut World, context: &Context<'_>, flight: &InFlight, delivery: Delivery) -> Result<Answer, Violation> {
    let dates = &context.config.dates;
    let off = match delivery {
        Delivery::ExactDate => dates.first().map(|_| 0),
        Delivery::WildDate => context.config.wild.map(|wild| wild.seconds),
        Delivery::Immediate(n) | Delivery::ResponseDelayed(n) => dates.get(usize::from(n)).copied().flatten(),
        _ => dates.first().copied().flatten(),
    };
    let date = service::date(world, context.config, off);
    let body = match &flight.request {
        _ if delivery == Delivery::Refused => Body::Refused(Refusal::Other),
        _ if world.has_no_table => Body::Refused(Refusal::NoTable),
        RequestBody::Read { .. } if delivery == Delivery::Stale => Body::Row(world.before.clone()),
        RequestBody::Read { .. } => Body::Row(world.row.clone()),
        RequestBody::Write(op) => Body::Outcome(Shared::new(service::write(world, context, op)?)),
    };
    Ok(Answer { body, date })
}

/// Abandons a request. If it is an unserved write, it may still be applied.
fn abandon(world: &mut World, flight: Option<&InFlight>) {
    if let Some(InFlight { request: RequestBody::Write(op), answer: None, .. }) = flight {
        world.left.late -= 1;
        world.late_requests.push(op.clone());
    }
}

fn release_guard(world: &mut World, context: &Context<'_>, i: u8, late: bool) {
    let task = world.tasks.remove(i.into()).clone_inner();
    abandon(world, task.flight.as_ref().filter(|_| late));
    context.release_guard(world, &task);
    let goes_on = world.quiescence.is_none() && context.mutant.is(Fault::ValidUntilReleased);
    if goes_on && matches!(task.state, TaskState::Held(_)) {
        world.tasks.push(Shared::new(Task { flight: None, ..task }));
    }
}

fn crash(world: &mut World, context: &Context<'_>, h: u8, late: bool) {
    world.left.crashes -= 1;
    let crashed: Vec<_> = world.tasks.extract_if(.., |task| task.host == h).collect();
    let write = crashed.iter().find(|task| is_unserved_write(task)).filter(|_| late);
    abandon(world, write.and_then(|task| task.flight.as_ref()));
    let service = (!context.config.dates.is_empty()).then(Default::default);
    world.host(h, |host| (host.watch, host.service) = (None, service));
}

/// Puts the row of a legacy client: a new item, on condition that the version is the one that the client has read.
fn legacy_put(world: &mut World, context: &Context<'_>) {
    let (Some(seen), Some(legacy)) = (world.legacy_seen.take(), context.config.legacy) else { return };
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
