//! The examples of the crate run.

#[allow(dead_code)] // `main` takes credentials from the environment, so the test calls the function below it
#[path = "../../examples/fenced_write.rs"]
mod fenced_write;
#[path = "../../examples/lock.rs"]
mod lock;
#[path = "../../examples/shutdown.rs"]
mod shutdown;

use dynamo_lock::{StoreErrorKind, TableError};
use test_support::{LocalDynamoDb, ServerFault};

#[test]
fn lock_example_runs() {
    lock::main().unwrap();
}

#[test]
fn shutdown_example_runs() {
    shutdown::main().unwrap();
}

#[tokio::test]
async fn fenced_write_example_refuses_former_holder() {
    fenced_write::fenced_writes(LocalDynamoDb::new().client()).await.unwrap();
}

#[tokio::test]
async fn fenced_write_example_returns_errors() {
    let server = LocalDynamoDb::new();
    server.faults().choose(|_| Some(ServerFault::Deny));
    let error = fenced_write::fenced_writes(server.client()).await.unwrap_err();
    let error = error.downcast::<TableError>().unwrap();
    assert!(matches!(*error, TableError::Store(ref e) if e.kind() == StoreErrorKind::AccessDenied));
}
