//! The examples run, and do what they say.

#[allow(dead_code)] // its main takes credentials from the environment; here only what it calls runs
#[path = "../../examples/fenced_write.rs"]
mod fenced_write;
#[path = "../../examples/lock.rs"]
mod lock;
#[path = "../../examples/shutdown.rs"]
mod shutdown;

use dynamo_lock::StoreErrorKind;

#[test]
fn the_lock_example_runs() {
    lock::main().unwrap();
}

#[test]
fn the_shutdown_example_runs() {
    shutdown::main().unwrap();
}

#[tokio::test]
async fn the_fenced_write_example_refuses_the_former_holder() {
    fenced_write::fenced_writes(test_support::dynamodb::Dynoxide::new().client()).await.unwrap();
}

#[tokio::test]
async fn and_its_errors_are_not_swallowed() {
    let dynoxide = test_support::dynamodb::Dynoxide::new();
    dynoxide.faults().decide(|_| Some(test_support::dynamodb::Fault::Deny));
    let error = fenced_write::fenced_writes(dynoxide.client()).await.unwrap_err();
    let error = error.downcast::<dynamo_lock::TableError>().unwrap();
    assert!(matches!(*error, dynamo_lock::TableError::Store(ref e) if e.kind() == StoreErrorKind::AccessDenied));
}
