//! Who else touches the rows: clients of the original protocol, an operator, DynamoDB's TTL.

use std::sync::Arc;
use std::time::Duration;

use dynamo_lock::store::Value;
use dynamo_lock::{Client, LegacyError, LockName, RevokeError};
use dynamo_lock_protocol::{Row, attr};
use tokio::time::sleep;

use super::actors::lock_name;
use super::dice::Dice;
use super::host::Host;
use super::store::show;
use super::{World, lock};
use crate::mutants::Fault;

/// As far as the wall clock of a legacy client may be from the service's time.
pub const LEGACY_SKEW_MS: i64 = 2000;

/// A client of the original protocol: reads, and later puts a whole new row if it saw the old one expired, on condition
/// that its `version` is still the same. Its reads are eventually consistent, and it may be paused in between.
pub async fn legacy(world: Arc<World>, mut dice: Dice) {
    let wall = world.plan.legacy_wall.unwrap_or_else(|| dice.signed(LEGACY_SKEW_MS));
    let longest = world.plan.legacy_longest();
    while !world.is_stopping() {
        sleep(dice.upto(longest)).await;
        let name = LockName::new(lock_name(dice.range(1..=world.plan.locks as u64))).expect("a name");
        let stale = dice.upto(world.plan.stale);
        let seen = world.row(&name, stale);
        let now = world.epoch_ms().saturating_add_signed(wall);
        let expires = seen.as_ref().and_then(|row| row.number(attr::EXPIRES_ON)?.parse_int()).unwrap_or(0);
        if expires > now as i64 {
            world.count("legacy finds it held");
            continue;
        }
        if dice.chance(200) {
            sleep(dice.upto(world.plan.longest * 3)).await;
        } else {
            sleep(dice.ms(1..=20)).await;
        }
        if world.is_stopping() {
            return;
        }
        let length = dice.range(0..=longest.as_millis() as u64);
        let mut row = Row::default();
        row.set(attr::GUID, format!("{:032x}", dice.bits()).as_str().into());
        row.set(attr::EXPIRES_ON, Value::from(now + length));
        put(&world, &name, seen.as_ref(), row);
    }
}

/// Our own client in the original's format: its `getLock`. Its answers have to be true, whatever became of the requests.
pub async fn heir(host: Arc<Host>, client: Client) {
    let world = host.world.clone();
    let longest = world.plan.legacy_longest();
    while !world.is_stopping() {
        let (rest, index) = host.roll(|dice| (dice.upto(longest), dice.range(1..=world.plan.locks as u64)));
        host.sleep(rest).await;
        let name = lock_name(index);
        let length = host.roll(|dice| dice.range(0..=longest.as_millis() as u64)) as i64;
        let wait_mode = host.roll(|dice| dice.chance(world.plan.drops).then(|| dice.upto(world.plan.longest)));
        let handle = client.lock(name.as_str()).expect("a name");
        host.begins();
        let before = lock(&world.table).puts.get(&host.id).map_or(0, Vec::len);
        let answer = tokio::select! {
            biased;
            answer = handle.legacy_get(length) => answer,
            () = host.sleep(wait_mode.unwrap_or(Duration::MAX)) => {
                world.count("legacy get dropped");
                continue;
            }
        };
        let table = lock(&world.table);
        let puts = table.puts.get(&host.id).map_or(&[][..], |puts| &puts[before..]);
        let landed = puts.iter().any(|put| put.landed);
        let version = table.locks.get(&name).and_then(|entry| entry.row.as_ref()?.text(attr::GUID));
        let there = puts.iter().any(|put| Some(put.version.as_str()) == version);
        let many = puts.len();
        drop(table);
        world.trace(|| format!("{host:?} {name} legacy get for {length} ms: {answer:?}"));
        world.check(many <= 1, "E (legacy)", || format!("{name}: one get has sent {many} puts"));
        match answer {
            Ok(()) => {
                world.count("legacy get Ok");
                world.check(landed, "E (legacy)", || format!("{name}: a get is Ok, and its put has not landed"));
            }
            Err(LegacyError::Held { .. }) => {
                world.count("legacy get Held");
                world.check(many == 0, "E (legacy)", || format!("{name}: held by others, and a put was sent"));
            }
            Err(LegacyError::Lost) => {
                world.count("legacy get Lost");
                world.check(!there, "E (legacy)", || format!("{name}: a get says Lost, and has the lock"));
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
        world.planted(name.as_str(), Some(&row));
        entry.put(time, Some(row));
    }
    drop(table);
    world.trace(|| format!("legacy {name} put {shown}: {}", if same { "applied" } else { "refused" }));
    world.count(match (same, native, held) {
        (false, ..) => "legacy refused",
        (true, true, true) => "legacy overwrites a held row",
        (true, true, false) => "legacy overwrites a free row",
        (true, false, _) => "legacy puts",
    });
}

/// Revokes reigns now and then, and frees some by force.
pub async fn operator(host: Arc<Host>, client: Client) {
    let world = host.world.clone();
    while !world.is_stopping() {
        let (rest, force) = host.roll(|dice| (dice.upto(world.plan.longest * 4), dice.chance(150)));
        host.sleep(rest).await;
        let name = lock_name(host.roll(|dice| dice.range(1..=world.plan.locks as u64)));
        let token = lock(&world.table).locks.get(&name).and_then(|entry| entry.row.as_ref()?.token());
        let Some(token) = token else { continue };
        let handle = client.lock(name.as_str()).expect("a name");
        let answer = if force { handle.force_revoke(token).await } else { handle.revoke(token).await };
        let answer = match answer {
            Err(RevokeError::Ended { .. }) if world.mutant.is(Fault::EndedRevokeIsOk) => Ok(()),
            answer => answer,
        };
        let what = if force { "force free" } else { "revoke" };
        // Not the whole error: its holder names this process.
        world.trace(|| match &answer {
            Ok(()) => format!("{host:?} {name} {what} of {token}: done"),
            Err(error) => format!("{host:?} {name} {what} of {token}: {error}"),
        });
        let (held, revoked) = {
            let table = lock(&world.table);
            let entry = table.locks.get(&name);
            let lease_id = entry.and_then(|entry| entry.lease_ids.get(&token.get()));
            // What an operator's write has put into a reign's place is none itself.
            (entry.is_some_and(|entry| entry.is_held_by(token.get())), lease_id.is_none_or(|lease_id| lease_id.revoked))
        };
        let ended =
            |how: &str| world.check(!held, "E (revoke)", || format!("{name}: {how}, and {token} still holds it"));
        match answer {
            Ok(()) => {
                world.count(if force { "force free Ok" } else { "revoke Ok" });
                ended("revokedToken");
                world.check(revoked, "E (revoke)", || format!("{name}: done, and nothing has ended {token} by hand"));
            }
            Err(RevokeError::Ended { .. }) => {
                world.count("revoke Ended");
                ended("ended");
            }
            Err(_) => world.count("revoke unknown"),
        }
    }
}

/// DynamoDB deletes rows whose `purgeOn` is past. It must never meet a held one.
pub fn purge(world: &World) {
    let (time, second) = (world.time(), world.epoch_ms() / 1000);
    for (name, entry) in &mut lock(&world.table).locks {
        let due = |row: &Row| row.whole(attr::TTL).is_some_and(|on| on < second);
        if entry.row.as_ref().is_some_and(due) {
            entry.put(time, None);
            world.planted(name, None);
            world.trace(|| format!("ttl deletes {name}"));
            world.count("ttl deletion");
        }
    }
}

impl World {
    /// D: nobody waits longer than the row's lease, a poll, and the staleness of reads, if the network is well.
    pub fn waited(&self, name: &LockName, began: Duration) {
        if !self.plan.well {
            return;
        }
        let prior = lock(&self.table).locks.get(name.as_str()).map_or_else(Default::default, |entry| entry.prior);
        let waited = self.time().saturating_sub(prior.0.max(began));
        let round_trips = Duration::from_millis(self.plan.latency * 12);
        let poll = Duration::from_secs(1);
        let most = prior.1 * 1011 / 1000 + poll * 1011 / 1000 + self.plan.stale + round_trips;
        self.check(waited <= most, "D (waiting)", || format!("{name}: {waited:?}, more than {most:?}"));
    }
}
