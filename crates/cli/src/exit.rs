//! Exit codes: all of them, decided here.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

use dynamo_lock::{AcquireError, ConfigError, HoldError, InspectError, StoreError, StoreErrorKind, TableError};

use crate::print;

/// The exit code if the lock was not acquired, unless `-E` names another.
pub const NOT_ACQUIRED: u8 = 75;

/// For `--help`.
pub const HELP: &str = "\
Exit codes:
  the command's own; 128 + n if signal n ended it, or ended the wait for the lock
  126  the command could not be run      127  the command was not found
   75  the lock was not acquired (-E)     76  the lock was lost while the command ran
   64  wrong usage                        69  the store is unavailable
   70  a bug of ours                      77  access denied
   78  wrong configuration";

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
    Faulty,
}

/// What went wrong, and what to do: one line.
#[derive(Debug)]
pub struct Failure {
    pub kind: Kind,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Usage,
    Unavailable,
    Internal,
    Denied,
    Configuration,
    NotExecutable,
    NotFound,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Usage => 64,
            Self::Unavailable => 69,
            Self::Internal => 70,
            Self::Denied => 77,
            Self::Configuration => 78,
            Self::NotExecutable => 126,
            Self::NotFound => 127,
        }
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
            Self::Lost(_) => 76,
            Self::Signal(signal) => 128 + *signal as u8,
            Self::Faulty => Kind::Configuration.code(),
        }
    }
}

/// Says what there is to say, and gives the code.
pub fn finish(end: Result<End, Failure>) -> ExitCode {
    let (code, message) = match end {
        Ok(end) => {
            let code = end.code();
            let message = match end {
                End::NotAcquired { message, .. } => message,
                End::Lost(message) => Some(message),
                _ => None,
            };
            (code, message)
        }
        Err(failure) => (failure.kind.code(), Some(failure.message)),
    };
    if let Some(message) = message {
        print::line(&message);
    }
    ExitCode::from(code)
}

/// Prints what clap says: help and version are no errors.
pub fn not_parsed(error: &clap::Error) -> ExitCode {
    let _closed = error.print();
    ExitCode::from(if error.use_stderr() { Kind::Usage.code() } else { 0 })
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
        Self::new(kind, error.to_string())
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
            other => Self::new(Kind::Configuration, other.to_string()),
        }
    }
}
