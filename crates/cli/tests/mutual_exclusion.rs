//! Mutual exclusion: eight processes increment a counter in a file, each by reading, sleeping and writing.
#![allow(clippy::disallowed_methods)] // pauses between turns are part of the scenario

mod support;

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use support::{Finished, Fixture, Running, until};

const DRIVERS: usize = 8;
const ROUNDS: usize = 25;
/// Variable with the URL of a DynamoDB server, for the same tests over HTTP.
const ENDPOINT: &str = "DYNAMO_LOCK_TEST_ENDPOINT";

/// Returns a script that reads, sleeps and writes, and logs the driver and its token.
fn increment(driver: usize) -> String {
    format!("n=$(cat f); sleep 0.01; echo $((n+1)) > f; echo {driver} ${{DYNAMO_LOCK_TOKEN:-0}} >> log")
}

/// Runs eight drivers in parallel. Each runs its rounds one after another.
fn drive(fixture: &Fixture, command: impl Fn(usize) -> std::process::Command + Sync) {
    std::fs::write(fixture.path("f"), "0\n").expect("a file");
    thread::scope(|scope| {
        for driver in 0..DRIVERS {
            let command = &command;
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    Running::of(command(driver)).end().ends_with(0);
                    // Gives the other drivers a turn.
                    thread::sleep(Duration::from_millis(20));
                }
            });
        }
    });
}

fn count(fixture: &Fixture) -> usize {
    fixture.read("f").trim().parse().unwrap_or(0)
}

/// Returns (driver, token) in the order of the critical sections.
fn log(fixture: &Fixture) -> Vec<(usize, u64)> {
    let text = fixture.read("log");
    let pair = |line: &str| line.split_once(' ').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    text.lines().map(|line| pair(line).unwrap_or_else(|| panic!("a torn line: {line:?}"))).collect()
}

fn tokens_increase(log: &[(usize, u64)]) -> bool {
    log.windows(2).all(|pair| pair[0].1 < pair[1].1)
}

fn assert_no_increment_lost(fixture: &Fixture) {
    drive(fixture, |driver| fixture.command(&["run", "counter", "-c", &increment(driver)]));
    let log = log(fixture);
    let handoffs = log.windows(2).filter(|pair| pair[0].0 != pair[1].0).count();
    println!("{} increments, {handoffs} handoffs between different processes", count(fixture));
    assert_eq!(count(fixture), DRIVERS * ROUNDS);
    assert_eq!(log.len(), DRIVERS * ROUNDS);
    assert!(tokens_increase(&log), "tokens do not increase: {log:?}");
    assert!(handoffs >= 100, "only {handoffs} handoffs: this run tried too little");
}

#[test]
fn eight_processes_under_lock_lose_no_increment() {
    assert_no_increment_lost(&Fixture::new());
}

#[test]
fn eight_processes_on_dynamodb_lose_no_increment() {
    let Ok(endpoint) = std::env::var(ENDPOINT) else {
        let test = "eight_processes_on_dynamodb_lose_no_increment";
        let _ = writeln!(std::io::stdout(), "SKIPPED: {test}: {ENDPOINT} names no DynamoDB server");
        return;
    };
    let table = format!("counter-{}", std::process::id());
    let store = format!("dynamodb://{table}?region=us-east-1&endpoint={endpoint}&service_clock=on");
    let fixture = Fixture::with_store(&store);
    fixture.run(&["table", "create"]).ends_with(0);
    fixture.run(&["table", "check"]);
    assert_no_increment_lost(&fixture);
    fixture.run(&["table", "delete"]).ends_with(64);
    fixture.run(&["table", "delete", "--yes"]).ends_with(0);
    fixture.run(&["table", "check"]).ends_with(78);
}

/// Control: without the lock, increments are lost.
#[test]
fn control_eight_processes_without_lock_lose_increments() {
    let fixture = Fixture::new();
    drive(&fixture, |driver| fixture.command_of("sh", &["-c", &increment(driver)]));
    assert!(count(&fixture) < DRIVERS * ROUNDS, "no increment was lost: the tests above show nothing");
}

/// Number of kills per lock. The two locks together make at least thirty.
const KILLS: usize = 15;

/// Three drivers increment and report what they wrote. A fourth is killed in its critical section again and again.
fn survive_kills(name: &str) {
    let fixture = Fixture::new();
    std::fs::write(fixture.path("f"), "0\n").expect("a file");
    let (kills, increments) = (AtomicUsize::new(0), AtomicUsize::new(0));
    // The file is replaced as a whole, so that a killed holder has either written or not. The value and the token are
    // printed last.
    let work = "n=$(cat f); sleep 0.05; echo $((n+1)) > f.$$; mv f.$$ f; echo $((n+1)) $DYNAMO_LOCK_TOKEN";
    // This script would overwrite the values of its successors if it outlived the kill and its lease.
    let doomed = "n=$(cat f); touch inside; sleep 3; echo $((n+1)) > f";
    let reported = thread::scope(|scope| {
        let drivers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut reported = Vec::new();
                    while kills.load(Ordering::SeqCst) < KILLS {
                        let ran = Running::of(fixture.command(&["run", "--lease", "2", name, "-c", work])).end();
                        reported.push(success(&ran));
                        increments.fetch_add(1, Ordering::SeqCst);
                        thread::sleep(Duration::from_millis(100));
                    }
                    reported
                })
            })
            .collect();
        while kills.load(Ordering::SeqCst) < KILLS {
            let holder = Running::of(fixture.command(&["run", "--lease", "2", name, "-c", doomed]));
            until("the holder is inside", || fixture.path("inside").exists());
            holder.signal("KILL");
            assert_eq!(holder.end().code, None);
            std::fs::remove_file(fixture.path("inside")).expect("it is there");
            // Waits for one of the other drivers, because the next victim might acquire the lock first each time.
            let before = increments.load(Ordering::SeqCst);
            until("the others go on", || increments.load(Ordering::SeqCst) > before);
            kills.fetch_add(1, Ordering::SeqCst);
        }
        drivers.into_iter().flat_map(|driver| driver.join().expect("a driver")).collect::<Vec<_>>()
    });
    let mut by_token = reported.clone();
    by_token.sort_by_key(|(_, token)| *token);
    println!("{name}: {KILLS} holders killed, {} increments reported", reported.len());
    assert!(reported.len() >= KILLS, "too few got in between the kills: {reported:?}");
    // Values increase strictly with tokens, so no two runs wrote the same value, and none wrote a value that was
    // outdated.
    assert!(by_token.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1), "{by_token:?}");
    assert_eq!(count(&fixture), reported.len(), "increments were lost, or made by a run that did not report success");
}

/// Returns (value, token) of a successful run. No run may fail, because a crash of another holder is not an error.
#[track_caller]
fn success(ran: &Finished) -> (usize, u64) {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let pair = ran.stdout.trim().split_once(' ').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    pair.unwrap_or_else(|| panic!("no value and token: {ran:?}"))
}

#[test]
fn killed_holders_lose_no_increment_of_others() {
    survive_kills("first");
}

#[test]
fn killed_holders_beside_other_lock_lose_no_increment() {
    survive_kills("second");
}
