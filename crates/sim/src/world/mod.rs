//! Worlds: the real client on hosts that pause and crash, over a network that loses and repeats requests, in virtual
//! time.
//!
//! One seed makes one world. A world runs on one thread and in paused tokio time. Nothing in it depends on real time,
//! on real random bits or on the order of a hash map, so a seed has the same trace in every process.
#![allow(clippy::disallowed_methods)] // tokio's time is paused here

mod actors;
mod checks;
mod command;
mod format;
mod history;
mod host;
mod network;
mod plan;
mod reduction;
mod scenario;
mod stack;
mod table;
mod wild;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use test_support::{EPOCH_MS, Rng, lock};
use tokio::time::Instant;

use crate::mutants::MutantConfig;

pub use command::run::{count_panics, hunt_in, main, violations_in, violations_with_shared_rows_in};
pub use command::shrink::main as shrink;
use format::{show, show_op, show_outcome};
use host::{Host, Process, ProcessEnv, Stop};
use network::Link;
use plan::Plan;
use reduction::Reduction;

/// State of one world: the true time, the table, and the history.
pub struct World {
    begin: Instant,
    pub plan: Plan,
    pub mutant: MutantConfig,
    pub real_store: Option<Arc<dyn stack::RealStore>>,
    pub rng: Mutex<Rng>,
    pub table: Mutex<table::Table>,
    pub validities: Mutex<checks::validity::Validities>,
    pub sharing: Mutex<checks::sharing::Sharing>,
    pub children: Mutex<checks::children::Children>,
    pub history: Mutex<history::History>,
    pub burst_until: Mutex<Duration>,
    /// Results that callers received.
    pub calls: Mutex<checks::linearizability::Calls>,
    /// IDs of the processes that have crashed.
    dead: Mutex<BTreeSet<u64>>,
    quiescent: AtomicBool,
    stopping: AtomicBool,
    ids: AtomicU64,
}

impl World {
    pub fn new(
        seed: u64,
        mutant: MutantConfig,
        (kind, shared): (stack::StoreKind, bool),
        reduction: &Reduction,
        tracing: bool,
    ) -> Self {
        let mut rng = Rng::mixed(seed);
        let mut plan = Plan::of(&mut rng);
        if shared {
            plan.share();
        }
        kind.restrict(&mut plan);
        reduction.restrict(&mut plan);
        let rng = reduction.rng(rng);
        Self {
            begin: Instant::now(),
            quiescent: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            plan,
            mutant,
            real_store: kind.real_store(),
            rng: Mutex::new(rng),
            table: Mutex::default(),
            validities: Mutex::default(),
            sharing: Mutex::default(),
            children: Mutex::default(),
            history: Mutex::new(history::History::new(tracing)),
            burst_until: Mutex::default(),
            ids: AtomicU64::new(0),
            dead: Mutex::default(),
            calls: Mutex::default(),
        }
    }

    /// Returns the true time since the world began.
    pub fn time(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Returns the true time in milliseconds since 1970.
    pub fn epoch_ms(&self) -> u64 {
        EPOCH_MS + self.time().as_millis() as u64
    }

    pub fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Relaxed)
    }

    pub fn is_dead(&self, process: u64) -> bool {
        lock(&self.dead).contains(&process)
    }

    pub fn set_dead(&self, process: u64) {
        lock(&self.dead).insert(process);
    }

    /// Begins a phase, or ends it: workers finish what they do and begin nothing more.
    pub fn set_phase(&self, stopping: bool, quiescent: bool) {
        self.stopping.store(stopping, Relaxed);
        self.quiescent.store(quiescent, Relaxed);
    }

    /// Returns whether faults are off now.
    pub fn is_quiescent(&self) -> bool {
        self.quiescent.load(Relaxed)
    }

    /// Returns whether the phase has ended.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    /// Adds one line to the trace, if this world has one.
    pub fn trace(&self, line: impl FnOnce() -> String) {
        let time = self.time();
        lock(&self.history).line(time, line);
    }

    /// Records that a promise is broken.
    pub fn violation(&self, promise: &'static str, what: String) {
        let time = self.time();
        lock(&self.history).violation(time, promise, what);
    }

    pub fn check(&self, holds: bool, promise: &'static str, what: impl FnOnce() -> String) {
        if !holds {
            self.violation(promise, what());
        }
    }

    pub fn count(&self, what: impl Into<Cow<'static, str>>) {
        lock(&self.history).count(what.into());
    }
}
