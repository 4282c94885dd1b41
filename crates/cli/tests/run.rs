//! `dynamo-lock run`: exclusion, the environment of the child, signals and exit codes.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use support::{Fixture, PROGRAM, Running, until};

/// Returns a run that holds lock `a` until it is killed.
const HOLD: &[&str] = &["run", "a", "-c", "touch ready; exec sleep 100"];

#[test]
fn exit_code_of_child_is_returned() {
    let fixture = Fixture::new();
    for code in [0, 1, 3, 75, 255] {
        fixture.run(&["run", "a", "-c", &format!("exit {code}")]).ends_with(code);
    }
}

#[test]
fn signal_that_ends_child_exits_128_plus_number() {
    let fixture = Fixture::new();
    fixture.run(&["run", "a", "-c", "kill -s KILL $$"]).ends_with(137);
    fixture.run(&["run", "a", "-c", "kill -s TERM $$"]).ends_with(143);
}

#[test]
#[cfg(target_os = "linux")]
fn real_time_signal_exits_128_plus_number() {
    let fixture = Fixture::new();
    fixture.run(&["run", "a", "-c", "kill -34 $$"]).ends_with(162);
    fixture.run(&["run", "a", "-c", "kill -64 $$"]).ends_with(192);
    // A signal that ends the remaining descendants is reported for them alone.
    let script = "setsid -f sh -c 'echo $$ > tmp; mv tmp left; kill -34 $$'; \
        until [ -e left ] && [ ! -e /proc/$(cat left) ]; do sleep 0.05; done; exit 3";
    fixture.run(&["run", "a", "-c", script]).ends_with(3);
}

#[test]
fn missing_command_exits_127_and_releases_lock() {
    let fixture = Fixture::new();
    std::fs::write(fixture.path("plain"), "no program").expect("a file");
    let ran = fixture.run(&["run", "a", "no-such-command"]).ends_with(127);
    assert!(ran.stderr.contains("no-such-command") && ran.stderr.lines().count() == 1, "{ran:?}");
    fixture.run(&["run", "-n", "a", "./plain"]).ends_with(126);
    fixture.run(&["run", "-n", "a", "/"]).ends_with(126);
    let mut mode = std::fs::metadata(fixture.path("plain")).expect("it is there").permissions();
    mode.set_mode(0o755);
    std::fs::write(fixture.path("plain"), "#!/bin/sh\nexit 4\n").expect("a file");
    std::fs::set_permissions(fixture.path("plain"), mode).expect("ours");
    fixture.run(&["run", "-n", "a", "./plain"]).ends_with(4);
}

#[test]
fn command_keeps_its_own_flags_with_and_without_dashes() {
    let fixture = Fixture::new();
    for arguments in [&["run", "a", "--", "echo", "-n", "x"][..], &["run", "a", "echo", "-n", "x"]] {
        assert_eq!(fixture.run(arguments).ends_with(0).stdout, "x");
    }
    assert_eq!(fixture.run(&["run", "a", "--command", "echo $((1+1))"]).ends_with(0).stdout, "2\n");
    assert_eq!(fixture.run(&["run", "-c", "echo line", "a"]).ends_with(0).stdout, "line\n");
}

#[test]
fn child_has_lock_variables_and_own_stdin() {
    let fixture = Fixture::new();
    let script = "cat; echo \"$DYNAMO_LOCK_NAME|$DYNAMO_LOCK_OWNER|$DYNAMO_LOCK_STORE|$DYNAMO_LOCK_TOKEN\"";
    let mut command = fixture.command(&["run", "--owner", "me", "a b", "-c", script]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("it runs");
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
    let ran = fixture.run(show).ends_with(0);
    let row: serde_json::Value = serde_json::from_str(&ran.stdout).expect("one JSON object");
    assert_eq!(row["state"], "held");
    assert_eq!(row["leaseMs"], 30_000);
    assert!(row["owner"].as_str().is_some_and(|owner| owner.starts_with("me (")), "{row}");
    let after = fixture.run(&["show", "a", "--json"]).ends_with(0);
    assert!(after.stdout.contains("\"state\":\"free\""), "{after:?}");
}

#[test]
fn run_without_wait_reports_holder() {
    let fixture = Fixture::new();
    let holder = fixture.start(HOLD);
    for flags in [&["-n"][..], &["--nb"], &["--nonblock"], &["-w", "0"], &["-w", "0.2"], &["--wait", "200ms"]] {
        let ran = fixture.run(&[&["run"], flags, &["a", "touch", "ran"]].concat()).ends_with(75);
        assert!(ran.stderr.contains("held by tester (") && ran.stderr.lines().count() == 1, "{ran:?}");
    }
    fixture.run(&["run", "--timeout", "0", "a", "touch", "ran"]).ends_with(75);
    assert!(!fixture.path("ran").exists());
    // Control: another lock is free.
    fixture.run(&["run", "-n", "b", "touch", "ran"]).ends_with(0);
    assert!(fixture.path("ran").exists());
    drop(holder);
}

#[test]
fn held_lock_exit_code_can_be_chosen_or_run_skipped() {
    let fixture = Fixture::new();
    let _holder = fixture.start(HOLD);
    fixture.run(&["run", "-n", "-E", "9", "a", "true"]).ends_with(9);
    fixture.run(&["run", "-n", "--conflict-exit-code", "0", "a", "false"]).ends_with(0);
    for arguments in [&["run", "--skip", "a", "touch", "ran"][..], &["run", "--skip", "-w", "0.1", "a", "touch", "ran"]]
    {
        let ran = fixture.run(arguments).ends_with(0);
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    }
    assert_eq!(fixture.run(&["run", "-q", "-n", "a", "true"]).ends_with(75).stderr, "");
    assert!(!fixture.path("ran").exists());
    // Control: --skip runs the command if the lock is free.
    fixture.run(&["run", "--skip", "b", "-c", "exit 5"]).ends_with(5);
}

#[test]
#[allow(clippy::disallowed_methods)] // waits long enough for a report; no result depends on it
fn second_run_waits_and_reports_holder() {
    let fixture = Fixture::new();
    let first = fixture.start(&["run", "a", "-c", "touch ready; until [ -e go ]; do sleep 0.05; done; echo 1 >> log"]);
    let second = Running::of(fixture.command(&["run", "--owner", "second", "a", "-c", "echo 2 >> log"]));
    let quiet = Running::of(fixture.command(&["run", "-q", "a", "-c", "echo 3 >> quiet"]));
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!((fixture.read("log"), fixture.read("quiet")), (String::new(), String::new()));
    std::fs::write(fixture.path("go"), "").expect("a file");
    first.end().ends_with(0);
    let second = second.end().ends_with(0);
    assert!(second.stderr.contains("waiting for lock \"a\", held by tester ("), "{second:?}");
    assert_eq!(quiet.end().ends_with(0).stderr, "");
    assert_eq!(fixture.read("log"), "1\n2\n");
}

#[test]
fn nested_run_of_same_lock_is_refused() {
    let fixture = Fixture::new();
    let ran = fixture.run(&["run", "a", "--", PROGRAM, "run", "a", "touch", "ran"]).ends_with(75);
    assert!(ran.stderr.contains("around this one"), "{ran:?}");
    fixture.run(&["run", "a", "--", PROGRAM, "run", "-E", "9", "a", "touch", "ran"]).ends_with(9);
    assert!(!fixture.path("ran").exists());
    let inner = ["run", "a", "--", PROGRAM, "run", "b", "-c", "echo $DYNAMO_LOCK_NAME"];
    assert_eq!(fixture.run(&inner).ends_with(0).stdout, "b\n");
    // The same name in another store is another lock, and the child sees that store.
    let store = format!("{}2", fixture.store());
    let inner = ["run", "a", "--", PROGRAM, "--store", &store, "run", "a", "-c", "echo $DYNAMO_LOCK_STORE"];
    assert_eq!(fixture.run(&inner).ends_with(0).stdout, format!("{store}\n"));
}

#[test]
fn variables_of_ended_run_do_not_make_run_nested() {
    let fixture = Fixture::new();
    let token = fixture.run(&["run", "a", "-c", "echo $DYNAMO_LOCK_TOKEN"]).ends_with(0).stdout;
    let mut command = fixture.command(&["run", "a", "-c", "exit 6"]);
    command.env("DYNAMO_LOCK_RUNS", format!("[[\"a\",{},\"{}\"]]", token.trim(), fixture.store()));
    Running::of(command).end().ends_with(6);
}

#[test]
fn signals_reach_child_and_release_waits_for_its_end() {
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129), ("QUIT", 131)] {
        let fixture = Fixture::new();
        let running = fixture.start(HOLD);
        running.signal(signal);
        running.end().ends_with(code);
        fixture.run(&["run", "-n", "a", "true"]).ends_with(0);
    }
    let fixture = Fixture::new();
    let slow = "trap 'until [ -e go ]; do sleep 0.05; done; exit 7' TERM; touch ready; while :; do sleep 0.05; done";
    let running = fixture.start(&["run", "a", "-c", slow]);
    running.signal("TERM");
    fixture.run(&["run", "-w", "0.5", "a", "true"]).ends_with(75);
    std::fs::write(fixture.path("go"), "").expect("a file");
    running.end().ends_with(7);
}

/// Script that exits with 3 if it has received both signals and its own child has not.
const HEARS: &str = "trap 'echo USR1 >> heard' USR1; trap 'echo USR2 >> heard' USR2; \
                     setsid sh -c 'echo $$ > tmp; mv tmp ready; exec sleep 1000' & \
                     until [ -e go ]; do sleep 0.05; done; kill -s TERM $(cat ready) && exit 3";

#[test]
fn usr1_and_usr2_reach_only_command() {
    let fixture = Fixture::new();
    // The same holds if every process on the terminal receives them.
    for to_all in [false, true] {
        let mut command = fixture.command(&["run", "a", "-c", HEARS]);
        command.process_group(0);
        let mut running = Running::of(command);
        until("the command is ready", || fixture.path("ready").exists());
        for signal in ["USR1", "USR2"] {
            let to = if to_all { -running.pid() } else { running.pid() };
            fixture.command_of("kill", &["-s", signal, "--", &to.to_string()]).status().expect("kill is there");
            until("it is heard", || fixture.read("heard").contains(signal) || !running.is_running());
        }
        std::fs::write(fixture.path("go"), "").expect("a file");
        running.end().ends_with(3);
        for file in ["heard", "ready", "go"] {
            std::fs::remove_file(fixture.path(file)).expect("it is there");
        }
    }
}

#[test]
fn signal_ends_wait_and_leaves_no_row() {
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129), ("QUIT", 131), ("USR1", 138), ("USR2", 140)] {
        let fixture = Fixture::new();
        let holder = fixture.start(HOLD);
        let waiter = Running::of(fixture.command(&["run", "a", "touch", "ran"]));
        // The run prints the holder once it handles signals, so wait for that line.
        until("it catches the signal", || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", waiter.pid())).unwrap_or_default();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            // The last handler that it installs is for QUIT, number 3.
            caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 0b100 != 0)
        });
        waiter.signal(signal);
        waiter.end().ends_with(code);
        assert!(!fixture.path("ran").exists());
        holder.signal("TERM");
        holder.end().ends_with(143);
        fixture.run(&["run", "-n", "a", "true"]).ends_with(0);
    }
}

#[test]
fn ignored_hangup_stays_ignored_in_child() {
    let fixture = Fixture::new();
    let script = "trap '' HUP; exec \"$PROGRAM\" run a -c 'kill -s HUP $PPID; kill -s HUP $$; echo alive'";
    let ran = Running::of(fixture.command_of("sh", &["-c", script])).end().ends_with(0);
    assert_eq!(ran.stdout, "alive\n");
    // Control: without nohup the signal ends the child.
    fixture.run(&["run", "a", "-c", "kill -s HUP $$; echo alive"]).ends_with(129);
}
