//! Virtual hosts, faulty links and an in-process DynamoDB for the tests of dynamo-lock.
//!
//! A [`World`] has one table and any number of [`Host`]s. Each host has its own clocks and its own [`Link`] to the
//! table, and the link can lose, delay and repeat requests. Time is tokio's, so tests run under
//! `#[tokio::test(start_paused = true)]` and take no real time.
//!
//! The feature `dynamodb` adds `LocalDynamoDb`, which runs the real AWS SDK against an in-process database, and
//! `NpmClient`, which runs npm dynamo-lock 0.1.3 in Node.js.
#![allow(clippy::disallowed_methods)] // time is tokio's here, which tests pause

mod clock;
#[cfg(feature = "dynamodb")]
mod dynamodb;
mod link;
#[cfg(feature = "dynamodb")]
mod npm_client;
mod observed_store;
mod observer;
mod rng;
mod world;

use std::{io::Write, sync::Mutex, sync::MutexGuard, sync::PoisonError, time::Duration};

use dynamo_lock::store::{Row, Value};
use dynamo_lock::{Client, Guard, Lock, TryAcquire};

pub use clock::HostClock;
#[cfg(feature = "dynamodb")]
pub use dynamodb::{LocalDynamoDb, Reply, Request, RequestFaults, ServerFault, http_date, item};
pub use link::{Call, LATENCY, Link, LinkFault, kind_of};
#[cfg(feature = "dynamodb")]
pub use npm_client::NpmClient;
pub use observed_store::ObservedStore;
pub use observer::RecordingObserver;
pub use rng::Rng;
pub use world::{EPOCH_MS, Host, LEASE, POLL_MAX, World};

/// Returns a duration of `ms` milliseconds.
pub const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Returns a duration of `secs` seconds.
pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Locks a mutex, even if a thread has panicked while it held it.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until this client holds the lock `a`.
///
/// # Panics
/// If the acquisition fails.
pub async fn acquire(client: &Client) -> Guard {
    client.lock("a").expect("a valid name").acquire().await.expect("acquires")
}

/// Tries to acquire the lock. Returns `None` if another client holds it.
///
/// # Panics
/// If the attempt fails.
pub async fn try_acquire(lock: &Lock) -> Option<Guard> {
    match lock.try_acquire().await.expect("no error") {
        TryAcquire::Acquired(guard) => Some(guard),
        TryAcquire::Held(_) => None,
    }
}

/// Returns a row with these attributes.
pub fn row(attributes: &[(&str, Value)]) -> Row {
    Row::new(attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())))
}

/// Reports that `test` cannot run here. `cargo xtask test` counts these lines, so it is written past libtest's capture.
pub fn skip(test: &str, reason: &str) {
    // A closed standard output only loses the count.
    let _ = writeln!(std::io::stdout(), "SKIPPED: {test}: {reason}");
}
