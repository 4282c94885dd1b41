//! [`Ticket`]: the place of an acquisition in a queue.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dynamo_lock_protocol::{ClockReading, Held, Holder, Request};

use super::local_lock::{Driver, Own, Poller, Queue};
use super::slot::{STALLED, Slot};
use super::{Effects, Entry, Queues, closed};
use crate::acquisition::acquire_directly;
use crate::core::Core;
use crate::store::BoxFuture;
use crate::sync::lock;
use crate::{AcquireError, Event, Guard, LockName, TryAcquire, wait::Wait};

/// Interval in which a waiter checks after its limit whether the driver has ended its wait.
const LATE_PAUSE: Duration = Duration::from_millis(50);

/// Waits in the queue of the lock, and acquires it. With a `limit` it waits at most that long.
///
/// If it is dropped, its place goes to the next waiter, also if the lock was just acquired for it.
pub(crate) async fn acquire(
    core: Arc<Core>,
    request: Request,
    limit: Option<Duration>,
) -> Result<TryAcquire, AcquireError> {
    let began = core.clock.now();
    let name = request.name.clone();
    let id = core.queues.join(&core, request, began, limit);
    let mut ticket = Ticket { core, name, id, began, limit, timer: None, is_late: false, wait: None };
    let end = poll_fn(|cx| ticket.poll(cx)).await;
    let (core, name) = (&ticket.core, &ticket.name);
    match end {
        End::Taken(held) => {
            let waited = core.clock.now().holder_elapsed_since(began);
            core.event(Event::Acquired { name, token: held.token(), waited });
            Ok(TryAcquire::Acquired(Guard::new(core.clone(), *held)))
        }
        End::Failed(error) => Err(contended(core, name, *error)),
        End::TimedOut(holder) => {
            let waited = core.clock.now().waiter_elapsed_since(began);
            Err(contended(core, name, AcquireError::TimedOut { holder, waited }))
        }
        End::LastTry(request) => {
            let core = core.clone();
            drop(ticket);
            Ok(Box::pin(acquire_directly(core, *request, Some(Duration::ZERO), began)).await?.into_try()?)
        }
    }
}

/// Reports an acquisition that has ended because the lock is held, and returns its error.
fn contended(core: &Core, name: &LockName, error: AcquireError) -> AcquireError {
    if let AcquireError::TimedOut { holder, waited } = &error {
        core.event(Event::Contended { name, holder: holder.as_ref(), waited: *waited });
    }
    error
}

struct Ticket {
    core: Arc<Core>,
    name: LockName,
    id: u64,
    began: ClockReading,
    limit: Option<Duration>,
    timer: Option<BoxFuture<'static, ()>>,
    /// Whether the limit has passed, while the driver still waits for a response.
    is_late: bool,
    /// The wait, once it was reported.
    wait: Option<Wait>,
}

/// End of the wait in a queue.
enum End {
    Taken(Box<Held>),
    Failed(Box<AcquireError>),
    TimedOut(Option<Holder>),
    /// The limit has passed, and nothing is known of the lock. One request must be sent.
    LastTry(Box<Request>),
}

/// State of a waiter that has polled the driver.
#[derive(PartialEq)]
enum WaiterState {
    Ended,
    /// The driver observes its time limit.
    LimitObserved,
    Waiting,
}

/// Next step of a waiter.
enum View {
    End(End),
    /// The waiter polls the driver.
    Drive(Arc<Slot>),
    Wait,
}

impl Ticket {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let core = self.core.clone();
        loop {
            match core.queues.view(&core, &self.name, self.id, cx.waker()) {
                View::End(end) => return Poll::Ready(end),
                View::Wait => self.report_wait(),
                View::Drive(slot) => {
                    let is_done = slot.poll(core.clock.now(), false, cx).is_ready();
                    let state = core.queues.state_of(&self.name, self.id);
                    if is_done || state == WaiterState::Ended {
                        continue;
                    }
                    self.report_wait();
                    if state == WaiterState::LimitObserved {
                        // No other waiter could replace the driver, so that no timer is needed.
                        self.timer = None;
                        return Poll::Pending;
                    }
                }
            }
            if self.poll_timer(cx).is_pending() {
                return Poll::Pending;
            }
            match self.left().is_zero() {
                true => match core.queues.limit_end(&core, &self.name, self.id) {
                    Some(end) => return Poll::Ready(end),
                    None => self.is_late = true,
                },
                false => core.queues.replace_stalled_driver(&core, &self.name, self.id),
            }
        }
    }

    /// Reports the wait for a holder, once.
    fn report_wait(&mut self) {
        if self.wait.is_none()
            && let Some(holder) = self.core.queues.awaited_holder(&self.core, &self.name, self.id)
        {
            self.wait = Some(Wait::begin(&self.core, &self.name, &holder));
        }
    }

    /// Returns the time until the limit.
    fn left(&self) -> Duration {
        let waited = self.core.clock.now().waiter_elapsed_since(self.began);
        self.limit.map_or(Duration::MAX, |limit| limit.saturating_sub(waited))
    }

    /// Waits until the limit, or until it is time to check whether the driver is stalled. After the limit, waits for the
    /// driver in short pauses.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let left = if self.is_late { LATE_PAUSE } else { self.left().max(Duration::from_millis(1)) };
        let timer = self.timer.get_or_insert_with(|| self.core.clock.sleep(left.min(STALLED)));
        let end = timer.as_mut().poll(cx);
        if end.is_ready() {
            self.timer = None;
        }
        end
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.core.queues.leave(&self.core, &self.name, self.id);
    }
}

impl Queues {
    /// Returns what a waiter has to do next, and remembers its waker.
    fn view(&self, core: &Arc<Core>, name: &LockName, id: u64, waker: &Waker) -> View {
        // Panics without a runtime, before anything has changed.
        drop(core.runtime());
        self.with(core, name, |local, new_id, effects| {
            let at = core.clock.now();
            let Some(queue) = &mut local.queue else { return View::End(End::Failed(Box::new(closed().into()))) };
            if let Some(error) = queue.failed.remove(&id) {
                return View::End(End::Failed(error));
            }
            if let Some(mut offer) = queue.offer.take_if(|offer| offer.id == id) {
                // R5: after all waiting.
                if offer.held.check(at).is_none() {
                    queue.follow(&offer.waiter.runtime, (core, name, new_id), effects);
                    local.set_own(Own::Taken, effects);
                    return View::End(End::Taken(offer.held));
                }
                // It keeps its place.
                local.release(offer.waiter.runtime.clone(), offer.held, at, new_id, effects);
                let Some(queue) = &mut local.queue else { return View::Wait };
                queue.waiters.insert(id, offer.waiter);
            }
            let Some(queue) = &mut local.queue else { return View::Wait };
            queue.view(core, (name, id), waker, new_id, effects)
        })
    }

    /// Returns the state of a waiter.
    fn state_of(&self, name: &LockName, id: u64) -> WaiterState {
        let state = lock(&self.state);
        let Some(Entry::Local(local)) = state.locks.get(name) else { return WaiterState::Ended };
        let queue = local.queue.as_ref().filter(|queue| queue.waiters.contains_key(&id));
        let Some(queue) = queue else { return WaiterState::Ended };
        let attempt = queue.driver.as_ref().and_then(|driver| driver.attempt.as_ref());
        match attempt.is_some_and(|attempt| attempt.limited_for == id) {
            true => WaiterState::LimitObserved,
            false => WaiterState::Waiting,
        }
    }

    /// Returns the holder for which a waiter waits. Returns `None` if no response since the beginning of its wait has
    /// shown one.
    fn awaited_holder(&self, core: &Core, name: &LockName, id: u64) -> Option<Holder> {
        let state = lock(&self.state);
        let Some(Entry::Local(local)) = state.locks.get(name) else { return None };
        let queue = local.queue.as_deref()?;
        let waiter = queue.waiters.get(&id)?;
        let own = || local.describe_holder(core, core.clock.now());
        let other = || core.watches.get(name).map(|watch| watch.holder);
        waiter.has_seen_row(&queue.signals).then(|| own().or_else(other)).flatten()
    }

    /// Returns the end of a wait after its limit has passed. Returns `None` if the driver ends it.
    fn limit_end(&self, core: &Arc<Core>, name: &LockName, id: u64) -> Option<End> {
        self.with(core, name, |local, _, _| {
            let holder = local.describe_holder(core, core.clock.now());
            let queue = local.queue.as_deref()?;
            let waiter = queue.waiters.get(&id)?;
            let attempt = queue.driver.as_ref().and_then(|driver| driver.attempt.as_ref());
            if attempt.is_some_and(|attempt| attempt.limited_for == id) {
                return None;
            }
            Some(match holder {
                None if !waiter.has_seen_row(&queue.signals) => End::LastTry(Box::new(waiter.request.clone())),
                None => End::TimedOut(core.watches.get(name).map(|watch| watch.holder)),
                holder => End::TimedOut(holder),
            })
        })
    }

    /// Starts another driver on the runtime of a waiter if the runtime of the present one is not driven any more.
    fn replace_stalled_driver(&self, core: &Arc<Core>, name: &LockName, id: u64) {
        self.with(core, name, |local, new_id, effects| {
            let Some(queue) = &mut local.queue else { return };
            let Some(waiter) = queue.waiters.get(&id).filter(|waiter| !waiter.has_no_runtime) else { return };
            let (runtime, at) = (waiter.runtime.clone(), core.clock.now());
            let is_own = |driver: &Driver| matches!(driver.poller, Poller::Waiter(waiter) if waiter == id);
            let stalled = queue.driver.take_if(|driver| !is_own(driver) && driver.slot.is_stalled(at));
            if let Some(stalled) = stalled {
                effects.stop.push(stalled.slot);
                queue.start(core, name, new_id, runtime, effects);
            }
        });
    }

    /// Removes a waiter after its future was dropped or its wait has ended.
    fn leave(&self, core: &Arc<Core>, name: &LockName, id: u64) {
        if self.is_forked() {
            return;
        }
        self.with(core, name, |local, new_id, effects| {
            let Some(queue) = &mut local.queue else { return };
            queue.failed.remove(&id);
            let is_own = |driver: &mut Driver| matches!(driver.poller, Poller::Waiter(waiter) if waiter == id);
            effects.stop.extend(queue.driver.take_if(is_own).map(|driver| driver.slot));
            let gone = match queue.offer.take_if(|offer| offer.id == id) {
                Some(offer) => {
                    let runtime = offer.waiter.runtime.clone();
                    let from = (&offer.waiter.request, runtime.clone());
                    local.pass_on(from, offer.held, core.clock.now(), new_id, effects);
                    Some(runtime)
                }
                None => queue.waiters.remove(&id).map(|waiter| waiter.runtime),
            };
            let Some(queue) = &mut local.queue else { return };
            if let Some(gone) = gone {
                queue.follow(&gone, (core, name, new_id), effects);
                effects.notify = Some(queue.signals.clone());
            }
        });
    }
}

impl Queue {
    /// Returns what a waiter has to do next, while it waits.
    fn view(
        &mut self,
        core: &Arc<Core>,
        (name, id): (&LockName, u64),
        waker: &Waker,
        new_id: u64,
        effects: &mut Effects,
    ) -> View {
        let count = self.waiters.len();
        let Some(waiter) = self.waiters.get_mut(&id) else { return View::End(End::Failed(Box::new(closed().into()))) };
        if waiter.waker.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            waiter.waker = Some(waker.clone());
        }
        if std::mem::take(&mut waiter.is_idle) {
            effects.notify = Some(self.signals.clone());
        }
        match &self.driver {
            Some(Driver { poller: Poller::Waiter(waiter), slot, .. }) if *waiter == id => View::Drive(slot.clone()),
            Some(_) => View::Wait,
            // A driver must not move from the runtime of a caller to a dedicated thread, because its timers would stay behind
            // and end with that runtime. Otherwise this runtime is driven.
            None if (count > 1 || core.thread.is_some()) && !waiter.has_no_runtime => {
                let runtime = waiter.runtime.clone();
                self.start(core, name, new_id, runtime, effects);
                View::Wait
            }
            None => {
                let slot = Slot::new(core, name, new_id);
                let poller = Poller::Waiter(id);
                self.driver = Some(Driver { id: new_id, slot: slot.clone(), poller, attempt: None });
                View::Drive(slot)
            }
        }
    }
}
