//! Progress output of `run` on standard error, and standard errors that accept nothing more.

use std::io::{PipeReader, PipeWriter, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::{fs::PermissionsExt, process::CommandExt as _};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::support::terminal::Terminal;
use crate::support::{Fixture, HOLD, Running, silent_server, wait_until};

/// Returns a pipe that is full. Writes to it block until the reader is dropped.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("access to it");
    while writer.write(&[b'.'; 1024]).is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).expect("access to it");
    (reader, writer)
}

/// Track record: if standard error was not read, renewals stopped for a lock that was kept for remaining processes,
/// and a waiter stopped for good.
#[test]
fn unread_stderr_does_not_delay_lock() {
    let fixture = Fixture::new();
    let holder = fixture.start(&["run", "a", "-c", "touch ready; until [ -e go ]; do sleep 0.05; done"]);
    // A descendant runs for three leases. `run` reports it after one.
    let script = "setsid -f sh -c 'sleep 3; touch done'; exit 3";
    let mut command = fixture.command(&["run", "--lease", "1", "a", "-c", script]);
    let (_reader, writer) = full_pipe();
    command.stderr(writer);
    let waiter = Running::spawn(command);
    // Meanwhile, the waiter tries to print the holder.
    fixture.run(&["run", "-w", "3", "a", "true"]).exits_with(75);
    std::fs::write(fixture.path("go"), "").expect("a file");
    holder.wait().exits_with(0);
    waiter.wait().exits_with(3);
    assert!(fixture.path("done").exists());
}

/// Track record: a pipe that accepted nothing more blocked processes with a message at their end.
#[test]
fn failing_supervisor_ends_with_unread_stderr() {
    let fixture = Fixture::new();
    let mut command = fixture.command(&[]);
    let (_reader, writer) = full_pipe();
    command.arg0("lock-supervisor").stderr(writer);
    Running::spawn(command).wait().exits_with(1);
}

/// Returns a terminal that is not read and has room for a few bytes, fewer than a line.
fn stalled_terminal() -> (OwnedFd, OwnedFd) {
    let terminal = nix::pty::openpty(None, None).expect("a terminal");
    let (master, slave) = (terminal.master, terminal.slave);
    let write = || nix::unistd::write(&slave, &[b'.'; 100]).is_ok();
    let room = || poll(&mut [PollFd::new(slave.as_fd(), PollFlags::POLLOUT)], PollTimeout::ZERO) == Ok(1);
    let make_room = || {
        while !room() {
            nix::unistd::read(&master, &mut [0; 100]).expect("the terminal has output");
        }
    };
    fcntl(&slave, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("access to it");
    while write() {}
    make_room();
    let capacity = std::iter::from_fn(|| write().then_some(())).count();
    make_room();
    let _almost_full = (1..capacity).all(|_| write());
    fcntl(&slave, FcntlArg::F_SETFL(OFlag::empty())).expect("access to it");
    (master, slave)
}

/// Track record: a terminal with less room than the line blocked a waiter, which then ignored `-w` and signals.
#[test]
fn wait_ends_on_stalled_terminal() {
    let fixture = Fixture::new();
    let _holder = fixture.start(HOLD);
    let wait = |wait_mode: &str| {
        let (master, slave) = stalled_terminal();
        let mut command = fixture.command(&["run", "-w", wait_mode, "a", "true"]);
        command.stderr(slave).env("TERM", "xterm");
        (Running::spawn(command), master)
    };
    let (waiter, _terminal) = wait("4");
    waiter.wait().exits_with(75);
    let (waiter, _terminal) = wait("1h");
    // Meanwhile, the waiter tries to print the holder.
    fixture.run(&["run", "-w", "4", "a", "true"]).exits_with(75);
    waiter.signal("TERM");
    waiter.wait().exits_with(143);
}

/// Track record: while the store did not respond, a run printed nothing for a whole lease.
#[test]
fn unresponsive_store_is_reported() {
    const LINE: &str = "the store has not responded yet";
    let (fixture, _listener) = silent_server();
    // The message does not depend on the wait mode, because no holder is known.
    for flags in [&["-n"][..], &["-w", "5"], &[]] {
        let arguments = [&["run", "--lease", "1h"], flags, &["a", "true"]].concat();
        let run = fixture.spawn_with_stderr_file(fixture.command(&arguments));
        wait_until("the message is printed", || fixture.read("stderr").contains('\n'));
        run.signal("TERM");
        run.wait().exits_with(143);
        let output = fixture.read("stderr");
        assert!(output.starts_with(&format!("dynamo-lock: {LINE}")) && output.lines().count() == 1, "{output:?}");
    }
    let (run, terminal) = fixture.spawn_on_terminal(&["run", "-n", "--lease", "1h", "a", "true"]);
    wait_until("the message is displayed", || terminal.contents().contains(LINE));
    run.signal("TERM");
    run.wait().exits_with(143);
    wait_until("the line is removed", || terminal.contents().ends_with("\r\u{1b}[K"));
    // The run gives up after one lease. With -q it prints the error alone.
    let finished = fixture.run(&["run", "-q", "-n", "--lease", "4", "a", "true"]).exits_with(69);
    assert!(finished.stderr.lines().count() == 1 && !finished.stderr.contains(LINE), "{finished:?}");
}

/// The provider of credentials returns none until it is allowed to.
#[test]
fn wait_for_credentials_is_reported() {
    let (fixture, _listener) = silent_server();
    let (provider, config) = (fixture.path("provider"), fixture.path("config"));
    let waits = "#!/bin/sh\nwhile [ ! -e \"$ALLOWED\" ]; do sleep 0.1; done\nexit 1\n";
    std::fs::write(&provider, waits).expect("writable");
    std::fs::set_permissions(&provider, PermissionsExt::from_mode(0o700)).expect("it is ours");
    std::fs::write(&config, format!("[default]\ncredential_process = {}\n", provider.display())).expect("writable");
    let mut command = fixture.command(&["run", "-n", "--lease", "1h", "a", "true"]);
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    command.env("AWS_CONFIG_FILE", &config).env("ALLOWED", fixture.path("allowed"));
    let run = fixture.spawn_with_stderr_file(command);
    wait_until("the message is printed", || fixture.read("stderr").contains('\n'));
    assert!(fixture.read("stderr").starts_with("dynamo-lock: waiting for AWS credentials"));
    run.signal("TERM");
    std::fs::write(fixture.path("allowed"), "").expect("writable");
    run.wait().exits_with(143);
}

/// Lesson 37. The line contains the text of other clients, so control characters are escaped.
#[test]
fn waiting_line_is_updated_and_removed_on_terminal() {
    let fixture = Fixture::new();
    let mut holder = fixture.command(HOLD);
    holder.env("USER", "\u{7}bell\u{202e}");
    let _holder = fixture.start_command(holder);
    let (waiter, terminal) = fixture.spawn_on_terminal(&["run", "a", "touch", "ran"]);
    wait_until("the line was written twice", || terminal.contents().matches("waiting for lock").count() >= 2);
    let output = terminal.contents();
    assert!(output.contains("held by \\u{7}bell\\u{202e} (") && output.contains("lease ends within"), "{output:?}");
    assert!(!output.contains(['\u{7}', '\u{202e}', '\n']), "{output:?}");
    waiter.signal("INT");
    waiter.wait().exits_with(130);
    wait_until("the line is removed", || terminal.contents().ends_with("\r\u{1b}[K"));
    // A terminal that cannot move its cursor gets plain lines.
    let terminal = Terminal::new();
    let mut command = fixture.command(&["run", "a", "true"]);
    command.stderr(terminal.stdio()).env("TERM", "dumb");
    let waiter = Running::spawn(command);
    wait_until("the line is printed", || terminal.contents().contains('\n'));
    assert!(!terminal.contents().contains('\u{1b}'), "{:?}", terminal.contents());
    waiter.signal("TERM");
    waiter.wait().exits_with(143);
    let (waiter, terminal) = fixture.spawn_on_terminal(&["run", "-q", "-w", "2.5", "a", "true"]);
    waiter.wait().exits_with(75);
    assert_eq!(terminal.contents(), "");
}
