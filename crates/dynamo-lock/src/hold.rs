//! Holds: locks for a fixed time.

use std::time::Duration;

use dynamo_lock_protocol::{AcquireEnd, EXPIRY_PAD, Hold, Request};

use crate::acquisition::row_error;
use crate::{AcquireError, FencingToken, HoldError, Lock, Lost, run::Run};

impl Lock {
    /// Acquires the lock for a fixed time of 1 s to 30 days, without a guard, and returns its fencing token.
    ///
    /// Nothing renews or releases the lock, and it stays held after this process has ended, until `duration` has
    /// passed. Only [`force_revoke`](Lock::force_revoke) with the returned token frees it earlier, because a
    /// [`revoke`](Lock::revoke) leaves the end of the hold as it is. Use a hold to run something at most once per
    /// period. Does not wait for another holder.
    ///
    /// The time counts from the last write before this method returns. Others can acquire the lock a few seconds after
    /// its end if the store can prove the end, as DynamoDB on AWS and SQLite on Linux can. Otherwise one client must
    /// observe the row for the whole `duration`.
    ///
    /// This is the safe replacement for `getLock` of npm dynamo-lock.
    ///
    /// ```
    /// use dynamo_lock::{Client, HoldError, Memory};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = Client::builder(Memory::new()).build()?;
    /// match client.lock("daily-report")?.hold(Duration::from_secs(20 * 3600)).await {
    ///     Ok(token) => println!("sending today's report, with token {token}"),
    ///     Err(HoldError::Held { .. }) => println!("today's report was already sent"),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`HoldError::Held`] if another client holds the lock, [`HoldError::Lost`] if the lock could not be extended to
    /// the whole duration, otherwise [`HoldError::Acquire`]. That contains [`AcquireError::Config`] if `duration` is
    /// out of range, and never [`AcquireError::TimedOut`].
    ///
    /// # Cancel safety
    /// Same as [`acquire`](Lock::acquire). If the future is dropped while the lock is being extended and the release
    /// fails, the lock may stay held for up to `duration`.
    pub async fn hold(&self, duration: Duration) -> Result<FencingToken, HoldError> {
        let (core, name, request) = (&self.client.core, self.name.clone(), self.options().request);
        let timeout = request.timing.attempt_timeout().min(duration / 4);
        let watch = core.watches.get(&name);
        let hold = core.now(|now| {
            // A hold outlives this process, so the process must not count. If all clients of the store share a clock,
            // the key contains the end of the hold. The pad is the time until the acquire is sent.
            let liveness_key = core.store.hold_liveness_key(duration.saturating_add(EXPIRY_PAD));
            Hold::new(Request { liveness_key, ..request }, duration, watch, now)
        });
        let hold = hold.map_err(AcquireError::Config)?;
        let mut run = Run::new(core, &name, hold, timeout);
        let end = run.complete().await;
        if matches!(end, AcquireEnd::Acquired(_) | AcquireEnd::Lost { .. }) {
            core.watches.remove(&name);
        }
        match end {
            AcquireEnd::Acquired(held) => Ok(held.token()),
            AcquireEnd::Lost { token, reason } => {
                Err(Lost { reason, name, token, output: None, last_error: run.last_error.take() }.into())
            }
            AcquireEnd::Contended(holder) => Err(HoldError::Held { holder: Box::new(holder) }),
            AcquireEnd::RowError(error) => Err(row_error(&name, error).into()),
            // A plain lock has no success.
            AcquireEnd::Unanswered | AcquireEnd::Refused | AcquireEnd::Done(_) => {
                Err(AcquireError::Store(run.take_last_error()).into())
            }
        }
    }
}
