//! [`Client`]: a store, a name for oneself, and the durations to live by.

use std::collections::VecDeque;
use std::fmt;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use dynamo_lock_protocol::{ConfigError, LockName, NameError, OWNER_MAX, RowError, ServiceClock, Timing};
use futures_core::Stream;
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, Random, SystemClock, SystemRandom};
use crate::core::Core;
use crate::inspect::Inspection;
use crate::lock::Lock;
use crate::observer::{Observer, Tracing};
use crate::store::{Answer, BoxFuture, IntoStore, Page, Store, StoreError};
use crate::watch_cache::WatchCache;

const DEFAULT_LEASE: Duration = Duration::from_secs(20);

/// Makes locks. Cheap to clone; clones share everything.
///
/// Needs a tokio runtime with time enabled when a lock is acquired or released, not before.
#[derive(Clone)]
pub struct Client {
    pub(crate) core: Arc<Core>,
}

impl Client {
    /// Begins a client on a store.
    pub fn builder(store: impl IntoStore) -> ClientBuilder {
        ClientBuilder {
            store: store.into_store(),
            owner: None,
            lease: DEFAULT_LEASE,
            heartbeat: None,
            poll: None,
            legacy_skew: None,
            service_clock: None,
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            observer: Arc::new(Tracing),
        }
    }

    /// A handle to the lock of this name. Nothing happens yet.
    ///
    /// # Errors
    /// [`NameError`] if it is no lock name: 1 to 2,048 bytes without control characters.
    pub fn lock(&self, name: impl Into<String>) -> Result<Lock, NameError> {
        Ok(Lock::new(self.clone(), LockName::new(name)?))
    }

    /// All rows of the store, in pages as it goes: eventually consistent, in any order.
    pub fn list(&self) -> List {
        List { core: self.core.clone(), page: VecDeque::new(), next: Some(None), flight: None }
    }

    /// Waits until what goes on in the background is done: clean-ups of dropped acquires, and releases of dropped
    /// guards. At most one lease; what is not done by then is over within its own. Guards that live go on.
    ///
    /// # Cancel safety
    /// Safe: it only waits.
    pub async fn close(&self) {
        // For good: what is closed takes new tasks all the same, and who else waits here needs it to be.
        self.core.tasks.close();
        tokio::select! {
            biased;
            () = self.core.tasks.wait() => {}
            () = self.core.clock.sleep(self.core.timing.lease()) => {}
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("owner", &self.core.owner).field("store", &self.core.store).finish()
    }
}

/// What a [`Client`] is made of; [`build`](ClientBuilder::build) checks it.
#[derive(Debug)]
pub struct ClientBuilder {
    store: Arc<dyn Store>,
    owner: Option<String>,
    lease: Duration,
    heartbeat: Option<Duration>,
    poll: Option<RangeInclusive<Duration>>,
    legacy_skew: Option<Duration>,
    service_clock: Option<bool>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    observer: Arc<dyn Observer>,
}

impl ClientBuilder {
    /// Who asks, for people: 1 to 256 bytes. The host, the process and an instance nonce are added to it. Default: the
    /// program's name.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// The lease, 1 s to 1 h, default 20 s: how long others wait after this host has crashed.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Time from one renewal to the next: default a quarter of the lease, at most a third, at most 5 minutes.
    pub fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.heartbeat = Some(heartbeat);
        self
    }

    /// Shortest and longest pause between polls of a held lock, default 25 ms to min(1 s, lease/20), chosen between with
    /// jitter.
    pub fn poll(mut self, range: RangeInclusive<Duration>) -> Self {
        self.poll = Some(range);
        self
    }

    /// How long past its `expiresOn` the row of an original npm `dynamo-lock` is respected, default 2 s: as far as the
    /// wall clocks of its writers may be ahead.
    pub fn legacy_skew(mut self, skew: Duration) -> Self {
        self.legacy_skew = Some(skew);
        self
    }

    /// Whether the `Date` of answers may tell the end of leases. Default: what the store says of itself.
    pub fn service_clock(mut self, on: bool) -> Self {
        self.service_clock = Some(on);
        self
    }

    /// Another clock: for simulators.
    #[cfg(feature = "simulation")]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Another random source: for simulators.
    #[cfg(feature = "simulation")]
    pub fn random(mut self, random: impl Random + 'static) -> Self {
        self.random = Arc::new(random);
        self
    }

    /// Is told what happens, in place of `tracing`.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Checks everything and makes the client. No request is sent.
    ///
    /// # Errors
    /// [`ConfigError`]: which value cannot be, and what can.
    pub fn build(self) -> Result<Client, ConfigError> {
        let label = self.owner.unwrap_or_else(program);
        if label.is_empty() || label.len() > OWNER_MAX {
            return Err(ConfigError::Owner { bytes: label.len() });
        }
        let mut timing = Timing::new(self.lease)?;
        if let Some(heartbeat) = self.heartbeat {
            timing = timing.with_heartbeat(heartbeat)?;
        }
        if let Some(poll) = self.poll {
            timing = timing.with_poll(*poll.start(), *poll.end())?;
        }
        if let Some(skew) = self.legacy_skew {
            timing = timing.with_legacy_skew(skew);
        }
        let instance = self.random.bits() as u32;
        let owner = format!("{label} ({}, pid {}, {instance:08x})", host(), std::process::id());
        let service_clock = self.service_clock.unwrap_or_else(|| self.store.service_clock());
        let core = Core {
            store: self.store,
            clock: self.clock,
            random: self.random,
            observer: self.observer,
            owner,
            timing,
            service: service_clock.then(|| Mutex::new(ServiceClock::default())),
            watches: WatchCache::default(),
            tasks: TaskTracker::new(),
        };
        Ok(Client { core: Arc::new(core) })
    }
}

fn program() -> String {
    let path = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&path).file_stem().map(|name| name.to_string_lossy().into_owned());
    let mut name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| "dynamo-lock".to_owned());
    while name.len() > OWNER_MAX {
        name.pop();
    }
    name
}

#[cfg(unix)]
fn host() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    let mut name = name.to_string_lossy().into_owned();
    name.truncate(name.char_indices().map(|(at, _)| at).find(|at| *at >= 64).unwrap_or(name.len()));
    name
}

#[cfg(not(unix))]
fn host() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

/// One row of a listing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Listed {
    /// Its name, as it is in the store: somebody else's words, escape before printing.
    pub name: String,
    /// What its row says.
    pub inspection: Result<Inspection, RowError>,
}

/// The rows of a store, page by page. A stream of [`Listed`]; [`next`](List::next) serves where no stream combinators
/// are at hand.
pub struct List {
    core: Arc<Core>,
    page: VecDeque<Listed>,
    /// The cursor of the page to ask for, if there is one more.
    next: Option<Option<String>>,
    flight: Option<BoxFuture<'static, Answer<Page>>>,
}

impl List {
    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// [`StoreError`] if a page could not be read; asking again asks for that page again.
    ///
    /// # Cancel safety
    /// Safe: no row is skipped.
    #[allow(clippy::should_implement_trait)] // the async form of the same word
    pub async fn next(&mut self) -> Option<Result<Listed, StoreError>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
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
            match answer.result {
                Err(error) => return Poll::Ready(Some(Err(error))),
                Ok(page) => {
                    self.next = page.next.map(Some);
                    let core = self.core.clone();
                    let listed = page
                        .rows
                        .into_iter()
                        .map(|(name, row)| Listed { inspection: core.inspection(Some(&row), answer.date), name });
                    self.page = listed.collect();
                }
            }
        }
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").finish_non_exhaustive()
    }
}
