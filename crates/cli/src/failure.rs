//! Failures: errors that end this program, each with a category and a one-line message.

use std::fmt;

use dynamo_lock::store::StoreErrorCause;
use dynamo_lock::{AcquireError, ConfigError, HoldError, InspectError, StoreError, StoreErrorKind, TableError};

/// Fix for a missing table.
pub const CREATE_TABLE: &str = "create it with `dynamo-lock table create`, or check name, Region and endpoint";

/// An error that ends this program.
#[derive(Debug)]
pub struct Failure {
    pub kind: FailureKind,
    /// Failed operation, cause and fix, in one line.
    pub message: String,
}

/// Category of a failure. `exit.rs` assigns the exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Invalid arguments.
    Usage,
    /// The store did not respond, or cannot serve requests now.
    Unavailable,
    /// A fault of this program, or a lack of resources such as descriptors and processes.
    Internal,
    /// Standard output cannot be written.
    Output,
    /// The store denied access.
    Denied,
    /// Invalid configuration, or a table or row with an unexpected format.
    Configuration,
    /// The command exists but cannot be executed.
    NotExecutable,
    /// The command does not exist.
    NotFound,
}

impl Failure {
    /// Creates a failure of this kind.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Creates a usage error.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(FailureKind::Usage, message.to_string())
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
            AcquireError::Row { .. } => Self::new(FailureKind::Configuration, error.to_string()),
            other => Self::new(FailureKind::Internal, other.to_string()),
        }
    }
}

impl From<HoldError> for Failure {
    fn from(error: HoldError) -> Self {
        match error {
            HoldError::Acquire(error) => error.into(),
            HoldError::Lost(lost) => Self::new(FailureKind::Unavailable, lost.to_string()),
            other => Self::new(FailureKind::Internal, other.to_string()),
        }
    }
}

impl From<InspectError> for Failure {
    fn from(error: InspectError) -> Self {
        match error {
            InspectError::Store(error) => error.into(),
            other => Self::new(FailureKind::Configuration, other.to_string()),
        }
    }
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Store(error) => error.into(),
            TableError::NotYet { .. } => Self::new(FailureKind::Unavailable, error.to_string()),
            TableError::TableExists { .. } => Self::new(
                FailureKind::Configuration,
                format!("{error}; run `dynamo-lock table check` to see whether it can be used for locks"),
            ),
            other => Self::new(FailureKind::Configuration, other.to_string()),
        }
    }
}
