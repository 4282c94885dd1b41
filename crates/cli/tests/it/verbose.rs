//! `-v`, `--verbose` and `RUST_LOG`.

use crate::support::{Finished, Fixture, Running, dynamodb_error, server_with_response};

/// Text that must not be in a log.
const SECRETS: [(&str, &str); 2] =
    [("AWS_SECRET_ACCESS_KEY", "secret-of-the-test"), ("AWS_SESSION_TOKEN", "session-of-the-test")];

fn run_with_log(fixture: &Fixture, log: &str, arguments: &[&str]) -> Finished {
    let mut command = fixture.command(arguments);
    command.env("RUST_LOG", log).envs(SECRETS);
    Running::spawn(command).wait()
}

/// Returns whether the log has the event of the acquisition, with its level, target, message and name of the lock.
fn logs_acquisition(finished: &Finished) -> bool {
    let is_event = |line: &str| line.contains(" DEBUG ") && line.contains("dynamo_lock: lock acquired lock.name=\"a\"");
    finished.stderr.lines().any(is_event)
}

#[test]
fn verbose_reports_acquisition_before_the_command() {
    let fixture = Fixture::new();
    for arguments in [["run", "-v", "a"], ["run", "--verbose", "a"], ["-v", "run", "a"]] {
        let finished = fixture.run(&[&arguments[..], &["-c", "echo command >&2"]].concat()).exits_with(0);
        let took = finished.stderr.find("dynamo-lock: acquiring lock \"a\" took 0.").expect("it is printed");
        assert!(took < finished.stderr.find("command\n").expect("its output"), "{finished:?}");
        assert!(logs_acquisition(&finished), "{finished:?}");
    }
    let finished = fixture.run(&["once", "-v", "b", "true"]).exits_with(0);
    finished.prints("acquiring lock \"b\" took");
    let finished = fixture.run(&["run", "-v", "--also", "c", "d", "true"]).exits_with(0);
    finished.prints("acquiring all locks took");
    // The command has a flag of the same name.
    let finished = fixture.run(&["run", "a", "echo", "-v"]).exits_with(0);
    assert_eq!((finished.stdout, finished.stderr), ("-v\n".to_owned(), String::new()));
}

#[test]
fn log_is_off_by_default_and_never_colored() {
    let fixture = Fixture::new();
    assert_eq!(fixture.run(&["run", "a", "true"]).exits_with(0).stderr, "");
    assert_eq!(run_with_log(&fixture, "", &["run", "a", "true"]).exits_with(0).stderr, "");
    let finished = run_with_log(&fixture, "dynamo_lock=debug", &["run", "a", "true"]).exits_with(0);
    assert!(logs_acquisition(&finished) && !finished.stderr.contains('\u{1b}'), "{finished:?}");
    assert!(!finished.stderr.contains("acquiring"), "only -v reports the time: {finished:?}");
    // -v takes precedence over the variable.
    assert!(!run_with_log(&fixture, "off", &["-v", "run", "a", "true"]).stderr.is_empty());
}

/// A log must not stop a run, so a malformed variable is only reported.
#[test]
fn malformed_log_variable_is_named_and_ignored() {
    let fixture = Fixture::new();
    let finished = run_with_log(&fixture, "dynamo_lock=loud", &["run", "a", "echo", "ran"]).exits_with(0);
    assert_eq!(finished.stdout, "ran\n");
    finished.prints_line("cannot use the environment variable RUST_LOG: ");
}

/// The SDK logs whole requests and responses at the level `trace`.
#[test]
fn log_contains_requests_and_no_secrets() {
    let error = dynamodb_error("AccessDeniedException", "not authorized");
    let fixture = server_with_response("400 Bad Request", &error);
    for (log, arguments) in [("", &["-vv", "show", "a"]), ("trace", &["ls", "--held", "--json"])] {
        let finished = run_with_log(&fixture, log, arguments).exits_with(77);
        assert!(finished.stderr.contains("aws_smithy_runtime"), "control: {finished:?}");
        for text in [" TRACE ", "Signature=", SECRETS[0].1, SECRETS[1].1] {
            assert!(!finished.stderr.contains(text), "{text} is in {finished:?}");
        }
    }
    // With one -v, the log has no events of the SDK.
    let finished = run_with_log(&fixture, "", &["-v", "show", "a"]).exits_with(77);
    assert!(!finished.stderr.contains("aws_"), "{finished:?}");
}

/// A reader that does not read must not delay the run.
#[test]
fn blocked_stderr_does_not_stop_a_logging_run() {
    let fixture = Fixture::new();
    let script =
        "mkfifo pipe && exec 3<>pipe && { head -c 65536 /dev/zero >&3; exec \"$PROGRAM\" -vv run a touch ran; } 2>&3";
    Running::spawn(fixture.command_of("bash", &["-c", script])).wait().exits_with(0);
    assert!(fixture.path("ran").exists());
}
