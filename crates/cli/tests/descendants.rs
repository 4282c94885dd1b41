//! No descendant of the command is running while the lock is free or held by another client: for each way to disturb
//! `run`, each kind of command, with and without a terminal. Needs Linux; the tests over HTTP need a DynamoDB server.
//!
//! This is a separate test binary because it measures leases under load and scans all processes.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods)] // leases are measured by real clocks, so the tests wait for real

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dynamo_lock::{Client, store::StoreUrl};
use support::proxy::{Fault, Proxy};
use support::terminal::Terminal;
use support::watcher::{MARK, SCAN_INTERVAL, Watcher};
use support::{Fixture, PROGRAM, Running, parent, server_table_url, server_url, state, try_send, wait_until};

/// Lease of the runs.
const LEASE: Duration = Duration::from_secs(2);
/// Number of cases that run at the same time.
const WORKERS: usize = 10;

/// Names and scripts of the commands. Each script creates the file `ready` when all its processes are running.
const COMMANDS: [(&str, &str); 5] = [
    ("plain", "touch ready; exec sleep 1000"),
    ("with another", "sleep 1000 & touch ready; sleep 1000"),
    ("another session", "setsid sh -c 'touch ready; exec sleep 1000' & wait"),
    ("ignores signals", "trap '' TERM INT HUP QUIT; touch ready; while :; do sleep 0.1; done"),
    // A daemon: its parents end at once, and it has closed all inherited descriptors.
    (
        "daemon",
        "exec python3 -c 'import os, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
os.closerange(0, 4096)
open(\"ready\", \"w\").close()
time.sleep(1000)'",
    ),
];

/// Disturbance of a run whose command is running.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Disturbance {
    /// The wrapper receives this signal.
    Send(&'static str),
    /// The wrapper is stopped, and continued after this part of a lease.
    StopAndContinue { after: f64 },
    /// The supervisor is killed.
    KillSupervisor,
    /// The store has this fault.
    Store(Fault),
}

const DISTURBANCES: [Disturbance; 9] = [
    Disturbance::Send("TERM"),
    Disturbance::Send("INT"),
    Disturbance::Send("HUP"),
    Disturbance::Send("QUIT"),
    Disturbance::Send("KILL"),
    Disturbance::Send("STOP"),
    Disturbance::StopAndContinue { after: 0.25 },
    Disturbance::StopAndContinue { after: 1.5 },
    Disturbance::KillSupervisor,
];

/// Kind of lock under which the command runs.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Plain,
    /// A lock with one slot.
    Slots,
    /// A lock that is shared. The other client needs it alone.
    Shared,
}

impl Mode {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Plain => &[],
            Self::Slots => &["--slots", "1"],
            Self::Shared => &["--shared"],
        }
    }

    /// Acquires the lock as another client, and keeps it for ever.
    async fn acquire(self, client: &Client, has_acquired: &AtomicBool) {
        const RESPONDS: &str = "the store responds";
        let _held: Box<dyn std::any::Any + Send> = match self {
            Self::Plain => Box::new(client.lock("a").expect("a name").acquire().await.expect(RESPONDS)),
            Self::Slots => Box::new(client.semaphore("a", 1).expect("valid").acquire().await.expect(RESPONDS)),
            Self::Shared => Box::new(client.rw_lock("a").expect("a name").write().await.expect(RESPONDS)),
        };
        has_acquired.store(true, Ordering::SeqCst);
        std::future::pending().await
    }
}

#[derive(Clone, Debug)]
struct Case {
    mode: Mode,
    disturbance: Disturbance,
    command: (&'static str, &'static str),
    terminal: bool,
    /// URL of the DynamoDB server. `None` for the embedded store.
    server: Option<String>,
}

/// Outcome of a case.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// Another client acquired the lock.
    Acquired,
    /// The lock was kept, and descendants were running until the end of the observation.
    Kept,
}

/// Number of marked processes, for marks that are unique.
static CASES: AtomicUsize = AtomicUsize::new(0);

/// A process whose descendants have a mark in their environment. All are killed when this value is dropped.
struct MarkedProcess {
    running: Running,
    mark: String,
    _terminal: Option<Terminal>,
}

impl MarkedProcess {
    /// Starts the process and waits until its command is ready.
    fn start(fixture: &Fixture, program: &str, arguments: &[&str], with_terminal: bool) -> Self {
        let mark = format!("{}-{}", std::process::id(), CASES.fetch_add(1, Ordering::Relaxed));
        let terminal = with_terminal.then(Terminal::new);
        let mut command = match &terminal {
            Some(terminal) => fixture.command_on(terminal, program, arguments),
            None => fixture.command_of(program, arguments),
        };
        command.env(MARK, &mark);
        Self { running: fixture.start_command(command), mark, _terminal: terminal }
    }

    fn pid(&self) -> i32 {
        self.running.pid()
    }

    fn descendants(&self) -> Vec<i32> {
        Watcher::shared().running(&self.mark)
    }
}

impl Drop for MarkedProcess {
    fn drop(&mut self) {
        self.running.kill();
        // The supervisor ends its descendants itself. Those of `flock` are killed here.
        wait_until("all marked processes have ended", || {
            let running = self.descendants();
            running.iter().for_each(|pid| _ = try_send("KILL", pid));
            running.is_empty()
        });
    }
}

/// Returns the PID of this wrapper's supervisor.
fn supervisor(wrapper: i32) -> i32 {
    let all = std::fs::read_dir("/proc").expect("Linux").flatten();
    let mut pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_supervisor = |pid: &i32| {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments.starts_with(b"lock-supervisor\0") && parent(*pid) == wrapper
    };
    pids.find(is_supervisor).expect("the wrapper has a supervisor")
}

/// Scans the processes every 50 ms until two leases after another client has acquired the lock, or until two leases
/// from now if none does. Returns an error if a marked process is running while another client holds the lock.
fn observe(marked: &MarkedProcess, mut acquired_by_other: impl FnMut() -> bool) -> Result<Outcome, String> {
    let mut end = Instant::now() + 2 * LEASE;
    let mut acquired = false;
    let mut ended_since = None;
    loop {
        if !acquired && acquired_by_other() {
            (acquired, end) = (true, Instant::now() + 2 * LEASE);
        }
        let running = marked.descendants();
        match (acquired, running.is_empty()) {
            (true, false) => return Err(format!("{running:?} are running, although another client holds the lock")),
            (true, true) if Instant::now() >= end => return Ok(Outcome::Acquired),
            (false, false) if Instant::now() >= end => return Ok(Outcome::Kept),
            // No marked process is running, so another client must acquire the lock soon.
            (false, true) if ended_since.get_or_insert_with(Instant::now).elapsed() > 30 * LEASE => {
                return Err("no client acquires the lock, although no process keeps it".to_owned());
            }
            _ => {}
        }
        std::thread::sleep(SCAN_INTERVAL);
    }
}

/// Another client, which waits for the lock and then holds it until this value is dropped.
struct Contender {
    acquired: Arc<AtomicBool>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Contender {
    fn start(store: String, mode: Mode) -> Self {
        let (acquired, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (has_acquired, is_done) = (acquired.clone(), done.clone());
        let compete = async move {
            let store = StoreUrl::parse(&store).expect("a store").open().await.expect("it opens");
            let client = Client::builder(store).lease(LEASE).build().expect("valid");
            let stop = async {
                while !is_done.load(Ordering::SeqCst) {
                    tokio::time::sleep(SCAN_INTERVAL).await;
                }
            };
            tokio::select! {
                () = stop => {}
                () = mode.acquire(&client, &has_acquired) => {}
            }
        };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(compete);
        });
        Self { acquired, done, thread: Some(thread) }
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        self.done.store(true, Ordering::SeqCst);
        let _ignored_panic = self.thread.take().map(JoinHandle::join);
    }
}

/// Runs one case.
fn run_case(case: &Case) -> Result<Outcome, String> {
    let mut fixture = Fixture::new();
    let mut direct = fixture.store().to_owned();
    let proxy = case.server.as_deref().map(|server| {
        let proxy = Proxy::to(server);
        let table = fixture.path("").file_name().expect("a name").to_string_lossy().replace('.', "t");
        direct = server_table_url(&table, server);
        fixture = Fixture::with_store(&server_table_url(&table, &proxy.url()));
        fixture.run(&["table", "create"]).exits_with(0);
        proxy
    });
    let lease = LEASE.as_secs().to_string();
    let options = ["run", "--lease", &lease, "--grace", "1"];
    let arguments = [&options, case.mode.arguments(), &["a", "-c", case.command.1]].concat();
    let marked = MarkedProcess::start(&fixture, PROGRAM, &arguments, case.terminal);
    let wrapper = marked.pid();
    match case.disturbance {
        Disturbance::Send(signal) => _ = try_send(signal, wrapper),
        Disturbance::StopAndContinue { after } => {
            try_send("STOP", wrapper);
            std::thread::spawn(move || {
                std::thread::sleep(LEASE.mul_f64(after));
                try_send("CONT", wrapper);
            });
        }
        Disturbance::KillSupervisor => _ = try_send("KILL", supervisor(wrapper)),
        Disturbance::Store(fault) => proxy.as_ref().expect("only a server has faults").set_fault(Some(fault)),
    }
    let contender = Contender::start(direct, case.mode);
    let outcome = observe(&marked, || contender.acquired.load(Ordering::SeqCst));
    drop(marked);
    drop(proxy);
    outcome
}

/// Runs all cases and asserts that none fails, and that another client acquired the lock in at least half of them.
fn run_cases(cases: Vec<Case>) {
    let all = cases.len();
    let next = Mutex::new(cases.into_iter());
    let (outcomes, failed) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let Some(case) = next.lock().unwrap().next() else { return };
                    match run_case(&case) {
                        Ok(outcome) => outcomes.lock().unwrap().push(outcome),
                        Err(error) => failed.lock().unwrap().push(format!("{case:?}: {error}")),
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {all}: {failed:#?}", failed.len());
    let acquired = outcomes.into_inner().unwrap().into_iter().filter(|outcome| *outcome == Outcome::Acquired).count();
    let kept = all - acquired;
    println!("{all} cases: another client acquired the lock in {acquired}, it was kept for processes in {kept}");
    assert!(acquired >= all / 2, "{acquired} of {all}");
}

/// Returns the cases with these disturbances, each command, and with or without a terminal.
fn cases(mode: Mode, disturbances: &[Disturbance], terminals: &[bool], server: Option<&str>) -> Vec<Case> {
    let mut cases = Vec::new();
    for &disturbance in disturbances {
        for command in COMMANDS {
            for &terminal in terminals {
                cases.push(Case { mode, disturbance, command, terminal, server: server.map(str::to_owned) });
            }
        }
    }
    cases
}

#[test]
fn no_descendant_outlives_lock_on_embedded_store() {
    run_cases(cases(Mode::Plain, &DISTURBANCES, &[false, true], None));
}

#[test]
fn no_descendant_outlives_its_slot() {
    run_cases(cases(Mode::Slots, &DISTURBANCES, &[false], None));
}

#[test]
fn no_descendant_outlives_its_shared_lock() {
    run_cases(cases(Mode::Shared, &DISTURBANCES, &[false], None));
}

#[test]
fn no_descendant_outlives_lock_on_server() {
    let Some(server) = server_url("no_descendant_outlives_lock_on_server") else { return };
    run_cases(cases(Mode::Plain, &DISTURBANCES, &[false, true], Some(&server)));
}

#[test]
fn no_descendant_outlives_lock_while_store_fails() {
    let Some(server) = server_url("no_descendant_outlives_lock_while_store_fails") else { return };
    let faults = [Fault::Hang, Fault::Refuse, Fault::Throttle].map(Disturbance::Store);
    run_cases(cases(Mode::Plain, &faults, &[false], Some(&server)));
}

/// A killed `flock -o` leaves its command running without the lock. The test detects that.
#[test]
fn control_descendant_that_outlives_flock_is_detected() {
    let fixture = Fixture::new();
    for (_, command) in COMMANDS {
        let _first = std::fs::remove_file(fixture.path("ready"));
        let marked = MarkedProcess::start(&fixture, "flock", &["-o", "file", "sh", "-c", command], false);
        try_send("KILL", marked.pid());
        wait_until("`flock` is killed", || state(marked.pid()).is_none());
        let is_free = || fixture.command_of("flock", &["-n", "file", "true"]).status().is_ok_and(|s| s.success());
        let outcome = observe(&marked, is_free);
        assert!(outcome.as_ref().is_err_and(|error| error.contains("are running, although")), "{outcome:?}");
    }
}
