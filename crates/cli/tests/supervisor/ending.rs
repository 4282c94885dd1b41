//! The end of the command: by grace, by loss of the lock, and if the supervisor fails.

use crate::is_there;
use crate::support::{Fixture, Running, STUBBORN, children, parent, send, state, wait_until};

#[test]
fn zero_grace_kills_command_without_term() {
    // Control: with grace the command receives SIGTERM.
    for (grace, signals) in [("0", ""), ("1s", "TERM\n")] {
        let fixture = Fixture::new();
        let (running, child) = fixture.start_stubborn(&["--max-hold", "3", "--grace", grace]);
        running.wait().exits_with(76);
        assert_eq!((state(child), fixture.read("signals").as_str()), (None, signals));
    }
}

#[test]
fn grace_beyond_half_lease_is_refused() {
    let fixture = Fixture::new();
    for flags in [["--lease", "4", "--grace", "3"], ["--max-hold", "5", "--grace", "2.6"]] {
        fixture.run(&[&["run"], &flags[..], &["a", "touch", "ran"]].concat()).exits_with(64).prints("--grace");
    }
    fixture.run(&["run", "--lease", "4", "--grace", "2", "a", "true"]).exits_with(0);
    assert!(!fixture.path("ran").exists());
}

/// Track record: with `--max-hold` every early end of the command was attributed to it, even if the store did not
/// respond.
#[test]
fn signal_that_ended_command_is_reported() {
    let fixture = Fixture::new();
    let (running, _) = fixture.start_stubborn(&["--max-hold", "3"]);
    running.wait().exits_with(76).prints("--max-hold");
    // The cause is a locked database, because --max-hold has not been reached.
    let fixture = Fixture::new();
    let (running, _) = fixture.start_stubborn(&["--max-hold", "1h", "--lease", "3"]);
    let database = rusqlite::Connection::open(fixture.path("locks.db")).expect("the database");
    database.execute_batch("BEGIN IMMEDIATE").expect("the database is not busy for long");
    wait_until("the command receives SIGTERM", || fixture.read("signals") == "TERM\n");
    wait_until("the command is killed", || state(fixture.pid("ready")).is_none());
    database.execute_batch("COMMIT").expect("access to it");
    let finished = running.wait().exits_with(76).prints("the command was ended");
    assert!(!finished.stderr.contains("--max-hold"), "{finished:?}");
}

#[test]
fn killed_supervisor_ends_command() {
    let fixture = Fixture::new();
    let (running, child) = fixture.start_stubborn(&[]);
    let supervisor = parent(child);
    assert_eq!(parent(supervisor), running.pid());
    send("KILL", supervisor);
    running.wait().exits_with(76).prints("the supervisor of the command was killed");
    assert_eq!(state(child), None);
    fixture.run(&["run", "-n", "a", "true"]).exits_with(0);
}

/// Track record: one reading of `/proc` misses a process that forks and exits.
#[test]
fn fast_forking_process_is_ended() {
    const ROUNDS: u32 = 20;
    let program = "import os, time\n\
        end = time.monotonic() + 10\n\
        open('ready', 'w').close()\n\
        while time.monotonic() < end:\n\
        \x20   if os.fork(): os._exit(0)\n\
        \x20   time.sleep(0.003)\n\
        open('survived', 'w').close()\n";
    for _ in 0..ROUNDS {
        let fixture = Fixture::new();
        std::fs::write(fixture.path("hop.py"), program).expect("a file");
        let running = fixture.start(&["run", "a", "-c", "setsid -f python3 hop.py; exec sleep 1000"]);
        send("KILL", children(running.pid()).trim());
        // The output ends when all processes that share it have ended, so `survived` exists by then if one has
        // survived.
        running.wait().exits_with(76);
        assert!(!fixture.path("survived").exists());
    }
}

/// Track record: without file descriptors, a failed reading of `/proc` counted as one without descendants.
#[test]
fn unreadable_proc_does_not_count_as_ended() {
    let fixture = Fixture::new();
    let left = "setsid -f sh -c 'echo $$ > tmp; mv tmp ready; exec sleep 1000'; exec sleep 1000";
    let running = fixture.start(&["run", "a", "-c", left]);
    let (left, wrapper, supervisor) = (fixture.pid("ready"), running.pid().to_string(), children(running.pid()));
    let limit = |files: &str| {
        let set = fixture.command_of("prlimit", &["--pid", &wrapper, &format!("--nofile={files}:")]).status();
        assert!(set.expect("`prlimit` exists").success());
    };
    limit("3");
    send("KILL", supervisor.trim());
    wait_until("the wrapper has reaped the supervisor", || !is_there(supervisor.trim().parse().expect("a number")));
    fixture.run(&["run", "-w", "1", "a", "true"]).exits_with(75);
    assert!(state(left).is_some());
    limit("1024");
    running.wait().exits_with(76);
    assert_eq!(state(left), None);
}

#[test]
fn stopped_supervisor_does_not_keep_command_alive() {
    let fixture = Fixture::new();
    let (running, child) = fixture.start_stubborn(&["--max-hold", "4"]);
    send("STOP", parent(child));
    running.wait().exits_with(76);
    assert_eq!(state(child), None);
    fixture.run(&["run", "-n", "a", "true"]).exits_with(0);
}

/// Track record: a supervisor that had been stopped ended the command by an old grant while a newer one was unread.
#[test]
fn continued_supervisor_honours_grants_sent_meanwhile() {
    let fixture = Fixture::new();
    let script = "touch ready; until [ -e go ]; do sleep 0.05; done; exit 3";
    let running = fixture.start(&["run", "--lease", "2", "a", "-c", script]);
    let supervisor = children(running.pid());
    send("STOP", supervisor.trim());
    // The first grant expires meanwhile.
    fixture.run(&["run", "-w", "5", "a", "true"]).exits_with(75);
    send("CONT", supervisor.trim());
    std::fs::write(fixture.path("go"), "").expect("a file");
    running.wait().exits_with(3);
}

/// Track record: descendants of a process from before the run, which became children of the wrapper later, were ended
/// with the command.
#[test]
fn siblings_of_wrapper_are_not_ended() {
    // The wrapper ends the command in place of a supervisor that is killed, and of one that is stopped.
    for signal in ["KILL", "STOP"] {
        let fixture = Fixture::new();
        // One sibling keeps running. The other ends and leaves a child, which the kernel reparents to the wrapper.
        let leaves =
            "until [ -e ready ]; do sleep 0.05; done; setsid -f sh -c 'echo $$ > part; mv part left; exec sleep 1000'";
        let script = "sleep 1000 > out 2>&1 & echo $! > stays; sh -c \"$LEAVES\" > out 2>&1 & \
                      exec \"$PROGRAM\" run --max-hold 8 a -c \"$STUBBORN\"";
        let mut command = fixture.command_of("sh", &["-c", script]);
        command.env("STUBBORN", STUBBORN).env("LEAVES", leaves);
        let running = Running::spawn(command);
        wait_until("the second sibling has left a child", || fixture.path("left").exists());
        let siblings = ["stays", "left"].map(|file| fixture.pid(file));
        wait_until("both are children of the wrapper", || siblings.map(parent) == [running.pid(); 2]);
        // Give the wrapper time to see its new child.
        fixture.run(&["run", "-w", "1", "a", "true"]).exits_with(75);
        send(signal, parent(fixture.pid("ready")));
        running.wait().exits_with(76);
        let running_siblings = siblings.map(|sibling| state(sibling).is_some());
        siblings.iter().for_each(|sibling| send("KILL", sibling));
        assert_eq!((running_siblings, state(fixture.pid("ready"))), ([true, true], None), "{signal}");
    }
}
