//! Checks of the writes that are applied, against the facts in the table.

use std::{collections::BTreeMap, collections::BTreeSet, time::Duration};

use dynamo_lock::simulation::ClockReading;
use dynamo_lock_protocol::{EXPIRY_PAD, Op, OpKind, Row, RowState, attr};
use test_support::kind_of;

use crate::world::{
    Process, World, actors::external_writers::LEGACY_SKEW_MS, checks::validity::holder_elapsed, lock,
    table::Acquisition, table::Entry,
};

/// Distance from the current time at which the token of a row starts that has lost its token.
const FLOOR_AHEAD_MS: u64 = 24 * 3600 * 1000;

impl World {
    /// Checks a takeover against the acquisition that it ends. Returns the token of that acquisition if the process has
    /// received it and by its clocks still has it, for [`check_own_takeover`](World::check_own_takeover).
    pub fn check_takeover(
        &self,
        process: &Process,
        op: &Op,
        before: &Row,
        entry: &Entry,
        given_up_ids: &BTreeSet<String>,
    ) -> Option<u64> {
        if let Ok(RowState::Legacy(legacy)) = before.state()
            && self.plan.service_clock
        {
            let ends = i128::from(legacy.expires_on) + LEGACY_SKEW_MS as i128;
            let over = i128::from(self.epoch_ms()) > ends;
            self.check(over, "legacy (respected)", || {
                format!("{} was taken over from a legacy client too early", op.name)
            });
        }
        let acquisition = before.whole(attr::TOKEN).and_then(|token| entry.acquisitions.get(&token));
        // A client that receives its own acquisition in time has it, and does not begin another. After a freeze it
        // cannot know how late it is, and uses its row.
        let own = |acquisition: &&Acquisition| {
            acquisition.process == process.id && acquisition.recognized && !given_up_ids.contains(&acquisition.lease_id)
        };
        let own = acquisition.filter(own).filter(|_| !self.plan.freezes);
        let is_valid = own
            .and_then(|acquisition| acquisition.writes.first())
            .is_some_and(|(sent_at, lease)| holder_elapsed(process.host.clock(self), *sent_at) + *lease / 50 < *lease);
        // A release takes time: a lease that ends meanwhile may be taken over.
        let on_its_way = Duration::from_millis(20 + self.plan.latency * 10);
        let left = acquisition.is_some_and(|acquisition| {
            let given_up = acquisition.given_up.is_some_and(|at| self.time() > at + on_its_way);
            !acquisition.hold && (given_up || !acquisition.reported) && !self.is_dead(acquisition.process)
        });
        let fault_free = self.plan.fault_free && self.is_quiescent();
        self.check(!(fault_free && left), "E (left)", || format!("{} was not released by its holder", op.name));
        is_valid.then(|| before.whole(attr::TOKEN)).flatten()
    }

    /// Checks a takeover of an acquisition of the same process. Its guard may have ended early by the service's time
    /// (R6), also if its loss is not reported yet.
    pub fn check_own_takeover(&self, process: &Process, op: &Op, token: u64) {
        let has_ended = self.guard_of(op.name.as_str(), token).is_some_and(|guard| !guard.is_valid());
        self.check(has_ended, "E (own acquisition)", || format!("{process:?} takes {} over from itself", op.name));
    }

    /// Checks that processes can tell a handover from an acquisition: it is counted, and the hold goes on.
    pub fn check_handover(&self, op: &Op, before: &Row, row: &Row) {
        let handovers = before.whole(attr::HANDOVERS).unwrap_or(0) + 1;
        let counted = row.whole(attr::HANDOVERS) == Some(handovers);
        self.check(counted, "E (handover)", || format!("{}: handover {handovers} was not counted", op.name));
        let same_hold = row.get(attr::ACQUIRED_ON) == before.get(attr::ACQUIRED_ON);
        self.check(same_hold, "E (handover)", || format!("{}: a handover began a new hold", op.name));
    }

    /// Checks the service timestamp of a write (§5): it belongs to the write that set `expiresOn`, and is at least the
    /// service's time at sending, the lease and the pad. A token floor is at most that time. The bounds of hosts that
    /// freeze are not valid.
    pub fn check_service_timestamp(&self, op: &Op, before: Option<&Row>, row: &Row, sent_ms: u64) {
        let (lease, ends) = match &op.kind {
            OpKind::Acquire(lease) | OpKind::TakeOver { lease, .. } => (lease.lease_ms, lease.ends),
            OpKind::HandOver { next, .. } => (next.lease_ms, next.ends),
            OpKind::Renew { lease_ms, ends, .. } => (*lease_ms, *ends),
            _ => return,
        };
        // Readers would trust an old timestamp beside the time of a wall clock.
        let bears = row.text(attr::EXPIRY_CLOCK).is_some();
        self.check(bears == ends.service_timestamp, "§5 (timestamp)", || {
            format!("{}: the service timestamp is not that of this write", op.name)
        });
        if !ends.service_timestamp || self.plan.freezes {
            return;
        }
        let least = sent_ms + lease + EXPIRY_PAD.as_millis() as u64;
        let short = least.saturating_sub(row.whole(attr::EXPIRES_ON).unwrap_or(0));
        self.check(short == 0, "§5 (timestamp)", || {
            format!("{}: the service timestamp is {short} ms too early", op.name)
        });
        let lost_its_token = before.is_some_and(|before| before.token().is_none());
        let (true, Some(token)) = (before.is_none() || lost_its_token, row.token()) else { return };
        let ahead = if lost_its_token { FLOOR_AHEAD_MS } else { 0 };
        let early = ((token.get() - 1) >> 20) * 1000 <= sent_ms + ahead;
        self.check(early, "C (token floor)", || format!("{}: the floor of {token} is in the future", op.name));
    }

    /// Checks what a put of `legacy_get` leaves of the row that it replaces.
    pub fn check_legacy_put(&self, op: &Op, before: Option<&Row>, row: &Row) {
        let token = |row: &Row| row.whole(attr::TOKEN);
        let rises = before.is_none_or(|before| token(before).is_none_or(|was| token(row) > Some(was)));
        self.check(rises, "C (legacy)", || format!("{}: a put of legacy_get decreased the token", op.name));
        let stays = before.is_none_or(|before| before.text(attr::DATA) == row.text(attr::DATA));
        self.check(stays, "E (data)", || format!("{}: a put of legacy_get lost the payload", op.name));
        let ends = before.and_then(|row| row.number(attr::EXPIRES_ON)?.parse_int()).unwrap_or(0);
        let over = ends <= self.epoch_ms() as i64 + LEGACY_SKEW_MS;
        self.check(over, "legacy (respected)", || {
            format!("{}: a put of legacy_get replaced a row that had not expired", op.name)
        });
        let held = before.is_some_and(|row| row.whole(attr::EXPIRES_ON).is_some_and(|ends| ends > 0));
        self.count(if held { "legacy get of a held row" } else { "legacy get of a free row" });
    }

    pub fn record_write(
        &self,
        process: &Process,
        op: &Op,
        entry: &mut Entry,
        row: &Row,
        sent_at: Option<ClockReading>,
    ) {
        let Some(sent_at) = sent_at else { return };
        let lease = Duration::from_millis(row.whole(attr::LEASE_MS).unwrap_or(0));
        self.check_turn(process, op, entry, lease, sent_at);
        match &op.kind {
            OpKind::Acquire(new) | OpKind::TakeOver { lease: new, .. } => {
                let token = row.whole(attr::TOKEN).unwrap_or(0);
                let largest_token = entry.largest_token;
                self.check(token > largest_token, "C (tokens)", || {
                    format!("{} got {token} after {largest_token}", op.name)
                });
                entry.largest_token = largest_token.max(token);
                entry.passes += 1;
                let acquisition = Acquisition {
                    process: process.id,
                    lease_id: new.lease_id.as_str().to_owned(),
                    tables: entry.tables,
                    writes: vec![(sent_at, lease)],
                    service_timestamp: new.ends.service_timestamp,
                    ..Acquisition::default()
                };
                entry.acquisitions.insert(token, acquisition);
            }
            OpKind::HandOver { token, next, .. } => {
                if let Some(acquisition) = entry.acquisitions.get_mut(&token.get()) {
                    let over = acquisition.released || acquisition.revoked;
                    self.check(!over, "E (once)", || format!("a handover of {} was applied after its end", op.name));
                    acquisition.released = true;
                }
                let new_token = row.whole(attr::TOKEN).unwrap_or(0);
                self.check(new_token == token.get() + 1, "C (tokens)", || {
                    format!("{} got {new_token} by a handover after {token}", op.name)
                });
                entry.largest_token = entry.largest_token.max(new_token);
                entry.passes += 1;
                let acquisition = Acquisition {
                    process: process.id,
                    lease_id: next.lease_id.as_str().to_owned(),
                    tables: entry.tables,
                    writes: vec![(sent_at, lease)],
                    service_timestamp: next.ends.service_timestamp,
                    ..Acquisition::default()
                };
                entry.acquisitions.insert(new_token, acquisition);
            }
            OpKind::Renew { token, .. } => {
                if let Some(acquisition) = entry.acquisitions.get_mut(&token.get()) {
                    let over = acquisition.released || acquisition.revoked;
                    self.check(!over, "E (once)", || format!("a renewal of {} was applied after its end", op.name));
                    acquisition.writes.push((sent_at, lease));
                }
            }
            OpKind::Release { lease_id, .. } => {
                if let Some(acquisition) = entry.by_lease_id(lease_id.as_str()) {
                    acquisition.released = true;
                }
            }
            OpKind::Revoke { .. } | OpKind::ForceRevoke { .. } => {
                let token = row.whole(attr::REVOKED_TOKEN).unwrap_or(0);
                entry.largest_token = entry.largest_token.max(row.whole(attr::TOKEN).unwrap_or(0));
                if let Some(acquisition) = entry.acquisitions.get_mut(&token) {
                    acquisition.revoked = true;
                }
                if matches!(op.kind, OpKind::ForceRevoke { .. }) {
                    // Also for an acquisition that was revoked before, whose lease others would have waited for.
                    entry.acquisitions.range_mut(..=token).for_each(|(_, acquisition)| acquisition.forced = true);
                }
            }
            // These worlds have no locks of another kind.
            OpKind::StartAnew { .. } | OpKind::Finish { .. } | OpKind::Reset { .. } => {}
            OpKind::Shared(write) => self.record_shared_write(write),
            OpKind::Convert(_) => {}
            OpKind::LegacyGet { .. } => {
                entry.largest_token = entry.largest_token.max(row.whole(attr::TOKEN).unwrap_or(0))
            }
        }
    }

    /// Counts the rule under which a write was applied.
    pub fn count_rule(
        &self,
        process: &Process,
        op: &Op,
        before: Option<&Row>,
        entry: &Entry,
        received: &BTreeMap<(u64, String), Duration>,
    ) {
        if let OpKind::TakeOver { seen, .. } = &op.kind {
            let quiet = received.get(&(process.id, seen.as_str().to_owned())).map(|first| self.time() - *first);
            let is_own = |token| entry.acquisitions.get(&token).is_some_and(|taken| taken.process == process.id);
            let has_ended = |token| entry.acquisitions.get(&token).is_some_and(|taken| self.is_dead(taken.process));
            self.count(match before.and_then(|row| row.state().ok()) {
                Some(RowState::Legacy(_)) => "takeover of a legacy row",
                Some(RowState::Held(held)) if quiet.is_some_and(|quiet| quiet >= held.lease * 98 / 100) => {
                    "takeover by R2"
                }
                Some(RowState::Held(held)) if is_own(held.token.get()) => "takeover of an abandoned lock",
                Some(RowState::Held(held)) if !self.plan.service_clock && has_ended(held.token.get()) => {
                    "takeover from an ended holder"
                }
                _ => "takeover by §5",
            });
        }
        self.count(format!("{} applied", kind_of(op)));
    }

    /// Checks that an acquisition that this task called and that has failed has left no lease that is valid (E). An
    /// attempt after which it received another row may still be applied, and its lease is never reported. A lock is lost
    /// after `max_hold`, also if it has not been reported by then.
    pub fn check_failed(&self, process: &Process, name: &str, called: Duration, max_hold: Option<Duration>) {
        let Some(task) = tokio::task::try_id() else { return };
        let at = process.host.clock(self);
        let table = lock(&self.table);
        let Some(entry) = table.locks.get(name) else { return };
        let left = entry.acquisitions.iter().find(|(token, acquisition)| {
            let lease_id = acquisition.lease_id.as_str();
            let sent = table.senders.get(lease_id).is_some_and(|(sender, time)| *sender == task && *time >= called);
            let valid = acquisition.writes.first().is_some_and(|(sent_at, lease)| {
                let validity = *lease - *lease / 100 - Duration::from_millis(10);
                holder_elapsed(at, *sent_at) < max_hold.map_or(validity, |max_hold| max_hold.min(validity))
            });
            sent && valid && entry.is_held_by(**token) && !table.given_up_ids.contains(lease_id)
        });
        let token = left.map(|(token, _)| *token);
        drop(table);
        self.check(token.is_none(), "E (failed)", || {
            format!("{process:?} reports a failure for {name}, but holds it with {token:?}")
        });
    }

    /// Checks that an acquisition failed because of its own requests: a handover that fails ends no wait (E).
    pub fn check_asked(&self, process: &Process, name: &str, called: Duration) {
        let has_asked = lock(&process.asked).get(name).is_some_and(|at| *at >= called);
        self.check(has_asked, "E (failed wait)", || {
            format!("{process:?} reports a failure for {name}, and has not tried to acquire it since {called:?}")
        });
    }

    /// Checks at quiescence that every applied acquisition was reported to its caller or given back, unless its
    /// process crashed or received another row before. A duplicate that is applied later, also to a new table, has the
    /// same lease ID.
    pub fn check_unreported(&self) {
        let table = lock(&self.table);
        for (name, entry) in &table.locks {
            // A lock that was acquired together with others may be handed over before they are all acquired.
            let received = |acquisition: &&Acquisition| {
                acquisition.reported || acquisition.revoked || acquisition.loss_received || acquisition.released
            };
            let all = table.entries(name).flat_map(|entry| entry.acquisitions.values());
            let reported: BTreeSet<_> = all.filter(received).map(|acquisition| acquisition.lease_id.as_str()).collect();
            let forgotten = entry.acquisitions.iter().find(|(_, acquisition)| {
                let lease_id = acquisition.lease_id.as_str();
                let excused = self.is_dead(acquisition.process) || table.given_up_ids.contains(lease_id);
                !reported.contains(lease_id) && !excused && !table.release_sent.contains(lease_id)
            });
            if let Some((token, _)) = forgotten {
                self.violation("E (given back)", format!("{name}: {token} was neither reported nor released"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use dynamo_lock_protocol::{Ends, FencingToken, Kind, LeaseId, NextLease, RecordVersion};

    use super::*;
    use crate::mutants::MutantConfig;
    use crate::world::{Reduction, stack::StoreKind};

    /// Returns the promises that are broken if lock 7 is never reported, its holder hands it over to another call, and
    /// receives `row`.
    fn broken_after_handover(row: Option<Option<Row>>) -> BTreeSet<&'static str> {
        let world = World::new(1, MutantConfig::NONE, (StoreKind::Model, true), &Reduction::default(), false);
        let acquisition =
            Acquisition { lease_id: LeaseId::from_random(7).as_str().to_owned(), ..Acquisition::default() };
        let next = NextLease {
            lease_id: LeaseId::from_random(8),
            lease_ms: 3000,
            ends: Ends { expires_on: 9000, service_timestamp: false, ttl: 9 },
            owner: "o".to_owned(),
            data: None,
            liveness_key: None,
        };
        let kind = OpKind::HandOver { lease_id: LeaseId::from_random(7), token: FencingToken::new(7), next };
        let name = dynamo_lock::LockName::new("a").expect("the name is valid");
        lock(&world.table).locks.entry("a".to_owned()).or_default().acquisitions.insert(7, acquisition);
        let op = Op { name, version: RecordVersion::from_random(9), row_kind: Kind::Mutex, kind };
        row.into_iter().for_each(|row| world.record_loss(&op, row.as_ref()));
        world.check_unreported();
        std::mem::take(&mut lock(&world.history).broken)
    }

    fn row(lease_id: u128, token: u64) -> Row {
        let mut row = Row::default();
        row.set(attr::LEASE_ID, LeaseId::from_random(lease_id).as_str().into());
        row.set(attr::TOKEN, token.into());
        row.set(attr::EXPIRES_ON, 9000.into());
        row
    }

    /// A lock that was acquired together with others is handed over after the lease has ended.
    #[test]
    fn handover_of_ended_lease_leaves_nothing_to_give_back() {
        for ended in [None, Some(row(5, 9)), Some(row(7, 9))] {
            assert!(broken_after_handover(Some(ended)).is_empty());
        }
    }

    #[test]
    fn lock_without_report_must_be_given_back() {
        let broken = BTreeSet::from(["E (given back)"]);
        assert_eq!(broken_after_handover(None), broken, "without a result");
        assert_eq!(broken_after_handover(Some(Some(row(7, 7)))), broken, "the row still has the lease");
    }
}
