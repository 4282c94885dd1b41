//! The number of requests of each command, counted by a proxy. Needs a DynamoDB server.

use std::process::{Child, Command, Output, Stdio};
use std::{io::Write, time::Duration};

use crate::support::proxy::Proxy;
use crate::support::{PROGRAM, server_url};

/// A table for one test, behind a proxy that records the operations. Each command is a process of its own.
struct TestTable {
    proxy: Proxy,
    name: String,
}

impl TestTable {
    /// Creates the table. Without a server, reports the test as skipped and returns `None`.
    fn new(test: &str) -> Option<Self> {
        let endpoint = server_url(test)?;
        let table = Self { proxy: Proxy::to(&endpoint), name: format!("{test}-{}", std::process::id()) };
        table.succeed(&["table", "create"]);
        table.take();
        Some(table)
    }

    /// Returns the operations since the last call, in order.
    fn take(&self) -> Vec<String> {
        self.proxy.take_operations()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        let region = std::env::var("AWS_REGION").unwrap_or_else(|_| "us-east-1".to_owned());
        let store = format!("dynamodb://{}?region={region}&endpoint={}&service_clock=on", self.name, self.proxy.url());
        command.env("DYNAMO_LOCK_STORE", store).args(arguments).stdin(Stdio::null());
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it starts")
    }

    /// Returns the standard output. Asserts that the command succeeds.
    fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Starts a run that holds the lock, and waits until its command is running.
    fn start_holder(&self, lease: &str) -> Child {
        let mut command = self.command(&["run", "--lease", lease, "demo", "--", "sh", "-c", "echo in; exec sleep 600"]);
        let mut holder = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut output = [0; 3];
        std::io::Read::read_exact(holder.stdout.as_mut().expect("piped"), &mut output).expect("its command is running");
        holder
    }
}

impl Drop for TestTable {
    fn drop(&mut self) {
        let _ = self.output(&["table", "delete", "--yes"]);
    }
}

fn kill(mut holder: Child) {
    holder.kill().expect("it is running");
    holder.wait().expect("it has ended");
}

#[allow(clippy::disallowed_methods)] // the server's clock is real, so the test waits for real
fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

#[test]
fn uncontended_run_is_two_writes_and_no_read() {
    let Some(table) = TestTable::new("uncontended_run_is_two_writes_and_no_read") else { return };
    table.succeed(&["run", "demo", "--", "true"]);
    assert_eq!(table.take(), ["UpdateItem", "UpdateItem"]);
    // The same if the row already exists.
    table.succeed(&["run", "demo", "--", "true"]);
    assert_eq!(table.take(), ["UpdateItem", "UpdateItem"]);
}

#[test]
fn contended_try_is_one_request() {
    let Some(table) = TestTable::new("contended_try_is_one_request") else { return };
    // The first renewal comes after half a second and adds the service timestamp. The lease is long, so that no other
    // renewal is counted.
    let holder = table.start_holder("60s");
    pause(Duration::from_secs(2));
    table.take();
    let output = table.output(&["run", "-n", "demo", "--", "true"]);
    assert_eq!(output.status.code(), Some(75));
    assert_eq!(table.take(), ["UpdateItem"]);
    kill(holder);
}

#[test]
fn expired_lock_is_acquired_in_three_requests() {
    let Some(table) = TestTable::new("expired_lock_is_acquired_in_three_requests") else { return };
    let holder = table.start_holder("2s");
    // Wait for the renewal that adds the service timestamp, half a second after the acquisition.
    let mut renewals = 0;
    for _ in 0..100 {
        pause(Duration::from_millis(100));
        if table.take().contains(&"UpdateItem".to_owned()) {
            renewals += 1;
        }
        if renewals >= 2 {
            break;
        }
    }
    assert!(renewals >= 2, "the holder renews its lease");
    kill(holder);
    pause(Duration::from_secs(17)); // 15 s after the end of the lease
    table.take();
    // With -n the run does not wait, so only the service timestamp can prove that the lease has expired.
    table.succeed(&["run", "-n", "demo", "--", "true"]);
    let requests = table.take();
    // The last request is the release.
    let acquired = &requests[..requests.len() - 1];
    assert!(acquired.len() <= 3, "{acquired:?}");
    let _ = writeln!(std::io::stdout(), "an expired lock was acquired in {} requests: {acquired:?}", acquired.len());
}

#[test]
fn lock_of_holder_killed_at_once_is_free_after_lease() {
    let Some(table) = TestTable::new("lock_of_holder_killed_at_once_is_free_after_lease") else { return };
    // Killed before its first renewal, the holder leaves a row without a service timestamp.
    let holder = table.start_holder("3s");
    kill(holder);
    let row = table.succeed(&["show", "demo", "--json"]);
    table.take();
    // The waiter polls at most every lease/20 of its own, during the lease in the row, 3 s.
    table.succeed(&["run", "-w", "60", "--lease", "3s", "demo", "--", "true"]);
    let requests = table.take();
    let reads = requests.iter().filter(|operation| *operation == "GetItem").count();
    let writes = requests.iter().filter(|operation| *operation == "UpdateItem").count();
    assert_eq!(writes, 3, "attempt, takeover and release: {requests:?} of {row}");
    assert!(reads >= 3000 / 150 / 2, "too few reads while waiting: {requests:?}");
    let _ = writeln!(std::io::stdout(), "a lease of 3 s without a service timestamp was observed with {reads} reads");
}
