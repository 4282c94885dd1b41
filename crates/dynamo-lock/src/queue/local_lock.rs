//! [`LocalLock`]: the state of one lock in a client, with its waiters.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::{Duration, UNIX_EPOCH};

use dynamo_lock_protocol::{ClockReading, Held, Holder, LeaseId, Request};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::closed;
use super::effects::{Effects, Start, Unwanted};
use super::slot::Slot;
use crate::core::Core;
use crate::renewal::Holding;
use crate::{AcquireError, LockName};

/// Pause between two attempts, as between two polls.
const ATTEMPT_GAP: Duration = Duration::from_millis(25);

/// State of one lock in a client.
#[derive(Default)]
pub(super) struct LocalLock {
    pub(super) own: Own,
    /// Handovers since the last acquisition by a request of its own, `None` if there was none.
    pub(super) series: Option<Series>,
    pub(super) queue: Option<Box<Queue>>,
}

/// Handovers in a row.
#[derive(Clone, Copy)]
pub(super) struct Series {
    /// Time of the acquisition before the first of them.
    pub(super) since: ClockReading,
    pub(super) handovers: u8,
}

/// The latest guard of this client for a lock.
#[derive(Default)]
pub(super) enum Own {
    #[default]
    None,
    /// A waiter has taken the lock and makes its guard.
    Taken,
    /// The guard is used. It may be lost.
    Held(Weak<Holding>),
    /// The lock is being released.
    Ending {
        /// Number of the release.
        id: u64,
        since: ClockReading,
        /// Maximum time for which waiters wait for the end of the release.
        at_most: Duration,
    },
}

/// Waiters of one lock, in the order of their arrival.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) waiters: BTreeMap<u64, Box<Waiter>>,
    /// The lock, acquired for a waiter that has not taken it yet.
    pub(super) offer: Option<Offer>,
    /// Errors that their waiters have not taken yet.
    pub(super) failed: BTreeMap<u64, Box<AcquireError>>,
    pub(super) driver: Option<Driver>,
    /// Time at which the last attempt ended.
    pub(super) attempted_at: Option<ClockReading>,
    pub(super) signals: Arc<Signals>,
}

/// State of a queue that its driver uses without the mutex.
#[derive(Default)]
pub(crate) struct Signals {
    /// Wakes the driver, because the queue has changed.
    pub(super) changed: Notify,
    /// Number of responses so far that contained the row.
    rows: AtomicU64,
    /// Whether a waiter has joined since the last of them.
    has_new_waiter: AtomicBool,
}

/// An acquisition that waits.
pub(super) struct Waiter {
    pub(super) request: Request,
    pub(super) began: ClockReading,
    limit: Option<Duration>,
    pub(super) runtime: Handle,
    pub(super) waker: Option<Waker>,
    /// Whether it has not taken a lock that was offered to it. It counts again once its future is polled.
    pub(super) is_idle: bool,
    /// Whether its runtime has ended, so that only its own future can drive the queue.
    pub(super) has_no_runtime: bool,
    /// Value of [`Signals::rows`] at the beginning of the wait.
    rows_before: u64,
    /// Whether it was woken after a response that contained the row, so that it reports its wait.
    has_seen_row: bool,
}

pub(super) struct Offer {
    pub(super) id: u64,
    pub(super) waiter: Box<Waiter>,
    pub(super) held: Box<Held>,
    since: ClockReading,
    /// Half of the remaining validity at the time of the offer.
    at_most: Duration,
}

pub(super) struct Driver {
    pub(super) id: u64,
    pub(super) slot: Arc<Slot>,
    pub(super) poller: Poller,
    pub(super) attempt: Option<AttemptOwner>,
}

/// The future or task that polls the driver.
pub(super) enum Poller {
    /// The future of this waiter.
    Waiter(u64),
    /// A task on this runtime.
    Task(Handle),
}

/// The waiters to which an attempt belongs.
pub(super) struct AttemptOwner {
    /// Waiter that gets the lock.
    pub(super) id: u64,
    /// Waiter with the time limit that the attempt observes.
    pub(super) limited_for: u64,
}

impl Signals {
    /// Counts a response that contained the row.
    pub(crate) fn count_row(&self) {
        self.rows.fetch_add(1, Relaxed);
    }

    /// Returns whether the last response with the row was the first one for a waiter.
    pub(crate) fn take_new_waiter(&self) -> bool {
        self.has_new_waiter.load(Relaxed) && self.has_new_waiter.swap(false, Relaxed)
    }
}

impl LocalLock {
    pub(super) fn set_own(&mut self, own: Own, effects: &mut Effects) {
        if let (Own::Held(_), Some(queue)) = (&own, &mut self.queue) {
            queue.signals.count_row();
            queue.wake_new_waiters(effects);
        }
        self.own = own;
        effects.notify = self.queue.as_ref().map(|queue| queue.signals.clone());
    }

    pub(super) fn is_held_by(&self, holding: &Arc<Holding>) -> bool {
        matches!(&self.own, Own::Held(own) if own.as_ptr() == Arc::as_ptr(holding))
    }

    /// Returns the valid guard of this client. Does not report a loss, because the mutex is locked.
    pub(super) fn holder(&self, at: ClockReading) -> Option<Arc<Holding>> {
        let Own::Held(holding) = &self.own else { return None };
        holding.upgrade().filter(|holding| holding.lease.check(|| at).is_none())
    }

    /// Returns the lease ID of the latest guard of this client, if that guard exists and has lost the lock.
    pub(super) fn lost_lease(&self, at: ClockReading) -> Option<LeaseId> {
        let Own::Held(holding) = &self.own else { return None };
        let holding = holding.upgrade().filter(|holding| holding.lease.check(|| at).is_some())?;
        Some(holding.lease.with(|held| held.lease_id().clone()))
    }

    /// Returns the time for which waiters still wait for a release or for the making of a guard.
    pub(super) fn settles_in(&self, at: ClockReading) -> Option<Duration> {
        match self.own {
            Own::Taken => Some(Duration::MAX),
            Own::Ending { since, at_most, .. } => time_left(since, at_most, at),
            Own::None | Own::Held(_) => None,
        }
    }

    /// Returns the queue if its driver has this number.
    pub(super) fn driven_by(&mut self, driver: u64) -> Option<&mut Queue> {
        self.queue.as_deref_mut().filter(|queue| queue.driver.as_ref().is_some_and(|present| present.id == driver))
    }

    /// Returns this client as the holder that its waiters see, if it holds the lock.
    pub(super) fn describe_holder(&self, core: &Core, at: ClockReading) -> Option<Holder> {
        let offer = self.queue.as_ref().and_then(|queue| queue.offer.as_ref());
        let mut held = match offer {
            Some(offer) => (*offer.held).clone(),
            None => self.holder(at)?.lease.with(|held| held.clone()),
        };
        let time_of = |ms: u64| UNIX_EPOCH.checked_add(Duration::from_millis(ms));
        let left = held.time_left(at);
        Some(Holder {
            owner: Some(core.owner.clone()),
            token: Some(held.token()),
            lease_id: Some(held.lease_id().clone()),
            acquired_at: time_of(held.record().acquired().0.wall_ms),
            lease: Some(held.timing().lease()),
            expires_at: time_of(at.wall_ms).and_then(|now| now.checked_add(left)),
            data: held.data().map(str::to_owned),
            revoked: false,
        })
    }

    /// Gives a lock that `waiter` has not taken to the next waiter, or releases it if there is none that wants it.
    pub(super) fn pass_on(
        &mut self,
        (request, runtime): (&Request, Handle),
        held: Box<Held>,
        at: ClockReading,
        end: u64,
        effects: &mut Effects,
    ) {
        let next = self.queue.as_deref_mut().and_then(|queue| Some((queue.head_for(request)?, queue)));
        match next {
            Some((id, queue)) => effects.wake.extend(queue.offer(id, held, at)),
            None => self.release(runtime, held, at, end, effects),
        }
    }

    /// Releases a lock that no waiter takes.
    pub(super) fn release(
        &mut self,
        runtime: Handle,
        held: Box<Held>,
        at: ClockReading,
        end: u64,
        effects: &mut Effects,
    ) {
        let at_most = held.timing().attempt_timeout();
        self.set_own(Own::Ending { id: end, since: at, at_most }, effects);
        effects.release = Some(Unwanted { held, runtime, end });
    }

    /// Ends all waits with an error.
    pub(super) fn close(&mut self, at: ClockReading, end: u64, effects: &mut Effects) {
        let Some(queue) = &mut self.queue else { return };
        let last = queue.waiters.last_key_value().map_or(0, |(id, _)| *id);
        queue.fail_until(last, &closed().into(), effects);
        effects.stop.extend(queue.driver.take().map(|driver| driver.slot));
        if let Some(offer) = queue.offer.take() {
            queue.failed.insert(offer.id, Box::new(closed().into()));
            effects.wake.extend(offer.waiter.waker);
            self.pass_on((&offer.waiter.request, offer.waiter.runtime), offer.held, at, end, effects);
        }
    }
}

impl Waiter {
    pub(super) fn new(
        request: Request,
        began: ClockReading,
        limit: Option<Duration>,
        runtime: Handle,
        signals: &Signals,
    ) -> Self {
        let rows_before = signals.rows.load(Relaxed);
        signals.has_new_waiter.store(true, Relaxed);
        let (is_idle, has_no_runtime, has_seen_row) = (false, false, false);
        Self { request, began, limit, runtime, waker: None, is_idle, has_no_runtime, rows_before, has_seen_row }
    }

    /// Returns the time until its limit, `None` if it has no limit.
    pub(super) fn left(&self, at: ClockReading) -> Option<Duration> {
        self.limit.map(|limit| limit.saturating_sub(at.waiter_elapsed_since(self.began)))
    }

    /// Returns the waiter as one that does not count before its future is polled again.
    pub(super) fn idle(mut self: Box<Self>) -> Box<Self> {
        self.is_idle = true;
        self
    }

    /// Returns whether a response since the beginning of the wait contained the row.
    pub(super) fn has_seen_row(&self, signals: &Signals) -> bool {
        signals.rows.load(Relaxed) > self.rows_before
    }
}

impl Offer {
    /// Returns the time until the offer ends, `None` if it has ended.
    pub(super) fn left(&self, at: ClockReading) -> Option<Duration> {
        time_left(self.since, self.at_most, at)
    }
}

impl Queue {
    /// Wakes each waiter once after the first response that contained the row, so that it reports its wait.
    pub(super) fn wake_new_waiters(&mut self, effects: &mut Effects) {
        for waiter in self.waiters.values_mut().filter(|waiter| !waiter.has_seen_row) {
            waiter.has_seen_row = waiter.has_seen_row(&self.signals);
            effects.wake.extend(waiter.waker.clone().filter(|_| waiter.has_seen_row));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty() && self.offer.is_none() && self.failed.is_empty()
    }

    /// Returns the first waiter that counts.
    pub(super) fn head(&self) -> Option<(u64, &Waiter)> {
        self.waiters.iter().find(|(_, waiter)| !waiter.is_idle).map(|(id, waiter)| (*id, &**waiter))
    }

    /// Returns the first waiter if an attempt or a lock with these options can serve it.
    pub(super) fn head_for(&self, request: &Request) -> Option<u64> {
        self.head().filter(|(_, waiter)| waiter.request == *request).map(|(id, _)| id)
    }

    /// Returns whether this waiter still waits and counts.
    pub(super) fn counts(&self, id: u64) -> bool {
        self.waiters.get(&id).is_some_and(|waiter| !waiter.is_idle)
    }

    /// Offers the lock to a waiter, and returns its waker.
    pub(super) fn offer(&mut self, id: u64, mut held: Box<Held>, at: ClockReading) -> Option<Waker> {
        let mut waiter = self.waiters.remove(&id)?;
        let waker = waiter.waker.take();
        let at_most = held.time_left(at) / 2;
        self.offer = Some(Offer { id, waiter, held, since: at, at_most });
        waker
    }

    /// Ends the waits of all waiters up to this one with an error.
    pub(super) fn fail_until(&mut self, last: u64, error: &AcquireError, effects: &mut Effects) {
        let later = self.waiters.split_off(&(last + 1));
        for (id, waiter) in std::mem::replace(&mut self.waiters, later) {
            self.failed.insert(id, Box::new(error.clone()));
            effects.wake.extend(waiter.waker);
        }
    }

    /// Returns the wakers of all waiters.
    pub(super) fn take_wakers(&mut self) -> impl Iterator<Item = Waker> {
        self.waiters.values_mut().filter_map(|waiter| waiter.waker.take())
    }

    /// Starts a driver if there is none, and a task for it if there are several waiters.
    pub(super) fn keep_driven(&mut self, core: &Arc<Core>, name: &LockName, id: u64, effects: &mut Effects) {
        let Some((_, head)) = self.head() else { return };
        let (runtime, has_runtime) = (head.runtime.clone(), !head.has_no_runtime);
        let is_alone = self.waiters.len() == 1;
        match &mut self.driver {
            None if is_alone || !has_runtime => effects.wake.extend(self.take_wakers()),
            None => self.start(core, name, id, runtime, effects),
            Some(driver) => {
                let Poller::Waiter(waiter) = driver.poller else { return };
                let Some(waiter) = self.waiters.get(&waiter).filter(|_| !is_alone) else { return };
                if !waiter.has_no_runtime {
                    let runtime = waiter.runtime.clone();
                    effects.start = Some(Start { id: driver.id, slot: driver.slot.clone(), runtime: runtime.clone() });
                    driver.poller = Poller::Task(runtime);
                }
            }
        }
    }

    /// Moves the driver to the runtime of the first waiter if a waiter on the driver's own runtime has gone away, because
    /// that runtime may not be driven any more.
    pub(super) fn follow(
        &mut self,
        gone: &Handle,
        (core, name, id): (&Arc<Core>, &LockName, u64),
        effects: &mut Effects,
    ) {
        let is_of_gone = |driver: &mut Driver| matches!(&driver.poller, Poller::Task(task) if task.id() == gone.id());
        if self.head().is_some_and(|(_, head)| head.runtime.id() != gone.id()) {
            effects.stop.extend(self.driver.take_if(is_of_gone).map(|driver| driver.slot));
        }
        self.keep_driven(core, name, id, effects);
    }

    /// Starts a driver in a task.
    pub(super) fn start(&mut self, core: &Arc<Core>, name: &LockName, id: u64, runtime: Handle, effects: &mut Effects) {
        let slot = Slot::new(core, name, id);
        effects.start = Some(Start { id, slot: slot.clone(), runtime: runtime.clone() });
        self.driver = Some(Driver { id, slot, poller: Poller::Task(runtime), attempt: None });
    }
}

/// Returns the rest of the pause after the last attempt, `None` if it has passed. The first request of an attempt may be a
/// read.
pub(super) fn pause_left(attempted_at: Option<ClockReading>, at: ClockReading) -> Option<Duration> {
    attempted_at.and_then(|ended| time_left(ended, ATTEMPT_GAP, at))
}

/// Returns the rest of a time that began at `since`, `None` if it has passed.
fn time_left(since: ClockReading, length: Duration, at: ClockReading) -> Option<Duration> {
    length.checked_sub(at.waiter_elapsed_since(since)).filter(|left| !left.is_zero())
}
