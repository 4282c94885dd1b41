//! The program under test, with a store of its own in a temporary directory.
#![allow(dead_code, clippy::disallowed_methods)] // each test file uses its part; waits here are bounded by real time

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longer than any step takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(120);

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_dynamo-lock");

pub struct Fixture {
    directory: tempfile::TempDir,
    store: String,
}

impl Fixture {
    /// Creates a fixture with an embedded store.
    pub fn new() -> Self {
        Self::within_directory(tempfile::tempdir().expect("a temporary directory"))
    }

    /// Creates a fixture with an embedded store below this directory, if it exists.
    pub fn below(directory: &str) -> Self {
        tempfile::tempdir_in(directory).map_or_else(|_| Self::new(), Self::within_directory)
    }

    fn within_directory(directory: tempfile::TempDir) -> Self {
        let path = directory.path().canonicalize().expect("it is there");
        Self { store: format!("sqlite://{}/locks.db", path.display()), directory }
    }

    /// Creates a fixture with another store.
    pub fn with_store(store: &str) -> Self {
        Self { store: store.to_owned(), ..Self::new() }
    }

    pub fn store(&self) -> &str {
        &self.store
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    pub fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).unwrap_or_default()
    }

    /// Returns a command for the program with these arguments, in the fixture's directory, without a terminal and without
    /// variables of an outer run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(PROGRAM, arguments)
    }

    /// Returns a command for any program in the same environment.
    pub fn command_of(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.directory.path());
        for key in ["NAME", "TOKEN", "OWNER", "RUNS"] {
            command.env_remove(format!("DYNAMO_LOCK_{key}"));
        }
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("AWS_")) {
            command.env_remove(key);
        }
        command.env("DYNAMO_LOCK_STORE", &self.store).env("PROGRAM", PROGRAM).env("USER", "tester");
        command.env("SHELL", "/bin/sh").env("HOME", self.directory.path()).env_remove("XDG_STATE_HOME");
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Finished {
        Finished::of(self.command(arguments).output().expect("the program runs"))
    }

    /// Inserts a row into the embedded store as a foreign program might have, as DynamoDB JSON.
    pub fn put(&self, name: &str, row: &str) {
        self.run(&["ls"]).ends_with(0);
        let database = rusqlite::Connection::open(self.path("locks.db")).expect("it is there");
        database.execute("INSERT INTO lock VALUES (?1, ?2)", [name, row]).expect("it is written");
    }

    /// Starts the program and waits until the child has created the file `ready`.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let running = Running(Some(self.command(arguments).spawn().expect("the program runs")));
        until("the child is ready", || self.path("ready").exists());
        running
    }
}

/// Returns a table whose server answers every request with this status and body, until the test ends.
pub fn answering(status: &'static str, body: &str) -> Fixture {
    listening(status, body).0
}

/// Bodies of requests.
pub type RequestBodies = Arc<Mutex<Vec<String>>>;

/// Like [`answering`], and also returns the bodies of the requests.
pub fn listening(status: &'static str, body: &str) -> (Fixture, RequestBodies) {
    let heard = RequestBodies::default();
    let all = heard.clone();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let body = body.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut from = BufReader::new(&stream);
            let (mut line, mut length) = (String::new(), 0);
            while from.read_line(&mut line).is_ok_and(|read| read > 2) {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap_or(0);
                }
                line.clear();
            }
            let mut request = vec![0; length];
            let _the_clients_to_notice = from.read_exact(&mut request);
            all.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
            let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/x-amz-json-1.0\r\nConnection: close");
            let _ = write!(&stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    (Fixture::with_store(&format!("dynamodb://Lock?region=us-east-1&endpoint=http://127.0.0.1:{port}")), heard)
}

/// Returns the body of an error as DynamoDB sends it.
pub fn error(code: &str, message: &str) -> String {
    serde_json::json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": message }).to_string()
}

/// Result of a finished program.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; `None` if a signal ended the program itself.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }
}

/// A running program. It is killed if the test ends first.
pub struct Running(Option<Child>);

impl Running {
    pub fn of(mut command: Command) -> Self {
        Self(Some(command.spawn().expect("the program runs")))
    }

    pub fn pid(&self) -> i32 {
        self.0.as_ref().map_or(0, |child| child.id() as i32)
    }

    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args(["-s", signal, &self.pid().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "cannot send {signal}");
    }

    pub fn is_running(&mut self) -> bool {
        self.0.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Waits for its end, at most two minutes.
    pub fn end(mut self) -> Finished {
        until("the program ends", || !self.is_running());
        let child = self.0.take().expect("it was not taken");
        Finished::of(child.wait_with_output().expect("its output"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _gone = child.kill();
            let _gone = child.wait();
        }
    }
}

/// Waits until the condition holds, at most two minutes.
#[track_caller]
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < TIMEOUT, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Returns the state of a process as the kernel reports it: `R`, `S`, `T` if stopped; `None` if it has ended, even as a
/// zombie.
pub fn state(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next().filter(|state| !matches!(state, 'Z' | 'X'))
}

/// Returns whether the process is stopped. A shell that has just forked is shown as waiting for the disk (`D`) while its
/// child is stopped before it executes the program.
pub fn is_stopped(pid: i32) -> bool {
    let children = || std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    match state(pid) {
        Some('D') => children().split_whitespace().filter_map(|child| child.parse().ok()).any(is_stopped),
        state => state == Some('T'),
    }
}

/// Returns the parent of a running process.
pub fn parent(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)).and_then(|text| text.parse().ok());
    parent.expect("the kernel's format")
}
