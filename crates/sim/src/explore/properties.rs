//! Properties that hold in every state.

use dynamo_lock_protocol::attr;

use super::driver::{Context, letter};
use super::service::{self, Violation};
use super::world::{Machine, World};

/// The first property that a state goes against.
pub fn check(world: &World, context: &Context<'_>) -> Option<Violation> {
    validities(world, context).or_else(|| left_behind(world, context))
}

/// A: one live guard at most, those aside that were freed by force. C: none with a token below one that was reported since.
fn validities(world: &World, context: &Context<'_>) -> Option<Violation> {
    let (mut live, mut outdated) = (0, false);
    for agent in &world.agents {
        let Machine::Held(held) = &agent.machine else { continue };
        let forced = held.token().get() <= world.past.forced;
        if forced || !held.clone().is_valid(context.agent_clock(world, agent)) {
            continue;
        }
        live += 1;
        if live > 1 {
            return Some("A: two guards believe".into());
        }
        outdated |= held.token().get() < world.past.reported;
    }
    outdated.then(|| "C: a guard believes though an acquisition after its own was reported, and has ended".into())
}

/// Returns whether a request went astray or a host crashed, because a row may be left behind then.
pub fn is_astray(world: &World, context: &Context<'_>) -> bool {
    let (left, all) = (&world.left, &context.config.budget);
    let differs =
        (left.unknown, left.late, left.copies, left.crashes) != (all.unknown, all.late, all.copies, all.crashes);
    world.calm.map_or(differs, |calm| calm.astray)
}

/// E: a client without any task holds nothing, unless a request went astray, it crashed, or its lease was revoked.
fn left_behind(world: &World, context: &Context<'_>) -> Option<Violation> {
    let row = world
        .row
        .as_deref()
        .filter(|row| !is_astray(world, context) && service::is_held(row) && world.past.revoked.is_empty())?;
    let owner = row.text(attr::OWNER)?;
    let is_idle = |host: u8| !world.agents.iter().any(|agent| agent.host == host);
    let forgets = |host: u8| world.calm.is_some() && context.client(host).hold_ms.is_some();
    let host = (0..world.hosts.len() as u8).find(|host| letter(*host) == owner && is_idle(*host) && !forgets(*host))?;
    Some(format!("E: {} does nothing any more, no request went astray, and the row is still its own", letter(host)))
}
