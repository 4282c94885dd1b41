//! Changes by an operator that need to know the row first: revocation of one holder, and conversion to another kind.

use std::sync::Arc;

use dynamo_lock_protocol::{ChangeRow, ChangeRowEnd, Kind, RowChange};

use crate::core::Core;
use crate::run::Run;
use crate::{LeaseId, Lock, LockName, RevokeError, RowError, StoreError};

/// Error returned by [`RwLock::convert`](crate::RwLock::convert) and [`Lock::reset`].
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The lock is held, or its holder has crashed without releasing it.
    #[error("cannot change the kind of a lock that is held: wait until it is released, or revoke its holders by force")]
    Held,
    /// The outcome is unknown, because the store did not respond for about 10 s, or throttled all requests.
    #[error("cannot tell whether the kind of the lock was changed: the store did not respond; try again")]
    Unknown,
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
    /// Makes the row of this name, of whatever kind it is, one of a plain lock, if it is free. A plain lock, or a name
    /// without a row, stays as it is.
    ///
    /// Use it for a name that was used as a semaphore or a read/write lock by mistake. The fencing token goes on, so that
    /// every later token is greater. The success of [work that runs once](Lock::once) is forgotten. The entry of a crashed
    /// holder counts as held; [`RwLock::force_revoke`](crate::RwLock::force_revoke) removes it.
    ///
    /// # Errors
    /// [`ConvertError`]. The row was not changed unless the error is [`ConvertError::Unknown`].
    ///
    /// # Cancel safety
    /// If the future is dropped, the change may or may not be applied.
    pub async fn reset(&self) -> Result<(), ConvertError> {
        self.client.core.convert(&self.name, Kind::Mutex).await
    }
}

impl Core {
    /// Makes the row of a free lock one of kind `to`.
    pub(crate) async fn convert(self: &Arc<Self>, name: &LockName, to: Kind) -> Result<(), ConvertError> {
        let mut run = self.change(name, RowChange::Convert(to));
        match run.complete().await {
            ChangeRowEnd::Done => Ok(()),
            ChangeRowEnd::Held(_) | ChangeRowEnd::Ended(_) => Err(ConvertError::Held),
            ChangeRowEnd::RowError(error) => Err(ConvertError::Row { name: name.clone(), error }),
            ChangeRowEnd::Refused => Err(run.take_last_error().into()),
            _ => Err(ConvertError::Unknown),
        }
    }

    /// Revokes the holder with this lease ID in a row with several holders.
    pub(crate) async fn revoke_holder(
        self: &Arc<Self>,
        name: &LockName,
        holder: &LeaseId,
        force: bool,
    ) -> Result<(), RevokeError> {
        let mut run = self.change(name, RowChange::RevokeHolder { lease_id: holder.clone(), force });
        match run.complete().await {
            ChangeRowEnd::Done => Ok(()),
            ChangeRowEnd::Held(_) | ChangeRowEnd::Ended(_) => Err(RevokeError::HolderEnded { holder: holder.clone() }),
            ChangeRowEnd::RowError(error) => Err(RevokeError::Row { name: name.clone(), error }),
            ChangeRowEnd::Refused => Err(RevokeError::Store(run.take_last_error())),
            _ => Err(RevokeError::Unknown),
        }
    }

    fn change(self: &Arc<Self>, name: &LockName, change: RowChange) -> Run<ChangeRow> {
        let machine = self.now(|now| ChangeRow::new(name, change, now));
        Run::new(self, name, machine, self.timing.attempt_timeout())
    }
}
