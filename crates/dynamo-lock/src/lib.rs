//! Shared locks on a DynamoDB table, and on an embedded store: one thing at a time on many machines.
//!
//! A [`Client`] makes [`Lock`]s; acquiring one gives a [`Guard`]; a guard has a [`FencingToken`] and tells when it is
//! lost.
//!
//! ```
//! # async fn rebuild(token: dynamo_lock::FencingToken) -> Result<(), std::io::Error> { Ok(()) }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use dynamo_lock::{Client, Memory};
//! use std::time::Duration;
//!
//! let client = Client::builder(Memory::new()).owner("worker-7").lease(Duration::from_secs(20)).build()?;
//! let lock = client.lock("orders/rebuild")?; // a handle; nothing happens
//! let guard = lock.acquire().await?; // waits
//! guard.run(rebuild(guard.token())).await??; // dropped at its next await if the lease is lost
//! guard.release().await?; // dropping it does it too, but cannot tell you that it failed
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! At any instant at most one guard of a lock says [`is_valid`](Guard::is_valid). What a paused process does after it has
//! asked is another matter: effects are exclusive only where the resource checks the [`token`](Guard::token), or where
//! the write travels in one DynamoDB transaction with `Guard::condition_check`. The defences, strongest first: token or
//! condition check; `is_valid` just before acting; [`run`](Guard::run) and [`lost`](Guard::lost).
//!
//! # Deliberately absent
//!
//! Reentrancy: two guards exclude each other, in one process too. A bare "is it locked": see [`Lock::inspect`].

mod acquisition;
mod client;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod core;
mod error;
mod guard;
mod hold;
mod inspect;
#[cfg(feature = "legacy")]
mod legacy;
mod lock;
mod observer;
mod options;
mod renewal;
mod run;
pub mod store;
mod sync;
mod watch_cache;

#[cfg(feature = "dynamodb")]
pub use aws_sdk_dynamodb;
pub use client::{Client, ClientBuilder, List, Listed};
pub use dynamo_lock_protocol::{ConfigError, FencingToken, Holder, LockName, LossReason, NameError, Renewal, RowError};
#[cfg(feature = "dynamodb")]
pub use error::TableMismatch;
pub use error::{
    AcquireError, EnsureError, HoldError, InspectError, Lost, ReleaseError, RevokeError, UpdateError, WithError,
};
pub use guard::Guard;
pub use inspect::Inspection;
#[cfg(feature = "legacy")]
pub use legacy::LegacyError;
pub use lock::Lock;
pub use observer::{Event, Observer};
pub use options::{LockOptions, TryAcquire};
#[cfg(feature = "dynamodb")]
pub use store::dynamodb::{DynamoDb, FenceExpression, TableError, TableFault, TableOptions};
pub use store::memory::Memory;
#[cfg(feature = "sqlite")]
pub use store::sqlite::Sqlite;
pub use store::{Store, StoreError, StoreErrorKind};

/// Clocks and random sources that a simulator replaces (feature `simulation`).
#[cfg(feature = "simulation")]
pub mod simulation {
    pub use crate::clock::{Clock, Random, SystemClock, SystemRandom};
    pub use dynamo_lock_protocol::ClockReading;
}

/// The README's code compiles.
#[cfg(all(doctest, feature = "config", feature = "dynamodb"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
