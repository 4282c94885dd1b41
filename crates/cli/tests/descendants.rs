//! No descendant of the command is alive while the lock is free or held by another client, whatever is done
//! to `dynamo-lock run`, whatever the command has started, with a terminal and without.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods)] // the kernel's clocks and the server's are real, so the tests wait for real

#[path = "support/proxy.rs"]
mod proxy;
mod support;
#[path = "support/terminal.rs"]
mod terminal;
#[path = "support/watcher.rs"]
mod watcher;

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dynamo_lock::Client;
use dynamo_lock::store::StoreUrl;
use proxy::{Fault, Proxy};
use support::{Fixture, parent, state, until};
use terminal::Terminal;
use watcher::{EVERY, MARK, Watcher};

const LEASE: Duration = Duration::from_secs(2);
/// Number of cells that run at the same time.
const WORKERS: usize = 10;

/// Commands. Each creates the file `ready` once all its processes have started.
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

/// Disturbance that is applied once the command runs.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Deed {
    /// A signal to the wrapper, and a second one after this part of a lease.
    Send(&'static str),
    StopAndContinue {
        after: f64,
    },
    KillSupervisor,
    Store(Fault),
}

const DEEDS: [Deed; 9] = [
    Deed::Send("TERM"),
    Deed::Send("INT"),
    Deed::Send("HUP"),
    Deed::Send("QUIT"),
    Deed::Send("KILL"),
    Deed::Send("STOP"),
    Deed::StopAndContinue { after: 0.25 },
    Deed::StopAndContinue { after: 1.5 },
    Deed::KillSupervisor,
];

#[derive(Clone, Debug)]
struct Cell {
    deed: Deed,
    command: (&'static str, &'static str),
    terminal: bool,
    /// Whether the store is a DynamoDB server. Otherwise it is the embedded store.
    server: Option<String>,
}

/// Result of a cell.
#[derive(Debug, PartialEq)]
enum CellResult {
    /// Another client held the lock in the end.
    Passed,
    /// The lock was kept to the end, because a descendant was alive to the end.
    Kept,
}

static CELLS: AtomicUsize = AtomicUsize::new(0);

/// A process with all its descendants, which are killed at the end.
struct Marked {
    child: Child,
    mark: String,
    _terminal: Option<Terminal>,
}

impl Marked {
    /// Starts the process and waits until its command is ready.
    fn start(fixture: &Fixture, mut command: Command, with_terminal: bool) -> Self {
        let mark = format!("{}-{}", std::process::id(), CELLS.fetch_add(1, Ordering::Relaxed));
        command.env(MARK, &mark).stdout(Stdio::null()).stderr(Stdio::null());
        let terminal = with_terminal.then(Terminal::new);
        if let Some(terminal) = &terminal {
            // The process runs in a session of its own with this controlling terminal.
            let mut inside = Command::new("setsid");
            inside.arg("-c").arg(command.get_program()).args(command.get_args());
            inside.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
            inside.current_dir(fixture.path("")).stdin(terminal.end()).stdout(terminal.end()).stderr(terminal.end());
            command = inside;
        }
        let child = command.spawn().expect("it runs");
        until("the command is ready", || fixture.path("ready").exists());
        Self { child, mark, _terminal: terminal }
    }

    fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    fn alive(&self) -> Vec<i32> {
        Watcher::one().alive(&self.mark)
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
        // A supervisor ends its descendants by itself; `flock` does not.
        until("all have ended", || {
            let alive = self.alive();
            alive.iter().for_each(|pid| send("KILL", *pid));
            alive.is_empty()
        });
    }
}

fn send(signal: &str, pid: i32) {
    let _gone = Command::new("kill").args(["-s", signal, &pid.to_string()]).stderr(Stdio::null()).status();
}

/// Returns the supervisor of this wrapper.
fn supervisor(wrapper: i32) -> i32 {
    let all = std::fs::read_dir("/proc").expect("Linux").flatten();
    let mut pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_it = |pid: &i32| {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments.starts_with(b"lock-supervisor\0") && parent(*pid) == wrapper
    };
    pids.find(is_it).expect("it has one")
}

/// Looks every 50 ms until two leases after another client has acquired the lock, or until two leases from now if none
/// does. Fails if a descendant is alive while another client holds the lock.
fn observe(marked: &Marked, mut others_have_it: impl FnMut() -> bool) -> Result<CellResult, String> {
    let mut until = Instant::now() + 2 * LEASE;
    let mut passed = false;
    let mut dead_since = None;
    loop {
        if !passed && others_have_it() {
            (passed, until) = (true, Instant::now() + 2 * LEASE);
        }
        let alive = marked.alive();
        match (passed, alive.is_empty()) {
            (true, false) => return Err(format!("{alive:?} live though another client holds the lock")),
            (true, true) if Instant::now() >= until => return Ok(CellResult::Passed),
            (false, false) if Instant::now() >= until => return Ok(CellResult::Kept),
            // No descendant is alive, so another client must acquire the lock.
            (false, true) if dead_since.get_or_insert_with(Instant::now).elapsed() > 30 * LEASE => {
                return Err("no client acquires the lock although no descendant is alive".to_owned());
            }
            _ => {}
        }
        std::thread::sleep(EVERY);
    }
}

/// Another client that waits for the lock and holds it until this value is dropped.
struct Contender {
    has_it: Arc<AtomicBool>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Contender {
    fn start(store: String) -> Self {
        let (has_it, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (got, enough) = (has_it.clone(), done.clone());
        let keep = async move {
            let store = StoreUrl::parse(&store).expect("a store").open().await.expect("it opens");
            let client = Client::builder(store).lease(LEASE).build().expect("valid");
            let over = async {
                while !enough.load(Ordering::SeqCst) {
                    tokio::time::sleep(EVERY).await;
                }
            };
            let hold = async {
                let _guard = client.lock("a").expect("a name").acquire().await.expect("the store is there");
                got.store(true, Ordering::SeqCst);
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = over => {}
                () = hold => {}
            }
        };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(keep);
        });
        Self { has_it, done, thread: Some(thread) }
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        self.done.store(true, Ordering::SeqCst);
        let _panicked_or_not = self.thread.take().map(JoinHandle::join);
    }
}

fn run_cell(cell: &Cell) -> Result<CellResult, String> {
    let store = cell.server.as_ref().map(|server| {
        let proxy = Proxy::to(server);
        let fixture = Fixture::new();
        let table = fixture.path("").file_name().expect("a name").to_string_lossy().replace('.', "t");
        let url = |server: &str| format!("dynamodb://{table}?region=us-east-1&endpoint={server}&service_clock=on");
        (Fixture::with_store(&url(&proxy.url())), proxy, url(server))
    });
    let (fixture, proxy, direct) = match store {
        Some((fixture, proxy, direct)) => (fixture, Some(proxy), direct),
        None => {
            let fixture = Fixture::new();
            let store = fixture.store().to_owned();
            (fixture, None, store)
        }
    };
    if proxy.is_some() {
        fixture.run(&["table", "create"]).ends_with(0);
    }
    let lease = LEASE.as_secs().to_string();
    let arguments = ["run", "--lease", &lease, "--grace", "1", "a", "-c", cell.command.1];
    let marked = Marked::start(&fixture, fixture.command(&arguments), cell.terminal);
    let wrapper = marked.pid();
    match cell.deed {
        Deed::Send(signal) => send(signal, wrapper),
        Deed::StopAndContinue { after } => {
            send("STOP", wrapper);
            std::thread::spawn(move || {
                std::thread::sleep(LEASE.mul_f64(after));
                send("CONT", wrapper);
            });
        }
        Deed::KillSupervisor => send("KILL", supervisor(wrapper)),
        Deed::Store(fault) => proxy.as_ref().expect("only a server has faults").set(Some(fault)),
    }
    let contender = Contender::start(direct);
    let result_of_cell = observe(&marked, || contender.has_it.load(Ordering::SeqCst));
    drop(marked);
    drop(proxy);
    result_of_cell
}

/// Runs all cells and reports their results.
fn run_cells(cells: Vec<Cell>) {
    let all = cells.len();
    let next = Mutex::new(cells.into_iter());
    let (passed, kept) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let Some(cell) = next.lock().unwrap().next() else { return };
                    match run_cell(&cell) {
                        Ok(CellResult::Passed) => _ = passed.fetch_add(1, Ordering::Relaxed),
                        Ok(CellResult::Kept) => _ = kept.fetch_add(1, Ordering::Relaxed),
                        Err(why) => failed.lock().unwrap().push(format!("{cell:?}: {why}")),
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {all}: {failed:#?}", failed.len());
    let (passed, kept) = (passed.into_inner(), kept.into_inner());
    println!("{all} cells: another client acquired the lock in {passed}, living descendants kept it in {kept}");
    assert!(passed >= all / 2, "{passed} of {all}");
}

fn cells(server: Option<String>) -> Vec<Cell> {
    let mut cells = Vec::new();
    for deed in DEEDS {
        for command in COMMANDS {
            for terminal in [false, true] {
                cells.push(Cell { deed, command, terminal, server: server.clone() });
            }
        }
    }
    cells
}

/// Returns `None` and reports that the test is skipped if no server is configured.
fn server(test: &str) -> Option<String> {
    let server = std::env::var("DYNAMO_LOCK_TEST_ENDPOINT").ok();
    if server.is_none() {
        let why = "DYNAMO_LOCK_TEST_ENDPOINT names no server; `cargo xtask test` starts one";
        let _ = writeln!(std::io::stdout(), "SKIPPED: {test}: {why}");
    }
    server
}

#[test]
fn no_descendant_outlives_lock_on_embedded_store() {
    run_cells(cells(None));
}

#[test]
fn no_descendant_outlives_lock_on_server() {
    let Some(server) = server("no_descendant_outlives_lock_on_server") else { return };
    run_cells(cells(Some(server)));
}

#[test]
fn no_descendant_outlives_lock_while_store_fails() {
    let Some(server) = server("no_descendant_outlives_lock_while_store_fails") else { return };
    let mut cells = Vec::new();
    for fault in [Fault::Hang, Fault::Refuse, Fault::Throttle] {
        for command in COMMANDS {
            let deed = Deed::Store(fault);
            cells.push(Cell { deed, command, terminal: false, server: Some(server.clone()) });
        }
    }
    run_cells(cells);
}

/// Control: a killed `flock -o` leaves its command running without the lock, and the sampler detects it.
#[test]
fn control_descendant_that_outlives_flock_is_detected() {
    let fixture = Fixture::new();
    for (_, command) in COMMANDS {
        let _first = std::fs::remove_file(fixture.path("ready"));
        let marked = Marked::start(&fixture, fixture.command_of("flock", &["-o", "file", "sh", "-c", command]), false);
        send("KILL", marked.pid());
        until("it is killed", || state(marked.pid()).is_none());
        let free = || {
            Command::new("flock").arg("-n").arg(fixture.path("file")).arg("true").status().is_ok_and(|s| s.success())
        };
        let result_of_cell = observe(&marked, free);
        assert!(result_of_cell.as_ref().is_err_and(|why| why.contains("live though")), "{result_of_cell:?}");
    }
}
