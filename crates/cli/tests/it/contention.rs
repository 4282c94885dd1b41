//! `run` if the lock is held: by another run, or by a run around it.

use crate::support::{Fixture, HOLD, PROGRAM, Running, wait_until};

#[test]
fn run_without_wait_reports_holder() {
    let fixture = Fixture::new();
    let holder = fixture.start(HOLD);
    for flags in [&["-n"][..], &["--nb"], &["--nonblock"], &["-w", "0"], &["-w", "0.2"], &["--wait", "200ms"]] {
        let finished = fixture.run(&[&["run"], flags, &["a", "touch", "ran"]].concat());
        finished.exits_with(75).prints_line("held by tester (");
    }
    fixture.run(&["run", "--timeout", "0", "a", "touch", "ran"]).exits_with(75);
    assert!(!fixture.path("ran").exists());
    // Control: another lock is free.
    fixture.run(&["run", "-n", "b", "touch", "ran"]).exits_with(0);
    assert!(fixture.path("ran").exists());
    drop(holder);
}

/// Track record: a run that had waited was advised to wait.
#[test]
fn advice_after_wait_is_to_wait_longer() {
    let fixture = Fixture::new();
    let _holder = fixture.start(HOLD);
    let once = fixture.run(&["run", "-n", "a", "true"]).exits_with(75);
    assert!(once.stderr.ends_with("; use -w to wait, which also works if the holder has crashed\n"), "{once:?}");
    let waited = fixture.run(&["run", "-w", "200ms", "a", "true"]).exits_with(75);
    assert!(waited.stderr.ends_with("; waited for 200ms; try again later, or wait longer with -w\n"), "{waited:?}");
    let _holder = fixture.start(&["run", "--slots", "1", "s", "-c", "touch ready2; exec sleep 100"]);
    wait_until("the slot is taken", || fixture.path("ready2").exists());
    let waited = fixture.run(&["run", "--slots", "1", "-w", "200ms", "s", "true"]).exits_with(75);
    assert!(waited.stderr.ends_with("; waited for 200ms; try again later, or wait longer with -w\n"), "{waited:?}");
}

#[test]
fn held_lock_exit_code_can_be_chosen_or_run_skipped() {
    let fixture = Fixture::new();
    let _holder = fixture.start(HOLD);
    fixture.run(&["run", "-n", "-E", "9", "a", "true"]).exits_with(9);
    fixture.run(&["run", "-n", "--conflict-exit-code", "0", "a", "false"]).exits_with(0);
    for arguments in [&["run", "--skip", "a", "touch", "ran"][..], &["run", "--skip", "-w", "0.1", "a", "touch", "ran"]]
    {
        let finished = fixture.run(arguments).exits_with(0);
        assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("", ""));
    }
    assert_eq!(fixture.run(&["run", "-q", "-n", "a", "true"]).exits_with(75).stderr, "");
    assert!(!fixture.path("ran").exists());
    // Control: --skip runs the command if the lock is free.
    fixture.run(&["run", "--skip", "b", "-c", "exit 5"]).exits_with(5);
}

#[test]
#[allow(clippy::disallowed_methods)] // the pause gives the waiter time to print; the result does not depend on it
fn second_run_waits_and_reports_holder() {
    let fixture = Fixture::new();
    let first = fixture.start(&["run", "a", "-c", "touch ready; until [ -e go ]; do sleep 0.05; done; echo 1 >> log"]);
    let second = Running::spawn(fixture.command(&["run", "--owner", "second", "a", "-c", "echo 2 >> log"]));
    let quiet = Running::spawn(fixture.command(&["run", "-q", "a", "-c", "echo 3 >> quiet"]));
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!((fixture.read("log"), fixture.read("quiet")), (String::new(), String::new()));
    std::fs::write(fixture.path("go"), "").expect("a file");
    first.wait().exits_with(0);
    second.wait().exits_with(0).prints("waiting for lock \"a\", held by tester (");
    assert_eq!(quiet.wait().exits_with(0).stderr, "");
    assert_eq!(fixture.read("log"), "1\n2\n");
}

#[test]
fn nested_run_of_same_lock_is_refused() {
    let fixture = Fixture::new();
    let nested = ["run", "a", "--", PROGRAM, "run", "a", "touch", "ran"];
    fixture.run(&nested).exits_with(75).prints("around this one");
    fixture.run(&["run", "a", "--", PROGRAM, "run", "-E", "9", "a", "touch", "ran"]).exits_with(9);
    assert!(!fixture.path("ran").exists());
    let inner = ["run", "a", "--", PROGRAM, "run", "b", "-c", "echo $DYNAMO_LOCK_NAME"];
    assert_eq!(fixture.run(&inner).exits_with(0).stdout, "b\n");
    // A lock of that name in another store is another lock. The command gets the URL of that store.
    let store = format!("{}2", fixture.store());
    let inner = ["run", "a", "--", PROGRAM, "--store", &store, "run", "a", "-c", "echo $DYNAMO_LOCK_STORE"];
    assert_eq!(fixture.run(&inner).exits_with(0).stdout, format!("{store}\n"));
}

/// The environment of an ended run may be inherited, for example by a daemon that it started.
#[test]
fn variables_of_ended_run_do_not_make_run_nested() {
    let fixture = Fixture::new();
    let runs = fixture.run(&["run", "a", "-c", "echo $DYNAMO_LOCK_RUNS"]).exits_with(0).stdout;
    let mut command = fixture.command(&["run", "a", "-c", "exit 6"]);
    command.env("DYNAMO_LOCK_RUNS", runs.trim());
    Running::spawn(command).wait().exits_with(6);
}

/// Holders of one row may have the same token, so a run is nested only in a run with the lease ID of the row.
#[test]
fn nested_run_is_recognised_by_lease_id() {
    let fixture = Fixture::new();
    let holder = fixture.start(&["run", "a", "-c", "echo $DYNAMO_LOCK_RUNS > runs; touch ready; exec sleep 60"]);
    let runs: Vec<(String, String, String)> = serde_json::from_str(&fixture.read("runs")).expect("three texts each");
    let [(name, id, store)] = &runs[..] else { panic!("one run: {runs:?}") };
    assert_eq!((name.as_str(), id.len(), store.as_str()), ("a", 32, fixture.store()));
    for (id, message) in
        [(id.as_str(), "around this one"), (&fixture.token("a"), "by tester ("), ("other", "by tester (")]
    {
        let mut command = fixture.command(&["run", "-n", "a", "true"]);
        command.env("DYNAMO_LOCK_RUNS", serde_json::json!([[name, id, store]]).to_string());
        Running::spawn(command).wait().exits_with(75).prints(message);
    }
    drop(holder);
}

/// A waiter that is ended leaves the lock to its holder, and nothing that delays the next acquisition.
#[test]
fn signal_ends_wait_and_leaves_no_row() {
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129), ("QUIT", 131), ("USR1", 138), ("USR2", 140)] {
        let fixture = Fixture::new();
        let holder = fixture.start(HOLD);
        let waiter = Running::spawn(fixture.command(&["run", "a", "touch", "ran"]));
        wait_until("the waiter handles all signals", || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", waiter.pid())).unwrap_or_default();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            // SIGQUIT, number 3, is the last for which a handler is installed.
            caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 0b100 != 0)
        });
        waiter.signal(signal);
        waiter.wait().exits_with(code);
        assert!(!fixture.path("ran").exists());
        holder.signal("TERM");
        holder.wait().exits_with(143);
        fixture.run(&["run", "-n", "a", "true"]).exits_with(0);
    }
}

/// Track record: a run of lock A inside B inside A waited for itself.
#[test]
fn nested_run_is_detected_at_any_depth() {
    let fixture = Fixture::new();
    let inner = ["run", "a", "--", PROGRAM, "run", "b", "--", PROGRAM, "run", "a", "touch", "ran"];
    fixture.run(&inner).exits_with(75).prints("around this one");
    assert!(!fixture.path("ran").exists());
    let three = ["run", "a", "--", PROGRAM, "run", "b", "--", PROGRAM, "run", "c", "touch", "ran"];
    fixture.run(&three).exits_with(0);
    assert!(fixture.path("ran").exists());
}
