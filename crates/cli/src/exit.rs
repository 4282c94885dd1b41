//! Exit codes with their meanings, for `--help` and the manual page, and the exit code of each result.
//!
//! `failure.rs` assigns a code to each kind of failure, and a kind to each error of the library.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

use nix::sys::signal::Signal;

use crate::{failure::Failure, failure::FailureKind, sys, ui::output};

/// Exit code if the lock was not acquired, unless `-E` sets another one.
pub const NOT_ACQUIRED: u8 = 75;
const LOST: u8 = 76;
const NOT_RECORDED: u8 = 79;

/// Exit codes of this program with their meanings.
const OWN: [(u8, &str); 11] = [
    (FailureKind::Usage as u8, "usage error"),
    (FailureKind::Unavailable as u8, "the store is unavailable"),
    (FailureKind::Internal as u8, "internal error, or too few processes, files or memory"),
    (FailureKind::Output as u8, "standard output could not be written"),
    (NOT_ACQUIRED, "the lock is held by another client (-E changes the code)"),
    (LOST, "the lock was lost while the command was running"),
    (FailureKind::Denied as u8, "access denied by the store"),
    (FailureKind::Configuration as u8, "configuration error, or the table or row has an unexpected format"),
    (NOT_RECORDED, "the command of once succeeded, but its success could not be recorded"),
    (FailureKind::NotExecutable as u8, "the command could not be executed"),
    (FailureKind::NotFound as u8, "the command was not found"),
];

/// Exit codes that only `run` and `once` return.
const OF_RUNS: [u8; 4] = [LOST, NOT_RECORDED, FailureKind::NotExecutable as u8, FailureKind::NotFound as u8];

/// Returns the exit codes of a command with their meanings, for `--help` and the manual page. The empty name stands for
/// all commands.
pub fn codes(command: &str) -> Vec<(String, &'static str)> {
    let runs = ["", "run", "once"].contains(&command);
    let mut codes = match runs {
        true => vec![
            ("0".to_owned(), "success, or skipped because of --skip or an earlier success of once"),
            ("N".to_owned(), "exit code of the command"),
            ("128+N".to_owned(), "signal N ended the command, or the wait for the lock"),
        ],
        false => vec![("0".to_owned(), "success")],
    };
    let applies = |code: u8| runs || !OF_RUNS.contains(&code) && (code != NOT_ACQUIRED || command == "hold");
    let own = OWN.into_iter().filter(|(code, _)| applies(*code));
    codes.extend(own.map(|(code, meaning)| (code.to_string(), meaning)));
    codes
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
    /// The work of the command has succeeded before. The message is `None` in quiet mode.
    Skipped(Option<String>),
    /// The command succeeded, and it is not certain that its success is recorded.
    NotRecorded(String),
    /// The lock was lost, or about to be lost, while the child process was running.
    Lost(String),
    /// A signal ended the wait for the lock.
    Signal(i32),
    /// A check found problems, which have been printed. Contains the kind of the first one.
    CheckFailed(FailureKind),
}

/// Returns the exit code of a process as a shell reports it: 128 + N if signal N ended it.
pub fn code_of(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code as u8,
        (None, signal) => signal.map_or(FailureKind::Internal as u8, signal_code),
    }
}

/// Returns the exit code after this signal. An exit code has 8 bits, and signal numbers are at most 64.
fn signal_code(signal: i32) -> u8 {
    128 + signal as u8
}

/// Returns the exit code of this result and the message to print.
pub fn code_and_message(result: &Result<Exit, Failure>) -> (u8, Option<&str>) {
    match result {
        Ok(Exit::Success) => (0, None),
        Ok(Exit::Child(status)) => (code_of(*status), None),
        Ok(Exit::NotAcquired { code, message }) => (*code, message.as_deref()),
        Ok(Exit::Skipped(message)) => (0, message.as_deref()),
        Ok(Exit::NotRecorded(message)) => (NOT_RECORDED, Some(message)),
        Ok(Exit::Lost(message)) => (LOST, Some(message)),
        Ok(Exit::Signal(signal)) => (signal_code(*signal), None),
        Ok(Exit::CheckFailed(kind)) => (*kind as u8, None),
        Err(failure) => (failure.kind as u8, Some(&failure.message)),
    }
}

/// Prints the message of this result, if any, and returns its exit code.
///
/// If the command or the wait was ended by a signal that asks programs to end, this process ends by the same signal. A
/// shell then ends its script at Ctrl-C, because it sees that the program has not handled it.
pub fn finish(result: &Result<Exit, Failure>) -> ExitCode {
    let (code, message) = code_and_message(result);
    message.into_iter().for_each(output::message);
    let signal = match result {
        Ok(Exit::Child(status)) => status.signal(),
        Ok(Exit::Signal(signal)) => Some(*signal),
        _ => None,
    };
    let signal = signal.and_then(|signal| Signal::try_from(signal).ok());
    if let Some(signal @ (Signal::SIGHUP | Signal::SIGINT | Signal::SIGQUIT | Signal::SIGTERM)) = signal {
        // Returns if the kernel does not deliver the signal, for example to PID 1 of a container.
        sys::end_by_signal(signal);
    }
    ExitCode::from(code)
}

/// Calls `start`, and returns the message of its panic, which is not printed.
pub fn catch_panic<T>(start: fn() -> T) -> Result<T, String> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = std::panic::catch_unwind(start);
    std::panic::set_hook(hook);
    result.map_err(|panic| panic.downcast_ref::<String>().cloned().unwrap_or_default())
}

/// Installs a panic hook that prints the panic and ends the process with code 70.
///
/// Unwinding would release the lock while the child process may still be running. When the process ends at once, the
/// parent-death signal ends the child process, and the lock is free when its lease has expired.
///
/// A panic that the library catches does neither, because its message is part of an error of the store.
pub fn exit_on_panic() {
    let print_panic = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !dynamo_lock::is_panic_caught() {
            print_panic(info);
            std::process::exit(FailureKind::Internal as i32);
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const MODE: &str = "DYNAMO_LOCK_TEST_PANIC";

    /// Runs this test again in a process of its own, because the hook is global and ends the process.
    #[test]
    fn panic_of_a_credential_provider_does_not_end_the_process() {
        let provider = async || panic!("of the provider");
        if let Some(mode) = std::env::var_os(MODE) {
            exit_on_panic();
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let result: Result<(), String> = runtime.block_on(dynamo_lock::catch_panic(provider()));
            assert_eq!(result, Err("of the provider".to_owned()));
            if mode == "control" {
                runtime.block_on(provider());
            }
            return;
        }
        for (mode, code) in [("caught", 0), ("control", FailureKind::Internal as i32)] {
            let mut test = Command::new(std::env::current_exe().expect("a path"));
            let name = "exit::tests::panic_of_a_credential_provider_does_not_end_the_process";
            let output = test.args([name, "--exact"]).env(MODE, mode).output().expect("it starts");
            assert_eq!(output.status.code(), Some(code), "{mode}: {output:?}");
            assert!(String::from_utf8_lossy(&output.stdout).contains("running 1 test"), "{mode}: {output:?}");
        }
    }
}
