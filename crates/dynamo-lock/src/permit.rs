//! [`Permit`]: a held slot of a semaphore.

use std::{fmt, future::Future, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{EnsureError, Guard, LeaseId, LockName, LossReason, Lost, ReleaseError, StoreError};

/// A held slot of a [`Semaphore`](crate::Semaphore).
///
/// It works as a [`Guard`] does: a background task renews the lease, dropping it releases the slot in the background,
/// and in a forked child process it is always lost. It has no fencing token, because a semaphore orders nothing: protect
/// the resource with a `condition_check_of_permit` of the DynamoDB store, or with [`is_valid`](Permit::is_valid)
/// immediately before each side effect.
#[must_use = "the slot is released when its permit is dropped"]
pub struct Permit(Guard);

impl Permit {
    pub(crate) fn new(guard: Guard) -> Self {
        Self(guard)
    }

    pub(crate) fn guard(&self) -> &Guard {
        &self.0
    }

    /// Returns the name of the semaphore.
    pub fn name(&self) -> &LockName {
        self.0.name()
    }

    /// Returns the lease ID of this acquisition, by which [`Semaphore::revoke`](crate::Semaphore::revoke) names this
    /// holder. `None` in a forked child process.
    pub fn lease_id(&self) -> Option<LeaseId> {
        self.0.lease_id()
    }

    /// Returns whether the lease of the slot is still valid. See [`Guard::is_valid`].
    pub fn is_valid(&self) -> bool {
        self.0.is_valid()
    }

    /// Returns the time until the lease ends if no further renewal succeeds, zero once the slot is lost. See
    /// [`Guard::time_left`].
    pub fn time_left(&self) -> Duration {
        self.0.time_left()
    }

    /// Returns the loss of the slot, or `None` while the lease is valid.
    pub fn loss(&self) -> Option<Lost> {
        self.0.loss()
    }

    /// Returns the error of the last renewal if it failed.
    pub fn last_error(&self) -> Option<StoreError> {
        self.0.last_error()
    }

    /// Checks that the lease is valid for at least `min` from now. See [`Guard::ensure`].
    ///
    /// # Errors
    /// Same as [`Guard::ensure`].
    pub fn ensure(&self, min: Duration) -> Result<(), EnsureError> {
        self.0.ensure(min)
    }

    /// Waits until the slot is lost, and returns the reason. See [`Guard::lost`].
    ///
    /// # Cancel safety
    /// Safe. The wait has no side effects.
    pub async fn lost(&self) -> LossReason {
        self.0.lost().await
    }

    /// Waits until less than `margin` of the lease is left. See [`Guard::at_risk`].
    ///
    /// # Errors
    /// Same as [`Guard::at_risk`].
    ///
    /// # Cancel safety
    /// Safe. The wait has no side effects.
    pub async fn at_risk(&self, margin: Duration) -> Result<Duration, Lost> {
        self.0.at_risk(margin).await
    }

    /// Waits until at least `margin` of the lease is left. See [`Guard::recovered`].
    ///
    /// # Errors
    /// Same as [`Guard::recovered`].
    ///
    /// # Cancel safety
    /// Safe. The wait has no side effects.
    pub async fn recovered(&self, margin: Duration) -> Result<(), Lost> {
        self.0.recovered(margin).await
    }

    /// Returns a token that is cancelled when the slot is lost, and when this permit is dropped or released. See
    /// [`Guard::cancellation`].
    pub fn cancellation(&self) -> CancellationToken {
        self.0.cancellation()
    }

    /// Runs `work` while the slot is held, and cancels it when the slot is lost. See [`Guard::run`].
    ///
    /// # Errors
    /// Same as [`Guard::run`].
    ///
    /// # Cancel safety
    /// Depends on `work`, which is dropped together with this future. The slot stays held.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> Result<T, Lost<T>> {
        self.0.run(work).await
    }

    /// Renews the lease now, and waits until the store has confirmed a renewal. See [`Guard::renew`].
    ///
    /// # Errors
    /// Same as [`Guard::renew`].
    ///
    /// # Cancel safety
    /// Safe. The renewal continues in the background.
    pub async fn renew(&self) -> Result<(), Lost> {
        self.0.renew().await
    }

    /// Releases the slot and waits for the result. See [`Guard::release`].
    ///
    /// # Errors
    /// Same as [`Guard::release`].
    ///
    /// # Cancel safety
    /// Safe. The release continues in the background; [`Client::close`](crate::Client::close) waits for it.
    pub async fn release(self) -> Result<(), ReleaseError> {
        self.0.release().await
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("name", self.name()).finish_non_exhaustive()
    }
}
