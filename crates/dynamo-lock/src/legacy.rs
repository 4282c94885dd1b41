//! `Lock::legacy_get`: the `getLock` of npm dynamo-lock, in its row format, for the Node package that replaces it.

use dynamo_lock_protocol::{LegacyEnd, LegacyGet};

use crate::{Lock, LockName, RowError, StoreError, run::Run};

/// Error returned by [`Lock::legacy_get`].
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LegacyError {
    /// Another client holds the lock. The message is that of npm dynamo-lock, because its users match it.
    #[error("Lock expires on {expires_on} currently its {now_ms}")]
    Held {
        /// Number in the attribute `expiresOn` of the row: the end of the lock, in milliseconds since 1970.
        expires_on: String,
        /// Time of the local wall clock with which it was compared, in milliseconds since 1970.
        now_ms: u64,
    },
    /// Another client changed the row between the read and the write.
    #[error("cannot acquire the lock: another client acquired it at the same time; try again later")]
    Lost,
    /// The outcome is unknown, because the store did not respond. If the lock was acquired, it expires after the
    /// requested time.
    #[error(
        "cannot tell whether the lock was acquired: the store did not respond; check the network and try again later"
    )]
    Unanswered,
    /// The row of this name is not a lock, or has a format that this version does not support. It was not changed.
    #[error("lock {name:?}: {error}", name = name.as_str())]
    Row {
        /// Name of the lock.
        name: LockName,
        /// Reason why the row is refused.
        error: RowError,
    },
    /// The store rejected a request.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Lock {
    /// Acquires the lock for `duration_ms` milliseconds in the same way as `getLock` of npm dynamo-lock 0.1.x.
    ///
    /// The requests, the format of the row and the use of the local wall clock are those of npm dynamo-lock, so that
    /// processes of both can share a table. An existing fencing token is incremented, and stored data is kept. The lock
    /// has none of the other guarantees of this crate; [`hold`](Lock::hold) is the safe replacement.
    ///
    /// Does not wait for another holder, and returns after about 10 s at the latest.
    ///
    /// # Errors
    /// [`LegacyError`]. [`LegacyError::Held`], [`LegacyError::Lost`] and [`LegacyError::Row`] mean that the lock was
    /// not acquired. After [`LegacyError::Unanswered`] and [`LegacyError::Store`] the outcome is unknown, because a
    /// write without a response may have been applied.
    ///
    /// # Cancel safety
    /// If the future is dropped, the lock may have been acquired. It then expires after `duration_ms`.
    pub async fn legacy_get(&self, duration_ms: i64) -> Result<(), LegacyError> {
        let core = &self.client.core;
        let machine = LegacyGet::new(self.name.clone(), duration_ms, core.clock.now());
        let mut run = Run::new(core, &self.name, machine, core.timing.attempt_timeout());
        Err(match run.complete().await {
            LegacyEnd::Got => return Ok(()),
            LegacyEnd::Held { expires_on, now_ms } => LegacyError::Held { expires_on: expires_on.to_string(), now_ms },
            LegacyEnd::Lost => LegacyError::Lost,
            LegacyEnd::RowError(error) => LegacyError::Row { name: self.name.clone(), error },
            _ => run.last_error.take().map_or(LegacyError::Unanswered, LegacyError::Store),
        })
    }
}
