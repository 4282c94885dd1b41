//! Conversion of SQLite errors into [`StoreError`]s.

use std::path::Path;

use rusqlite::{Error, ErrorCode};

use crate::store::error::one_line;
use crate::store::{StoreError, StoreErrorCause, StoreErrorKind};

pub(super) fn misconfigured(problem: impl Into<String>, fix: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::Misconfigured, problem).with_fix(fix)
}

pub(super) fn refused(problem: impl Into<String>, fix: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::Refused, problem).with_fix(fix)
}

/// Converts the error of a statement that has certainly changed nothing.
pub(super) fn without_effect(path: &Path, error: Error) -> StoreError {
    let converted = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            let problem = format!("another process keeps the lock database {path:?} busy");
            StoreError::new(StoreErrorKind::Throttled, problem).with_fix("try again")
        }
        Some(ErrorCode::NotADatabase) => misconfigured(
            format!("{path:?} is no SQLite database"),
            "name another file for the locks, or move that one away",
        )
        .with_cause(StoreErrorCause::NotALockDatabase),
        Some(ErrorCode::DatabaseCorrupt) => misconfigured(
            format!("the lock database {path:?} is damaged"),
            "move it away and start afresh while no lock is held",
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => misconfigured(
            format!("the lock database {path:?} is not writable"),
            "give this user read and write permission",
        ),
        Some(ErrorCode::CannotOpen) => misconfigured(
            format!("cannot open the lock database {path:?}"),
            "let this user read and write it and its directory",
        ),
        Some(ErrorCode::DiskFull) => {
            refused(format!("no space is left for the lock database {path:?}"), "free some and try again")
        }
        _ => refused(
            format!("the lock database {path:?} failed: {}", one_line(&error.to_string())),
            "check the file and its disk",
        ),
    };
    converted.with_source(error)
}

/// Converts the error of a COMMIT, after which the write may or may not be on the disk.
pub(super) fn outcome_unknown(path: &Path, error: Error) -> StoreError {
    let problem = format!(
        "cannot tell whether the lock database {path:?} has stored the write: {}",
        one_line(&error.to_string())
    );
    StoreError::new(StoreErrorKind::Unanswered, problem)
        .with_fix("check its disk and its free space")
        .with_source(error)
}
