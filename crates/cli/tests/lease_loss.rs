//! The lock is never free while the child lives: what happens to the child when the lock goes, or the wrapper.

mod support;

use std::os::unix::process::CommandExt as _;

use dynamo_lock::{Client, FencingToken, Inspection, Sqlite};
use support::{Place, Ran, Running, is_stopped, state, until};

fn pid(place: &Place) -> i32 {
    place.read("ready").trim().parse().expect("the child wrote its process number")
}

const STUBBORN: &str = "trap 'echo TERM >> asked' TERM; echo $$ > tmp; mv tmp ready; while :; do sleep 0.05; done";

/// Starts a run of lock `a` whose child notes its number in `ready` and every TERM in `asked`, and ends by neither.
fn start_stubborn(place: &Place, flags: &[&str]) -> Running {
    place.start(&[&["run"], flags, &["a", "-c", STUBBORN]].concat())
}

/// The same as a job of a shell, which alone can be stopped from the terminal.
fn start_stubborn_job(place: &Place, flags: &[&str]) -> Running {
    let mut command = place.command(&[&["run"], flags, &["a", "-c", STUBBORN]].concat());
    command.process_group(0);
    let running = Running::of(command);
    until("the child is ready", || place.path("ready").exists());
    running
}

fn ended_for_the_locks_sake(place: &Place, ran: Ran, child: i32) {
    let ran = ran.ends_with(76);
    assert!(ran.stderr.contains("the command was ended"), "{ran:?}");
    assert_eq!(state(child), None);
    let _ = place;
}

#[test]
fn child_gets_term_then_kill_before_lease_ends() {
    let place = Place::new();
    let running = start_stubborn(&place, &["--lease", "8"]);
    let child = pid(&place);
    let database = rusqlite::Connection::open(place.path("locks.db")).expect("the database");
    database.execute_batch("BEGIN IMMEDIATE").expect("no other process writes for long");
    // While no process can write, none can take the lock over. The test shows that `run` waits for no request.
    until("the child is ended", || state(child).is_none());
    assert_eq!(place.read("asked"), "TERM\n");
    ended_for_the_locks_sake(&place, running.end(), child);
}

#[test]
fn obedient_child_ends_by_term_alone() {
    let place = Place::new();
    let script = "trap 'echo TERM >> asked; exit 0' TERM; echo $$ > tmp; mv tmp ready; while :; do sleep 0.05; done";
    let running = place.start(&["run", "--max-hold", "6", "a", "-c", script]);
    let child = pid(&place);
    let ran = running.end();
    assert!(ran.stderr.contains("--max-hold"), "{ran:?}");
    ended_for_the_locks_sake(&place, ran, child);
    assert_eq!(place.read("asked"), "TERM\n");
}

#[test]
fn max_hold_kills_child_that_ignores_term() {
    let place = Place::new();
    let running = start_stubborn(&place, &["--max-hold", "4"]);
    let child = pid(&place);
    ended_for_the_locks_sake(&place, running.end(), child);
    place.run(&["run", "-n", "a", "true"]).ends_with(0);
}

#[test]
fn revoked_run_ends_child_before_next_acquisition() {
    let place = Place::new();
    let running = start_stubborn(&place, &["--lease", "4"]);
    let child = pid(&place);
    revoke(&place);
    place
        .run(&["run", "a", "-c", &format!("[ ! -e /proc/{child} ] || grep -q '^State:.Z' /proc/{child}/status")])
        .ends_with(0);
    let ran = running.end();
    assert!(ran.stderr.contains("revoked"), "{ran:?}");
    ended_for_the_locks_sake(&place, ran, child);
    assert_eq!(place.read("asked"), "TERM\n");
}

/// Revokes the acquisition that holds lock `a`.
fn revoke(place: &Place) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = Sqlite::open(place.path("locks.db")).expect("the database");
        let client = Client::builder(store).build().expect("valid");
        let lock = client.lock("a").expect("valid");
        let Ok(Inspection::Held { holder, .. }) = lock.inspect().await else { panic!("not held") };
        let token: FencingToken = holder.token.expect("a token");
        lock.revoke(token).await.expect("it is held");
    });
}

#[test]
fn killed_wrapper_ends_child() {
    let place = Place::new();
    let running = start_stubborn(&place, &[]);
    let child = pid(&place);
    assert!(state(child).is_some());
    running.signal("KILL");
    until("the child is gone", || state(child).is_none());
    assert_eq!(running.end().code, None);
}

#[test]
fn stopped_wrapper_and_child_continue_together() {
    let place = Place::new();
    let running = start_stubborn_job(&place, &[]);
    let child = pid(&place);
    until("it listens", || {
        running.signal("TSTP");
        state(running.pid()) == Some('T')
    });
    until("the child is stopped", || is_stopped(child));
    running.signal("CONT");
    until("both go on", || state(running.pid()) != Some('T') && !is_stopped(child));
    running.signal("TERM");
    until("the signal is passed on", || place.read("asked") == "TERM\n");
    running.signal("KILL");
}

#[test]
fn child_stopped_past_lease_does_not_continue() {
    let place = Place::new();
    let running = start_stubborn_job(&place, &["--lease", "2"]);
    let child = pid(&place);
    until("it listens", || {
        running.signal("TSTP");
        state(running.pid()) == Some('T')
    });
    // The supervisor has ended it before anybody else is in.
    let gone = format!("[ ! -e /proc/{child} ] || grep -q '^State:.Z' /proc/{child}/status");
    place.run(&["run", "-w", "60", "a", "-c", &gone]).ends_with(0);
    assert_eq!(state(running.pid()), Some('T'));
    running.signal("CONT");
    ended_for_the_locks_sake(&place, running.end(), child);
}

/// On the embedded store the kernel reports that the holder has ended, so other clients do not wait for its lease.
#[test]
fn lock_of_killed_wrapper_is_acquired_at_once() {
    let place = Place::new();
    let running = start_stubborn(&place, &["--lease", "1h"]);
    let child = pid(&place);
    running.signal("KILL");
    until("the child is ended with its wrapper", || state(child).is_none());
    // It may have left a short sleep behind, which lives to its end.
    place.run(&["run", "-w", "60", "a", "true"]).ends_with(0);
    drop(running);
}

/// A descendant in a session of its own survives if both wrapper and supervisor are killed.
fn start_with_something_left(place: &Place) -> (Running, i32) {
    let script = "setsid sh -c 'echo $$ > tmp; mv tmp ready; exec sleep 1000' & wait";
    let running = place.start(&["run", "--lease", "1", "a", "-c", script]);
    let left = pid(place);
    (running, left)
}

#[test]
fn remaining_descendants_end_with_wrapper() {
    let place = Place::new();
    let (running, left) = start_with_something_left(&place);
    running.signal("KILL");
    place.run(&["run", "-w", "60", "a", "true"]).ends_with(0);
    assert_eq!(state(left), None);
    drop(running);
}

#[test]
fn descendant_outliving_supervisor_keeps_lock() {
    let place = Place::new();
    let (running, left) = start_with_something_left(&place);
    let supervisor = support::parent(support::parent(left));
    assert_eq!(support::parent(supervisor), running.pid());
    // Stopped first: neither sees the other's end.
    for pid in [running.pid(), supervisor] {
        place.within("kill", &["-STOP", &pid.to_string()]).status().expect("kill is there");
    }
    for pid in [supervisor, running.pid()] {
        place.within("kill", &["-KILL", &pid.to_string()]).status().expect("kill is there");
    }
    let refused = place.run(&["run", "-w", "3", "a", "true"]).ends_with(75);
    assert!(refused.stderr.contains("is held by"), "{refused:?}");
    assert!(state(left).is_some(), "it lives on: that is what the lock is kept for");
    place.within("kill", &["-9", &left.to_string()]).status().expect("kill is there");
    place.run(&["run", "-w", "60", "--lease", "1", "a", "true"]).ends_with(0);
    drop(running);
}
