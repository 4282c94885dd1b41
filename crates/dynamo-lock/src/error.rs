//! Errors: a narrow enum per operation, a variant only where a caller would act differently.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use dynamo_lock_protocol::{ConfigError, FencingToken, Holder, LockName, LossReason, RowError};

use crate::store::StoreError;

/// Why a lock was not acquired.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// Somebody else held it for as long as we were to wait.
    #[error("not acquired within {waited:?}: somebody else holds the lock; wait longer or look who with `inspect`")]
    TimedOut {
        /// Who held it when we last looked. Somebody else's words: escape before printing.
        holder: Option<Holder>,
        /// How long we waited.
        waited: Duration,
    },
    /// The store said no, or nothing for a whole lease.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The row of this name is not one that we may touch.
    #[error("lock {name:?}: {error}", name = name.as_str())]
    Row {
        /// Name of the lock.
        name: LockName,
        /// Reason why the row is refused.
        error: RowError,
    },
    /// The options of this acquisition cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl AcquireError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::TimedOut { .. } => true,
            Self::Store(error) => error.is_retryable(),
            Self::Row { .. } | Self::Config(_) => false,
        }
    }
}

/// Why a lock was not put on hold.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HoldError {
    /// Somebody else holds it.
    #[error("somebody else holds the lock: try again later or look who with `inspect`")]
    Held {
        /// Who. Somebody else's words: escape before printing.
        holder: Box<Holder>,
    },
    /// It was acquired, but is not known to last; the background gives it up again, and until that is answered it may be
    /// in the row, at most for as long as was asked.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// It could not be acquired.
    #[error(transparent)]
    Acquire(#[from] AcquireError),
}

/// A lock that was held is no longer to be trusted.
#[derive(Clone, Debug)]
pub struct Lost<T = ()> {
    /// Why.
    pub reason: LossReason,
    /// Which lock.
    pub name: LockName,
    /// The token that it had: a resource that has seen a larger one refuses it.
    pub token: FencingToken,
    /// What the work gave, if it had finished when the loss was noticed.
    pub output: Option<T>,
    /// What the store last said, if that was an error: it tells "taken" from "unreachable".
    pub last_error: Option<StoreError>,
}

impl<T> fmt::Display for Lost<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.reason {
            LossReason::Expired => "no renewal landed in time: look at the store and the network",
            LossReason::TakenOver => "somebody else has taken it over: the lease may be too short for this host",
            LossReason::Revoked => "an operator revoked it",
            LossReason::RowGone => "its row was deleted: nobody may delete rows of held locks",
            LossReason::MaxHold => "it was held for as long as it may be: allow more, or do less at a time",
            LossReason::Suspended => {
                "the host slept or its clock jumped past the end of the lease, or the process was forked"
            }
            _ => "it is not to be trusted any more",
        };
        write!(f, "lock {:?} with token {} is lost: {why}", self.name.as_str(), self.token)?;
        match &self.last_error {
            Some(error) => write!(f, " (the store last said: {error})"),
            None => Ok(()),
        }
    }
}

impl<T: fmt::Debug> Error for Lost<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.last_error.as_ref().map(|error| error as _)
    }
}

/// Why a release is not known to have released.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// The lock had been lost before: others may have been in since.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// No answer told. If the lock is still held, it is over within its lease.
    #[error("the release was not answered: if the lock is still held, it is over within its lease")]
    Unknown,
    /// The store said no; the lock is over within its lease.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why work under a lock, or the lock around it, failed. Nothing is swallowed: what the work gave is kept.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WithError<T: fmt::Debug> {
    /// The lock was not acquired; the work did not begin.
    #[error(transparent)]
    Acquire(#[from] AcquireError),
    /// The lock was lost while the work went on; it was dropped, unless it had finished.
    #[error(transparent)]
    Lost(Lost<T>),
    /// The work finished, and the release did not.
    #[error("the work is done, but: {error}")]
    Release {
        /// What the work gave.
        output: T,
        /// Why the release failed.
        error: ReleaseError,
    },
}

/// Why a reign was not revoked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RevokeError {
    /// That reign had ended before, by itself.
    #[error("no reign with token {token} holds the lock: it has ended, look again with `inspect`")]
    Ended {
        /// The token that was asked for.
        token: FencingToken,
        /// Who holds the lock now, if anybody.
        holder: Option<Box<Holder>>,
    },
    /// No answer told.
    #[error("the revocation was not answered: look again with `inspect`")]
    Unknown,
    /// The row of this name is not one that we may touch.
    #[error("lock {name:?}: {error}", name = name.as_str())]
    Row {
        /// Name of the lock.
        name: LockName,
        /// Reason why the row is refused.
        error: RowError,
    },
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a lock could not be inspected.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// The row of this name is not one that we can read.
    #[error("lock {name:?}: {error}", name = name.as_str())]
    Row {
        /// Name of the lock.
        name: LockName,
        /// Reason why the row is refused.
        error: RowError,
    },
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Error returned by [`Guard::ensure`](crate::Guard::ensure).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnsureError {
    /// The lock is lost.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The lock is held, but its lease ends earlier than required.
    #[error("the lease ends in {left:?}, which is less than {min:?}; renew it first, or use a longer lease")]
    TooShort {
        /// Remaining time of the lease.
        left: Duration,
        /// Required time.
        min: Duration,
    },
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
    /// Name or ARN of the table that the check was requested from.
    pub table: String,
}
