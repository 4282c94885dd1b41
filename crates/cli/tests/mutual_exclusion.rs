//! Eight processes increment a number in a file under the lock, and no increment is lost.
//!
//! This is a separate test binary because it loads the machine. The test over HTTP needs a DynamoDB server.
#![allow(clippy::disallowed_methods)] // the pauses between increments are part of the test

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::{thread, time::Duration};

use support::{Fixture, Running, server_table_url, server_url, wait_until};

/// Threads that each run one process after the other.
const DRIVERS: usize = 8;
/// Increments of each driver.
const ROUNDS: usize = 25;

/// Returns a script that reads the number, pauses, writes its successor, and logs the driver and the token.
fn increment(driver: usize) -> String {
    format!("n=$(cat f); sleep 0.01; echo $((n+1)) > f; echo {driver} ${{DYNAMO_LOCK_TOKEN:-0}} >> log")
}

/// Runs all rounds of all drivers.
fn drive(fixture: &Fixture, command: impl Fn(usize) -> std::process::Command + Sync) {
    std::fs::write(fixture.path("f"), "0\n").expect("a file");
    thread::scope(|scope| {
        for driver in 0..DRIVERS {
            let command = &command;
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    Running::spawn(command(driver)).wait().exits_with(0);
                    // Without the pause, one driver could hold the lock several times in a row.
                    thread::sleep(Duration::from_millis(20));
                }
            });
        }
    });
}

fn count(fixture: &Fixture) -> usize {
    fixture.read("f").trim().parse().unwrap_or(0)
}

/// Returns the logged pairs of driver and token, in the order of the critical sections.
fn log(fixture: &Fixture) -> Vec<(usize, u64)> {
    let text = fixture.read("log");
    text.lines().map(parse_pair).collect()
}

/// Parses two numbers.
fn parse_pair(line: &str) -> (usize, u64) {
    let pair = line.trim().split_once(' ').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    pair.unwrap_or_else(|| panic!("not two numbers: {line:?}"))
}

fn tokens_increase(log: &[(usize, u64)]) -> bool {
    log.windows(2).all(|pair| pair[0].1 < pair[1].1)
}

/// Asserts that no increment is lost, and that tokens increase.
fn assert_no_increment_lost(fixture: &Fixture) {
    drive(fixture, |driver| fixture.command(&["run", "counter", "-c", &increment(driver)]));
    let log = log(fixture);
    let handoffs = log.windows(2).filter(|pair| pair[0].0 != pair[1].0).count();
    println!("{} increments, {handoffs} handoffs between different processes", count(fixture));
    assert_eq!(count(fixture), DRIVERS * ROUNDS);
    assert_eq!(log.len(), DRIVERS * ROUNDS);
    assert!(tokens_increase(&log), "tokens do not increase: {log:?}");
    assert!(handoffs >= 100, "only {handoffs} handoffs: too few for a test of mutual exclusion");
}

#[test]
fn eight_processes_under_lock_lose_no_increment() {
    assert_no_increment_lost(&Fixture::new());
}

#[test]
fn eight_processes_on_dynamodb_lose_no_increment() {
    let Some(endpoint) = server_url("eight_processes_on_dynamodb_lose_no_increment") else { return };
    let table = format!("counter-{}", std::process::id());
    let fixture = Fixture::with_store(&server_table_url(&table, &endpoint));
    fixture.run(&["table", "create"]).exits_with(0);
    fixture.run(&["table", "check"]);
    assert_no_increment_lost(&fixture);
    fixture.run(&["table", "delete"]).exits_with(64);
    fixture.run(&["table", "delete", "--yes"]).exits_with(0);
    fixture.run(&["table", "check"]).exits_with(78);
}

/// Without a lock, increments are lost. The test would otherwise prove nothing.
#[test]
fn control_eight_processes_without_lock_lose_increments() {
    let fixture = Fixture::new();
    drive(&fixture, |driver| fixture.command_of("sh", &["-c", &increment(driver)]));
    assert!(count(&fixture) < DRIVERS * ROUNDS, "no increment was lost, so the other tests prove nothing");
}

/// Holders that are killed per lock.
const KILLS: usize = 15;

/// Runs three drivers that increment and report the value that they wrote, and a fourth whose holders are killed within
/// their critical section. Asserts that no reported increment is lost.
fn assert_kills_lose_no_increment(name: &str) {
    let fixture = Fixture::new();
    std::fs::write(fixture.path("f"), "0\n").expect("a file");
    let (kills, increments) = (AtomicUsize::new(0), AtomicUsize::new(0));
    // The file is replaced atomically. The script prints the value and the token at its end.
    let work = "n=$(cat f); sleep 0.05; echo $((n+1)) > f.$$; mv f.$$ f; echo $((n+1)) $DYNAMO_LOCK_TOKEN";
    // If this script outlived the kill and its lease, it would overwrite the values of its successors with an old one.
    let doomed = "n=$(cat f); touch inside; sleep 3; echo $((n+1)) > f";
    let reports = thread::scope(|scope| {
        let drivers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut reports = Vec::new();
                    while kills.load(Ordering::SeqCst) < KILLS {
                        // No run may fail, because crashes of others are no errors.
                        let run = Running::spawn(fixture.command(&["run", "--lease", "2", name, "-c", work]));
                        reports.push(parse_pair(&run.wait().exits_with(0).stdout));
                        increments.fetch_add(1, Ordering::SeqCst);
                        thread::sleep(Duration::from_millis(100));
                    }
                    reports
                })
            })
            .collect();
        while kills.load(Ordering::SeqCst) < KILLS {
            let holder = Running::spawn(fixture.command(&["run", "--lease", "2", name, "-c", doomed]));
            wait_until("the holder is in its critical section", || fixture.path("inside").exists());
            holder.signal("KILL");
            holder.wait().exits_with(137);
            std::fs::remove_file(fixture.path("inside")).expect("it exists");
            // Let another driver increment before the next kill, because the next doomed holder could otherwise
            // always be first.
            let before = increments.load(Ordering::SeqCst);
            wait_until("another driver increments", || increments.load(Ordering::SeqCst) > before);
            kills.fetch_add(1, Ordering::SeqCst);
        }
        drivers.into_iter().flat_map(|driver| driver.join().expect("a driver")).collect::<Vec<_>>()
    });
    let mut by_token = reports.clone();
    by_token.sort_by_key(|(_, token)| *token);
    println!("{name}: {KILLS} holders killed, {} increments reported", reports.len());
    assert!(reports.len() >= KILLS, "too few increments between the kills: {reports:?}");
    // Values increase strictly with tokens, so no value was written twice or derived from a replaced one.
    assert!(by_token.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1), "{by_token:?}");
    assert_eq!(count(&fixture), reports.len(), "the number of reported increments differs from the file");
}

#[test]
fn killed_holders_lose_no_increment_of_others() {
    assert_kills_lose_no_increment("first");
}

#[test]
fn killed_holders_beside_other_lock_lose_no_increment() {
    assert_kills_lose_no_increment("second");
}
