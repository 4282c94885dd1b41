//! Checks that a client leaves a lock to other clients: the limits of its handovers, and its rest after them.

use std::time::Duration;

use dynamo_lock::simulation::ClockReading;
use dynamo_lock_protocol::{Op, OpKind};

use crate::world::{Process, World, table::Entry};

/// Maximum number of handovers in a row.
const HANDOVERS_MAX: u64 = 16;
/// Maximum length of a run of holds without a rest, unless the lease is shorter.
const RUN_MAX: Duration = Duration::from_secs(2);
/// Shortest rest: three quarters of 25 ms, less the drift of a fast clock.
const REST_MIN: Duration = Duration::from_millis(18);

/// Holds of one process without a rest.
#[derive(Debug, Default)]
pub struct Turn {
    /// Handovers since the last acquisition.
    handovers: u64,
    /// Time at which the last acquisition was first sent.
    acquired: Option<ClockReading>,
    run: Option<Run>,
}

#[derive(Debug)]
struct Run {
    process: u64,
    began: ClockReading,
    /// Time at which its last release was first sent.
    ended: Option<ClockReading>,
}

impl World {
    /// Checks that an applied write does not keep a lock from other clients.
    pub fn check_turn(&self, process: &Process, op: &Op, entry: &mut Entry, lease: Duration, sent_at: ClockReading) {
        match &op.kind {
            OpKind::Acquire(_) => self.check_rest(process, op, entry, lease, sent_at),
            OpKind::HandOver { token, .. } => {
                let old = entry.acquisitions.get(&token.get()).and_then(|old| Some(old.writes.last()?.1));
                self.check_series(op, &mut entry.turn, old.unwrap_or_default(), sent_at);
            }
            OpKind::Release { lease_id, .. } => {
                // No rest follows the release of a lost lock, of one that no waiter took, or after a failed handover.
                let guard = entry.by_lease_id(lease_id.as_str());
                let is_plain = guard.is_some_and(|guard| guard.reported && !guard.lost && guard.handover.is_none());
                entry.turn.run = entry.turn.run.take().filter(|run| is_plain && run.process == process.id);
                entry.turn.run.iter_mut().for_each(|run| run.ended = Some(sent_at));
            }
            OpKind::Renew { .. } => {}
            _ => entry.turn.run = None,
        }
        if let OpKind::Acquire(_) | OpKind::TakeOver { .. } = &op.kind {
            (entry.turn.handovers, entry.turn.acquired) = (0, Some(sent_at));
        }
    }

    /// Checks a handover: the series has at most sixteen, and none is sent later than one lease after the acquisition
    /// that began the series. `lease` is that of the old guard.
    fn check_series(&self, op: &Op, turn: &mut Turn, lease: Duration, sent_at: ClockReading) {
        turn.handovers += 1;
        let count = turn.handovers;
        self.check(count <= HANDOVERS_MAX, "F (series)", || format!("{}: {count} handovers in a row", op.name));
        let Some(acquired) = turn.acquired else { return };
        let age = Duration::from_nanos(sent_at.boot_ns.saturating_sub(acquired.boot_ns));
        self.check(age <= lease, "F (series)", || format!("{}: a handover {age:?} after the acquisition", op.name));
    }

    /// Checks an acquisition: a process that has held the lock for long has rested since.
    fn check_rest(&self, process: &Process, op: &Op, entry: &mut Entry, lease: Duration, sent_at: ClockReading) {
        let run = entry.turn.run.take().filter(|run| run.process == process.id);
        // The look of an attempt that began before the release gives the client no advantage, and neither does an acquire
        // that was sent before it and arrives after it.
        let began = process.look_before(op.version.as_str()).unwrap_or(sent_at);
        let rests =
            |ended: ClockReading| began.boot_ns <= ended.boot_ns || sent_at.waiter_elapsed_since(ended) >= REST_MIN;
        let run = run.filter(|run| run.ended.is_some_and(|ended| !rests(ended)));
        let length = run.as_ref().and_then(|run| Some(run.ended?.waiter_elapsed_since(run.began))).unwrap_or_default();
        let is_short = length <= lease.min(RUN_MAX) || process.is_hasty_write(op.version.as_str());
        self.check(is_short, "F (rest)", || {
            format!("{process:?} has held {} for {length:?}, and acquires it again without a rest", op.name)
        });
        let began = run.map_or(sent_at, |run| run.began);
        entry.turn.run = Some(Run { process: process.id, began, ended: None });
    }
}
