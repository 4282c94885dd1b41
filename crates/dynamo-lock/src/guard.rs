//! [`Guard`]: a held lock.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use dynamo_lock_protocol::{DATA_MAX, FencingToken, Held, LockName, LossReason, Release, ReleaseEnd};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::core::Core;
use crate::error::{EnsureError, Lost, ReleaseError};
use crate::observer::Event;
use crate::renewal::Holding;
use crate::store::StoreError;

/// A held lock. While [`is_valid`](Guard::is_valid) says yes, no other guard of it does, anywhere.
///
/// In order of strength, protect what you do by the [`token`](Guard::token) or [`condition_check`](Guard::condition_check)
/// that the resource itself checks; by asking [`is_valid`](Guard::is_valid) just before acting; by [`run`](Guard::run) or
/// [`lost`](Guard::lost).
///
/// Dropping it releases the lock in the background; [`release`](Guard::release) does the same and tells how that went.
#[must_use = "the lock is released when its guard is dropped"]
pub struct Guard {
    holding: Arc<Holding>,
    runtime: Handle,
    timeout: Duration,
    pid: u32,
    released: bool,
}

impl Guard {
    pub(crate) fn new(core: Arc<Core>, held: Held) -> Self {
        let timeout = held.attempt_timeout();
        let holding = Holding::new(core, held);
        let runtime = Handle::current();
        // The renewal task ends with the guard.
        runtime.spawn(holding.clone().keep());
        Self { holding, runtime, timeout, pid: std::process::id(), released: false }
    }

    fn core(&self) -> &Arc<Core> {
        self.holding.core()
    }

    /// The lock's name.
    pub fn name(&self) -> &LockName {
        self.holding.name()
    }

    /// The fencing token: larger than that of every earlier holder. Send it along with what you do, and have the
    /// resource refuse smaller ones than it has seen.
    pub fn token(&self) -> FencingToken {
        self.holding.token()
    }

    /// Whether the lock may be believed in, computed now from this host's clocks (R3): right also after a pause, and
    /// without asking anybody. Once false, for ever. False in a forked child.
    ///
    /// It says nothing about what happens after it has answered: use the token for that.
    pub fn is_valid(&self) -> bool {
        self.loss_reason().is_none()
    }

    /// In a forked child nothing is locked: another thread may have held the mutex at the fork, and is not here.
    fn is_forked(&self) -> bool {
        self.pid != std::process::id()
    }

    fn lost_error<T>(&self, reason: LossReason, output: Option<T>) -> Lost<T> {
        let last_error = if self.is_forked() { None } else { self.holding.last_error() };
        Lost { reason, name: self.name().clone(), token: self.token(), output, last_error }
    }

    fn loss_reason(&self) -> Option<LossReason> {
        if self.is_forked() {
            return Some(LossReason::Suspended);
        }
        self.holding.check()
    }

    /// How long the lock may be believed in if no renewal lands any more; zero once it is lost.
    pub fn time_left(&self) -> Duration {
        match self.loss_reason() {
            Some(_) => Duration::ZERO,
            None => self.holding.held().time_left(self.core().clock.now()),
        }
    }

    /// Returns why the lock is lost, or `None` while its lease is valid. Once it is `Some`, it stays so.
    pub fn loss(&self) -> Option<Lost> {
        self.loss_reason().map(|reason| self.lost_error(reason, None))
    }

    /// Checks that the lease is valid for at least `min` from now, even if no further renewal succeeds.
    ///
    /// # Errors
    /// [`EnsureError::TooShort`] if the lease ends earlier, [`EnsureError::Lost`] if it has ended.
    pub fn ensure(&self, min: Duration) -> Result<(), EnsureError> {
        let left = self.time_left();
        match self.loss() {
            Some(lost) => Err(lost.into()),
            None if left < min => Err(EnsureError::TooShort { left, min }),
            None => Ok(()),
        }
    }

    /// Waits until the lock is lost, and tells why. It fires by a local timer at the deadline, whatever requests do.
    ///
    /// # Cancel safety
    /// Safe: it only waits.
    pub async fn lost(&self) -> LossReason {
        if self.is_forked() {
            return LossReason::Suspended;
        }
        let loss = self.holding.until_lost().await;
        self.holding.report(loss);
        loss
    }

    /// Is cancelled when the lock is lost, and when this guard is dropped or released: what must not go on without the
    /// lock listens to it. Cancelling it yourself stops only those who listen to this one.
    pub fn cancellation(&self) -> CancellationToken {
        self.holding.stop().child_token()
    }

    /// Runs `work` for as long as the lock is held: it is dropped at its next await once the lock is lost.
    ///
    /// # Errors
    /// [`Lost`], with the output of the work if it had finished when the loss was noticed.
    ///
    /// # Cancel safety
    /// As safe as `work`: dropping this drops it. The lock stays held.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> Result<T, Lost<T>> {
        let output = tokio::select! {
            biased;
            loss = self.lost() => return Err(self.lost_error(loss, None)),
            output = work => output,
        };
        match self.loss_reason() {
            Some(loss) => Err(self.lost_error(loss, Some(output))),
            None => Ok(output),
        }
    }

    /// Renews now, and waits until a renewal has landed: for `Renewal::Manual`, and before something long.
    ///
    /// # Errors
    /// [`Lost`] if the lock is lost before one lands.
    ///
    /// # Cancel safety
    /// Safe: the renewal goes on in the background.
    pub async fn renew(&self) -> Result<(), Lost> {
        let before = self.holding.held().renewals();
        self.ask_and_wait(|held| held.request_renewal(), |held| held.renewals() > before).await
    }

    /// Replaces the payload in the row, and waits until a renewal that carries it has landed.
    ///
    /// # Errors
    /// [`UpdateError::Lost`] if the lock is lost before one lands; [`UpdateError::Data`] for more than 4 KiB.
    ///
    /// # Cancel safety
    /// Safe: the payload stays pending, and travels with every renewal until one has landed.
    pub async fn update_data(&self, data: impl Into<String>) -> Result<(), UpdateError> {
        let data = data.into();
        if data.len() > DATA_MAX {
            return Err(UpdateError::Data { bytes: data.len() });
        }
        Ok(self.ask_and_wait(|held| held.request_data(data), |held| !held.has_pending_data()).await?)
    }

    async fn ask_and_wait(&self, ask: impl FnOnce(&mut Held), mut done: impl FnMut(&Held) -> bool) -> Result<(), Lost> {
        ask(&mut self.holding.held());
        loop {
            let changed = self.holding.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(loss) = self.loss_reason() {
                return Err(self.lost_error(loss, None));
            }
            if done(&self.holding.held()) {
                return Ok(());
            }
            self.holding.wake();
            tokio::select! {
                biased;
                () = changed => {}
                _ = self.lost() => {}
            }
        }
    }

    /// Returns the store that contains the lock's row.
    #[cfg(feature = "dynamodb")]
    pub(crate) fn store(&self) -> &dyn crate::Store {
        &*self.core().store
    }

    /// Returns the condition that the lock's row meets while this guard holds the lock.
    #[cfg(feature = "dynamodb")]
    pub(crate) fn condition(&self) -> dynamo_lock_protocol::Condition {
        self.holding.held().condition()
    }

    /// Gives the lock up, and tells how that went.
    ///
    /// # Errors
    /// [`ReleaseError::Lost`] if it was lost before, [`ReleaseError::Unknown`] if no answer told,
    /// [`ReleaseError::Store`] if the store refused. In each case the lock is over within its lease.
    ///
    /// # Cancel safety
    /// Safe: the release goes on in the background.
    pub async fn release(mut self) -> Result<(), ReleaseError> {
        if self.is_forked() {
            // A forked child's copy must not touch the parent's lock.
            return Err(self.lost_error(LossReason::Suspended, None).into());
        }
        let (done, end) = tokio::sync::oneshot::channel();
        self.begin_release(move |result| {
            let _nobody_waits = done.send(result);
        });
        match end.await {
            Err(_) | Ok(Ok(ReleaseEnd::Unknown)) => Err(ReleaseError::Unknown),
            Ok(Ok(ReleaseEnd::Released)) => Ok(()),
            Ok(Ok(ReleaseEnd::Lost(loss))) => Err(self.lost_error(loss, None).into()),
            Ok(Ok(_)) => Err(ReleaseError::Unknown),
            Ok(Err(error)) => Err(error.into()),
        }
    }

    fn begin_release(&mut self, tell: impl FnOnce(Result<ReleaseEnd, StoreError>) + Send + 'static) {
        self.released = true;
        // Belief ends before the release is sent.
        self.holding.end();
        let _found_out = self.loss_reason();
        let core = self.core().clone();
        let release = core.now(|now| Release::of(&self.holding.held(), now));
        self.holding.stop().cancel();
        let (timeout, holding) = (self.timeout, self.holding.clone());
        core.clone().in_background(&self.runtime, async move {
            let result = core.release(release, timeout).await;
            if matches!(result, Ok(ReleaseEnd::Released)) {
                core.observer.event(Event::Released { name: holding.name(), token: holding.token() });
            }
            tell(result);
        });
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.released && !self.is_forked() {
            self.begin_release(|result| match result {
                Ok(ReleaseEnd::Released) => {}
                Ok(end) => tracing::warn!(?end, "a dropped guard's release"),
                Err(error) => tracing::warn!(%error, "a dropped guard's release"),
            });
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("name", self.name()).field("token", &self.token()).finish_non_exhaustive()
    }
}

/// Why a payload was not replaced.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// The lock was lost before a renewal that carries the payload had landed.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The payload is too long.
    #[error("a payload has at most {DATA_MAX} bytes, this one has {bytes}: store it elsewhere and name it")]
    Data {
        /// Its length in bytes.
        bytes: usize,
    },
}
