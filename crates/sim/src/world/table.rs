//! The table, with facts that no client knows: which process wrote each row, and when.

use std::{collections::BTreeMap, collections::BTreeSet, collections::HashMap, collections::VecDeque, time::Duration};

use dynamo_lock::simulation::ClockReading;
use dynamo_lock_protocol::{FencingToken, Kind, LockName, Op, OpKind, Outcome, RecordVersion, Row, Verdict, attr};
use test_support::kind_of;

use super::{Process, World, checks::turns::Turn, lock, show_op, show_outcome};
use crate::mutants::{MutantConfig, OpTag};

/// Age up to which old versions of a row are kept, for stale reads.
const STALE_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub struct Table {
    pub locks: BTreeMap<String, Entry>,
    /// Locks of deleted tables. Their holders learn it by their next request.
    deleted: BTreeMap<String, Vec<Entry>>,
    /// Time from which on the table exists again.
    missing_until: Duration,
    /// Task that first sent the acquire with this lease ID, and when.
    pub senders: HashMap<String, (tokio::task::Id, Duration)>,
    /// Time at which an op was first sent: on the clocks of its sender, and in milliseconds of true time.
    pub sent: BTreeMap<String, (ClockReading, u64)>,
    /// Time at which a process first received a record version.
    pub received: BTreeMap<(u64, String), Duration>,
    /// Lease IDs of acquisitions whose sender received the row of another client, and so gave them up.
    pub given_up_ids: BTreeSet<String>,
    /// Lease IDs for which a release was sent.
    pub release_sent: BTreeSet<String>,
    /// Puts of `legacy_get` and revocations, by process.
    pub single_writes: BTreeMap<u64, Vec<SingleWrite>>,
}

/// A put of `legacy_get` or a revocation, which leaves nothing that its caller holds.
#[derive(Debug)]
pub struct SingleWrite {
    pub version: String,
    pub applied: bool,
}

/// The row of one lock.
#[derive(Debug, Default)]
pub struct Entry {
    /// Number of tables that were deleted before.
    pub tables: u64,
    pub row: Option<Row>,
    /// Versions of the row, with the time since which each existed.
    versions: VecDeque<(Duration, Option<Row>)>,
    /// Times from which on the lock was free, or not.
    pub changes: Vec<(Duration, bool)>,
    /// Largest token of all acquisitions.
    pub largest_token: u64,
    pub written: Duration,
    /// The row before the last acquisition: since when it existed, and its lease.
    pub prior: (Duration, Duration),
    /// Acquisitions by token. An acquire that is applied twice makes two.
    pub acquisitions: BTreeMap<u64, Acquisition>,
    pub passes: u64,
    pub turn: Turn,
    /// Counter beside the lock, which is written in a transaction with a holder's condition check.
    pub counter: u64,
    pub updates: u64,
    /// Largest token that a resource beside the lock has accepted.
    pub fence: u64,
}

/// Facts about one acquisition.
#[derive(Debug, Default)]
pub struct Acquisition {
    pub process: u64,
    pub lease_id: String,
    /// Number of tables that were deleted before.
    pub tables: u64,
    /// Its applied writes: when each was first sent, and the lease that it left.
    pub writes: Vec<(ClockReading, Duration)>,
    pub released: bool,
    pub revoked: bool,
    /// It was revoked by force although its holder may be running, which breaks exclusion by design.
    pub forced: bool,
    pub reported: bool,
    /// Time since which no guard exists that could release it. The lock must be free soon.
    pub given_up: Option<Duration>,
    pub hold: bool,
    /// A further try of its acquire was answered with its own row.
    pub recognized: bool,
    /// Its holder has received the row of another client.
    pub loss_received: bool,
    /// Its guard has reported a loss.
    pub lost: bool,
    /// Its first row had a service timestamp.
    pub service_timestamp: bool,
    /// Its handover: when that was first sent, the lease of the waiter, and its lease ID.
    pub handover: Option<(ClockReading, Duration, String)>,
}

impl Table {
    /// Returns what is known about a lock, in this table and in the deleted ones. The latest table is the first, because
    /// tokens may repeat.
    pub fn entries(&self, name: &str) -> impl Iterator<Item = &Entry> {
        self.locks.get(name).into_iter().chain(self.deleted.get(name).into_iter().flatten().rev())
    }

    /// Records that a guard has reported its loss. Its client may take its lease over.
    pub fn record_lost_guard(&mut self, name: &str, token: u64) {
        let Some(acquisition) = self.acquisition_mut(name, token) else { return };
        acquisition.lost = true;
        let lease_id = acquisition.lease_id.clone();
        self.given_up_ids.insert(lease_id);
    }

    pub fn acquisition(&self, name: &str, token: u64) -> Option<&Acquisition> {
        self.entries(name).find_map(|entry| entry.acquisitions.get(&token))
    }

    pub fn acquisition_mut(&mut self, name: &str, token: u64) -> Option<&mut Acquisition> {
        let deleted = self.deleted.get_mut(name).into_iter().flatten().rev();
        let mut entries = self.locks.get_mut(name).into_iter().chain(deleted);
        entries.find_map(|entry| entry.acquisitions.get_mut(&token))
    }

    /// Deletes the table, which exists again from this time on. Tokens may start anew.
    fn delete(&mut self, time: Duration, missing_until: Duration) {
        self.missing_until = missing_until;
        for (name, entry) in &mut self.locks {
            let (tables, changes) = (entry.tables + 1, std::mem::take(&mut entry.changes));
            let mut deleted = std::mem::replace(entry, Entry { tables, changes, ..Entry::default() });
            entry.put(time, None);
            deleted.row = None;
            self.deleted.entry(name.clone()).or_default().push(deleted);
        }
    }

    /// Returns the row of a lock that is held with this token.
    pub fn held_row(&self, name: &str, token: u64) -> Option<&Row> {
        self.locks.get(name).filter(|entry| entry.is_held_by(token))?.row.as_ref()
    }
}

impl Entry {
    pub fn put(&mut self, time: Duration, row: Option<Row>) {
        self.row.clone_from(&row);
        self.changes.push((time, row.as_ref().is_none_or(|row| row.whole(attr::EXPIRES_ON) == Some(0))));
        self.written = time;
        self.versions.push_back((time, row));
        while self.versions.len() > 1 && self.versions[1].0 + STALE_MAX < time {
            self.versions.pop_front();
        }
    }

    /// Returns the row as it was at this time.
    pub fn at(&self, then: Duration) -> Option<Row> {
        let seen = self.versions.iter().rev().find(|(since, _)| *since <= then);
        seen.and_then(|(_, row)| row.clone())
    }

    pub fn by_lease_id(&mut self, lease_id: &str) -> Option<&mut Acquisition> {
        self.acquisitions.values_mut().rev().find(|acquisition| acquisition.lease_id == lease_id)
    }

    /// Returns whether a user's transaction with the guard's condition check is applied. The check is the condition of
    /// a release.
    pub fn passes_check(&self, mutant: &MutantConfig, name: &str, lease_id: &str, token: u64) -> bool {
        let Ok(name) = LockName::new(name) else { return false };
        let token = Some(FencingToken::new(token));
        let kind = OpKind::Release { lease_id: lease_id.into(), token, ttl: 0, history: None, ended: None };
        let op = Op { name, version: RecordVersion::from_random(0), row_kind: Kind::Mutex, kind };
        mutant.holds(OpTag::Check, self.row.as_ref(), op.condition())
    }

    /// Returns the acquisition of a process with this token.
    pub fn acquisition_of(&self, process: &Process, token: u64) -> Option<&Acquisition> {
        self.acquisitions.get(&token).filter(|acquisition| acquisition.process == process.id)
    }

    /// Returns whether the row is held with this token.
    pub fn is_held_by(&self, token: u64) -> bool {
        let Some(row) = &self.row else { return false };
        let held = row.whole(attr::EXPIRES_ON).is_some_and(|ends| ends > 0);
        row.whole(attr::V) == Some(1) && row.whole(attr::TOKEN) == Some(token) && held
    }
}

impl World {
    /// Returns whether the series of tokens of each lock began longer ago than `gap`. It begins with the second of its
    /// token floor.
    pub fn tokens_are_older_than(&self, gap: Duration) -> bool {
        let latest = self.epoch_ms() / 1000 - gap.as_secs();
        let table = lock(&self.table);
        table.locks.values().filter_map(|entry| entry.acquisitions.keys().next_back()).all(|token| token >> 20 < latest)
    }

    /// Deletes the table, which exists again at this time.
    pub fn delete_table(&self, until: Duration) {
        lock(&self.table).delete(self.time(), until);
        self.trace(|| format!("the table is deleted, until {until:?}"));
        self.count("table deleted");
    }

    /// Returns whether the table does not exist now.
    pub fn has_no_table(&self) -> bool {
        lock(&self.table).missing_until > self.time()
    }

    /// Applies a write at this instant, and checks it.
    pub fn apply(&self, process: &Process, op: &Op) -> Outcome {
        let time = self.time();
        let mut table = lock(&self.table);
        let Table { locks, sent, received, single_writes, given_up_ids, .. } = &mut *table;
        let entry = locks.entry(op.name.as_str().to_owned()).or_default();
        let before = entry.row.take();
        let mutant = if self.real_store.is_none() { self.mutant } else { MutantConfig::NONE };
        let mut own_takeover = None;
        let verdict = mutant.apply(before.as_ref(), op);
        match &verdict {
            Verdict::Applied(_) if self.real_store.is_none() && process.forgets() => entry.row = before,
            Verdict::Applied(row) => {
                let sent_at = sent.get(op.version.as_str()).copied();
                self.count_rule(process, op, before.as_ref(), entry, received);
                if matches!(op.kind, OpKind::Acquire(_) | OpKind::TakeOver { .. }) {
                    let lease = before.as_ref().and_then(|row| row.whole(attr::LEASE_MS)).unwrap_or(0);
                    entry.prior = (entry.written, Duration::from_millis(lease));
                    let lease_id = row.text(attr::LEASE_ID);
                    let spent = before.as_ref().is_some_and(|before| before.text(attr::LEASE_ID) == lease_id);
                    self.check(!spent, "E (once)", || format!("{}: an operation was applied twice", op.name));
                }
                if matches!(op.kind, OpKind::HandOver { .. }) {
                    // Its waiter did not wait for a lease or a poll.
                    entry.prior = (time, Duration::ZERO);
                }
                if let (OpKind::HandOver { .. }, Some(before)) = (&op.kind, &before) {
                    self.check_handover(op, before, row);
                }
                before.iter().for_each(|before| self.check_children(process, op, before));
                if let (OpKind::TakeOver { .. }, Some(before)) = (&op.kind, &before) {
                    own_takeover = self.check_takeover(process, op, before, entry, given_up_ids);
                }
                let writes = single_writes.get_mut(&process.id).into_iter().flatten();
                writes.filter(|write| write.version == op.version.as_str()).for_each(|write| write.applied = true);
                if matches!(op.kind, OpKind::LegacyGet { .. }) {
                    self.check_legacy_put(op, before.as_ref(), row);
                }
                entry.put(time, Some(row.clone()));
                if let Some((_, sent_ms)) = sent_at {
                    self.check_service_timestamp(op, before.as_ref(), row, sent_ms);
                }
                self.record_write(process, op, entry, row, sent_at.map(|(at, _)| at));
            }
            Verdict::Conflict(_) => {
                let what = conflict(op, before.as_ref());
                let is_own = what.ends_with("own row");
                self.count(what);
                if let (OpKind::Acquire(lease) | OpKind::TakeOver { lease, .. }, true) = (&op.kind, is_own) {
                    let own = entry.by_lease_id(lease.lease_id.as_str());
                    own.into_iter().for_each(|acquisition| acquisition.recognized = true);
                }
                entry.row = before;
            }
        }
        drop(table);
        own_takeover.into_iter().for_each(|token| self.check_own_takeover(process, op, token));
        let outcome = verdict.outcome(op);
        self.trace(|| format!("{process:?} {} -> {}", show_op(op), show_outcome(&outcome)));
        outcome
    }

    pub fn record_sent(&self, process: &Process, op: &Op) {
        let mut table = lock(&self.table);
        if !table.sent.contains_key(op.version.as_str()) {
            let at = process.host.clock(self);
            table.sent.insert(op.version.as_str().to_owned(), (at, self.epoch_ms()));
            let is_acquire = matches!(op.kind, OpKind::Acquire(_) | OpKind::TakeOver { .. });
            if is_acquire {
                process.record_hasty_write(op.version.as_str());
                process.record_look(op.version.as_str());
                lock(&process.asked).insert(op.name.as_str().to_owned(), self.time());
            }
            if let OpKind::Acquire(lease) | OpKind::TakeOver { lease, .. } = &op.kind
                && let Some(task) = tokio::task::try_id()
            {
                table.senders.insert(lease.lease_id.as_str().to_owned(), (task, self.time()));
            }
            if let OpKind::HandOver { token, next, .. } = &op.kind {
                let handover = (at, Duration::from_millis(next.lease_ms), next.lease_id.as_str().to_owned());
                if let Some(acquisition) = table.acquisition_mut(op.name.as_str(), token.get()) {
                    acquisition.handover = Some(handover);
                }
            }
            if let OpKind::Release { lease_id, token, .. } = &op.kind {
                // The release after an unanswered handover gives back the lease of both.
                let acquisition = token.and_then(|token| table.acquisition(op.name.as_str(), token.get()));
                let handover = acquisition.and_then(|acquisition| acquisition.handover.clone());
                table.release_sent.extend(handover.map(|(_, _, lease_id)| lease_id));
                table.release_sent.insert(lease_id.as_str().to_owned());
            }
            if let OpKind::LegacyGet { .. } | OpKind::Revoke { .. } | OpKind::ForceRevoke { .. } = &op.kind {
                let write = SingleWrite { version: op.version.as_str().to_owned(), applied: false };
                table.single_writes.entry(process.id).or_default().push(write);
            }
        }
    }

    /// Records that the sender of `op` has received the row that exists instead.
    pub fn record_loss(&self, op: &Op, row: Option<&Row>) {
        let is = |lease_id: &str| row.is_some_and(|row| row.text(attr::LEASE_ID) == Some(lease_id));
        // A duplicate of an acquire makes a row with its lease ID and another token in a new table.
        let has = |token: FencingToken| row.is_some_and(|row| row.whole(attr::TOKEN) == Some(token.get()));
        let free = row.is_none_or(|row| row.whole(attr::EXPIRES_ON) == Some(0));
        let mut table = lock(&self.table);
        match &op.kind {
            OpKind::Acquire(lease) | OpKind::TakeOver { lease, .. } if !is(lease.lease_id.as_str()) => {
                table.given_up_ids.insert(lease.lease_id.as_str().to_owned());
            }
            OpKind::Renew { lease_id, token, .. } if free || !is(lease_id.as_str()) || !has(*token) => {
                let known = table.acquisition_mut(op.name.as_str(), token.get());
                known.into_iter().for_each(|acquisition| acquisition.loss_received = true);
            }
            OpKind::HandOver { lease_id, token, next } if !is(next.lease_id.as_str()) => {
                // The old lease has ended, so nothing is left of it, also if its caller never received it.
                let old = table.acquisition_mut(op.name.as_str(), token.get());
                let old = old.filter(|_| free || !is(lease_id.as_str()) || !has(*token));
                old.into_iter().for_each(|acquisition| acquisition.loss_received = true);
                // An earlier attempt was applied if there is an acquisition, and its lease has ended.
                let new = table.acquisition_mut(op.name.as_str(), token.get() + 1);
                let new = new.filter(|acquisition| acquisition.lease_id == next.lease_id.as_str());
                new.into_iter().for_each(|acquisition| acquisition.loss_received = true);
            }
            _ => {}
        }
    }

    pub fn record_received(&self, process: &Process, row: Option<&Row>) {
        let Some(version) = row.and_then(|row| row.text(attr::GUID)) else { return };
        let time = self.time();
        lock(&self.table).received.entry((process.id, version.to_owned())).or_insert(time);
    }

    /// Returns the row as it is, or as it was this long ago.
    pub fn row(&self, name: &LockName, stale: Duration) -> Option<Row> {
        let then = self.time().saturating_sub(stale);
        let table = lock(&self.table);
        let entry = table.locks.get(name.as_str())?;
        if stale.is_zero() { entry.row.clone() } else { entry.at(then) }
    }
}

/// Returns the event that a conditional write has found another row, or that of an earlier try.
fn conflict(op: &Op, row: Option<&Row>) -> String {
    let lease_id = match &op.kind {
        OpKind::Acquire(lease) | OpKind::TakeOver { lease, .. } => Some(lease.lease_id.as_str()),
        OpKind::Release { lease_id, .. } => Some(lease_id.as_str()),
        _ => None,
    };
    let is_own = row.is_some_and(|row| {
        let same_lease = lease_id.is_some() && row.text(attr::LEASE_ID) == lease_id;
        same_lease || row.text(attr::GUID) == Some(op.version.as_str())
    });
    match &op.kind {
        _ if is_own => format!("{} conflict with own row", kind_of(op)),
        OpKind::LegacyGet { seen: Some(seen), .. } if row.is_some_and(|row| row.version() == seen.version()) => {
            "legacy get conflict by token".to_owned()
        }
        _ => format!("{} conflict with other row", kind_of(op)),
    }
}
