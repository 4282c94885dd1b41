//! [`LockSet`]: a handle to several locks that are acquired together.

mod acquisition;
mod error;
mod guard_set;
mod members;
mod options;

use std::time::Duration;

use dynamo_lock_protocol::LockNames;

use crate::{Client, LockName, LockNamesError};

pub use error::{AcquireAllError, ReleaseAllError};
pub use guard_set::GuardSet;
pub use options::{LockSetOptions, TryAcquireAll};

/// Handle to several locks that are acquired together, all or none. Returned by [`Client::lock_all`].
///
/// The locks are acquired one after the other in the order of their names, byte by byte, so that clients with
/// overlapping sets never wait for each other in a circle. While one lock is awaited, those before it are held and
/// renewed, so other clients wait for them too: put locks together that are held for a short time, or choose one lock
/// for all resources. The order protects only locks that are acquired by one call. A program that holds a lock or a set
/// and then acquires another one must choose an order itself.
///
/// Each lock is an ordinary lock: a [`Lock`](crate::Lock) with the same name excludes the set, and waiters of both are
/// served alike. The set costs two writes per lock, one to acquire and one to release it.
#[derive(Clone, Debug)]
pub struct LockSet {
    client: Client,
    names: LockNames,
}

impl Client {
    /// Returns a handle to several locks that are acquired together, all or none. Sends no request.
    ///
    /// ```
    /// # use dynamo_lock::{Client, Memory};
    /// # async fn transfer(_: dynamo_lock::FencingToken, _: dynamo_lock::FencingToken) {}
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = Client::builder(Memory::new()).build()?;
    /// let guards = client.lock_all(["account/7", "account/42"])?.acquire().await?;
    /// if let (Some(from), Some(to)) = (guards.token("account/7"), guards.token("account/42")) {
    ///     guards.run(transfer(from, to)).await?; // cancels the work if any of the leases is lost
    /// }
    /// guards.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`LockNamesError`] unless there are 1 to 32 different names, each with 1 to 2,048 bytes of UTF-8 and no control
    /// characters.
    pub fn lock_all(&self, names: impl IntoIterator<Item = impl Into<String>>) -> Result<LockSet, LockNamesError> {
        Ok(LockSet { client: self.clone(), names: LockNames::new(names)? })
    }
}

impl LockSet {
    /// Returns the names of the locks in the order in which they are acquired.
    pub fn names(&self) -> &[LockName] {
        self.names.as_slice()
    }

    /// Returns options for one acquisition: lease, maximum hold time, data.
    ///
    /// ```
    /// use dynamo_lock::{Client, Memory};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = Client::builder(Memory::new()).build()?;
    /// let locks = client.lock_all(["shard/1", "shard/2"])?;
    /// let guards = locks.options().max_hold(Duration::from_secs(600)).acquire().await?;
    /// # drop(guards);
    /// # Ok(())
    /// # }
    /// ```
    pub fn options(&self) -> LockSetOptions {
        LockSetOptions::new(self.client.core.clone(), self.names.clone())
    }

    /// Waits until all locks are acquired, one after the other.
    ///
    /// There is no time limit. If a lock that is already held is lost while another one is awaited, for example because
    /// it was revoked, all are released, and the acquisition begins anew. All leases are valid when the call returns.
    ///
    /// # Errors
    /// [`AcquireAllError`] with the lock that could not be acquired and the error of
    /// [`Lock::acquire`](crate::Lock::acquire) for it. No lock is held.
    ///
    /// # Cancel safety
    /// Safe. If the future is dropped, all locks that it holds are released in the background.
    /// [`Client::close`] waits for that.
    pub async fn acquire(&self) -> Result<GuardSet, AcquireAllError> {
        self.options().acquire().await
    }

    /// Like [`acquire`](LockSet::acquire), but gives up after `limit`, which counts for all locks together. A limit of
    /// zero still sends one request for each lock that comes before a held one.
    ///
    /// After `limit` the call waits for a request in flight, and then up to a quarter of the lease for the releases of
    /// the locks that it holds. Releases that are not answered by then are repeated in the background.
    ///
    /// # Errors
    /// Same as [`acquire`](LockSet::acquire), with [`AcquireError::TimedOut`](crate::AcquireError::TimedOut) for the
    /// lock that was awaited when `limit` passed.
    ///
    /// # Cancel safety
    /// Same as [`acquire`](LockSet::acquire).
    pub async fn acquire_within(&self, limit: Duration) -> Result<GuardSet, AcquireAllError> {
        self.options().acquire_within(limit).await
    }

    /// Acquires all locks if none of them is held by another client, and returns the first holder otherwise.
    ///
    /// Does not wait for a holder. The locks that were acquired before the one that is held are released, for which the
    /// call waits up to a quarter of the lease.
    ///
    /// ```
    /// use dynamo_lock::{Client, Memory, TryAcquireAll};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = Client::builder(Memory::new()).build()?;
    /// match client.lock_all(["shard/1", "shard/2"])?.try_acquire().await? {
    ///     TryAcquireAll::Acquired(guards) => {
    ///         // work
    ///         guards.release().await?;
    ///     }
    ///     TryAcquireAll::Held { name, holder } => println!("{name} is held by {:?}", holder.owner),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`acquire`](LockSet::acquire). A lock that is held is not an error. If a lock is lost while the others
    /// are acquired, the acquisition begins anew only within a lease from the call, and then fails with
    /// [`AcquireError::Store`](crate::AcquireError::Store).
    ///
    /// # Cancel safety
    /// Same as [`acquire`](LockSet::acquire).
    pub async fn try_acquire(&self) -> Result<TryAcquireAll, AcquireAllError> {
        self.options().try_acquire().await
    }
}
