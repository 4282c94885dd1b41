//! Loss of the lock or of the wrapper: the child ends before the lock is free.

mod support;

use std::os::unix::process::CommandExt as _;

use dynamo_lock::{Client, FencingToken, Inspection, Sqlite};
use support::{Finished, Fixture, Running, is_stopped, state, until};

fn pid(fixture: &Fixture) -> i32 {
    fixture.read("ready").trim().parse().expect("the child wrote its process number")
}

const STUBBORN: &str = "trap 'echo TERM >> asked' TERM; echo $$ > tmp; mv tmp ready; while :; do sleep 0.05; done";

/// Starts a run of lock `a` whose child writes its process ID to `ready` and each SIGTERM to `asked`, and ignores
/// SIGTERM.
fn start_stubborn(fixture: &Fixture, flags: &[&str]) -> Running {
    fixture.start(&[&["run"], flags, &["a", "-c", STUBBORN]].concat())
}

/// Starts the same run as a job of a shell, because only a job can be stopped from the terminal.
fn start_stubborn_job(fixture: &Fixture, flags: &[&str]) -> Running {
    let mut command = fixture.command(&[&["run"], flags, &["a", "-c", STUBBORN]].concat());
    command.process_group(0);
    let running = Running::of(command);
    until("the child is ready", || fixture.path("ready").exists());
    running
}

fn ended_for_the_locks_sake(fixture: &Fixture, ran: Finished, child: i32) {
    let ran = ran.ends_with(76);
    assert!(ran.stderr.contains("the command was ended"), "{ran:?}");
    assert_eq!(state(child), None);
    let _ = fixture;
}

#[test]
fn child_gets_term_then_kill_before_lease_ends() {
    let fixture = Fixture::new();
    let running = start_stubborn(&fixture, &["--lease", "8"]);
    let child = pid(&fixture);
    let database = rusqlite::Connection::open(fixture.path("locks.db")).expect("the database");
    database.execute_batch("BEGIN IMMEDIATE").expect("no other process writes for long");
    // While no process can write, none can take the lock over. The test shows that `run` waits for no request.
    until("the child is ended", || state(child).is_none());
    assert_eq!(fixture.read("asked"), "TERM\n");
    ended_for_the_locks_sake(&fixture, running.end(), child);
}

#[test]
fn obedient_child_ends_by_term_alone() {
    let fixture = Fixture::new();
    let script = "trap 'echo TERM >> asked; exit 0' TERM; echo $$ > tmp; mv tmp ready; while :; do sleep 0.05; done";
    let running = fixture.start(&["run", "--max-hold", "6", "a", "-c", script]);
    let child = pid(&fixture);
    let ran = running.end();
    assert!(ran.stderr.contains("--max-hold"), "{ran:?}");
    ended_for_the_locks_sake(&fixture, ran, child);
    assert_eq!(fixture.read("asked"), "TERM\n");
}

#[test]
fn max_hold_kills_child_that_ignores_term() {
    let fixture = Fixture::new();
    let running = start_stubborn(&fixture, &["--max-hold", "4"]);
    let child = pid(&fixture);
    ended_for_the_locks_sake(&fixture, running.end(), child);
    fixture.run(&["run", "-n", "a", "true"]).ends_with(0);
}

#[test]
fn revoked_run_ends_child_before_next_acquisition() {
    let fixture = Fixture::new();
    let running = start_stubborn(&fixture, &["--lease", "4"]);
    let child = pid(&fixture);
    revoke(&fixture);
    fixture
        .run(&["run", "a", "-c", &format!("[ ! -e /proc/{child} ] || grep -q '^State:.Z' /proc/{child}/status")])
        .ends_with(0);
    let ran = running.end();
    assert!(ran.stderr.contains("revoked"), "{ran:?}");
    ended_for_the_locks_sake(&fixture, ran, child);
    assert_eq!(fixture.read("asked"), "TERM\n");
}

/// Revokes the acquisition that holds lock `a`.
fn revoke(fixture: &Fixture) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = Sqlite::open(fixture.path("locks.db")).expect("the database");
        let client = Client::builder(store).build().expect("valid");
        let lock = client.lock("a").expect("valid");
        let Ok(Inspection::Held { holder, .. }) = lock.inspect().await else { panic!("not held") };
        let token: FencingToken = holder.token.expect("a token");
        lock.revoke(token).await.expect("it is held");
    });
}

#[test]
fn killed_wrapper_ends_child() {
    let fixture = Fixture::new();
    let running = start_stubborn(&fixture, &[]);
    let child = pid(&fixture);
    assert!(state(child).is_some());
    running.signal("KILL");
    until("the child is gone", || state(child).is_none());
    assert_eq!(running.end().code, None);
}

#[test]
fn stopped_wrapper_and_child_continue_together() {
    let fixture = Fixture::new();
    let running = start_stubborn_job(&fixture, &[]);
    let child = pid(&fixture);
    until("it listens", || {
        running.signal("TSTP");
        state(running.pid()) == Some('T')
    });
    until("the child is stopped", || is_stopped(child));
    running.signal("CONT");
    until("both go on", || state(running.pid()) != Some('T') && !is_stopped(child));
    running.signal("TERM");
    until("the signal is passed on", || fixture.read("asked") == "TERM\n");
    running.signal("KILL");
}

#[test]
fn child_stopped_past_lease_does_not_continue() {
    let fixture = Fixture::new();
    let running = start_stubborn_job(&fixture, &["--lease", "2"]);
    let child = pid(&fixture);
    until("it listens", || {
        running.signal("TSTP");
        state(running.pid()) == Some('T')
    });
    // The supervisor has ended the child before another client acquires the lock.
    let gone = format!("[ ! -e /proc/{child} ] || grep -q '^State:.Z' /proc/{child}/status");
    fixture.run(&["run", "-w", "60", "a", "-c", &gone]).ends_with(0);
    assert_eq!(state(running.pid()), Some('T'));
    running.signal("CONT");
    ended_for_the_locks_sake(&fixture, running.end(), child);
}

/// On the embedded store the kernel reports that the holder has ended, so other clients do not wait for its lease.
#[test]
fn lock_of_killed_wrapper_is_acquired_at_once() {
    let fixture = Fixture::new();
    let running = start_stubborn(&fixture, &["--lease", "1h"]);
    let child = pid(&fixture);
    running.signal("KILL");
    until("the child is ended with its wrapper", || state(child).is_none());
    // The child may have left a short `sleep` behind, which runs to its end.
    fixture.run(&["run", "-w", "60", "a", "true"]).ends_with(0);
    drop(running);
}

/// A descendant in a session of its own survives if both wrapper and supervisor are killed.
fn start_with_something_left(fixture: &Fixture) -> (Running, i32) {
    let script = "setsid sh -c 'echo $$ > tmp; mv tmp ready; exec sleep 1000' & wait";
    let running = fixture.start(&["run", "--lease", "1", "a", "-c", script]);
    let left = pid(fixture);
    (running, left)
}

#[test]
fn remaining_descendants_end_with_wrapper() {
    let fixture = Fixture::new();
    let (running, left) = start_with_something_left(&fixture);
    running.signal("KILL");
    fixture.run(&["run", "-w", "60", "a", "true"]).ends_with(0);
    assert_eq!(state(left), None);
    drop(running);
}

#[test]
fn descendant_outliving_supervisor_keeps_lock() {
    let fixture = Fixture::new();
    let (running, left) = start_with_something_left(&fixture);
    let supervisor = support::parent(support::parent(left));
    assert_eq!(support::parent(supervisor), running.pid());
    // Both are stopped first, so that neither notices the other's end.
    for pid in [running.pid(), supervisor] {
        fixture.command_of("kill", &["-STOP", &pid.to_string()]).status().expect("kill is there");
    }
    for pid in [supervisor, running.pid()] {
        fixture.command_of("kill", &["-KILL", &pid.to_string()]).status().expect("kill is there");
    }
    let refused = fixture.run(&["run", "-w", "3", "a", "true"]).ends_with(75);
    assert!(refused.stderr.contains("is held by"), "{refused:?}");
    assert!(state(left).is_some(), "it lives on: that is what the lock is kept for");
    fixture.command_of("kill", &["-9", &left.to_string()]).status().expect("kill is there");
    fixture.run(&["run", "-w", "60", "--lease", "1", "a", "true"]).ends_with(0);
    drop(running);
}
