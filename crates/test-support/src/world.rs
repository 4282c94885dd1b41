use std::{sync::Arc, sync::Mutex, time::Duration};

use dynamo_lock::simulation::Random;
use dynamo_lock::store::{Consistency, Row};
use dynamo_lock::{Client, ClientBuilder, FencingToken, Guard, Lock, LockName, Memory, Store};
use tokio::time::{Instant, sleep};

use crate::{HostClock, Link, LinkFault, acquire, ms, secs};

/// True time at which every world begins, in milliseconds since 1970.
pub const EPOCH_MS: u64 = 1_800_000_000_000;
/// Lease of the clients of a [`Host`].
pub const LEASE: Duration = secs(10);
/// Longest pause between two polls with [`LEASE`], plus the round trips of a takeover.
pub const POLL_MAX: Duration = ms(550);

/// True time, and the table that all hosts share.
#[derive(Clone, Debug)]
pub struct World {
    begin: Instant,
    pub(crate) table: Memory,
    pub(crate) has_dates: bool,
    random: CountedRandom,
}

impl World {
    /// Creates an empty table. Responses contain the service's `Date`.
    #[allow(clippy::new_without_default)] // a world needs a tokio runtime
    pub fn new() -> Self {
        Self { begin: Instant::now(), table: Memory::new(), has_dates: true, random: CountedRandom::default() }
    }

    /// Creates an empty table. Responses contain no date.
    pub fn without_dates() -> Self {
        Self { has_dates: false, ..Self::new() }
    }

    /// Returns true time since the beginning of the world.
    pub fn time(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Returns true time in milliseconds since 1970.
    pub fn epoch_ms(&self) -> u64 {
        EPOCH_MS + self.time().as_millis() as u64
    }

    /// Creates a host with correct clocks and its own link to the table.
    pub fn host(&self) -> Host {
        Host { clock: HostClock::new(self), link: Link::new(self), random: self.random.clone() }
    }

    /// Acquires the lock `a` on a new host, waits for `after`, and crashes that host. Returns the token of the
    /// acquisition.
    pub async fn crash_holder_after(&self, after: Duration) -> FencingToken {
        let host = self.host();
        let guard = host.acquire().await;
        sleep(after).await;
        host.crash(guard)
    }

    /// Returns the row of `name`, if there is one.
    pub async fn row(&self, name: &str) -> Option<Row> {
        let name = LockName::new(name).expect("a valid name");
        self.table.read(&name, Consistency::Strong).await.result.expect("reads")
    }

    /// Replaces the row of `name`, as another program would, or removes it.
    pub fn set_row(&self, name: &str, row: Option<Row>) {
        self.table.insert_raw(&LockName::new(name).expect("a valid name"), row);
    }

    /// Returns whether the row of the lock `a` is missing or free.
    pub async fn is_free(&self) -> bool {
        self.row("a").await.is_none_or(|row| row.whole("expiresOn") == Some(0))
    }
}

/// A machine, with its clocks and its link to the table.
#[derive(Clone, Debug)]
pub struct Host {
    /// Clocks of this host.
    pub clock: HostClock,
    /// Link of this host to the table.
    pub link: Link,
    random: CountedRandom,
}

impl Host {
    /// Creates a host with a link and clocks of its own, which draws the same random bits as this one from now on, as
    /// two virtual machines do that were resumed from one snapshot.
    pub fn with_equal_random_bits(&self, world: &World) -> Self {
        let random = CountedRandom(Arc::new(Mutex::new(*self.random.0.lock().unwrap())));
        Self { random, ..world.host() }
    }

    /// Returns a builder for a client with this host's clocks and link, and with [`LEASE`].
    pub fn builder(&self) -> ClientBuilder {
        Client::builder(self.link.clone())
            .owner("test")
            .lease(LEASE)
            .clock(self.clock.clone())
            .random(self.random.clone())
    }

    /// Returns a new client.
    pub fn client(&self) -> Client {
        self.builder().build().expect("a valid configuration")
    }

    /// Returns the lock `a` of a new client.
    pub fn lock(&self) -> Lock {
        self.client().lock("a").expect("a valid name")
    }

    /// Waits until a new client holds the lock `a`.
    pub async fn acquire(&self) -> Guard {
        acquire(&self.client()).await
    }

    /// Ends the process that has `guard`, as a crash does: nothing is released, and no request is sent any more.
    /// Returns the token of the guard.
    pub fn crash(&self, guard: Guard) -> FencingToken {
        self.link.set_all(LinkFault::Hang);
        let token = guard.token();
        std::mem::forget(guard);
        token
    }
}

/// Random bits that are all different, and the same in each run.
#[derive(Clone, Debug, Default)]
struct CountedRandom(Arc<Mutex<u128>>);

impl Random for CountedRandom {
    fn bits(&self) -> u128 {
        let mut count = self.0.lock().unwrap();
        *count += 1;
        // Multiplying by an odd number is a bijection, and it spreads small numbers.
        count.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
    }
}
