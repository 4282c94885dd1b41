//! The command is ended before the lease is, if the lock is lost or the wrapper ends.
//!
//! This is a separate test binary because it measures leases, and must not share the machine with other tests.

mod support;

use support::{Finished, Fixture, Running, STUBBORN, is_stopped, parent, send, state, wait_until};

/// Script that writes `WARN` at each SIGUSR1 and `TERM` at SIGTERM, and ends a moment later, so that a warning after
/// SIGTERM is written too. Its child writes `CHILD` at SIGUSR1.
const WARNED: &str = "trap 'echo WARN >> signals' USR1; trap 'echo TERM >> signals; end=1' TERM; \
    sh -c \"trap 'echo CHILD >> signals' USR1; touch child; while :; do sleep 0.05; done\" & \
    until [ -e child ]; do sleep 0.05; done; touch ready; while [ -z \"$end\" ]; do sleep 0.05; done; sleep 0.2";

/// Starts a run of [`STUBBORN`] as a job, and stops it. Returns it and the PID of its command.
fn start_and_stop_job(fixture: &Fixture, flags: &[&str]) -> (Running, i32) {
    let running = fixture.start_job(&[&["run"], flags, &["a", "-c", STUBBORN]].concat());
    wait_until("the run is stopped", || {
        running.signal("TSTP");
        state(running.pid()) == Some('T')
    });
    (running, fixture.pid("ready"))
}

/// Returns a script that succeeds only if the process has ended.
fn has_ended(pid: i32) -> String {
    format!("[ ! -e /proc/{pid} ] || grep -q '^State:.Z' /proc/{pid}/status")
}

/// Asserts that the run ended the command because the lock was lost.
fn assert_ended_by_loss(finished: Finished, child: i32) {
    finished.exits_with(76).prints("the command was ended");
    assert_eq!(state(child), None);
}

/// The store hangs, so the lease cannot be renewed.
#[test]
fn child_gets_term_then_kill_before_lease_ends() {
    let fixture = Fixture::new();
    let (running, child) = fixture.start_stubborn(&["--lease", "8"]);
    let database = rusqlite::Connection::open(fixture.path("locks.db")).expect("the database");
    database.execute_batch("BEGIN IMMEDIATE").expect("the database is not busy for long");
    // The database is locked, so no renewal succeeds, and the command must be ended without waiting for a request.
    wait_until("the command is ended", || state(child).is_none());
    assert_eq!(fixture.read("signals"), "TERM\n");
    assert_ended_by_loss(running.wait(), child);
}

/// The database is locked twice, so that no renewal succeeds meanwhile.
#[test]
fn warning_is_sent_to_command_once_per_renewal() {
    let fixture = Fixture::new();
    let flags = ["--lease", "12", "--grace", "2", "--warn-signal", "USR1@8"];
    let running = fixture.start(&[&["run"], &flags[..], &["a", "-c", WARNED]].concat());
    let database = rusqlite::Connection::open(fixture.path("locks.db")).expect("the database");
    let expiry = || fixture.run(&["show", "a", "--json"]).exits_with(0).stdout;
    database.execute_batch("BEGIN IMMEDIATE").expect("the database is not busy for long");
    let before = expiry();
    wait_until("the command is warned", || !fixture.read("signals").is_empty());
    database.execute_batch("COMMIT").expect("access to it");
    wait_until("the lock is renewed", || expiry() != before);
    // A renewal sends nothing. The lock is renewed once more, so that it can be seen before it is lost again.
    let before = expiry();
    wait_until("the lock is renewed again", || expiry() != before);
    assert_eq!(fixture.read("signals"), "WARN\n");
    database.execute_batch("BEGIN IMMEDIATE").expect("the database is not busy for long");
    running.wait().exits_with(76);
    assert_eq!(fixture.read("signals"), "WARN\nWARN\nTERM\n");
}

/// A revocation is final, so there is nothing to warn of.
#[test]
fn revoked_run_sends_term_without_warning() {
    let fixture = Fixture::new();
    let running = fixture.start(&["run", "--lease", "4", "--warn-signal", "USR1", "a", "-c", WARNED]);
    fixture.revoke();
    running.wait().exits_with(76);
    assert_eq!(fixture.read("signals"), "TERM\n");
}

/// A command that ends its work at SIGTERM receives no new work then.
#[test]
fn ready_file_is_removed_before_term_at_loss() {
    let fixture = Fixture::new();
    let script = "trap '[ -e up ] && echo READY >> signals; echo TERM >> signals; exit' TERM; \
                  until [ -e up ]; do sleep 0.05; done; touch ready; while :; do sleep 0.05; done";
    let running = fixture.start(&["run", "--max-hold", "6", "--ready-file", "up", "a", "-c", script]);
    assert!(fixture.path("up").exists());
    running.wait().exits_with(76);
    assert_eq!(fixture.read("signals"), "TERM\n");
}

#[test]
fn obedient_child_ends_by_term_alone() {
    let fixture = Fixture::new();
    let script = "trap 'echo TERM >> signals; exit 0' TERM; echo $$ > tmp; mv tmp ready; while :; do sleep 0.05; done";
    let running = fixture.start(&["run", "--max-hold", "6", "a", "-c", script]);
    let child = fixture.pid("ready");
    assert_ended_by_loss(running.wait().prints("--max-hold"), child);
    assert_eq!(fixture.read("signals"), "TERM\n");
}

#[test]
fn max_hold_kills_child_that_ignores_term() {
    let fixture = Fixture::new();
    let (running, child) = fixture.start_stubborn(&["--max-hold", "4"]);
    assert_ended_by_loss(running.wait(), child);
    fixture.run(&["run", "-n", "a", "true"]).exits_with(0);
}

/// Track record: the command of a revoked lease was killed without SIGTERM, although other clients wait for the end
/// of the lease.
#[test]
fn revoked_run_ends_child_before_next_acquisition() {
    let fixture = Fixture::new();
    let (running, child) = fixture.start_stubborn(&["--lease", "4"]);
    fixture.revoke();
    fixture.run(&["run", "a", "-c", &has_ended(child)]).exits_with(0);
    assert_ended_by_loss(running.wait().prints("revoked"), child);
    assert_eq!(fixture.read("signals"), "TERM\n");
}

/// The other locks are kept until the command has ended, although they are not lost.
#[test]
fn loss_of_one_lock_ends_child_before_others_are_free() {
    let fixture = Fixture::new();
    let (running, child) =
        fixture.start_stubborn(&["--lease", "4", "--also", "b", "--also", "c", "--report", "report"]);
    fixture.run(&["revoke", "b", "--token", &fixture.token("b"), "--yes"]).exits_with(0);
    let waiter = Running::spawn(fixture.command(&["run", "--also", "c", "a", "-c", &has_ended(child)]));
    assert_ended_by_loss(running.wait().prints("lock \"b\"").prints("revoked"), child);
    waiter.wait().exits_with(0);
    assert_eq!(fixture.read("signals"), "TERM\n");
    let report: serde_json::Value = serde_json::from_str(&fixture.read("report")).expect("JSON");
    let released = |index: usize| report["locks"][index]["released"].clone();
    assert_eq!([released(0), released(1), released(2)], [true, false, true], "{report}");
    assert_eq!((&report["lost"], &report["released"]), (&true.into(), &false.into()), "{report}");
    fixture.run(&["run", "b", "-c", &has_ended(child)]).exits_with(0);
}

/// The store hangs, so no lease can be renewed.
#[test]
fn child_under_several_locks_ends_before_any_lease() {
    let fixture = Fixture::new();
    let (running, child) = fixture.start_stubborn(&["--lease", "8", "--also", "b"]);
    let database = rusqlite::Connection::open(fixture.path("locks.db")).expect("the database");
    database.execute_batch("BEGIN IMMEDIATE").expect("the database is not busy for long");
    wait_until("the command is ended", || state(child).is_none());
    assert_eq!(fixture.read("signals"), "TERM\n");
    assert_ended_by_loss(running.wait().prints("one of the locks \"a\", \"b\" was about to be lost"), child);
}

#[test]
fn killed_wrapper_of_several_locks_ends_child() {
    let fixture = Fixture::new();
    let (running, child) = fixture.start_stubborn(&["--lease", "1h", "--also", "b"]);
    running.signal("KILL");
    running.wait().exits_with(137);
    // A short `sleep` of the script may still be running.
    fixture.run(&["run", "-w", "60", "--also", "b", "a", "-c", &has_ended(child)]).exits_with(0);
}

#[test]
fn killed_wrapper_ends_child() {
    let fixture = Fixture::new();
    let (running, child) = fixture.start_stubborn(&[]);
    assert!(state(child).is_some());
    running.signal("KILL");
    wait_until("the command is ended", || state(child).is_none());
    running.wait().exits_with(137);
}

#[test]
fn stopped_wrapper_and_child_continue_together() {
    let fixture = Fixture::new();
    let (running, child) = start_and_stop_job(&fixture, &[]);
    wait_until("the command is stopped", || is_stopped(child));
    running.signal("CONT");
    wait_until("both continue", || state(running.pid()) != Some('T') && !is_stopped(child));
    running.signal("TERM");
    wait_until("the signal is forwarded", || fixture.read("signals") == "TERM\n");
    running.signal("KILL");
}

/// A wrapper that was stopped for longer than its lease must not let the command continue.
#[test]
fn child_stopped_past_lease_does_not_continue() {
    let fixture = Fixture::new();
    let (running, child) = start_and_stop_job(&fixture, &["--lease", "2"]);
    // The supervisor has ended the command before the lock is acquired again.
    fixture.run(&["run", "-w", "60", "a", "-c", &has_ended(child)]).exits_with(0);
    assert_eq!(state(running.pid()), Some('T'));
    running.signal("CONT");
    assert_ended_by_loss(running.wait(), child);
}

/// The embedded store asks the kernel whether the holder is alive, so that a waiter need not wait for the end of the
/// lease.
#[test]
fn lock_of_killed_wrapper_is_acquired_at_once() {
    let fixture = Fixture::new();
    let (running, child) = fixture.start_stubborn(&["--lease", "1h"]);
    running.signal("KILL");
    wait_until("the command is ended with its wrapper", || state(child).is_none());
    // A short `sleep` of the script may still be running.
    fixture.run(&["run", "-w", "60", "a", "true"]).exits_with(0);
    drop(running);
}

/// Starts a run whose command starts a process in another session. Returns the PID of that process.
fn start_with_descendant(fixture: &Fixture) -> (Running, i32) {
    let script = "setsid sh -c 'echo $$ > tmp; mv tmp ready; exec sleep 1000' & wait";
    let running = fixture.start(&["run", "--lease", "1", "a", "-c", script]);
    let descendant = fixture.pid("ready");
    (running, descendant)
}

#[test]
fn remaining_descendants_end_with_wrapper() {
    let fixture = Fixture::new();
    let (running, descendant) = start_with_descendant(&fixture);
    running.signal("KILL");
    fixture.run(&["run", "-w", "60", "a", "true"]).exits_with(0);
    assert_eq!(state(descendant), None);
    drop(running);
}

/// Wrapper and supervisor are killed, so no process is left to end the descendant. The lock is kept while it is
/// running.
#[test]
fn descendant_outliving_supervisor_keeps_lock() {
    let fixture = Fixture::new();
    let (running, descendant) = start_with_descendant(&fixture);
    let supervisor = parent(parent(descendant));
    assert_eq!(parent(supervisor), running.pid());
    // Both are stopped first, so that neither can react to the end of the other.
    for pid in [running.pid(), supervisor] {
        send("STOP", pid);
    }
    for pid in [supervisor, running.pid()] {
        send("KILL", pid);
    }
    fixture.run(&["run", "-w", "3", "a", "true"]).exits_with(75).prints("is held by");
    assert!(state(descendant).is_some(), "the descendant, for which the lock is kept, has ended");
    send("KILL", descendant);
    fixture.run(&["run", "-w", "60", "--lease", "1", "a", "true"]).exits_with(0);
    drop(running);
}
