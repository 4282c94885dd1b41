use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::{Answer, BoxFuture, Consistency, LockName, Op, Outcome, Page, Row, Store, Verdict, apply};
use crate::sync::lock;

/// Locks in the memory of this process, for tests and for tasks of one process. Clones share their rows; two stores
/// from [`new`](Memory::new) do not. The store never fails, and has no service clock. It reports each release to the
/// waiters of all locks.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    rows: Arc<Mutex<BTreeMap<String, Row>>>,
    released: Arc<Notify>,
}

impl Memory {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces a row without a condition, as another program would, for tests. `None` removes the row.
    pub fn insert_raw(&self, name: &LockName, row: Option<Row>) {
        match row {
            Some(row) => lock(&self.rows).insert(name.to_string(), row),
            None => lock(&self.rows).remove(name.as_str()),
        };
        self.released.notify_waiters();
    }
}

impl Store for Memory {
    fn read<'a>(&'a self, name: &'a LockName, _: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
        Box::pin(async move { Ok(lock(&self.rows).get(name.as_str()).cloned()).into() })
    }

    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>> {
        Box::pin(async move {
            let mut rows = lock(&self.rows);
            let verdict = apply(rows.get(op.name.as_str()), op);
            if let Verdict::Applied(row) = &verdict {
                rows.insert(op.name.to_string(), row.clone());
                if op.kind.frees_lock() {
                    self.released.notify_waiters();
                }
            }
            Ok(verdict.outcome(op)).into()
        })
    }

    fn npm_clients(&self) -> bool {
        false
    }

    fn list<'a>(&'a self, _: Option<&'a str>) -> BoxFuture<'a, Answer<Page>> {
        Box::pin(async move { Ok(Page { rows: lock(&self.rows).clone().into_iter().collect(), next: None }).into() })
    }

    fn changed(&self, _: &LockName) -> Option<BoxFuture<'static, ()>> {
        Some(Box::pin(self.released.clone().notified_owned()))
    }
}
