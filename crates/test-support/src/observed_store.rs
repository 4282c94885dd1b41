use std::{fmt, time::Duration};

use dynamo_lock::store::{Answer, BoxFuture, Consistency, Liveness, Op, Outcome, Page, Row};
use dynamo_lock::{LockName, Store};

use crate::Call;

/// A store that passes each of its calls to a function before it forwards the call to another store.
#[derive(Clone)]
pub struct ObservedStore<S, F> {
    store: S,
    observe: F,
}

impl<S: Store, F: Fn(Call) + Send + Sync + 'static> ObservedStore<S, F> {
    /// Creates a store that forwards to `store`.
    pub fn new(store: S, observe: F) -> Self {
        Self { store, observe }
    }
}

impl<S, F> fmt::Debug for ObservedStore<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObservedStore")
    }
}

impl<S: Store, F: Fn(Call) + Send + Sync + 'static> Store for ObservedStore<S, F> {
    fn read<'a>(&'a self, name: &'a LockName, consistency: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
        (self.observe)(Call::Read(name.clone(), consistency));
        self.store.read(name, consistency)
    }

    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>> {
        (self.observe)(Call::Write(op.clone()));
        self.store.write(op)
    }

    fn list<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Answer<Page>> {
        (self.observe)(Call::List);
        self.store.list(after)
    }

    fn service_clock(&self) -> bool {
        self.store.service_clock()
    }

    fn npm_clients(&self) -> bool {
        self.store.npm_clients()
    }

    fn liveness_key(&self) -> Option<&str> {
        self.store.liveness_key()
    }

    fn hold_liveness_key(&self, duration: Duration) -> Option<String> {
        self.store.hold_liveness_key(duration)
    }

    fn hold_time_left(&self, liveness_key: &str) -> Option<Duration> {
        self.store.hold_time_left(liveness_key)
    }

    fn liveness(&self, liveness_key: &str) -> Liveness {
        self.store.liveness(liveness_key)
    }

    fn changed(&self, name: &LockName) -> Option<BoxFuture<'static, ()>> {
        self.store.changed(name)
    }
}
