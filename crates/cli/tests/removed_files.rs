//! The files of the SQLite store are removed or mounted while locks are held, and there are never two holders.
//!
//! This is a separate test binary because it has many processes.
#![allow(clippy::disallowed_methods)] // the pauses of the scenarios are real time

mod support;

use std::process::Command;
use std::{thread, time::Duration};

use support::{Finished, Fixture, PROGRAM, Running, report_skipped, wait_until};

/// Files beside the database.
const SUFFIXES: [&str; 4] = ["-wal", "-shm", "-journal", "-live"];

/// Environment variable with the number of rounds, 1 by default.
const ROUNDS: &str = "DYNAMO_LOCK_TEST_ROUNDS";

fn rounds() -> usize {
    std::env::var(ROUNDS).ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1)
}

/// Removes each file that `selection` has a bit for.
fn remove_files(fixture: &Fixture, selection: usize) {
    for (bit, suffix) in SUFFIXES.iter().enumerate() {
        if selection & (1 << bit) != 0 {
            let _may_be_missing = std::fs::remove_file(fixture.path(&format!("locks.db{suffix}")));
        }
    }
}

/// Returns whether another client acquires the lock without waiting.
fn acquires(fixture: &Fixture, name: &str) -> bool {
    let finished = fixture.run(&["run", "-n", name, "--", "true"]);
    assert!(matches!(finished.code, Some(0 | 75)), "{finished:?}");
    assert!(finished.stderr.lines().count() <= 1, "{finished:?}");
    finished.code == Some(0)
}

/// Lesson 52. `y` is acquired after the removal, while a holder of `x` lives that has opened the database before it.
fn assert_removal_admits_no_second_holder(selection: usize) {
    let fixture = Fixture::new();
    let hold = |name: &str, lease: &str| {
        let work = format!("touch {name}.ready; while [ ! -e end ]; do sleep 0.05; done");
        let holder = Running::spawn(fixture.command(&["run", "--lease", lease, name, "-c", &work]));
        wait_until("the holder is in its critical section", || fixture.path(&format!("{name}.ready")).exists());
        holder
    };
    let renewing = hold("x", "2s");
    remove_files(&fixture, selection);
    let second = hold("y", "30s");
    // The holder of `x` renews at least once after `y` was acquired.
    for _ in 0..8 {
        assert!(!acquires(&fixture, "y"), "two holders of y after the removal of {selection:04b}");
        assert!(!acquires(&fixture, "x"), "two holders of x after the removal of {selection:04b}");
        thread::sleep(Duration::from_millis(150));
    }
    remove_files(&fixture, selection);
    assert!(!acquires(&fixture, "x") && !acquires(&fixture, "y"), "after a second removal of {selection:04b}");
    std::fs::write(fixture.path("end"), "").expect("a file");
    for holder in [renewing, second] {
        assert_eq!(holder.wait().exits_with(0).stderr, "", "the removal of {selection:04b} affects no holder");
    }
    assert!(acquires(&fixture, "x") && acquires(&fixture, "y"));
}

#[test]
fn removed_files_admit_no_second_holder() {
    for _ in 0..rounds() {
        // Four at once, because each scenario waits most of the time.
        for first in (1..1 << SUFFIXES.len()).step_by(4) {
            thread::scope(|scope| {
                for selection in first..(first + 4).min(1 << SUFFIXES.len()) {
                    scope.spawn(move || assert_removal_admits_no_second_holder(selection));
                }
            });
        }
    }
}

/// The removed database itself ends the lock of its holder with one line.
#[test]
fn removed_database_is_reported_to_its_holder() {
    let fixture = Fixture::new();
    let holder = fixture.start(&["run", "--lease", "2s", "a", "-c", "touch ready; exec sleep 100"]);
    std::fs::remove_file(fixture.path("locks.db")).expect("removes");
    let finished = holder.wait();
    assert_ne!(finished.code, Some(0), "{finished:?}");
    assert!(finished.stderr.contains("removed or replaced"), "{finished:?}");
}

/// Runs a script in a mount namespace of its own, in which `h/locks.db` is mounted over `c/locks.db`.
fn in_container(fixture: &Fixture, script: &str) -> Command {
    let mount = format!("mount --bind h/locks.db c/locks.db && {script}");
    fixture.command_of("unshare", &["-m", "sh", "-c", &mount])
}

/// Lesson 53. `docker run -v ./locks.db:/data/locks.db` mounts the file alone, so that its other files are not shared.
#[test]
fn mounted_database_file_is_refused() {
    let fixture = Fixture::new();
    for directory in ["h", "c"] {
        std::fs::create_dir(fixture.path(directory)).expect("a directory");
    }
    let host = format!("sqlite://{}", fixture.path("h/locks.db").display());
    let run = |command: &mut Command, store: &str| -> Finished {
        command.env("DYNAMO_LOCK_STORE", store);
        Finished::from_output(command.output().expect("the program starts"))
    };
    run(&mut fixture.command(&["run", "seed", "--", "true"]), &host).exits_with(0);
    std::fs::write(fixture.path("c/locks.db"), "").expect("a file");
    let container = format!("sqlite://{}", fixture.path("c/locks.db").display());
    if run(&mut in_container(&fixture, "true"), &container).code != Some(0) {
        return report_skipped("mounted_database_file_is_refused", "this user may not mount");
    }
    for _ in 0..rounds() {
        let script = format!("exec {PROGRAM} run -n x -- echo in");
        let refused = run(&mut in_container(&fixture, &script), &container).exits_with(78);
        assert!(refused.stderr.contains("mount the directory instead of the file"), "{refused:?}");
        assert_eq!((refused.stdout.as_str(), refused.stderr.lines().count()), ("", 1), "{refused:?}");
        // The directory may be mounted.
        let script = format!("mount --bind h c && exec {PROGRAM} run -n x -- echo in");
        let mounted = run(&mut fixture.command_of("unshare", &["-m", "sh", "-c", &script]), &container);
        assert_eq!(mounted.exits_with(0).stdout, "in\n");
    }
}
