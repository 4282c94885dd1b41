//! The table: one row, changed by the product's own `apply`, or by a mutant of it.

use dynamo_lock_protocol::{Op, OpKind, Outcome, Row, ServiceDate, Verdict, attr};

use super::{Config, Context, EPOCH_MS, Past, Shared, TaskState, World, driver::lease_id_of, entries, last_hold, once};

/// Description of a broken promise, in one sentence.
pub type Violation = String;

/// Applies a request to the row, and checks what the row may never do.
pub fn write(world: &mut World, context: &Context<'_>, op: &Op) -> Result<Outcome, Violation> {
    let before = world.row.as_deref().cloned();
    let stored = before.as_ref().map(last_hold::with_old_record);
    let mut verdict = match context.mutant.apply(stored.as_ref(), op) {
        Verdict::Applied(row) => {
            last_hold::check(world, context.config, stored.as_ref(), &row, op)?;
            Verdict::Applied(last_hold::without_record(row))
        }
        Verdict::Conflict(_) => Verdict::Conflict(before.clone()),
    };
    if let Verdict::Applied(row) = &mut verdict {
        make_hostile(row, op);
        note(world, before.as_ref(), op);
        entries::note(world, before.as_ref(), op);
        set_row(world, row.clone());
        check(world, before.as_ref(), op)?;
        entries::check_write(world, before.as_ref(), op)?;
        once::note(world, context.config, before.as_ref(), op)?;
    }
    Ok(verdict.outcome(op))
}

/// Attribute with the true time of the acquisition, for the checks.
pub const TRUE_ACQUIRED_ON: &str = "trueAcquiredOn";

/// Replaces the attributes from which waiters derive when to look, because any client with access to the table can write
/// them. They must not influence who may hold the lock. The values depend on the token alone, so that they do not
/// multiply the states.
fn make_hostile(row: &mut Row, op: &Op) {
    let is_lock = row.get(attr::V).is_some() && !entries::is_shared(row);
    let Some(token) = row.token().filter(|_| is_lock) else { return };
    let longest = ["9999999"; 16].join(" ");
    let (holds, waiters, handovers, acquired_on): (&str, u64, u64, u64) = match token.get() % 4 {
        0 => ("1 1 1", 100_000, 1, 0),
        1 => (&longest, 0, token.get() - 1, u64::MAX),
        2 => ("not numbers", 1 << 60, 1 << 50, EPOCH_MS + 500),
        _ => ("1000 1000 1000", 150, 1 << 40, EPOCH_MS),
    };
    row.set(attr::RECENT_HOLDS_MS, holds.into());
    row.set(attr::WAITER_ESTIMATE, waiters.into());
    if !matches!(op.kind, OpKind::HandOver { .. }) {
        row.set(attr::HANDOVERS, handovers.into()); // The checks compare the count before and after a handover.
    }
    if is_held(row) {
        row.set(attr::ACQUIRED_ON, acquired_on.into());
    }
    if let OpKind::Acquire(lease) | OpKind::TakeOver { lease, .. } | OpKind::StartAnew { lease, .. } = &op.kind {
        row.set(TRUE_ACQUIRED_ON, lease.acquired_on.into());
    }
}

/// Replaces the row.
pub fn set_row(world: &mut World, row: Row) {
    let before = world.row.replace(Shared::new(row));
    if world.left.stale > 0 {
        world.before = before;
    }
}

/// Deletes the table with its row. Promise C ends with it. Promise A ends for each holder until its next request.
pub fn delete_table(world: &mut World) {
    let entries = entries::parse(world.row.as_deref()).into_iter().flat_map(|row| row.entries);
    let mut deleted: Vec<_> = entries.map(|entry| entry.holder.lease_id.as_str().to_owned()).collect();
    let row = world.row.take();
    deleted.extend(row.and_then(|row| row.text(attr::LEASE_ID).map(str::to_owned)));
    deleted.extend(world.tasks.iter().filter_map(|task| match &task.state {
        TaskState::Held(held) => Some(lease_id_of(held)),
        TaskState::Release(release_task) => Some(release_task.lease_id.clone()),
        TaskState::Handover(task) => Some(task.lease_id.clone()),
        TaskState::Finish(task) => Some(task.lease_id.clone()),
        _ => None,
    }));
    deleted.extend(world.tasks.iter().filter_map(|task| match &task.state {
        TaskState::Handover(task) => Some(lease_id_of(&task.old)),
        _ => None,
    }));
    deleted.sort_unstable();
    deleted.dedup();
    (world.has_no_table, world.before) = (true, None);
    world.past = Past { deleted, legacy: world.past.legacy, ..Past::default() };
}

/// The `Date` of an answer given now, `off` seconds away from the service's own.
pub fn date(world: &World, config: &Config, off: Option<i64>) -> Option<ServiceDate> {
    let second = (EPOCH_MS + world.real_ms(config)) / 1000;
    off.map(|off| ServiceDate(second.saturating_add_signed(off)))
}

/// Returns the exact second if responses have a date.
pub fn exact(world: &World, config: &Config) -> Option<ServiceDate> {
    date(world, config, (!config.dates.is_empty()).then_some(0))
}

/// Returns whether the service may delete the row, because its `ttl` has passed.
pub fn is_purgeable(world: &World, config: &Config) -> bool {
    let second = (EPOCH_MS + world.real_ms(config)) / 1000;
    world.row.as_ref().and_then(|row| row.whole(attr::TTL)).is_some_and(|on| on < second)
}

pub fn is_held(row: &Row) -> bool {
    row.whole(attr::EXPIRES_ON).is_some_and(|at| at > 0)
}

/// Returns whether the row is held under this lease ID, and with this token if it is known.
pub fn is_held_by(world: &World, lease_id: &str, token: Option<u64>) -> bool {
    world.row.as_ref().is_some_and(|row| {
        let same = token.is_none_or(|token| row.whole(attr::TOKEN) == Some(token));
        same && is_held(row) && row.text(attr::LEASE_ID) == Some(lease_id)
    })
}

fn note(world: &mut World, before: Option<&Row>, op: &Op) {
    let token = before.and_then(|row| row.whole(attr::TOKEN));
    if let (OpKind::ForceRevoke { .. }, Some(token)) = (&op.kind, token) {
        world.past.forced = world.past.forced.max(token);
    }
    let list = match &op.kind {
        OpKind::Release { .. } | OpKind::HandOver { .. } => &mut world.past.released,
        OpKind::Revoke { .. } | OpKind::ForceRevoke { .. } => &mut world.past.revoked,
        _ => return,
    };
    list.extend(token);
    list.sort_unstable();
    list.dedup();
}

fn check(world: &World, before: Option<&Row>, op: &Op) -> Result<(), Violation> {
    let Some(row) = world.row.as_deref() else { return Ok(()) };
    let (old, new) = (before.and_then(|row| row.whole(attr::TOKEN)), row.whole(attr::TOKEN));
    if old > new {
        return Err("C: the row's token has fallen".into());
    }
    if let OpKind::Acquire(lease) | OpKind::TakeOver { lease, .. } | OpKind::StartAnew { lease, .. } = &op.kind {
        if old.is_some() && old == new {
            return Err("C: an acquisition has left the row's token as it was".into());
        }
        if before.is_some_and(|row| row.text(attr::LEASE_ID) == Some(lease.lease_id.as_str())) {
            return Err("E: an acquire was applied a second time, on the row that its own lease ID had left".into());
        }
    }
    if let (OpKind::HandOver { next, .. }, Some(before)) = (&op.kind, before) {
        check_handover(before, row, next.lease_id.as_str())?;
    }
    if matches!(op.kind, OpKind::ForceRevoke { .. }) && is_held(row) {
        return Err("D: a lock that was freed by force is not free".into());
    }
    if is_held(row) && new.is_some_and(|token| world.past.released.contains(&token)) {
        return Err("E: a released lease ID holds the row again".into());
    }
    Ok(())
}

/// Checks a handover, which other processes tell from an acquisition by the counter.
fn check_handover(before: &Row, row: &Row, lease_id: &str) -> Result<(), Violation> {
    let next = |name| before.whole(name).unwrap_or(0) + 1;
    if row.whole(attr::TOKEN) != Some(next(attr::TOKEN)) {
        return Err("C: a handover has not increased the row's token by one".into());
    }
    if row.whole(attr::HANDOVERS) != Some(next(attr::HANDOVERS)) {
        return Err("E: a handover was not counted".into());
    }
    if before.text(attr::LEASE_ID) == Some(lease_id) {
        return Err("E: a handover was applied a second time".into());
    }
    Ok(())
}
