//! What the original npm `dynamo-lock` called `getLock`, in its own format, for the Node package that replaces it.

use dynamo_lock_protocol::{LegacyEnd, LegacyGet, LockName, RowError};

use crate::Lock;
use crate::run::Run;
use crate::store::StoreError;

/// Why a lock was not taken in the original's format.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LegacyError {
    /// Somebody's lock is not over yet. The words are the original's.
    #[error("Lock expires on {expires_on} currently its {now_ms}")]
    Held {
        /// Until when, as its row has it.
        expires_on: String,
        /// The wall clock that it was compared with, epoch ms.
        now_ms: u64,
    },
    /// Somebody else took it between the read and the write.
    #[error("somebody else took the lock at the same time: try again later")]
    Lost,
    /// No answer told. If it was taken, it is over when it was to be.
    #[error("the store did not answer in time: look at the network, and try again later")]
    Unanswered,
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

impl Lock {
    /// Takes the lock for so many milliseconds as the original's `getLock` does: row, requests and wall clock are the
    /// original's, so that processes of both share a table; the token goes on, and the payload stays. Nothing else is
    /// promised: [`hold`](Lock::hold) is the same, made safe.
    ///
    /// # Errors
    /// [`LegacyError`]; it does not wait for others, and ends within some ten seconds.
    ///
    /// # Cancel safety
    /// If dropped, the lock may be taken, for at most as long as was asked.
    pub async fn legacy_get(&self, duration_ms: i64) -> Result<(), LegacyError> {
        let core = &self.client.core;
        let machine = LegacyGet::new(self.name.clone(), duration_ms, core.clock.now());
        let mut run = Run::new(core, &self.name, machine, core.timing.attempt_timeout());
        let end = run.to_end().await?;
        result(&self.name, end, run.last_error())
    }
}

fn result(name: &LockName, end: LegacyEnd, last: Option<StoreError>) -> Result<(), LegacyError> {
    match end {
        LegacyEnd::Got => Ok(()),
        LegacyEnd::Held { expires_on, now_ms } => Err(LegacyError::Held { expires_on: expires_on.to_string(), now_ms }),
        LegacyEnd::Lost => Err(LegacyError::Lost),
        LegacyEnd::RowError(error) => Err(LegacyError::Row { name: name.clone(), error }),
        _ => Err(last.map_or(LegacyError::Unanswered, LegacyError::Store)),
    }
}
