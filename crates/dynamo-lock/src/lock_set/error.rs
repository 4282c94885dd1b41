//! Errors of several locks.

use std::fmt;

use crate::{AcquireError, LockName, Lost, ReleaseError};

/// Error returned by [`LockSet::acquire`](crate::LockSet::acquire) and its variants. None of the locks is held.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", describe_acquire(name, error))]
#[non_exhaustive]
pub struct AcquireAllError {
    /// Name of the lock that was not acquired. If an option is out of range, that of the first lock.
    pub name: LockName,
    /// Error of its acquisition.
    #[source]
    pub error: AcquireError,
}

impl AcquireAllError {
    /// Returns whether the same call may succeed later without a change of the configuration or the table.
    pub fn is_retryable(&self) -> bool {
        self.error.is_retryable()
    }
}

fn describe_acquire(name: &LockName, error: &AcquireError) -> String {
    match error {
        // These contain the name, or do not concern a single lock.
        AcquireError::Row { .. } | AcquireError::Config(_) => error.to_string(),
        _ => format!("lock {:?}: {error}", name.as_str()),
    }
}

/// Error returned by [`GuardSet::release`](crate::GuardSet::release), if at least one of the locks was not released.
///
/// In every case the locks become free within their leases at the latest, because nothing renews them any more.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReleaseAllError {
    /// Result of the release of each lock, sorted by name. At least one is an error.
    pub results: Vec<(LockName, Result<(), ReleaseError>)>,
}

impl ReleaseAllError {
    /// Returns the loss that the release has found, if a lock was lost before.
    ///
    /// The work that was done under the locks then was not protected until its end.
    pub fn lost(&self) -> Option<&Lost> {
        self.results.iter().find_map(|(_, result)| match result {
            Err(ReleaseError::Lost(lost)) => Some(lost),
            _ => None,
        })
    }
}

impl fmt::Display for ReleaseAllError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = || self.results.iter().filter_map(|(name, result)| Some((name, result.as_ref().err()?)));
        write!(f, "{} of {} locks not released", failed().count(), self.results.len())?;
        for (index, (name, error)) in failed().enumerate() {
            f.write_str(if index == 0 { ": " } else { "; " })?;
            match error {
                ReleaseError::Lost(lost) => lost.fmt(f)?, // contains the name
                error => write!(f, "lock {:?}: {error}", name.as_str())?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for ReleaseAllError {}
