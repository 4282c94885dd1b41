//! The reset of a success: [`Lock::reset_success`].

use dynamo_lock_protocol::{Kind, Revoke, RevokeEnd};

use super::ResetError;
use crate::{FencingToken, Lock, run::Run};

impl Lock {
    /// Forgets the success with this fencing token, so that the work may run again.
    ///
    /// The token is that of the successful run, as [`inspect`](Lock::inspect) returns it. Another success is never
    /// affected. Clients skip the work for about a second more, because their first read is eventually consistent.
    ///
    /// ```
    /// # use dynamo_lock::{Client, Inspection, Memory};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = Client::builder(Memory::new()).build()?;
    /// # let lock = client.lock("a")?;
    /// # let _ran = lock.once(async |_| Ok::<_, std::io::Error>(())).await?;
    /// if let Inspection::Done { success, .. } = lock.inspect().await? {
    ///     lock.reset_success(success.token).await?;
    /// }
    /// # assert!(matches!(lock.inspect().await?, Inspection::Free { .. }));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ResetError::NotDone`] if there is no such success. [`ResetError::Unknown`] if the store did not confirm the
    /// reset within about 10 s. [`ResetError::Row`] if the row is not a lock. [`ResetError::Store`] if the store
    /// rejected the first request that it answered.
    ///
    /// # Cancel safety
    /// If the future is dropped, the reset may or may not be applied.
    pub async fn reset_success(&self, token: FencingToken) -> Result<(), ResetError> {
        let core = &self.client.core;
        let reset = core.now(|now| Revoke::of_success(&self.name, token, now));
        let mut run = Run::new(core, &self.name, reset, core.timing.attempt_timeout());
        match run.complete().await {
            RevokeEnd::Done => Ok(()),
            RevokeEnd::Refused => Err(ResetError::Store(run.take_last_error())),
            RevokeEnd::Ended(Some(row)) => Err(match row.state_for(Kind::Once) {
                Ok(_) => ResetError::NotDone { token },
                Err(error) => ResetError::Row { name: self.name.clone(), error },
            }),
            RevokeEnd::Ended(None) => Err(ResetError::NotDone { token }),
            _ => Err(ResetError::Unknown),
        }
    }
}
