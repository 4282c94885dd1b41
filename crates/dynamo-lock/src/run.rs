//! The loop between a state machine of the protocol and the store.

use std::{sync::Arc, time::Duration};

use dynamo_lock_protocol::{ClockReading, Hint, Liveness, Machine, Op, Release, ReleaseEnd, Response, Row, Step};
use tokio::runtime::Handle;

use crate::clock::timeout;
use crate::core::{Core, Reply, refusal};
use crate::queue::Signals;
use crate::store::{BoxFuture, Consistency};
use crate::{Event, LockName, StoreError, StoreErrorKind, log, takeover::Takeover, wait::Wait};

/// One task of a client: a state machine, and the request that it is waiting for.
///
/// If it is dropped before its end, and a write in flight may acquire the lock, then a background task waits for the
/// response and releases the lock.
pub(crate) struct Run<M: Task> {
    core: Arc<Core>,
    name: LockName,
    pub(crate) machine: M,
    /// Maximum time for one attempt of a request.
    timeout: Duration,
    runtime: Handle,
    in_flight: Option<BoxFuture<'static, Reply>>,
    changes: Changes,
    /// Last error of the store, if the last request failed.
    pub(crate) last_error: Option<StoreError>,
    /// Whether a request has ended. A time limit of zero still allows one.
    has_response: bool,
    /// Whether a response contained the row.
    pub(crate) has_row: bool,
    /// Counts the responses that contained the row, for the waiters behind this task.
    pub(crate) signals: Option<Arc<Signals>>,
    /// Whether the first wait for a holder is reported as that of the acquisition.
    pub(crate) reports_wait: bool,
    wait: Option<Wait>,
    finished: bool,
}

/// Subscription of a waiting task to the hints of the store.
enum Changes {
    /// The task has not waited yet, or the store reports no changes.
    Unsubscribed,
    Subscribed(BoxFuture<'static, ()>),
    /// The machine has received a hint. The next subscription begins before the look that follows.
    Hinted,
}

/// A machine that [`Run`] can drive. Implemented for all machines of the protocol.
pub(crate) trait Task: Machine<CleanUp: Into<Release>> + Clone + Send + 'static {}

impl<M: Machine<CleanUp: Into<Release>> + Clone + Send + 'static> Task for M {}

impl<M: Task> Run<M> {
    pub(crate) fn new(core: &Arc<Core>, name: &LockName, machine: M, timeout: Duration) -> Self {
        Self {
            core: core.clone(),
            name: name.clone(),
            machine,
            timeout,
            runtime: core.runtime(),
            in_flight: None,
            changes: Changes::Unsubscribed,
            last_error: None,
            has_response: false,
            has_row: false,
            signals: None,
            reports_wait: false,
            wait: None,
            finished: false,
        }
    }

    /// Runs the machine to its end.
    pub(crate) async fn complete(&mut self) -> M::End {
        loop {
            // Without a limit it ends only with the machine.
            if let Some(end) = self.complete_within(None).await {
                return end;
            }
        }
    }

    /// Runs the machine to its end, or until it would wait any longer than `limit`. Then it returns `None`.
    pub(crate) async fn complete_within(&mut self, limit: Option<Duration>) -> Option<M::End> {
        let began = self.core.clock.now();
        loop {
            self.ready(began, limit).await;
            let left = self.left(began, limit);
            let step = self.core.now(|now| self.machine.next(now));
            // At the limit the machine does not wait any longer, but it may still acquire a lock that is free.
            if left.is_zero() && self.has_response && matches!(step, Step::Pause(_) | Step::Read { .. }) {
                return None;
            }
            match step {
                Step::Write(op) => self.write(op).await,
                Step::Read { strong } => self.read(strong, left).await,
                Step::Pause(length) => {
                    self.report_wait();
                    self.pause(length.min(left)).await;
                }
                Step::CleanUp(clean_up) => self.clean_up(clean_up.into()),
                Step::Done(end) => {
                    self.finished = true;
                    self.changes = Changes::Unsubscribed;
                    return Some(end);
                }
            }
        }
    }

    /// Waits until the store is ready for the request that follows. The machine makes the request after that, because
    /// the lease counts from then.
    async fn ready(&mut self, began: ClockReading, limit: Option<Duration>) {
        let core = self.core.clone();
        let Some(ready) = core.ready_future() else { return };
        let step = core.now(|now| self.machine.clone().next(now));
        if matches!(step, Step::Write(_) | Step::Read { .. }) {
            // A lease is four times as long as a request or longer. After it, a release has no use any more.
            let longest = if self.machine.may_acquire() { Duration::MAX } else { self.timeout * 4 };
            let longest = longest.min(self.left(began, limit));
            timeout(&*core.clock, longest, ready).await;
        }
    }

    fn left(&self, began: ClockReading, limit: Option<Duration>) -> Duration {
        limit.map_or(Duration::MAX, |limit| limit.saturating_sub(self.waited(began)))
    }

    /// Returns the time waited. It does not include a suspension of the host or a jump of its wall clock.
    pub(crate) fn waited(&self, began: ClockReading) -> Duration {
        self.core.clock.now().waiter_elapsed_since(began)
    }

    /// Returns the store's error that has ended the task.
    pub(crate) fn take_last_error(&mut self) -> StoreError {
        self.last_error.take().unwrap_or_else(unanswered)
    }

    /// Reports the wait for a holder, once.
    fn report_wait(&mut self) {
        if self.reports_wait
            && let Some(holder) = self.machine.holder()
        {
            self.reports_wait = false;
            self.wait = Some(Wait::begin(&self.core, &self.name, &holder));
        }
    }

    /// Ends the task early. If a write was not answered and may have acquired the lock, waits for one attempt of a
    /// release. Further attempts follow in the background. Returns the wait, which has not ended yet.
    pub(crate) async fn give_back(mut self) -> Option<Wait> {
        if let Some(release) = self.core.now(|now| self.machine.cancel(now)) {
            let mut release: Release = release.into();
            if let Step::Write(op) = self.core.now(|now| release.next(now)) {
                let reply = self.core.write(op, self.timeout).await;
                self.core.now(|now| release.handle(now, reply.response()));
            }
            if !matches!(self.core.now(|now| release.next(now)), Step::Done(_)) {
                self.clean_up(release);
            }
        }
        self.finished = true;
        self.wait.take()
    }

    /// Waits for this time, or until a hint of the store, which the machine takes into account.
    async fn pause(&mut self, length: Duration) {
        if !self.machine.awaits_change() {
            return self.core.pause(length).await;
        }
        let hint = match &mut self.changes {
            Changes::Unsubscribed => match self.core.changed(&self.name) {
                Some(changed) => {
                    self.changes = Changes::Subscribed(changed);
                    Hint::Available
                }
                None => return self.core.pause(length).await,
            },
            Changes::Subscribed(changed) => {
                tokio::select! {
                    biased;
                    () = changed => {}
                    () = self.core.pause(length) => return,
                }
                self.changes = Changes::Hinted;
                Hint::Changed
            }
            Changes::Hinted => return self.core.pause(length).await,
        };
        self.core.now(|now| self.machine.hint(now, hint));
    }

    /// Subscribes to hints again, before the request, so that no change after it is missed.
    fn subscribe_again(&mut self) {
        if matches!(self.changes, Changes::Hinted) {
            self.changes = self.core.changed(&self.name).map_or(Changes::Unsubscribed, Changes::Subscribed);
            if matches!(self.changes, Changes::Unsubscribed) {
                self.core.now(|now| self.machine.hint(now, Hint::Unavailable));
            }
        }
    }

    async fn write(&mut self, op: Op) {
        self.subscribe_again();
        let takeover = Takeover::of(&op, &self.machine);
        let flight = self.core.write(op, self.request_timeout());
        let reply = self.in_flight.insert(flight).await;
        self.in_flight = None;
        self.has_response = true;
        if let Some(takeover) = takeover.filter(|takeover| reply.outcome().is_some_and(|o| takeover.is_applied(o))) {
            self.core.event(Event::TakenOver { name: &self.name, holder: &takeover.holder });
        }
        self.handle(reply.response(), reply.conflict_row());
        self.last_error = reply.error;
    }

    async fn read(&mut self, strong: bool, left: Duration) {
        self.subscribe_again();
        let consistency = if strong { Consistency::Strong } else { Consistency::Eventual };
        let timeout = self.request_timeout();
        let timeout = if self.has_response { timeout.min(left) } else { timeout };
        let answer = self.core.read(&self.name, consistency, timeout).await;
        self.has_response = true;
        match answer.result {
            Ok(row) => self.handle(Response::row(row.as_ref()).with_date(answer.date), row.as_ref()),
            Err(error) => {
                self.core.event(Event::RequestFailed { name: &self.name, error: &error });
                let is_retryable = error.is_retryable();
                self.handle(if is_retryable { Response::unread() } else { Response::refused(refusal(&error)) }, None);
                self.last_error = Some(error);
            }
        }
    }

    /// Passes a response to the machine. Checks the liveness of the holder of `row`, if the machine may take it over.
    fn handle(&mut self, response: Response<'_>, row: Option<&Row>) {
        let has_row = row.is_some();
        if has_row {
            self.has_row = true;
            self.signals.iter().for_each(|signals| signals.count_row());
        }
        let row = row.filter(|_| self.machine.may_acquire());
        self.core.now(|now| {
            // After `now`, as the machine requires.
            let liveness = row.map_or(Liveness::Unknown, |row| self.core.liveness(row));
            let entries = response.body.row().map(|row| self.core.liveness_of_entries(row)).unwrap_or_default();
            self.machine.handle(now, response.with_liveness(liveness).with_entries(&entries));
        });
        if let Some(watch) = self.machine.watch() {
            self.core.watches.insert(&self.name, watch);
        }
        // After the observation, which the waiters report.
        if has_row && self.signals.as_ref().is_some_and(|signals| signals.take_new_waiter()) {
            self.core.queues.row_seen(&self.core, &self.name);
        }
    }

    fn request_timeout(&self) -> Duration {
        self.timeout.min(self.machine.request_limit(self.core.clock.now()))
    }

    fn clean_up(&self, release: Release) {
        self.core.tasks.spawn_on(clean_up(self.core.clone(), release, self.timeout), &self.runtime);
    }
}

impl<M: Task> Drop for Run<M> {
    fn drop(&mut self) {
        if self.finished || !self.machine.may_acquire() {
            return;
        }
        let (core, timeout) = (self.core.clone(), self.timeout);
        let (mut machine, flight) = (self.machine.clone(), self.in_flight.take());
        let work = async move {
            if let Some(flight) = flight {
                let reply = flight.await;
                core.now(|now| machine.handle(now, reply.response()));
            }
            let release: Option<Release> = core.now(|now| machine.cancel(now)).map(Into::into);
            if let Some(release) = release {
                clean_up(core, release, timeout).await;
            }
        };
        self.core.tasks.spawn_on(work, &self.runtime);
    }
}

impl Core {
    /// Sends a release until it has an outcome, or until its outcome does not matter any more.
    ///
    /// # Errors
    /// The store's error if it refused the release until then.
    pub(crate) async fn release(
        self: &Arc<Self>,
        release: Release,
        timeout: Duration,
    ) -> Result<ReleaseEnd, StoreError> {
        let name = release.name().clone();
        let mut run = Run::new(self, &name, release, timeout);
        match run.complete().await {
            ReleaseEnd::Refused => Err(run.take_last_error()),
            end => Ok(end),
        }
    }
}

/// Releases what an abandoned operation may have left.
async fn clean_up(core: Arc<Core>, release: Release, timeout: Duration) {
    let name = release.name().clone();
    if let Err(error) = core.release(release, timeout).await {
        log::not_cleaned_up(&core, &name, &error);
    }
}

/// Returns the error for a store that has not answered for a whole lease, without an error of its own.
pub(crate) fn unanswered() -> StoreError {
    StoreError::new(StoreErrorKind::Unanswered, "the store did not send a usable response for a whole lease").with_fix(
        "check the network and the status of the store; if its responses have no `Date` of their own, turn the service \
         clock off",
    )
}
