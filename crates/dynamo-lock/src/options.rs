//! [`LockOptions`]: the options of one acquisition, and the ways to acquire a lock with them.

use std::{fmt, sync::Arc, time::Duration};

use dynamo_lock_protocol::{Access, Kind, Request, WaitMode};

use crate::{AcquireError, Guard, Holder, LockName, Renewal, WithError, core::Core};

/// Options of one acquisition, returned by [`Lock::options`](crate::Lock::options), and the ways to acquire the lock
/// with them. Clone the options to acquire several times with them. [`Lock::hold`](crate::Lock::hold) does not use
/// them.
#[derive(Clone, Debug)]
#[must_use = "options do nothing until something is acquired with them"]
pub struct LockOptions {
    pub(crate) core: Arc<Core>,
    /// Request with the timing of the client.
    pub(crate) request: Request,
    /// Lease in place of the client's.
    pub(crate) lease: Option<Duration>,
    /// Access to a row with several holders. `None` for a plain lock.
    pub(crate) access: Option<Access>,
}

impl LockOptions {
    pub(crate) fn new(core: Arc<Core>, name: LockName) -> Self {
        let request = Request {
            name,
            kind: Kind::Mutex,
            owner: core.owner.clone(),
            timing: core.timing.clone(),
            renewal: Renewal::Automatic,
            max_hold: None,
            data: None,
            liveness_key: core.store.liveness_key().map(str::to_owned),
            wait_mode: WaitMode::Wait,
        };
        Self { core, request, lease: None, access: None }
    }

    /// Sets the access to a row with several holders.
    pub(crate) fn access(mut self, access: Access) -> Self {
        self.request.kind = access.kind();
        self.access = Some(access);
        self
    }

    /// Sets the lease of this acquisition, 1 s to 1 h. Default: the lease of the client.
    ///
    /// The heartbeat interval is then the default for this lease, even if the client sets another.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Sets how the lease is renewed. Default: [`Renewal::Automatic`].
    pub fn renewal(mut self, renewal: Renewal) -> Self {
        self.request.renewal = renewal;
        self
    }

    /// Sets the maximum time from the acquisition to the loss of the lock, at least 1 s. Default: unlimited.
    ///
    /// When it has passed, the guard reports [`LossReason::MaxHold`](crate::LossReason::MaxHold), even if all renewals
    /// succeed. Use it so that work which hangs does not keep the lock.
    pub fn max_hold(mut self, max_hold: Duration) -> Self {
        self.request.max_hold = Some(max_hold);
        self
    }

    /// Sets data that is stored with the lock, at most 4,096 bytes. Default: the data of the previous holder is kept.
    ///
    /// Others read it with [`Lock::inspect`](crate::Lock::inspect). It stays in the row after the release, until it is
    /// replaced. A [`RwLock`](crate::RwLock) has no data; its acquisition fails with [`AcquireError::Config`].
    pub fn data(mut self, data: impl Into<String>) -> Self {
        self.request.data = Some(data.into());
        self
    }

    /// Like [`Lock::acquire`](crate::Lock::acquire), with these options.
    ///
    /// # Errors
    /// Same as [`Lock::acquire`](crate::Lock::acquire), and [`AcquireError::Config`] if an option is out of range.
    ///
    /// # Cancel safety
    /// Same as [`Lock::acquire`](crate::Lock::acquire).
    pub async fn acquire(self) -> Result<Guard, AcquireError> {
        self.wait(None).await
    }

    /// Like [`Lock::acquire_within`](crate::Lock::acquire_within), with these options.
    ///
    /// # Errors
    /// Same as [`Lock::acquire_within`](crate::Lock::acquire_within), and [`AcquireError::Config`] if an option is out
    /// of range.
    ///
    /// # Cancel safety
    /// Same as [`Lock::acquire`](crate::Lock::acquire).
    pub async fn acquire_within(self, limit: Duration) -> Result<Guard, AcquireError> {
        self.wait(Some(limit)).await
    }

    /// Like [`Lock::try_acquire`](crate::Lock::try_acquire), with these options.
    ///
    /// # Errors
    /// Same as [`Lock::try_acquire`](crate::Lock::try_acquire), and [`AcquireError::Config`] if an option is out of
    /// range.
    ///
    /// # Cancel safety
    /// Same as [`Lock::acquire`](crate::Lock::acquire).
    pub async fn try_acquire(self) -> Result<TryAcquire, AcquireError> {
        self.start(WaitMode::Try, None).await
    }

    /// Like [`Lock::with`](crate::Lock::with), with these options.
    ///
    /// # Errors
    /// Same as [`Lock::with`](crate::Lock::with), and [`AcquireError::Config`] if an option is out of range.
    ///
    /// # Cancel safety
    /// Same as [`Lock::with`](crate::Lock::with).
    pub async fn with<T: fmt::Debug>(self, work: impl AsyncFnOnce(&Guard) -> T) -> Result<T, WithError<T>> {
        let guard = self.acquire().await?;
        let output = guard.run(work(&guard)).await.map_err(WithError::Lost)?;
        guard.release_with(output).await
    }

    async fn wait(self, limit: Option<Duration>) -> Result<Guard, AcquireError> {
        match self.start(WaitMode::Wait, limit).await? {
            TryAcquire::Acquired(guard) => Ok(guard),
            // Unreachable, because a machine that waits does not report contention.
            TryAcquire::Held(holder) => {
                Err(AcquireError::TimedOut { holder: Some(holder), waited: limit.unwrap_or_default() })
            }
        }
    }
}

/// Result of [`Lock::try_acquire`](crate::Lock::try_acquire).
///
/// Match on the value and keep the guard. There is no method that returns only whether the lock was acquired, because a
/// call on a temporary value would drop the guard, which releases the lock.
#[derive(Debug)]
#[must_use = "the lock is released when the guard in it is dropped"]
pub enum TryAcquire {
    /// The lock was acquired.
    Acquired(Guard),
    /// Another client holds the lock. The holder was read by the same request. Its fields are `None` if other clients
    /// acquired and released the lock faster than this one.
    Held(Holder),
}
