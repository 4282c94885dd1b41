//! `run --drill`, compared with the losses that it rehearses.

use serde_json::Value;

use crate::support::{Finished, Fixture, Running};

/// Script that writes each signal and the ready file, if it exists, to `signals`, and ignores the signal.
const RECORDING: &str = "for signal in USR1 TERM; do trap \"echo $signal \\$(ls ready-file 2> /dev/null) >> signals\" \
    $signal; done; echo $$ > pid; touch ready; while :; do sleep 0.05; done";

/// Options of all runs.
const OPTIONS: &[&str] = &[
    "run",
    "--lease",
    "6s",
    "--grace",
    "1s",
    "--warn-signal",
    "USR1@2s",
    "--ready-file",
    "ready-file",
    "--report",
    "report",
];

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
struct End {
    code: Option<i32>,
    /// Signals to the command, each with the ready file if it existed.
    signals: String,
    child_code: Value,
    child_signal: Value,
    lost: Value,
    has_ready_file: bool,
}

impl End {
    fn of(fixture: &Fixture, finished: &Finished) -> Self {
        let report = report(fixture);
        Self {
            code: finished.code,
            signals: fixture.read("signals"),
            child_code: report["childCode"].clone(),
            child_signal: report["childSignal"].clone(),
            lost: report["lost"].clone(),
            has_ready_file: fixture.path("ready-file").exists(),
        }
    }
}

fn report(fixture: &Fixture) -> Value {
    serde_json::from_str(&fixture.read("report")).expect("a report")
}

fn start(fixture: &Fixture, flags: &[&str]) -> Running {
    fixture.start(&[OPTIONS, flags, &["a", "-c", RECORDING]].concat())
}

/// Runs a drill to its end. Asserts that it is visible, and that the lock is free after it.
fn rehearse(drill: &str) -> End {
    let fixture = Fixture::new();
    let running = start(&fixture, &["-q", "--drill", drill]);
    // Another client acquires the lock only after the command has ended.
    let check = "kill -0 \"$(cat pid)\" 2> /dev/null && touch overlap; true";
    let waiter = Running::spawn(fixture.command(&["run", "-q", "a", "-c", check]));
    let finished = running.wait();
    waiter.wait().exits_with(0);
    assert!(!fixture.path("overlap").exists());
    let report = report(&fixture);
    assert_eq!((&report["drill"], &report["released"]), (&Value::from(drill), &Value::from(true)), "{report}");
    // The shell reports its child that SIGTERM has ended.
    let lines: Vec<_> = finished.stderr.lines().filter(|line| line.starts_with("dynamo-lock: ")).collect();
    let prefix = format!("dynamo-lock: drill {drill}: ");
    assert!(lines.len() == 2 && lines.iter().all(|line| line.starts_with(&prefix)), "{finished:?}");
    assert!(lines[1].ends_with("; the command was ended"), "{finished:?}");
    let shown = fixture.run(&["show", "a", "--json"]).exits_with(0).stdout;
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["state"], "free");
    End::of(&fixture, &finished)
}

#[test]
fn drills_end_command_as_failing_renewals_do() {
    let fixture = Fixture::new();
    let running = start(&fixture, &[]);
    let database = rusqlite::Connection::open(fixture.path("locks.db")).expect("the database");
    database.execute_batch("BEGIN EXCLUSIVE").expect("it is free");
    let finished = running.wait();
    let real = End::of(&fixture, &finished);
    assert_eq!((real.code, real.signals.as_str()), (Some(76), "USR1 ready-file\nTERM\n"), "{finished:?}");
    assert_eq!(report(&fixture)["drill"], Value::Null);
    assert_eq!(rehearse("lost@4s"), real);
    assert_eq!(rehearse("slow-store"), real);
}

#[test]
fn drill_ends_command_as_revocation_does() {
    let fixture = Fixture::new();
    let running = start(&fixture, &[]);
    fixture.revoke();
    let finished = running.wait();
    let real = End::of(&fixture, &finished);
    assert_eq!((real.code, real.signals.as_str()), (Some(76), "TERM\n"), "{finished:?}");
    assert_eq!(rehearse("revoked@2s"), real);
}

/// The row is that of a run that has ended: free, with the token of the acquisition.
#[test]
fn row_after_drill_is_that_of_released_lock() {
    let fixture = Fixture::new();
    for drill in ["lost@0", "revoked@0", "slow-store"] {
        let flags = ["run", "--lease", "1s", "--grace", "250ms", "--report", "report", "--drill", drill];
        fixture.run(&[&flags[..], &["a", "sleep", "100"]].concat()).exits_with(76).prints("drill ");
        let shown = fixture.run(&["show", "a", "--json"]).exits_with(0).stdout;
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        assert_eq!((&shown["state"], &shown["token"]), (&Value::from("free"), &report(&fixture)["token"]), "{drill}");
    }
}

#[test]
fn command_that_ends_before_drill_keeps_its_exit_code() {
    let fixture = Fixture::new();
    for drill in ["lost@1h", "revoked@1h"] {
        let flags = ["run", "--report", "report", "--drill", drill];
        let finished = fixture.run(&[&flags[..], &["a", "-c", "exit 5"]].concat()).exits_with(5);
        assert_eq!(finished.stderr, "");
        assert_eq!((&report(&fixture)["lost"], &report(&fixture)["drill"]), (&false.into(), &drill.into()));
    }
    fixture.run(&["run", "--drill", "lost@soon", "a", "true"]).exits_with(64).prints("--drill");
}

#[test]
fn forever_runs_command_again_after_drill() {
    let fixture = Fixture::new();
    let command = "[ -e again ] && exit 0; touch again; exec sleep 100";
    let flags = ["run", "--forever", "--lease", "1s", "--grace", "250ms", "--report", "report", "--drill", "lost@1s"];
    let finished = fixture.run(&[&flags[..], &["a", "-c", command]].concat()).exits_with(0);
    let lines: Vec<_> = finished.stderr.lines().collect();
    assert!(lines.len() == 2 && lines[1].contains("; another attempt follows in"), "{finished:?}");
    assert_eq!(report(&fixture)["drill"], Value::Null, "the last attempt was no drill");
}
