//! `run --at-least`: the lock is kept after a quick command.

use crate::support::{Fixture, Running, children, state, wait_until};

/// `--at-least` prevents that hosts whose clocks differ run a scheduled job twice.
#[test]
fn at_least_keeps_lock_after_quick_command() {
    let fixture = Fixture::new();
    let mut run = Running::spawn(fixture.command(&["run", "--at-least", "1h", "a", "touch", "ran"]));
    wait_until("the command has ended", || fixture.path("ran").exists());
    // SIGUSR1 is meant for the command alone, so it ends nothing.
    run.signal("USR1");
    fixture.run(&["run", "-w", "1", "a", "true"]).exits_with(75);
    assert!(run.is_running());
    run.signal("TERM");
    // The signal ends the pause only: the lock is released, and the exit code is that of the command.
    run.wait().exits_with(0);
    fixture.run(&["run", "-n", "a", "true"]).exits_with(0);
    // Control: a command that took longer keeps the lock no longer.
    fixture.run(&["run", "--at-least", "0.1", "a", "sleep", "0.2"]).exits_with(0);
    // If the command cannot be started, the lock is released, so that another host can run it.
    fixture.run(&["run", "--at-least", "1h", "a", "no-such-command"]).exits_with(127);
}

/// Track record: a lock that was kept by `--at-least` also kept the terminal, without a message. `-q` and `--skip`
/// print nothing.
#[test]
fn lock_kept_after_command_is_reported() {
    let fixture = Fixture::new();
    let keep = |name: &str, flags: &[&str]| {
        let arguments = [&["run", "--at-least", "1h"], flags, &[name, "touch", name]].concat();
        fixture.spawn_with_stderr_file(fixture.command(&arguments))
    };
    let end = |run: Running| {
        run.signal("TERM");
        run.wait().exits_with(0);
    };
    let run = keep("a", &[]);
    wait_until("the message is printed", || fixture.read("stderr").contains('\n'));
    end(run);
    let line = fixture.read("stderr");
    assert!(line.starts_with("dynamo-lock: the command has ended; the lock is kept for another "), "{line:?}");
    assert!(line.ends_with(" (--at-least)\n") && line.lines().count() == 1, "{line:?}");
    for (name, flag) in [("b", "-q"), ("c", "--skip")] {
        let run = keep(name, &[flag]);
        wait_until("the command has ended", || fixture.path(name).exists());
        wait_until("its supervisor has ended", || children(run.pid()).is_empty());
        end(run);
        assert_eq!(fixture.read("stderr"), "", "{flag}");
    }
}

/// Track record: Ctrl-Z while a lock was kept by `--at-least` released it.
#[test]
fn terminal_stop_does_not_end_at_least() {
    let fixture = Fixture::new();
    let run = fixture.start_job(&["run", "--at-least", "1h", "a", "touch", "ready"]);
    wait_until("command and supervisor have ended", || children(run.pid()).is_empty());
    wait_until("the run is stopped or ends", || {
        run.signal("TSTP");
        matches!(state(run.pid()), Some('T') | None)
    });
    run.signal("CONT");
    fixture.run(&["run", "-n", "a", "true"]).exits_with(75);
    run.signal("TERM");
    run.wait().exits_with(0);
    fixture.run(&["run", "-n", "a", "true"]).exits_with(0);
}

#[test]
fn lock_lost_during_at_least_is_reported() {
    let fixture = Fixture::new();
    let run = Running::spawn(fixture.command(&["run", "--lease", "2", "--at-least", "1h", "a", "touch", "ran"]));
    wait_until("the command has ended", || fixture.path("ran").exists());
    fixture.revoke();
    run.wait().exits_with(76).prints("revoked").prints("ended by itself");
}
