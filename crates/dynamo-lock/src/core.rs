//! State that all handles of a client share, and single requests to the store.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dynamo_lock_protocol::{
    ClockReading, Entropy, Liveness, Now, Op, Outcome, OwnHold, ReceivedAt, Refusal, Response, Row, SentAt,
    ServiceClock, ServiceDate, Timing, Watch, attr,
};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, timeout};
use crate::dedicated_thread::DedicatedThread;
use crate::queue::Queues;
use crate::store::{Answer, BoxFuture, Consistency, Page, StoreErrorCause};
use crate::{
    Event, LockName, Observer, Store, StoreError, StoreErrorKind, lock_cache::LockCache, log, random::Random,
    sync::lock, turns::Turns,
};

/// Minimum length of a pause, because no timer is finer and a shorter pause could end at once.
pub(crate) const PAUSE_MIN: Duration = Duration::from_millis(1);

/// State that all handles of a client share.
///
/// Every request to the store goes through here: it is timed, its duration is limited, and the date of its response
/// goes into the service clock.
pub(crate) struct Core {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) observers: Vec<Box<dyn Observer>>,
    pub(crate) owner: String,
    pub(crate) timing: Timing,
    /// Service time as bounded by the dates of responses. `None` if the store has no service clock.
    pub(crate) service: Option<Mutex<ServiceClock>>,
    /// Latest observation of each lock that was seen held.
    pub(crate) watches: LockCache<Watch>,
    /// Last hold of each lock that this client has released.
    pub(crate) own_holds: LockCache<OwnHold>,
    pub(crate) turns: Turns,
    /// Waiters of this client.
    pub(crate) queues: Queues,
    /// Releases and clean-ups in the background, which run to their end independently of their callers.
    pub(crate) tasks: TaskTracker,
    /// Thread on which renewals, releases and all requests run. Without one, they run on the runtimes of the callers.
    pub(crate) thread: Option<DedicatedThread>,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("owner", &self.owner).field("store", &self.store).finish()
    }
}

/// Response to one attempt of a write, with its times.
pub(crate) struct Reply {
    sent_at: SentAt,
    result: Result<Outcome, Refusal>,
    date: Option<ServiceDate>,
    /// Error of the store, `None` if the write was applied or its condition did not hold.
    pub(crate) error: Option<StoreError>,
}

impl Core {
    /// Writes an event to the log, and passes it to the observers.
    pub(crate) fn event(&self, event: Event<'_>) {
        log::event(&self.owner, &event);
        self.observers.iter().for_each(|observer| observer.event(event));
    }

    /// Calls `f` with the present time and fresh random bits.
    pub(crate) fn now<T>(&self, f: impl FnOnce(&Now<'_>) -> T) -> T {
        let at = self.clock.now();
        let [version, lease_id, jitter] = self.random.three_bits().map(|bits| distinct_bits(bits, at));
        let entropy = Entropy { version, lease_id, jitter: jitter as u64 };
        let service = self.service.as_ref().map(lock);
        // The time is read after the wait for the mutex.
        let npm_clients = self.store.npm_clients();
        f(&Now { at: self.clock.now(), service: service.as_deref(), npm_clients, entropy })
    }

    /// Waits for at least `length`, and at least 1 ms.
    pub(crate) async fn pause(&self, length: Duration) {
        self.clock.sleep(length.max(PAUSE_MIN)).await;
    }

    /// Returns the runtime on which an acquisition that begins now is renewed and cleaned up.
    ///
    /// # Panics
    /// If there is no dedicated thread, and the caller is not on a runtime.
    pub(crate) fn runtime(&self) -> Handle {
        self.thread.as_ref().map_or_else(Handle::current, |thread| thread.runtime().clone())
    }

    /// Returns a future that completes once the store can send a request at once, `None` if it can send one now.
    pub(crate) fn ready_future(&self) -> Option<BoxFuture<'_, ()>> {
        let ready = self.store.ready().filter(|_| !self.is_forked())?;
        if self.thread.is_none() {
            return Some(ready);
        }
        let ready = |store: Arc<dyn Store>| -> BoxFuture<'static, ()> {
            Box::pin(async move {
                if let Some(ready) = store.ready() {
                    ready.await;
                }
            })
        };
        Some(Box::pin(async move { _ = self.on_thread(ready(self.store.clone())).await }))
    }

    /// Returns whether the client has a dedicated thread and this is a forked copy of its process.
    pub(crate) fn is_forked(&self) -> bool {
        self.thread.as_ref().is_some_and(DedicatedThread::is_forked)
    }

    /// Runs `work` on the dedicated thread if there is one. Returns `None` if that thread has ended.
    async fn on_thread<T: Send + 'static>(&self, work: BoxFuture<'static, T>) -> Option<T> {
        match &self.thread {
            Some(thread) => thread.run(work).await,
            None => Some(work.await),
        }
    }

    /// Waits until the store can send a request at once.
    pub(crate) async fn ready(&self) {
        if let Some(ready) = self.ready_future() {
            ready.await;
        }
    }

    /// Sends one request for at most `limit`. Returns the time before it was sent, and its response.
    ///
    /// A request that was refused because of this host's wall clock is sent once more. The response to the first had
    /// the date of the service, by which the store corrects the time of the next signature.
    async fn request<T: Send + 'static>(
        &self,
        limit: Duration,
        request: impl Fn(Arc<dyn Store>) -> BoxFuture<'static, Answer<T>>,
    ) -> (SentAt, Answer<T>) {
        let send = || self.request_once(limit, request(self.store.clone()));
        let (sent_at, answer) = send().await;
        match &answer.result {
            Err(error) if error.cause() == Some(StoreErrorCause::WrongClock) => (sent_at, send().await.1),
            _ => (sent_at, answer),
        }
    }

    async fn request_once<T: Send + 'static>(
        &self,
        limit: Duration,
        request: BoxFuture<'static, Answer<T>>,
    ) -> (SentAt, Answer<T>) {
        let sent_at = SentAt(self.clock.now()); // R1: before the first byte
        if self.is_forked() {
            return (sent_at, Err(forked()).into());
        }
        let answer = timeout(&*self.clock, limit.max(PAUSE_MIN), self.on_thread(request)).await.flatten();
        let mut answer = answer.unwrap_or_else(|| Err(timed_out(limit)).into());
        match (&self.service, answer.date) {
            // R2: after the response
            (Some(service), Some(date)) => lock(service).observe(date, sent_at, ReceivedAt(self.clock.now())),
            _ => answer.date = None,
        }
        (sent_at, answer)
    }

    /// Reads one row.
    pub(crate) async fn read(&self, name: &LockName, consistency: Consistency, limit: Duration) -> Answer<Option<Row>> {
        let read = |store: Arc<dyn Store>| -> BoxFuture<'static, _> {
            let name = name.clone();
            Box::pin(async move { store.read(&name, consistency).await })
        };
        self.request(limit, read).await.1
    }

    /// Reads one page of all rows.
    pub(crate) async fn list(&self, after: Option<&str>) -> Answer<Page> {
        self.ready().await;
        let list = |store: Arc<dyn Store>| -> BoxFuture<'static, _> {
            let after = after.map(str::to_owned);
            Box::pin(async move { store.list(after.as_deref()).await })
        };
        self.request(self.timing.attempt_timeout(), list).await.1
    }

    /// Sends one attempt of a write. The future is independent of its caller, so that it can continue in the
    /// background.
    pub(crate) fn write(self: &Arc<Self>, op: Op, limit: Duration) -> BoxFuture<'static, Reply> {
        let core = self.clone();
        Box::pin(async move {
            let op = Arc::new(op);
            let write = |store: Arc<dyn Store>| -> BoxFuture<'static, _> {
                let op = op.clone();
                Box::pin(async move { store.write(&op).await })
            };
            let (sent_at, answer) = core.request(limit, write).await;
            let error = answer.result.as_ref().err().cloned();
            let result = answer.result.or_else(|error| match error.kind() {
                StoreErrorKind::Unanswered => Ok(Outcome::Unknown),
                StoreErrorKind::Throttled => Ok(Outcome::Throttled),
                _ => Err(refusal(&error)),
            });
            if let Some(error) = &error {
                core.event(Event::RequestFailed { name: &op.name, error });
            }
            Reply { sent_at, result, date: answer.date, error }
        })
    }

    /// Returns a future that completes once a row may have changed, if the store reports that.
    pub(crate) fn changed(&self, name: &LockName) -> Option<BoxFuture<'static, ()>> {
        if self.is_forked() { None } else { self.store.changed(name) }
    }

    /// Checks whether the holder of a row is alive, as far as the store can find out.
    pub(crate) fn liveness(&self, row: &Row) -> Liveness {
        row.text(attr::LIVENESS_KEY).map_or(Liveness::Unknown, |key| self.store.liveness(key))
    }

    /// Checks whether the holders of a shared row are alive. Returns the results with their liveness keys.
    pub(crate) fn liveness_of_entries(&self, row: &Row) -> Vec<(String, Liveness)> {
        row.liveness_keys().map(|key| (key.to_owned(), self.store.liveness(key))).collect()
    }
}

impl Reply {
    /// Returns the response for a state machine.
    pub(crate) fn response(&self) -> Response<'_> {
        let response = match &self.result {
            Ok(outcome) => Response::outcome(self.sent_at, outcome),
            Err(refusal) => Response::refused(*refusal),
        };
        response.with_date(self.date)
    }

    /// Returns the outcome, `None` if the store refused the write.
    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        self.result.as_ref().ok()
    }

    /// Returns the row on which the condition of the write did not hold.
    pub(crate) fn conflict_row(&self) -> Option<&Row> {
        match &self.result {
            Ok(Outcome::Conflict(row)) => row.as_ref(),
            _ => None,
        }
    }
}

/// Returns the kind of a refusal: whether the table, and with it the row, does not exist any more.
pub(crate) fn refusal(error: &StoreError) -> Refusal {
    match error.cause() {
        Some(StoreErrorCause::MissingTable | StoreErrorCause::DatabaseReplaced) => Refusal::NoTable,
        _ => Refusal::Other,
    }
}

/// Returns random bits that differ from those of a copy of this host, unless both clocks of the copy show the same
/// time.
///
/// Virtual machines that were resumed from one snapshot get the same random bits from their kernels for a while (A6).
fn distinct_bits(random: u128, at: ClockReading) -> u128 {
    // Multiplication by an odd number is a bijection, so a difference of one clock is a difference of the result.
    let spread = |clock: u64, odd: u128| u128::from(clock).wrapping_mul(odd);
    random
        ^ spread(at.raw_ns, 0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
        ^ spread(at.wall_ms, 0xD1B5_4A32_D192_ED03_AEF1_7502_B3C5_4B6D)
}

fn timed_out(limit: Duration) -> StoreError {
    StoreError::new(StoreErrorKind::Unanswered, format!("the store did not respond within {limit:?}"))
        .with_fix("check the network, or use a longer lease")
}

fn forked() -> StoreError {
    let problem = "this client was created before a fork, and its thread belongs to the parent process";
    StoreError::new(StoreErrorKind::Refused, problem).with_fix("create another client here")
}
