//! The handover of a lock from a released guard to the next waiter of its client.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use dynamo_lock_protocol::{
    ClockReading, Handover, HandoverEnd, Held, Machine, Now, Release, ReleaseEnd, Request, Response, Step, Watch,
};
use tokio::sync::Notify;

use super::local_lock::{LocalLock, Own, Series};
use super::{Ending, Queues};
use crate::clock::timeout;
use crate::core::Core;
use crate::renewal::{Holding, SLICE};
use crate::run::Run;
use crate::turns::Turns;
use crate::{Event, LockName, StoreError};

/// The waiter to which a lock is handed over.
pub(crate) struct Successor {
    pub(super) id: u64,
    pub(super) request: Request,
    /// Handovers with this one.
    pub(super) series: Series,
}

/// The release of a guard. Its result is reported once.
pub(crate) struct OldGuard<R> {
    pub(crate) holding: Arc<Holding>,
    pub(crate) report: Option<R>,
}

impl<R: FnOnce(Result<ReleaseEnd, StoreError>)> OldGuard<R> {
    /// Reports the result, unless one was reported before.
    pub(crate) fn report(&mut self, result: Result<ReleaseEnd, StoreError>) {
        let Some(report) = self.report.take() else { return };
        if matches!(result, Ok(ReleaseEnd::Released)) {
            let Holding { core, name, token, .. } = &*self.holding;
            core.event(Event::Released { name, token: *token, held: self.holding.held_for() });
        }
        report(result);
    }
}

/// Hands a lock over to `next`, with one write if all goes well. The old guard is invalid already. Waiters wait for
/// `ending`.
pub(crate) async fn hand_over<R: FnOnce(Result<ReleaseEnd, StoreError>)>(
    mut held: Box<Held>,
    next: Successor,
    ending: Option<Ending>,
    mut old: OldGuard<R>,
) {
    let (core, name) = (old.holding.core.clone(), old.holding.name.clone());
    if let Some(ready) = core.ready_future() {
        timeout(&*core.clock, held.time_left(core.clock.now()), ready).await;
    }
    let effect = Arc::new(Notify::new());
    let handover = core.now(|now| Handover::new(&held, &next.request, now));
    let timeout = next.request.timing.attempt_timeout();
    let mut run = Run::new(&core, &name, Reporting { handover, effect: effect.clone() }, timeout);
    let end = {
        let mut end = pin!(run.complete());
        loop {
            let left = held.time_left(core.clock.now());
            tokio::select! {
                biased;
                end = &mut end => break end,
                () = effect.notified() => old.report(Ok(ReleaseEnd::Released)),
                () = core.pause(left.min(SLICE)), if old.report.is_some() => {
                    if left.is_zero() {
                        old.report(Ok(ReleaseEnd::Unknown));
                    }
                }
            }
        }
    };
    match end {
        HandoverEnd::Done(held) => {
            core.queues.hand_over(&core, &name, next, held);
            old.report(Ok(ReleaseEnd::Released));
        }
        HandoverEnd::Failed { release, watch } => {
            if let Some(watch) = watch {
                core.watches.insert(&name, &watch);
            }
            old.report(Ok(release));
        }
        HandoverEnd::Unanswered(release) => {
            let result = core.release(*release, timeout).await;
            old.report(result);
        }
    }
    drop(ending);
}

impl LocalLock {
    /// Returns the waiter to which a guard hands its lock over. Returns `None` if no waiter counts, or if it is the turn
    /// of other clients.
    pub(super) fn successor(&self, held: &Held, turns: Turns, at: ClockReading) -> Option<Successor> {
        let series = self.series.unwrap_or(Series { since: held.record().acquired().0, handovers: 0 });
        let series_max = held.timing().lease().saturating_mul(turns.leases_max);
        let is_long = at.holder_elapsed_since(series.since) >= series_max;
        if series.handovers >= turns.handovers_max || is_long {
            return None;
        }
        let (id, waiter) = self.queue.as_ref()?.head()?;
        let series = Series { handovers: series.handovers + 1, ..series };
        Some(Successor { id, request: waiter.request.clone(), series })
    }
}

impl Queues {
    /// Offers a lock that was handed over to its waiter, or to the next one. Releases it if no waiter wants it.
    fn hand_over(&self, core: &Arc<Core>, name: &LockName, next: Successor, held: Box<Held>) {
        let runtime = core.runtime();
        self.with(core, name, |local, id, effects| {
            let at = core.clock.now();
            local.series = Some(next.series);
            local.set_own(Own::None, effects);
            let queue = local.queue.as_deref_mut().filter(|queue| queue.offer.is_none());
            match queue {
                Some(queue) if queue.counts(next.id) => effects.wake.extend(queue.offer(next.id, held, at)),
                Some(_) => local.pass_on((&next.request, runtime), held, at, id, effects),
                None => local.release(runtime, held, at, id, effects),
            }
        });
    }
}

/// A handover that reports its effect before its end, because the new guard may still need a renewal (R6).
#[derive(Clone)]
struct Reporting {
    handover: Handover,
    effect: Arc<Notify>,
}

impl Machine for Reporting {
    type End = HandoverEnd;
    type CleanUp = Release;

    fn next(&mut self, now: &Now<'_>) -> Step<HandoverEnd, Release> {
        self.handover.next(now)
    }

    fn handle(&mut self, now: &Now<'_>, response: Response<'_>) {
        self.handover.handle(now, response);
        if self.handover.has_taken_effect() {
            self.effect.notify_one();
        }
    }

    fn may_acquire(&self) -> bool {
        self.handover.may_acquire()
    }

    fn cancel(&mut self, now: &Now<'_>) -> Option<Release> {
        self.handover.cancel(now)
    }

    fn request_limit(&self, at: ClockReading) -> Duration {
        self.handover.request_limit(at)
    }

    fn watch(&self) -> Option<&Watch> {
        self.handover.watch()
    }
}
