//! A store and its subject, as the checks use them: every request bounded, every failure a line of text.

use std::sync::Arc;
use std::time::Duration;

use super::{Options, Subject};
use crate::clock::{Clock, SystemClock};
use crate::store::{
    Answer, BoxFuture, Consistency, Ends, Lease, LeaseId, LockName, Op, OpKind, Outcome, Page, RecordVersion, Row,
    Value, Verdict,
};
use crate::{FencingToken, Store, StoreErrorKind};

/// Tries of a throttled request; the pauses between them sum up to ten seconds.
const TRIES: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// What a check says: nothing, or what was wrong.
pub(super) type Passed = Result<(), String>;

/// What a store answered to a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Applied(Row),
    Conflict(Option<Row>),
}

/// One handle to the store.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    store: Arc<dyn Store>,
    wait_mode: Duration,
    which: &'static str,
}

pub(super) struct Exam<'a> {
    pub subject: &'a dyn Subject,
    pub options: &'a Options,
    pub handles: [Handle; 2],
}

impl<'a> Exam<'a> {
    pub fn new(subject: &'a dyn Subject, options: &'a Options) -> Self {
        let handle = |store, which| Handle { store, wait_mode: options.wait_mode, which };
        let handles = [handle(subject.store(), "the first handle"), handle(subject.other(), "the second handle")];
        Self { subject, options, handles }
    }

    /// A name under the prefix.
    pub fn name(&self, rest: &str) -> Result<LockName, String> {
        LockName::new(format!("{}{rest}", self.options.prefix)).map_err(|e| format!("the prefix leaves no name: {e}"))
    }

    pub(super) async fn plant(&self, name: &LockName, row: Option<Row>) -> Passed {
        let planted = bounded(self.options.wait_mode, self.subject.plant(name, row)).await;
        planted.ok_or("planting a row took too long")?.map_err(|e| format!("a row could not be planted: {e}"))
    }

    /// Both handles in turn: the `i`th request goes through this one.
    pub fn handle(&self, i: usize) -> &Handle {
        &self.handles[i % 2]
    }

    /// Reads strongly through both handles.
    pub(super) async fn expect_row(&self, name: &LockName, expected: Option<&Row>, when: &str) -> Passed {
        for handle in &self.handles {
            let row = handle.read(name, Consistency::Strong).await?;
            if row.as_ref() != expected {
                return Err(format!(
                    "{when}, a strong read through {} differs: {}",
                    handle.which,
                    difference(expected, row.as_ref())
                ));
            }
        }
        Ok(())
    }
}

impl Handle {
    pub(super) async fn read(&self, name: &LockName, consistency: Consistency) -> Result<Option<Row>, String> {
        self.ask("read", || self.store.read(name, consistency)).await
    }

    pub(super) async fn list(&self, after: Option<&str>) -> Result<Page, String> {
        self.ask("list", || self.store.list(after)).await
    }

    pub(super) async fn write(&self, op: &Op) -> Result<Written, String> {
        match self.ask("write", || self.store.write(op)).await? {
            Outcome::Applied(row) => Ok(Written::Applied(row)),
            Outcome::Conflict(row) => Ok(Written::Conflict(row)),
            odd => Err(format!("a write was answered Ok({odd:?}): say that with a StoreError")),
        }
    }

    async fn ask<'a, T>(&'a self, what: &str, request: impl Fn() -> BoxFuture<'a, Answer<T>>) -> Result<T, String> {
        for attempt in 0..TRIES {
            let Some(answer) = bounded(self.wait_mode, request()).await else {
                return Err(format!("a {what} took longer than {:?}", self.wait_mode));
            };
            let error = match answer.result {
                Ok(said) => return Ok(said),
                Err(error) => error,
            };
            match error.kind() {
                StoreErrorKind::Throttled => SystemClock.sleep(FIRST_PAUSE * (1 << attempt)).await,
                StoreErrorKind::Refused | StoreErrorKind::Misconfigured => {
                    return Err(format!("a {what} was refused: {error}"));
                }
                StoreErrorKind::Unanswered => return Err(format!("a {what} was not answered: {error}")),
                StoreErrorKind::AccessDenied => return Err(format!("a {what} was not allowed: {error}")),
            }
        }
        Err(format!("a {what} was throttled {TRIES} times in a row"))
    }
}

/// `None` if it took longer.
async fn bounded<T>(wait_mode: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = future => Some(done),
        () = SystemClock.sleep(wait_mode) => None,
    }
}

/// Whether a store's answer is the specification's.
pub(super) fn agree(verdict: &Verdict, written: &Written) -> Passed {
    match (verdict, written) {
        (Verdict::Applied(expected), Written::Applied(row)) if expected == row => Ok(()),
        (Verdict::Applied(expected), Written::Applied(row)) => {
            Err(format!("it was applied, with another row: {}", difference(Some(expected), Some(row))))
        }
        (Verdict::Conflict(expected), Written::Conflict(row)) if expected == row => Ok(()),
        (Verdict::Conflict(expected), Written::Conflict(row)) => {
            Err(format!("it is a conflict, with another row: {}", difference(expected.as_ref(), row.as_ref())))
        }
        (verdict, written) => Err(format!("it must be {verdict:?}, and was {written:?}")),
    }
}

/// Where two rows differ, in a few words.
pub(super) fn difference(expected: Option<&Row>, found: Option<&Row>) -> String {
    let (expected, found) = match (expected, found) {
        (Some(expected), Some(found)) => (expected, found),
        (Some(_), None) => return "there is no row, and there must be one".to_owned(),
        (None, Some(_)) => return "there is a row, and there must be none".to_owned(),
        (None, None) => return "none".to_owned(),
    };
    let show = |value: Option<&Value>| value.map_or("missing".to_owned(), |value| format!("{value:?}"));
    let mut names: Vec<_> = expected.attributes().chain(found.attributes()).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    let differing = names.into_iter().filter(|name| expected.get(name) != found.get(name));
    let differing =
        differing.map(|name| format!("{name:?} is {}, not {}", show(found.get(name)), show(expected.get(name))));
    differing.collect::<Vec<_>>().join("; ")
}

/// A free native row, with this token.
pub(super) fn free_row(token: u64) -> Row {
    Row::new([
        ("v".to_owned(), 1.into()),
        ("guid".to_owned(), Value::from(RecordVersion::from_random(1).as_str())),
        ("leaseId".to_owned(), Value::from(LeaseId::from_random(1).as_str())),
        ("token".to_owned(), token.into()),
        ("expiresOn".to_owned(), 0.into()),
        ("ttl".to_owned(), 1_800_000_000.into()),
    ])
}

/// A held native row: what [`lease`] with this nonce writes on [`free_row`].
pub(super) fn held_row(nonce: u128, token: u64) -> Row {
    let mut row = free_row(token);
    row.set("leaseId", LeaseId::from_random(nonce).as_str().into());
    row.set("renewalSeq", 0.into());
    row.set("leaseMs", 20_000.into());
    row.set("owner", "somebody".into());
    row.set("acquiredOn", 1_700_000_000_000.into());
    row.set("expiresOn", 1_700_000_023_000.into());
    row
}

pub(super) fn ends() -> Ends {
    Ends { expires_on: 1_700_000_060_000, service_timestamp: false, ttl: 1_800_000_001 }
}

/// A lease of the reign that has this nonce.
pub(super) fn lease(nonce: u128) -> Lease {
    Lease {
        lease_id: LeaseId::from_random(nonce),
        token_floor: FencingToken::new(1_000),
        lease_ms: 20_000,
        ends: ends(),
        owner: format!("writer {nonce}"),
        acquired_on: 1_700_000_040_000,
        data: None,
        liveness_key: None,
    }
}

/// An op whose record version has this nonce.
pub(super) fn op(name: &LockName, nonce: u128, kind: OpKind) -> Op {
    Op { name: name.clone(), version: RecordVersion::from_random(nonce), kind }
}

pub(super) fn acquire(name: &LockName, nonce: u128) -> Op {
    op(name, nonce, OpKind::Acquire(lease(nonce)))
}

pub(super) fn renew(name: &LockName, nonce: u128, lease_id: u128, token: u64, renewal_seq: u64) -> Op {
    let (lease_id, token) = (LeaseId::from_random(lease_id), FencingToken::new(token));
    op(name, nonce, OpKind::Renew { lease_id, token, renewal_seq, lease_ms: 20_000, ends: ends(), data: None })
}

pub(super) fn release(name: &LockName, nonce: u128, lease_id: u128, token: u64) -> Op {
    let (lease_id, token) = (LeaseId::from_random(lease_id), Some(FencingToken::new(token)));
    op(name, nonce, OpKind::Release { lease_id, token, ttl: 1_800_000_002 })
}
