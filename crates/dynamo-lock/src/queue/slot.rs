//! [`Slot`]: the future of a driver, and [`DriverTask`], which polls it.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, TryLockError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dynamo_lock_protocol::ClockReading;

use super::Queues;
use super::driver::Drive;
use super::local_lock::Poller;
use crate::core::Core;
use crate::store::BoxFuture;
use crate::sync::{Mutex, lock};
use crate::{LockName, StoreError, StoreErrorKind};

/// Interval in which the task of a driver shows that its runtime runs.
const PULSE: Duration = Duration::from_secs(1);
/// Time without a sign of its task after which another waiter replaces a driver.
pub(super) const STALLED: Duration = Duration::from_secs(3);

/// The future of a driver. One waiter polls it while it is alone; a task does from the second waiter on.
///
/// A thread that ends the driver takes the future out and drops it at once, so that the clean-up of its attempt begins
/// then.
pub(super) struct Slot {
    inner: Mutex<Inner>,
    is_stopped: AtomicBool,
    polled_at: Mutex<ClockReading>,
}

struct Inner {
    future: Option<BoxFuture<'static, ()>>,
    /// The task that polls the future, if one does. The wake-ups of the future must go to it.
    task: Option<Waker>,
}

/// Drops the future of a driver that has panicked.
struct Polled<'a>(&'a mut Option<BoxFuture<'static, ()>>);

impl Drop for Polled<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            *self.0 = None;
        }
    }
}

impl Slot {
    pub(super) fn new(core: &Arc<Core>, name: &LockName, id: u64) -> Arc<Self> {
        let future: BoxFuture<'static, ()> = Box::pin(Drive { core: core.clone(), name: name.clone(), id }.run());
        Arc::new(Self {
            inner: Mutex::new(Inner { future: Some(future), task: None }),
            is_stopped: AtomicBool::new(false),
            polled_at: Mutex::new(core.clock.now()),
        })
    }

    /// Polls the driver, unless a task does. Completes once the driver has ended.
    pub(super) fn poll(&self, at: ClockReading, is_task: bool, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_stopped.load(SeqCst) {
            *lock(&self.polled_at) = at;
            let mut inner = lock(&self.inner);
            if is_task {
                inner.task = Some(cx.waker().clone());
            } else if inner.task.is_some() {
                return Poll::Pending;
            }
            let polled = Polled(&mut inner.future);
            if polled.0.as_mut().is_none_or(|future| future.as_mut().poll(cx).is_ready()) {
                *polled.0 = None;
                return Poll::Ready(());
            }
        }
        // It may have been stopped meanwhile by a thread that did not wait for this one.
        match self.is_stopped.load(SeqCst) {
            true => {
                self.stop();
                Poll::Ready(())
            }
            false => Poll::Pending,
        }
    }

    /// Ends the driver. The clean-up of its attempt goes on in the background.
    pub(super) fn stop(&self) {
        self.is_stopped.store(true, SeqCst);
        let taken = match self.inner.try_lock() {
            Ok(mut inner) => (inner.future.take(), inner.task.take()),
            Err(TryLockError::Poisoned(inner)) => (inner.into_inner().future.take(), None),
            // The thread that polls it drops it.
            Err(TryLockError::WouldBlock) => return,
        };
        drop(taken.0);
        if let Some(task) = taken.1 {
            task.wake(); // It ends.
        }
    }

    /// Returns whether the driver has not been polled for so long that its runtime is not driven any more.
    pub(super) fn is_stalled(&self, at: ClockReading) -> bool {
        at.waiter_elapsed_since(*lock(&self.polled_at)) >= STALLED
    }
}

/// Task that polls a driver. If it is dropped early, because its runtime has ended, another waiter starts a new driver.
pub(super) struct DriverTask {
    core: Arc<Core>,
    name: LockName,
    id: u64,
    slot: Arc<Slot>,
    pulse: Option<BoxFuture<'static, ()>>,
    is_polling: bool,
    is_done: bool,
}

impl DriverTask {
    pub(super) fn new(core: &Arc<Core>, name: &LockName, id: u64, slot: Arc<Slot>) -> Self {
        Self { core: core.clone(), name: name.clone(), id, slot, pulse: None, is_polling: false, is_done: false }
    }
}

impl Future for DriverTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.is_polling = true;
        let end = this.slot.poll(this.core.clock.now(), true, cx);
        this.is_polling = false;
        this.is_done = end.is_ready();
        while !this.is_done {
            let pulse = this.pulse.get_or_insert_with(|| this.core.clock.sleep(PULSE));
            if pulse.as_mut().poll(cx).is_pending() {
                break;
            }
            this.pulse = None;
        }
        end
    }
}

impl Drop for DriverTask {
    fn drop(&mut self) {
        if !self.is_done {
            self.slot.stop();
            self.core.queues.driver_lost(&self.core, &self.name, self.id, self.is_polling);
        }
    }
}

impl Queues {
    /// Registers that the task of a driver was dropped. The first waiter that is polled starts another driver.
    fn driver_lost(&self, core: &Arc<Core>, name: &LockName, id: u64, has_panicked: bool) {
        if self.is_forked() {
            return;
        }
        self.with(core, name, |local, _, effects| {
            let Some(queue) = local.driven_by(id) else { return };
            let poller = queue.driver.take().map(|driver| driver.poller);
            if has_panicked {
                let last = queue.waiters.last_key_value().map_or(0, |(id, _)| *id);
                return queue.fail_until(last, &panicked().into(), effects);
            }
            for waiter in queue.waiters.values_mut() {
                waiter.has_no_runtime |=
                    matches!(&poller, Some(Poller::Task(runtime)) if runtime.id() == waiter.runtime.id());
            }
            effects.wake.extend(queue.take_wakers());
        });
    }
}

/// Returns the error of all waiters after a panic in their driver.
fn panicked() -> StoreError {
    let problem = "the store or the observer panicked while this acquisition waited";
    StoreError::new(StoreErrorKind::Refused, problem).with_fix("fix the cause of the panic")
}
