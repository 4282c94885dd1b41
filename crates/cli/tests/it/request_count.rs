//! The number of requests of each command, counted by a proxy. Needs a DynamoDB server.

use std::{io::Write, time::Duration};

use crate::support::proxy::Proxy;
use crate::support::{Fixture, Running, server_table_url, server_url, wait_until};

/// A table for one test, behind a proxy that records the operations. Each command is a process of its own.
struct TestTable {
    proxy: Proxy,
    fixture: Fixture,
}

impl TestTable {
    /// Creates the table. Without a server, reports the test as skipped and returns `None`.
    fn new(test: &str) -> Option<Self> {
        let proxy = Proxy::to(&server_url(test)?);
        let name = format!("{test}-{}", std::process::id());
        let table = Self { fixture: Fixture::with_store(&server_table_url(&name, &proxy.url())), proxy };
        table.succeed(&["table", "create"]);
        table.take();
        Some(table)
    }

    /// Returns the operations since the last call, in order.
    fn take(&self) -> Vec<String> {
        self.proxy.take_operations()
    }

    /// Returns the standard output. Asserts that the command succeeds.
    fn succeed(&self, arguments: &[&str]) -> String {
        self.fixture.run(arguments).exits_with(0).stdout
    }

    /// Starts a run that holds the lock, and waits until its command is running.
    fn start_holder(&self, lease: &str) -> Running {
        self.fixture.start(&["run", "--lease", lease, "demo", "-c", "touch ready; exec sleep 600"])
    }
}

impl Drop for TestTable {
    fn drop(&mut self) {
        let _ = self.fixture.run(&["table", "delete", "--yes"]);
    }
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

/// A drill of a loss sends the requests of a run that takes as long.
#[test]
fn drill_sends_requests_of_ordinary_run() {
    let Some(table) = TestTable::new("drill_sends_requests_of_ordinary_run") else { return };
    for drill in ["lost@2s", "revoked@2s"] {
        table.succeed(&["run", "--lease", "60s", "demo", "--", "sleep", "2"]);
        let ordinary = table.take();
        let finished = table.fixture.run(&["run", "--lease", "60s", "--drill", drill, "demo", "--", "sleep", "600"]);
        finished.exits_with(76);
        assert_eq!(table.take(), ordinary, "{drill}");
    }
}

#[test]
fn several_locks_are_two_writes_each() {
    let Some(table) = TestTable::new("several_locks_are_two_writes_each") else { return };
    table.succeed(&["run", "--also", "two", "--also", "three", "one", "--", "true"]);
    assert_eq!(table.take(), ["UpdateItem"; 6]);
}

#[test]
fn once_after_success_is_one_read() {
    let Some(table) = TestTable::new("once_after_success_is_one_read") else { return };
    table.succeed(&["once", "job", "--", "true"]);
    assert_eq!(table.take(), ["GetItem", "UpdateItem", "UpdateItem"]);
    table.succeed(&["once", "job", "--", "false"]);
    assert_eq!(table.take(), ["GetItem"]);
}

#[test]
fn contended_try_is_one_request() {
    let Some(table) = TestTable::new("contended_try_is_one_request") else { return };
    // The first renewal comes after half a second and adds the service timestamp. The lease is long, so that no other
    // renewal is counted.
    let holder = table.start_holder("60s");
    pause(Duration::from_secs(2));
    table.take();
    table.fixture.run(&["run", "-n", "demo", "--", "true"]).exits_with(75);
    assert_eq!(table.take(), ["UpdateItem"]);
    drop(holder);
}

#[test]
fn expired_lock_is_acquired_in_three_requests() {
    let Some(table) = TestTable::new("expired_lock_is_acquired_in_three_requests") else { return };
    let holder = table.start_holder("2s");
    // Wait for the renewal that adds the service timestamp, half a second after the acquisition.
    let mut renewals = 0;
    wait_until("the holder renews its lease", || {
        renewals += table.take().iter().filter(|operation| *operation == "UpdateItem").count();
        renewals >= 2
    });
    drop(holder);
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
    drop(table.start_holder("3s"));
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
