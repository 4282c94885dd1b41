//! Exit codes: this file assigns all of them, and lists them for `--help` and the manual page.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

use crate::failure::{Failure, FailureKind};
use crate::ui::output;

// The numbers are those of sysexits(3) where it has a matching one, and of env(1) for 126 and 127.
pub const USAGE: u8 = 64;
const UNAVAILABLE: u8 = 69;
const INTERNAL: u8 = 70;
const OUTPUT: u8 = 74;
/// Exit code if the lock was not acquired, unless `-E` sets another one.
pub const NOT_ACQUIRED: u8 = 75;
const LOST: u8 = 76;
const DENIED: u8 = 77;
const CONFIGURATION: u8 = 78;
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Exit codes of this program with their meanings.
const OWN: [(u8, &str); 10] = [
    (USAGE, "usage error"),
    (UNAVAILABLE, "the store is unavailable"),
    (INTERNAL, "internal error (please report it)"),
    (OUTPUT, "cannot write to standard output"),
    (NOT_ACQUIRED, "the lock is held by another client (change the code with -E)"),
    (LOST, "the lock was lost while the command was running"),
    (DENIED, "access denied by the store"),
    (CONFIGURATION, "configuration error, or the table or row has an unexpected format"),
    (NOT_EXECUTABLE, "the command could not be executed"),
    (NOT_FOUND, "the command was not found"),
];

/// Returns all exit codes with their meanings, for `--help` and the manual page.
pub fn codes() -> Vec<(String, String)> {
    let mut codes = vec![
        ("0".to_owned(), "success, or skipped because of --skip".to_owned()),
        ("N".to_owned(), "exit code of the command".to_owned()),
        ("128+N".to_owned(), "the command or the wait was ended by signal N".to_owned()),
    ];
    codes.extend(OWN.map(|(code, meaning)| (code.to_string(), meaning.to_owned())));
    codes
}

/// Returns the list of exit codes as text for `--help`.
pub fn help() -> String {
    let lines = codes().into_iter().map(|(code, meaning)| format!("\n  {code:<8} {meaning}"));
    format!("Exit status:{}", lines.collect::<String>())
}

/// Result of a command that did not fail.
#[derive(Debug)]
pub enum Exit {
    /// The command succeeded, or was skipped as requested.
    Success,
    /// The child process ran under the lock until it ended.
    Child(ExitStatus),
    /// Another client holds the lock. The message is `None` in quiet mode.
    NotAcquired { code: u8, message: Option<String> },
    /// The lock was lost, or about to be lost, while the child process was running.
    Lost(String),
    /// A signal ended the wait for the lock.
    Signal(i32),
    /// A check found problems, which have been printed.
    CheckFailed,
}

impl Exit {
    fn code(&self) -> u8 {
        match self {
            Self::Success => 0,
            // An exit code has 8 bits, and signal numbers are at most 64.
            Self::Child(status) => match (status.code(), status.signal()) {
                (Some(code), _) => code as u8,
                (None, Some(signal)) => 128 + signal as u8,
                (None, None) => INTERNAL,
            },
            Self::NotAcquired { code, .. } => *code,
            Self::Lost(_) => LOST,
            Self::Signal(signal) => 128 + *signal as u8,
            Self::CheckFailed => CONFIGURATION,
        }
    }

    fn message(&self) -> Option<&str> {
        match self {
            Self::NotAcquired { message, .. } => message.as_deref(),
            Self::Lost(message) => Some(message),
            _ => None,
        }
    }
}

fn failure_code(kind: FailureKind) -> u8 {
    match kind {
        FailureKind::Usage => USAGE,
        FailureKind::Unavailable => UNAVAILABLE,
        FailureKind::Internal => INTERNAL,
        FailureKind::Output => OUTPUT,
        FailureKind::Denied => DENIED,
        FailureKind::Configuration => CONFIGURATION,
        FailureKind::NotExecutable => NOT_EXECUTABLE,
        FailureKind::NotFound => NOT_FOUND,
    }
}

/// Returns the exit code of this result and the message to print.
pub fn code_and_message(result: &Result<Exit, Failure>) -> (u8, Option<&str>) {
    match result {
        Ok(exit) => (exit.code(), exit.message()),
        Err(failure) => (failure_code(failure.kind), Some(&failure.message)),
    }
}

/// Prints the message of this result, if any, and returns its exit code.
pub fn finish(result: &Result<Exit, Failure>) -> ExitCode {
    let (code, message) = code_and_message(result);
    message.into_iter().for_each(output::message);
    ExitCode::from(code)
}

/// Installs a panic hook that prints the panic and ends the process with code 70.
///
/// Unwinding would release the lock while the child process may still be running. When the process ends at once, the
/// parent-death signal ends the child process, and the lock is free when its lease has expired.
pub fn exit_on_panic() {
    let print_panic = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        print_panic(info);
        std::process::exit(INTERNAL.into());
    }));
}
