//! The state of the model.

use std::{hash::Hash, hash::Hasher, sync::Arc};

use dynamo_lock_protocol::{
    Access, ClockReading, Deadline, Handover, Held, Hold, Op, Outcome, Refusal, Release, Renewal, Revoke, Row,
    ServiceClock, ServiceDate, WaitMode, Watch,
};

use super::{
    Acquisition, EntryFacts, clocks::Clocks, fingerprint::fingerprint, once::FinishTask, once::PastSuccesses,
    once::Work, quiescence::Quiescence,
};

/// A small world to be explored to its end.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub name: &'static str,
    pub about: &'static str,
    /// The instants at which anything can happen, ms of real time.
    pub grid: Vec<u64>,
    pub clients: Vec<Client>,
    /// Clients that start at quiescence, in place of one with a plain lock. The last two are readers that come without
    /// end.
    pub newcomers: Vec<Client>,
    /// Kind of all locks.
    pub work: Work,
    pub budget: Budget,
    /// The only client whose steps and requests may be late. `None`: those of all clients may be.
    pub slow: Option<u8>,
    /// Possible deviations of a `Date` from service time in seconds. `None` is a response without a date. Empty: the
    /// store has no service clock.
    pub dates: Vec<Option<i64>>,
    pub legacy: Option<Legacy>,
    pub wild: Option<Wild>,
    /// Whether rows of holds have a liveness key, because all clients share the clocks of one machine.
    pub hold_keys: bool,
    /// Duration of a freeze or suspension, in milliseconds.
    pub jump_ms: u64,
}

/// A host with one client on it.
#[derive(Clone, Debug)]
pub struct Client {
    /// Access to a shared row. `None`: the client acquires a plain lock.
    pub access: Option<Access>,
    pub lease_ms: u64,
    pub renewal: Renewal,
    pub wait_mode: WaitMode,
    pub clocks: Clocks,
    /// Number of acquisitions.
    pub acquisitions: u8,
    /// Every acquisition reads first.
    pub reads_first: bool,
    /// Duration of the hold that the client acquires, in milliseconds. `None`: it acquires a guard.
    pub hold_ms: Option<u64>,
    /// Lease of its further users, in milliseconds. A guard may be handed over to them. `None`: it has one user.
    pub next_lease_ms: Option<u64>,
}

/// Legacy client: decides by its wall clock, and overwrites expired rows.
#[derive(Clone, Copy, Debug)]
pub struct Legacy {
    pub wall_ms: i64,
    pub lease_ms: u64,
}

/// Wrong clock of one host of the service.
#[derive(Clone, Copy, Debug)]
pub struct Wild {
    /// Deviation of its dates in seconds.
    pub seconds: i64,
    /// Whether the first date that a client receives may be wrong.
    pub first: bool,
}

/// Number of faults that may still happen.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq)]
pub struct Budget {
    /// Time passes although a task could act or is waiting for a response.
    pub delay: u8,
    /// A request or its answer is lost, so that its outcome is unknown.
    pub unknown: u8,
    /// An abandoned request may still be applied.
    pub late: u8,
    /// A request is applied, and once more later.
    pub copies: u8,
    /// An acquire is dropped.
    pub drops: u8,
    /// A host crashes.
    pub crashes: u8,
    /// An operator revokes the lock.
    pub revokes: u8,
    /// An eventually consistent read returns the previous version.
    pub stale: u8,
    /// A host freezes, and none of its clocks counts: never while it holds or writes (A2).
    pub freezes: u8,
    /// A host sleeps.
    pub sleeps: u8,
    /// The legacy client overwrites the row.
    pub legacy: u8,
    /// An operator revokes the lock by force.
    pub forces: u8,
    /// The service deletes a row whose `ttl` has passed.
    pub purges: u8,
    /// A client inspects the lock.
    pub inspections: u8,
    /// A response has a wild date.
    pub wild: u8,
    /// The store refuses a request, for example for lack of a permission.
    pub refusals: u8,
    /// The table is deleted. It may be created again at any later time.
    pub deletions: u8,
    /// An operator resets a success.
    pub resets: u8,
    /// A waiter receives a hint of the store, with or without a change of the row.
    pub hints: u8,
    /// An operator makes the row, which is free, a row of another kind.
    pub conversions: u8,
}

/// A value with its fingerprint, shared between states.
#[derive(Clone, Debug)]
pub struct Shared<T>(Arc<T>, u128);

impl<T: Hash> Shared<T> {
    pub fn new(value: T) -> Self {
        let print = fingerprint(&value);
        Self(Arc::new(value), print)
    }

    pub fn print(&self) -> u128 {
        self.1
    }
}

impl<T: Clone> Shared<T> {
    pub fn clone_inner(&self) -> T {
        (*self.0).clone()
    }
}

impl<T> std::ops::Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.1);
    }
}

/// One state.
#[derive(Clone, Debug, Default, Hash)]
pub struct World {
    /// Index into the grid.
    pub tick: u8,
    /// Real time beyond the grid, from freezes and suspensions.
    pub jumped_ms: u64,
    pub row: Option<Shared<Row>>,
    /// The version before, for stale reads.
    pub before: Option<Shared<Row>>,
    /// Whether the table does not exist at present.
    pub has_no_table: bool,
    pub hosts: Vec<Shared<Host>>,
    pub tasks: Vec<Shared<Task>>,
    /// Abandoned requests that may still be applied.
    pub late_requests: Vec<Shared<Op>>,
    /// The expired version that the legacy client has read.
    pub legacy_seen: Option<String>,
    pub left: Budget,
    pub past: Past,
    /// No fault and no request of a user happens any more.
    pub quiescence: Option<Quiescence>,
}

/// Facts of the past that the properties need.
#[derive(Clone, Debug, Default, Hash)]
pub struct Past {
    /// The largest token that an acquisition reported.
    pub reported: u64,
    /// Tokens with an applied release.
    pub released: Vec<u64>,
    /// Tokens that an operator revoked.
    pub revoked: Vec<u64>,
    /// Largest token of a forced revocation. Acquisitions up to it are exempt from A.
    pub forced: u64,
    /// The legacy client has overwritten the row.
    pub legacy: bool,
    /// Number of faults that befell requests of handovers. None of them leaves an orphaned lease.
    pub handover_faults: u8,
    /// Lease IDs from before the deletion of the table. Their holders learn it by their next request.
    pub deleted: Vec<String>,
    /// Facts about the entries of a shared row.
    pub entries: EntryFacts,
    /// Recorded successes.
    pub successes: PastSuccesses,
}

/// State that a client keeps between acquisitions.
#[derive(Clone, Debug, Default, Hash)]
pub struct Host {
    pub watch: Option<Watch>,
    pub service: Option<ServiceClock>,
    /// Nonces used.
    pub used: u64,
    pub acquisitions: u8,
    pub frozen_ms: u64,
    pub slept_ms: u64,
}

/// Task of a client: a state machine, and the request that it waits for.
#[derive(Clone, Debug, Hash)]
pub struct Task {
    pub host: u8,
    pub state: TaskState,
    pub flight: Option<InFlight>,
    /// Only for mutants: lag of the time that it receives, in milliseconds, and a reading that it has noted.
    pub lag_ms: i64,
    pub noted: Option<ClockReading>,
}

#[derive(Clone, Debug, Hash)]
pub enum TaskState {
    Acquire(Acquisition),
    /// A hold, until it is reported.
    Hold(HoldTask),
    /// An acquire with a dropped future: the response in flight is waited for, and the lock is given back.
    Dropped(Acquisition),
    /// A hold with a dropped future.
    DroppedHold(Hold),
    /// An inspection, until its read is answered.
    Inspect,
    /// An inspection that has ended.
    Inspected,
    /// A handover to another user of the client, or the wait of that user for its answer.
    Handover(HandoverTask),
    /// A reported guard or hold; also once it is lost, until the user drops it.
    Held(Held),
    Release(ReleaseTask),
    /// The record of a success, in place of a release.
    Finish(FinishTask),
    Revoke(Revoke),
    /// For a mutant only: renewals of a released guard.
    Renewing(Held),
}

/// A hold, and the time at which its user requested it.
#[derive(Clone, Debug, Hash)]
pub struct HoldTask {
    pub hold: Hold,
    pub began: ClockReading,
}

/// A handover, with the guard that was released.
#[derive(Clone, Debug, Hash)]
pub struct HandoverTask {
    pub handover: Handover,
    pub old: Held,
    /// Lease ID of the new guard.
    pub lease_id: String,
    /// End of the old guard's lease. Its release is not given up before.
    pub until: Deadline,
    /// The user who waits for the lock has not gone away.
    pub has_waiter: bool,
}

/// A release, with what it was of.
#[derive(Clone, Debug, Hash)]
pub struct ReleaseTask {
    pub release: Release,
    /// None: a clean-up.
    pub token: Option<u64>,
    pub lease_id: String,
    /// The guard was lost before it was released.
    pub was_lost: bool,
    /// End of the lease that it releases, if it is known. It is not given up before.
    pub until: Option<Deadline>,
}

#[derive(Clone, Debug, Hash)]
pub struct InFlight {
    pub request: RequestBody,
    pub sent: ClockReading,
    /// Tick at which it was sent or answered. Its next event happens at a later tick.
    pub since: u8,
    pub answer: Option<Answer>,
}

#[derive(Clone, Debug, Hash)]
pub enum RequestBody {
    Read { strong: bool },
    Write(Shared<Op>),
}

#[derive(Clone, Debug, Hash)]
pub struct Answer {
    pub body: Body,
    pub date: Option<ServiceDate>,
}

#[derive(Clone, Debug, Hash)]
pub enum Body {
    Row(Option<Shared<Row>>),
    Outcome(Shared<Outcome>),
    Refused(Refusal),
}

impl World {
    pub fn initial(config: &Config) -> Self {
        let hosts = config.clients.iter().map(|client| Shared::new(Host::new(client, config))).collect();
        Self { hosts, left: config.budget, ..Self::default() }
    }

    pub fn real_ms(&self, config: &Config) -> u64 {
        config.grid[usize::from(self.tick)] + self.jumped_ms
    }

    pub fn host(&mut self, host: u8, change: impl FnOnce(&mut Host)) {
        let mut value = (*self.hosts[usize::from(host)]).clone();
        change(&mut value);
        self.hosts[usize::from(host)] = Shared::new(value);
    }

    /// Sorts the background tasks, so that equal states have equal fingerprints.
    pub fn sort(&mut self) {
        self.tasks.sort_by_key(|task| (task.host, task.is_main(), task.print()));
        self.late_requests.sort_by_key(Shared::print);
        self.past.entries.forget(&self.tasks);
    }
}

impl Host {
    pub fn new(client: &Client, config: &Config) -> Self {
        let service = (!config.dates.is_empty()).then(ServiceClock::default);
        Self { service, acquisitions: client.acquisitions, ..Self::default() }
    }
}

impl Task {
    pub fn new(host: u8, state: TaskState) -> Self {
        Self { host, state, flight: None, lag_ms: 0, noted: None }
    }

    /// Returns whether this is the task that the user of the client waits for or holds.
    pub fn is_main(&self) -> bool {
        match &self.state {
            TaskState::Acquire(_) | TaskState::Hold(_) | TaskState::Held(_) => true,
            TaskState::Handover(task) => task.has_waiter,
            _ => false,
        }
    }
}
