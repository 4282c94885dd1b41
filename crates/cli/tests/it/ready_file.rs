//! `run --ready-file`: a file that exists while the command runs under the lock.

use crate::support::{Fixture, HOLD, Running, children, send, state, wait_until};

/// Arguments of a leader whose command creates `started` when it sees the ready file, and ends by SIGTERM.
const LEADER: &[&str] = &[
    "run",
    "--forever",
    "--ready-file",
    "up",
    "a",
    "-c",
    "until [ -e up ]; do sleep 0.05; done; echo >> started; exec sleep 1000",
];

fn start_leader(fixture: &Fixture) -> Running {
    let leader = Running::spawn(fixture.command(LEADER));
    wait_until("it leads", || fixture.path("started").exists());
    leader
}

/// Returns the names of the files that begin with `up`, temporary ones included.
fn ready_files(fixture: &Fixture) -> usize {
    let entries = std::fs::read_dir(fixture.path("")).expect("a directory").flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("up")).count()
}

#[test]
fn ready_file_exists_while_the_command_runs() {
    let fixture = Fixture::new();
    let script = "until [ -e up ]; do sleep 0.05; done; cat up; echo $DYNAMO_LOCK_TOKEN";
    let stdout = fixture.run(&["run", "--ready-file", "up", "a", "-c", script]).exits_with(0).stdout;
    let (file, token) = stdout.trim().split_once('}').expect("an object, and the token");
    assert_eq!(file, format!(r#"{{"name":"a","token":{token}"#));
    assert_eq!(ready_files(&fixture), 0);
}

/// The command has ended, but a process that it started keeps the lock.
#[test]
fn ready_file_ends_with_the_command() {
    let fixture = Fixture::new();
    let script = "until [ -e up ]; do sleep 0.05; done; touch ready; setsid -f sleep 1000";
    let run = fixture.start(&["run", "--ready-file", "up", "a", "-c", script]);
    wait_until("the file is removed", || ready_files(&fixture) == 0);
    fixture.run(&["run", "-n", "a", "true"]).exits_with(75);
    drop(run);
}

/// The next leader is another process, as on another host, so it does not remove the file itself.
#[test]
fn killed_leader_leaves_no_ready_file_to_the_next() {
    let fixture = Fixture::new();
    let leader = start_leader(&fixture);
    leader.signal("KILL");
    let next = ["run", "--forever", "-w", "60", "a", "-c", "ls up* || exit 0; touch seen"];
    fixture.run(&next).exits_with(0);
    assert!(!fixture.path("seen").exists(), "the file of the killed leader was still there");
    drop(leader);
}

/// The wrapper removes the file in place of its supervisor. The next attempt creates it again.
#[test]
fn ready_file_of_killed_supervisor_is_removed() {
    let fixture = Fixture::new();
    let leader = start_leader(&fixture);
    let first = fixture.read("up");
    let supervisor = children(leader.pid()).trim().parse::<i32>().expect("the supervisor alone");
    send("KILL", supervisor);
    // It is missing for the whole pause before the next attempt.
    wait_until("the file is removed", || ready_files(&fixture) == 0);
    wait_until("the command runs again", || fixture.read("started").lines().count() == 2);
    assert_ne!(fixture.read("up"), first);
    leader.signal("TERM");
    leader.wait().exits_with(143);
    assert_eq!(ready_files(&fixture), 0);
}

/// Both processes of the run were killed, so nothing removed the file. The next run of this host removes it.
#[test]
fn ready_file_of_an_earlier_run_is_removed_before_the_wait() {
    let fixture = Fixture::new();
    std::fs::write(fixture.path("up"), r#"{"name":"a","token":1}"#).expect("a file");
    let holder = fixture.start(HOLD);
    let candidate = Running::spawn(fixture.command(LEADER));
    wait_until("the file is removed", || !fixture.path("up").exists());
    assert!(!fixture.path("started").exists() && state(candidate.pid()).is_some());
    candidate.signal("TERM");
    candidate.wait().exits_with(143);
    drop(holder);
}

#[test]
fn unusable_ready_file_is_refused_before_the_run() {
    let fixture = Fixture::new();
    std::fs::write(fixture.path("data"), "mine").expect("a file");
    for path in ["data", "missing/up", "."] {
        let arguments = ["run", "--ready-file", path, "a", "touch", "ran"];
        fixture.run(&arguments).exits_with(78).prints_line("cannot use the ready file");
    }
    assert_eq!(fixture.read("data"), "mine");
    assert!(!fixture.path("ran").exists());
}

/// The command removes the directory of the file meanwhile. The run is not disturbed.
#[test]
fn ready_file_that_cannot_be_created_is_reported() {
    let fixture = Fixture::new();
    std::fs::create_dir(fixture.path("d")).expect("a directory");
    let holder = fixture.start(HOLD);
    let arguments = ["run", "--ready-file", "d/up", "a", "-c", "until grep -q create stderr; do sleep 0.05; done"];
    let run = fixture.spawn_with_stderr_file(fixture.command(&arguments));
    wait_until("it waits for the lock", || !fixture.read("stderr").is_empty());
    std::fs::remove_dir(fixture.path("d")).expect("it is empty");
    drop(holder);
    run.wait().exits_with(0);
    assert!(fixture.read("stderr").contains("cannot create the ready file: "), "{}", fixture.read("stderr"));
}
