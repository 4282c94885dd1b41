//! Number of requests of each command, counted by a proxy. Each command is a fresh process.

#[path = "support/proxy.rs"]
mod proxy;

use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use proxy::Proxy;

/// A table of the test's own behind a counting proxy.
struct Wire {
    proxy: Proxy,
    table: String,
}

impl Wire {
    /// Returns `None` and reports that the test is skipped if no server is configured.
    fn new(test: &str) -> Option<Self> {
        let Ok(endpoint) = std::env::var("DYNAMO_LOCK_TEST_ENDPOINT") else {
            let why = "DYNAMO_LOCK_TEST_ENDPOINT names no server; `cargo xtask test` starts one";
            let _ = writeln!(std::io::stdout(), "SKIPPED: {test}: {why}");
            return None;
        };
        let wire = Self { proxy: Proxy::to(&endpoint), table: format!("{test}-{}", std::process::id()) };
        wire.ok(&["table", "create"]);
        wire.proxy.take();
        Some(wire)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dynamo-lock"));
        let region = std::env::var("AWS_REGION").unwrap_or_else(|_| "us-east-1".to_owned());
        let store = format!("dynamodb://{}?region={region}&endpoint={}&service_clock=on", self.table, self.proxy.url());
        command.env("DYNAMO_LOCK_STORE", store).args(arguments).stdin(Stdio::null());
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it runs")
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Starts a holder and waits until its command runs.
    fn holder(&self, lease: &str) -> Child {
        let mut command = self.command(&["run", "--lease", lease, "demo", "--", "sh", "-c", "echo in; exec sleep 600"]);
        let mut holder = command.stdout(Stdio::piped()).spawn().expect("it runs");
        let mut contents = [0; 3];
        std::io::Read::read_exact(holder.stdout.as_mut().expect("piped"), &mut contents).expect("it is in");
        holder
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.output(&["table", "delete", "--yes"]);
    }
}

fn kill(mut holder: Child) {
    holder.kill().expect("it lives");
    holder.wait().expect("it is gone");
}

#[allow(clippy::disallowed_methods)] // the server's clock is real, so the test waits for real
fn pause(length: Duration) {
    std::thread::sleep(length);
}

#[test]
fn uncontended_run_is_two_writes_and_no_read() {
    let Some(wire) = Wire::new("uncontended_run_is_two_writes_and_no_read") else { return };
    wire.ok(&["run", "demo", "--", "true"]);
    assert_eq!(wire.proxy.take(), ["UpdateItem", "UpdateItem"]);
    // The same holds for the row that exists now.
    wire.ok(&["run", "demo", "--", "true"]);
    assert_eq!(wire.proxy.take(), ["UpdateItem", "UpdateItem"]);
}

#[test]
fn contended_try_is_one_request() {
    let Some(wire) = Wire::new("contended_try_is_one_request") else { return };
    // The lease is so long that no renewal comes in between. The first renewal comes after half a second and adds the
    // service timestamp.
    let holder = wire.holder("60s");
    pause(Duration::from_secs(2));
    wire.proxy.take();
    let output = wire.output(&["run", "-n", "demo", "--", "true"]);
    assert_eq!(output.status.code(), Some(75));
    assert_eq!(wire.proxy.take(), ["UpdateItem"]);
    kill(holder);
}

#[test]
fn expired_lock_is_acquired_in_three_requests() {
    let Some(wire) = Wire::new("expired_lock_is_acquired_in_three_requests") else { return };
    let holder = wire.holder("2s");
    // Waits for the first renewal, which comes after half a second and adds the service timestamp.
    let mut shown = String::new();
    for _ in 0..100 {
        pause(Duration::from_millis(100));
        if wire.proxy.take().contains(&"UpdateItem".to_owned()) {
            shown.push('.');
        }
        if shown.len() >= 2 {
            break;
        }
    }
    assert!(shown.len() >= 2, "it renews");
    kill(holder);
    pause(Duration::from_secs(17)); // 15 s after the lease's end
    wire.proxy.take();
    // With -n it does not wait for any clock.
    wire.ok(&["run", "-n", "demo", "--", "true"]);
    let requests = wire.proxy.take();
    // The last request is the release.
    let acquired = &requests[..requests.len() - 1];
    assert!(acquired.len() <= 3, "{acquired:?}");
    let _ = writeln!(std::io::stdout(), "an expired lock was acquired in {} requests: {acquired:?}", acquired.len());
}

#[test]
fn lock_of_holder_killed_at_once_is_free_after_lease() {
    let Some(wire) = Wire::new("lock_of_holder_killed_at_once_is_free_after_lease") else { return };
    // The holder is killed before its first renewal, so its row has no service timestamp.
    let holder = wire.holder("3s");
    kill(holder);
    let row = wire.ok(&["show", "demo", "--json"]);
    wire.proxy.take();
    // The waiter polls at most every twentieth of its own lease, and waits for the lease in the row, which is three
    // seconds.
    wire.ok(&["run", "-w", "60", "--lease", "3s", "demo", "--", "true"]);
    let requests = wire.proxy.take();
    let reads = requests.iter().filter(|operation| *operation == "GetItem").count();
    let writes = requests.iter().filter(|operation| *operation == "UpdateItem").count();
    assert_eq!(writes, 3, "a first try, the takeover and the release: {requests:?} of {row}");
    assert!(reads >= 3000 / 150 / 2, "it watched: {requests:?}");
    let _ = writeln!(std::io::stdout(), "a lock of 3 s, dead and unstamped, was watched with {reads} reads");
}
