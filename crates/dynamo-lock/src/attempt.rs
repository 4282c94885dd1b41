//! Requests that may leave something behind, and who cleans up after them when whoever asked is gone.

use std::sync::Arc;
use std::time::Duration;

use dynamo_lock_protocol::{Acquire, Held, Liveness, LockName, Op, Outcome, Release, ReleaseStep};
use tokio::runtime::Handle;

use crate::drive::{Acquired, Core, Reply, WATCHES_MAX, lock};
use crate::error::AcquireError;
use crate::observer::Event;
use crate::store::{BoxFuture, Consistency, StoreError};

/// One acquisition under way. Dropped at any await, it leaves nothing behind: the background waits for the try in
/// flight, and then releases under its nonce.
pub(crate) struct Attempt {
    pub(crate) core: Arc<Core>,
    pub(crate) machine: Acquire,
    pub(crate) runtime: Handle,
    pub(crate) in_flight: Option<BoxFuture<'static, Reply>>,
    pub(crate) last_error: Option<StoreError>,
    /// The row has been seen at least once: a time limit of zero still means one attempt.
    pub(crate) has_looked: bool,
    pub(crate) finished: bool,
}

impl Attempt {
    pub(crate) fn new(core: Arc<Core>, machine: Acquire) -> Self {
        let runtime = Handle::current();
        Self { core, machine, runtime, in_flight: None, last_error: None, has_looked: false, finished: false }
    }

    pub(crate) async fn write(&mut self, op: Op) -> Result<(), StoreError> {
        let flight = self.in_flight.insert(self.core.write(op, self.machine.attempt_timeout()));
        let reply = flight.await;
        self.in_flight = None;
        self.has_looked = true;
        self.last_error = reply.error.clone();
        let outcome = reply.outcome?;
        self.core.now(|now| {
            // After `now`, as the machine asks.
            let liveness = match &outcome {
                Outcome::Conflict(Some(row)) => self.core.liveness(row),
                _ => Liveness::Unknown,
            };
            self.machine.handle_outcome_and_liveness(now, reply.sent_at, &outcome, reply.date, liveness);
        });
        self.remember();
        Ok(())
    }

    pub(crate) async fn read(&mut self, name: &LockName, strong: bool, left: Duration) -> Result<(), StoreError> {
        let consistency = if strong { Consistency::Strong } else { Consistency::Eventual };
        let timeout = self.machine.attempt_timeout();
        let timeout = if self.has_looked { timeout.min(left) } else { timeout };
        let answer = self.core.read(name, consistency, timeout).await;
        self.has_looked = true;
        match answer.result {
            Ok(row) => self.core.now(|now| {
                // After `now`, as the machine asks.
                let liveness = row.as_ref().map_or(Liveness::Unknown, |row| self.core.liveness(row));
                self.machine.handle_row_and_liveness(now, row.as_ref(), answer.date, liveness);
            }),
            Err(error) if error.is_retryable() => {
                self.core.observer.event(Event::RequestFailed { name, error: &error });
                self.last_error = Some(error);
                self.core.now(|now| self.machine.handle_unread(now));
            }
            Err(error) => return Err(error),
        }
        self.remember();
        Ok(())
    }

    fn remember(&self) {
        let Some(watch) = self.machine.watch() else { return };
        let mut watches = lock(&self.core.watches);
        if watches.len() >= WATCHES_MAX && !watches.contains_key(self.machine.name()) {
            watches.pop_first();
        }
        watches.insert(self.machine.name().clone(), watch.clone());
    }

    pub(crate) fn clean_up(&self, release: Release) {
        let (core, timeout) = (self.core.clone(), self.machine.attempt_timeout());
        self.core.in_background(&self.runtime, async move {
            if let Err(error) = core.release(release, timeout).await {
                tracing::warn!(%error, "an abandoned acquire could not be cleaned up; it is over within its lease");
            }
        });
    }

    /// The limit has passed. What an unanswered try may have taken is given back before that is said.
    pub(crate) async fn time_out(mut self, waited: Duration) -> Result<Acquired, AcquireError> {
        let holder = self.machine.watch().map(|watch| watch.holder().clone());
        if let Some(mut release) = self.core.now(|now| self.machine.cancel(now)) {
            if let ReleaseStep::Write(op) = self.core.now(|now| release.next(now)) {
                let flight = self.core.write(op, self.machine.attempt_timeout()).await;
                self.core.now(|now| release.handle_outcome(now, &flight.known()));
            }
            if !matches!(self.core.now(|now| release.next(now)), ReleaseStep::Done(_)) {
                self.clean_up(release);
            }
        }
        self.finished = true;
        Err(AcquireError::TimedOut { holder, waited })
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let (core, timeout) = (self.core.clone(), self.machine.attempt_timeout());
        let Some(flight) = self.in_flight.take() else {
            if let Some(release) = core.now(|now| self.machine.cancel(now)) {
                self.clean_up(release);
            }
            return;
        };
        let mut machine = self.machine.clone();
        self.core.in_background(&self.runtime, async move {
            let reply = flight.await;
            core.now(|now| machine.handle_outcome(now, reply.sent_at, &reply.known(), reply.date));
            if let Some(release) = core.now(|now| machine.cancel(now)) {
                let _over_within_its_lease = core.release(release, timeout).await;
            }
        });
    }
}

/// A hold that is not known to last yet. What it may leave would last as long as the hold, so it has an owner: dropped
/// before it is `done`, the background waits for the try in flight and releases until that is answered.
pub(crate) struct Extension {
    core: Arc<Core>,
    runtime: Handle,
    pub(crate) held: Held,
    pub(crate) duration: Duration,
    pub(crate) in_flight: Option<BoxFuture<'static, Reply>>,
    pub(crate) done: bool,
}

impl Extension {
    pub(crate) fn new(core: &Arc<Core>, held: Held, duration: Duration) -> Self {
        Self { core: core.clone(), runtime: Handle::current(), held, duration, in_flight: None, done: false }
    }
}

impl Drop for Extension {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let (core, flight) = (self.core.clone(), self.in_flight.take());
        let (held, duration) = (self.held.clone(), self.duration);
        self.core.in_background(&self.runtime, async move {
            if let Some(flight) = flight {
                let _either_way = flight.await;
            }
            let release = core.now(|now| Release::of_hold(&held, duration, now));
            if let Err(error) = core.release(release, held.attempt_timeout()).await {
                tracing::warn!(%error, "a hold that failed could not be given up; it is over when it would have been");
            }
        });
    }
}
