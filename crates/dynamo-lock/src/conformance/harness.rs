//! Access of the checks to a store: each request has a time limit, and each failure is a line of text.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{Options, Report, StoreUnderTest, coverage::CheckResult};
use crate::clock::{Clock, SystemClock, timeout};
use crate::store::{
    Answer, BoxFuture, Consistency, LockName, Op, Outcome, Page, Row, Store, StoreErrorKind, Value, Verdict,
};

/// Tries of a throttled request. The pauses between them add up to ten seconds.
const TRIES: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// Handle to the store.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    store: Arc<dyn Store>,
    timeout: Duration,
    /// Name of the handle, for messages.
    name: &'static str,
}

/// Outcome of a write that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// The write was applied. Contains the row that it has left, unless the store does not return it for this kind.
    Applied(Option<Row>),
    /// The condition did not hold on this row.
    Conflict(Option<Row>),
}

/// Store under test, with its two handles, the options of the run and the results so far.
pub(super) struct Harness<'a> {
    pub store: &'a dyn StoreUnderTest,
    pub options: &'a Options,
    pub handles: [Handle; 2],
    pub report: Report,
}

impl<'a> Harness<'a> {
    pub fn new(store: &'a dyn StoreUnderTest, options: &'a Options) -> Self {
        let handle = |store, name| Handle { store, timeout: options.timeout, name };
        let handles = [handle(store.store(), "the first handle"), handle(store.other(), "the second handle")];
        Self { store, options, handles, report: Report::new(options.seed) }
    }

    /// Returns a lock name with the prefix of the run.
    pub fn name(&self, rest: &str) -> Result<LockName, String> {
        LockName::new(format!("{}{rest}", self.options.prefix))
            .map_err(|e| format!("the prefix is not valid in a lock name: {e}"))
    }

    /// Runs the check of a requirement on a row of its own, which is removed after the check has passed.
    pub(super) async fn check(
        &mut self,
        requirement: &'static str,
        row: &str,
        check: impl AsyncFnOnce(&Self, &LockName) -> CheckResult,
    ) {
        let result = async {
            let name = self.name(row)?;
            check(self, &name).await?;
            self.insert_raw(&name, None).await
        }
        .await;
        self.report.add(requirement, result);
    }

    /// Replaces a row without a condition, or deletes it.
    pub(super) async fn insert_raw(&self, name: &LockName, row: Option<Row>) -> CheckResult {
        let inserted = timeout(&SystemClock, self.options.timeout, self.store.insert_raw(name, row)).await;
        inserted.ok_or("inserting a row took too long")?.map_err(|e| format!("cannot insert a row: {e}"))
    }

    /// Returns the handle for the `i`th request. The requests alternate between both handles.
    pub fn handle(&self, i: usize) -> &Handle {
        &self.handles[i % 2]
    }

    /// Reads the row strongly through both handles, and compares it with `expected`.
    pub(super) async fn expect_row(&self, name: &LockName, expected: Option<&Row>, when: &str) -> CheckResult {
        for handle in &self.handles {
            let row = handle.read(name, Consistency::Strong).await?;
            if row.as_ref() != expected {
                let difference = difference(expected, row.as_ref());
                return Err(format!("{when}, a strong read through {} differs: {difference}", handle.name));
            }
        }
        Ok(())
    }
}

impl Handle {
    pub(super) async fn read(&self, name: &LockName, consistency: Consistency) -> Result<Option<Row>, String> {
        self.request("read", || self.store.read(name, consistency)).await
    }

    pub(super) async fn list(&self, after: Option<&str>) -> Result<Page, String> {
        self.request("list", || self.store.list(after)).await
    }

    pub(super) async fn write(&self, op: &Op) -> Result<Written, String> {
        match self.request("write", || self.store.write(op)).await? {
            Outcome::Applied(None) if op.kind.returns_row() => {
                Err(format!("{:?} was applied, but its outcome does not contain the row", op.kind))
            }
            Outcome::Applied(row) => Ok(Written::Applied(row)),
            Outcome::Conflict(row) => Ok(Written::Conflict(row)),
            other => Err(format!("a write returned Ok({other:?}); return a StoreError instead")),
        }
    }

    /// Writes an op that takes effect. Returns an error that names the op unless it was applied.
    pub(super) async fn write_applied(&self, op: &Op, name: &str) -> CheckResult {
        match self.write(op).await? {
            Written::Applied(_) => Ok(()),
            conflict => Err(format!("{name} must be applied, and was {conflict:?}")),
        }
    }

    async fn request<'a, T>(&'a self, what: &str, send: impl Fn() -> BoxFuture<'a, Answer<T>>) -> Result<T, String> {
        for attempt in 0..TRIES {
            let Some(answer) = timeout(&SystemClock, self.timeout, send()).await else {
                return Err(format!("a {what} took longer than {:?}", self.timeout));
            };
            match answer.result {
                Ok(value) => return Ok(value),
                Err(error) if error.kind() == StoreErrorKind::Throttled => {
                    SystemClock.sleep(FIRST_PAUSE * (1 << attempt)).await;
                }
                Err(error) => {
                    let failure = match error.kind() {
                        StoreErrorKind::Unanswered => "not answered",
                        StoreErrorKind::AccessDenied => "not allowed",
                        _ => "refused",
                    };
                    return Err(format!("a {what} was {failure}: {error}"));
                }
            }
        }
        Err(format!("a {what} was throttled {TRIES} times in a row"))
    }
}

/// Compares the outcome of a write with the specification.
pub(super) fn compare(expected: &Verdict, found: &Written) -> CheckResult {
    let (outcome, expected, found) = match (expected, found) {
        (Verdict::Applied(_), Written::Applied(None)) => return Ok(()),
        (Verdict::Applied(expected), Written::Applied(found)) => ("was applied", Some(expected), found.as_ref()),
        (Verdict::Conflict(expected), Written::Conflict(found)) => ("is a conflict", expected.as_ref(), found.as_ref()),
        _ => return Err(format!("it must be {expected:?}, and was {found:?}")),
    };
    if expected == found {
        return Ok(());
    }
    Err(format!("it {outcome}, but with another row: {}", difference(expected, found)))
}

/// Describes the attributes in which two rows differ.
pub(super) fn difference(expected: Option<&Row>, found: Option<&Row>) -> String {
    let (expected, found) = match (expected, found) {
        (Some(expected), Some(found)) => (expected, found),
        (_, None) => return "there is no row, and there must be one".to_owned(),
        (None, _) => return "there is a row, and there must be none".to_owned(),
    };
    let show = |value: Option<&Value>| value.map_or("missing".to_owned(), |value| format!("{value:?}"));
    let names: BTreeSet<_> = expected.attributes().chain(found.attributes()).map(|(name, _)| name).collect();
    let differing = names.into_iter().filter(|name| expected.get(name) != found.get(name));
    let differing =
        differing.map(|name| format!("{name:?} is {}, not {}", show(found.get(name)), show(expected.get(name))));
    differing.collect::<Vec<_>>().join("; ")
}
