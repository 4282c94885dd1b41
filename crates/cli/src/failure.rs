//! Failures: errors that end this program, each with a category and a one-line message.

use std::fmt::Display;

use dynamo_lock::store::StoreErrorCause;
use dynamo_lock::{
    AcquireAllError, AcquireError, ConfigError, HoldError, InspectError, StoreError, StoreErrorKind, TableError,
};

/// Fix for a missing table.
pub const CREATE_TABLE: &str = "create it with `dynamo-lock table create`, or check name, Region and endpoint";

/// An error that ends this program.
#[derive(Debug)]
pub struct Failure {
    pub kind: FailureKind,
    /// Failed operation, cause and fix, in one line.
    pub message: String,
}

/// Category of a failure. Its number is the exit code: that of sysexits(3) where it has a matching one, and that of
/// env(1) for 126 and 127.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Invalid arguments.
    Usage = 64,
    /// The store did not respond, or cannot serve requests now.
    Unavailable = 69,
    /// A fault of this program, or a lack of resources such as descriptors and processes.
    Internal = 70,
    /// Standard output cannot be written.
    Output = 74,
    /// The store denied access.
    Denied = 77,
    /// Invalid configuration, or a table or row with an unexpected format.
    Configuration = 78,
    /// The command exists but cannot be executed.
    NotExecutable = 126,
    /// The command does not exist.
    NotFound = 127,
}

impl Failure {
    /// Creates a failure of this kind.
    pub fn new(kind: FailureKind, message: impl Display) -> Self {
        Self { kind, message: message.to_string() }
    }

    /// Creates a usage error.
    pub fn usage(message: impl Display) -> Self {
        Self::new(FailureKind::Usage, message)
    }

    /// Creates an internal error.
    pub fn internal(message: impl Display) -> Self {
        Self::new(FailureKind::Internal, message)
    }

    /// Creates a configuration error.
    pub fn configuration(message: impl Display) -> Self {
        Self::new(FailureKind::Configuration, message)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let kind = match error.kind() {
            StoreErrorKind::AccessDenied => FailureKind::Denied,
            StoreErrorKind::Misconfigured => FailureKind::Configuration,
            // Unanswered, throttled, or rejected for a reason that the message states.
            _ => FailureKind::Unavailable,
        };
        // These messages are replaced, because the library's own ones name its API in the fix.
        let fix = match error.cause() {
            Some(StoreErrorCause::MissingTable) => CREATE_TABLE,
            Some(StoreErrorCause::KeySchema) => {
                "add `partition_key` with the name of the table's key to the store URL, or create another table"
            }
            _ => return Self::new(kind, error),
        };
        Self::new(kind, format!("{}; {fix}", error.problem()))
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
            AcquireError::Row { .. } => Self::configuration(error),
            other => Self::internal(other),
        }
    }
}

impl From<AcquireAllError> for Failure {
    fn from(error: AcquireAllError) -> Self {
        match error.error {
            AcquireError::Store(_) => {
                let Self { kind, message } = error.error.into();
                Self::new(kind, format!("lock {:?}: {message}", error.name.as_str()))
            }
            // These name the lock, or concern all of them.
            other => other.into(),
        }
    }
}

impl From<HoldError> for Failure {
    fn from(error: HoldError) -> Self {
        match error {
            HoldError::Acquire(error) => error.into(),
            HoldError::Lost(lost) => Self::new(FailureKind::Unavailable, lost),
            other => Self::internal(other),
        }
    }
}

impl From<InspectError> for Failure {
    fn from(error: InspectError) -> Self {
        match error {
            InspectError::Store(error) => error.into(),
            other => Self::configuration(other),
        }
    }
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Store(error) => error.into(),
            TableError::NotYet { .. } => Self::new(FailureKind::Unavailable, error),
            TableError::TableExists { .. } => Self::configuration(format!(
                "{error}; run `dynamo-lock table check` to see whether it can be used for locks"
            )),
            other => Self::configuration(other),
        }
    }
}
