//! Error types: one enum per operation, with a variant for each case that callers handle differently.

use std::{fmt, time::Duration};

use dynamo_lock_protocol::DATA_MAX;

use crate::{ConfigError, FencingToken, Holder, LeaseId, LockName, LossReason, RowError, StoreError};

/// Error returned by [`Lock::acquire`](crate::Lock::acquire) and its variants. The lock is not held.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// Another client held the lock for the whole time limit. Only returned if there is a limit.
    #[error(
        "cannot acquire the lock within {:?}: another client holds it; \
         wait longer, or find the holder with `inspect`",
        rounded(*waited)
    )]
    TimedOut {
        /// Last holder that was seen, `None` if the row was seen free but not acquired in time. Escape the text before
        /// printing it, because other processes wrote it.
        holder: Option<Holder>,
        /// Time since the call, without time during which the host was suspended.
        waited: Duration,
    },
    /// The store rejected a request, or returned no usable answer for a whole lease or until the time limit. A
    /// rejection after a request without an answer is reported when the lease that it could have acquired has ended.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The row of this name is not a lock, or has a format that this version does not support. It was not changed.
    #[error("lock {name:?}: {error}", name = name.as_str())]
    Row {
        /// Name of the lock.
        name: LockName,
        /// Reason why the row is refused.
        error: RowError,
    },
    /// An option of this acquisition is out of range. No request was sent.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl AcquireError {
    /// Returns whether the same call may succeed later without a change of the configuration or the table.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::TimedOut { .. } => true,
            Self::Store(error) => error.is_retryable(),
            Self::Row { .. } => false,
            Self::Config(error) => error.is_retryable(),
        }
    }
}

/// Returns a duration as messages show it: rounded up to milliseconds, or to seconds from 10 s.
fn rounded(duration: Duration) -> Duration {
    let unit = if duration < Duration::from_secs(10) { 1_000_000 } else { 1_000_000_000 };
    let above = duration.saturating_add(Duration::from_nanos(u64::from(unit) - 1));
    above - Duration::from_nanos((above.subsec_nanos() % unit).into())
}

/// Error returned by [`Lock::hold`](crate::Lock::hold).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HoldError {
    /// Another client holds the lock.
    #[error("cannot hold the lock: another client holds it; try again later, or find the holder with `inspect`")]
    Held {
        /// The current holder. Escape the text before printing it, because another process wrote it.
        holder: Box<Holder>,
    },
    /// The lock was acquired, but could not be extended to the whole duration. It is released in the background; if
    /// that fails too, the lock stays held for at most the requested duration.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The lock could not be acquired for another reason, or the duration is out of range. Never contains
    /// [`AcquireError::TimedOut`].
    #[error(transparent)]
    Acquire(#[from] AcquireError),
}

/// Error returned when a held lock is no longer valid.
///
/// Stop the protected work. Another client may hold the lock already; a resource that checks fencing tokens rejects
/// writes with the old [`token`](Lost::token) once it has seen the new one.
#[derive(Clone, Debug, thiserror::Error)]
#[error("lock {:?} with token {token} is lost: {}", name.as_str(), explain(*reason, last_error.as_ref()))]
pub struct Lost<T = ()> {
    /// Reason of the loss.
    pub reason: LossReason,
    /// Name of the lock.
    pub name: LockName,
    /// Fencing token of the lost acquisition.
    pub token: FencingToken,
    /// Output of the work, if the work had completed when the loss was noticed.
    pub output: Option<T>,
    /// Error that the store returned for the last renewal, `None` if it returned none. It distinguishes an unreachable
    /// store from a lock that was taken over.
    #[source]
    pub last_error: Option<StoreError>,
}

/// Returns the cause of a loss and its fix, as text.
fn explain(reason: LossReason, last_error: Option<&StoreError>) -> String {
    let cause = match reason {
        LossReason::Expired => "no renewal succeeded before its lease ended; check the store and the network",
        LossReason::TakenOver => {
            "another client has taken it over; the lease may be too short for this host, or a revocation was forced"
        }
        LossReason::Revoked => "it was revoked by an operator",
        LossReason::RowGone => "its row was deleted; do not delete rows of held locks",
        LossReason::MaxHold => "its maximum hold time has passed; raise the limit, or do less work at a time",
        LossReason::Suspended => {
            "the host was suspended, its clock jumped past the end of the lease, or the process was forked"
        }
        LossReason::RenewalStopped => {
            "the task that renews it ended early, because its runtime was shut down or a callback panicked; keep the \
             runtime of the acquisition running, or use `ClientBuilder::dedicated_thread`"
        }
        _ => "its lease is no longer valid",
    };
    last_error.map_or(cause.to_owned(), |error| format!("{cause} (last error of the store: {error})"))
}

/// Error returned by [`Guard::ensure`](crate::Guard::ensure).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnsureError {
    /// The lock is lost.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The lock is held, but its lease ends earlier than required.
    #[error("the lease ends in {left:?}, but {min:?} are required; renew it first, or use a longer lease")]
    TooShort {
        /// Remaining time of the lease.
        left: Duration,
        /// Required time.
        min: Duration,
    },
}

/// Error returned by [`Guard::update_data`](crate::Guard::update_data).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// The lock was lost before the store confirmed the new data. The row may contain the old or the new data.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The data is too long. No request was sent.
    #[error("cannot store {bytes} bytes of data: the limit is {DATA_MAX}; store them elsewhere and keep a reference")]
    Data {
        /// Length of the data in bytes.
        bytes: usize,
    },
    /// The lock has several holders, so that it has no data. No request was sent.
    #[error("a read/write lock has no data, because several holders share its row; store the data elsewhere")]
    Shared,
}

/// Error returned by [`Guard::release`](crate::Guard::release).
///
/// In every case the lock becomes free within its lease at the latest, because nothing renews it any more.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// The lock was lost before the release. Other clients may have held it since.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The outcome is unknown, because the store did not respond. If the lock is still held, it expires within its
    /// lease.
    #[error("cannot tell whether the lock was released: the store did not respond; it expires within its lease")]
    Unknown,
    /// The store rejected the release until the lease ended, and has not applied it. The lock expires within its lease.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Error returned by [`Lock::with`](crate::Lock::with) and [`Lock::lead`](crate::Lock::lead). The output of completed
/// work is never dropped.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WithError<T: fmt::Debug> {
    /// The lock was not acquired, and the work was not started. With `lead`, earlier terms may have been lost.
    #[error(transparent)]
    Acquire(#[from] AcquireError),
    /// The lock was lost during the work. The work was cancelled unless [`Lost::output`] contains its output.
    #[error(transparent)]
    Lost(Lost<T>),
    /// The work completed while the guard was valid, but the release failed. If its error is [`ReleaseError::Lost`], the
    /// loss was noticed only then, for example a revocation since the last renewal.
    #[error("the work completed, but the lock was not released: {error}")]
    Release {
        /// Output of the work.
        output: T,
        /// Error of the release.
        error: ReleaseError,
    },
}

/// Error returned by [`Lock::revoke`](crate::Lock::revoke) and [`Lock::force_revoke`](crate::Lock::force_revoke).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RevokeError {
    /// The acquisition with this token had already ended, never existed, or has another token since it was revoked
    /// before. Nothing was changed.
    #[error(
        "cannot revoke token {token}: its acquisition has ended, or has a new token because it was revoked before; \
         find the current token with `inspect`"
    )]
    Ended {
        /// The requested token.
        token: FencingToken,
        /// Current holder of the lock, `None` if it is free.
        holder: Option<Box<Holder>>,
    },
    /// The lock of this name has no holder with this lease ID, because it has left or never existed. Nothing was changed.
    #[error("cannot revoke holder {:?}: it does not hold the lock; find the holders with `inspect`", holder.as_str())]
    HolderEnded {
        /// The requested lease ID.
        holder: LeaseId,
    },
    /// The outcome is unknown, because the store did not respond for about 10 s, or throttled all requests, or rejected
    /// all requests after one without a response.
    #[error("cannot tell whether the lock was revoked: the store did not respond; find the holder with `inspect`")]
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

/// Error returned by [`Lock::inspect`](crate::Lock::inspect).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// The row of this name is not a lock, or has a format that this version does not support.
    #[error("lock {name:?}: {error}", name = name.as_str())]
    Row {
        /// Name of the lock.
        name: LockName,
        /// Reason why the row is refused.
        error: RowError,
    },
    /// The store rejected the read or did not respond.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Error returned by [`DynamoDb::condition_check`](crate::DynamoDb::condition_check) for a guard of another store.
#[cfg(feature = "dynamodb")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot check lock {name:?} in table {table}: its client uses another store; \
     call `condition_check` on the `DynamoDb` that the client was built with",
    name = name.as_str()
)]
#[non_exhaustive]
pub struct TableMismatch {
    /// Name of the lock.
    pub name: LockName,
    /// Name or ARN of the table of the store on which `condition_check` was called.
    pub table: String,
}
