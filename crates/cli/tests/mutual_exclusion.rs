//! The promise as people see it: eight processes and a file that each reads, thinks about, and writes.
#![allow(clippy::disallowed_methods)] // pauses between turns are part of what is tried

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use support::{Place, Ran, Running, until};

const DRIVERS: usize = 8;
const ROUNDS: usize = 25;
/// Where a DynamoDB server is, for the same over HTTP.
const ENDPOINT: &str = "DYNAMO_LOCK_TEST_ENDPOINT";

/// Reads, sleeps, writes; and notes who did it under which token.
fn increment(driver: usize) -> String {
    format!("n=$(cat f); sleep 0.01; echo $((n+1)) > f; echo {driver} ${{DYNAMO_LOCK_TOKEN:-0}} >> log")
}

/// Eight drivers, each with its rounds one after the other.
fn drive(place: &Place, command: impl Fn(usize) -> std::process::Command + Sync) {
    std::fs::write(place.path("f"), "0\n").expect("a file");
    thread::scope(|scope| {
        for driver in 0..DRIVERS {
            let command = &command;
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    Running::of(command(driver)).end().ends_with(0);
                    // Others have their turn.
                    thread::sleep(Duration::from_millis(20));
                }
            });
        }
    });
}

fn count(place: &Place) -> usize {
    place.read("f").trim().parse().unwrap_or(0)
}

/// (driver, token) in the order of the critical sections.
fn log(place: &Place) -> Vec<(usize, u64)> {
    let text = place.read("log");
    let pair = |line: &str| line.split_once(' ').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    text.lines().map(|line| pair(line).unwrap_or_else(|| panic!("a torn line: {line:?}"))).collect()
}

fn tokens_increase(log: &[(usize, u64)]) -> bool {
    log.windows(2).all(|pair| pair[0].1 < pair[1].1)
}

fn nothing_is_lost(place: &Place) {
    drive(place, |driver| place.command(&["run", "counter", "-c", &increment(driver)]));
    let log = log(place);
    let handoffs = log.windows(2).filter(|pair| pair[0].0 != pair[1].0).count();
    println!("{} increments, {handoffs} handoffs between different processes", count(place));
    assert_eq!(count(place), DRIVERS * ROUNDS);
    assert_eq!(log.len(), DRIVERS * ROUNDS);
    assert!(tokens_increase(&log), "tokens do not increase: {log:?}");
    assert!(handoffs >= 100, "only {handoffs} handoffs: this run tried too little");
}

#[test]
fn eight_processes_under_lock_lose_no_increment() {
    nothing_is_lost(&Place::new());
}

#[test]
fn eight_processes_on_dynamodb_lose_no_increment() {
    let Ok(endpoint) = std::env::var(ENDPOINT) else {
        eprintln!("skipped: {ENDPOINT} names no DynamoDB server");
        return;
    };
    let table = format!("counter-{}", std::process::id());
    let store = format!("dynamodb://{table}?region=us-east-1&endpoint={endpoint}&service_clock=on");
    let place = Place::with_store(&store);
    place.run(&["table", "create"]).ends_with(0);
    place.run(&["table", "check"]);
    nothing_is_lost(&place);
    place.run(&["table", "delete"]).ends_with(64);
    place.run(&["table", "delete", "--yes"]).ends_with(0);
    place.run(&["table", "check"]).ends_with(78);
}

/// The control: what the lock is for.
#[test]
fn control_eight_processes_without_lock_lose_increments() {
    let place = Place::new();
    drive(&place, |driver| place.within("sh", &["-c", &increment(driver)]));
    assert!(count(&place) < DRIVERS * ROUNDS, "no increment was lost: the tests above show nothing");
}

/// Kills per lock; two locks side by side make at least thirty.
const KILLS: usize = 15;

/// Three drivers increment and note what they wrote; a fourth is killed within its critical section again and again.
fn survive_kills(name: &str) {
    let place = Place::new();
    std::fs::write(place.path("f"), "0\n").expect("a file");
    let (kills, increments) = (AtomicUsize::new(0), AtomicUsize::new(0));
    // Replaced as a whole, so that a killed holder has written or has not. Its value and token are told at the end.
    let work = "n=$(cat f); sleep 0.05; echo $((n+1)) > f.$$; mv f.$$ f; echo $((n+1)) $DYNAMO_LOCK_TOKEN";
    // Would write an old value over those of its successors, if it outlived the kill and its lease.
    let doomed = "n=$(cat f); touch inside; sleep 3; echo $((n+1)) > f";
    let told = thread::scope(|scope| {
        let drivers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut told = Vec::new();
                    while kills.load(Ordering::SeqCst) < KILLS {
                        let ran = Running::of(place.command(&["run", "--lease", "2", name, "-c", work])).end();
                        told.push(success(&ran));
                        increments.fetch_add(1, Ordering::SeqCst);
                        thread::sleep(Duration::from_millis(100));
                    }
                    told
                })
            })
            .collect();
        while kills.load(Ordering::SeqCst) < KILLS {
            let holder = Running::of(place.command(&["run", "--lease", "2", name, "-c", doomed]));
            until("the holder is inside", || place.path("inside").exists());
            holder.signal("KILL");
            assert_eq!(holder.end().code, None);
            std::fs::remove_file(place.path("inside")).expect("it is there");
            // Not the next victim, which might come first each time.
            let before = increments.load(Ordering::SeqCst);
            until("the others go on", || increments.load(Ordering::SeqCst) > before);
            kills.fetch_add(1, Ordering::SeqCst);
        }
        drivers.into_iter().flat_map(|driver| driver.join().expect("a driver")).collect::<Vec<_>>()
    });
    let mut by_token = told.clone();
    by_token.sort_by_key(|(_, token)| *token);
    println!("{name}: {KILLS} holders killed, {} increments reported", told.len());
    assert!(told.len() >= KILLS, "too few got in between the kills: {told:?}");
    // Values rise strictly with tokens: no two wrote the same value, and none wrote from what a later one had replaced.
    assert!(by_token.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1), "{by_token:?}");
    assert_eq!(count(&place), told.len(), "increments were lost, or made by a run that did not report success");
}

/// (value, token) of a run that says it worked. None may fail: a crash of others is no error.
#[track_caller]
fn success(ran: &Ran) -> (usize, u64) {
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
