//! [`Semaphore`]: a lock that a limited number of holders hold at the same time.

use std::{fmt, time::Duration};

use dynamo_lock_protocol::{Access, HOLDERS_MAX, WaitMode};

use crate::{
    AcquireError, Client, ConfigError, Holder, InspectError, Inspection, LeaseId, LockName, LockOptions, NameError,
    Permit, Renewal, RevokeError, TryAcquire, WithError,
};

/// Handle to a semaphore, returned by [`Client::semaphore`]: a name with a number of slots, of which each holder has
/// one.
///
/// Use it to limit how many jobs run at the same time on all hosts together. Creating, cloning and dropping a handle
/// sends no request.
///
/// Clients may use different numbers of slots, for example while a deployment changes the number: each acquisition
/// respects its own, so there are never more holders than the largest number in use. A free slot usually costs one
/// request, and one more for its release. Each write costs the size of the row, about 144 bytes for each holder, so that
/// 8 holders need twice and 64 holders ten times the write capacity of one.
///
/// There is no order among waiters, also within one client.
#[derive(Clone, Debug)]
pub struct Semaphore {
    client: Client,
    name: LockName,
    slots: u64,
}

/// Error returned by [`Client::semaphore`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SemaphoreError {
    /// The name is not valid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The number of slots is out of range.
    #[error(transparent)]
    Slots(#[from] ConfigError),
}

impl Client {
    /// Returns a handle to the semaphore `name` with this number of slots, 1 to 64. Sends no request.
    ///
    /// A semaphore and a lock are different kinds of rows: acquiring one under the name of the other fails with
    /// [`AcquireError::Row`].
    ///
    /// # Errors
    /// [`SemaphoreError::Name`] unless the name has 1 to 2,048 bytes of UTF-8 and no control characters, and
    /// [`SemaphoreError::Slots`] if the number is out of range.
    pub fn semaphore(&self, name: impl Into<String>, slots: u64) -> Result<Semaphore, SemaphoreError> {
        let name = LockName::new(name)?;
        if slots == 0 || slots > HOLDERS_MAX {
            return Err(ConfigError::Slots { slots }.into());
        }
        Ok(Semaphore { client: self.clone(), name, slots })
    }
}

impl Semaphore {
    /// Returns the name of the semaphore.
    pub fn name(&self) -> &LockName {
        &self.name
    }

    /// Returns the number of slots.
    pub fn slots(&self) -> u64 {
        self.slots
    }

    /// Returns options for one acquisition: lease, renewal, maximum hold time.
    pub fn options(&self) -> PermitOptions {
        let access = Access::permit(self.slots);
        PermitOptions(LockOptions::new(self.client.core.clone(), self.name.clone()).access(access))
    }

    /// Waits until a slot is free, and acquires it.
    ///
    /// There is no time limit. While all slots are taken, the row is read again and again, as by
    /// [`Lock::acquire`](crate::Lock::acquire).
    ///
    /// ```
    /// # use dynamo_lock::{Client, Memory};
    /// # async fn convert() {}
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = Client::builder(Memory::new()).build()?;
    /// let conversions = client.semaphore("video/conversions", 3)?; // at most 3 at a time, on all hosts together
    /// let permit = conversions.acquire().await?;
    /// permit.run(convert()).await?;
    /// permit.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Lock::acquire`](crate::Lock::acquire).
    ///
    /// # Cancel safety
    /// Safe. If the future is dropped, a background task waits for the request in flight and gives back what it may have
    /// acquired.
    pub async fn acquire(&self) -> Result<Permit, AcquireError> {
        self.options().acquire().await
    }

    /// Like [`acquire`](Semaphore::acquire), but gives up after `limit`. A limit of zero still sends one request.
    ///
    /// # Errors
    /// Same as [`Lock::acquire_within`](crate::Lock::acquire_within).
    ///
    /// # Cancel safety
    /// Same as [`acquire`](Semaphore::acquire).
    pub async fn acquire_within(&self, limit: Duration) -> Result<Permit, AcquireError> {
        self.options().acquire_within(limit).await
    }

    /// Acquires a slot if one is free or its lease has certainly expired, and returns one of the holders otherwise.
    ///
    /// Does not wait. The expiry of a crashed holder's lease is proven by the clock of the service or by the state of the
    /// process (SQLite on Linux). Other than for a [`Lock`](crate::Lock), repeated calls do not add up to an observation
    /// of the whole lease.
    ///
    /// # Errors
    /// Same as [`acquire`](Semaphore::acquire). A semaphore without a free slot is not an error.
    ///
    /// # Cancel safety
    /// Same as [`acquire`](Semaphore::acquire).
    pub async fn try_acquire(&self) -> Result<TryPermit, AcquireError> {
        self.options().try_acquire().await
    }

    /// Acquires a slot, runs `work`, and releases the slot. `work` is cancelled if the slot is lost. See
    /// [`Lock::with`](crate::Lock::with).
    ///
    /// # Errors
    /// [`WithError`]. It contains the output of `work` if `work` completed, also if the slot was lost or could not be
    /// released.
    ///
    /// # Cancel safety
    /// Depends on `work`, which is dropped together with this future. The slot is then released in the background.
    pub async fn with<T: fmt::Debug>(&self, work: impl AsyncFnOnce(&Permit) -> T) -> Result<T, WithError<T>> {
        self.options().with(work).await
    }

    /// Returns the state of the semaphore, by one strongly consistent read: [`Inspection::Shared`], or
    /// [`Inspection::Free`] without a row. See [`Lock::inspect`](crate::Lock::inspect).
    ///
    /// # Errors
    /// Same as [`Lock::inspect`](crate::Lock::inspect).
    ///
    /// # Cancel safety
    /// Safe. Nothing is written.
    pub async fn inspect(&self) -> Result<Inspection, InspectError> {
        self.client.core.inspect(&self.name).await
    }

    /// Revokes the holder with this lease ID, as [`RwLock::revoke`](crate::RwLock::revoke) does.
    ///
    /// # Errors
    /// Same as [`RwLock::revoke`](crate::RwLock::revoke).
    ///
    /// # Cancel safety
    /// If the future is dropped, the revocation may or may not be applied.
    pub async fn revoke(&self, holder: &LeaseId) -> Result<(), RevokeError> {
        self.client.core.revoke_holder(&self.name, holder, false).await
    }

    /// Like [`revoke`](Semaphore::revoke), but the slot is free at once. **Unsafe while the holder is running**, see
    /// [`RwLock::force_revoke`](crate::RwLock::force_revoke).
    ///
    /// # Errors
    /// Same as [`revoke`](Semaphore::revoke).
    ///
    /// # Cancel safety
    /// Same as [`revoke`](Semaphore::revoke).
    pub async fn force_revoke(&self, holder: &LeaseId) -> Result<(), RevokeError> {
        self.client.core.revoke_holder(&self.name, holder, true).await
    }
}

/// Options of one acquisition, returned by [`Semaphore::options`], and the ways to acquire a slot with them.
#[derive(Clone, Debug)]
#[must_use = "options do nothing until something is acquired with them"]
pub struct PermitOptions(LockOptions);

impl PermitOptions {
    /// Sets the lease of this acquisition, 1 s to 1 h. Default: the lease of the client.
    pub fn lease(self, lease: Duration) -> Self {
        Self(self.0.lease(lease))
    }

    /// Sets how the lease is renewed. Default: [`Renewal::Automatic`].
    pub fn renewal(self, renewal: Renewal) -> Self {
        Self(self.0.renewal(renewal))
    }

    /// Sets the maximum time from the acquisition to the loss of the slot, at least 1 s. Default: unlimited.
    pub fn max_hold(self, max_hold: Duration) -> Self {
        Self(self.0.max_hold(max_hold))
    }

    /// Like [`Semaphore::acquire`], with these options.
    ///
    /// # Errors
    /// Same as [`Semaphore::acquire`], and [`AcquireError::Config`] if an option is out of range.
    ///
    /// # Cancel safety
    /// Same as [`Semaphore::acquire`].
    pub async fn acquire(self) -> Result<Permit, AcquireError> {
        self.0.acquire().await.map(Permit::new)
    }

    /// Like [`Semaphore::acquire_within`], with these options.
    ///
    /// # Errors
    /// Same as [`Semaphore::acquire_within`], and [`AcquireError::Config`] if an option is out of range.
    ///
    /// # Cancel safety
    /// Same as [`Semaphore::acquire`].
    pub async fn acquire_within(self, limit: Duration) -> Result<Permit, AcquireError> {
        self.0.acquire_within(limit).await.map(Permit::new)
    }

    /// Like [`Semaphore::try_acquire`], with these options.
    ///
    /// # Errors
    /// Same as [`Semaphore::try_acquire`], and [`AcquireError::Config`] if an option is out of range.
    ///
    /// # Cancel safety
    /// Same as [`Semaphore::acquire`].
    pub async fn try_acquire(self) -> Result<TryPermit, AcquireError> {
        Ok(match self.0.start(WaitMode::Try, None).await? {
            TryAcquire::Acquired(guard) => TryPermit::Acquired(Permit::new(guard)),
            TryAcquire::Held(holder) => TryPermit::Full(holder),
        })
    }

    /// Like [`Semaphore::with`], with these options.
    ///
    /// # Errors
    /// Same as [`Semaphore::with`], and [`AcquireError::Config`] if an option is out of range.
    ///
    /// # Cancel safety
    /// Same as [`Semaphore::with`].
    pub async fn with<T: fmt::Debug>(self, work: impl AsyncFnOnce(&Permit) -> T) -> Result<T, WithError<T>> {
        let permit = self.acquire().await?;
        let output = permit.run(work(&permit)).await.map_err(WithError::Lost)?;
        match permit.release().await {
            Ok(()) => Ok(output),
            Err(error) => Err(WithError::Release { output, error }),
        }
    }
}

/// Result of [`Semaphore::try_acquire`].
#[derive(Debug)]
#[must_use = "the slot is released when the permit in it is dropped"]
pub enum TryPermit {
    /// A slot was acquired.
    Acquired(Permit),
    /// All slots are taken. Contains one of the holders, as it was read by the same request.
    Full(Holder),
}
