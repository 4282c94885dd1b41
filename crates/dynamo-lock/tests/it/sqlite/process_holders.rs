//! Holders in other processes, and somebody who wants what they hold.

use crate::sqlite::child_process::{Child, lock_name, say};
use dynamo_lock::simulation::{Clock, ClockReading, SystemClock};
use dynamo_lock::store::{Answer, Consistency};
use dynamo_lock::store::{BoxFuture, Liveness, Op, Outcome, Page, Row, attr};
use dynamo_lock::{Client, Guard, LockName, Sqlite, Store};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use test_support::hosts::IntoGuard;

pub const HOUR: Duration = Duration::from_secs(3600);

pub fn temporary() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("locks.db");
    (directory, path)
}

pub fn live_file(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}-live", path.display()))
}

pub fn client(store: impl Store) -> Client {
    Client::builder(store).lease(HOUR).build().expect("a client")
}

async fn try_orders(client: &Client) -> Option<Guard> {
    client.lock("orders").expect("a lock").try_acquire().await.map(IntoGuard::into_guard).expect("an answer")
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

/// What a second process can be here; whether it is one of these.
pub fn role(role: &str, path: &Path, count: u64) -> bool {
    let open = || Sqlite::open(path).expect("opens");
    match role {
        // Holds, and then ends without a release.
        "live holder" => block_on(async {
            let _guard = try_orders(&client(open())).await.expect("free");
            end_when_told("held");
        }),
        // The same, with something that it started, which inherits that it lives or, for the control, does not.
        "live wrapper" => block_on(async {
            let store = open();
            let _guard = try_orders(&client(store.clone())).await.expect("free");
            let inherited = store.child_liveness().expect("one").expect("on Linux");
            let stdin = if count == 1 { Stdio::from(inherited) } else { Stdio::null() };
            let child = Command::new("sleep").arg("1000").stdin(stdin).stdout(Stdio::null()).spawn();
            end_when_told(child.expect("starts").id());
        }),
        "live hold" => block_on(async {
            client(open()).lock("orders").expect("a lock").hold(HOUR).await.expect("free");
            end_when_told("held");
        }),
        "live try" => block_on(async {
            say(if try_orders(&client(open())).await.is_some() { "free" } else { "held" });
        }),
        _ => return false,
    }
    true
}

fn end_when_told(text: impl std::fmt::Display) {
    say(text);
    std::io::stdin().read_to_end(&mut Vec::new()).expect("is told");
    std::process::exit(0);
}

/// A process that runs on when its parent is gone.
pub struct Orphan(pub String);

impl Orphan {
    pub fn end(self) {}
}

impl Drop for Orphan {
    fn drop(&mut self) {
        signal("KILL", &self.0);
        // Not ours to wait for: it is gone when the kernel says so, or is somebody's zombie.
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

/// What is told at last. A process that is just being started by a test beside this one has copies of all our descriptors
/// until it runs its own program.
pub fn settled(expected: Liveness, told: impl Fn() -> Liveness) -> Liveness {
    for _ in 0..1000 {
        if told() == expected {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    told()
}

pub fn start(role: &str, path: &Path) -> Child {
    let mut child = Child::start(role, path, 0);
    assert_eq!(child.line().as_deref(), Some("held"));
    child
}

/// The system's clock, and so many milliseconds later.
#[derive(Clone, Debug, Default)]
pub struct Later(Arc<AtomicU64>);

impl Later {
    pub fn skip(&self, time: Duration) {
        self.0.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
    }
}

impl Clock for Later {
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

/// A store that counts its requests.
#[derive(Debug)]
struct Counted(Sqlite, Arc<AtomicU64>);

impl Store for Counted {
    fn read<'a>(&'a self, name: &'a LockName, how: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.read(name, how)
    }
    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.write(op)
    }
    fn list<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Answer<Page>> {
        self.0.list(after)
    }
    fn liveness_key(&self) -> Option<&str> {
        self.0.liveness_key()
    }
    fn liveness(&self, liveness_key: &str) -> Liveness {
        self.0.liveness(liveness_key)
    }
}

/// Somebody who wants the lock, with a clock that can be put forward.
pub struct Waiter {
    pub store: Sqlite,
    pub client: Client,
    pub later: Later,
    requests: Arc<AtomicU64>,
}

impl Waiter {
    pub fn new(path: &Path) -> Self {
        let (store, later, requests) = (Sqlite::open(path).expect("opens"), Later::default(), Arc::default());
        let counted = Counted(store.clone(), Arc::clone(&requests));
        let client = Client::builder(counted).lease(HOUR).clock(later.clone()).build().expect("a client");
        Self { store, client, later, requests }
    }

    pub async fn tries(&self) -> Option<Guard> {
        self.requests.store(0, Ordering::Relaxed);
        try_orders(&self.client).await
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// What the row says of its holder's life.
    pub async fn sees(&self) -> Liveness {
        self.liveness_key().await.map(|liveness_key| self.store.liveness(&liveness_key)).unwrap_or_default()
    }

    pub async fn liveness_key(&self) -> Option<String> {
        let row = self.store.read(&lock_name("orders"), Consistency::Strong).await.result.expect("reads");
        row.and_then(|row| row.text(attr::LIVENESS_KEY).map(str::to_owned))
    }

    /// That the holder is seen to be gone.
    pub async fn sees_it_gone(&self) {
        let liveness_key = self.liveness_key().await.expect("in the row");
        assert_eq!(settled(Liveness::Dead, || self.store.liveness(&liveness_key)), Liveness::Dead);
    }

    /// That the lock is not taken before its lease is over, and is then.
    pub async fn waits_the_lease_out(&self) {
        assert!(self.tries().await.is_none(), "first seen now");
        self.later.skip(HOUR - Duration::from_secs(60));
        assert!(self.tries().await.is_none(), "not a full lease yet");
        self.later.skip(Duration::from_secs(61));
        assert!(self.tries().await.is_some(), "over");
    }
}
