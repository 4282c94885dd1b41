//! Every store of ours passes the checks that `dynamo_lock::conformance` has for everybody's.

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

use dynamo_lock::conformance::{Options, PlantError, Report, Subject, run};
use dynamo_lock::store::BoxFuture;
use dynamo_lock::{LockName, Memory, Store};
use dynamo_lock_protocol::Row;

/// Two handles, and a way to put rows there: all that a store needs to be examined here.
struct Rows<P> {
    store: Arc<dyn Store>,
    other: Arc<dyn Store>,
    plant: P,
}

impl<P> Subject for Rows<P>
where
    P: Fn(LockName, Option<Row>) -> BoxFuture<'static, Result<(), PlantError>> + Send + Sync,
{
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    fn other(&self) -> Arc<dyn Store> {
        self.other.clone()
    }

    fn plant<'a>(&'a self, name: &'a LockName, row: Option<Row>) -> BoxFuture<'a, Result<(), PlantError>> {
        (self.plant)(name.clone(), row)
    }
}

async fn examine_memory(options: Options) -> Report {
    let memory = Memory::new();
    let rows = memory.clone();
    let plant = move |name, row| -> BoxFuture<'static, Result<(), PlantError>> {
        rows.plant(&name, row);
        Box::pin(async { Ok(()) })
    };
    run(&Rows { store: Arc::new(memory.clone()), other: Arc::new(memory), plant }, options).await
}

/// Not a check: where a second process begins.
#[cfg(unix)]
#[test]
fn second_process() {
    remote_store::serve_if_child();
}

#[tokio::test]
async fn memory_conforms() {
    examine_memory(Options::default()).await.assert_passed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_conforms_to_threads_that_run_at_once() {
    for seed in 2..6 {
        examine_memory(Options { seed, ..Options::default() }).await.assert_passed();
    }
}

#[tokio::test]
async fn one_seed_gives_one_examination() {
    let (one, again) = (examine_memory(Options::default()).await, examine_memory(Options::default()).await);
    assert_eq!(one.coverage(), again.coverage());
    let other = examine_memory(Options { seed: 2, ..Options::default() }).await;
    assert_ne!(one.coverage(), other.coverage());
}

#[tokio::test]
async fn too_few_cases_are_not_taken_for_enough() {
    let report = examine_memory(Options { cases: 3, ..Options::default() }).await;
    assert_eq!(report.failed(), ["the generated ops reach every answer"]);
}
