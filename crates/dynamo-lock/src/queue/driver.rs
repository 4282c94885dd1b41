//! The driver of a queue: the one task that talks to the store for the waiters of a lock.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, TryLockError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dynamo_lock_protocol::{Acquire, AcquireEnd, ClockReading, Held, Machine, Request};

use super::Queues;
use super::effects::{Effects, Unwanted};
use super::local_lock::{AttemptOwner, LocalLock, Poller, Queue, Signals};
use crate::acquisition::row_error;
use crate::core::Core;
use crate::renewal::Holding;
use crate::run::Run;
use crate::store::BoxFuture;
use crate::sync::{Mutex, lock};
use crate::{AcquireError, LockName, StoreError, StoreErrorKind};

/// Interval in which the task of a driver shows that its runtime runs.
const PULSE: Duration = Duration::from_secs(1);
/// Time without a sign of its task after which another waiter replaces a driver.
pub(super) const STALLED: Duration = Duration::from_secs(3);

/// The future of a driver. One waiter polls it while it is alone; a task does from the second waiter on.
///
/// Whoever ends the driver takes the future out and drops it at once, so that the clean-up of its attempt begins then.
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

/// Next step of a driver.
enum Plan {
    Stop,
    /// Wait until something changes, the holder loses the lock, or the time has passed.
    Wait {
        signals: Arc<Signals>,
        holder: Option<Arc<Holding>>,
        at_most: Duration,
    },
    Attempt(Attempt),
}

/// An attempt to acquire the lock for the first waiter.
struct Attempt {
    request: Request,
    limit: Option<Duration>,
    /// The last waiter that was in the queue when the attempt began.
    last_waiter: u64,
    signals: Arc<Signals>,
}

/// Continuation of an attempt after the time limit of a waiter.
enum AfterLimit {
    /// The attempt goes on for another waiter, with its limit. The wait of `ended` has ended.
    Next {
        ended: Option<u64>,
        limit: Option<Duration>,
    },
    /// The attempt must end, and then the wait of `ended`.
    GiveBack {
        ended: u64,
    },
    Stop,
}

/// The driver of the queue of one lock.
struct Drive {
    core: Arc<Core>,
    name: LockName,
    id: u64,
}

impl Drive {
    /// Serves the waiters until none is left, or until another driver has replaced this one.
    async fn run(self) {
        loop {
            match self.plan() {
                Plan::Stop => return,
                Plan::Wait { signals, holder, at_most } => self.wait(&signals, holder, at_most).await,
                Plan::Attempt(attempt) => self.attempt(attempt).await,
            }
        }
    }

    async fn wait(&self, signals: &Signals, holder: Option<Arc<Holding>>, at_most: Duration) {
        let lost = async {
            match holder {
                Some(holder) => _ = holder.until_lost().await,
                None if at_most < Duration::MAX => self.core.pause(at_most).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = signals.changed.notified() => {}
            () = lost => {}
        }
    }

    /// Acquires the lock for one of the waiters. If it is dropped, the background cleans up.
    async fn attempt(&self, attempt: Attempt) {
        let Attempt { request, mut limit, last_waiter, signals } = attempt;
        let (core, name) = (&self.core, &self.name);
        let timeout = request.timing.attempt_timeout();
        let machine = Acquire::new(request.clone(), core.watches.get(name)).after(core.own_holds.get(name));
        let mut run = Run::new(core, name, machine, timeout);
        run.signals = Some(signals.clone());
        let end = loop {
            match self.complete_within(&mut run, limit, &request, &signals).await {
                Attempted::Ended(end) => break end,
                Attempted::Unwanted => return,
                Attempted::LimitPassed => {}
            }
            let after = self.limit_passed(&request);
            let (AfterLimit::Next { ended: Some(ended), .. } | AfterLimit::GiveBack { ended }) = after else {
                match after {
                    AfterLimit::Next { limit: next, .. } => limit = next,
                    _ => return,
                }
                continue;
            };
            let holder = run.machine.watch().map(|watch| watch.holder.clone());
            // If no row was read, the lock may be free, and the store is the reason.
            let unread = run.last_error.clone().filter(|_| !run.has_row);
            let error = |waited| unread.map_or(AcquireError::TimedOut { holder, waited }, AcquireError::Store);
            let AfterLimit::Next { limit: next, .. } = after else {
                run.give_back().await;
                return self.fail(ended, error);
            };
            self.fail(ended, error);
            limit = next;
        };
        match end {
            AcquireEnd::Acquired(held) => {
                core.watches.remove(name);
                self.offer(held, &request);
            }
            AcquireEnd::RowError(error) => self.fail_until(last_waiter, &row_error(name, error)),
            // A machine that waits reports no contention, and only a hold is lost before it is reported.
            AcquireEnd::Unanswered | AcquireEnd::Refused | AcquireEnd::Lost { .. } | AcquireEnd::Contended(_) => {
                self.fail_until(last_waiter, &run.take_last_error().into());
            }
        }
    }

    /// Runs an attempt to its end or to the limit, or until no waiter wants it.
    async fn complete_within(
        &self,
        run: &mut Run<Acquire>,
        limit: Option<Duration>,
        request: &Request,
        signals: &Signals,
    ) -> Attempted {
        let mut end = pin!(run.complete_within(limit));
        loop {
            tokio::select! {
                biased;
                end = &mut end => return end.map_or(Attempted::LimitPassed, Attempted::Ended),
                () = signals.changed.notified() => {
                    if !self.keeps_attempt(request) {
                        return Attempted::Unwanted;
                    }
                }
            }
        }
    }

    /// Calls `f` with the state of the lock, the time, a fresh number, and the effects that follow. Returns `None` if
    /// another driver has replaced this one.
    fn with<T>(&self, f: impl FnOnce(&mut LocalLock, ClockReading, u64, &mut Effects) -> T) -> Option<T> {
        self.core.queues.with(&self.core, &self.name, |local, id, effects| {
            local.driven_by(self.id)?;
            Some(f(local, self.core.clock.now(), id, effects))
        })
    }

    /// Returns the next step.
    fn plan(&self) -> Plan {
        self.with(|local, at, id, effects| {
            let holder = local.holder(at);
            let settles_in = local.settles_in(at);
            let Some(queue) = &mut local.queue else { return Plan::Stop };
            let signals = queue.signals.clone();
            if let Some(left) = queue.offer.as_ref().and_then(|offer| offer.left(at)) {
                return Plan::Wait { signals, holder: None, at_most: left };
            }
            if let Some(offer) = queue.offer.take() {
                let (request, runtime) = (offer.waiter.request.clone(), offer.waiter.runtime.clone());
                // Its waiter keeps its place, but does not count before its future is polled again.
                queue.waiters.insert(offer.id, offer.waiter.idle());
                local.pass_on((&request, runtime), offer.held, at, id, effects);
                return Plan::Wait { signals, holder: None, at_most: Duration::ZERO };
            }
            if holder.is_some() {
                return Plan::Wait { signals, holder, at_most: Duration::MAX };
            }
            if let Some(at_most) = settles_in {
                return Plan::Wait { signals, holder: None, at_most };
            }
            queue.plan_attempt(at).map_or(Plan::Stop, Plan::Attempt)
        })
        .unwrap_or(Plan::Stop)
    }

    /// Returns whether the attempt goes on. If its waiter has gone away, it is passed on to the next one, unless their
    /// options differ.
    fn keeps_attempt(&self, request: &Request) -> bool {
        let keeps = self.with(|local, at, _, _| {
            let holder = local.holder(at);
            let queue = local.queue.as_deref_mut().filter(|_| holder.is_none())?;
            let next = queue.head_for(request);
            let attempt = queue.driver.as_mut()?.attempt.as_mut()?;
            if queue.waiters.get(&attempt.id).is_none_or(|waiter| waiter.is_idle) {
                attempt.id = next?;
            }
            Some(())
        });
        keeps.flatten().is_some()
    }

    /// Returns how the attempt goes on after the time limit that it has observed.
    fn limit_passed(&self, request: &Request) -> AfterLimit {
        let after = self.with(|local, at, _, _| {
            let queue = local.queue.as_deref_mut()?;
            let limited_for = queue.driver.as_ref()?.attempt.as_ref()?.limited_for;
            let ended = queue.waiters.contains_key(&limited_for).then_some(limited_for);
            let mut others = queue.waiters.iter().filter(|(id, waiter)| **id != limited_for && !waiter.is_idle);
            let next = others.next().filter(|(_, waiter)| waiter.request == *request);
            match (next.map(|(id, waiter)| (*id, waiter.left(at))), ended) {
                (Some((id, limit)), ended) => {
                    queue.driver.as_mut()?.attempt = Some(AttemptOwner { id, limited_for: id });
                    Some(AfterLimit::Next { ended, limit })
                }
                (None, Some(ended)) => Some(AfterLimit::GiveBack { ended }),
                (None, None) => None,
            }
        });
        after.flatten().unwrap_or(AfterLimit::Stop)
    }

    /// Ends the wait of one waiter. `error` receives the time that it has waited.
    fn fail(&self, id: u64, error: impl FnOnce(Duration) -> AcquireError) {
        self.with(|local, at, _, effects| {
            let Some(queue) = &mut local.queue else { return };
            let Some(waiter) = queue.waiters.remove(&id) else { return };
            queue.failed.insert(id, Box::new(error(at.waiter_elapsed_since(waiter.began))));
            effects.wake.extend(waiter.waker);
        });
    }

    /// Ends the waits of all waiters that were in the queue when the attempt began.
    fn fail_until(&self, last: u64, error: &AcquireError) {
        self.with(|local, _, _, effects| {
            if let Some(queue) = &mut local.queue {
                queue.fail_until(last, error, effects);
            }
        });
    }

    /// Offers the lock to the waiter of the attempt, or to the next one. Releases it if no waiter wants it.
    fn offer(&self, held: Box<Held>, request: &Request) {
        let runtime = self.core.runtime();
        self.core.queues.with(&self.core, &self.name, |local, id, effects| {
            let at = self.core.clock.now();
            let driver = local.driven_by(self.id).and_then(|queue| queue.driver.as_mut());
            let Some(attempt) = driver.and_then(|driver| driver.attempt.take()) else {
                effects.release = Some(Unwanted { held, runtime, end: id });
                return;
            };
            let queue = local.queue.as_deref_mut();
            let owner = queue.filter(|queue| queue.waiters.get(&attempt.id).is_some_and(|waiter| !waiter.is_idle));
            match owner {
                Some(queue) => effects.wake.extend(queue.offer(attempt.id, held, at)),
                None => local.pass_on((request, runtime), held, at, id, effects),
            }
        });
    }
}

/// End of one part of an attempt.
enum Attempted {
    Ended(AcquireEnd),
    LimitPassed,
    Unwanted,
}

impl Queue {
    /// Begins an attempt for the first waiter. Returns `None` and removes the driver if no waiter counts.
    fn plan_attempt(&mut self, at: ClockReading) -> Option<Attempt> {
        let first = self.head().map(|(id, waiter)| (id, waiter.request.clone(), waiter.left(at)));
        let Some((id, request, limit)) = first else {
            self.driver = None;
            return None;
        };
        self.driver.as_mut()?.attempt = Some(AttemptOwner { id, limited_for: id });
        let last_waiter = self.waiters.last_key_value().map_or(id, |(id, _)| *id);
        Some(Attempt { request, limit, last_waiter, signals: self.signals.clone() })
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
