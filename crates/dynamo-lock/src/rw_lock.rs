//! [`RwLock`]: a lock that several readers hold at the same time, or one writer alone.

use std::time::Duration;

use dynamo_lock_protocol::{Access, Kind};

use crate::{
    AcquireError, Client, ConvertError, Guard, InspectError, Inspection, LeaseId, LockName, LockOptions, NameError,
    RevokeError, TryAcquire,
};

/// Handle to a read/write lock, returned by [`Client::rw_lock`]: several readers hold it at the same time, or one writer
/// alone.
///
/// A writer that waits bars further readers, so that readers who come without end do not starve it. Readers are not
/// promised an order beside a stream of writers. At most 64 readers hold the lock at a time. Each write costs the size of
/// the row, as with a [`Semaphore`](crate::Semaphore).
///
/// A guard cannot be upgraded from reading to writing, because two readers that both want it would wait for each other
/// for ever: release it, and acquire the other. Creating, cloning and dropping a handle sends no request.
#[derive(Clone, Debug)]
pub struct RwLock {
    client: Client,
    name: LockName,
}

impl Client {
    /// Returns a handle to the read/write lock `name`. Sends no request.
    ///
    /// A read/write lock and a plain lock are different kinds of rows: acquiring one under the name of the other fails
    /// with [`AcquireError::Row`]. [`RwLock::convert`] makes a free plain lock a read/write lock.
    ///
    /// # Errors
    /// [`NameError`] unless the name has 1 to 2,048 bytes of UTF-8 and no control characters.
    pub fn rw_lock(&self, name: impl Into<String>) -> Result<RwLock, NameError> {
        Ok(RwLock { client: self.clone(), name: LockName::new(name)? })
    }
}

impl RwLock {
    /// Returns the name of the lock.
    pub fn name(&self) -> &LockName {
        &self.name
    }

    /// Returns options for one acquisition by a reader. [`LockOptions::data`] does not apply.
    pub fn read_options(&self) -> LockOptions {
        LockOptions::new(self.client.core.clone(), self.name.clone()).access(Access::read())
    }

    /// Returns options for one acquisition by a writer. [`LockOptions::data`] does not apply.
    pub fn write_options(&self) -> LockOptions {
        LockOptions::new(self.client.core.clone(), self.name.clone()).access(Access::write())
    }

    /// Waits until no writer holds the lock or waits for it, and acquires it together with other readers.
    ///
    /// The [token](Guard::token) of a reader is greater than that of every earlier writer, and equal to that of the
    /// readers that hold the lock at the same time.
    ///
    /// **Do not call it while the same task holds a guard of a reader of the same name**: once a writer waits, the inner
    /// reader waits for the writer, and the writer for the outer reader.
    ///
    /// ```
    /// # use dynamo_lock::{Client, Memory};
    /// # async fn report() {}
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = Client::builder(Memory::new()).build()?;
    /// let tables = client.rw_lock("orders/tables")?;
    /// let reader = tables.read().await?; // beside other readers
    /// reader.run(report()).await?;
    /// reader.release().await?;
    ///
    /// let writer = tables.write().await?; // alone
    /// writer.release().await?;
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
    pub async fn read(&self) -> Result<Guard, AcquireError> {
        self.read_options().acquire().await
    }

    /// Waits until all readers and writers have released the lock, and acquires it alone. Further readers wait.
    ///
    /// The [token](Guard::token) of a writer is greater than that of every earlier guard.
    ///
    /// # Errors
    /// Same as [`Lock::acquire`](crate::Lock::acquire).
    ///
    /// # Cancel safety
    /// Same as [`read`](RwLock::read). Readers may acquire the lock again as soon as the background has withdrawn the
    /// writer.
    pub async fn write(&self) -> Result<Guard, AcquireError> {
        self.write_options().acquire().await
    }

    /// Like [`read`](RwLock::read), but gives up after `limit`. A limit of zero still sends one request.
    ///
    /// # Errors
    /// Same as [`Lock::acquire_within`](crate::Lock::acquire_within).
    ///
    /// # Cancel safety
    /// Same as [`read`](RwLock::read).
    pub async fn read_within(&self, limit: Duration) -> Result<Guard, AcquireError> {
        self.read_options().acquire_within(limit).await
    }

    /// Like [`write`](RwLock::write), but gives up after `limit`. A limit of zero still sends one request.
    ///
    /// # Errors
    /// Same as [`Lock::acquire_within`](crate::Lock::acquire_within).
    ///
    /// # Cancel safety
    /// Same as [`write`](RwLock::write).
    pub async fn write_within(&self, limit: Duration) -> Result<Guard, AcquireError> {
        self.write_options().acquire_within(limit).await
    }

    /// Acquires the lock beside other readers if no writer holds it or waits, and returns the writer otherwise.
    ///
    /// Does not wait. The expiry of a crashed holder's lease is proven by the clock of the service or by the state of the
    /// process (SQLite on Linux).
    ///
    /// # Errors
    /// Same as [`read`](RwLock::read). A lock that is held is not an error.
    ///
    /// # Cancel safety
    /// Same as [`read`](RwLock::read).
    pub async fn try_read(&self) -> Result<TryAcquire, AcquireError> {
        self.read_options().try_acquire().await
    }

    /// Acquires the lock alone if it is free, and returns one of the holders otherwise. Does not wait, and bars no reader.
    ///
    /// # Errors
    /// Same as [`write`](RwLock::write). A lock that is held is not an error.
    ///
    /// # Cancel safety
    /// Same as [`read`](RwLock::read).
    pub async fn try_write(&self) -> Result<TryAcquire, AcquireError> {
        self.write_options().try_acquire().await
    }

    /// Returns the state of the lock, by one strongly consistent read: [`Inspection::Shared`], or [`Inspection::Free`]
    /// without a row. See [`Lock::inspect`](crate::Lock::inspect).
    ///
    /// # Errors
    /// Same as [`Lock::inspect`](crate::Lock::inspect).
    ///
    /// # Cancel safety
    /// Safe. Nothing is written.
    pub async fn inspect(&self) -> Result<Inspection, InspectError> {
        self.client.core.inspect(&self.name).await
    }

    /// Revokes the holder with this [lease ID](Guard::lease_id), a reader, a writer, or a writer that waits.
    ///
    /// The holder's next renewal fails, and its guard reports [`LossReason::Revoked`](crate::LossReason::Revoked). Others
    /// wait until its lease has expired or it has left, so the promises of the lock hold. Revoking a holder twice
    /// succeeds. A writer that waits begins its wait again.
    ///
    /// # Errors
    /// [`RevokeError::HolderEnded`] if the row contains no such holder. [`RevokeError::Unknown`] if the store did not
    /// confirm the revocation within about 10 s. [`RevokeError::Row`] if the row is not one with several holders.
    /// [`RevokeError::Store`] if the store rejected a request.
    ///
    /// # Cancel safety
    /// If the future is dropped, the revocation may or may not be applied.
    pub async fn revoke(&self, holder: &LeaseId) -> Result<(), RevokeError> {
        self.client.core.revoke_holder(&self.name, holder, false).await
    }

    /// Like [`revoke`](RwLock::revoke), but the holder is removed at once.
    ///
    /// **Unsafe while the holder is running**, because its guard stays valid until its next renewal fails, and another
    /// client may acquire the lock in the meantime. Make sure that the holder has ended.
    ///
    /// # Errors
    /// Same as [`revoke`](RwLock::revoke).
    ///
    /// # Cancel safety
    /// Same as [`revoke`](RwLock::revoke).
    pub async fn force_revoke(&self, holder: &LeaseId) -> Result<(), RevokeError> {
        self.client.core.revoke_holder(&self.name, holder, true).await
    }

    /// Makes the lock of this name a read/write lock, if it is of another kind and free. A read/write lock, or a name
    /// without a row, stays as it is.
    ///
    /// The fencing token goes on, so that every later token is greater. Data that was stored with a plain lock is removed,
    /// and so is the success of [work that runs once](crate::Lock::once). The entry of a crashed holder counts as held.
    /// [`Lock::reset`](crate::Lock::reset) makes it a plain lock again.
    ///
    /// # Errors
    /// [`ConvertError`]. The row was not changed unless the error is [`ConvertError::Unknown`].
    ///
    /// # Cancel safety
    /// If the future is dropped, the change may or may not be applied.
    pub async fn convert(&self) -> Result<(), ConvertError> {
        self.client.core.convert(&self.name, Kind::RwLock).await
    }
}
