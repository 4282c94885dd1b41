//! [`Effects`]: the work that follows a change of a queue.

use std::sync::Arc;
use std::task::Waker;

use dynamo_lock_protocol::{Held, Release};
use tokio::runtime::Handle;

use super::Ending;
use super::local_lock::Signals;
use super::slot::{DriverTask, Slot};
use crate::core::Core;
use crate::{LockName, log};

/// Work that follows a change of a queue once its mutex is unlocked, because it calls code of callers and runtimes.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) wake: Vec<Waker>,
    pub(super) notify: Option<Arc<Signals>>,
    pub(super) stop: Vec<Arc<Slot>>,
    pub(super) start: Option<Start>,
    pub(super) release: Option<Unwanted>,
}

/// A driver to be polled by a task.
pub(super) struct Start {
    pub(super) id: u64,
    pub(super) slot: Arc<Slot>,
    pub(super) runtime: Handle,
}

/// A lock that was acquired and that no waiter wants any more.
pub(super) struct Unwanted {
    pub(super) held: Box<Held>,
    pub(super) runtime: Handle,
    /// Number of its release.
    pub(super) end: u64,
}

impl Effects {
    pub(super) fn perform(self, core: &Arc<Core>, name: &LockName) {
        self.stop.iter().for_each(|slot| slot.stop());
        if let Some(unwanted) = self.release {
            unwanted.release(core, name);
        }
        if let Some(Start { id, slot, runtime }) = self.start {
            runtime.spawn(DriverTask::new(core, name, id, slot));
        }
        if let Some(signals) = self.notify {
            signals.changed.notify_one();
        }
        self.wake.into_iter().for_each(Waker::wake);
    }
}

impl Unwanted {
    /// Releases the lock in the background.
    fn release(self, core: &Arc<Core>, name: &LockName) {
        let timeout = self.held.timing().attempt_timeout();
        let release = core.now(|now| Release::of(&self.held, now));
        let ending = Ending { core: core.clone(), name: name.clone(), id: self.end };
        let work = async move {
            if let Err(error) = ending.core.release(release, timeout).await {
                log::not_released(&ending.core, &ending.name, &error);
            }
            drop(ending);
        };
        core.tasks.spawn_on(work, &self.runtime);
    }
}
