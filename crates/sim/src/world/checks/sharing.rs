//! Checks of locks with several holders: the number of valid holders, tokens, and the results of releases.

use std::{collections::BTreeMap, collections::BTreeSet, sync::Arc, time::Duration};

use dynamo_lock::{LeaseId, LossReason, ReleaseError};
use dynamo_lock_protocol::{EntryKey, Path, Row, SharedOp, SharedWrite, Value, attr};

use crate::world::actors::sharing::{RW_LOCK, SEMAPHORE, SharedHold};
use crate::world::{Process, World, lock};

/// Access that a worker has acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// One of this number of slots.
    Permit(u64),
    Read,
    Write,
}

impl Access {
    pub fn name(self) -> &'static str {
        if matches!(self, Self::Permit(_)) { SEMAPHORE } else { RW_LOCK }
    }

    pub fn event(self) -> &'static str {
        match self {
            Self::Permit(_) => "shared: permit",
            Self::Read => "shared: reader",
            Self::Write => "shared: writer",
        }
    }
}

/// Holders that were reported, and facts about those of the past.
#[derive(Default)]
pub struct Sharing {
    /// Holders that were not released, by lease ID.
    present: BTreeMap<String, Present>,
    /// Lease IDs that an operator has revoked, and those that were removed by force.
    pub revoked: BTreeSet<String>,
    pub forced: BTreeSet<String>,
    /// Lease IDs of holders that have left. A duplicate of a join that is applied later adds an entry without an owner.
    left: BTreeSet<String>,
    /// Largest tokens of reported readers and writers of the read/write lock.
    largest_reader: u64,
    largest_writer: u64,
}

#[derive(Clone)]
struct Present {
    process: Arc<Process>,
    access: Access,
    hold: Arc<SharedHold>,
}

impl World {
    /// Records a holder that was reported, and checks its token.
    pub fn record_shared(&self, process: &Arc<Process>, access: Access, hold: &Arc<SharedHold>) {
        let Some(lease_id) = hold.lease_id() else { return };
        self.trace(|| format!("{process:?} {}: {access:?} reported as {}", access.name(), lease_id.as_str()));
        let live = hold.is_valid();
        self.check(live, "A (R5)", || format!("{} was lost when it was reported", access.name()));
        let is_in_row = self.has_entry(access.name(), &lease_id);
        {
            let mut sharing = lock(&self.sharing);
            let sharing = &mut *sharing;
            let present = Present { process: process.clone(), access, hold: hold.clone() };
            sharing.present.insert(lease_id.as_str().to_owned(), present);
            // A copy of the write that adds it may be applied after it was forced out, because the row names only the
            // last holder that was forced out. It then holds the lock like any other.
            if is_in_row {
                sharing.forced.remove(lease_id.as_str());
            }
            // A holder that was removed by force may have been reported before and after this one.
            if let Some(token) = hold.token().filter(|_| live && sharing.forced.is_empty()) {
                let (reader, writer) = (sharing.largest_reader, sharing.largest_writer);
                let least = if access == Access::Write { reader.max(writer) } else { writer };
                self.check(token > least, "C (tokens)", || format!("{access:?} got {token} after {least}"));
            }
            let largest = match access {
                Access::Write => &mut sharing.largest_writer,
                _ => &mut sharing.largest_reader,
            };
            *largest = (*largest).max(hold.token().unwrap_or(0));
        }
        self.check_shared(access.name());
    }

    /// Checks that there are not more valid holders than allowed at this instant.
    pub fn check_shared(&self, name: &str) {
        let present: Vec<Present> = {
            let sharing = lock(&self.sharing);
            let of_name = |(id, present): &(&String, &Present)| {
                present.access.name() == name && !sharing.forced.contains(*id) && !present.process.is_dead()
            };
            let found = sharing.present.iter().filter(of_name).map(|(_, present)| present.clone());
            found.filter(|present| self.plan.checks_all || !present.process.host.is_paused(self)).collect()
        };
        let valid: Vec<_> = present.into_iter().filter(|present| present.hold.is_valid()).collect();
        let most = match valid.iter().map(|present| present.access).max_by_key(|access| limit(*access)) {
            None => return,
            Some(Access::Permit(slots)) => slots as usize,
            Some(_) if valid.iter().any(|present| present.access == Access::Write) => 1,
            Some(_) => 64,
        };
        if valid.len() > 1 {
            self.count("shared: several holders");
        }
        self.check(valid.len() <= most, "A (sharing)", || {
            let holders: Vec<_> = valid.iter().map(|present| (&present.process, present.access)).collect();
            format!("{name} has {} valid holders, at most {most} are allowed: {holders:?}", valid.len())
        });
    }

    /// Records a write to a row with several holders.
    pub fn record_shared_write(&self, write: &SharedWrite) {
        let mut sharing = lock(&self.sharing);
        match &write.op {
            SharedOp::Revoke { holder } => _ = sharing.revoked.insert(holder.lease_id.as_str().to_owned()),
            SharedOp::ForceOut { holder } => _ = sharing.forced.insert(holder.lease_id.as_str().to_owned()),
            SharedOp::Leave { holder } => _ = sharing.left.insert(holder.lease_id.as_str().to_owned()),
            _ => {}
        }
    }

    /// Records that a holder was released or dropped.
    pub fn record_shared_gone(&self, lease_id: &LeaseId) {
        lock(&self.sharing).present.remove(lease_id.as_str());
    }

    /// Removes the holders of a process that has crashed, and returns them.
    pub fn take_shared(&self, process: &Process) -> Vec<Arc<SharedHold>> {
        let mut sharing = lock(&self.sharing);
        let of_process = |present: &Present| present.process.id == process.id;
        let ids: Vec<_> = sharing.present.iter().filter(|(_, p)| of_process(p)).map(|(id, _)| id.clone()).collect();
        ids.into_iter().filter_map(|id| sharing.present.remove(&id)).map(|present| present.hold).collect()
    }

    /// Checks the result of a release. `live` is whether the holder was valid when the release began.
    pub fn check_shared_release(&self, name: &str, lease_id: &LeaseId, live: bool, answer: &Result<(), ReleaseError>) {
        let is_left = self.has_entry(name, lease_id);
        let (revoked, forced, has_left) = {
            let (sharing, id) = (lock(&self.sharing), lease_id.as_str());
            let forced = sharing.forced.contains(id);
            (forced || sharing.revoked.contains(id), forced, sharing.left.contains(id))
        };
        match answer {
            Ok(()) => {
                self.count("shared: release Ok");
                self.check(has_left, "E (release)", || format!("{name}: Ok, but no leave was applied"));
                self.check(live, "E (release)", || format!("{name}: Ok, but it had been lost before"));
                self.check(!forced, "E (release)", || format!("{name}: Ok, but it was removed by force"));
            }
            Err(ReleaseError::Lost(lost)) => {
                self.count("shared: release Lost");
                let is_revocation = lost.reason == LossReason::Revoked;
                self.check(!is_revocation || revoked, "E (release)", || {
                    format!("{name}: {lost}, but it was not revoked")
                });
                let gone = lost.reason == LossReason::TakenOver;
                self.check(!gone || has_left || !is_left, "E (release)", || {
                    format!("{name}: {lost}, but the entry is in the row")
                });
            }
            Err(ReleaseError::Unknown) => self.count("shared: release Unknown"),
            Err(_) => self.count("shared: release refused"),
        }
        self.check(answer.is_ok() || !live || !self.plan.fault_free, "fault_free", || format!("{name}: {answer:?}"));
    }

    fn has_entry(&self, name: &str, lease_id: &LeaseId) -> bool {
        let table = lock(&self.table);
        let row = table.locks.get(name).and_then(|entry| entry.row.as_ref());
        row.is_some_and(|row| contains(row, lease_id.as_str()))
    }

    /// Returns the time after which the entries of a row have certainly expired for a new client.
    pub fn shared_rest(&self, row: Option<&Row>) -> Duration {
        let Some(Value::Map(holders)) = row.and_then(|row| row.get(attr::HOLDERS)) else { return Duration::ZERO };
        let rest = |entry: &Value| {
            let Value::Map(fields) = entry else { return 0 };
            let has_timestamp = fields.contains_key(attr::EXPIRES_ON) && self.plan.service_clock;
            match fields.get(attr::LEASE_MS) {
                Some(Value::N(lease)) if !has_timestamp => lease.whole().unwrap_or(0),
                _ => 0,
            }
        };
        Duration::from_millis(holders.values().map(rest).max().unwrap_or(0))
    }
}

fn limit(access: Access) -> u64 {
    if let Access::Permit(slots) = access { slots } else { 0 }
}

/// Returns the number of entries in a row.
pub fn entries(row: &Row) -> usize {
    if let Some(Value::Map(holders)) = row.get(attr::HOLDERS) { holders.len() } else { 0 }
}

/// Returns whether a row contains the entry with this lease ID.
fn contains(row: &Row, lease_id: &str) -> bool {
    let writer = row.at(&Path::Field(EntryKey::Exclusive, attr::LEASE_ID));
    let is_writer = matches!(writer, Some(Value::S(id)) if id == lease_id);
    is_writer || row.at(&Path::Entry(EntryKey::Shared(lease_id.into()))).is_some()
}
