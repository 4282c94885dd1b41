//! [`Lock`]: a handle to one named lock.

use std::{fmt, time::Duration};

use dynamo_lock_protocol::{Revoke, RevokeEnd, RowState, Target};

use crate::{
    AcquireError, Client, FencingToken, Guard, Holder, InspectError, Inspection, LockName, LockOptions, RevokeError,
    TryAcquire, WithError, run::Run,
};

/// Handle to one named lock, returned by [`Client::lock`].
///
/// Creating, cloning and dropping a handle sends no request. One handle can acquire the lock many times.
///
/// Locks are not reentrant: two guards of the same lock exclude each other, also within one process.
///
/// Waiters of one client acquire the lock in the order of their calls, and one of them polls for all. Between clients
/// there is no order: after a release, any of them may acquire the lock next. [`try_acquire`](Lock::try_acquire) and
/// [`hold`](Lock::hold) do not join the queue.
#[derive(Clone, Debug)]
pub struct Lock {
    pub(crate) client: Client,
    pub(crate) name: LockName,
}

impl Lock {
    pub(crate) fn new(client: Client, name: LockName) -> Self {
        Self { client, name }
    }

    /// Returns the name of the lock.
    pub fn name(&self) -> &LockName {
        &self.name
    }

    /// Returns options for one acquisition: lease, renewal, maximum hold time, data.
    ///
    /// ```
    /// use dynamo_lock::{Client, Memory};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = Client::builder(Memory::new()).build()?;
    /// let lock = client.lock("orders/rebuild")?;
    /// let guard = lock.options().max_hold(Duration::from_secs(600)).data("build 42").acquire().await?;
    /// # drop(guard);
    /// # Ok(())
    /// # }
    /// ```
    pub fn options(&self) -> LockOptions {
        LockOptions::new(self.client.core.clone(), self.name.clone())
    }

    /// Waits until the lock is free or the lease of its holder has expired, and acquires it.
    ///
    /// There is no time limit. A free lock usually costs one request. While another client holds the lock, its row is
    /// read again and again: at most 4 times and 11 times per second, about 6 times per second on average. The times of
    /// the reads depend on the lengths of recent holds and the number of waiters, as far as the row contains them.
    ///
    /// Waiters of several clients are not served in order. A client that has just released a lock for which other clients
    /// wait lets them look first, for at most 0.25 s.
    ///
    /// # Errors
    /// [`AcquireError::Store`] if the store rejects a request or returns no usable answer for a whole lease, and
    /// [`AcquireError::Row`] if the row of this name is not a lock. Never [`AcquireError::TimedOut`].
    ///
    /// # Cancel safety
    /// Safe. If the future is dropped, a background task waits for the request in flight and releases the lock in case
    /// that request acquired it. [`Client::close`] waits for this task.
    pub async fn acquire(&self) -> Result<Guard, AcquireError> {
        self.options().acquire().await
    }

    /// Like [`acquire`](Lock::acquire), but gives up after `limit`. A limit of zero still sends one request.
    ///
    /// The call may take up to half a lease longer than `limit`: it waits for a request in flight, and if that request
    /// was not answered, it releases the lock in case the request acquired it. If this release is not answered either,
    /// it is repeated in the background, and the lock may stay held for up to one lease.
    ///
    /// # Errors
    /// Same as [`acquire`](Lock::acquire), and [`AcquireError::TimedOut`] after `limit`. If the store failed and no
    /// response contained the lock's row within `limit`, the error is [`AcquireError::Store`] instead.
    ///
    /// # Cancel safety
    /// Same as [`acquire`](Lock::acquire).
    pub async fn acquire_within(&self, limit: Duration) -> Result<Guard, AcquireError> {
        self.options().acquire_within(limit).await
    }

    /// Acquires the lock if it is free or its lease has certainly expired, and returns the holder otherwise.
    ///
    /// Does not wait for the holder. After a crash of the holder, the lock counts as held until this client can prove
    /// that the lease has expired: by the clock of the service, by the state of the process (SQLite on Linux), or
    /// because it has observed the same row for a whole lease. Repeated calls on one client add up to that observation.
    ///
    /// The call may take up to about one lease if the store does not respond, or rejects requests after one without a
    /// response. It may take a few seconds if the row is an expired one of npm dynamo-lock, because the token of this
    /// acquisition must then be greater than all others.
    ///
    /// ```
    /// use dynamo_lock::{Client, Memory, TryAcquire};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = Client::builder(Memory::new()).build()?;
    /// match client.lock("nightly-report")?.try_acquire().await? {
    ///     TryAcquire::Acquired(guard) => {
    ///         // work
    ///         guard.release().await?;
    ///     }
    ///     TryAcquire::Held(holder) => println!("already running: {:?}", holder.owner),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`acquire`](Lock::acquire). A lock that is held is not an error.
    ///
    /// # Cancel safety
    /// Same as [`acquire`](Lock::acquire).
    pub async fn try_acquire(&self) -> Result<TryAcquire, AcquireError> {
        self.options().try_acquire().await
    }

    /// Acquires the lock, runs `work`, and releases the lock. `work` is cancelled if the lock is lost.
    ///
    /// Waits for another holder without a time limit, like [`acquire`](Lock::acquire), and cancels `work` like
    /// [`Guard::run`]. If `work` panics, the lock is released in the background.
    ///
    /// ```
    /// # use dynamo_lock::{Client, Memory};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = Client::builder(Memory::new()).build()?;
    /// let lock = client.lock("orders/rebuild")?;
    /// let token = lock.with(async |guard| guard.token()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`WithError`]. It contains the output of `work` if `work` completed, also if the lock was lost or could not be
    /// released.
    ///
    /// # Cancel safety
    /// Depends on `work`, which is dropped together with this future. The lock is then released in the background.
    pub async fn with<T: fmt::Debug>(&self, work: impl AsyncFnOnce(&Guard) -> T) -> Result<T, WithError<T>> {
        self.options().with(work).await
    }

    /// Returns the state of the lock, by one strongly consistent read.
    ///
    /// The result is a snapshot: the lock may change hands at any time. Do not decide by it whether to work; acquire
    /// the lock instead.
    ///
    /// ```
    /// # use dynamo_lock::{Client, Inspection, Memory};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = Client::builder(Memory::new()).build()?;
    /// # let lock = client.lock("a")?;
    /// if let Inspection::Held { holder, may_end, .. } = lock.inspect().await? {
    ///     println!("held by {:?}, for at most {:?} unless renewed", holder.owner, may_end.end());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`InspectError::Row`] if the row is not a lock, [`InspectError::Store`] if it could not be read. The read is not
    /// repeated, and is given up after a quarter of the lease, at most 10 s. Loading AWS credentials may take longer.
    ///
    /// # Cancel safety
    /// Safe. Nothing is written.
    pub async fn inspect(&self) -> Result<Inspection, InspectError> {
        self.client.core.inspect(&self.name).await
    }

    /// Revokes the acquisition that has this fencing token.
    ///
    /// The holder's next renewal fails, and its guard reports [`LossReason::Revoked`](crate::LossReason::Revoked).
    /// Other clients can acquire the lock after the lease of the holder, so at most one guard is valid at any time. A
    /// [`hold`](Lock::hold) is not renewed, so the lock stays held until the end of the hold. An acquisition that has
    /// already ended, or a later one, is never affected. Revoking the same acquisition twice succeeds.
    ///
    /// The revocation increments the token in the row by one. To free the lock at once afterwards, pass the new token
    /// to [`force_revoke`](Lock::force_revoke).
    ///
    /// ```
    /// # use dynamo_lock::{Client, Inspection, Memory};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = Client::builder(Memory::new()).build()?;
    /// # let lock = client.lock("a")?;
    /// # let guard = lock.acquire().await?;
    /// if let Inspection::Held { holder, .. } = lock.inspect().await? {
    ///     if let Some(token) = holder.token {
    ///         lock.revoke(token).await?;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RevokeError::Ended`] if the lock was released, its row was deleted, or another acquisition has followed.
    /// [`RevokeError::Unknown`] if the store did not confirm the revocation within about 10 s. [`RevokeError::Row`] if
    /// the row is not a lock. [`RevokeError::Store`] if the store rejected the first request that it answered.
    ///
    /// # Cancel safety
    /// If the future is dropped, the revocation may or may not be applied.
    pub async fn revoke(&self, token: FencingToken) -> Result<(), RevokeError> {
        self.revoke_token(token, false).await
    }

    /// Like [`revoke`](Lock::revoke), but the lock is free at once.
    ///
    /// **Unsafe while the holder is running**, because its guard stays valid until its next renewal fails, and another
    /// client may acquire the lock in the meantime. Only a resource that checks fencing tokens is protected then. Make
    /// sure that the holder has ended.
    ///
    /// If the revoked guard is released later, that release may report success: if its only attempt was not answered
    /// and another client has acquired the lock since, the row no longer shows the revocation.
    ///
    /// # Errors
    /// Same as [`revoke`](Lock::revoke).
    ///
    /// # Cancel safety
    /// Same as [`revoke`](Lock::revoke).
    pub async fn force_revoke(&self, token: FencingToken) -> Result<(), RevokeError> {
        self.revoke_token(token, true).await
    }

    async fn revoke_token(&self, token: FencingToken, force: bool) -> Result<(), RevokeError> {
        let core = &self.client.core;
        let revoke = core.now(|now| Revoke::new(&self.name, Target::Token(token), force, now));
        let mut run = Run::new(core, &self.name, revoke, core.timing.attempt_timeout());
        match run.complete().await {
            RevokeEnd::Done => Ok(()),
            RevokeEnd::Refused => Err(RevokeError::Store(run.take_last_error())),
            RevokeEnd::Ended(None) => Err(RevokeError::Ended { token, holder: None }),
            RevokeEnd::Ended(Some(row)) => match row.state() {
                Err(error) => Err(RevokeError::Row { name: self.name.clone(), error }),
                Ok(RowState::Free) => Err(RevokeError::Ended { token, holder: None }),
                Ok(_) => {
                    let holder = core.now(|now| Holder::of(&row, now));
                    Err(RevokeError::Ended { token, holder: Some(Box::new(holder)) })
                }
            },
            _ => Err(RevokeError::Unknown),
        }
    }
}
