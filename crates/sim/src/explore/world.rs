//! The state of the model.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use dynamo_lock_protocol::{
    Acquire, ClockReading, Held, Hold, Op, Outcome, Release, Renewal, Revoke, Row, ServiceClock, ServiceDate, WaitMode,
    Watch,
};

use super::calm::Calm;
use super::clocks::Clocks;
use super::fingerprint::fingerprint;

/// A small world to be explored to its end.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub name: &'static str,
    pub about: &'static str,
    /// The instants at which anything can happen, ms of real time.
    pub grid: Vec<u64>,
    pub clients: Vec<Client>,
    pub budget: Budget,
    /// Possible deviations of a `Date` from service time in seconds. `None` is a response without a date. Empty: the store has
    /// no service clock.
    pub dates: Vec<Option<i64>>,
    pub legacy: Option<Legacy>,
    /// Whether rows of holds have a liveness key, because all clients share the clocks of one machine.
    pub hold_keys: bool,
    /// Duration of a freeze or suspension, in milliseconds.
    pub jump_ms: u64,
}

/// A host with one client on it.
#[derive(Clone, Debug)]
pub struct Client {
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
}

/// The original npm client: believes by its wall clock, and overwrites what is past.
#[derive(Clone, Copy, Debug)]
pub struct Legacy {
    pub wall_ms: i64,
    pub lease_ms: u64,
}

/// Number of faults that may still happen.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq)]
pub struct Budget {
    /// Time passes although an agent could act or is waiting for a response.
    pub delay: u8,
    /// A request or its answer is lost, and the client knows no more than that.
    pub unknown: u8,
    /// A request that its client has given up is still on its way.
    pub late: u8,
    /// A request is applied, and once more later.
    pub copies: u8,
    /// An acquire is dropped.
    pub drops: u8,
    /// A host loses all that it knows.
    pub crashes: u8,
    /// An operator revokes what is held.
    pub revokes: u8,
    /// An eventually consistent read brings the version before.
    pub stale: u8,
    /// A host stands still and no clock of it counts: never while it holds or writes (A2).
    pub freezes: u8,
    /// A host sleeps.
    pub sleeps: u8,
    /// The original client overwrites the row.
    pub legacy: u8,
    /// An operator frees by force what is held.
    pub forces: u8,
    /// The service deletes a row whose `ttl` has passed.
    pub purges: u8,
    /// A client inspects the lock.
    pub inspections: u8,
}

/// A value with its fingerprint, shared between states.
#[derive(Debug)]
pub struct Shared<T>(Arc<T>, u128);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), self.1)
    }
}

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
#[derive(Clone, Debug, Hash)]
pub struct World {
    /// Index into the grid.
    pub tick: u8,
    /// Real time beyond the grid, from freezes and suspensions.
    pub jumped_ms: u64,
    pub row: Option<Shared<Row>>,
    /// The version before, for stale reads.
    pub before: Option<Shared<Row>>,
    pub hosts: Vec<Shared<Host>>,
    pub agents: Vec<Shared<Agent>>,
    /// Requests that were given up and that may still be applied.
    pub wire: Vec<Shared<Op>>,
    /// The version that the original client has seen to be over.
    pub legacy_saw: Option<String>,
    pub left: Budget,
    pub past: Past,
    /// Nothing disturbs any more.
    pub calm: Option<Calm>,
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
    /// The original client was in.
    pub legacy: bool,
}

/// State that a client keeps between acquisitions.
#[derive(Clone, Debug, Hash)]
pub struct Host {
    pub watch: Option<Watch>,
    pub service: Option<ServiceClock>,
    /// Nonces used.
    pub used: u64,
    pub acquisitions: u8,
    pub frozen_ms: u64,
    pub slept_ms: u64,
}

/// A machine and the request that it waits for: a task of a client.
#[derive(Clone, Debug, Hash)]
pub struct Agent {
    pub host: u8,
    pub machine: Machine,
    pub flight: Option<Flight>,
    /// Only for mutants: lag of the time that it receives, in milliseconds, and a reading that it has noted.
    pub lag_ms: i64,
    pub noted: Option<ClockReading>,
}

#[derive(Clone, Debug, Hash)]
pub enum Machine {
    Acquire(Acquire),
    /// A hold, until it is reported.
    Hold(HoldTask),
    /// An acquire with a dropped future: the response in flight is waited for, and the lock is given back.
    Dropped(Acquire),
    /// A hold with a dropped future.
    DroppedHold(Hold),
    /// An inspection, until its read is answered.
    Inspect,
    /// An inspection that has ended.
    Inspected,
    /// A reported guard or hold; also once it is lost, until the user drops it.
    Held(Held),
    Release(Closing),
    Revoke(Revoke),
    /// For a mutant only: renewals of what was let go of.
    Renewing(Held),
}

/// A hold, and the time at which its user requested it.
#[derive(Clone, Debug, Hash)]
pub struct HoldTask {
    pub hold: Hold,
    pub began: ClockReading,
}

/// A release, with what it was of.
#[derive(Clone, Debug, Hash)]
pub struct Closing {
    pub release: Release,
    /// None: a clean-up.
    pub token: Option<u64>,
    pub lease_id: String,
    /// The guard was lost before it was released.
    pub was_lost: bool,
}

#[derive(Clone, Debug, Hash)]
pub struct Flight {
    pub request: Asked,
    pub sent: ClockReading,
    /// The tick at which it was sent or answered: what comes of it comes later.
    pub since: u8,
    pub answer: Option<Answer>,
}

#[derive(Clone, Debug, Hash)]
pub enum Asked {
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
}

impl World {
    pub fn initial(config: &Config) -> Self {
        let host = |client: &Client| Shared::new(Host::new(client, config));
        Self {
            tick: 0,
            jumped_ms: 0,
            row: None,
            before: None,
            hosts: config.clients.iter().map(host).collect(),
            agents: Vec::new(),
            wire: Vec::new(),
            legacy_saw: None,
            left: config.budget,
            past: Past::default(),
            calm: None,
        }
    }

    pub fn real_ms(&self, config: &Config) -> u64 {
        config.grid[usize::from(self.tick)] + self.jumped_ms
    }

    pub fn host(&mut self, host: u8, change: impl FnOnce(&mut Host)) {
        let mut value = (*self.hosts[usize::from(host)]).clone();
        change(&mut value);
        self.hosts[usize::from(host)] = Shared::new(value);
    }

    /// Background agents come in a fixed order, so that equal states look equal.
    pub fn sort(&mut self) {
        self.agents.sort_by_key(|agent| (agent.host, agent.is_main(), agent.print()));
        self.wire.sort_by_key(Shared::print);
    }
}

impl Host {
    pub fn new(client: &Client, config: &Config) -> Self {
        Self {
            watch: None,
            service: (!config.dates.is_empty()).then(ServiceClock::default),
            used: 0,
            acquisitions: client.acquisitions,
            frozen_ms: 0,
            slept_ms: 0,
        }
    }
}

impl Agent {
    pub fn new(host: u8, machine: Machine) -> Self {
        Self { host, machine, flight: None, lag_ms: 0, noted: None }
    }

    /// Returns whether this is the task that the user of the client waits for or holds.
    pub fn is_main(&self) -> bool {
        matches!(self.machine, Machine::Acquire(_) | Machine::Hold(_) | Machine::Held(_))
    }
}
