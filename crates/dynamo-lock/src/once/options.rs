//! [`OnceOptions`]: the options of work that runs once.

use std::time::Duration;

use dynamo_lock_protocol::{ConfigError, Kind, SUCCESS_MAX, SUCCESS_MIN, WaitMode};
use tracing::Instrument;

use super::{Once, OnceError, OnceGuard, OnceStart};
use crate::acquisition::{Acquisition, acquire_directly};
use crate::{AcquireError, Guard, LockOptions, Lost, log};

/// Options of work that runs until it has succeeded once, returned by [`LockOptions::once`].
#[derive(Clone, Debug)]
#[must_use = "options do nothing until the work is run with them"]
pub struct OnceOptions {
    lock: LockOptions,
    lasts: Option<Duration>,
    wait_mode: WaitMode,
    limit: Option<Duration>,
}

impl LockOptions {
    /// Returns options for work that runs until it has succeeded once, with these options for its lock.
    ///
    /// ```
    /// # use dynamo_lock::{Client, Memory};
    /// # use std::time::Duration;
    /// # async fn send_report() -> Result<(), std::io::Error> { Ok(()) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = Client::builder(Memory::new()).build()?;
    /// // Every host starts this job at night. One of them runs it, the others skip it.
    /// let nightly = client.lock("nightly-report")?.options().once().counts_for(Duration::from_secs(23 * 3600));
    /// let _ran_or_skipped = nightly.run(async |_| send_report().await).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn once(self) -> OnceOptions {
        OnceOptions { lock: self, lasts: None, wait_mode: WaitMode::Wait, limit: None }
    }
}

impl OnceOptions {
    /// Sets the time for which a success of this run counts, 1 s to 3,650 days from the start of the run. Default: until
    /// it is reset.
    ///
    /// After this time the work may run again. The clock of the service decides, some seconds and 0.5 % of the length of
    /// the run late; without a service clock, the wall clocks of the hosts. A success that is recorded already keeps its
    /// own time.
    pub fn counts_for(mut self, lasts: Duration) -> Self {
        self.lasts = Some(lasts);
        self
    }

    /// Waits at most `limit` while another client runs the work. Default: no limit.
    ///
    /// After it, the result is [`AcquireError::TimedOut`].
    pub fn wait_within(mut self, limit: Duration) -> Self {
        (self.wait_mode, self.limit) = (WaitMode::Wait, Some(limit));
        self
    }

    /// Does not wait while another client runs the work. The result is then [`Once::Running`].
    pub fn no_wait(mut self) -> Self {
        (self.wait_mode, self.limit) = (WaitMode::Try, None);
        self
    }

    /// Like [`Lock::once`](crate::Lock::once), with these options.
    ///
    /// # Errors
    /// Same as [`Lock::once`](crate::Lock::once), and [`AcquireError::Config`] if an option is out of range.
    ///
    /// # Cancel safety
    /// Same as [`Lock::once`](crate::Lock::once).
    pub async fn run<T, E>(self, work: impl AsyncFnOnce(&Guard) -> Result<T, E>) -> Result<Once<T>, OnceError<T, E>> {
        let guard = match self.start().await? {
            OnceStart::Started(guard) => guard,
            OnceStart::Done(success) => return Ok(Once::Skipped(success)),
            OnceStart::Running(holder) => return Ok(Once::Running(holder)),
        };
        let result = match guard.run(work(&guard)).await {
            Ok(result) => result,
            // The work had completed. If it has succeeded, the store decides whether the success can be recorded.
            Err(Lost { output: Some(result), .. }) => result,
            Err(Lost { reason, name, token, output: None, last_error }) => {
                return Err(OnceError::Lost(Lost { reason, name, token, output: None, last_error }));
            }
        };
        match result {
            Err(error) => {
                let holding = guard.holding.clone();
                if let Err(error) = guard.release().await {
                    log::not_released(&holding.core, &holding.name, &error);
                }
                Err(OnceError::Work(error))
            }
            Ok(output) => match guard.succeed().await {
                Ok(()) => Ok(Once::Ran(output)),
                Err(error) => Err(OnceError::NotRecorded { output, error }),
            },
        }
    }

    /// Starts the work if it has not succeeded yet, for work that is not a future of this program. The caller reports
    /// its success with [`OnceGuard::succeed`].
    ///
    /// # Errors
    /// Same as [`Lock::acquire`](crate::Lock::acquire), [`AcquireError::TimedOut`] after
    /// [`wait_within`](OnceOptions::wait_within), and [`AcquireError::Config`] if an option is out of range.
    ///
    /// # Cancel safety
    /// Same as [`Lock::acquire`](crate::Lock::acquire).
    pub async fn start(self) -> Result<OnceStart, AcquireError> {
        let Self { lock, lasts, wait_mode, limit } = self;
        if let Some(lasts) = lasts.filter(|lasts| !(SUCCESS_MIN..=SUCCESS_MAX).contains(lasts)) {
            return Err(ConfigError::Success { lasts }.into());
        }
        let (core, mut request) = lock.checked(wait_mode)?;
        request.kind = Kind::Once;
        let began = core.clock.now();
        let span = log::acquire_span(&core, &request.name);
        // In a box, so that the future of a waiter is small.
        let acquisition = Box::pin(acquire_directly(core, request, limit, began)).instrument(span.clone()).await;
        Ok(match acquisition.inspect_err(|error| log::record_error(&span, error))? {
            Acquisition::Acquired(guard) => {
                log::record_token(&span, guard.token());
                OnceStart::Started(OnceGuard::new(guard, lasts))
            }
            Acquisition::Held(holder) => {
                log::record_held(&span);
                OnceStart::Running(holder)
            }
            Acquisition::Done(success) => OnceStart::Done(success),
        })
    }
}
