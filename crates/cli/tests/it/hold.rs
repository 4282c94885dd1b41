//! `hold`: a lock for a fixed time, without a process that holds it.

use crate::support::{Fixture, Running};

#[test]
fn hold_outlives_process_and_prints_token() {
    let fixture = Fixture::new();
    let token = fixture.run(&["hold", "a", "10m", "--owner", "ops"]).exits_with(0).stdout;
    fixture.run(&["hold", "a", "5"]).exits_with(75).prints("held by ops (");
    fixture.run(&["run", "-n", "a", "true"]).exits_with(75);
    let shown = fixture.run(&["show", "a"]).exits_with(0).stdout;
    assert!(shown.contains("held") && shown.contains(token.trim()), "{shown}");
}

/// Track record: `hold` with a standard output that was closed or not read exited with 0, and its token was lost.
#[test]
fn hold_with_unwritable_stdout_reports_token_and_stays() {
    let fixture = Fixture::new();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    for (name, to) in [("closed", ">&-"), ("full", "> /dev/full"), ("unread", "")] {
        let mut command = fixture.command_of("sh", &["-c", &format!("exec \"$PROGRAM\" hold {name} 10m {to}")]);
        command.stdout(writer.try_clone().expect("access to it"));
        let finished = Running::spawn(command).wait().exits_with(74);
        let token = fixture.token(name);
        finished.prints_line(&format!("is held with token {token}, but: cannot write to standard output"));
        fixture.run(&["run", "-n", name, "true"]).exits_with(75);
    }
}
