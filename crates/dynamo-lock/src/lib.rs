//! Shared locks for many processes on many machines, stored in a DynamoDB table or in a local SQLite file.
//!
//! A lock is a row. The holder renews a lease on it; if the holder crashes, the lease expires and another client
//! acquires the lock. Every acquisition has a fencing token that is greater than all earlier ones, so that the
//! protected resource can reject a former holder.
//!
//! - A [`Client`] belongs to one store and creates locks.
//! - A [`Lock`] is a handle to a name. Creating it sends no request.
//! - A [`Guard`] is a held lock. It renews the lease, reports its loss, and releases the lock when it is dropped.
//! - [`Lock::once`] runs work until it has succeeded once, on any machine.
//! - A [`LockSet`] and its [`GuardSet`] are the same for several locks that are acquired together.
//! - A [`Semaphore`] admits a number of holders at the same time, each with a [`Permit`]; an [`RwLock`] admits several
//!   readers or one writer.
//!
//! ```
//! # async fn rebuild(token: dynamo_lock::FencingToken) -> Result<(), std::io::Error> { Ok(()) }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use dynamo_lock::{Client, Memory};
//! use std::time::Duration;
//!
//! let client = Client::builder(Memory::new()).owner("worker-7").lease(Duration::from_secs(20)).build()?;
//! let lock = client.lock("orders/rebuild")?;
//!
//! let guard = lock.acquire().await?; // waits for the current holder
//! guard.run(rebuild(guard.token())).await??; // cancels the work if the lease is lost
//! guard.release().await?; // dropping the guard does the same, but cannot report errors
//! # Ok(())
//! # }
//! ```
//!
//! # Acquiring
//!
//! | call | if another client holds the lock |
//! |---|---|
//! | [`acquire`](Lock::acquire) | waits without a time limit |
//! | [`acquire_within`](Lock::acquire_within) | waits up to a limit, then fails with [`AcquireError::TimedOut`] |
//! | [`try_acquire`](Lock::try_acquire) | returns [`TryAcquire::Held`] with the holder |
//! | [`with`](Lock::with) | waits, then runs a closure and releases the lock |
//! | [`lead`](Lock::lead) | like `with`, and runs the closure again in a new term after each loss |
//! | [`hold`](Lock::hold) | fails with [`HoldError::Held`]; else keeps the lock for a fixed time, without a guard |
//!
//! [`Lock::options`] sets the lease, the renewal, a maximum hold time or data for one acquisition.
//!
//! ```
//! # use dynamo_lock::{AcquireError, Client, Memory, TryAcquire};
//! # use std::time::Duration;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let client = Client::builder(Memory::new()).build()?;
//! # let lock = client.lock("orders/rebuild")?;
//! // Give up after ten seconds.
//! match lock.acquire_within(Duration::from_secs(10)).await {
//!     Ok(guard) => guard.release().await?,
//!     Err(AcquireError::TimedOut { holder, .. }) => println!("held by {holder:?}"),
//!     Err(error) => return Err(error.into()),
//! }
//!
//! // Do not wait. The guard must be kept while the work runs.
//! if let TryAcquire::Acquired(guard) = lock.try_acquire().await? {
//!     println!("working with token {}", guard.token());
//!     guard.release().await?;
//! }
//!
//! // Acquire, work and release in one call.
//! let sum = lock.with(async |_guard| 1 + 1).await?;
//!
//! // Hold the lock for a day, also after this process has ended.
//! let token = client.lock("daily-report")?.hold(Duration::from_secs(24 * 3600)).await?;
//! # let _ = (sum, token);
//! # Ok(())
//! # }
//! ```
//!
//! [`Client::lock_all`] acquires several locks, all or none, without the danger that two clients wait for each other:
//!
//! ```
//! # use dynamo_lock::{Client, Memory};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let client = Client::builder(Memory::new()).build()?;
//! let guards = client.lock_all(["account/7", "account/42"])?.acquire().await?;
//! guards.run(async { /* work */ }).await?; // cancelled if one of the leases is lost
//! guards.release().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Waiters of one client form a queue, between clients there is no order, and locks are not reentrant. All of these
//! futures may be dropped at any time; each method documents the effect under *Cancel safety*.
//!
//! # Renewal and loss
//!
//! A background task renews the lease of each guard every quarter of the lease, and at least every 5 minutes (see
//! [`Renewal`] for alternatives and [`ClientBuilder::heartbeat`] for the interval). A failed renewal is repeated until
//! the lease ends. The guard computes the end of its lease from this host's clocks, starting before the renewal was
//! sent, so it becomes invalid before another client can acquire the lock, even if the store is unreachable. Clocks may
//! show any time, but must run at the right rate within 0.5 %.
//!
//! A lock is lost when its lease expires, when it is revoked, when its row is deleted, or when
//! [`max_hold`](LockOptions::max_hold) has passed. [`Guard::run`] then cancels the work, [`Guard::lost`] returns, and
//! [`Guard::cancellation`] is cancelled. [`LossReason`] lists all reasons. [`Guard::at_risk`] returns earlier, while the
//! lock is still held but its renewals fail.
//!
//! # Who renews
//!
//! The renewal task of a guard runs on the tokio runtime on which the lock was acquired. It sends the renewals, and its
//! timer notices the end of the lease. What happens if that runtime does not run it:
//!
//! | runtime of the acquisition | effect |
//! |---|---|
//! | blocked for longer than a quarter of the lease | the renewal is late; after a whole lease, the lock is lost |
//! | not driven, because its `block_on` has returned | nothing is renewed, so the lock is lost after one lease |
//! | shut down or dropped | the lock is lost at once, with [`LossReason::RenewalStopped`] |
//!
//! While several calls of a client wait for one lock, the requests for all of them run on the runtime of one of them. If
//! that runtime ends or is not driven, that of another one takes over, in the latter case after a few seconds.
//!
//! In each case [`Guard::is_valid`] is correct, because it compares clocks when it is called. [`Guard::lost`],
//! [`Guard::run`], [`Guard::renew`] and [`Guard::release`] use the timer of the runtime that awaits them. The tokens of
//! [`Guard::cancellation`] are cancelled by the renewal task or by the next call of the guard that notices the loss, so
//! a blocked runtime cancels them late.
//!
//! Programs with blocking or synchronous work let the client run its requests, renewals and releases on a thread of its
//! own, with [`ClientBuilder::dedicated_thread`]:
//!
//! ```
//! # use dynamo_lock::{Client, Memory};
//! # fn reindex() {}
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder(Memory::new()).dedicated_thread().build()?;
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//!
//! let guard = runtime.block_on(client.lock("orders/reindex")?.acquire())?;
//! reindex(); // synchronous work; the lease is renewed meanwhile
//! runtime.block_on(guard.release())?;
//! # Ok(())
//! # }
//! ```
//!
//! In an asynchronous program it is enough to move blocking work to `tokio::task::spawn_blocking`. With
//! [`Renewal::Manual`] a lease is only renewed by [`Guard::renew`]; the renewal task sends that renewal too.
//!
//! # Time limits
//!
//! | what | limit |
//! |---|---|
//! | lease | 1 s to 1 h, default 20 s; [`ClientBuilder::lease`] |
//! | one request | a quarter of the lease, at most 10 s; on DynamoDB at most 5 s |
//! | acquiring while the store does not respond | about one lease, then [`AcquireError::Store`] |
//! | taking over from a crashed holder | up to one lease of that holder; seconds if its end can be proven |
//! | [`hold`](Lock::hold) | 1 s to 30 days |
//!
//! On DynamoDB, missing AWS credentials are loaded before a request, within two minutes. The limit of
//! [`acquire_within`](Lock::acquire_within) includes that time, and the other limits do not.
//!
//! # Fencing
//!
//! A lock cannot stop a process that is suspended between its last check and its write. Only the resource can reject
//! such a write. Send [`Guard::token`] with every write and let the resource reject tokens smaller than the largest one
//! that it has seen. For items in DynamoDB there are two ways:
//!
//! - [`FenceExpression`] stores the token in the item and adds a condition to the write.
//! - [`DynamoDb::condition_check`] makes a transaction depend on the lock itself:
//!
//! ```no_run
//! use dynamo_lock::aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
//! use dynamo_lock::{Client, DynamoDb};
//!
//! # async fn pay(aws: dynamo_lock::aws_sdk_dynamodb::Client) -> Result<(), Box<dyn std::error::Error>> {
//! let store = DynamoDb::new(aws.clone(), "Lock");
//! let client = Client::builder(store.clone()).build()?;
//! let guard = client.lock("orders/42")?.acquire().await?;
//!
//! let put = Put::builder()
//!     .table_name("Orders")
//!     .item("id", AttributeValue::S("42".into()))
//!     .item("state", AttributeValue::S("paid".into()))
//!     .build()?;
//! aws.transact_write_items()
//!     .transact_items(TransactWriteItem::builder().condition_check(store.condition_check(&guard)?).build())
//!     .transact_items(TransactWriteItem::builder().put(put).build())
//!     .send()
//!     .await?;
//! guard.release().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Inspecting and revoking
//!
//! [`Lock::inspect`] reads the state of one lock, [`Client::list`] the states of all locks of a store. [`Lock::revoke`]
//! ends the acquisition of another client, for example if its work hangs.
//!
//! ```
//! # use dynamo_lock::{Client, Inspection, Memory};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let client = Client::builder(Memory::new()).build()?;
//! # let _guard = client.lock("orders/rebuild")?.acquire().await?;
//! let mut list = client.list();
//! while let Some(row) = list.try_next().await? {
//!     println!("{:?}: {:?}", row.name, row.inspection);
//! }
//!
//! let lock = client.lock("orders/rebuild")?;
//! if let Inspection::Held { holder, .. } = lock.inspect().await? {
//!     if let Some(token) = holder.token {
//!         lock.revoke(token).await?; // others can acquire the lock when the lease has ended
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Errors
//!
//! Each operation has its own error type. A [`StoreError`] contains the cause and the fix in one line, and
//! [`StoreError::kind`] for programs; its `is_retryable` and [`AcquireError::is_retryable`] return whether the same
//! call may succeed later. A row of the same name that is not a lock is never changed and is reported as `Row`, with a
//! [`RowError`]. Acquiring, renewing, releasing and revoking repeat their requests themselves, so callers need no retry
//! loop around a single call. [`Lock::inspect`] and [`Client::list`] return the error of a failed read at once.
//!
//! # Logs and metrics
//!
//! A client writes a `tracing` log with the target `dynamo_lock`: a lost lock at level `WARN`, a takeover after a crash at
//! `INFO`, most other events at `DEBUG`. Its spans `lock.acquire`, `lock.hold`, `lock.renew` and `lock.release` have the
//! name of the lock, the token and the owner as fields. The page `docs/observability.md` of the repository lists all
//! names, which are stable. Implement [`Observer`] to receive these events yourself, beside the log. With the feature
//! `metrics`, `Metrics` is an observer that counts them.
//!
//! # Stores
//!
//! | store | scope | feature |
//! |---|---|---|
//! | [`DynamoDb`] | all hosts that reach the table, one AWS Region | `dynamodb` |
//! | `Sqlite` | processes of one machine, in a file on a local file system | `sqlite` |
//! | [`Memory`] | one process, for tests | |
//!
//! ```no_run
//! use dynamo_lock::{Client, DynamoDb, TableOptions, aws_sdk_dynamodb};
//!
//! # async fn open(config: &aws_sdk_dynamodb::Config) -> Result<(), Box<dyn std::error::Error>> {
//! let aws = aws_sdk_dynamodb::Client::from_conf(config.clone());
//! let store = DynamoDb::new(aws, "Lock");
//! store.create_table(TableOptions::default()).await?; // once
//! let client = Client::builder(store).build()?;
//! # Ok(())
//! # }
//! ```
//!
//! A process needs the permissions `dynamodb:GetItem` and `dynamodb:UpdateItem` on the table, `dynamodb:Scan` for
//! [`Client::list`], and `dynamodb:ConditionCheckItem` for [`DynamoDb::condition_check`]. [`DynamoDb::create_table`]
//! needs `dynamodb:CreateTable`, `dynamodb:DescribeTable` and `dynamodb:UpdateTimeToLive`. Acquiring a free lock and
//! releasing it takes two writes and no read; each renewal is one more write.
//!
//! `store::StoreUrl` opens a store by URL, for example `dynamodb://Lock?region=eu-west-1` or
//! `sqlite:///var/lib/locks.db`. [`store::Store`] can be implemented for other databases; the module `conformance`
//! checks an implementation.
//!
//! # Features
//!
//! | feature | default | provides |
//! |---|---|---|
//! | `dynamodb` | yes | [`DynamoDb`], and the AWS SDK re-exported as `dynamo_lock::aws_sdk_dynamodb` |
//! | `default-https-client` | yes | the HTTPS client of the AWS SDK; disable it to use your own |
//! | `sqlite` | | `Sqlite` |
//! | `config` | | `store::StoreUrl`, with the default Region and credentials of AWS |
//! | `metrics` | | `Metrics`, counters and histograms through the `metrics` facade |
//! | `conformance` | | checks for implementations of [`store::Store`] |
//! | `simulation` | | clocks and random sources that a simulator can replace, and losses for tests (`testing`) |
//! | `legacy` | | `Lock::legacy_get`, the row format of npm dynamo-lock, for the Node package |
//!
//! # Runtime
//!
//! Acquiring, revoking and reading need a tokio runtime with time enabled, and panic without one, unless the client has
//! a [dedicated thread](ClientBuilder::dedicated_thread). [Who renews](#who-renews) shows what renewals need, and
//! [`Guard::release`] what releases need.
//! Before the runtime ends, call [`Client::close`], which waits for the releases of dropped guards.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod acquisition;
mod at_risk;
mod blocking_thread;
mod boxed_future;
mod change_row;
mod client;
pub mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod core;
mod dedicated_thread;
mod error;
mod guard;
mod hold;
mod inspect;
mod lead;
#[cfg(feature = "legacy")]
mod legacy;
mod lock;
mod lock_cache;
mod lock_set;
mod log;
#[cfg(feature = "metrics")]
mod metrics;
mod observer;
mod once;
mod options;
mod permit;
mod process;
#[cfg(feature = "dynamodb")]
mod provider_panic;
mod queue;
mod random;
mod release;
mod renewal;
mod risk_watch;
mod run;
mod rw_lock;
mod semaphore;
mod shared_lease;
pub mod store;
mod sync;
mod takeover;
#[cfg(feature = "simulation")]
pub mod testing;
mod turns;
mod wait;

#[cfg(feature = "dynamodb")]
pub use aws_sdk_dynamodb;
#[doc(hidden)] // for the command line and the Node package
pub use blocking_thread::{THREAD_KEEP_ALIVE, reserve_thread};
pub use change_row::ConvertError;
pub use client::{Client, ClientBuilder, List, Listed};
pub use dynamo_lock_protocol::{
    ConfigError, FencingToken, HoldEnd, Holder, Kind, LastHold, LeaseId, LockName, LockNamesError, LossReason,
    NameError, Renewal, Role, RowError, Success,
};
pub use error::{
    AcquireError, EnsureError, HoldError, InspectError, Lost, ReleaseError, RevokeError, UpdateError, WithError,
};
pub use guard::Guard;
pub use inspect::{Inspection, SharedHolder, SharedInspection};
#[cfg(feature = "legacy")]
pub use legacy::LegacyError;
pub use lock::Lock;
pub use lock_set::{AcquireAllError, GuardSet, LockSet, LockSetOptions, ReleaseAllError, TryAcquireAll};
#[cfg(feature = "metrics")]
pub use metrics::Metrics;
pub use observer::{Event, Observer};
pub use once::{Once, OnceError, OnceGuard, OnceOptions, OnceStart, RecordError, ResetError};
pub use options::{LockOptions, TryAcquire};
pub use permit::Permit;
#[cfg(feature = "dynamodb")]
#[doc(hidden)] // for the command line
pub use provider_panic::{catch_panic, is_panic_caught};
#[doc(hidden)] // for the Node package
pub use risk_watch::RiskWatch;
pub use rw_lock::RwLock;
pub use semaphore::{PermitOptions, Semaphore, SemaphoreError, TryPermit};
#[cfg(feature = "dynamodb")]
pub use store::dynamodb::{DynamoDb, FenceExpression, TableError, TableOptions};
pub use store::memory::Memory;
#[cfg(feature = "sqlite")]
pub use store::sqlite::Sqlite;
pub use store::{Store, StoreError, StoreErrorKind};

/// Clocks and random sources that a simulator can replace, for deterministic tests of code that uses locks.
///
/// Pass them to [`ClientBuilder::clock`], [`ClientBuilder::random`] and [`ClientBuilder::turns`]. Programs that run on
/// real time do not need them.
#[cfg(feature = "simulation")]
pub mod simulation {
    pub use crate::clock::{Clock, ClockReading, SystemClock};
    pub use crate::random::{Random, SystemRandom};
    pub use crate::turns::Turns;
}
