//! The report of `run --report`.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::{Fixture, HOLD, Running, wait_until};

/// Returns the report, with its tokens replaced by whether it has one. Asserts that it is one line.
fn read_report(fixture: &Fixture) -> Value {
    let text = fixture.read("report");
    assert!(text.ends_with('\n') && text.lines().count() == 1, "{text:?}");
    let mut report: Value = serde_json::from_str(&text).expect("JSON");
    report["token"] = report["token"].is_u64().into();
    let times = ["startedAt", "waitedMs", "heldMs"].map(|key| report.as_object_mut().expect("an object").remove(key));
    assert_times(&times.map(|time| time.expect("a key of each report")), report["acquired"] == true);
    let lock = json!([{ "name": report["name"], "token": report["token"], "released": report["released"] }]);
    report["locks"][0]["token"] = report["locks"][0]["token"].is_u64().into();
    assert_eq!(report["locks"].take(), lock, "a report of one lock lists it");
    report
}

/// Asserts that these are the begin of a run in milliseconds since 1970, a wait, and the time of a hold.
fn assert_times([started, waited, held]: &[Value; 3], is_acquired: bool) {
    assert!(started.as_u64().is_some_and(|ms| ms > 1_700_000_000_000) && waited.is_u64(), "{started} {waited}");
    assert!(if is_acquired { held.is_u64() } else { held.is_null() }, "{held}");
}

/// Asserts that the message contains `part`, and that the other fields are those of a successful run but for
/// `expected`.
fn assert_report(fixture: &Fixture, part: &str, expected: Value) {
    let mut report = read_report(fixture);
    let message = report["message"].take();
    assert!(message.as_str().unwrap_or_default().contains(part), "{message}");
    let mut whole = json!({
        "name": "a", "acquired": true, "token": true, "lost": false, "childCode": null, "childSignal": null,
        "released": true, "code": 0, "message": null, "lastError": null, "locks": null, "recorded": null, "drill": null,
    });
    for (key, value) in expected.as_object().expect("an object") {
        whole[key] = value.clone();
    }
    assert_eq!(report, whole);
}

#[test]
fn report_separates_child_code_and_signal_from_run_code() {
    let fixture = Fixture::new();
    fixture.run(&["run", "--report", "report", "a", "-c", "exit 75"]).exits_with(75);
    assert_report(&fixture, "", json!({ "childCode": 75, "code": 75 }));
    // The report is replaced atomically, and no temporary file remains.
    fixture.run(&["run", "--report", "report", "a", "-c", "kill -s KILL $$"]).exits_with(137);
    assert_report(&fixture, "", json!({ "childSignal": 9, "code": 137 }));
    let files = std::fs::read_dir(fixture.path("")).expect("the directory").flatten();
    assert!(files.map(|file| file.file_name()).all(|name| name == "report" || name.to_string_lossy().contains("db")));
}

/// The report shows whether the lock was acquired, which exit code 75 of a command does not.
#[test]
fn report_is_written_if_command_did_not_run() {
    let fixture = Fixture::new();
    let not_acquired = |code: u8| json!({ "acquired": false, "token": false, "released": false, "code": code });
    let holder = fixture.start(HOLD);
    fixture.run(&["run", "-n", "--report", "report", "a", "true"]).exits_with(75);
    assert_report(&fixture, "held by tester (", not_acquired(75));
    fixture.run(&["run", "-n", "-E", "9", "--report", "report", "a", "true"]).exits_with(9);
    assert_report(&fixture, "held by", not_acquired(9));
    fixture.run(&["run", "--skip", "--report", "report", "a", "true"]).exits_with(0);
    assert_report(&fixture, "", not_acquired(0));
    drop(holder);
    fixture.run(&["run", "--report", "report", "b", "no-such-command"]).exits_with(127);
    assert_report(&fixture, "no-such-command", json!({ "name": "b", "code": 127 }));
    fixture.run(&["--store", "sqlite:///no/such/locks.db", "run", "--report", "report", "a", "true"]).exits_with(78);
    assert_report(&fixture, "/no/such", not_acquired(78));
}

/// Track record: the report of an earlier run stayed if options conflicted or the address of the store was invalid.
#[test]
fn report_is_written_for_invalid_run() {
    let fixture = Fixture::new();
    let fails = |code: u8, part: &str, arguments: &[&str]| {
        std::fs::write(fixture.path("report"), "report of an earlier run\n").expect("a file");
        let mut command = fixture.command(arguments);
        if code == 78 {
            command.env("DYNAMO_LOCK_STORE", "nonsense");
        }
        Running::spawn(command).wait().exits_with(code.into());
        assert_report(&fixture, part, json!({ "acquired": false, "token": false, "released": false, "code": code }));
    };
    fails(64, "foo:", &["--store", "foo:", "run", "--report", "report", "a", "true"]);
    fails(64, "--grace", &["run", "--lease", "5m", "--grace", "4m", "--report", "report", "a", "true"]);
    fails(64, "--at-least", &["run", "--at-least", "9", "--max-hold", "10", "--report", "report", "a", "true"]);
    fails(78, "DYNAMO_LOCK_STORE", &["run", "--report", "report", "a", "true"]);
}

/// The holder ends after the run has begun to wait. All bounds are lower bounds, because the machine may be busy.
#[test]
#[allow(clippy::disallowed_methods)] // the report has times of the wall clock
fn report_contains_begin_wait_and_hold() {
    let fixture = Fixture::new();
    let before = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let mut holder = fixture.start(HOLD);
    let run = fixture.spawn_with_stderr_file(fixture.command(&["run", "--report", "report", "a", "sleep", "0.3"]));
    wait_until("the run waits", || fixture.read("stderr").contains("waiting"));
    holder.kill();
    run.wait().exits_with(0);
    let after = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let report: Value = serde_json::from_str(&fixture.read("report")).expect("JSON");
    let [started, waited, held] = ["startedAt", "waitedMs", "heldMs"].map(|key| report[key].as_u64().expect(key));
    assert!(u128::from(started) >= before.as_millis(), "{report}");
    assert!(waited > 0 && held >= 300, "{report}");
    assert!(u128::from(started + waited + held) <= after.as_millis() + 2, "{report}");
}

#[test]
fn report_contains_loss() {
    let fixture = Fixture::new();
    let run = fixture.start(&["run", "--lease", "2", "--report", "report", "a", "-c", "touch ready; exec sleep 100"]);
    fixture.revoke();
    run.wait().exits_with(76);
    let report = read_report(&fixture);
    assert_eq!(json!([report["lost"], report["released"], report["code"]]), json!([true, false, 76]), "{report}");
    assert_eq!(report["lastError"], Value::Null);
}

/// Track record: the message and the report did not contain the reason why renewals failed.
#[test]
fn report_contains_last_error_of_failed_renewals() {
    let fixture = Fixture::new();
    let run = fixture.start(&["run", "--lease", "4", "--report", "report", "a", "-c", "touch ready; exec sleep 100"]);
    let database = rusqlite::Connection::open(fixture.path("locks.db")).expect("the database");
    database.execute_batch("BEGIN IMMEDIATE").expect("the database is not busy for long");
    let finished = run.wait().exits_with(76).prints("about to be lost").prints("(last error of the store: ");
    let report = read_report(&fixture);
    let error = report["lastError"].as_str().expect("an error");
    assert!(finished.stderr.contains(error) && error.contains("did not respond"), "{report} {finished:?}");
}

#[test]
fn report_goes_to_descriptor_or_pipe() {
    let fixture = Fixture::new();
    let script = "echo before > report; $PROGRAM run --report /dev/fd/3 a true 3>> report; tail -1 report > last; \
                  mkfifo pipe; cat pipe > through & $PROGRAM run --report pipe a true; wait";
    fixture.run_script(script).exits_with(0);
    assert_eq!(fixture.read("report").lines().next(), Some("before"));
    for file in ["last", "through"] {
        let report: Value = serde_json::from_str(&fixture.read(file)).expect(file);
        assert_eq!(report["childCode"], 0);
    }
}

/// Track record: the file that standard error was redirected to was opened again, with an offset of its own, so that the
/// next program overwrote the report.
#[test]
fn report_to_standard_streams_keeps_the_order_of_the_output() {
    let fixture = Fixture::new();
    for (path, stream) in [("/dev/stderr", 2), ("/proc/self/fd/2", 2), ("/dev/fd/2", 2), ("-", 1), ("/dev/stdout", 1)] {
        let script = format!(
            "{{ echo before >&{stream}; $PROGRAM run --report {path} a sh -c 'echo command >&{stream}'; \
             echo after >&{stream}; }} {stream}>output"
        );
        fixture.run_script(&script).exits_with(0);
        let output = fixture.read("output");
        let lines: Vec<&str> = output.lines().collect();
        let [before, command, report, after] = lines[..] else { panic!("{path}: {output}") };
        assert_eq!([before, command, after], ["before", "command", "after"], "{path}: {output}");
        let report: Value = serde_json::from_str(report).expect("JSON");
        assert_eq!(report["code"], 0);
    }
    assert!(!fixture.path("-").exists());
    // A file of this name has a directory.
    fixture.run(&["run", "--report", "./-", "a", "true"]).exits_with(0);
    assert!(fixture.path("-").exists());
    // A descriptor that is not open, or a closed standard output, is an error before the run.
    for script in ["$PROGRAM run --report /dev/fd/9 a touch ran", "$PROGRAM run --report - a touch ran >&-"] {
        fixture.run_script(script).exits_with(78).prints_line("Bad file descriptor");
    }
    assert!(!fixture.path("ran").exists());
}

/// In a directory that others may write to, a link would direct the report of another user into any of that user's files.
#[test]
fn report_through_link_is_refused() {
    let fixture = Fixture::new();
    std::fs::write(fixture.path("target"), "kept").expect("a file");
    std::os::unix::fs::symlink(fixture.path("target"), fixture.path("report")).expect("a link");
    let finished = fixture.run(&["run", "--report", "report", "a", "touch", "ran"]);
    finished.exits_with(78).prints_line("\"report\": it is a symbolic link");
    assert!(!fixture.path("ran").exists());
    assert_eq!(fixture.read("target"), "kept");
    // Links in /dev and /proc lead to descriptors of this process.
    let script = "$PROGRAM run --report /dev/stderr a true && $PROGRAM run --report /proc/self/fd/2 a true";
    assert_eq!(fixture.run_script(script).exits_with(0).stderr.lines().count(), 2);
}

#[test]
fn unwritable_report_fails_before_command_runs() {
    let fixture = Fixture::new();
    for path in ["no/such/report", "/", "/sys/report"] {
        fixture.run(&["run", "--report", path, "a", "touch", "ran"]).exits_with(78).prints_line(path);
    }
    assert!(!fixture.path("ran").exists());
}
