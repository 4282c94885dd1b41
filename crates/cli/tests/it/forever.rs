//! `run --forever`: the command runs again after a failure or a loss.

use crate::support::{Fixture, HOLD, Running, send, silent_server, wait_until};

/// Script that appends its token to `tokens`, and fails until this is its third line.
const THIRD_SUCCEEDS: &str = "echo $DYNAMO_LOCK_TOKEN >> tokens; [ $(wc -l < tokens) -ge 3 ]";

/// Starts a run of `script` with its standard error in the file `stderr`.
fn start(fixture: &Fixture, flags: &[&str], script: &str) -> Running {
    let arguments = [&["run", "--forever"], flags, &["a", "-c", script]].concat();
    fixture.spawn_with_stderr_file(fixture.command(&arguments))
}

fn wait_for_pause(fixture: &Fixture) {
    wait_until("the next attempt is announced", || fixture.read("stderr").contains("another attempt follows in"));
}

fn tokens(fixture: &Fixture) -> Vec<u64> {
    fixture.read("tokens").lines().map(|token| token.parse().expect("a token")).collect()
}

#[test]
fn failed_command_runs_again_until_it_succeeds() {
    let fixture = Fixture::new();
    let report = ["run", "--forever", "--report", "report", "a", "-c", THIRD_SUCCEEDS];
    let finished = fixture.run(&report).exits_with(0).prints("the command failed (exit status: 1); another attempt");
    assert_eq!(finished.stderr.lines().count(), 2, "{finished:?}");
    let tokens = tokens(&fixture);
    assert!(tokens.len() == 3 && tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
    let report: serde_json::Value = serde_json::from_str(&fixture.read("report")).expect("JSON");
    assert_eq!((report["token"].as_u64(), report["childCode"].as_u64()), (Some(tokens[2]), Some(0)), "{report}");
    fixture.run(&["run", "-n", "a", "true"]).exits_with(0);
}

#[test]
fn quiet_run_does_not_report_attempts() {
    let fixture = Fixture::new();
    let finished = fixture.run(&["run", "--forever", "-q", "a", "-c", THIRD_SUCCEEDS]).exits_with(0);
    assert_eq!(finished.stderr, "");
}

#[test]
fn lock_is_free_during_the_pause() {
    let fixture = Fixture::new();
    let run = start(&fixture, &["--lease", "60"], "false");
    wait_for_pause(&fixture);
    // A lock that was not released would be held for longer.
    fixture.run(&["run", "-w", "20", "a", "touch", "other"]).exits_with(0);
    assert!(fixture.path("other").exists());
    run.signal("TERM");
    run.wait().exits_with(143);
}

/// The first attempt runs the command, and the second one does not acquire the lock.
#[test]
fn report_is_of_the_last_attempt() {
    let fixture = Fixture::new();
    let run = start(&fixture, &["-w", "0.5", "--report", "report"], "touch ran; exit 3");
    wait_for_pause(&fixture);
    let holder = fixture.start(HOLD);
    run.wait().exits_with(75);
    assert!(fixture.path("ran").exists());
    let report: serde_json::Value = serde_json::from_str(&fixture.read("report")).expect("JSON");
    let facts = ["code", "acquired", "released", "childCode"].map(|key| report[key].clone());
    assert_eq!(facts, [75.into(), false.into(), false.into(), serde_json::Value::Null], "{report}");
    drop(holder);
}

/// The command may end in its own way at the signal, also with a failure.
#[test]
fn term_and_int_end_the_run_with_its_command() {
    for (script, signal, code) in [
        ("trap 'exit 3' TERM; touch ready; while :; do sleep 0.05; done", "TERM", 3),
        ("touch ready; exec sleep 100", "TERM", 143),
        ("trap 'exit 4' INT; touch ready; while :; do sleep 0.05; done", "INT", 4),
        ("touch ready; exec sleep 100", "INT", 130),
        ("touch ready; exec sleep 100", "HUP", 129),
        ("touch ready; exec sleep 100", "QUIT", 131),
    ] {
        let fixture = Fixture::new();
        let run = fixture.start(&["run", "--forever", "a", "-c", script]);
        run.signal(signal);
        run.wait().exits_with(code);
        fixture.run(&["run", "-n", "a", "true"]).exits_with(0);
    }
}

/// A daemon reloads its configuration at SIGHUP, so the signal does not request the end of the run.
#[test]
fn handled_hup_does_not_end_the_run() {
    let fixture = Fixture::new();
    let script = "trap 'echo HUP > got; exit 3' HUP; [ -e got ] && exit 0; touch ready; while :; do sleep 0.05; done";
    let run = fixture.start(&["run", "--forever", "a", "-c", script]);
    run.signal("HUP");
    run.wait().exits_with(0).prints("the command failed (exit status: 3)");
}

#[test]
fn command_that_was_killed_runs_again() {
    let fixture = Fixture::new();
    let script = "[ -e ready ] && exit 0; echo $$ > tmp; mv tmp ready; exec sleep 100";
    let run = fixture.start(&["run", "--forever", "a", "-c", script]);
    send("KILL", fixture.pid("ready"));
    run.wait().exits_with(0).prints("the command failed (signal: 9");
}

#[test]
fn command_runs_again_under_a_new_token_after_a_loss() {
    let fixture = Fixture::new();
    let script = "echo $DYNAMO_LOCK_TOKEN >> tokens; [ -e ready ] && exit 0; touch ready; exec sleep 100";
    let run = fixture.start(&["run", "--forever", "--lease", "2", "a", "-c", script]);
    fixture.revoke();
    run.wait().exits_with(0).prints("revoked");
    let tokens = tokens(&fixture);
    assert!(tokens.len() == 2 && tokens[0] < tokens[1], "{tokens:?}");
}

#[test]
fn candidate_survives_usr1_and_ends_by_term() {
    let fixture = Fixture::new();
    let holder = fixture.start(HOLD);
    let run = start(&fixture, &[], "touch ran");
    wait_until("it waits for the lock", || !fixture.read("stderr").is_empty());
    run.signal("USR1");
    drop(holder);
    run.wait().exits_with(0);
    assert!(fixture.path("ran").exists());
    // Control: other runs end by that signal, and this one by SIGTERM.
    for (flags, signal, code) in [(&["run", "--forever"][..], "TERM", 143), (&["run"], "USR1", 138)] {
        let fixture = Fixture::new();
        let _holder = fixture.start(HOLD);
        let run = fixture.spawn_with_stderr_file(fixture.command(&[flags, &["a", "true"]].concat()));
        wait_until("it waits for the lock", || !fixture.read("stderr").is_empty());
        run.signal(signal);
        run.wait().exits_with(code);
    }
}

/// Neither a wrong command nor a limit of the wait passes by itself.
#[test]
fn lasting_problem_ends_the_run() {
    let fixture = Fixture::new();
    fixture.run(&["run", "--forever", "a", "no-such-command"]).exits_with(127);
    let _holder = fixture.start(HOLD);
    fixture.run(&["run", "--forever", "-w", "0.1", "a", "true"]).exits_with(75);
    for flags in [&["-n"][..], &["--skip"], &["-w", "0"]] {
        fixture.run(&[&["run", "--forever"], flags, &["a", "true"]].concat()).exits_with(64);
    }
}

#[test]
fn unavailable_store_is_tried_again() {
    let (fixture, _server) = silent_server();
    let run = start(&fixture, &["--lease", "1"], "touch ran");
    wait_for_pause(&fixture);
    run.signal("TERM");
    run.wait().exits_with(143);
    assert!(!fixture.path("ran").exists());
}
