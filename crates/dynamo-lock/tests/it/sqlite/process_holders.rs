//! Holders in other processes, and a waiter with a clock that can be put forward.

use crate::sqlite::child_process::{Child, lock_name, print};
use dynamo_lock::simulation::{Clock, ClockReading, SystemClock};
use dynamo_lock::store::{BoxFuture, Consistency, Liveness, attr};
use dynamo_lock::{Client, Guard, Sqlite, Store};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use test_support::ObservedStore;

pub const HOUR: Duration = Duration::from_secs(3600);

pub fn live_file(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}-live", path.display()))
}

pub fn client(store: impl Store) -> Client {
    Client::builder(store).lease(HOUR).build().expect("a client")
}

async fn try_acquire(client: &Client) -> Option<Guard> {
    test_support::try_acquire(&client.lock("orders").expect("a lock")).await
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

/// Performs a role of a child process. Returns `false` if there is no such role.
pub fn role(role: &str, path: &Path, count: u64) -> bool {
    let open = || Sqlite::open(path).expect("opens");
    match role {
        // Holds the lock, and ends without releasing it.
        "live holder" => block_on(async {
            let _guard = try_acquire(&client(open())).await.expect("free");
            end_on_resume("held");
        }),
        // Like "live holder", with a child process that inherits the liveness lock, unless `count` is 0.
        "live wrapper" => block_on(async {
            let store = open();
            let _guard = try_acquire(&client(store.clone())).await.expect("free");
            let inherited = store.child_liveness().expect("one").expect("on Linux");
            let stdin = if count == 1 { Stdio::from(inherited) } else { Stdio::null() };
            let child = Command::new("sleep").arg("1000").stdin(stdin).stdout(Stdio::null()).spawn();
            end_on_resume(child.expect("starts").id());
        }),
        "live hold" => block_on(async {
            client(open()).lock("orders").expect("a lock").hold(HOUR).await.expect("free");
            end_on_resume("held");
        }),
        "live try" => block_on(async {
            print(if try_acquire(&client(open())).await.is_some() { "free" } else { "held" });
        }),
        _ => return false,
    }
    true
}

fn end_on_resume(text: impl std::fmt::Display) {
    print(text);
    std::io::stdin().read_to_end(&mut Vec::new()).expect("reads");
    std::process::exit(0);
}

/// A process that survives its parent, by its ID. It is killed when this value is dropped.
pub struct Orphan(pub String);

impl Orphan {
    /// Kills the process.
    pub fn end(self) {}
}

impl Drop for Orphan {
    fn drop(&mut self) {
        signal("KILL", &self.0);
        // It is not a child of this process, so we poll until the kernel reports that it has ended or is a zombie.
        let state = || fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        for _ in 0..1000 {
            if state().is_empty() || state().contains(") Z ") {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

pub fn signal(name: &str, pid: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(pid).stderr(Stdio::null()).status();
    sent.expect("there is a kill");
}

/// Polls for at most five seconds until the liveness is `expected`, and returns the liveness. We have to poll because a
/// child process that another test is just starting has copies of all descriptors until it executes its program.
pub fn wait_for(expected: Liveness, liveness: impl Fn() -> Liveness) -> Liveness {
    for _ in 0..1000 {
        if liveness() == expected {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    liveness()
}

pub fn start(role: &str, path: &Path) -> Child {
    let mut child = Child::start(role, path, 0);
    assert_eq!(child.line().as_deref(), Some("held"));
    child
}

/// The system's clock, put forward by a number of milliseconds. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct AdvancedClock(Arc<AtomicU64>);

impl AdvancedClock {
    pub fn advance(&self, time: Duration) {
        self.0.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
    }
}

impl Clock for AdvancedClock {
    fn now(&self) -> ClockReading {
        let (now, more) = (SystemClock.now(), self.0.load(Ordering::Relaxed));
        ClockReading {
            boot_ns: now.boot_ns + more * 1_000_000,
            raw_ns: now.raw_ns + more * 1_000_000,
            wall_ms: now.wall_ms + more,
        }
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        SystemClock.sleep(duration)
    }
}

/// A client that wants the lock, with a clock that can be put forward.
pub struct Waiter {
    pub store: Sqlite,
    pub client: Client,
    pub clock: AdvancedClock,
    requests: Arc<AtomicU64>,
}

impl Waiter {
    pub fn new(path: &Path) -> Self {
        let (store, clock) = (Sqlite::open(path).expect("opens"), AdvancedClock::default());
        let requests = Arc::new(AtomicU64::new(0));
        let counter = requests.clone();
        let counting = ObservedStore::new(store.clone(), move |_| _ = counter.fetch_add(1, Ordering::Relaxed));
        let client = Client::builder(counting).lease(HOUR).clock(clock.clone()).build().expect("a client");
        Self { store, client, clock, requests }
    }

    /// Tries to acquire the lock, and counts the requests of this attempt.
    pub async fn try_acquire(&self) -> Option<Guard> {
        self.requests.store(0, Ordering::Relaxed);
        try_acquire(&self.client).await
    }

    /// Returns the number of requests of the last attempt.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Returns the liveness of the holder in the row.
    pub async fn liveness(&self) -> Liveness {
        self.liveness_key().await.map(|liveness_key| self.store.liveness(&liveness_key)).unwrap_or_default()
    }

    /// Returns the liveness key in the row.
    pub async fn liveness_key(&self) -> Option<String> {
        let row = self.store.read(&lock_name("orders"), Consistency::Strong).await.result.expect("reads");
        row.and_then(|row| row.text(attr::LIVENESS_KEY).map(str::to_owned))
    }

    /// Checks that the holder becomes dead.
    pub async fn check_holder_dies(&self) {
        let liveness_key = self.liveness_key().await.expect("in the row");
        assert_eq!(wait_for(Liveness::Dead, || self.store.liveness(&liveness_key)), Liveness::Dead);
    }

    /// Checks that the lock is acquired after a whole lease and not before.
    pub async fn check_lease_decides(&self) {
        assert!(self.try_acquire().await.is_none(), "observed for the first time");
        self.clock.advance(HOUR - Duration::from_secs(60));
        assert!(self.try_acquire().await.is_none(), "less than a lease");
        self.clock.advance(Duration::from_secs(61));
        assert!(self.try_acquire().await.is_some(), "a whole lease");
    }
}
