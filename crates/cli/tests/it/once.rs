//! `once`: a command that runs until it has succeeded once.

use crate::support::{Fixture, Running, wait_until};

/// Appends a line to `runs`, and succeeds.
const WORK: &str = "echo $DYNAMO_LOCK_TOKEN >> runs";

fn runs(fixture: &Fixture) -> usize {
    fixture.read("runs").lines().count()
}

fn state(fixture: &Fixture) -> String {
    let shown = fixture.run(&["show", "job", "--json"]).exits_with(0).stdout;
    serde_json::from_str::<serde_json::Value>(&shown).expect("JSON")["state"].as_str().unwrap_or_default().to_owned()
}

/// Starts a run of `job` that ends with this exit code once the file `go` exists.
fn start(fixture: &Fixture, code: u8) -> Running {
    let script = format!("touch ready; until [ -e go ]; do sleep 0.02; done; echo $$ >> runs; exit {code}");
    fixture.start(&["once", "job", "-c", &script])
}

fn let_go(fixture: &Fixture) {
    std::fs::write(fixture.path("go"), "").expect("a file");
}

#[test]
fn command_runs_once_and_show_has_its_success() {
    let fixture = Fixture::new();
    let finished = fixture.run(&["once", "job", "-c", WORK]).exits_with(0);
    assert_eq!(finished.stderr, "");
    let skipped =
        fixture.run(&["once", "job", "-c", WORK]).exits_with(0).prints_line("the work \"job\" succeeded at 20");
    skipped.prints("by tester (").prints("; skipped");
    assert_eq!(runs(&fixture), 1);
    assert_eq!(fixture.run(&["once", "-q", "job", "-c", WORK]).exits_with(0).stderr, "");
    assert_eq!(fixture.run(&["once", "-n", "job", "false"]).exits_with(0).stdout, "");
    let shown = fixture.run(&["show", "job"]).exits_with(0).stdout;
    for part in ["done: the work has succeeded", "by      tester (", "done    20", "until   it is reset"] {
        assert!(shown.contains(part), "{part:?} is missing in {shown}");
    }
}

#[test]
fn failed_command_runs_again() {
    let fixture = Fixture::new();
    fixture.run(&["once", "job", "-c", "echo $$ >> runs; exit 3"]).exits_with(3);
    assert_eq!(state(&fixture), "free");
    fixture.run(&["once", "job", "no-such-command"]).exits_with(127);
    fixture.run(&["once", "job", "-c", "kill -s TERM $$"]).exits_with(143);
    fixture.run(&["once", "job", "-c", WORK]).exits_with(0);
    assert_eq!((runs(&fixture), state(&fixture).as_str()), (2, "done"));
}

/// The end of the command itself is not the end of its work.
#[test]
fn success_waits_for_remaining_processes() {
    let fixture = Fixture::new();
    let run = fixture.start(&["once", "-q", "job", "-c", "sh -c 'until [ -e go ]; do sleep 0.02; done' & touch ready"]);
    assert_eq!(state(&fixture), "held");
    let_go(&fixture);
    run.wait().exits_with(0);
    assert_eq!(state(&fixture), "done");
}

#[test]
fn waiting_once_skips_after_success_and_runs_after_failure() {
    for (code, expected) in [(0, 1), (1, 2)] {
        let fixture = Fixture::new();
        let first = start(&fixture, code);
        let second = fixture.spawn_with_stderr_file(fixture.command(&["once", "job", "-c", WORK]));
        wait_until("the second one waits", || fixture.read("stderr").contains("waiting for lock \"job\""));
        let_go(&fixture);
        first.wait().exits_with(code.into());
        second.wait().exits_with(0);
        assert_eq!(runs(&fixture), expected);
        assert_eq!(fixture.read("stderr").contains("; skipped"), code == 0);
    }
}

#[test]
fn once_in_progress_is_reported_or_skipped_without_wait() {
    let fixture = Fixture::new();
    let first = start(&fixture, 0);
    fixture.run(&["once", "-n", "job", "true"]).exits_with(75).prints_line("held by tester (");
    fixture.run(&["once", "-w", "0.1", "-E", "9", "job", "true"]).exits_with(9);
    assert_eq!(fixture.run(&["once", "--skip", "job", "true"]).exits_with(0).stderr, "");
    let_go(&fixture);
    first.wait().exits_with(0);
    assert_eq!(runs(&fixture), 1);
}

#[test]
fn success_ends_after_the_time_of_for() {
    let fixture = Fixture::new();
    let once = ["once", "--for", "2s", "job", "-c", WORK];
    fixture.run(&once).exits_with(0);
    fixture.run(&once).exits_with(0).prints(", which counts until 20");
    assert_eq!(runs(&fixture), 1);
    wait_until("the success does not count any more", || {
        fixture.run(&once).exits_with(0);
        runs(&fixture) == 2
    });
    let tokens = fixture.read("runs");
    let tokens: Vec<u64> = tokens.lines().map(|token| token.parse().expect("a token")).collect();
    assert!(tokens[0] < tokens[1], "{tokens:?}");
}

#[test]
fn reset_forgets_the_success_after_a_confirmation() {
    let fixture = Fixture::new();
    fixture.run(&["once", "--reset", "--yes", "job"]).exits_with(0).prints_line("there is nothing to reset");
    fixture.run(&["once", "job", "-c", WORK]).exits_with(0);
    fixture.run(&["once", "--reset", "job"]).exits_with(64).prints_line("--yes");
    for (answer, code, expected) in [("n", 64, "done"), ("y", 0, "free")] {
        let (run, terminal) = fixture.spawn_on_terminal(&["once", "--reset", "job"]);
        wait_until("the command asks", || {
            terminal.contents().contains("Forget it, so that the command runs again? [y/N]")
        });
        assert!(terminal.contents().contains("the work \"job\" succeeded at 20"));
        terminal.type_text(&format!("{answer}\n"));
        run.wait().exits_with(code);
        assert_eq!(state(&fixture), expected);
    }
    fixture.run(&["once", "job", "-c", WORK]).exits_with(0);
    assert_eq!(runs(&fixture), 2);
    fixture.run(&["once", "--reset", "--yes", "job"]).exits_with(0).prints_line("this success is forgotten");
    assert_eq!(state(&fixture), "free");
}

/// The revocation is noticed only when the success is recorded.
#[test]
fn success_that_is_not_recorded_exits_79() {
    let fixture = Fixture::new();
    let script = "$PROGRAM revoke job --token $DYNAMO_LOCK_TOKEN --yes --force && echo $$ >> runs";
    let finished = fixture.run(&["once", "--report", "report", "job", "-c", script]).exits_with(79);
    finished.prints("the command succeeded, but its success was not recorded, so it may run again: ").prints("revoked");
    let report: serde_json::Value = serde_json::from_str(&fixture.read("report")).expect("JSON");
    assert_eq!((&report["recorded"], &report["childCode"], &report["code"]), (&false.into(), &0.into(), &79.into()));
    fixture.run(&["once", "job", "-c", WORK]).exits_with(0);
    assert_eq!(runs(&fixture), 2);
}

#[test]
fn report_has_whether_the_success_is_recorded() {
    let fixture = Fixture::new();
    let recorded = |flags: &[&str], script: &str| {
        fixture.run(&[&["once", "--report", "report"], flags, &["job", "-c", script]].concat());
        let report: serde_json::Value = serde_json::from_str(&fixture.read("report")).expect("JSON");
        (report["acquired"].as_bool().unwrap(), report["recorded"].as_bool())
    };
    assert_eq!(recorded(&[], "exit 1"), (true, Some(false)));
    assert_eq!(recorded(&[], "exit 0"), (true, Some(true)));
    assert_eq!(recorded(&["-q"], "exit 0"), (false, Some(true)), "skipped");
}

#[test]
fn row_of_another_kind_is_refused() {
    let fixture = Fixture::new();
    fixture.run(&["run", "job", "true"]).exits_with(0);
    fixture
        .run(&["once", "job", "true"])
        .exits_with(78)
        .prints_line("is that of a plain lock, but work that runs once was requested: use another name");
    fixture.run(&["once", "other", "true"]).exits_with(0);
    fixture.run(&["run", "other", "true"]).exits_with(78).prints_line("is that of work that runs once");
}

/// A nested `once` would wait for itself.
#[test]
fn nested_once_of_the_same_work_is_refused() {
    let fixture = Fixture::new();
    fixture.run(&["once", "job", "-c", "$PROGRAM once job true"]).exits_with(75).prints("never end");
    assert_eq!(state(&fixture), "free");
}

#[test]
fn invalid_arguments_of_once_are_usage_errors() {
    let fixture = Fixture::new();
    for arguments in [
        &["once", "job"][..],
        &["once", "--for", "0", "job", "true"],
        &["once", "--for", "3651d", "job", "true"],
        &["once", "--yes", "job", "true"],
        &["once", "--reset", "--yes", "job", "true"],
        &["once", "--reset", "--for", "1h", "job"],
        &["once", "-n", "-w", "3", "job", "true"],
    ] {
        fixture.run(arguments).exits_with(64);
    }
}
