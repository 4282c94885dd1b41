//! Conversion of SQLite errors into [`StoreError`]s.

use std::{fs::File, io, path::Path};

use rusqlite::{Error, ErrorCode};

use crate::store::{StoreError, StoreErrorCause, StoreErrorKind, error::one_line};

use StoreErrorKind::{Misconfigured, Refused, Throttled, Unanswered};

pub(super) fn misconfigured(problem: impl Into<String>, fix: impl Into<String>) -> StoreError {
    StoreError::new(Misconfigured, problem).with_fix(fix)
}

pub(super) fn refused(problem: impl Into<String>, fix: impl Into<String>) -> StoreError {
    StoreError::new(Refused, problem).with_fix(fix)
}

/// Converts an error of the operating system. If it lacks memory, descriptors or threads, the error is retryable.
pub(crate) fn from_io(problem: impl Into<String>, fix: impl Into<String>, error: io::Error) -> StoreError {
    let converted = match is_exhausted(&error) {
        true => StoreError::new(Throttled, problem).with_fix(LESS_LOAD),
        false => misconfigured(problem, fix),
    };
    converted.with_source(error)
}

/// Fix if the operating system lacks memory, descriptors or threads.
const LESS_LOAD: &str = "try again with less load, or raise the limits of this process (ulimit -n, ulimit -u)";

/// Returns whether the operating system lacks memory, descriptors or threads.
fn is_exhausted(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use nix::errno::Errno;
        let errno = error.raw_os_error().map(Errno::from_raw);
        matches!(errno, Some(Errno::EAGAIN | Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM))
    }
    #[cfg(not(unix))]
    {
        error.kind() == io::ErrorKind::OutOfMemory
    }
}

/// Converts the error of a statement that has certainly changed nothing.
pub(super) fn without_effect(path: &Path, error: Error) -> StoreError {
    let database = format!("the lock database {path:?}");
    let (kind, problem, fix) = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (Throttled, format!("another process keeps {database} busy"), "try again")
        }
        Some(ErrorCode::NotADatabase) => {
            let fix = "name another file for the locks, or move that one away";
            let converted = misconfigured(format!("{path:?} is no SQLite database"), fix);
            return converted.with_cause(StoreErrorCause::NotALockDatabase).with_source(error);
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            (Misconfigured, format!("{database} is damaged"), "move it away and start afresh while no lock is held")
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            (Misconfigured, format!("{database} is not writable"), "give this user read and write permission")
        }
        // SQLite does not report the error of the operating system, so that another file must show it.
        Some(ErrorCode::CannotOpen) if File::open("/dev/null").is_err_and(|error| is_exhausted(&error)) => {
            (Throttled, format!("cannot open {database}: no descriptor is left"), LESS_LOAD)
        }
        Some(ErrorCode::OutOfMemory) => (Throttled, format!("no memory is left for {database}"), LESS_LOAD),
        Some(ErrorCode::CannotOpen) => {
            (Misconfigured, format!("cannot open {database}"), "let this user read and write it and its directory")
        }
        Some(ErrorCode::DiskFull) => (Refused, format!("no space is left for {database}"), "free some and try again"),
        _ => (Refused, format!("{database} failed: {}", one_line(&error.to_string())), "check the file and its disk"),
    };
    StoreError::new(kind, problem).with_fix(fix).with_source(error)
}

/// Converts the error of a COMMIT, after which the write may or may not be on the disk.
pub(super) fn outcome_unknown(path: &Path, error: Error) -> StoreError {
    let cause = one_line(&error.to_string());
    let problem = format!("cannot tell whether the lock database {path:?} has stored the write: {cause}");
    StoreError::new(Unanswered, problem).with_fix("check its disk and its free space").with_source(error)
}
