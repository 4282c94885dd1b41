//! [`Queues`]: the waiters of one client, in a FIFO queue per lock.
//!
//! The waiters of a lock share one driver, which alone talks to the store (`driver.rs`). It waits while a guard of this
//! client holds the lock. Then it acquires the lock for the first waiter and offers it. The waiter takes the offer and
//! makes its guard (`ticket.rs`). A single waiter polls the driver itself, so that an acquisition without contention
//! needs no task. From the second waiter on a task does, so that a future that is not polled delays no other waiter.
//!
//! One mutex protects all queues of a client. It is never locked in a forked child, and no code of callers, stores or
//! runtimes runs while it is locked, because such code may drop a waiter. [`Effects`] follow after that.

mod driver;
mod effects;
mod handover;
mod local_lock;
mod slot;
mod ticket;

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use dynamo_lock_protocol::{ClockReading, Request};

use crate::core::Core;
use crate::process::ProcessId;
use crate::renewal::Holding;
use crate::sync::{Mutex, lock};
use crate::{LockName, StoreError, StoreErrorKind};

use effects::Effects;
pub(crate) use handover::{OldGuard, Successor, hand_over};
pub(crate) use local_lock::Signals;
use local_lock::{LocalLock, Own, Waiter};
pub(crate) use ticket::acquire;

/// All locks that a client holds or waits for.
pub(crate) struct Queues {
    process: ProcessId,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Number of the last waiter, driver or release.
    last_id: u64,
    locks: BTreeMap<LockName, Entry>,
}

/// A lock that the client holds or waits for.
#[derive(Default)]
enum Entry {
    #[default]
    Unused,
    /// A lock with a guard alone. A process may hold thousands of them.
    Held(Weak<Holding>),
    /// A lock with waiters, with a release that has not ended, or with handovers in a row.
    Local(Box<LocalLock>),
}

impl From<Entry> for Box<LocalLock> {
    fn from(entry: Entry) -> Self {
        match entry {
            Entry::Unused => Self::default(),
            Entry::Held(holding) => Self::new(LocalLock { own: Own::Held(holding), ..LocalLock::default() }),
            Entry::Local(local) => local,
        }
    }
}

impl From<Box<LocalLock>> for Entry {
    fn from(local: Box<LocalLock>) -> Self {
        match *local {
            LocalLock { own: Own::None, queue: None, .. } => Self::Unused,
            LocalLock { own: Own::Held(holding), series: None, queue: None } => Self::Held(holding),
            _ => Self::Local(local),
        }
    }
}

/// The release of a lock. Its drop is the end of the release, for which waiters of the same client wait.
pub(crate) struct Ending {
    core: Arc<Core>,
    name: LockName,
    id: u64,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.core.queues.end(&self.core, &self.name, self.id);
    }
}

impl Queues {
    pub(crate) fn new() -> Self {
        Self { process: ProcessId::current(), state: Mutex::default() }
    }

    /// Returns whether this is a forked copy of the process. Another thread may have locked the mutex at the time of
    /// the fork, so the copy must not wait for it.
    pub(crate) fn is_forked(&self) -> bool {
        !self.process.is_current()
    }

    /// Calls `f` with the state of a lock, a fresh number, and the effects that follow. Forgets the lock if it is
    /// neither held nor awaited after that.
    fn with<T>(&self, core: &Arc<Core>, name: &LockName, f: impl FnOnce(&mut LocalLock, u64, &mut Effects) -> T) -> T {
        let mut effects = Effects::default();
        let output = {
            let mut state = lock(&self.state);
            state.last_id += 1;
            let id = state.last_id;
            let entry = state.locks.entry(name.clone()).or_default();
            let mut local: Box<LocalLock> = std::mem::take(entry).into();
            let output = f(&mut local, id, &mut effects);
            if let Some(queue) = local.queue.take_if(|queue| queue.is_empty()) {
                effects.stop.extend(queue.driver.map(|driver| driver.slot));
            }
            *entry = local.into();
            if matches!(entry, Entry::Unused) {
                state.locks.remove(name);
            }
            output
        };
        effects.perform(core, name);
        output
    }

    /// Returns whether the client neither holds a lock nor waits for one.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.state).locks.is_empty()
    }

    /// Registers a guard as the holder of its lock.
    pub(crate) fn hold(&self, holding: &Arc<Holding>) {
        if self.is_forked() {
            return;
        }
        self.with(&holding.core, &holding.name, |local, _, effects| {
            if !matches!(local.own, Own::Taken) {
                local.series = None;
            }
            local.set_own(Own::Held(Arc::downgrade(holding)), effects);
        });
    }

    /// Registers the beginning of a release. Waiters wait for its end, but at most for `at_most`, because its runtime
    /// may not be driven. Returns the waiter to which the lock can be handed over. Returns nothing if the client has
    /// acquired the lock again since.
    pub(crate) fn begin_end(&self, holding: &Arc<Holding>, at_most: Duration) -> (Option<Ending>, Option<Successor>) {
        if self.is_forked() {
            return (None, None);
        }
        let (core, name) = (&holding.core, &holding.name);
        self.with(core, name, |local, id, effects| {
            if !local.is_held_by(holding) {
                return (None, None);
            }
            let at = core.clock.now();
            local.set_own(Own::Ending { id, since: at, at_most }, effects);
            let successor = holding.lease.with(|held| local.successor(held, core.turns, at));
            (Some(Ending { core: core.clone(), name: name.clone(), id }), successor)
        })
    }

    /// Registers the end of a release.
    fn end(&self, core: &Arc<Core>, name: &LockName, ended: u64) {
        if self.is_forked() {
            return;
        }
        self.with(core, name, |local, _, effects| {
            if matches!(local.own, Own::Ending { id, .. } if id == ended) {
                local.set_own(Own::None, effects);
            }
        });
    }

    /// Adds a waiter to the end of the queue of its lock, and returns its number.
    fn join(&self, core: &Arc<Core>, request: Request, began: ClockReading, limit: Option<Duration>) -> u64 {
        let (name, runtime) = (request.name.clone(), core.runtime());
        self.with(core, &name, |local, id, effects| {
            let is_held = local.holder(began).is_some();
            let queue = local.queue.get_or_insert_default();
            let waiter = Waiter::new(request, began, limit, runtime, &queue.signals);
            if is_held {
                queue.signals.count_row();
            }
            queue.waiters.insert(id, Box::new(waiter));
            queue.keep_driven(core, &name, id, effects);
            id
        })
    }

    /// Wakes the waiters that have just seen the row for the first time, so that they report their waits.
    pub(crate) fn row_seen(&self, core: &Arc<Core>, name: &LockName) {
        self.with(core, name, |local, _, effects| {
            local.queue.iter_mut().for_each(|queue| queue.wake_new_waiters(effects));
        });
    }

    /// Ends all waits with an error. The clean-up of their attempts begins at once.
    pub(crate) fn close(&self, core: &Arc<Core>) {
        if self.is_forked() {
            return;
        }
        let names: Vec<_> = lock(&self.state).locks.keys().cloned().collect();
        for name in names {
            self.with(core, &name, |local, id, effects| local.close(core.clock.now(), id, effects));
        }
    }
}

/// Returns the error of a wait that `close` has ended.
fn closed() -> StoreError {
    let problem = "the client was closed while this acquisition waited";
    StoreError::new(StoreErrorKind::Refused, problem).with_fix("acquire after `close`, or close the client later")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, Memory, TryAcquire};

    fn client() -> Client {
        Client::builder(Memory::new()).build().expect("valid")
    }

    /// The state of a lock exists only while a guard or a waiter of the client does.
    #[tokio::test(start_paused = true)]
    async fn state_of_a_lock_is_removed_after_its_use() {
        let client = client();
        let lock = client.lock("a").expect("valid");
        let wait = |lock: &crate::Lock| {
            let lock = lock.clone();
            tokio::spawn(async move { lock.acquire_within(Duration::from_secs(1)).await })
        };
        for cut in 0..3 {
            let guard = lock.acquire().await.expect("free");
            let waiters = [wait(&lock), wait(&lock), wait(&lock)];
            tokio::task::yield_now().await;
            waiters[cut].abort();
            if cut == 1 {
                // The others reach their limit.
                core_pause(&client, Duration::from_secs(2)).await;
            }
            guard.release().await.expect("held");
            for waiter in waiters {
                if let Ok(Ok(guard)) = waiter.await {
                    guard.release().await.expect("held");
                }
            }
            assert!(client.core.queues.is_empty(), "after {cut}");
        }
        let TryAcquire::Acquired(guard) = lock.try_acquire().await.expect("no error") else { panic!("it is free") };
        assert!(!client.core.queues.is_empty(), "control");
        drop(guard);
        client.close().await;
        assert!(client.core.queues.is_empty());
    }

    async fn core_pause(client: &Client, length: Duration) {
        client.core.pause(length).await;
    }

    /// A thread that had locked the queues at the time of the fork does not exist in the child, so the child would wait
    /// for ever if it locked them.
    #[tokio::test]
    #[allow(clippy::await_holding_lock)] // nothing else needs it
    async fn forked_child_locks_no_queue() {
        let mut client = client();
        let guard = client.lock("b").expect("valid").acquire().await.expect("free");
        let child = Queues { process: ProcessId::of_parent(), state: Mutex::default() };
        drop(guard);
        client.close().await;
        Arc::get_mut(&mut client.core).expect("the only handle").queues = child;
        let core = client.core.clone();
        let _locked = lock(&core.queues.state);
        let lock = client.lock("a").expect("valid");
        let guard = lock.acquire_within(Duration::from_secs(60)).await.expect("free");
        guard.release().await.expect("held");
        drop(lock.acquire().await.expect("free"));
        client.close().await;
    }
}
