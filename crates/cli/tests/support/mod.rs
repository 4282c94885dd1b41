//! The `dynamo-lock` binary under test, in a temporary directory with a store of its own.
#![allow(dead_code, unused_imports)] // each test binary uses a part of it
#![allow(clippy::disallowed_methods)] // waits are bounded by real time

pub mod proxy;
mod server;
pub mod terminal;
pub mod watcher;

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fmt::Display, io::Read, io::Write as _, path::PathBuf};

pub use server::{
    Request, dynamodb_error, recording_server, respond_with, server_by_operation, server_with_response, silent_server,
    table_url,
};
use terminal::Terminal;

/// Upper bound of every wait, far above the time that a busy machine needs.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Path of the binary under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_dynamo-lock");

/// Name of the environment variable with the URL of a DynamoDB server.
const ENDPOINT: &str = "DYNAMO_LOCK_TEST_ENDPOINT";

/// Arguments that hold the lock `a` until the run is killed.
pub const HOLD: &[&str] = &["run", "a", "-c", "touch ready; exec sleep 100"];

/// Script that writes its PID to `ready` and each SIGTERM to `signals`, and that ignores SIGTERM.
pub const STUBBORN: &str =
    "trap 'echo TERM >> signals' TERM; echo $$ > tmp; mv tmp ready; while :; do sleep 0.05; done";

/// Temporary directory in which the binary runs, and the URL of its store.
pub struct Fixture {
    directory: tempfile::TempDir,
    store: String,
}

impl Fixture {
    /// Creates a directory with an embedded store.
    pub fn new() -> Self {
        Self::with_directory(tempfile::tempdir().expect("a temporary directory"))
    }

    /// Creates a directory with an embedded store below `parent` if that exists, otherwise like [`new`](Self::new).
    pub fn below(parent: &str) -> Self {
        tempfile::tempdir_in(parent).map_or_else(|_| Self::new(), Self::with_directory)
    }

    fn with_directory(directory: tempfile::TempDir) -> Self {
        let path = directory.path().canonicalize().expect("the directory exists");
        Self { store: format!("sqlite://{}/locks.db", path.display()), directory }
    }

    /// Creates a directory whose runs use the store with this URL.
    pub fn with_store(store: &str) -> Self {
        Self { store: store.to_owned(), ..Self::new() }
    }

    pub fn store(&self) -> &str {
        &self.store
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    /// Returns the content of the file, or an empty string if it cannot be read.
    pub fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).unwrap_or_default()
    }

    /// Returns the PID that a script has written to this file.
    pub fn pid(&self, file: &str) -> i32 {
        self.read(file).trim().parse().expect("the script wrote its PID")
    }

    /// Returns a command for the binary, with the environment of [`command_of`](Self::command_of).
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(PROGRAM, arguments)
    }

    /// Returns a command for any program: in this directory, without a terminal, with dummy credentials, and without
    /// the variables of a `dynamo-lock run` or an AWS configuration around this test.
    pub fn command_of(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.directory.path());
        for (key, _) in std::env::vars_os().filter(|(key, _)| is_of_surroundings(&key.to_string_lossy())) {
            command.env_remove(key);
        }
        command.env("DYNAMO_LOCK_STORE", &self.store).env("PROGRAM", PROGRAM).env("USER", "tester");
        command.env("SHELL", "/bin/sh").env("HOME", self.directory.path()).env_remove("XDG_STATE_HOME");
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Returns a command for any program in a new session, with this as its terminal.
    pub fn command_on(&self, terminal: &Terminal, program: &str, arguments: &[&str]) -> Command {
        let mut command = self.command_of("setsid", &[&["-c", program], arguments].concat());
        terminal.attach(&mut command);
        command
    }

    /// Runs the binary to its end, at most [`TIMEOUT`].
    pub fn run(&self, arguments: &[&str]) -> Finished {
        Running::spawn(self.command(arguments)).wait()
    }

    /// Runs a shell script to its end.
    pub fn run_script(&self, script: &str) -> Finished {
        Running::spawn(self.command_of("sh", &["-c", script])).wait()
    }

    /// Starts the binary with its standard streams on a new terminal.
    pub fn spawn_on_terminal(&self, arguments: &[&str]) -> (Running, Terminal) {
        let terminal = Terminal::new();
        let mut command = self.command(arguments);
        terminal.attach(&mut command);
        (Running::spawn(command), terminal)
    }

    /// Starts the binary with its standard error in the file `stderr`.
    pub fn spawn_with_stderr_file(&self, mut command: Command) -> Running {
        command.stderr(std::fs::File::create(self.path("stderr")).expect("a file"));
        Running::spawn(command)
    }

    /// Inserts a row, in the JSON of DynamoDB, into the embedded store, as another client could.
    pub fn insert_row(&self, name: &str, row: &str) {
        self.run(&["ls"]).exits_with(0);
        let database = rusqlite::Connection::open(self.path("locks.db")).expect("the database exists");
        database.execute("INSERT INTO lock VALUES (?1, ?2)", [name, row]).expect("the row is inserted");
    }

    /// Returns the token in the row of the lock.
    pub fn token(&self, name: &str) -> String {
        let shown = self.run(&["show", name, "--json"]).exits_with(0).stdout;
        serde_json::from_str::<serde_json::Value>(&shown).expect("JSON")["token"].to_string()
    }

    /// Revokes the current acquisition of lock `a`.
    pub fn revoke(&self) {
        self.run(&["revoke", "a", "--token", &self.token("a"), "--yes"]).exits_with(0);
    }

    /// Starts the binary and waits until its command has created the file `ready`.
    pub fn start(&self, arguments: &[&str]) -> Running {
        self.start_command(self.command(arguments))
    }

    /// Like [`start`](Self::start), in a process group of its own like a job of a shell. Only such a run handles
    /// SIGTSTP.
    pub fn start_job(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        command.process_group(0);
        self.start_command(command)
    }

    /// Starts a command and waits until it has created the file `ready`.
    pub fn start_command(&self, command: Command) -> Running {
        let running = Running::spawn(command);
        wait_until("the command is ready", || self.path("ready").exists());
        running
    }

    /// Starts a run of lock `a` with the command [`STUBBORN`]. Returns it and the PID of the command.
    pub fn start_stubborn(&self, flags: &[&str]) -> (Running, i32) {
        let running = self.start(&[&["run"], flags, &["a", "-c", STUBBORN]].concat());
        (running, self.pid("ready"))
    }
}

/// Returns whether a variable describes a run, an AWS configuration, a CI job or a pod around this test.
fn is_of_surroundings(variable: &str) -> bool {
    let prefixes = ["AWS_", "GITHUB_", "GITLAB_", "CI_", "BUILD", "CIRCLE_", "POD_", "ECS_", "RUST_LOG"];
    let of_run = variable.starts_with("DYNAMO_LOCK_") && variable != ENDPOINT;
    of_run || prefixes.iter().any(|prefix| variable.starts_with(prefix))
}

/// Result of a program that has ended.
#[derive(Debug)]
pub struct Finished {
    /// The exit code. `None` if a signal ended the program.
    pub code: Option<i32>,
    /// The signal that ended the program.
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    pub fn from_output(output: Output) -> Self {
        Self {
            code: output.status.code(),
            signal: output.status.signal(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Asserts the exit code as a shell shows it: 128 + N if signal N ended the program.
    #[track_caller]
    pub fn exits_with(self, code: i32) -> Self {
        assert_eq!(self.code.or(self.signal.map(|signal| 128 + signal)), Some(code), "{self:?}");
        self
    }

    /// Asserts that standard error contains this text.
    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "{text:?} is missing in {self:?}");
        self
    }

    /// Asserts that standard error is one line that contains this text.
    #[track_caller]
    pub fn prints_line(self, text: &str) -> Self {
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        self.prints(text)
    }
}

/// A running program. It is killed when this value is dropped.
pub struct Running(Option<Child>);

impl Running {
    pub fn spawn(mut command: Command) -> Self {
        Self(Some(command.spawn().expect("the program starts")))
    }

    pub fn from_child(child: Child) -> Self {
        Self(Some(child))
    }

    pub fn pid(&self) -> i32 {
        self.0.as_ref().map_or(0, |child| child.id() as i32)
    }

    pub fn signal(&self, signal: &str) {
        send(signal, self.pid());
    }

    pub fn is_running(&mut self) -> bool {
        self.0.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Kills the program and reaps it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _already_ended = child.kill();
            let _already_ended = child.wait();
        }
    }

    /// Waits for the end of the program, at most [`TIMEOUT`].
    pub fn wait(mut self) -> Finished {
        let child = self.0.as_mut().expect("`wait` is called once");
        // The output is read meanwhile, because a full pipe would stop the program.
        let (stdout, stderr) = (read_on_thread(child.stdout.take()), read_on_thread(child.stderr.take()));
        wait_until("the program ends", || !self.is_running());
        // A process that it started may still have its output open.
        wait_until("its output ends", || stdout.is_finished() && stderr.is_finished());
        let status = self.0.take().map(|mut child| child.wait()).expect("it is there").expect("it has ended");
        let [stdout, stderr] = [stdout, stderr].map(|text| text.join().expect("its output can be read"));
        Finished::from_output(Output { status, stdout, stderr })
    }
}

fn read_on_thread(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        pipe.map(|mut pipe| pipe.read_to_end(&mut text).expect("its output can be read"));
        text
    })
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a signal, for example `TERM`, to a process, or to a process group if `pid` is negative.
#[track_caller]
pub fn send(signal: &str, pid: impl Display) {
    assert!(try_send(signal, &pid), "cannot send SIG{signal} to {pid}");
}

/// Like [`send`], but returns `false` if that fails, for example because the process has ended.
pub fn try_send(signal: &str, pid: impl Display) -> bool {
    let mut kill = Command::new("kill");
    kill.args(["-s", signal, "--", &pid.to_string()]).stderr(Stdio::null());
    kill.status().is_ok_and(|status| status.success())
}

/// Waits until `condition` is true.
///
/// # Panics
/// After [`TIMEOUT`].
#[track_caller]
pub fn wait_until(description: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < TIMEOUT, "timed out while waiting until {description}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Returns the state of a process as the kernel reports it: `R`, `S`, or `T` if it is stopped. Returns `None` for a
/// zombie or if there is no such process.
pub fn state(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next().filter(|state| !matches!(state, 'Z' | 'X'))
}

/// Returns whether a process is stopped. A shell that has used `vfork` is in state `D` until its child has called
/// `exec`, therefore it counts as stopped if that child is.
pub fn is_stopped(pid: i32) -> bool {
    match state(pid) {
        Some('D') => children(pid).split_whitespace().filter_map(|child| child.parse().ok()).any(is_stopped),
        state => state == Some('T'),
    }
}

/// Returns the PIDs of the children of a process, separated by spaces.
pub fn children(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default()
}

/// Returns the parent of a running process.
pub fn parent(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process exists");
    let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)).and_then(|text| text.parse().ok());
    parent.expect("the format of the kernel")
}

/// Prints the line that marks a test as skipped. Not `println!`, because the test harness captures that.
pub fn report_skipped(test: &str, reason: &str) {
    let _ = writeln!(std::io::stdout(), "SKIPPED: {test}: {reason}");
}

/// Returns the URL of a table at a DynamoDB server.
pub fn server_table_url(table: &str, endpoint: &str) -> String {
    format!("dynamodb://{table}?region=us-east-1&endpoint={endpoint}&service_clock=on")
}

/// Returns the URL of the DynamoDB server. Without one, reports the test as skipped and returns `None`.
pub fn server_url(test: &str) -> Option<String> {
    let url = std::env::var(ENDPOINT).ok();
    if url.is_none() {
        report_skipped(test, &format!("{ENDPOINT} names no server; `cargo xtask test` starts one"));
    }
    url
}
