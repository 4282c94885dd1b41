//! Errors of work that runs once.

use crate::{AcquireError, FencingToken, LockName, Lost, RowError, StoreError};

/// Error returned by [`Lock::once`](crate::Lock::once). `T` is the output of the work, and `E` its error. The work may
/// run again after each of them.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnceError<T, E> {
    /// The lock was not acquired, and the work was not started.
    #[error(transparent)]
    Acquire(#[from] AcquireError),
    /// The work returned this error. Its lock is released, or expires within its lease.
    #[error("the work failed: {0}")]
    Work(E),
    /// The lock was lost during the work, which was cancelled.
    #[error(transparent)]
    Lost(Lost),
    /// The work succeeded, but it is not certain that its success is recorded.
    #[error("the work succeeded, but its success was not recorded: {error}")]
    NotRecorded {
        /// Output of the work.
        output: T,
        /// Reason.
        error: RecordError,
    },
}

/// Error returned by [`OnceGuard::succeed`](crate::OnceGuard::succeed). The work has succeeded, but it may run again.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The lock was lost before the success was recorded. Another client may have begun the work since.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The outcome is unknown, because the store did not respond. If the success is not recorded, the work may run again
    /// after the lease.
    #[error("the store did not respond, so it may be recorded or not; find out with `inspect`")]
    Unknown,
    /// The store rejected the record for a whole lease, and has not applied it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Error returned by [`Lock::reset_success`](crate::Lock::reset_success).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResetError {
    /// The row has no success with this token: it was reset before, or the work has begun anew. Nothing was changed.
    #[error("cannot reset the success of token {token}: it is not recorded any more; find the state with `inspect`")]
    NotDone {
        /// The requested token.
        token: FencingToken,
    },
    /// The outcome is unknown, because the store did not respond for about 10 s, or rejected all requests after one
    /// without a response.
    #[error("cannot tell whether the success was reset: the store did not respond; find the state with `inspect`")]
    Unknown,
    /// The row of this name is not a lock, or has a format that this version does not support. It was not changed.
    #[error("lock {name:?}: {error}", name = name.as_str())]
    Row {
        /// Name of the lock.
        name: LockName,
        /// Reason why the row is refused.
        error: RowError,
    },
    /// The store rejected the request.
    #[error(transparent)]
    Store(#[from] StoreError),
}
