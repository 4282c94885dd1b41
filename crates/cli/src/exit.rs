//! Exit codes: all of them, decided here.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

use clap::error::ContextKind;
use dynamo_lock::store::StoreErrorCause;
use dynamo_lock::{AcquireError, ConfigError, HoldError, InspectError, StoreError, StoreErrorKind, TableError};

use crate::print;

/// The exit code if the lock was not acquired, unless `-E` names another.
pub const NOT_ACQUIRED: u8 = Kind::NotAcquired as u8;

/// The codes of our own, and what they say.
const OWN: [(Kind, &str); 10] = [
    (Kind::Usage, "wrong usage"),
    (Kind::Unavailable, "the store is unavailable"),
    (Kind::Internal, "a bug of ours"),
    (Kind::Output, "standard output could not be written"),
    (Kind::NotAcquired, "the lock was not acquired (-E names another code)"),
    (Kind::Lost, "the lock was lost while the command ran"),
    (Kind::Denied, "access denied"),
    (Kind::Configuration, "wrong configuration, or a table or row that is not as it must be"),
    (Kind::NotExecutable, "the command could not be run"),
    (Kind::NotFound, "the command was not found"),
];

/// All exit codes with their meanings, for `--help` and the manual page.
pub fn codes() -> Vec<(String, String)> {
    let mut codes = vec![
        ("0".to_owned(), "done, or skipped as asked".to_owned()),
        ("n".to_owned(), "run: the command's own code".to_owned()),
        ("128 + n".to_owned(), "run: signal n ended the command, or the wait for the lock".to_owned()),
    ];
    codes.extend(OWN.map(|(kind, meaning)| ((kind as u8).to_string(), meaning.to_owned())));
    codes
}

/// For `--help`.
pub fn help() -> String {
    let lines = codes().into_iter().map(|(code, meaning)| format!("\n  {code:<8} {meaning}"));
    format!("Exit codes:{}", lines.collect::<String>())
}

/// How it went.
#[derive(Debug)]
pub enum End {
    /// All done, or skipped as asked.
    Done,
    /// The child ran under the lock, to its end.
    Child(ExitStatus),
    /// Somebody else holds the lock; what to say of it, if anything.
    NotAcquired { code: u8, message: Option<String> },
    /// The lock was lost, or about to be, while the child ran.
    Lost(String),
    /// A signal ended the wait.
    Signal(i32),
    /// What was checked is not as it should be; it has been said.
    RowError,
}

/// What went wrong, and what to do: one line.
#[derive(Debug)]
pub struct Failure {
    pub kind: Kind,
    pub message: String,
}

/// The numbers are those of sysexits(3), where it has one, and of env(1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Usage = 64,
    Unavailable = 69,
    Internal = 70,
    Output = 74,
    NotAcquired = 75,
    Lost = 76,
    Denied = 77,
    Configuration = 78,
    NotExecutable = 126,
    NotFound = 127,
}

impl Kind {
    fn code(self) -> u8 {
        self as u8
    }
}

impl End {
    fn code(&self) -> u8 {
        match self {
            Self::Done => 0,
            // A child's code has 8 bits and a signal at most 64.
            Self::Child(status) => match (status.code(), status.signal()) {
                (Some(code), _) => code as u8,
                (None, Some(signal)) => 128 + signal as u8,
                (None, None) => Kind::Internal.code(),
            },
            Self::NotAcquired { code, .. } => *code,
            Self::Lost(_) => Kind::Lost.code(),
            Self::Signal(signal) => 128 + *signal as u8,
            Self::RowError => Kind::Configuration.code(),
        }
    }
}

/// The code, and what there is to say.
pub fn told(end: &Result<End, Failure>) -> (u8, Option<&str>) {
    match end {
        Ok(end) => {
            let message = match end {
                End::NotAcquired { message, .. } => message.as_deref(),
                End::Lost(message) => Some(message.as_str()),
                _ => None,
            };
            (end.code(), message)
        }
        Err(failure) => (failure.kind.code(), Some(&failure.message)),
    }
}

/// Says what there is to say, and gives the code.
pub fn finish(end: &Result<End, Failure>) -> ExitCode {
    let (code, message) = told(end);
    message.into_iter().for_each(print::line);
    ExitCode::from(code)
}

/// Prints what clap says, but for flags that flock(1) has: it would take them for arguments. Help and version are no errors.
pub fn not_parsed(error: &clap::Error) -> ExitCode {
    let flag = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    let command = error.get(ContextKind::InvalidSubcommand).map(ToString::to_string).unwrap_or_default();
    match in_place_of(&flag) {
        Some(what) => print::line(&format!("{what}: leave {flag} out")),
        None if command == "release" => print::line(
            "there is no command `release`: `run` releases its lock when its command ends; use `revoke` to end the \
             acquisition of another client",
        ),
        None => _ = error.print(),
    }
    ExitCode::from(if error.use_stderr() { Kind::Usage.code() } else { 0 })
}

/// Why a flag of flock(1) is not needed here.
fn in_place_of(flag: &str) -> Option<&'static str> {
    match flag {
        "-x" | "-e" | "--exclusive" => Some("every lock is exclusive"),
        "-s" | "--shared" => Some("there are no shared locks; if an exclusive one will do"),
        "-u" | "--unlock" => Some("a lock is given up when its command ends"),
        "-o" | "--close" => Some("no descriptor is the lock, so there is none to close"),
        _ => None,
    }
}

/// A bug ends the process at once: unwinding would release the lock while the child may still live. The child is ended
/// by its parent-death signal, and the lock by its lease.
pub fn on_panic() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        tell(info);
        std::process::exit(Kind::Internal.code().into());
    }));
}

/// Fix for a missing table.
pub const CREATE_TABLE: &str = "create it with `dynamo-lock table create`, or check name, Region and endpoint";

impl Failure {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Kind::Usage, message.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let kind = match error.kind() {
            StoreErrorKind::AccessDenied => Kind::Denied,
            StoreErrorKind::Misconfigured => Kind::Configuration,
            // Unanswered, throttled, or refused for a reason that the message gives.
            _ => Kind::Unavailable,
        };
        // The library's own fix names its API.
        let message = match error.cause() {
            Some(StoreErrorCause::MissingTable) => format!("{}; {CREATE_TABLE}", error.problem()),
            Some(StoreErrorCause::KeySchema) => format!(
                "{}; add `partition_key` with the name of the table's key to the store URL, or create another table",
                error.problem()
            ),
            _ => error.to_string(),
        };
        Self::new(kind, message)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error)
    }
}

impl From<AcquireError> for Failure {
    fn from(error: AcquireError) -> Self {
        match error {
            AcquireError::Store(error) => error.into(),
            AcquireError::Config(error) => error.into(),
            AcquireError::Row { .. } => Self::new(Kind::Configuration, error.to_string()),
            other => Self::new(Kind::Internal, other.to_string()),
        }
    }
}

impl From<HoldError> for Failure {
    fn from(error: HoldError) -> Self {
        match error {
            HoldError::Acquire(error) => error.into(),
            HoldError::Lost(lost) => Self::new(Kind::Unavailable, lost.to_string()),
            other => Self::new(Kind::Internal, other.to_string()),
        }
    }
}

impl From<InspectError> for Failure {
    fn from(error: InspectError) -> Self {
        match error {
            InspectError::Store(error) => error.into(),
            other => Self::new(Kind::Configuration, other.to_string()),
        }
    }
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Store(error) => error.into(),
            TableError::NotYet { .. } => Self::new(Kind::Unavailable, error.to_string()),
            TableError::TableExists { .. } => Self::new(
                Kind::Configuration,
                format!("{error}; run `dynamo-lock table check` to see whether it can be used for locks"),
            ),
            other => Self::new(Kind::Configuration, other.to_string()),
        }
    }
}
