//! Output: messages on standard error, and results on standard output.

use std::io::{self, ErrorKind, Write as _};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::{convert::Infallible, os::fd::AsFd as _, time::Duration};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;

use crate::ui::escape::{escape, escape_json};
use crate::{env, failure::Failure, failure::FailureKind, startup};

/// Maximum time to wait for standard error to accept a message.
pub const STDERR_TIMEOUT: Duration = Duration::from_secs(5);

/// Prints one line on standard error, with the name of this program. Waits up to [`STDERR_TIMEOUT`] until it is
/// written.
pub fn message(text: &str) {
    start_message(text).wait(STDERR_TIMEOUT);
}

/// Non-blocking variant of [`message`], for use while a lock is held or waited for, because a blocked write must not
/// delay signal handling or lease renewal.
pub fn start_message(text: &str) -> PendingWrite {
    start_write(&format!("dynamo-lock: {}\n", escape(text)))
}

/// A write to standard error that may be in progress. Dropping it does not cancel the write.
///
/// The channel carries no values. It is disconnected when the write has finished.
pub struct PendingWrite(Receiver<Infallible>);

impl PendingWrite {
    /// Returns whether the text has been written.
    pub fn is_finished(&self) -> bool {
        self.0.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Waits until the text has been written, up to `timeout`.
    pub fn wait(&self, timeout: Duration) {
        let _finished_or_late = self.0.recv_timeout(timeout);
    }
}

/// Starts to write the text to standard error, in one piece and on a thread of its own.
///
/// We need the thread because a full pipe or a halted terminal blocks the writer, and `poll` does not return how many
/// bytes the descriptor accepts. If no thread can be started, the text is written here, but only if there is room for
/// at least one byte.
pub fn start_write(text: &str) -> PendingWrite {
    let (finished, pending) = mpsc::channel();
    let owned = text.to_owned();
    let thread = std::thread::Builder::new().spawn(move || {
        write_stderr(&owned);
        drop(finished);
    });
    if thread.is_err() && stderr_has_room() {
        write_stderr(text);
    }
    PendingWrite(pending)
}

/// Writes the text to standard error. May block, so only threads without other work call it.
pub fn write_stderr(text: &str) {
    // A closed standard error is not an error of the command.
    let _closed = io::stderr().write_all(text.as_bytes());
}

/// Returns whether a write of one byte to standard error would not block.
fn stderr_has_room() -> bool {
    let stderr = io::stderr();
    poll(&mut [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)], PollTimeout::ZERO) != Ok(0)
}

/// Prints one line on standard output. If the reader has closed the pipe, this process exits with code 0, because the
/// reader wants no more output.
pub fn print(text: &str) -> Result<(), Failure> {
    match write_stdout(text) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.map_err(stdout_failure),
    }
}

/// Returns a JSON object as one line, which cannot control a terminal.
pub fn json_line(object: &Value) -> String {
    escape_json(&object.to_string())
}

/// Prints the result of a command: with `--json` as an object on standard output, else as a message on standard error.
pub fn result(json: bool, object: impl FnOnce() -> Value, text: &str) -> Result<(), Failure> {
    if json {
        return print(&json_line(&object()));
    }
    message(text);
    Ok(())
}

/// Returns whether the terminal understands control sequences.
pub fn can_redraw() -> bool {
    env::set(env::variable, env::TERMINAL).is_some_and(|term| term != "dumb")
}

/// Writes text with control sequences for a terminal to standard output, in one piece.
pub fn print_raw(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(stdout_failure)
}

/// Prints one line that no later command can print again. A closed pipe is therefore an error, unlike in [`print()`].
pub fn print_once(text: &str) -> Result<(), Failure> {
    write_stdout(text).map_err(stdout_failure)
}

fn write_stdout(text: &str) -> io::Result<()> {
    if startup::started_without_stdout() {
        return Err(Errno::EBADF.into());
    }
    writeln!(io::stdout(), "{text}")
}

fn stdout_failure(error: io::Error) -> Failure {
    Failure::new(FailureKind::Output, format!("cannot write to standard output: {error}; check where it is redirected"))
}
