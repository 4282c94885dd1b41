//! [`Rehearsal`]: a drill in progress.
//!
//! A drill acts on this process alone. It limits the time that the supervisor is granted, or holds back the answers of
//! the store, and the lock is renewed and released as in every run. No other client can therefore acquire the lock
//! before the command has ended.

use std::sync::{Arc, atomic::AtomicBool, atomic::Ordering};
use std::{cell::Cell, time::Duration};

use dynamo_lock::LockName;
use dynamo_lock::store::{Answer, BoxFuture, Consistency, Liveness, Op, Outcome, Page, Row, Store};
use dynamo_lock_protocol::ClockReading;

use crate::{clock, drill::Drill, plan::RunTask, ui::output};

/// Time between two checks whether an answer is still held back.
const HOLD_BACK_INTERVAL: Duration = Duration::from_millis(100);

/// A drill in progress.
#[derive(Debug)]
pub struct Rehearsal {
    drill: Drill,
    phase: Cell<Phase>,
    answers: HeldBack,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The lock is not held yet.
    Ahead,
    /// The lock was acquired at this time.
    Running { acquired_at: ClockReading, announced: bool },
    /// The command has ended. With `--forever`, no further run of it is a drill.
    Ended,
}

/// Switch that holds back the answers of a [`SlowStore`].
#[derive(Clone, Debug, Default)]
struct HeldBack(Arc<AtomicBool>);

impl HeldBack {
    fn set(&self, held_back: bool) {
        self.0.store(held_back, Ordering::Relaxed);
    }

    /// Waits until answers are not held back.
    async fn wait(&self) {
        while self.0.load(Ordering::Relaxed) {
            clock::sleep(HOLD_BACK_INTERVAL).await;
        }
    }
}

impl Rehearsal {
    pub fn new(drill: Drill) -> Self {
        Self { drill, phase: Cell::new(Phase::Ahead), answers: HeldBack::default() }
    }

    /// Returns the store to use, which is `store` itself unless its answers are held back.
    pub fn store(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        match self.drill {
            Drill::SlowStore => Arc::new(SlowStore { inner: store, answers: self.answers.clone() }),
            Drill::Lost(_) | Drill::Revoked(_) => store,
        }
    }

    /// Returns the drill, unless it has ended.
    pub fn drill(&self) -> Option<Drill> {
        (self.phase.get() != Phase::Ended).then_some(self.drill)
    }

    /// Begins the drill, because the lock was acquired and the command is about to start.
    pub fn begin(&self, acquired_at: ClockReading, task: &RunTask) {
        if self.phase.get() != Phase::Ahead {
            return;
        }
        self.phase.set(Phase::Running { acquired_at, announced: false });
        if self.drill == Drill::SlowStore {
            self.answers.set(true);
            self.announce(acquired_at, &format!("no answer of the store about {} arrives in time", task.phrase()));
        }
    }

    /// Ends the drill, because the command has ended. Returns its name for the result if the loss was rehearsed.
    pub fn end(&self) -> Option<Drill> {
        self.answers.set(false);
        let announced = matches!(self.phase.replace(Phase::Ended), Phase::Running { announced: true, .. });
        announced.then_some(self.drill)
    }

    /// Returns the time that is left to the command of the time that is left of the lease.
    pub fn limit(&self, left: Duration, task: &RunTask) -> Duration {
        let (Drill::Lost(time), Some(elapsed)) = (self.drill, self.elapsed()) else { return left };
        let limited = (time + task.grace).saturating_sub(elapsed);
        if elapsed >= time && limited < left {
            self.announce_begin(&format!("{} counts as about to be lost", task.phrase()));
        }
        left.min(limited)
    }

    /// Returns whether the acquisition counts as revoked.
    pub fn is_revoked(&self, task: &RunTask) -> bool {
        let Drill::Revoked(time) = self.drill else { return false };
        let is_revoked = self.elapsed().is_some_and(|elapsed| elapsed >= time);
        if is_revoked {
            self.announce_begin(&format!("{} counts as revoked", task.phrase()));
        }
        is_revoked
    }

    /// Returns the time until the loss begins, if that is not left to the lease.
    pub fn time_left(&self) -> Option<Duration> {
        Some(self.drill.time()?.saturating_sub(self.elapsed()?)).filter(|left| !left.is_zero())
    }

    /// Returns the time since the acquisition while the drill is in progress.
    fn elapsed(&self) -> Option<Duration> {
        match self.phase.get() {
            Phase::Running { acquired_at, .. } => Some(clock::now().holder_elapsed_since(acquired_at)),
            Phase::Ahead | Phase::Ended => None,
        }
    }

    fn announce_begin(&self, state: &str) {
        if let Phase::Running { acquired_at, announced: false } = self.phase.get() {
            self.announce(acquired_at, &format!("{state}, so the command is ended"));
        }
    }

    /// Prints that the loss begins, once and also in quiet mode.
    fn announce(&self, acquired_at: ClockReading, text: &str) {
        self.phase.set(Phase::Running { acquired_at, announced: true });
        let _pending = output::start_message(&format!("drill {}: {text}", self.drill));
    }
}

/// A store with answers that can be held back, so that its client gives their requests up. The requests take effect.
#[derive(Debug)]
struct SlowStore {
    inner: Arc<dyn Store>,
    answers: HeldBack,
}

impl Store for SlowStore {
    fn read<'a>(&'a self, name: &'a LockName, consistency: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
        Box::pin(async move {
            let answer = self.inner.read(name, consistency).await;
            self.answers.wait().await;
            answer
        })
    }

    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>> {
        Box::pin(async move {
            let answer = self.inner.write(op).await;
            self.answers.wait().await;
            answer
        })
    }

    fn list<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Answer<Page>> {
        self.inner.list(after)
    }

    fn ready(&self) -> Option<BoxFuture<'_, ()>> {
        self.inner.ready()
    }

    fn service_clock(&self) -> bool {
        self.inner.service_clock()
    }

    fn npm_clients(&self) -> bool {
        self.inner.npm_clients()
    }

    fn liveness_key(&self) -> Option<&str> {
        self.inner.liveness_key()
    }

    fn hold_liveness_key(&self, duration: Duration) -> Option<String> {
        self.inner.hold_liveness_key(duration)
    }

    fn hold_time_left(&self, liveness_key: &str) -> Option<Duration> {
        self.inner.hold_time_left(liveness_key)
    }

    fn liveness(&self, liveness_key: &str) -> Liveness {
        self.inner.liveness(liveness_key)
    }

    fn changed(&self, name: &LockName) -> Option<BoxFuture<'static, ()>> {
        self.inner.changed(name)
    }
}
