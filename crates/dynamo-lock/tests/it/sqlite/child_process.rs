//! Ops for the SQLite tests, and child processes. A child is this test binary running its own test `second_process`,
//! and an environment variable selects its role.

use dynamo_lock::store::{Consistency, attr};
use dynamo_lock::{FencingToken, LockName, Sqlite, Store};
use dynamo_lock_protocol::{Ends, Kind, Lease, LeaseId, Op, OpKind, Outcome, RecordVersion, Row};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

/// User ID of a child that must not be root.
pub const NOBODY: u32 = 65534;

const ROLE: &str = "DYNAMO_LOCK_TEST_ROLE";
const PATH: &str = "DYNAMO_LOCK_TEST_PATH";
const COUNT: &str = "DYNAMO_LOCK_TEST_COUNT";

/// Prefix of the lines of a child. libtest prints other lines.
const MARK: &str = "helper: ";

/// Creates a directory. Returns it with a path of a database in it.
pub fn temporary() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("locks.db");
    (directory, path)
}

pub fn lock_name(name: &str) -> LockName {
    LockName::new(name).expect("a lock name")
}

pub fn token(row: &Row) -> u64 {
    row.token().expect("a token").get()
}

fn lease_id(n: u128) -> LeaseId {
    LeaseId::from_random(n)
}

fn lease(n: u128) -> Lease {
    Lease {
        lease_id: lease_id(n),
        token_floor: FencingToken::new(1000),
        lease_ms: 20_000,
        ends: Ends { expires_on: 1_900_000_000_000, service_timestamp: false, ttl: 1_900_700_000 },
        owner: "test".to_owned(),
        acquired_on: 1_899_999_980_000,
        data: None,
        liveness_key: None,
    }
}

/// Returns an op that acquires a free lock with lease ID `n`.
pub fn acquire(name: &LockName, n: u128) -> Op {
    Op {
        name: name.clone(),
        version: RecordVersion::from_random(n),
        row_kind: Kind::Mutex,
        kind: OpKind::Acquire(lease(n)),
    }
}

/// Returns an op that takes over the lock of the row `seen` with lease ID `n`.
pub fn take_over(name: &LockName, n: u128, seen: &Row) -> Op {
    let version = seen.version().unwrap_or(RecordVersion::from("none"));
    let kind = OpKind::TakeOver { lease: lease(n), seen: version, seen_token: seen.token(), ended: None };
    Op { name: name.clone(), version: RecordVersion::from_random(n), row_kind: Kind::Mutex, kind }
}

/// Returns an op with record version `n` that releases lease ID `of`.
pub fn release(name: &LockName, n: u128, of: u128) -> Op {
    let kind = OpKind::Release { lease_id: lease_id(of), token: None, ttl: 1_900_700_000, history: None, ended: None };
    Op { name: name.clone(), version: RecordVersion::from_random(n), row_kind: Kind::Mutex, kind }
}

/// A child process, which is killed when this value is dropped.
pub struct Child {
    process: std::process::Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Child {
    /// Starts a child with this role, on the database at `path`.
    pub fn start(role: &str, path: &Path, count: u64) -> Self {
        Self::start_with(role, path, count, |_| {})
    }

    /// Starts a child after `change` has changed its command.
    pub fn start_with(role: &str, path: &Path, count: u64, change: impl FnOnce(&mut Command)) -> Self {
        Self::start_by(Command::new(std::env::current_exe().expect("this test binary")), role, path, count, change)
    }

    /// Starts a child under another command.
    pub fn start_under(wrapper: &[&str], role: &str, path: &Path, count: u64) -> Self {
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(std::env::current_exe().expect("this test binary"));
        Self::start_by(command, role, path, count, |_| {})
    }

    fn start_by(mut command: Command, role: &str, path: &Path, count: u64, change: impl FnOnce(&mut Command)) -> Self {
        command.args(["sqlite::second_process", "--exact", "--nocapture", "--test-threads=1"]);
        command.env(ROLE, role).env(PATH, path).env(COUNT, count.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        change(&mut command);
        let mut process = command.spawn().expect("starts");
        let stdin = process.stdin.take();
        let stdout = BufReader::new(process.stdout.take().expect("piped"));
        Self { process, stdin, stdout }
    }

    /// Starts a child that holds SQLite's write lock until [`resume`](Self::resume).
    pub fn holding_the_write_lock(path: &Path) -> Self {
        let mut child = Self::start("hold write lock", path, 0);
        assert_eq!(child.line().as_deref(), Some("holding"));
        child
    }

    /// Returns the next line of the child, or `None` at the end of its output.
    pub fn line(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.stdout.read_line(&mut line).expect("reads") == 0 {
                return None;
            }
            if let Some((_, own)) = line.trim_end_matches('\n').split_once(MARK) {
                return Some(own.to_owned());
            }
        }
    }

    /// Closes the standard input of the child, for which it waits.
    pub fn resume(&mut self) {
        self.stdin = None;
    }

    /// Returns the process ID.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill().expect("kills");
    }

    /// Waits until the child has ended. Returns whether it succeeded.
    pub fn wait(&mut self) -> bool {
        self.process.wait().expect("ends").success()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Prints a line of a child.
pub fn print(text: impl std::fmt::Display) {
    println!("{MARK}{text}");
}

/// Performs the role that the environment selects. Does nothing if it selects none.
pub fn run_if_child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let path = std::env::var_os(PATH).expect("a path");
    let path = Path::new(&path);
    let count: u64 = std::env::var(COUNT).expect("a count").parse().expect("a number");
    match role.as_str() {
        "hold write lock" => hold_write_lock(path),
        "open as other user" => {
            // Root can read every file.
            if nix::unistd::geteuid().is_root() {
                nix::unistd::setuid(nix::unistd::Uid::from_raw(NOBODY)).expect("changes its user");
            }
            match Sqlite::open(path) {
                Ok(store) => print(format!("created {}", store.created())),
                Err(error) => print(format!("{:?} {error}", error.kind())),
            }
        }
        "open with few descriptors" => {
            let mut opened = Vec::new();
            nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, 64, 64).expect("sets");
            while let Ok(file) = std::fs::File::open("/dev/null") {
                opened.push(file);
            }
            opened.truncate(opened.len() - usize::try_from(count).expect("small"));
            let result = Sqlite::open(path);
            drop(opened);
            match result {
                Ok(store) => print(format!("created {}", store.created())),
                Err(error) => print(format!("{:?} {error}", error.kind())),
            }
        }
        "open without threads" => {
            if nix::unistd::geteuid().is_root() {
                nix::unistd::setuid(nix::unistd::Uid::from_raw(NOBODY)).expect("changes its user");
            }
            nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NPROC, 0, 0).expect("sets");
            match Sqlite::open(path) {
                Ok(store) => print(format!("created {}", store.created())),
                Err(error) => print(format!("{:?} {error}", error.kind())),
            }
        }
        "hold as other user" => {
            nix::unistd::setuid(nix::unistd::Uid::from_raw(NOBODY)).expect("changes its user");
            assert!(crate::sqlite::liveness_role("live holder", path, 0));
        }
        "threads" => threads(path),
        "open" => match Sqlite::open(path) {
            Ok(store) => print(format!("created {}", store.created())),
            Err(error) => print(format!("{:?} {error}", error.kind())),
        },
        "open default" => match Sqlite::open_default() {
            Ok(store) => print(format!("created {} {}", store.created(), store.path().display())),
            Err(error) => print(format!("{:?} {error}", error.kind())),
        },
        "work" => {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(work(path, count));
        }
        other => assert!(crate::sqlite::liveness_role(other, path, count), "no such role: {other}"),
    }
}

/// Returns the number of threads of stores in this process.
fn store_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("lists");
    let names = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.trim_end() == "dynamo-lock-sql").count()
}

/// Counts the threads after opening three handles and cloning them, after dropping the handles, and after dropping the
/// clones.
fn threads(path: &Path) {
    let handles: Vec<_> = (0..3).map(|_| Sqlite::open(path).expect("opens")).collect();
    let clones = handles.clone();
    print(wait_for_threads(3));
    drop(handles);
    print(wait_for_threads(3));
    drop(clones);
    print(wait_for_threads(0));
}

/// Waits for at most five seconds until there are `expected` threads. Returns their number.
fn wait_for_threads(expected: usize) -> usize {
    for _ in 0..1000 {
        if store_threads() == expected {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    store_threads()
}

fn hold_write_lock(path: &Path) {
    let connection = rusqlite::Connection::open(path).expect("opens");
    connection.execute_batch("BEGIN IMMEDIATE").expect("begins");
    print("holding");
    std::io::stdin().read_to_end(&mut Vec::new()).expect("reads");
    connection.execute_batch("COMMIT").expect("commits");
}

/// Acquires and releases one lock `count` times, and prints each token. A held lock is taken over at once, because
/// stores do not check leases.
async fn work(path: &Path, count: u64) {
    let store = Sqlite::open(path).expect("opens");
    let name = lock_name("worked");
    let first = u128::from(std::process::id()) << 64;
    let mut n = first;
    for _ in 0..count {
        let token = loop {
            n += 1;
            let row = store.read(&name, Consistency::Strong).await.result.expect("reads");
            let op = match row {
                Some(row) if row.whole(attr::EXPIRES_ON) != Some(0) => take_over(&name, n, &row),
                _ => acquire(&name, n),
            };
            print("writing");
            match store.write(&op).await.result.expect("writes") {
                Outcome::Applied(Some(row)) => break token(&row),
                _ => continue,
            }
        };
        print(format!("token {token}"));
        let lease_id = n;
        n += 1;
        store.write(&release(&name, n, lease_id)).await.result.expect("writes");
    }
}
