//! A guard, its tasks and a table, whose threads run in every order.

use std::sync::OnceLock;
use std::time::Duration;

use dynamo_lock_protocol::{
    Acquire, AcquireEnd, ClockReading, Entropy, Handover, HandoverEnd, Held, HeldStep, Kind, LockName, LossReason,
    Machine, Now, Op, OpKind, Outcome, ReleaseEnd, Renewal, Request, Response, Revoke, Row, SentAt, Step, Target,
    Timing, Verdict, WaitMode, apply, attr,
};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use crate::shared_lease::{LeaseEnding, Loss, ReleaseStart, SharedLease};
use crate::sync::{Mutex, lock};

/// Time at which the lock was acquired, in milliseconds.
const ACQUIRED: u64 = 10;
/// Time of all threads in a model whose lease is valid.
pub const VALID: u64 = 100;
/// Time of all threads in a model whose lease has expired.
pub const EXPIRED: u64 = 60_000;

fn at(ms: u64) -> ClockReading {
    ClockReading { boot_ns: ms * 1_000_000, raw_ns: ms * 1_000_000, wall_ms: 1_800_000_000_000 + ms }
}

/// Returns a time with random bits of its own.
pub fn now(ms: u64, bits: u128) -> Now<'static> {
    Now {
        at: at(ms),
        service: None,
        npm_clients: false,
        entropy: Entropy { version: bits, lease_id: bits << 64, jitter: 0 },
    }
}

/// Performs one write on a row.
fn write(row: &mut Option<Row>, op: &Op) -> Outcome {
    let verdict = apply(row.as_ref(), op);
    if let Verdict::Applied(next) = &verdict {
        *row = Some(next.clone());
    }
    verdict.outcome(op)
}

/// Runs a machine at one time to its end. Each of its writes is answered at once.
fn complete<M: Machine>(machine: &mut M, now: &Now<'_>, mut write: impl FnMut(&Op) -> Outcome) -> M::End {
    loop {
        match machine.next(now) {
            Step::Write(op) => machine.handle(now, Response::outcome(SentAt(now.at), &write(&op))),
            Step::Done(end) => return end,
            _ => unreachable!("each write is answered, so that no machine waits"),
        }
    }
}

fn request() -> Request {
    Request {
        name: LockName::new("a").expect("a valid name"),
        kind: Kind::Mutex,
        owner: "loom".into(),
        timing: Timing::new(Duration::from_secs(20)).expect("a valid lease"),
        renewal: Renewal::Automatic,
        max_hold: None,
        data: None,
        liveness_key: None,
        wait_mode: WaitMode::Try,
    }
}

/// Returns a lock that was just acquired, with a renewal that is due, and its row.
fn acquired() -> (Held, Row) {
    static ACQUISITION: OnceLock<(Held, Row)> = OnceLock::new();
    let acquire = || {
        let mut row = None;
        let end = complete(&mut Acquire::new(request(), None), &now(ACQUIRED, 1), |op| write(&mut row, op));
        let AcquireEnd::Acquired(mut held) = end else { panic!("the lock is free") };
        held.request_renewal();
        (*held, row.expect("the row of the lock"))
    };
    ACQUISITION.get_or_init(acquire).clone()
}

/// State of one execution. The methods correspond to those of `Holding` in `renewal.rs`, which differ by their waits.
pub struct Model {
    pub lease: SharedLease,
    table: Mutex<Option<Row>>,
    ms: u64,
    /// The token of `Guard::cancellation`.
    cancelled: AtomicBool,
    /// Whether the release has begun.
    release_began: AtomicBool,
    releases_sent: AtomicUsize,
    reports: Mutex<Vec<LossReason>>,
}

impl Model {
    /// Creates a held lock, at this time for all threads.
    pub fn new(ms: u64) -> Arc<Self> {
        let (held, row) = acquired();
        Arc::new(Self {
            lease: SharedLease::new(held),
            table: Mutex::new(Some(row)),
            ms,
            cancelled: AtomicBool::new(false),
            release_began: AtomicBool::new(false),
            releases_sent: AtomicUsize::new(0),
            reports: Mutex::new(Vec::new()),
        })
    }

    /// Frees the lock by force, so that its holder loses it to another client.
    pub fn force_revoke(&self) {
        let mut row = lock(&self.table);
        let name = LockName::new("a").expect("a valid name");
        let now = now(self.ms, 2);
        let token = row.as_ref().and_then(Row::token).expect("a held row");
        complete(&mut Revoke::new(&name, Target::Token(token), true, &now), &now, |op| write(&mut row, op));
    }

    /// Performs a write.
    pub fn write(&self, op: &Op) -> Outcome {
        if matches!(op.kind, OpKind::Release { .. }) {
            self.releases_sent.fetch_add(1, SeqCst);
        }
        write(&mut lock(&self.table), op)
    }

    /// Returns whether the row is free.
    pub fn is_free(&self) -> bool {
        lock(&self.table).as_ref().and_then(|row| row.whole(attr::EXPIRES_ON)) == Some(0)
    }

    /// Returns whether another client or guard can hold the lock: the row is free, or it contains another token.
    fn is_gone(&self) -> bool {
        let token = self.lease.with(|held| held.token());
        self.is_free() || lock(&self.table).as_ref().and_then(Row::token) != Some(token)
    }

    /// Returns the number of releases that were sent.
    pub fn releases_sent(&self) -> usize {
        self.releases_sent.load(SeqCst)
    }

    /// Returns all reports of a loss so far.
    pub fn reports(&self) -> Vec<LossReason> {
        lock(&self.reports).clone()
    }

    fn report(&self, loss: &Loss) {
        self.cancel();
        lock(&self.reports).push(loss.reason);
    }

    /// Cancels the tokens of the guard.
    pub fn cancel(&self) {
        self.cancelled.store(true, SeqCst);
    }

    /// Returns the reason of the loss if the lock is lost, and reports it, as each call of a guard does.
    pub fn check(&self) -> Option<LossReason> {
        let reason = self.lease.check(|| at(self.ms))?;
        self.cancel();
        if let Some(loss) = self.lease.claim_report(at(self.ms)) {
            self.report(&loss);
        }
        Some(reason)
    }

    /// Broken variant of [`check`](Self::check): asks and answers in two critical sections whether the loss was
    /// reported.
    pub fn check_in_two_steps(&self) {
        let Some(reason) = self.lease.check(|| at(self.ms)) else { return };
        if self.reports().is_empty() {
            lock(&self.reports).push(reason);
        }
    }

    /// Checks that no other guard can hold the lock while a user of the guard may believe that it is valid.
    pub fn use_guard(&self) {
        let gone = self.is_gone();
        assert!(!gone || self.cancelled.load(SeqCst), "another guard can hold the lock, and the guard is valid");
    }

    /// Performs the next step of the renewal task. Returns whether the task goes on.
    pub fn renew(&self, bits: u128) -> bool {
        self.renew_by(bits, |now| self.lease.next(now))
    }

    /// Like [`renew`](Self::renew), with another way to choose the step.
    pub fn renew_by(&self, bits: u128, next: impl FnOnce(&Now<'_>) -> Option<HeldStep>) -> bool {
        let began = self.release_began.load(SeqCst);
        let now = now(self.ms, bits);
        let Some(step) = next(&now) else { return false };
        match step {
            HeldStep::Write(op) => {
                assert!(!began, "a renewal began after the release");
                let outcome = self.write(&op);
                self.lease.handle(&now, Response::outcome(SentAt(now.at), &outcome), None);
                true
            }
            HeldStep::Lost(_) => {
                self.check();
                false
            }
            HeldStep::Sleep(_) => false,
        }
    }

    /// Ends the renewal task, as its drop does.
    pub fn drop_renewal_task(&self) {
        self.lease.stop_renewing(at(self.ms));
        self.check();
    }

    /// Releases the guard.
    pub fn release(&self) -> ReleaseEnd {
        self.release_by(|start| start.after(|| self.cancel()))
    }

    /// Like [`release`](Self::release), with another way to get from the beginning of the release to its machine.
    pub fn release_by(&self, begin: impl FnOnce(ReleaseStart) -> LeaseEnding) -> ReleaseEnd {
        let mut release = self.end_lease(false, begin).release;
        complete(&mut release, &now(self.ms, 3), |op| self.write(op))
    }

    /// Releases the guard while another guard of the same client waits. Returns whether the lock was handed over.
    pub fn hand_over(&self) -> bool {
        self.hand_over_by(|start| start.after(|| self.cancel()))
    }

    /// Like [`hand_over`](Self::hand_over), with another way to get from the beginning of the release to its machine.
    pub fn hand_over_by(&self, begin: impl FnOnce(ReleaseStart) -> LeaseEnding) -> bool {
        let LeaseEnding { mut release, held } = self.end_lease(true, begin);
        let now = now(self.ms, 4);
        let Some(held) = held else {
            complete(&mut release, &now, |op| self.write(op));
            return false;
        };
        let end = complete(&mut Handover::new(&held, &request(), &now), &now, |op| self.write(op));
        matches!(end, HandoverEnd::Done(_))
    }

    fn end_lease(&self, has_next: bool, begin: impl FnOnce(ReleaseStart) -> LeaseEnding) -> LeaseEnding {
        let mut start = self.lease.begin_release(&now(self.ms, 3), has_next);
        self.release_began.store(true, SeqCst);
        let loss = start.loss.take();
        let end = begin(start);
        if let Some(loss) = loss {
            self.report(&loss);
        }
        end
    }

    /// Checks that the loss was reported once if the lock is lost, and never otherwise.
    pub fn check_reports(&self) {
        let lost = self.lease.check(|| at(self.ms));
        assert_eq!(self.reports(), lost.into_iter().collect::<Vec<_>>(), "a loss is reported once");
    }
}
