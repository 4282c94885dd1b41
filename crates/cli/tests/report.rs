//! The report of a run, `--at-least`, and the messages while it waits.

mod support;
#[path = "support/terminal.rs"]
mod terminal;

use std::io::{PipeReader, PipeWriter, Write as _};
use std::net::TcpListener;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};
use support::{Fixture, Running, state, until};
use terminal::Terminal;

/// Returns a run that holds lock `a` until it is killed.
const HOLD: &[&str] = &["run", "a", "-c", "touch ready; exec sleep 100"];

/// Returns the report, which is one line, with its token replaced by whether there is one.
fn report(fixture: &Fixture) -> Value {
    let text = fixture.read("report");
    assert!(text.ends_with('\n') && text.lines().count() == 1, "{text:?}");
    let mut report: Value = serde_json::from_str(&text).expect("JSON");
    report["token"] = report["token"].is_u64().into();
    report
}

/// Returns the expected report. `message` only has to occur in the actual message.
fn expect(fixture: &Fixture, part: &str, expected: Value) {
    let mut report = report(fixture);
    let message = report["message"].take();
    assert!(message.as_str().unwrap_or_default().contains(part), "{message}");
    let mut whole = json!({
        "name": "a", "acquired": true, "token": true, "lost": false, "childCode": null, "childSignal": null,
        "released": true, "code": 0, "message": null,
    });
    for (key, value) in expected.as_object().expect("an object") {
        whole[key] = value.clone();
    }
    assert_eq!(report, whole);
}

#[test]
fn report_separates_child_code_and_signal_from_run_code() {
    let fixture = Fixture::new();
    fixture.run(&["run", "--report", "report", "a", "-c", "exit 75"]).ends_with(75);
    expect(&fixture, "", json!({ "childCode": 75, "code": 75 }));
    // The report is replaced as a whole, and no temporary file remains.
    fixture.run(&["run", "--report", "report", "a", "-c", "kill -s KILL $$"]).ends_with(137);
    expect(&fixture, "", json!({ "childSignal": 9, "code": 137 }));
    let files = std::fs::read_dir(fixture.path("")).expect("the directory").flatten();
    assert!(files.map(|file| file.file_name()).all(|name| name == "report" || name.to_string_lossy().contains("db")));
}

#[test]
fn report_is_written_if_command_did_not_run() {
    let fixture = Fixture::new();
    let nothing = |code: u8| json!({ "acquired": false, "token": false, "released": false, "code": code });
    let holder = fixture.start(HOLD);
    fixture.run(&["run", "-n", "--report", "report", "a", "true"]).ends_with(75);
    expect(&fixture, "held by tester (", nothing(75));
    fixture.run(&["run", "-n", "-E", "9", "--report", "report", "a", "true"]).ends_with(9);
    expect(&fixture, "held by", nothing(9));
    fixture.run(&["run", "--skip", "--report", "report", "a", "true"]).ends_with(0);
    expect(&fixture, "", nothing(0));
    drop(holder);
    fixture.run(&["run", "--report", "report", "b", "no-such-command"]).ends_with(127);
    let reported = report(&fixture);
    assert_eq!(
        (&reported["acquired"], &reported["released"], &reported["childCode"]),
        (&json!(true), &json!(true), &Value::Null)
    );
    fixture.run(&["--store", "sqlite:///no/such/locks.db", "run", "--report", "report", "a", "true"]).ends_with(78);
    expect(&fixture, "/no/such", nothing(78));
}

#[test]
fn report_is_written_for_invalid_run() {
    let fixture = Fixture::new();
    let fails = |code: u8, words: &str, arguments: &[&str]| {
        std::fs::write(fixture.path("report"), "of an earlier run\n").expect("a file");
        let mut command = fixture.command(arguments);
        if code == 78 {
            command.env("DYNAMO_LOCK_STORE", "nonsense");
        }
        Running::of(command).end().ends_with(code.into());
        expect(&fixture, words, json!({ "acquired": false, "token": false, "released": false, "code": code }));
    };
    fails(64, "foo:", &["--store", "foo:", "run", "--report", "report", "a", "true"]);
    fails(64, "--grace", &["run", "--lease", "5m", "--grace", "4m", "--report", "report", "a", "true"]);
    fails(64, "--at-least", &["run", "--at-least", "9", "--max-hold", "10", "--report", "report", "a", "true"]);
    fails(78, "DYNAMO_LOCK_STORE", &["run", "--report", "report", "a", "true"]);
}

#[test]
fn report_contains_loss() {
    let fixture = Fixture::new();
    let run = fixture.start(&["run", "--lease", "2", "--report", "report", "a", "-c", "touch ready; exec sleep 100"]);
    let shown = fixture.run(&["show", "a", "--json"]).ends_with(0).stdout;
    let token = serde_json::from_str::<Value>(&shown).expect("JSON")["token"].to_string();
    fixture.run(&["revoke", "a", "--token", &token, "--yes"]).ends_with(0);
    run.end().ends_with(76);
    let reported = report(&fixture);
    assert_eq!(
        (&reported["lost"], &reported["released"], &reported["code"]),
        (&json!(true), &json!(false), &json!(76)),
        "{reported}"
    );
}

#[test]
fn report_goes_to_descriptor_or_pipe() {
    let fixture = Fixture::new();
    let script = "echo before > report; $PROGRAM run --report /dev/fd/3 a true 3>> report; cat report | tail -1 > last; \
                  mkfifo pipe; cat pipe > through & $PROGRAM run --report pipe a true; wait";
    Running::of(fixture.command_of("sh", &["-c", script])).end().ends_with(0);
    assert_eq!(fixture.read("report").lines().next(), Some("before"));
    for file in ["last", "through"] {
        let reported: Value = serde_json::from_str(&fixture.read(file)).expect(file);
        assert_eq!(reported["childCode"], 0);
    }
}

#[test]
fn unwritable_report_fails_before_command_runs() {
    let fixture = Fixture::new();
    for path in ["no/such/report", "/", "/sys/report"] {
        let ran = fixture.run(&["run", "--report", path, "a", "touch", "ran"]).ends_with(78);
        assert!(ran.stderr.contains(path) && ran.stderr.lines().count() == 1, "{ran:?}");
    }
    assert!(!fixture.path("ran").exists());
}

#[test]
fn at_least_keeps_lock_after_quick_command() {
    let fixture = Fixture::new();
    let mut run = Running::of(fixture.command(&["run", "--at-least", "1h", "a", "touch", "ran"]));
    until("the command has ended", || fixture.path("ran").exists());
    // SIGUSR1 is for the command alone, so it does not end the wait.
    run.signal("USR1");
    fixture.run(&["run", "-w", "1", "a", "true"]).ends_with(75);
    assert!(run.is_running());
    run.signal("TERM");
    // A signal ends that wait; the lock is still released, and the exit code is that of the command.
    run.end().ends_with(0);
    fixture.run(&["run", "-n", "a", "true"]).ends_with(0);
    // Control: the lock of a command that took longer is not kept.
    fixture.run(&["run", "--at-least", "0.1", "a", "sleep", "0.2"]).ends_with(0);
    // If the command was not started, another host may start it at once.
    fixture.run(&["run", "--at-least", "1h", "a", "no-such-command"]).ends_with(127);
}

#[test]
fn lock_kept_after_command_is_reported() {
    let fixture = Fixture::new();
    let keep = |name: &str, flags: &[&str]| {
        let arguments = [&["run", "--at-least", "1h"], flags, &[name, "touch", name]].concat();
        let contents = fixture.path(&format!("said of {name}"));
        let mut command = fixture.command(&arguments);
        command.stderr(std::fs::File::create(&contents).expect("a file"));
        (Running::of(command), move || std::fs::read_to_string(&contents).unwrap_or_default())
    };
    let ends = |run: Running| {
        run.signal("TERM");
        run.end().ends_with(0);
    };
    let (run, contents) = keep("a", &[]);
    until("it is said", || contents().contains('\n'));
    ends(run);
    let line = contents();
    assert!(line.starts_with("dynamo-lock: the command has ended; the lock is kept for another "), "{line:?}");
    assert!(line.ends_with(" (--at-least)\n") && line.lines().count() == 1, "{line:?}");
    for flag in ["-q", "--skip"] {
        let (run, contents) = keep("b", &[flag]);
        until("the command has ended", || fixture.path("b").exists());
        let children =
            || std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", run.pid())).unwrap_or_default();
        until("its supervisor too", || children().is_empty());
        ends(run);
        assert_eq!(contents(), "", "{flag}");
        std::fs::remove_file(fixture.path("b")).expect("it is there");
    }
}

#[test]
fn terminal_stop_does_not_end_at_least() {
    let fixture = Fixture::new();
    let mut command = fixture.command(&["run", "--at-least", "1h", "a", "touch", "ran"]);
    // A job of a shell, because other processes are not stopped from the terminal.
    command.process_group(0);
    let run = Running::of(command);
    // Its supervisor has ended too.
    let children = || std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", run.pid())).unwrap_or_default();
    until("the command has ended", || fixture.path("ran").exists() && children().is_empty());
    until("it is stopped, or ends", || {
        run.signal("TSTP");
        matches!(state(run.pid()), Some('T') | None)
    });
    run.signal("CONT");
    fixture.run(&["run", "-n", "a", "true"]).ends_with(75);
    run.signal("TERM");
    run.end().ends_with(0);
    fixture.run(&["run", "-n", "a", "true"]).ends_with(0);
}

#[test]
fn lock_lost_during_at_least_is_reported() {
    let fixture = Fixture::new();
    let run = Running::of(fixture.command(&["run", "--lease", "2", "--at-least", "1h", "a", "touch", "ran"]));
    until("the command has ended", || fixture.path("ran").exists());
    let shown = fixture.run(&["show", "a", "--json"]).ends_with(0).stdout;
    let token = serde_json::from_str::<Value>(&shown).expect("JSON")["token"].to_string();
    fixture.run(&["revoke", "a", "--token", &token, "--yes"]).ends_with(0);
    let ran = run.end().ends_with(76);
    assert!(ran.stderr.contains("revoked") && ran.stderr.contains("ended by itself"), "{ran:?}");
}

/// Returns a full pipe. Writes block for as long as its reader is open.
fn full() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("ours");
    while writer.write(&[b'.'; 1024]).is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).expect("ours");
    (reader, writer)
}

#[test]
fn unread_stderr_does_not_delay_lock() {
    let fixture = Fixture::new();
    let holder = fixture.start(&["run", "a", "-c", "touch ready; until [ -e go ]; do sleep 0.05; done"]);
    // A descendant lives for three leases; it is reported after one.
    let script = "setsid -f sh -c 'sleep 3; touch done'; exit 3";
    let mut command = fixture.command(&["run", "--lease", "1", "a", "-c", script]);
    let (_reader, writer) = full();
    command.stderr(writer);
    let waiter = Running::of(command);
    // The holder has been reported within that time.
    fixture.run(&["run", "-w", "3", "a", "true"]).ends_with(75);
    std::fs::write(fixture.path("go"), "").expect("a file");
    holder.end().ends_with(0);
    waiter.end().ends_with(3);
    assert!(fixture.path("done").exists());
}

#[test]
fn failing_supervisor_ends_with_unread_stderr() {
    let fixture = Fixture::new();
    let mut command = fixture.command(&[]);
    let (_reader, writer) = full();
    command.arg0("lock-supervisor").stderr(writer);
    Running::of(command).end().ends_with(1);
}

/// A terminal with a small buffer whose other end is not read.
fn stalled() -> (OwnedFd, OwnedFd) {
    let terminal = nix::pty::openpty(None, None).expect("a terminal");
    let (ours, theirs) = (terminal.master, terminal.slave);
    let write = || nix::unistd::write(&theirs, &[b'.'; 100]).is_ok();
    let room = || poll(&mut [PollFd::new(theirs.as_fd(), PollFlags::POLLOUT)], PollTimeout::ZERO) == Ok(1);
    let make_room = || {
        while !room() {
            nix::unistd::read(&ours, &mut [0; 100]).expect("something was written");
        }
    };
    fcntl(&theirs, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("ours");
    while write() {}
    make_room();
    let much = std::iter::from_fn(|| write().then_some(())).count();
    make_room();
    let _room_for_one_more = (1..much).all(|_| write());
    fcntl(&theirs, FcntlArg::F_SETFL(OFlag::empty())).expect("ours");
    (ours, theirs)
}

#[test]
fn wait_ends_on_stalled_terminal() {
    let fixture = Fixture::new();
    let holder = Running::of(fixture.command(HOLD));
    until("it holds", || fixture.path("ready").exists());
    let wait = |wait_mode: &str| {
        let (ours, theirs) = stalled();
        let mut command = fixture.command(&["run", "-w", wait_mode, "a", "true"]);
        command.stderr(theirs).env("TERM", "xterm");
        (Running::of(command), ours)
    };
    let (waiter, _terminal) = wait("4");
    waiter.end().ends_with(75);
    let (waiter, _terminal) = wait("1h");
    // The holder has been reported within that time.
    fixture.run(&["run", "-w", "4", "a", "true"]).ends_with(75);
    waiter.signal("TERM");
    waiter.end().ends_with(143);
    drop(holder);
}

/// A table whose server accepts connections and never responds, for as long as the listener is open.
fn silent() -> (Fixture, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    (Fixture::with_store(&format!("dynamodb://Lock?region=us-east-1&endpoint=http://127.0.0.1:{port}")), listener)
}

#[test]
fn unresponsive_store_is_reported() {
    const LINE: &str = "the store has not responded yet";
    let (fixture, _listener) = silent();
    // Even without a wait limit, because an unresponsive store is not a holder.
    for flags in [&["-n"][..], &["-w", "5"], &[]] {
        let mut command = fixture.command(&[&["run", "--lease", "1h"], flags, &["a", "true"]].concat());
        command.stderr(std::fs::File::create(fixture.path("said")).expect("a file"));
        let run = Running::of(command);
        until("it is said", || fixture.read("said").contains('\n'));
        run.signal("TERM");
        run.end().ends_with(143);
        let contents = fixture.read("said");
        assert!(contents.starts_with(&format!("dynamo-lock: {LINE}")) && contents.lines().count() == 1, "{contents:?}");
    }
    let terminal = Terminal::new();
    let mut command = fixture.command(&["run", "-n", "--lease", "1h", "a", "true"]);
    command.stderr(terminal.end()).env("TERM", "xterm");
    let run = Running::of(command);
    until("it is shown", || terminal.contents().contains(LINE));
    run.signal("TERM");
    run.end().ends_with(143);
    until("the line is gone", || terminal.contents().ends_with("\r\u{1b}[K"));
    // The run gives up after one lease and prints only the error.
    let ran = fixture.run(&["run", "-q", "-n", "--lease", "4", "a", "true"]).ends_with(69);
    assert!(ran.stderr.lines().count() == 1 && !ran.stderr.contains(LINE), "{ran:?}");
}

#[test]
fn waiting_line_is_updated_and_removed_on_terminal() {
    let fixture = Fixture::new();
    let mut holder = fixture.command(HOLD);
    holder.env("USER", "\u{7}bell\u{202e}");
    let holder = Running::of(holder);
    until("it holds", || fixture.path("ready").exists());
    let wait = |arguments: &[&str], term: &str| {
        let terminal = Terminal::new();
        let mut command = fixture.command(arguments);
        command.stderr(terminal.end()).env("TERM", term);
        (Running::of(command), terminal)
    };
    let (waiter, terminal) = wait(&["run", "a", "touch", "ran"], "xterm");
    until("the line was written twice", || terminal.contents().matches("waiting for lock").count() >= 2);
    let contents = terminal.contents();
    assert!(
        contents.contains("held by \\u{7}bell\\u{202e} (") && contents.contains("lease ends within"),
        "{contents:?}"
    );
    assert!(!contents.contains(['\u{7}', '\u{202e}', '\n']), "{contents:?}");
    waiter.signal("INT");
    waiter.end().ends_with(130);
    until("the line is gone", || terminal.contents().ends_with("\r\u{1b}[K"));
    // A terminal that cannot move its cursor gets plain lines.
    let (waiter, terminal) = wait(&["run", "a", "true"], "dumb");
    until("it says so", || terminal.contents().contains('\n'));
    assert!(!terminal.contents().contains('\u{1b}'), "{:?}", terminal.contents());
    waiter.signal("TERM");
    waiter.end().ends_with(143);
    let (waiter, terminal) = wait(&["run", "-q", "-w", "2.5", "a", "true"], "xterm");
    waiter.end().ends_with(75);
    assert_eq!(terminal.contents(), "");
    drop(holder);
}

#[test]
fn no_color_is_respected() {
    let fixture = Fixture::new();
    let help = |no_color: bool| {
        let terminal = Terminal::new();
        let mut command = fixture.command(&["run", "--help"]);
        command.stdout(terminal.end()).stderr(terminal.end()).env("TERM", "xterm").env_remove("NO_COLOR");
        if no_color {
            command.env("NO_COLOR", "1");
        }
        Running::of(command).end().ends_with(0);
        until("it is all there", || terminal.contents().contains("was not found"));
        terminal.contents().contains('\u{1b}')
    };
    assert!(!help(true));
    assert!(help(false), "the control: there is something to leave out");
}
