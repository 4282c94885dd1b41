//! Tests of `shared_lease.rs` of the library under every order of its threads, with loom.
//!
//! `cargo test -p dynamo-lock-loom-tests --features loom` runs them. The module of the library is compiled here with
//! the mutex of loom in place of that of the standard library. tokio is not part of it.
#![cfg(all(test, feature = "loom"))]

mod model;
#[allow(dead_code)] // a few methods are for the asynchronous part of the library alone
#[path = "../../dynamo-lock/src/shared_lease.rs"]
mod shared_lease;
mod tests;

/// Error of a renewal, in place of that of the library.
#[derive(Clone, Debug)]
struct StoreError;

/// Mutexes of loom, in place of `sync.rs` of the library.
mod sync {
    pub(crate) use loom::sync::Mutex;
    use loom::sync::MutexGuard;

    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().expect("no thread of a model panics and continues")
    }
}
