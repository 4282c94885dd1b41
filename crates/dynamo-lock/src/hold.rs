//! Holds: locks for a fixed time.

use std::{sync::Arc, time::Duration};

use dynamo_lock_protocol::{AcquireEnd, EXPIRY_PAD, Hold, Request};

use crate::acquisition::{row_error, unanswered};
use crate::{AcquireError, FencingToken, HoldError, Lost, core::Core, run::Run};

impl Core {
    /// Acquires a lock for `duration`. If it is dropped, the lock is released in the background.
    pub(crate) async fn hold(
        self: &Arc<Self>,
        request: Request,
        duration: Duration,
    ) -> Result<FencingToken, HoldError> {
        let name = request.name.clone();
        let watch = self.watches.get(&name);
        let hold = self.now(|now| {
            // A hold outlives this process, so the process must not count. If all clients of the store share a clock, the
            // key contains the end of the hold. The pad is the time until the acquire is sent.
            let liveness_key = self.store.hold_liveness_key(duration.saturating_add(EXPIRY_PAD));
            Hold::new(Request { liveness_key, ..request }, duration, watch, now)
        });
        let hold = hold.map_err(AcquireError::Config)?;
        let timeout = hold.attempt_timeout();
        let mut run = Run::new(self, &name, hold, timeout);
        let end = run.complete().await.map_err(AcquireError::Store)?;
        if matches!(end, AcquireEnd::Acquired(_) | AcquireEnd::Lost { .. }) {
            self.watches.remove(&name);
        }
        match end {
            AcquireEnd::Acquired(held) => Ok(held.token()),
            AcquireEnd::Lost { token, reason } => {
                Err(Lost { reason, name, token, output: None, last_error: run.last_error.take() }.into())
            }
            AcquireEnd::Contended(holder) => Err(HoldError::Held { holder: Box::new(holder) }),
            AcquireEnd::RowError(error) => Err(row_error(&name, error).into()),
            AcquireEnd::Unanswered => Err(AcquireError::Store(run.last_error.take().unwrap_or_else(unanswered)).into()),
        }
    }
}
