//! `run` without free processes and threads.

use crate::other_user::OtherUser;
use crate::support::{Fixture, PROGRAM, Running};

/// Track record: the runtime panicked, and a command for which no process was left was reported as one that is not
/// executable.
#[test]
fn lack_of_processes_is_reported_without_panic() {
    let fixture = Fixture::new();
    let Some(other_user) = OtherUser::new("lack_of_processes_is_reported_without_panic", &fixture) else { return };
    // Another user may not be able to read the directory of the build.
    let copy = fixture.path("dynamo-lock");
    std::fs::copy(PROGRAM, &copy).expect("a copy of the program");
    let copy = copy.to_str().expect("a path in UTF-8");
    Running::spawn(other_user.command(copy, &["ls"])).wait().exits_with(0);
    let mut codes = Vec::new();
    for processes in 1..40 {
        let limit = format!("--nproc={processes}");
        let command = other_user.command("prlimit", &[&limit, copy, "run", "a", "sleep", "0"]);
        let finished = Running::spawn(command).wait();
        assert!(!finished.stderr.contains("panicked"), "{processes}: {finished:?}");
        let code = finished.code.expect("it exits");
        assert_ne!(code, 126, "{processes}: {finished:?}");
        assert!(
            code == 0 || finished.stderr.contains("limit") || finished.stderr.contains("less load"),
            "{finished:?}"
        );
        codes.push(code);
        if code == 0 {
            break;
        }
    }
    assert!(codes.starts_with(&[69]) && codes.ends_with(&[0]), "{codes:?}");
}
