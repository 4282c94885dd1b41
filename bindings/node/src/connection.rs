//! Native state of one JavaScript client: its store, held locks, listings and pending calls.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use dynamo_lock::{List, RiskWatch};
use serde_json::{Value as Json, json};
use tokio::runtime::Handle;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::events::Events;
use crate::failure::Failure;
use crate::held::Held;
use crate::json;
use crate::port::{MessageKind, Port};
use crate::settings::{Opened, Settings};

/// Result of a call: JSON for the promise of the caller.
pub(crate) type CallResult = Result<Json, Failure>;

/// Native state of one JavaScript client. Its methods are in `methods.rs`.
pub(crate) struct Connection {
    settings: Settings,
    pub(crate) port: Arc<Port>,
    /// Client and store, once a call has needed them.
    pub(crate) opened: OnceCell<Opened>,
    guards: Mutex<HashMap<u32, Arc<Held>>>,
    pub(crate) lists: Mutex<HashMap<u32, List>>,
    calls: Mutex<HashMap<u32, CancellationToken>>,
    /// Watches of the time that is left of the leases of held locks.
    risk_watches: Mutex<HashMap<u32, CancellationToken>>,
    next_guard: AtomicU32,
    /// Whether JavaScript has a listener for events.
    is_observed: Arc<AtomicBool>,
    abandoned: CancellationToken,
}

impl Connection {
    pub(crate) fn new(settings: Settings, port: Port) -> Self {
        Self {
            settings,
            port: Arc::new(port),
            opened: OnceCell::new(),
            guards: Mutex::default(),
            lists: Mutex::default(),
            calls: Mutex::default(),
            risk_watches: Mutex::default(),
            next_guard: AtomicU32::new(1),
            is_observed: Arc::default(),
            abandoned: CancellationToken::new(),
        }
    }

    /// Starts a call on `runtime`. Its result is posted exactly once.
    pub(crate) fn call(this: &Arc<Self>, runtime: &Handle, id: u32, method: String, args: &str) {
        let args: Json = serde_json::from_str(args).unwrap_or_default();
        let stop = this.abandoned.child_token();
        lock(&this.calls).insert(id, stop.clone());
        // Posts its result when it is dropped, so that the promise is settled even if the task panics.
        let mut call = PendingCall { connection: this.clone(), id, result: Err(Failure::panicked(&method)) };
        runtime.spawn(async move {
            call.result = tokio::select! {
                biased;
                () = stop.cancelled() => Err(Failure::cancelled()),
                result = call.connection.perform(&method, &args) => result,
            };
            drop(call);
        });
    }

    pub(crate) fn cancel(&self, id: u32) {
        if let Some(stop) = lock(&self.calls).get(&id) {
            stop.cancel();
        }
    }

    /// Returns the opened store, and opens it if this is the first use.
    pub(crate) async fn open(&self) -> Result<&Opened, Failure> {
        let open = || self.settings.open(&self.port, Events::new(&self.port, &self.is_observed));
        self.opened.get_or_try_init(open).await
    }

    /// Sets whether events of locks are posted.
    pub(crate) fn observe(&self, on: bool) {
        self.is_observed.store(on, Ordering::Relaxed);
    }

    /// Stores a guard, posts a message when it is lost, and returns its number.
    pub(crate) fn add_guard(self: &Arc<Self>, guard: Held) -> u32 {
        let id = self.next_guard.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(watch(Arc::downgrade(self), id, guard.cancellation()));
        lock(&self.guards).insert(id, Arc::new(guard));
        if self.abandoned.is_cancelled() {
            self.forget(id);
        }
        id
    }

    /// Removes a guard. Returns `None` if it was released or forgotten, or if a call still uses it, which
    /// `lib/held.js` excludes.
    pub(crate) fn take_guard(&self, id: u32) -> Option<Held> {
        lock(&self.guards).remove(&id).and_then(Arc::into_inner)
    }

    /// Returns a guard for a call that waits. Returns `None` if it was released or forgotten.
    pub(crate) fn guard(&self, id: u32) -> Option<Arc<Held>> {
        lock(&self.guards).get(&id).cloned()
    }

    /// Calls `f` with a guard. Returns `None` if it was released or forgotten.
    pub(crate) fn with_guard<T>(&self, id: u32, f: impl FnOnce(&Held) -> T) -> Option<T> {
        lock(&self.guards).get(&id).map(|held| f(held))
    }

    /// Starts the watch `id`, which posts a message when less than `margin` of a guard's lease is left, and when a
    /// renewal has succeeded after that. The default margin is half of the lease. Does nothing if the guard was released
    /// or forgotten.
    pub(crate) fn watch_risk(this: &Arc<Self>, runtime: &Handle, guard: u32, id: u32, margin: Option<Duration>) {
        let watched = this.with_guard(guard, |guard| (guard.risk_watch(), guard.cancellation()));
        let Some((watch, ended)) = watched else { return };
        let margin = margin.unwrap_or_else(|| watch.lease() / 2);
        let stop = CancellationToken::new();
        lock(&this.risk_watches).insert(id, stop.clone());
        let (connection, port) = (Arc::downgrade(this), this.port.clone());
        runtime.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = ended.cancelled() => {}
                () = report_risk(&port, id, &watch, margin) => {}
            }
            connection.upgrade().into_iter().for_each(|connection| connection.end_risk_watch(id));
        });
    }

    /// Ends the watch `id`. Does nothing if it has ended.
    pub(crate) fn end_risk_watch(&self, id: u32) {
        let stop = lock(&self.risk_watches).remove(&id);
        stop.iter().for_each(CancellationToken::cancel);
    }

    /// Returns the condition check of a guard, an array for several locks, or `None` if the store is not DynamoDB.
    pub(crate) fn condition_check(&self, id: u32) -> Option<Json> {
        let table = self.opened.get()?.table.as_ref()?;
        let check = |held: &Held| match held {
            Held::One(guard) => Some(json::condition_check(&table.condition_check(guard).ok()?)),
            Held::Once(guard) => Some(json::condition_check(&table.condition_check(guard).ok()?)),
            Held::Permit(permit) => Some(json::condition_check(&table.condition_check_of_permit(permit).ok()?)),
            Held::All(guards) => Some(table.condition_checks(guards).ok()?.iter().map(json::condition_check).collect()),
        };
        self.with_guard(id, check)?
    }

    /// Drops a guard, which releases its lock in the background.
    pub(crate) fn forget(&self, id: u32) {
        lock(&self.guards).remove(&id);
    }

    /// Cancels all calls and drops all guards, because no JavaScript can receive messages any more.
    pub(crate) fn abandon(&self) {
        self.abandoned.cancel();
        let guards = std::mem::take(&mut *lock(&self.guards));
        drop(guards);
    }
}

/// A running call. Posts its result when it is dropped.
struct PendingCall {
    connection: Arc<Connection>,
    id: u32,
    result: CallResult,
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        lock(&self.connection.calls).remove(&self.id);
        let body = match &self.result {
            Ok(value) => json!({ "value": value }),
            Err(Failure(failure)) => json!({ "failure": failure }),
        };
        self.connection.port.post(MessageKind::Result, self.id, body.to_string());
    }
}

/// Waits until a guard is lost or dropped, and posts its loss.
async fn watch(connection: Weak<Connection>, id: u32, stop: CancellationToken) {
    stop.cancelled().await;
    let Some(connection) = connection.upgrade() else { return };
    // A guard that is missing here was released or forgotten, so there is no loss to report.
    let lost = connection.with_guard(id, Held::loss).flatten();
    if let Some(lost) = lost {
        connection.port.post(MessageKind::Lost, id, Failure::from(lost).0.to_string());
    }
}

/// Posts each warning and each recovery of a held lock, until it is lost.
async fn report_risk(port: &Port, id: u32, watch: &RiskWatch, margin: Duration) {
    while let Some(left) = watch.at_risk(margin).await {
        port.post(MessageKind::AtRisk, id, json::millis(left).to_string());
        if watch.recovered(margin).await.is_none() {
            return;
        }
        port.post(MessageKind::Recovered, id, String::new());
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
