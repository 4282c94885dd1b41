//! Locks with several holders under load: never more runs than slots, and never a writer beside another run.
//!
//! This is a separate test binary because it loads the machine.
#![allow(clippy::disallowed_methods)] // the length of the critical sections is part of the test

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::{thread, time::Duration};

use support::{Fixture, Running, try_send, wait_until};

/// Threads that each run one process after the other.
const DRIVERS: usize = 8;
/// Runs of each driver.
const ROUNDS: usize = 25;

/// Returns a script that logs the begin and the end of a critical section. Each `echo` is one append, so that the order
/// of the lines is that of the events.
fn section(role: &str, seconds: &str) -> String {
    format!("echo + {role} $$ >> log; sleep {seconds}; echo - {role} $$ >> log")
}

/// A line of the log: whether a section begins, its role, and its process.
fn events(fixture: &Fixture) -> Vec<(bool, String, u32)> {
    let parse = |line: &str| {
        let [event, role, pid] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("malformed: {line:?}") };
        (event == "+", role.to_owned(), pid.parse().expect("a process ID"))
    };
    fixture.read("log").lines().map(parse).collect()
}

/// Returns the largest number of sections at the same time.
fn most_at_once(events: &[(bool, String, u32)]) -> usize {
    let (mut present, mut most) = (0_usize, 0);
    for (begins, ..) in events {
        present = if *begins { present + 1 } else { present - 1 };
        most = most.max(present);
    }
    most
}

/// Runs all rounds of all drivers.
fn drive(fixture: &Fixture, arguments: &[&str]) {
    thread::scope(|scope| {
        for _ in 0..DRIVERS {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let script = section("job", "0.02");
                    Running::spawn(fixture.command(&[arguments, &["a", "-c", &script]].concat())).wait().exits_with(0);
                }
            });
        }
    });
}

#[test]
fn eight_processes_use_three_slots_and_no_more() {
    let fixture = Fixture::new();
    drive(&fixture, &["run", "--slots", "3"]);
    let events = events(&fixture);
    assert_eq!(events.len(), 2 * DRIVERS * ROUNDS);
    assert_eq!(most_at_once(&events), 3, "{events:?}");
}

/// With more slots, more jobs run at once. The test above would otherwise prove nothing.
#[test]
fn control_eight_processes_with_eight_slots_exceed_three() {
    let fixture = Fixture::new();
    drive(&fixture, &["run", "--slots", "8"]);
    assert!(most_at_once(&events(&fixture)) > 3);
}

/// Runs that are killed or stopped in their critical section.
const DISTURBED: usize = 12;

/// Readers run together and writers alone, while holders of both roles are killed or stopped beyond their lease. The
/// writer is a run without `--shared`, to which the kind of the row is of no concern.
#[test]
fn writers_run_alone_although_holders_are_killed_and_stopped() {
    let fixture = Fixture::new();
    let (done, writes, reads) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    // Readers check that no writer replaces the number while they look, and writers that no other changes it.
    let reader = "n=$(cat f); sleep 0.05; [ \"$n\" = \"$(cat f)\" ] || echo changed >> errors";
    let writer =
        "n=$(cat f); sleep 0.02; echo $((n+1)) > f.$$; mv f.$$ f; [ $((n+1)) = $(cat f) ] || echo lost >> errors";
    let doomed = "n=$(cat f); echo $$ > inside.$ROLE; sleep 4; echo $((n+1)) > f";
    std::fs::write(fixture.path("f"), "0\n").expect("a file");
    let run = |options: &[&str], script: &str, role: &str| {
        let mut command =
            fixture.command(&[&["run", "--lease", "2", "--grace", "0.5"], options, &["a", "-c", script]].concat());
        command.env("ROLE", role);
        Running::spawn(command)
    };
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    run(&["-s"], reader, "reader").wait().exits_with(0);
                    reads.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    run(&[], writer, "writer").wait().exits_with(0);
                    writes.fetch_add(1, Ordering::SeqCst);
                    thread::sleep(Duration::from_millis(100));
                }
            });
        }
        for number in 0..DISTURBED {
            let (options, role) = if number % 2 == 0 { (&["-s"][..], "reader") } else { (&[][..], "writer") };
            let holder = run(options, doomed, role);
            let inside = fixture.path(&format!("inside.{role}"));
            wait_until("the holder is in its critical section", || inside.exists());
            std::fs::remove_file(&inside).expect("it exists");
            match number % 4 {
                0 | 1 => {
                    holder.signal("KILL");
                    holder.wait().exits_with(137);
                }
                _ => {
                    // The supervisor ends the command, whereas the stopped process does nothing.
                    let pid = holder.pid();
                    try_send("STOP", pid);
                    let before = writes.load(Ordering::SeqCst);
                    wait_until("a writer follows", || writes.load(Ordering::SeqCst) > before);
                    try_send("CONT", pid);
                    holder.wait();
                }
            }
            let before = (writes.load(Ordering::SeqCst), reads.load(Ordering::SeqCst));
            wait_until("others work on", || {
                writes.load(Ordering::SeqCst) > before.0 && reads.load(Ordering::SeqCst) > before.1
            });
        }
        done.store(true, Ordering::SeqCst);
    });
    let (writes, reads) = (writes.into_inner(), reads.into_inner());
    println!("{writes} writes, {reads} reads, {DISTURBED} holders killed or stopped");
    assert_eq!(fixture.read("errors"), "");
    assert_eq!(fixture.read("f").trim(), writes.to_string(), "a write was lost, or a killed holder wrote late");
}

/// Readers hold the lock at the same time.
#[test]
fn readers_run_together() {
    let fixture = Fixture::new();
    fixture.run(&["run", "-s", "a", "true"]).exits_with(0);
    let script = "touch here.$$; until [ $(ls | grep -c here) = 3 ]; do sleep 0.05; done";
    let readers: Vec<_> = (0..3).map(|_| Running::spawn(fixture.command(&["run", "-s", "a", "-c", script]))).collect();
    readers.into_iter().for_each(|reader| _ = reader.wait().exits_with(0));
}
