//! Holds: locks for a fixed time.

use std::time::Duration;

use dynamo_lock_protocol::{EXPIRY_PAD, FencingToken, Hold, HoldEnd, WaitMode};

use crate::acquisition::{row_error, unanswered};
use crate::error::{AcquireError, HoldError, Lost};
use crate::lock::Lock;
use crate::run::Run;

impl Lock {
    /// Acquires the lock for `duration`, from 1 s to 30 days, without a guard. The lock is not renewed and not released, and
    /// it outlives the process. This is the safe replacement for `getLock` of npm dynamo-lock.
    ///
    /// It does not wait for another holder. A hold that is longer than the client's lease is acquired with that lease first
    /// and then extended.
    ///
    /// # Errors
    /// [`HoldError::Held`] if another client holds the lock. [`HoldError::Lost`] if the lock was lost before it was known to
    /// last for `duration`.
    ///
    /// # Cancel safety
    /// If the future is dropped, the lock is released in the background. Until the release is answered, the lock may be
    /// held, for at most `duration`.
    pub async fn hold(&self, duration: Duration) -> Result<FencingToken, HoldError> {
        let core = &self.client.core;
        let request = self.options().request(core.timing.clone(), WaitMode::Try);
        let watch = core.watches.get(&self.name);
        let hold = core.now(|now| {
            // A hold outlives this process, so the process must not count. If the store's clients share a clock, the
            // key contains the end of the hold. The pad is the time until the acquire is sent.
            let liveness_key = core.store.hold_liveness_key(duration + EXPIRY_PAD);
            Hold::new(dynamo_lock_protocol::Request { liveness_key, ..request }, duration, watch, now)
        });
        let hold = hold.map_err(AcquireError::Config)?;
        let timeout = hold.attempt_timeout();
        let mut run = Run::new(core, &self.name, hold, timeout);
        let end = run.to_end().await.map_err(AcquireError::Store)?;
        if run.machine().has_won() {
            core.watches.remove(&self.name);
        }
        match end {
            HoldEnd::Held(held) => Ok(held.token()),
            HoldEnd::Lost { token, reason } => {
                Err(Lost { reason, name: self.name.clone(), token, output: None, last_error: None }.into())
            }
            HoldEnd::Contended(holder) => Err(HoldError::Held { holder: Box::new(holder) }),
            HoldEnd::RowError(error) => Err(row_error(&self.name, error).into()),
            HoldEnd::Unanswered => Err(AcquireError::Store(run.last_error().unwrap_or_else(unanswered)).into()),
        }
    }
}
