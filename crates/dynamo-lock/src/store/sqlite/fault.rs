//! SQLite's errors, as lines for people.

use std::path::Path;

use crate::store::{StoreError, StoreErrorKind};
use rusqlite::{Error, ErrorCode};

pub(super) fn misconfigured(message: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::Misconfigured, message)
}

pub(super) fn refused(message: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::Refused, message)
}

/// An error of a statement that certainly left nothing behind.
pub(super) fn without_effect(path: &Path, error: Error) -> StoreError {
    use StoreErrorKind::{Misconfigured, Refused, Throttled};
    let (kind, message) = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (Throttled, format!("another process keeps the lock database {path:?} busy: try again"))
        }
        Some(ErrorCode::NotADatabase) => (
            Misconfigured,
            format!("{path:?} is no SQLite database: name another file for the locks, or move that one away"),
        ),
        Some(ErrorCode::DatabaseCorrupt) => (
            Misconfigured,
            format!("the lock database {path:?} is damaged: once nobody holds a lock, move it away and start afresh"),
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => (
            Misconfigured,
            format!("the lock database {path:?} cannot be written: give this user read and write permission"),
        ),
        Some(ErrorCode::CannotOpen) => (
            Misconfigured,
            format!("the lock database {path:?} cannot be opened: let this user read and write it and its directory"),
        ),
        Some(ErrorCode::DiskFull) => {
            (Refused, format!("no space is left for the lock database {path:?}: free some and try again"))
        }
        _ => (
            Refused,
            format!("the lock database {path:?} answered {:?}: check the file and its disk", one_line(&error)),
        ),
    };
    StoreError::new(kind, message).with_source(error)
}

/// An error of COMMIT, after which the write may be on the disk or not.
pub(super) fn ambiguous(path: &Path, error: Error) -> StoreError {
    let message = format!(
        "the lock database {path:?} could not say whether it wrote ({:?}): check its disk and its free space",
        one_line(&error)
    );
    StoreError::new(StoreErrorKind::Unanswered, message).with_source(error)
}

fn one_line(error: &Error) -> String {
    error.to_string()
}
