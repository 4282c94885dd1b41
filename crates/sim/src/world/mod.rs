//! Random worlds: the real client on hosts that pause and crash, over a network that loses and repeats, in virtual time.
//!
//! A world comes from one seed. It runs on one thread, on paused tokio time; nothing in it looks at real time, at real
//! luck or at the order of a hash map, so a seed tells the same story each time.
#![allow(clippy::disallowed_methods)] // tokio's time is paused here

mod actors;
mod checks;
mod coverage;
mod dice;
mod history;
mod host;
mod less;
mod linearize;
mod network;
mod others;
mod plan;
mod run;
mod shrink;
mod stack;
mod store;
mod town;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::mutants::MutantConfig;

pub use run::{count_panics, hunt_in, main, violations_in};
pub use shrink::main as shrink;

/// Epoch ms of the true time at which every world begins.
const EPOCH_MS: u64 = 1_800_000_000_000;

/// Everything that there is: true time, the table, and what has happened.
pub struct World {
    begin: Instant,
    pub plan: plan::Plan,
    pub mutant: MutantConfig,
    pub real: Option<Arc<dyn stack::Real>>,
    pub dice: Mutex<dice::Dice>,
    pub table: Mutex<store::Table>,
    pub validities: Mutex<checks::Validities>,
    pub history: Mutex<history::History>,
    pub burst_until: Mutex<Duration>,
    /// What callers were told.
    pub calls: Mutex<linearize::Calls>,
    /// Processes that have crashed.
    dead: Mutex<BTreeSet<u64>>,
    calm: AtomicBool,
    stopping: AtomicBool,
    ids: AtomicU64,
}

impl World {
    pub fn new(seed: u64, mutant: MutantConfig, kind: stack::Kind, less: &less::Less, tracing: bool) -> Self {
        let mut dice = dice::Dice::new(seed);
        let mut plan = plan::Plan::of(&mut dice);
        kind.settle(&mut plan);
        less.settle(&mut plan);
        let dice = less.dice(dice);
        Self {
            begin: Instant::now(),
            calm: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            plan,
            mutant,
            real: kind.real(),
            dice: Mutex::new(dice),
            table: Mutex::default(),
            validities: Mutex::default(),
            history: Mutex::new(history::History::new(tracing)),
            burst_until: Mutex::default(),
            ids: AtomicU64::new(0),
            dead: Mutex::default(),
            calls: Mutex::default(),
        }
    }

    /// True time since the world began.
    pub fn time(&self) -> Duration {
        self.begin.elapsed()
    }

    /// True time, epoch ms.
    pub fn epoch_ms(&self) -> u64 {
        EPOCH_MS + self.time().as_millis() as u64
    }

    pub fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Relaxed)
    }

    pub fn is_dead(&self, host: u64) -> bool {
        lock(&self.dead).contains(&host)
    }

    pub fn set_dead(&self, host: u64) {
        lock(&self.dead).insert(host);
    }

    /// Whether the network is well now, and nobody is disturbed.
    pub fn is_calm(&self) -> bool {
        self.calm.load(Relaxed)
    }

    pub fn set_calm(&self, calm: bool) {
        self.calm.store(calm, Relaxed);
    }

    /// Whether the act is over: whoever ends something begins nothing more.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    pub fn set_stopping(&self, stopping: bool) {
        self.stopping.store(stopping, Relaxed);
    }

    /// One line of the story, if anybody reads it.
    pub fn trace(&self, line: impl FnOnce() -> String) {
        let time = self.time();
        lock(&self.history).line(time, line);
    }

    /// A promise is broken.
    pub fn violation(&self, promise: &'static str, what: String) {
        let time = self.time();
        lock(&self.history).violation(time, promise, what);
    }

    pub fn check(&self, holds: bool, promise: &'static str, what: impl FnOnce() -> String) {
        if !holds {
            self.violation(promise, what());
        }
    }

    pub fn count(&self, what: &'static str) {
        lock(&self.history).count(what);
    }
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
