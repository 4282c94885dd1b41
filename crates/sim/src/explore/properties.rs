//! Properties that hold in every state.

use dynamo_lock_protocol::{AcquireEnd, ReleaseEnd, attr};

use crate::mutants::Fault;

use super::{
    Budget, Context, ReleaseTask, Task, TaskState, Violation, World, driver::lease_id_of, entries, letter, service,
};

/// Returns the first property that a state violates.
pub fn check(world: &World, context: &Context<'_>) -> Option<Violation> {
    if context.config.is_shared() {
        return entries::validities(world, context).or_else(|| entries::orphan(world, context));
    }
    validities(world, context).or_else(|| orphaned_lease(world, context))
}

/// Checks that at most one guard is valid (A), and none with a token below one that was reported later (C). Forced
/// revocations are exempt, and so is a holder that has not received that its table was deleted.
fn validities(world: &World, context: &Context<'_>) -> Option<Violation> {
    let (mut valid, mut outdated) = (0, false);
    for task in &world.tasks {
        let held = match &task.state {
            TaskState::Held(held) => held,
            TaskState::Handover(task) if context.mutant.is(Fault::ValidUntilHandedOver) => &task.old,
            _ => continue,
        };
        let forced = held.token().get() <= world.past.forced;
        let deleted = world.past.deleted.contains(&lease_id_of(held));
        if forced || deleted || !held.clone().is_valid(context.task_clock(world, task)) {
            continue;
        }
        valid += 1;
        if valid > 1 {
            return Some("A: two guards are valid".into());
        }
        outdated |= held.token().get() < world.past.reported;
    }
    outdated.then(|| "C: a guard is valid although a later acquisition was reported and has ended".into())
}

/// Returns whether a request was lost or refused or a host crashed, because a lease may be orphaned then.
pub fn may_orphan(world: &World, context: &Context<'_>) -> bool {
    let (left, all) = (&world.left, &context.config.budget);
    let faults = |budget: &Budget| budget.unknown + budget.late + budget.copies + budget.crashes + budget.refusals;
    let differs = faults(left) + world.past.handover_faults != faults(all);
    world.quiescence.map_or(differs, |quiescence| quiescence.may_orphan)
}

/// Checks that a client without a task holds nothing (E), unless a request was lost, it crashed, or its lease was
/// revoked.
fn orphaned_lease(world: &World, context: &Context<'_>) -> Option<Violation> {
    let row = world
        .row
        .as_deref()
        .filter(|row| !may_orphan(world, context) && service::is_held(row) && world.past.revoked.is_empty())?;
    let owner = row.text(attr::OWNER)?;
    let is_idle = |host: u8| !world.tasks.iter().any(|task| task.host == host);
    let forgets = |host: u8| world.quiescence.is_some() && context.client(host).hold_ms.is_some();
    let host = (0..world.hosts.len() as u8).find(|host| letter(*host) == owner && is_idle(*host) && !forgets(*host))?;
    Some(format!("E: {} has no task, no request was lost, and the row still has its lease", letter(host)))
}

/// Checks that an acquisition that reports a failure has not left a lease that is still valid (E).
pub fn check_failure(world: &World, context: &Context<'_>, host: u8, end: &AcquireEnd) -> Option<Violation> {
    let (left, all) = (&world.left, &context.config.budget);
    let others = |budget: &Budget| (budget.late, budget.copies, budget.drops, budget.crashes);
    // A lost hold is reported as lost. Late and repeated requests leave orphaned leases.
    if matches!(end, AcquireEnd::Lost { .. }) || others(left) != others(all) || !world.past.revoked.is_empty() {
        return None;
    }
    if context.config.is_shared() {
        return entries::check_failure(world, context, host, end);
    }
    let row =
        world.row.as_deref().filter(|row| service::is_held(row) && row.text(attr::OWNER) == Some(&letter(host)))?;
    let (lease_ms, acquired_on) = (row.whole(attr::LEASE_MS)?, row.whole(service::TRUE_ACQUIRED_ON)?);
    let passed = context.clock(world, host).wall_ms.saturating_sub(acquired_on);
    let is_valid = row.whole(attr::TOKEN) > Some(world.past.reported) && passed < lease_ms - lease_ms / 100 - 10;
    is_valid.then(|| format!("E: {} reports {end:?}, and its lease is valid", letter(host)))
}

/// Checks that the result of a release is true (E), and that it is retried until its lease ends.
pub fn check_release(world: &World, context: &Context<'_>, task: &Task, end: ReleaseEnd) -> Option<Violation> {
    let TaskState::Release(ReleaseTask { token, was_lost, lease_id, until, .. }) = &task.state else { return None };
    let at = context.task_clock(world, task);
    if end == ReleaseEnd::Refused && until.is_some_and(|until| !until.passed(at)) {
        return Some("E: a release was given up before its lease ended".into());
    }
    if token.is_none() {
        return entries::check_clean_up(world, context, lease_id, end);
    }
    let token = (*token)?;
    match context.client(task.host).access {
        Some(_) => entries::check_result(world, lease_id, *was_lost, end),
        None => check_result(world, token, lease_id, *was_lost, end),
    }
}

/// Checks that the result of the release of a guard is true (E).
pub fn check_result(world: &World, token: u64, lease_id: &str, was_lost: bool, end: ReleaseEnd) -> Option<Violation> {
    // The meaning of a lost response follows from A, which a deleted table and a forced revocation break.
    if world.past.deleted.iter().any(|deleted| deleted == lease_id) {
        return None;
    }
    let (applied, forced) = (world.past.released.contains(&token), token <= world.past.forced);
    match end {
        ReleaseEnd::Released if !applied && !forced => {
            Some("E: a release returned Released, and none of its tries was applied".into())
        }
        ReleaseEnd::Lost(loss) if applied && !was_lost => {
            Some(format!("E: a release returned Lost({loss:?}), and it was applied (lesson 33)"))
        }
        ReleaseEnd::Refused if applied => Some("E: a release returned a refusal, and it was applied".into()),
        _ => None,
    }
}
