//! [`RowError`]: the error for a row that cannot be used as a lock.

use std::fmt;

use crate::Kind;

/// Error returned for a row that cannot be used as a lock. The row is left unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RowError {
    /// The row has no record version, so it is not a lock.
    NotALock,
    /// This version of the crate does not know the row format.
    UnknownVersion {
        /// Value of the attribute `v`.
        v: String,
    },
    /// This version of the crate does not know the primitive that the row belongs to.
    UnknownKind {
        /// Value of the attribute `kind`.
        kind: String,
    },
    /// The row is of another kind than the lock that was requested under its name.
    OtherKind {
        /// Kind of the row.
        found: Kind,
        /// Kind that was requested.
        requested: Kind,
    },
    /// An unreleased version of this crate wrote the row, with attribute names that were never published.
    UnreleasedFormat,
    /// An attribute that the protocol needs is missing or invalid.
    Malformed {
        /// Name of the attribute.
        attribute: &'static str,
        /// Expected value.
        expected: &'static str,
    },
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotALock => write!(
                f,
                "the row of this name has no `guid`, so it is not a lock but other data: \
                 use another lock name or a table of its own"
            ),
            Self::UnknownVersion { v } => {
                write!(
                    f,
                    "unknown row format: the row has `v` = {v}, and this version knows 1; upgrade dynamo-lock on this host"
                )
            }
            Self::UnknownKind { kind } => write!(
                f,
                "unknown kind of lock: the row has `kind` {kind}, and this version knows plain locks (no `kind`), \
                 \"semaphore\", \"rwlock\" and \"once\"; upgrade dynamo-lock on this host"
            ),
            Self::OtherKind { found, requested } => {
                let fix = match requested {
                    Kind::Mutex => ", or make it a plain lock with `reset` while the lock is not held",
                    _ => "",
                };
                write!(
                    f,
                    "the row of this name is that of {}, but {} was requested: use another name{fix}",
                    described(*found),
                    described(*requested)
                )
            }
            Self::UnreleasedFormat => write!(
                f,
                "unknown row format: an unreleased version of dynamo-lock wrote the row, with `reign` instead of \
                 `leaseId`; delete the row once its lock is not held"
            ),
            Self::Malformed { attribute, expected } => write!(
                f,
                "malformed row: `{attribute}` must be {expected}, so another program wrote it; \
                 correct it, or delete the row while the lock is not held"
            ),
        }
    }
}

/// Returns the words that the documents use for locks of this kind.
fn described(kind: Kind) -> &'static str {
    match kind {
        Kind::Mutex => "a plain lock",
        Kind::Semaphore => "a semaphore",
        Kind::RwLock => "a read/write lock",
        Kind::Once => "work that runs once",
    }
}

impl std::error::Error for RowError {}
