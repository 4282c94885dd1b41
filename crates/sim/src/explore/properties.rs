//! Properties that hold in every state.

use dynamo_lock_protocol::attr;

use super::{Context, TaskState, Violation, World, letter, service};

/// Returns the first property that a state violates.
pub fn check(world: &World, context: &Context<'_>) -> Option<Violation> {
    validities(world, context).or_else(|| orphaned_lease(world, context))
}

/// Checks that at most one guard is valid (A), and none with a token below one that was reported later (C). Forced
/// revocations are exempt.
fn validities(world: &World, context: &Context<'_>) -> Option<Violation> {
    let (mut valid, mut outdated) = (0, false);
    for task in &world.tasks {
        let TaskState::Held(held) = &task.state else { continue };
        let forced = held.token().get() <= world.past.forced;
        if forced || !held.clone().is_valid(context.task_clock(world, task)) {
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

/// Returns whether a request was lost or a host crashed, because a lease may be orphaned then.
pub fn may_orphan(world: &World, context: &Context<'_>) -> bool {
    let (left, all) = (&world.left, &context.config.budget);
    let differs =
        (left.unknown, left.late, left.copies, left.crashes) != (all.unknown, all.late, all.copies, all.crashes);
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
