//! Leader election: [`Lock::lead`].

use std::fmt;
use std::time::Duration;

use crate::{AcquireError, Guard, Lock, LockOptions, Lost, WithError, log};

/// Upper bound of the random pause after a loss.
const PAUSE_MAX: Duration = Duration::from_secs(1);

impl Lock {
    /// Leads: acquires the lock, runs `work`, and returns its output. If the lock is lost, cancels `work`, acquires the
    /// lock again, and runs `work` again.
    ///
    /// Each acquisition is a term. `work` receives the guard of its term, and so the fencing token, which is greater
    /// than those of all earlier leaders. It runs at most once per term, and terms do not overlap: when the lock is
    /// lost, `work` is dropped, as by [`Guard::run`], before the next term begins. It must therefore be able to start
    /// anew. Work that was spawned onto other tasks continues; stop such work with [`Guard::cancellation`].
    ///
    /// ```
    /// # use dynamo_lock::{Client, FencingToken, Memory};
    /// # async fn schedule_jobs(_: FencingToken) -> Result<(), std::io::Error> { Ok(()) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = Client::builder(Memory::new()).build()?;
    /// let lock = client.lock("orders/scheduler")?;
    /// lock.lead(async |term| schedule_jobs(term.token()).await).await??;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// `work` may borrow from its environment. In a task that is spawned, let it own its environment, as in
    /// `async move |term| ...`, because the compiler cannot prove that a borrowing closure is `Send`.
    ///
    /// The loss may have any [reason](crate::LossReason), a revocation included. To resign, return from `work`: the
    /// lock is then released. To stop being a candidate, drop the future, for example with `tokio::select!`.
    ///
    /// After a loss there is a random pause of at most a twentieth of the lease and 1 s, so that the candidates do not
    /// all send requests at once when the store recovers. If that acquisition fails because the store does not respond,
    /// the failure is logged at level `WARN`, and another attempt follows after such a pause. There is no limit.
    ///
    /// # Errors
    /// [`WithError::Acquire`] if the first acquisition fails, or if a later one fails with an error that is not
    /// [retryable](AcquireError::is_retryable). [`WithError::Lost`] only if the loss was noticed after `work` had
    /// completed, so that [`Lost::output`] contains its output. [`WithError::Release`] if the release fails.
    ///
    /// # Cancel safety
    /// Depends on `work`, which is dropped together with this future. The lock is then released in the background.
    pub async fn lead<T: fmt::Debug>(&self, work: impl AsyncFnMut(&Guard) -> T) -> Result<T, WithError<T>> {
        self.options().lead(work).await
    }
}

impl LockOptions {
    /// Like [`Lock::lead`], with these options for each term.
    ///
    /// # Errors
    /// Same as [`Lock::lead`], and [`AcquireError::Config`] if an option is out of range.
    ///
    /// # Cancel safety
    /// Same as [`Lock::lead`].
    pub async fn lead<T: fmt::Debug>(self, mut work: impl AsyncFnMut(&Guard) -> T) -> Result<T, WithError<T>> {
        let mut guard = self.clone().acquire().await?;
        loop {
            match guard.run(work(&guard)).await {
                Ok(output) => return guard.release_with(output).await,
                Err(lost @ Lost { output: Some(_), .. }) => return Err(WithError::Lost(lost)),
                Err(_) => drop(guard),
            }
            guard = self.acquire_again().await?;
        }
    }

    /// Acquires the lock after a loss. Errors that may pass are logged.
    async fn acquire_again(&self) -> Result<Guard, AcquireError> {
        loop {
            self.core.pause(self.pause_after_loss()).await;
            match self.clone().acquire().await {
                Err(error) if error.is_retryable() => {
                    log::not_led(&self.core, &self.request.name, &error);
                }
                result => return result,
            }
        }
    }

    /// Returns a random pause, so that the clients that have lost a lock at the same time do not act together.
    fn pause_after_loss(&self) -> Duration {
        let lease = self.lease.unwrap_or_else(|| self.request.timing.lease());
        let longest = (lease / 20).min(PAUSE_MAX).as_nanos() as u64;
        let jitter = self.core.now(|now| now.entropy.jitter);
        Duration::from_nanos(jitter % longest.max(1))
    }
}
