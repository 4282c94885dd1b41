//! Conformance: every store of this crate passes the checks of `dynamo_lock::conformance`, and broken stores fail them.

mod broken_stores;
mod dynamodb;
mod generated_cases;
#[cfg(unix)]
mod json;
#[cfg(unix)]
mod remote_store;
#[cfg(unix)]
mod sqlite;

use std::sync::Arc;

use dynamo_lock::conformance::{InsertError, Options, Report, StoreUnderTest, run};
use dynamo_lock::store::BoxFuture;
use dynamo_lock::{LockName, Memory, Store};
use dynamo_lock_protocol::Row;

/// Two handles of one store, and a function that replaces rows directly.
struct TestStore<P> {
    store: Arc<dyn Store>,
    other: Arc<dyn Store>,
    insert_raw: P,
}

impl<P> StoreUnderTest for TestStore<P>
where
    P: Fn(LockName, Option<Row>) -> BoxFuture<'static, Result<(), InsertError>> + Send + Sync,
{
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    fn other(&self) -> Arc<dyn Store> {
        self.other.clone()
    }

    fn insert_raw<'a>(&'a self, name: &'a LockName, row: Option<Row>) -> BoxFuture<'a, Result<(), InsertError>> {
        (self.insert_raw)(name.clone(), row)
    }
}

async fn run_on_memory(options: Options) -> Report {
    let memory = Memory::new();
    let rows = memory.clone();
    let insert_raw = move |name, row| -> BoxFuture<'static, Result<(), InsertError>> {
        rows.insert_raw(&name, row);
        Box::pin(async { Ok(()) })
    };
    run(&TestStore { store: Arc::new(memory.clone()), other: Arc::new(memory), insert_raw }, options).await
}

/// Entry point of the process that [`remote_store::RemoteStore`] starts. Otherwise it does nothing.
#[cfg(unix)]
#[test]
fn second_process() {
    remote_store::serve_if_child();
}

/// Compile-time check: a test can spawn the run on another thread.
#[test]
fn future_of_run_is_send() {
    fn assert_send<T: Send>(_: fn(&'static dyn StoreUnderTest, Options) -> T) {}
    assert_send(run);
}

#[tokio::test]
async fn memory_conforms() {
    run_on_memory(Options::default()).await.assert_passed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_conforms_on_several_threads() {
    for seed in 2..6 {
        run_on_memory(Options { seed, ..Options::default() }).await.assert_passed();
    }
}

#[tokio::test]
async fn equal_seeds_give_equal_coverage() {
    let (one, again) = (run_on_memory(Options::default()).await, run_on_memory(Options::default()).await);
    assert_eq!(one.coverage(), again.coverage());
    let other = run_on_memory(Options { seed: 2, ..Options::default() }).await;
    assert_ne!(one.coverage(), other.coverage());
}

#[tokio::test]
async fn too_few_cases_fail_the_coverage_check() {
    let report = run_on_memory(Options { cases: 3, ..Options::default() }).await;
    assert_eq!(report.failed(), ["the generated ops reach every outcome"]);
}
