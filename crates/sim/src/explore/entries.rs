//! Shared rows: the facts about their entries, and the properties of guards that hold them.

use dynamo_lock_protocol::{
    AcquireEnd, Convert, Held, Kind, LeaseId, LossReason, Op, OpKind, RecordVersion, ReleaseEnd, Role, Row,
    SharedEntry, SharedOp, SharedRow, SharedWrite, attr,
};

use super::{
    Client, Context, Shared, Task, TaskState, Violation, World,
    driver::{EntropyUse, lease_id_of, name},
    letter, properties, service,
};

/// Kinds of rows, in the order of [`Action::Convert`](super::actions::Action::Convert).
pub const KINDS: [Kind; 3] = [Kind::Mutex, Kind::Semaphore, Kind::RwLock];

/// Facts of the past about the entries of a shared row. Lease IDs stay for as long as a task may need them.
#[derive(Clone, Debug, Default, Hash)]
pub struct EntryFacts {
    /// Lease IDs with an applied leave.
    pub left: Vec<String>,
    /// Lease IDs that an operator revoked.
    pub revoked: Vec<String>,
    /// Lease IDs that an operator forced out. They are exempt from A.
    pub forced: Vec<String>,
    /// The largest token that an acquisition reported.
    pub token: u64,
    /// The largest token that the acquisition of a writer reported.
    pub writer_token: u64,
}

impl EntryFacts {
    /// Forgets lease IDs that no task needs.
    pub fn forget(&mut self, tasks: &[Shared<Task>]) {
        let has_task = |lease_id: &String| tasks.iter().any(|task| host_of(lease_id) == Some(task.host));
        let is_released = |lease_id: &String| {
            tasks.iter().any(|task| matches!(&task.state, TaskState::Release(release) if release.lease_id == *lease_id))
        };
        self.left.retain(is_released);
        self.revoked.retain(has_task);
        self.forced.retain(has_task);
    }
}

/// Returns the host whose random bits a lease ID is.
fn host_of(lease_id: &str) -> Option<u8> {
    let bits = u128::from_str_radix(lease_id, 16).ok()?;
    u8::try_from(bits >> 96).ok()?.checked_sub(1)
}

fn insert(list: &mut Vec<String>, lease_id: &LeaseId) {
    if let Err(at) = list.binary_search_by(|known| known.as_str().cmp(lease_id.as_str())) {
        list.insert(at, lease_id.as_str().to_owned());
    }
}

/// Returns the meaning of a shared row, `None` for any other row.
pub fn parse(row: Option<&Row>) -> Option<SharedRow> {
    let row = row?;
    [Kind::Semaphore, Kind::RwLock].into_iter().find_map(|kind| row.shared(kind).ok())
}

/// Returns whether this is the row of a semaphore or a read/write lock.
pub fn is_shared(row: &Row) -> bool {
    row.text(attr::KIND).is_some_and(|kind| kind == attr::SEMAPHORE || kind == attr::RW_LOCK)
}

/// Returns whether the row is of another kind than this client acquires. `plain` is the kind of the other locks.
pub fn is_of_other_kind(world: &World, client: &Client, plain: Kind) -> bool {
    let requested = client.access.map_or(plain, |access| access.kind());
    let found = world.row.as_deref().and_then(|row| row.text(attr::KIND));
    world.row.is_some() && found != requested.value()
}

/// Notes a write that was applied to the row `before`.
pub fn note(world: &mut World, before: Option<&Row>, op: &Op) {
    let before = parse(before);
    let was_there = |lease_id| before.as_ref().is_some_and(|row| row.entry(lease_id).is_some());
    let facts = &mut world.past.entries;
    let OpKind::Shared(SharedWrite { op, .. }) = &op.kind else { return };
    match op {
        SharedOp::Leave { holder } if was_there(&holder.lease_id) => insert(&mut facts.left, &holder.lease_id),
        SharedOp::Revoke { holder } => insert(&mut facts.revoked, &holder.lease_id),
        SharedOp::ForceOut { holder } => insert(&mut facts.forced, &holder.lease_id),
        _ => {}
    }
}

/// Checks a write that was applied to the row `before`: the row was of its kind, the lease of a revoked entry is not
/// extended, the renewal number of an entry never becomes smaller, a writer holds the lock alone, and no entry is
/// revoked, changed or removed besides the one that the write names.
pub fn check_write(world: &World, before: Option<&Row>, op: &Op) -> Result<(), Violation> {
    let kind = op.row_kind;
    let OpKind::Shared(SharedWrite { op, .. }) = &op.kind else { return Ok(()) };
    let added = match op {
        SharedOp::Join { entry, .. } | SharedOp::TakeExclusive { entry } | SharedOp::Announce { entry } => {
            Some(entry.lease_id.as_str())
        }
        _ => None,
    };
    if added.is_some_and(|added| world.past.entries.forced.iter().any(|forced| forced == added)) {
        return Err("E: a holder that was forced out is added again".into());
    }
    let (extended, removed) = match op {
        SharedOp::Promote { lease_id, .. } => (Some(lease_id), None),
        SharedOp::Renew { holder, .. } => (Some(&holder.lease_id), None),
        SharedOp::Leave { holder } | SharedOp::Evict { holder, .. } | SharedOp::ForceOut { holder } => {
            (None, Some(&holder.lease_id))
        }
        _ => (None, None),
    };
    if extended.is_some_and(|id| world.past.entries.revoked.iter().any(|revoked| revoked == id.as_str())) {
        return Err("E: the lease of a revoked entry is extended".into());
    }
    let kind_before = before.and_then(|row| row.text(attr::KIND));
    if before.is_some() && kind_before != kind.value() {
        return Err("E: a write changes a row of another kind".into());
    }
    let (Some(before), Some(after)) = (parse(before), parse(world.row.as_deref())) else { return Ok(()) };
    if extended.is_some_and(|lease_id| after.entry(lease_id).is_none()) {
        return Err("E: a write extends the lease of another holder".into());
    }
    let is_back = |entry: &SharedEntry| {
        before.entry(&entry.holder.lease_id).is_some_and(|before| entry.renewal_seq < before.renewal_seq)
    };
    if after.entries.iter().any(is_back) {
        return Err("E: a write makes the renewal number of an entry smaller".into());
    }
    let revoked = if let SharedOp::Revoke { holder } = op { Some(&holder.lease_id) } else { None };
    let is_revoked = |entry: &SharedEntry| {
        let lease_id = &entry.holder.lease_id;
        entry.revoked && revoked != Some(lease_id) && before.entry(lease_id).is_none_or(|before| !before.revoked)
    };
    if after.entries.iter().any(is_revoked) {
        return Err("E: a write revokes another holder".into());
    }
    let has_writer = after.entries.iter().any(|entry| entry.holder.role == Role::Exclusive);
    if has_writer && after.entries.len() > 1 {
        return Err("E: a writer's entry holds the lock beside others".into());
    }
    let is_lost = |entry: &SharedEntry| {
        let lease_id = &entry.holder.lease_id;
        removed != Some(lease_id) && after.entry(lease_id).is_none()
    };
    match before.entries.iter().any(is_lost) {
        true => Err("E: a write removes the entry of another holder".into()),
        false => Ok(()),
    }
}

/// A guard that is valid.
struct ValidGuard {
    is_exclusive: bool,
    /// Whether its token orders it.
    is_ordered: bool,
    limit: u64,
    token: u64,
}

fn guard(client: &Client, held: &Held) -> ValidGuard {
    let (is_exclusive, kind, limit) = match client.access {
        Some(access) => (access.is_exclusive(), access.kind(), access.limit()),
        None => (true, Kind::Mutex, 1),
    };
    ValidGuard { is_exclusive, is_ordered: kind != Kind::Semaphore, limit, token: held.token().get() }
}

fn valid_guards(world: &World, context: &Context<'_>) -> Vec<ValidGuard> {
    let valid = |task: &Shared<Task>| {
        let TaskState::Held(held) = &task.state else { return None };
        let lease_id = lease_id_of(held);
        let is_exempt = world.past.entries.forced.contains(&lease_id) || world.past.deleted.contains(&lease_id);
        let is_valid = !is_exempt && held.clone().is_valid(context.task_clock(world, task));
        is_valid.then(|| guard(context.client(task.host), held))
    };
    world.tasks.iter().filter_map(valid).collect()
}

/// Checks that no more guards are valid than the largest limit of those that are, and no writer beside another (A). A
/// guard that is valid has no token below one that was reported later (C).
pub fn validities(world: &World, context: &Context<'_>) -> Option<Violation> {
    let valid = valid_guards(world, context);
    if valid.len() > 1 && valid.iter().any(|guard| guard.is_exclusive) {
        return Some("A: a guard is valid beside a writer".into());
    }
    let limit = valid.iter().map(|guard| guard.limit).max().unwrap_or(u64::MAX);
    if valid.len() as u64 > limit {
        return Some(format!("A: {} guards are valid, and {limit} may be", valid.len()));
    }
    let facts = &world.past.entries;
    let is_outdated = |guard: &ValidGuard| {
        let reported = if guard.is_exclusive { facts.token } else { facts.writer_token };
        guard.is_ordered && guard.token < reported
    };
    let outdated = valid.iter().any(is_outdated);
    outdated.then(|| "C: a guard is valid although a later acquisition was reported and has ended".into())
}

/// Notes that a guard is reported. The token of a writer is greater than all that were reported, and that of a reader
/// greater than those of writers (C).
pub fn report(world: &mut World, context: &Context<'_>, host: u8, held: &Held) -> Option<Violation> {
    let guard = guard(context.client(host), held);
    let facts = &mut world.past.entries;
    if !guard.is_ordered || facts.forced.contains(&lease_id_of(held)) {
        return None;
    }
    let before = if guard.is_exclusive { facts.token } else { facts.writer_token };
    facts.token = facts.token.max(guard.token);
    if guard.is_exclusive {
        facts.writer_token = facts.writer_token.max(guard.token);
    }
    let repeats = guard.token <= before;
    repeats.then(|| "C: an acquisition is reported with a token that is not above an earlier one".into())
}

/// Returns the host of the client that has written an entry.
fn owner(world: &World, entry: &SharedEntry) -> Option<u8> {
    (0..world.hosts.len() as u8).find(|host| entry.owner.as_deref() == Some(&letter(*host)))
}

/// Returns whether a task holds or removes an entry of this host.
fn is_guarded(world: &World, host: u8, entry: &SharedEntry) -> bool {
    let lease_id = entry.holder.lease_id.as_str();
    world.tasks.iter().filter(|task| task.host == host).any(|task| match &task.state {
        TaskState::Held(held) | TaskState::Renewing(held) => lease_id_of(held) == lease_id,
        TaskState::Release(release) => release.lease_id == lease_id,
        _ => false,
    })
}

/// Checks that each entry has a task that holds it, removes it, or acquires (E), unless a request was lost or a client
/// has crashed.
pub fn orphan(world: &World, context: &Context<'_>) -> Option<Violation> {
    let row = parse(world.row.as_deref()).filter(|_| !properties::may_orphan(world, context))?;
    let acquires = |host: u8| {
        let is_acquiring = |state: &TaskState| matches!(state, TaskState::Acquire(_) | TaskState::Dropped(_));
        world.tasks.iter().any(|task| task.host == host && is_acquiring(&task.state))
    };
    let is_orphan = |entry: &&SharedEntry| {
        owner(world, entry).is_some_and(|host| !acquires(host) && !is_guarded(world, host, entry))
    };
    let entry = row.entries.iter().find(is_orphan)?;
    let owner = entry.owner.clone().unwrap_or_default();
    Some(format!("E: no task of {owner} has its entry, and no request was lost"))
}

/// Checks that an acquisition that reports a failure has left no entry that holds the row and is still valid (E).
pub fn check_failure(world: &World, context: &Context<'_>, host: u8, end: &AcquireEnd) -> Option<Violation> {
    let row = parse(world.row.as_deref())?;
    let passed = |since: u64| context.clock(world, host).wall_ms.saturating_sub(since);
    let is_left = |entry: &SharedEntry| {
        let lease_ms = entry.lease.as_millis() as u64;
        let is_valid = passed(entry.acquired_on.unwrap_or(0)) < lease_ms - lease_ms / 100 - 10;
        let holds_row = entry.holder.role != Role::Waiting && !entry.revoked;
        owner(world, entry) == Some(host) && holds_row && is_valid && !is_guarded(world, host, entry)
    };
    let is_left = row.entries.iter().any(is_left);
    is_left.then(|| format!("E: {} reports {end:?}, and its entry is valid", letter(host)))
}

/// Checks that the result of the release of a guard is true (E).
pub fn check_result(world: &World, lease_id: &str, was_lost: bool, end: ReleaseEnd) -> Option<Violation> {
    let facts = &world.past.entries;
    let is_in = |list: &[String]| list.iter().any(|known| known == lease_id);
    let applied = is_in(&facts.left);
    match end {
        _ if is_in(&world.past.deleted) => None,
        ReleaseEnd::Released if !applied => {
            Some("E: a release returned Released, and none of its tries was applied".into())
        }
        ReleaseEnd::Lost(loss) if applied && !was_lost => {
            Some(format!("E: a release returned Lost({loss:?}), and it was applied (lesson 33)"))
        }
        ReleaseEnd::Lost(LossReason::Revoked) if !is_in(&facts.revoked) && !is_in(&facts.forced) => {
            Some("E: a release returned a revocation that did not happen".into())
        }
        ReleaseEnd::Refused if applied => Some("E: a release returned a refusal, and it was applied".into()),
        _ => None,
    }
}

/// Checks that a clean-up that has ended has left no entry (E), unless an earlier request may be applied late.
pub fn check_clean_up(world: &World, context: &Context<'_>, lease_id: &str, end: ReleaseEnd) -> Option<Violation> {
    let (left, all) = (&world.left, &context.config.budget);
    let is_certain = end == ReleaseEnd::Released && (left.late, left.copies) == (all.late, all.copies);
    let row = parse(world.row.as_deref()).filter(|_| is_certain && world.quiescence.is_none())?;
    let is_left = row.entry(&LeaseId::from(lease_id)).is_some();
    is_left.then(|| "E: a clean-up has ended, and its entry is still in the row".into())
}

/// Checks that a guard that newly reports this loss does not hold the row any more (E).
pub fn check_loss(world: &World, held: &Held, loss: LossReason) -> Result<(), Violation> {
    let (facts, lease_id) = (&world.past.entries, lease_id_of(held));
    let is_there = |row: SharedRow| row.entry(held.lease_id()).is_some_and(|entry| !entry.revoked);
    if parse(world.row.as_deref()).is_some_and(is_there) {
        return Err(format!("E: a guard reports {loss:?} while its entry is in the row"));
    }
    let is_revoked = facts.revoked.contains(&lease_id) || facts.forced.contains(&lease_id);
    if loss == LossReason::Revoked && !is_revoked {
        return Err("E: a guard reports a revocation that did not happen".into());
    }
    Ok(())
}

/// Checks that the service does not delete a row with a valid entry.
pub fn check_purge(world: &World, context: &Context<'_>) -> Result<(), Violation> {
    match valid_guards(world, context).is_empty() {
        true => Ok(()),
        false => Err("T: the service deletes a row with a valid entry".into()),
    }
}

impl Context<'_> {
    /// Sends the write with which an operator revokes the holder of an entry or forces it out, after reading the row.
    pub fn operate(&self, world: &mut World, entry: u8, force: bool) {
        let Some(row) = parse(world.row.as_deref()) else { return };
        let holder = row.entries[usize::from(entry)].holder.clone();
        let op = if force { SharedOp::ForceOut { holder } } else { SharedOp::Revoke { holder } };
        self.send_as_operator(world, row.kind, OpKind::Shared(SharedWrite { ttl: None, op }));
    }

    /// Sends the write that makes the row, which is free, a row of another kind.
    pub fn convert(&self, world: &mut World, to: Kind) {
        let Some((seen, seen_token)) = world.row.as_deref().and_then(|row| row.version().zip(row.token())) else {
            return;
        };
        let lease_id = LeaseId::from_random(u128::from(world.hosts[0].used));
        self.send_as_operator(world, to, OpKind::Convert(Convert { seen, seen_token, lease_id, ttl: None }));
    }

    /// Sends a write whose result no client needs. It may be applied at any time.
    fn send_as_operator(&self, world: &mut World, row_kind: Kind, kind: OpKind) {
        let at = self.clock(world, 0);
        let op = self.call(world, 0, at, EntropyUse::Revoke, |now| Op {
            name: name(),
            row_kind,
            version: RecordVersion::from_random(now.entropy.version),
            kind,
        });
        world.host(0, |me| me.used += 1);
        world.late_requests.push(Shared::new(op));
    }
}

/// Returns whether a row is free, so that it may be converted.
pub fn is_free(row: &Row) -> bool {
    parse(Some(row)).map_or(!is_shared(row) && !service::is_held(row), |row| row.entries.is_empty())
}
