use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::{Answer, BoxFuture, Consistency, Page, Store};
use crate::sync::lock;
use dynamo_lock_protocol::{LockName, Op, Outcome, Row, Verdict, apply};

/// Locks in the memory of this process, for tests and for tasks of one process. Clones share their rows.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    rows: Arc<Mutex<BTreeMap<String, Row>>>,
}

impl Memory {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces a row without a condition, as another program would, for tests. `None` removes the row.
    pub fn insert_raw(&self, name: &LockName, row: Option<Row>) {
        self.with_rows(|rows| match row {
            Some(row) => rows.insert(name.to_string(), row),
            None => rows.remove(name.as_str()),
        });
    }

    fn with_rows<T>(&self, f: impl FnOnce(&mut BTreeMap<String, Row>) -> T) -> T {
        f(&mut lock(&self.rows))
    }
}

impl Store for Memory {
    fn read<'a>(&'a self, name: &'a LockName, _: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
        Box::pin(async move { Ok(self.with_rows(|rows| rows.get(name.as_str()).cloned())).into() })
    }

    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>> {
        Box::pin(async move {
            let outcome = self.with_rows(|rows| match apply(rows.get(op.name.as_str()), op) {
                Verdict::Applied(row) => {
                    rows.insert(op.name.to_string(), row.clone());
                    Outcome::Applied(row)
                }
                Verdict::Conflict(row) => Outcome::Conflict(row),
            });
            Ok(outcome).into()
        })
    }

    fn list<'a>(&'a self, _: Option<&'a str>) -> BoxFuture<'a, Answer<Page>> {
        Box::pin(async move {
            let rows = self.with_rows(|rows| rows.iter().map(|(name, row)| (name.clone(), row.clone())).collect());
            Ok(Page { rows, next: None }).into()
        })
    }
}
