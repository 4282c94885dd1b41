//! `run`: the environment, signals and exit code of its command.

use std::os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _};
use std::{fs::Permissions, process::Stdio};

use crate::support::{Fixture, HOLD, PROGRAM, send, wait_until};

#[test]
fn exit_code_of_child_is_returned() {
    let fixture = Fixture::new();
    for code in [0, 1, 3, 75, 255] {
        fixture.run(&["run", "a", "-c", &format!("exit {code}")]).exits_with(code);
    }
}

#[test]
fn signal_that_ends_child_exits_128_plus_number() {
    let fixture = Fixture::new();
    fixture.run(&["run", "a", "-c", "kill -s KILL $$"]).exits_with(137);
    fixture.run(&["run", "a", "-c", "kill -s TERM $$"]).exits_with(143);
}

/// A shell distinguishes a program that Ctrl-C has ended from one that exits with code 130.
#[test]
fn interrupted_run_ends_by_same_signal() {
    let fixture = Fixture::new();
    for (name, number) in [("HUP", 1), ("INT", 2), ("QUIT", 3), ("TERM", 15)] {
        let kill = format!("kill -s {name} $$");
        let finished = fixture.run(&["run", "--report", "report", "a", "-c", &kill]);
        assert_eq!((finished.code, finished.signal), (None, Some(number)), "{finished:?}");
        let report: serde_json::Value = serde_json::from_str(&fixture.read("report")).expect("JSON");
        assert_eq!((&report["code"], &report["released"]), (&(128 + number).into(), &true.into()), "{report}");
    }
    // Only the command writes a core dump.
    let script = "ulimit -c $(ulimit -H -c); exec \"$PROGRAM\" run a -c 'kill -s QUIT $$'";
    let status = fixture.command_of("sh", &["-c", script]).status().expect("sh is there");
    assert_eq!((status.signal(), status.core_dumped()), (Some(3), false), "{status}");
    // Control: for other signals, the run exits with a code.
    for (name, code) in [("KILL", 137), ("USR1", 138), ("ABRT", 134)] {
        let finished = fixture.run(&["run", "a", "-c", &format!("kill -s {name} $$")]);
        assert_eq!((finished.code, finished.signal), (Some(code), None), "{finished:?}");
    }
}

/// Track record: a real-time signal that ended the command also ended the supervisor, and `run` exited with 76.
#[test]
#[cfg(target_os = "linux")]
fn real_time_signal_exits_128_plus_number() {
    let fixture = Fixture::new();
    fixture.run(&["run", "a", "-c", "kill -34 $$"]).exits_with(162);
    fixture.run(&["run", "a", "-c", "kill -64 $$"]).exits_with(192);
    // A real-time signal that ends another descendant does not change the exit code.
    let script = "setsid -f sh -c 'echo $$ > tmp; mv tmp left; kill -34 $$'; \
        until [ -e left ] && [ ! -e /proc/$(cat left) ]; do sleep 0.05; done; exit 3";
    fixture.run(&["run", "a", "-c", script]).exits_with(3);
}

/// The exit codes are those of `env`: 127 if the command was not found, 126 if it cannot be executed.
#[test]
fn missing_command_exits_127_and_releases_lock() {
    let fixture = Fixture::new();
    std::fs::write(fixture.path("plain"), "no program").expect("a file");
    fixture.run(&["run", "a", "no-such-command"]).exits_with(127).prints_line("no-such-command");
    fixture.run(&["run", "-n", "a", "./plain"]).exits_with(126);
    fixture.run(&["run", "-n", "a", "/"]).exits_with(126);
    std::fs::write(fixture.path("plain"), "#!/bin/sh\nexit 4\n").expect("a file");
    std::fs::set_permissions(fixture.path("plain"), Permissions::from_mode(0o755)).expect("access to it");
    fixture.run(&["run", "-n", "a", "./plain"]).exits_with(4);
}

#[test]
fn command_keeps_its_own_flags_with_and_without_dashes() {
    let fixture = Fixture::new();
    for arguments in [&["run", "a", "--", "echo", "-n", "x"][..], &["run", "a", "echo", "-n", "x"]] {
        assert_eq!(fixture.run(arguments).exits_with(0).stdout, "x");
    }
    assert_eq!(fixture.run(&["run", "a", "--command", "echo $((1+1))"]).exits_with(0).stdout, "2\n");
    assert_eq!(fixture.run(&["run", "-c", "echo line", "a"]).exits_with(0).stdout, "line\n");
}

#[test]
fn child_has_lock_variables_and_own_stdin() {
    let fixture = Fixture::new();
    let script = "cat; echo \"$DYNAMO_LOCK_NAME|$DYNAMO_LOCK_OWNER|$DYNAMO_LOCK_STORE|$DYNAMO_LOCK_TOKEN\"";
    let mut command = fixture.command(&["run", "--owner", "me", "a b", "-c", script]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("it starts");
    std::io::Write::write_all(&mut child.stdin.take().expect("piped"), b"typed\n").expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let (typed, variables) = stdout.split_once('\n').expect("two lines");
    assert_eq!(typed, "typed");
    let (rest, token) = variables.trim().rsplit_once('|').expect("four variables");
    assert_eq!(rest, format!("a b|me|{}", fixture.store()));
    assert!(token.parse::<u64>().is_ok_and(|token| token > 0), "{token}");
}

#[test]
fn owner_and_lease_are_in_row_while_child_runs() {
    let fixture = Fixture::new();
    let show = &["run", "--owner", "me", "--lease", "30", "a", "--", PROGRAM, "show", "a", "--json"];
    let finished = fixture.run(show).exits_with(0);
    let row: serde_json::Value = serde_json::from_str(&finished.stdout).expect("one JSON object");
    assert_eq!(row["state"], "held");
    assert_eq!(row["leaseMs"], 30_000);
    assert!(row["owner"].as_str().is_some_and(|owner| owner.starts_with("me (")), "{row}");
    let after = fixture.run(&["show", "a", "--json"]).exits_with(0);
    assert!(after.stdout.contains("\"state\":\"free\""), "{after:?}");
}

#[test]
fn signals_reach_child_and_release_waits_for_its_end() {
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129), ("QUIT", 131)] {
        let fixture = Fixture::new();
        let running = fixture.start(HOLD);
        running.signal(signal);
        running.wait().exits_with(code);
        fixture.run(&["run", "-n", "a", "true"]).exits_with(0);
    }
    let fixture = Fixture::new();
    let slow = "trap 'until [ -e go ]; do sleep 0.05; done; exit 7' TERM; touch ready; while :; do sleep 0.05; done";
    let running = fixture.start(&["run", "a", "-c", slow]);
    running.signal("TERM");
    fixture.run(&["run", "-w", "0.5", "a", "true"]).exits_with(75);
    std::fs::write(fixture.path("go"), "").expect("a file");
    running.wait().exits_with(7);
}

/// Script that writes SIGUSR1 and SIGUSR2 to `signals`. Exits with 3 if the process that it started received neither.
const RECORDING: &str = "trap 'echo USR1 >> signals' USR1; trap 'echo USR2 >> signals' USR2; \
                     setsid sh -c 'echo $$ > tmp; mv tmp ready; exec sleep 1000' & \
                     until [ -e go ]; do sleep 0.05; done; kill -s TERM $(cat ready) && exit 3";

/// Track record: USR1 or USR2 to the wrapper killed it and its command, although the command handled these signals.
#[test]
fn usr1_and_usr2_reach_only_command() {
    let fixture = Fixture::new();
    // Also if the signal is sent to the whole process group.
    for whole_group in [false, true] {
        let mut running = fixture.start_job(&["run", "a", "-c", RECORDING]);
        for signal in ["USR1", "USR2"] {
            let to = if whole_group { -running.pid() } else { running.pid() };
            send(signal, to);
            wait_until("the signal arrives", || fixture.read("signals").contains(signal) || !running.is_running());
        }
        std::fs::write(fixture.path("go"), "").expect("a file");
        running.wait().exits_with(3);
        for file in ["signals", "ready", "go"] {
            std::fs::remove_file(fixture.path(file)).expect("it exists");
        }
    }
}

#[test]
fn ignored_hangup_stays_ignored_in_child() {
    let fixture = Fixture::new();
    let script = "trap '' HUP; exec \"$PROGRAM\" run a -c 'kill -s HUP $PPID; kill -s HUP $$; echo alive'";
    assert_eq!(fixture.run_script(script).exits_with(0).stdout, "alive\n");
    // Control: if SIGHUP is not ignored, it ends the command.
    fixture.run(&["run", "a", "-c", "kill -s HUP $$; echo alive"]).exits_with(129);
}

/// Track record: a pipe that was closed ended the command of a service, which systemd starts with SIGPIPE ignored.
#[test]
fn ignored_sigpipe_stays_ignored_in_child() {
    let fixture = Fixture::new();
    let run = "exec \"$PROGRAM\" run a sh -c 'kill -s PIPE $$; exit 7'";
    fixture.run_script(&format!("trap '' PIPE; {run}")).exits_with(7);
    fixture.run_script(run).exits_with(141);
}
