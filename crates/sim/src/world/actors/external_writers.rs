//! Other writers of the rows: legacy clients, an operator, and DynamoDB's TTL.

use std::{sync::Arc, time::Duration};

use dynamo_lock::store::{StoreErrorCause, Value};
use dynamo_lock::{Client, LegacyError, LockName, RevokeError};
use dynamo_lock_protocol::{Row, attr};
use tokio::time::sleep;

use crate::mutants::Fault;
use crate::world::{Process, World, actors::worker::lock_name, lock, show};
use test_support::Rng;

/// Upper bound of the offset of a legacy client's wall clock from the service's time.
pub const LEGACY_SKEW_MS: i64 = 2000;

/// Runs a legacy client. It reads a row and, if the row has expired, later puts a whole new row on the condition that
/// the version is still the same. Its reads are eventually consistent, and it may be paused in between.
pub async fn run_legacy_client(world: Arc<World>, mut rng: Rng) {
    let wall = world.plan.legacy_wall.unwrap_or_else(|| rng.signed(LEGACY_SKEW_MS));
    let longest = world.plan.legacy_longest();
    while !world.is_stopping() {
        sleep(rng.up_to(longest)).await;
        let name = LockName::new(lock_name(rng.range(1..=world.plan.locks as u64))).expect("the name is valid");
        let stale = rng.up_to(world.plan.stale);
        let seen = world.row(&name, stale);
        let now = world.epoch_ms().saturating_add_signed(wall);
        let expires = seen.as_ref().and_then(|row| row.number(attr::EXPIRES_ON)?.parse_int()).unwrap_or(0);
        if expires > now as i64 {
            world.count("legacy client finds it held");
            continue;
        }
        if rng.chance(200) {
            sleep(rng.up_to(world.plan.longest * 3)).await;
        } else {
            sleep(rng.ms(1..=20)).await;
        }
        if world.is_stopping() {
            return;
        }
        let length = rng.range(0..=longest.as_millis() as u64);
        let mut row = Row::default();
        row.set(attr::GUID, format!("{:032x}", rng.bits()).as_str().into());
        row.set(attr::EXPIRES_ON, Value::from(now + length));
        put(&world, &name, seen.as_ref(), row);
    }
}

/// Runs a client of this library that uses `legacy_get`. Its results must be true whatever happened to the requests.
pub async fn run_legacy_get(process: Arc<Process>, client: Client) {
    let world = process.world.clone();
    let longest = world.plan.legacy_longest();
    while !world.is_stopping() {
        let (rest, index) = process.draw(|rng| (rng.up_to(longest), rng.range(1..=world.plan.locks as u64)));
        process.sleep(rest).await;
        let name = lock_name(index);
        let length = process.draw(|rng| rng.range(0..=longest.as_millis() as u64)) as i64;
        let drop_after = process.draw(|rng| rng.chance(world.plan.drops).then(|| rng.up_to(world.plan.longest)));
        let handle = client.lock(name.as_str()).expect("the name is valid");
        process.record_other_work();
        let before = lock(&world.table).single_writes.get(&process.id).map_or(0, Vec::len);
        let answer = tokio::select! {
            biased;
            answer = handle.legacy_get(length) => answer,
            () = process.sleep(drop_after.unwrap_or(Duration::MAX)) => {
                world.count("legacy get dropped");
                continue;
            }
        };
        let table = lock(&world.table);
        let legacy_puts = table.single_writes.get(&process.id).map_or(&[][..], |legacy_puts| &legacy_puts[before..]);
        let applied = legacy_puts.iter().any(|put| put.applied);
        let version = table.locks.get(&name).and_then(|entry| entry.row.as_ref()?.text(attr::GUID));
        let there = legacy_puts.iter().any(|put| Some(put.version.as_str()) == version);
        let many = legacy_puts.len();
        drop(table);
        world.trace(|| format!("{process:?} {name} legacy get for {length} ms: {answer:?}"));
        world.check(many <= 1, "E (legacy)", || format!("{name}: one legacy_get sent {many} puts"));
        match answer {
            Ok(()) => {
                world.count("legacy get Ok");
                world.check(applied, "E (legacy)", || {
                    format!("{name}: legacy_get returned Ok, but its put was not applied")
                });
            }
            Err(LegacyError::Held { .. }) => {
                world.count("legacy get Held");
                world.check(many == 0, "E (legacy)", || format!("{name}: legacy_get returned Held, but sent a put"));
            }
            Err(LegacyError::Lost) => {
                world.count("legacy get Lost");
                world.check(!there, "E (legacy)", || format!("{name}: legacy_get returned Lost, but has the lock"));
            }
            Err(_) => world.count("legacy get unknown"),
        }
    }
}

fn put(world: &World, name: &LockName, seen: Option<&Row>, row: Row) {
    let time = world.time();
    let mut table = lock(&world.table);
    let entry = table.locks.entry(name.as_str().to_owned()).or_default();
    let same = entry.row.as_ref().map(|row| row.version()) == seen.map(Row::version);
    let native = entry.row.as_ref().is_some_and(|row| row.get(attr::V).is_some());
    let held = entry.row.as_ref().is_some_and(|row| row.whole(attr::EXPIRES_ON).is_some_and(|ends| ends > 0));
    let shown = show(Some(&row));
    if same {
        world.mirror_row(name.as_str(), Some(&row));
        entry.put(time, Some(row));
    }
    drop(table);
    world.trace(|| format!("legacy {name} put {shown}: {}", if same { "applied" } else { "refused" }));
    world.count(match (same, native, held) {
        (false, ..) => "legacy put refused",
        (true, true, true) => "legacy overwrites a held row",
        (true, true, false) => "legacy overwrites a free row",
        (true, false, _) => "legacy put of a legacy row",
    });
}

/// Runs an operator, who revokes leases now and then, some of them by force.
pub async fn run_operator(process: Arc<Process>, client: Client) {
    let world = process.world.clone();
    while !world.is_stopping() {
        let (rest, force) = process.draw(|rng| (rng.up_to(world.plan.longest * 4), rng.chance(150)));
        process.sleep(rest).await;
        let name = lock_name(process.draw(|rng| rng.range(1..=world.plan.locks as u64)));
        let token = lock(&world.table).locks.get(&name).and_then(|entry| entry.row.as_ref()?.token());
        let Some(token) = token else { continue };
        let handle = client.lock(name.as_str()).expect("the name is valid");
        let before = lock(&world.table).single_writes.get(&process.id).map_or(0, Vec::len);
        let revoking = async { if force { handle.force_revoke(token).await } else { handle.revoke(token).await } };
        let answer = process.or_given_up(Fault::RefusalEndsRevoke, revoking).await;
        let answer = match answer {
            Err(RevokeError::Ended { .. }) if world.mutant.is(Fault::EndedRevokeIsOk) => Ok(()),
            answer => answer,
        };
        let what = if force { "force revoke" } else { "revoke" };
        // The text of the whole error contains the ID of this process.
        world.trace(|| match &answer {
            Ok(()) => format!("{process:?} {name} {what} of {token}: done"),
            Err(error) => format!("{process:?} {name} {what} of {token}: {error}"),
        });
        let (held, revoked, applied) = {
            let table = lock(&world.table);
            let mut writes = table.single_writes.get(&process.id).into_iter().flatten().skip(before);
            let entry = table.locks.get(&name);
            let acquisition = entry.and_then(|entry| entry.acquisitions.get(&token.get()));
            // The lease ID that an operator's write leaves belongs to no acquisition.
            (
                entry.is_some_and(|entry| entry.is_held_by(token.get())),
                acquisition.is_none_or(|acquisition| acquisition.revoked),
                writes.any(|write| write.applied),
            )
        };
        let ended = |how: &str| {
            world.check(!held, "E (revoke)", || format!("{name}: reported as {how}, but {token} still holds it"))
        };
        match answer {
            Ok(()) => {
                world.count(if force { "force revoke Ok" } else { "revoke Ok" });
                ended("revoked");
                world.check(revoked, "E (revoke)", || {
                    format!("{name}: reported as revoked, but no revocation of {token} was applied")
                });
            }
            Err(RevokeError::Ended { .. }) => {
                world.count("revoke Ended");
                ended("ended");
            }
            Err(RevokeError::Store(error)) => {
                world.count("revoke refused");
                // A deleted table contains no lease, so it does not matter whether an earlier attempt was applied.
                let is_deleted = error.cause() == Some(StoreErrorCause::MissingTable);
                world.check(!applied || is_deleted, "E (revoke)", || {
                    format!("{name}: {token} was revoked, but reported: {error}")
                });
            }
            Err(_) => world.count("revoke unknown"),
        }
    }
}

/// Deletes the rows whose `ttl` has passed, as DynamoDB does. No held row may be among them.
pub fn purge(world: &World) {
    let (time, second) = (world.time(), world.epoch_ms() / 1000);
    for (name, entry) in &mut lock(&world.table).locks {
        let due = |row: &Row| row.whole(attr::TTL).is_some_and(|on| on < second);
        if entry.row.as_ref().is_some_and(due) {
            entry.put(time, None);
            world.mirror_row(name, None);
            world.trace(|| format!("ttl deletes {name}"));
            world.count("ttl deletion");
        }
    }
}

impl World {
    /// Checks that an acquisition waited at most for the row's lease, a poll, and the staleness of reads (D), if this
    /// world has no network faults.
    pub fn check_wait(&self, name: &LockName, began: Duration, lease: Duration) {
        if !self.plan.fault_free {
            return;
        }
        let prior = lock(&self.table).locks.get(name.as_str()).map_or_else(Default::default, |entry| entry.prior);
        let waited = self.time().saturating_sub(prior.0.max(began));
        let round_trips = Duration::from_millis(self.plan.latency * 12);
        // The longest pause of a client with this lease: in a crowd it may be a tenth of the lease.
        let crowded = (lease / 10).min(Duration::from_secs(2));
        let poll = (lease / 20).min(Duration::from_secs(1)).max(crowded).max(Duration::from_millis(250));
        let most = prior.1 * 1011 / 1000 + poll * 1011 / 1000 + self.plan.stale + round_trips;
        self.check(waited <= most, "D (waiting)", || {
            format!("{name}: waited for {waited:?}, at most {most:?} are allowed")
        });
    }
}
