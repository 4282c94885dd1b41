//! [`Client`]: a store, plus the owner label and the timings of the locks that it makes.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::{collections::VecDeque, fmt, path::Path, pin::Pin, time::Duration};

use dynamo_lock_protocol::{OWNER_MAX, ServiceClock, Timing};
use futures_core::Stream;
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, SystemClock, timeout};
use crate::dedicated_thread::{DedicatedThread, ThreadClock};
use crate::queue::Queues;
use crate::random::{Random, SystemRandom};
use crate::store::{Answer, BoxFuture, IntoStore, Page};
use crate::{
    ConfigError, Inspection, Lock, LockName, NameError, Observer, RowError, Store, StoreError, core::Core,
    lock_cache::LockCache, turns::Turns,
};

const DEFAULT_LEASE: Duration = Duration::from_secs(20);

/// Maximum length of the label in a row, in bytes. A row contains two owners and has at most 1 KB.
const STORED_LABEL_MAX: usize = 128;

/// Factory of [`Lock`]s on one store.
///
/// Create one client per process and clone it: clones are cheap and share their state. A client remembers up to 1,024
/// locks that it has seen held, so that several short acquisitions add up to one long observation of the holder.
///
/// Creating a client and its locks needs no runtime. Acquiring, revoking and reading need a tokio runtime
/// with time enabled, and panic without one, unless the client has a
/// [dedicated thread](ClientBuilder::dedicated_thread). [Who renews](crate#who-renews) shows where renewals run.
#[derive(Clone)]
pub struct Client {
    pub(crate) core: Arc<Core>,
}

impl Client {
    /// Returns a builder for a client on `store`: a store, an `Arc<dyn Store>`, or the result of `StoreUrl::open`.
    ///
    /// ```
    /// use dynamo_lock::{Client, Memory};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), dynamo_lock::ConfigError> {
    /// let client = Client::builder(Memory::new())
    ///     .owner("worker-7")
    ///     .lease(Duration::from_secs(30))
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(store: impl IntoStore) -> ClientBuilder {
        ClientBuilder {
            store: store.into_store(),
            owner: None,
            lease: DEFAULT_LEASE,
            heartbeat: None,
            legacy_skew: None,
            service_clock: None,
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            turns: Turns::default(),
            observers: Vec::new(),
            dedicated_thread: false,
        }
    }

    /// Returns a handle to the lock `name`. Sends no request.
    ///
    /// # Errors
    /// [`NameError`] unless the name has 1 to 2,048 bytes of UTF-8 and no control characters.
    pub fn lock(&self, name: impl Into<String>) -> Result<Lock, NameError> {
        Ok(Lock::new(self.clone(), LockName::new(name)?))
    }

    /// Lists all rows of the store, held or not, in no particular order. Sends no request until the list is read.
    ///
    /// Pages are fetched as needed, with eventually consistent reads, so a row may be older than its page. A lock that
    /// is listed as [`Inspection::Expired`] may have been renewed or acquired in the meantime; [`Lock::inspect`] reads
    /// its current state. On DynamoDB a listing scans the whole table.
    ///
    /// ```
    /// use dynamo_lock::{Client, Inspection, Memory};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = Client::builder(Memory::new()).build()?;
    /// let guard = client.lock("orders/rebuild")?.acquire().await?;
    ///
    /// let mut list = client.list();
    /// while let Some(row) = list.try_next().await? {
    ///     match row.inspection {
    ///         Ok(Inspection::Held { holder, .. }) => println!("{:?}: held by {:?}", row.name, holder.owner),
    ///         Ok(_) => println!("{:?}: not held", row.name),
    ///         Err(error) => println!("{:?}: {error}", row.name),
    ///     }
    /// }
    /// # drop(guard);
    /// # Ok(())
    /// # }
    /// ```
    pub fn list(&self) -> List {
        List { core: self.core.clone(), page: VecDeque::new(), next: Some(None), flight: None }
    }

    /// Ends all acquisitions that are waiting, and waits for background work: releases of dropped guards, and clean-up
    /// after cancelled acquisitions.
    ///
    /// An acquisition that is waiting fails with [`AcquireError::Store`](crate::AcquireError::Store) of kind
    /// [`Refused`](crate::StoreErrorKind::Refused).
    ///
    /// Waits for at most one lease of the client, also if the work is on a runtime that is not driven. A lock that was
    /// not released by then expires by itself. Call this before the process or its runtime ends, because the runtime
    /// cancels background tasks, and other clients would have to wait for the lease. Guards are not affected, and the
    /// client remains usable for acquisitions that begin later.
    ///
    /// # Cancel safety
    /// Safe. The background work continues.
    pub async fn close(&self) {
        self.core.queues.close(&self.core);
        self.wait_for_background().await;
    }

    /// Waits for background work like [`close`](Client::close), but lets acquisitions wait.
    ///
    /// # Cancel safety
    /// Safe. The background work continues.
    #[doc(hidden)] // for the Node package
    pub async fn wait_for_background(&self) {
        if self.core.is_forked() {
            return; // The tasks run in the parent process.
        }
        // The tracker stays closed, because other calls of `close` may still be waiting. It accepts new tasks anyway.
        self.core.tasks.close();
        let _ended = timeout(&*self.core.clock, self.core.timing.lease(), self.core.tasks.wait()).await;
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.core.fmt(f)
    }
}

/// Builder of a [`Client`]. [`build`](ClientBuilder::build) checks all values.
///
/// The defaults suit most applications. Choose the [`lease`](ClientBuilder::lease) first: every other default follows
/// from it.
#[derive(Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ClientBuilder {
    store: Arc<dyn Store>,
    owner: Option<String>,
    lease: Duration,
    heartbeat: Option<Duration>,
    legacy_skew: Option<Duration>,
    service_clock: Option<bool>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    turns: Turns,
    observers: Vec<Box<dyn Observer>>,
    dedicated_thread: bool,
}

impl ClientBuilder {
    /// Sets the owner label, which is stored with every lock and shown to others: 1 to 256 bytes. Default: the name of
    /// the program.
    ///
    /// The client appends the host name, the process ID and a random instance ID. A row contains the first 128 bytes of
    /// the label, so that the owners of the present and of the last hold fit into 1 KB. The label is for people only;
    /// clients with equal labels still exclude each other.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// Sets the lease, 1 s to 1 h. Default: 20 s.
    ///
    /// If this process crashes, other clients wait about this long before they acquire its locks. A long lease needs
    /// fewer renewals and tolerates longer outages of the store and longer pauses of the process.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Sets the heartbeat interval, the time from one renewal to the next: 10 ms to a third of the lease, at most 5
    /// minutes. Default: a quarter of the lease, at most 5 minutes.
    ///
    /// With the default, the client has at least three quarters of the lease to repeat a failed renewal before the lock
    /// is lost. The first renewal follows after 0.5 s already if the lock was acquired before the client knew the time
    /// of the service, as in the first acquisition of a client on DynamoDB.
    pub fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.heartbeat = Some(heartbeat);
        self
    }

    /// Sets how long a row of npm dynamo-lock (0.1.x) is respected after its `expiresOn`. Default: 2 s.
    ///
    /// Such rows contain a time of the writer's wall clock. Choose the largest difference between the wall clocks of
    /// the hosts. Rows that this library wrote do not depend on wall clocks.
    pub fn legacy_skew(mut self, skew: Duration) -> Self {
        self.legacy_skew = Some(skew);
        self
    }

    /// Sets whether the `Date` headers of the store's answers may prove that a lease has expired. Default: the value of
    /// [`Store::service_clock`], which is `true` for DynamoDB on AWS unless the SDK client has its own HTTP client or
    /// endpoint resolver.
    ///
    /// If `true`, a client that starts after a crash can acquire the lock as soon as the service's clock proves that
    /// the lease has ended, which takes 7 to 9 s from its end. If `false`, or if the wall clock of this host differs from
    /// the service's clock by more than 5 s, it observes the row for one lease first. Set it to `true` only if the clocks
    /// of all servers that answer are within 2 s of each other.
    pub fn service_clock(mut self, on: bool) -> Self {
        self.service_clock = Some(on);
        self
    }

    /// Replaces the clocks of the operating system, for simulators. Default: [`SystemClock`].
    #[cfg(feature = "simulation")]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Replaces the random source of the operating system, for simulators. Default: [`SystemRandom`].
    #[cfg(feature = "simulation")]
    pub fn random(mut self, random: impl Random + 'static) -> Self {
        self.random = Arc::new(random);
        self
    }

    /// Replaces the rules by which the client leaves a lock to other clients, for mutants of a simulator.
    #[cfg(feature = "simulation")]
    pub fn turns(mut self, turns: Turns) -> Self {
        self.turns = turns;
        self
    }

    /// Adds a receiver of events, beside the `tracing` log and the receivers that were added before. They are called in
    /// the order in which they were added.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// Runs renewals, releases and all requests of the client on a thread of its own, with a runtime of its own.
    /// Default: they run on the runtimes of the callers.
    ///
    /// Use it if the runtime of the program may be blocked for longer than a quarter of the lease, or is only driven
    /// within `block_on`; [Who renews](crate#who-renews) has an example. Calls then need no runtime, so that any executor
    /// can run their futures; a tokio runtime that runs them needs time enabled. The thread ends after the client, its
    /// clones, its guards and its background work have ended. In a forked child process, all requests of the client are
    /// refused.
    ///
    /// Give a DynamoDB store an SDK client that nothing else uses. Connections are shared within an SDK client, and each
    /// one that was opened on a blocked runtime may cost an attempt of a request. Observers are called on the thread
    /// too, so they must not block it.
    pub fn dedicated_thread(mut self) -> Self {
        self.dedicated_thread = true;
        self
    }

    /// Creates the client. Sends no request.
    ///
    /// # Errors
    /// [`ConfigError`] if a value is out of range; the message contains the allowed range. [`ConfigError::Thread`] if
    /// the [dedicated thread](ClientBuilder::dedicated_thread) cannot be started; a later call may succeed.
    ///
    /// # Panics
    /// If the operating system has no random source.
    pub fn build(self) -> Result<Client, ConfigError> {
        let label = self.owner.unwrap_or_else(program);
        if label.is_empty() || label.len() > OWNER_MAX {
            return Err(ConfigError::Owner { bytes: label.len() });
        }
        let mut timing = Timing::new(self.lease)?;
        if let Some(heartbeat) = self.heartbeat {
            timing = timing.with_heartbeat(heartbeat)?;
        }
        if let Some(skew) = self.legacy_skew {
            timing = timing.with_legacy_skew(skew);
        }
        let instance = self.random.bits() as u32;
        let label = &label[..label.floor_char_boundary(STORED_LABEL_MAX)];
        let owner = format!("{label} ({}, pid {}, {instance:08x})", host(), std::process::id());
        let service_clock = self.service_clock.unwrap_or_else(|| self.store.service_clock());
        let thread = self.dedicated_thread.then(DedicatedThread::start).transpose()?;
        let clock: Arc<dyn Clock> = match &thread {
            Some(thread) => Arc::new(ThreadClock { clock: self.clock, runtime: thread.runtime().clone() }),
            None => self.clock,
        };
        let core = Core {
            store: self.store,
            clock,
            thread,
            random: self.random,
            observers: self.observers,
            owner,
            timing,
            service: service_clock.then(|| Mutex::new(ServiceClock::default())),
            watches: LockCache::default(),
            own_holds: LockCache::default(),
            turns: self.turns,
            queues: Queues::new(),
            tasks: TaskTracker::new(),
        };
        Ok(Client { core: Arc::new(core) })
    }
}

fn program() -> String {
    let path = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&path).file_stem().unwrap_or_default().to_string_lossy();
    let name = if name.is_empty() { "dynamo-lock" } else { &*name };
    name[..name.floor_char_boundary(OWNER_MAX)].to_owned()
}

/// Returns the name of this host, at most 64 bytes.
fn host() -> String {
    #[cfg(unix)]
    let name = nix::unistd::gethostname().unwrap_or_default();
    #[cfg(not(unix))]
    let name = std::env::var_os("COMPUTERNAME").unwrap_or_default();
    let name = name.to_string_lossy();
    name[..name.floor_char_boundary(64)].to_owned()
}

/// Row of a [`List`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Listed {
    /// Name of the row. Escape it before printing, because other programs may have written it; it is not necessarily a
    /// valid [`LockName`].
    pub name: String,
    /// State of the lock, or the reason why the row cannot be read as a lock. It may be outdated, also
    /// [`Inspection::Expired`], because [`Client::list`] uses eventually consistent reads.
    pub inspection: Result<Inspection, RowError>,
}

/// Rows of a store, returned by [`Client::list`]. Implements [`Stream`], with the same items and errors as
/// [`try_next`](List::try_next). Dropping it ends the listing.
pub struct List {
    core: Arc<Core>,
    page: VecDeque<Listed>,
    /// Cursor of the next page; `None` after the last page.
    next: Option<Option<String>>,
    flight: Option<BoxFuture<'static, Answer<Page>>>,
}

impl List {
    /// Returns the next row, or `None` after the last one.
    ///
    /// # Errors
    /// [`StoreError`] if a page could not be read. The library does not repeat the read; the next call requests the
    /// same page again. A row that is not a lock is no error: [`Listed::inspection`] contains the reason.
    ///
    /// # Cancel safety
    /// Safe. No row is skipped.
    pub async fn try_next(&mut self) -> Result<Option<Listed>, StoreError> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await.transpose()
    }
}

impl Stream for List {
    type Item = Result<Listed, StoreError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(listed) = self.page.pop_front() {
                return Poll::Ready(Some(Ok(listed)));
            }
            let Some(after) = self.next.clone() else { return Poll::Ready(None) };
            let core = self.core.clone();
            let flight = self.flight.get_or_insert_with(|| Box::pin(async move { core.list(after.as_deref()).await }));
            let Poll::Ready(answer) = flight.as_mut().poll(cx) else { return Poll::Pending };
            self.flight = None;
            let page = answer.result?;
            self.next = page.next.map(Some);
            let inspect = |(name, row)| Listed { name, inspection: self.core.inspection(Some(&row), answer.date) };
            self.page = page.rows.into_iter().map(inspect).collect();
        }
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").finish_non_exhaustive()
    }
}
