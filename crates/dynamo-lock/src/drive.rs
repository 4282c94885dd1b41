//! The only loop between the protocol and I/O: *machine says what to do → store or clock does it → machine is told*.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dynamo_lock_protocol::{
    Acquire, Entropy, Held, HeldStep, Holder, Liveness, LockName, LossReason, Now, Op, Outcome, ReceivedAt, Release,
    ReleaseEnd, ReleaseStep, Revoke, RevokeEnd, RevokeStep, Row, SentAt, ServiceClock, ServiceDate, Step, Timing,
    Watch, attr,
};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::attempt::{Attempt, Extension};
use crate::clock::{Clock, Random};
use crate::error::AcquireError;
use crate::guard::Holding;
use crate::observer::{Event, Observer};
use crate::store::{Answer, BoxFuture, Consistency, Store, StoreError, StoreErrorKind};

/// Timers that must fire after the host resumes sleep in slices of this length (R4).
const SLICE: Duration = Duration::from_millis(250);
/// So many renewals to make a hold's row last as long as the hold: two, where A4 holds and the host goes on.
const EXTENSIONS_MAX: u64 = 4;
/// So many held locks are remembered between acquisitions.
pub(crate) const WATCHES_MAX: usize = 1024;

/// What a client's handles share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) owner: String,
    pub(crate) timing: Timing,
    /// What answers have told of the service's time; `None` if the store has no clock.
    pub(crate) service: Option<Mutex<ServiceClock>>,
    /// Held locks under observation, so that repeated short attempts add up.
    pub(crate) watches: Mutex<BTreeMap<LockName, Watch>>,
    /// Clean-ups and releases in the background.
    pub(crate) tasks: TaskTracker,
}

/// A write's answer, with its times.
pub(crate) struct Reply {
    pub(crate) sent_at: SentAt,
    pub(crate) outcome: Result<Outcome, StoreError>,
    pub(crate) date: Option<ServiceDate>,
    pub(crate) error: Option<StoreError>,
}

/// How an acquisition ended, errors aside.
pub(crate) enum Acquired {
    Held(Box<Held>),
    Contended(Holder),
}

impl Core {
    /// Calls a machine with the time now and fresh luck.
    pub(crate) fn now<T>(&self, f: impl FnOnce(&Now<'_>) -> T) -> T {
        let entropy =
            Entropy { version: self.random.bits(), lease_id: self.random.bits(), jitter: self.random.bits() as u64 };
        let service = self.service.as_ref().map(lock);
        f(&Now { at: self.clock.now(), service: service.as_deref(), entropy })
    }

    /// Waits; at least a millisecond, since no timer is finer, and a wait of less could be none at all.
    pub(crate) async fn pause(&self, length: Duration) {
        self.clock.sleep(length.max(Duration::from_millis(1))).await;
    }

    /// One request: timed, bounded, and its `Date` heard.
    async fn ask<T>(&self, timeout: Duration, request: BoxFuture<'_, Answer<T>>) -> (SentAt, Answer<T>) {
        let sent_at = SentAt(self.clock.now()); // R1: before the first byte
        let mut answer = tokio::select! {
            biased;
            answer = request => answer,
            () = self.pause(timeout) => Err(unanswered(timeout)).into(),
        };
        match &self.service {
            None => answer.date = None,
            Some(service) => {
                if let Some(date) = answer.date {
                    lock(service).observe(date, sent_at, ReceivedAt(self.clock.now())); // R2: after the answer
                }
            }
        }
        (sent_at, answer)
    }

    pub(crate) async fn read(
        &self,
        name: &LockName,
        consistency: Consistency,
        timeout: Duration,
    ) -> Answer<Option<Row>> {
        self.ask(timeout, self.store.read(name, consistency)).await.1
    }

    /// Asks the store for what it knows of a row's holder besides the row.
    pub(crate) fn liveness(&self, row: &Row) -> Liveness {
        row.text(attr::LIVENESS_KEY).map_or(Liveness::Unknown, |liveness_key| self.store.liveness(liveness_key))
    }

    pub(crate) async fn list(&self, after: Option<&str>) -> Answer<crate::store::Page> {
        self.ask(self.timing.attempt_timeout(), self.store.list(after)).await.1
    }

    /// One try of a write, as a future of its own: it can go on when the one who asked is gone.
    pub(crate) fn write(self: &Arc<Self>, op: Op, timeout: Duration) -> BoxFuture<'static, Reply> {
        let core = self.clone();
        Box::pin(async move {
            let (sent_at, answer) = core.ask(timeout, core.store.write(&op)).await;
            let error = answer.result.as_ref().err().cloned();
            let outcome = match answer.result {
                Err(error) if error.kind() == StoreErrorKind::Unanswered => Ok(Outcome::Unknown),
                Err(error) if error.kind() == StoreErrorKind::Throttled => Ok(Outcome::Throttled),
                other => other,
            };
            if let Some(error) = &error {
                core.observer.event(Event::RequestFailed { name: &op.name, error });
            }
            Reply { sent_at, outcome, date: answer.date, error }
        })
    }

    /// Runs a clean-up or a release to its end, whoever waits for it.
    pub(crate) fn in_background(&self, runtime: &Handle, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(work, runtime);
    }

    /// Acquires, or says who holds the lock if the machine does not wait; at most `limit` if there is one.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        machine: Acquire,
        name: &LockName,
        limit: Option<Duration>,
    ) -> Result<Acquired, AcquireError> {
        let mut attempt = Attempt::new(self.clone(), machine);
        let began = self.clock.now();
        loop {
            // A wait, so a suspension or a step of the wall clock does not count.
            let waited = self.clock.now().waiter_elapsed_since(began);
            let left = limit.map_or(Duration::MAX, |limit| limit.saturating_sub(waited));
            let step = self.now(|now| attempt.machine.next(now));
            // At the limit nothing is waited for any more; what can be had at once still is.
            if left.is_zero() && attempt.has_looked && matches!(step, Step::Pause(_) | Step::Read { .. }) {
                return attempt.time_out(waited).await;
            }
            match step {
                Step::Write(op) => attempt.write(op).await?,
                Step::Read { strong } => attempt.read(name, strong, left).await?,
                Step::Pause(length) => self.pause(length.min(left)).await,
                Step::CleanUp(release) => attempt.clean_up(release),
                Step::Acquired(held) => {
                    attempt.finished = true;
                    lock(&self.watches).remove(name);
                    return Ok(Acquired::Held(held));
                }
                Step::Contended(holder) => return Ok(Acquired::Contended(holder)),
                Step::RowError(error) => return Err(AcquireError::Row { name: name.clone(), error }),
                Step::Unanswered => return Err(attempt.last_error.take().unwrap_or_else(no_answer).into()),
            }
        }
    }

    /// Renews a held lock and watches its deadline, until it is lost or ended.
    pub(crate) async fn keep(self: Arc<Self>, holding: Arc<Holding>) {
        loop {
            match self.now(|now| holding.held().next(now)) {
                HeldStep::Lost(loss) => return holding.signal(loss),
                HeldStep::Sleep(length) => tokio::select! {
                    biased;
                    () = holding.ended() => return,
                    () = holding.asked() => {}
                    () = self.pause(length.min(SLICE)) => {}
                },
                HeldStep::Write(op) => {
                    let timeout = holding.held().attempt_timeout();
                    tokio::select! {
                        biased;
                        () = holding.ended() => return,
                        // The deadline is a local timer; it does not wait for any request.
                        loss = self.until_lost(&holding) => return holding.signal(loss),
                        reply = self.write(op, timeout) => holding.handle(reply),
                    }
                }
            }
        }
    }

    /// Waits until a held lock is lost.
    pub(crate) async fn until_lost(&self, holding: &Holding) -> LossReason {
        loop {
            let at = self.clock.now();
            let left = {
                let mut held = holding.held();
                match held.check(at) {
                    Some(loss) => return loss,
                    None => held.time_left(at),
                }
            };
            self.pause(left.min(SLICE)).await;
        }
    }

    /// Makes a hold, which nothing will renew, last for its whole time, by a renewal.
    pub(crate) async fn extend(self: &Arc<Self>, extension: &mut Extension) -> Result<(), LossReason> {
        extension.held.ask_lease(extension.duration);
        let before = extension.held.landed();
        let mut landed = before;
        loop {
            if let Some(loss) = extension.held.check(self.clock.now()) {
                return Err(loss); // R5
            }
            if extension.held.landed() > landed {
                landed = extension.held.landed();
                let service_timestamp = self.service.is_none() || extension.held.has_service_timestamp();
                if service_timestamp && !extension.held.outlasts_row(self.clock.now()) {
                    return Ok(());
                }
                if landed - before == EXTENSIONS_MAX {
                    return Err(LossReason::Expired); // the dates run away, or this host stands still again and again
                }
                extension.held.ask(); // without a stamp, or with an old one; its answer told the time for the next
            }
            match self.now(|now| extension.held.next(now)) {
                HeldStep::Lost(loss) => return Err(loss),
                HeldStep::Sleep(length) => self.pause(length.min(SLICE)).await,
                HeldStep::Write(op) => {
                    let flight = self.write(op, extension.held.attempt_timeout());
                    let reply = extension.in_flight.insert(flight).await;
                    extension.in_flight = None;
                    self.now(|now| extension.held.handle_outcome(now, reply.sent_at, &reply.known(), reply.date));
                }
            }
        }
    }

    /// Sends a release until it is answered, or its answer would not help any more.
    pub(crate) async fn release(
        self: &Arc<Self>,
        mut release: Release,
        timeout: Duration,
    ) -> Result<ReleaseEnd, StoreError> {
        loop {
            match self.now(|now| release.next(now)) {
                ReleaseStep::Done(end) => return Ok(end),
                ReleaseStep::Pause(length) => self.pause(length).await,
                ReleaseStep::Write(op) => {
                    let outcome = self.write(op, timeout).await.outcome?;
                    self.now(|now| release.handle_outcome(now, &outcome));
                }
            }
        }
    }

    /// Sends a revocation until it is answered.
    pub(crate) async fn revoke(self: &Arc<Self>, mut revoke: Revoke) -> Result<RevokeEnd, StoreError> {
        loop {
            match self.now(|now| revoke.next(now)) {
                RevokeStep::Done(end) => return Ok(end),
                RevokeStep::Pause(length) => self.pause(length).await,
                RevokeStep::Write(op) => {
                    let outcome = self.write(op, self.timing.attempt_timeout()).await.outcome?;
                    self.now(|now| revoke.handle_outcome(now, &outcome));
                }
            }
        }
    }
}

impl Reply {
    /// For a holder a refusal is one more failure: its lease goes on until the deadline.
    pub(crate) fn known(&self) -> Outcome {
        self.outcome.clone().unwrap_or(Outcome::Throttled)
    }

    /// Feeds a held lock with the answer, and says what the store said if it failed.
    pub(crate) fn feed(self, core: &Core, held: &Mutex<Held>) -> Option<StoreError> {
        core.now(|now| lock(held).handle_outcome(now, self.sent_at, &self.known(), self.date));
        self.error
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unanswered(timeout: Duration) -> StoreError {
    let message = format!("the store did not answer within {timeout:?}: look at the network, or use a longer lease");
    StoreError::new(StoreErrorKind::Unanswered, message)
}

fn no_answer() -> StoreError {
    let message = "the store gave no answer that counts for a whole lease: look at the network and its status, or, where \
                   answers carry no `Date` of their own, turn the service clock off";
    StoreError::new(StoreErrorKind::Unanswered, message)
}
