//! The driver of a queue: the one task that talks to the store for the waiters of a lock.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use dynamo_lock_protocol::{Acquire, AcquireEnd, ClockReading, Held, LeaseId, Machine, Request};

use super::effects::{Effects, Unwanted};
use super::local_lock::{AttemptOwner, LocalLock, Queue, Signals, pause_left};
use crate::acquisition::row_error;
use crate::core::Core;
use crate::renewal::Holding;
use crate::run::Run;
use crate::{AcquireError, LockName};

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
    /// Lease ID of the latest guard of this client, if it has lost the lock.
    lost: Option<LeaseId>,
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
pub(super) struct Drive {
    pub(super) core: Arc<Core>,
    pub(super) name: LockName,
    pub(super) id: u64,
}

impl Drive {
    /// Serves the waiters until none is left, or until another driver has replaced this one.
    pub(super) async fn run(self) {
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
        let Attempt { request, mut limit, last_waiter, lost, signals } = attempt;
        let (core, name) = (&self.core, &self.name);
        let timeout = request.timing.attempt_timeout();
        let machine = Acquire::new(request.clone(), core.watches.get(name)).after(core.own_holds.get(name));
        let machine = machine.after_loss(lost);
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
            // A machine that waits reports no contention, only a hold is lost before it is reported, and only a lock of
            // another kind ends with a success.
            AcquireEnd::Unanswered
            | AcquireEnd::Refused
            | AcquireEnd::Lost { .. }
            | AcquireEnd::Contended(_)
            | AcquireEnd::Done(_) => {
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
        let core = &self.core;
        self.with(|local, at, id, effects| {
            let (holder, lost) = (local.holder(at), local.lost_lease(at));
            let settles_in = local.settles_in(at);
            let Some(queue) = &mut local.queue else { return Plan::Stop };
            let signals = queue.signals.clone();
            if queue.driver.as_mut().and_then(|driver| driver.attempt.take()).is_some() {
                queue.attempted_at = Some(at);
            }
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
            // After an attempt that failed, the next one begins with a read if the lock was held.
            let pause = pause_left(queue.attempted_at, at).filter(|_| core.watches.get(&self.name).is_some());
            if let Some(at_most) = settles_in.or(pause) {
                return Plan::Wait { signals, holder: None, at_most };
            }
            queue.plan_attempt(at, lost).map_or(Plan::Stop, Plan::Attempt)
        })
        .unwrap_or(Plan::Stop)
    }

    /// Returns whether the attempt goes on. If its waiter has gone away, it is passed on to the next one, unless their
    /// options differ.
    fn keeps_attempt(&self, request: &Request) -> bool {
        let keeps = self.with(|local, at, _, _| {
            let holder = local.holder(at);
            let queue = local.queue.as_deref_mut().filter(|queue| holder.is_none() && queue.offer.is_none())?;
            let next = queue.head_for(request);
            let counts = queue.counts(queue.driver.as_ref()?.attempt.as_ref()?.id);
            let attempt = queue.driver.as_mut()?.attempt.as_mut()?;
            if !counts {
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
            local.series = None;
            match local.queue.as_deref_mut() {
                Some(queue) if queue.counts(attempt.id) => effects.wake.extend(queue.offer(attempt.id, held, at)),
                _ => local.pass_on((request, runtime), held, at, id, effects),
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
    fn plan_attempt(&mut self, at: ClockReading, lost: Option<LeaseId>) -> Option<Attempt> {
        let first = self.head().map(|(id, waiter)| (id, waiter.request.clone(), waiter.left(at)));
        let Some((id, request, limit)) = first else {
            self.driver = None;
            return None;
        };
        self.driver.as_mut()?.attempt = Some(AttemptOwner { id, limited_for: id });
        let last_waiter = self.waiters.last_key_value().map_or(id, |(id, _)| *id);
        Some(Attempt { request, limit, last_waiter, lost, signals: self.signals.clone() })
    }
}
