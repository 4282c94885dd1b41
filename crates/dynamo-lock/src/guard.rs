//! [`Guard`]: a held lock.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use dynamo_lock_protocol::{DATA_MAX, Held, Kind};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::core::Core;
use crate::process::ProcessId;
use crate::renewal::{Holding, RenewalTask};
use crate::{EnsureError, FencingToken, LeaseId, LockName, LossReason, Lost, StoreError, UpdateError, log};

/// A held lock. At most one guard per lock is valid at any time, on all hosts together; of a [`RwLock`](crate::RwLock)
/// one guard of a writer, or several of readers.
///
/// A lock cannot stop a process that is paused after it has checked [`is_valid`](Guard::is_valid). Protect the resource
/// with the strongest of these that it supports:
///
/// 1. the [fencing token](Guard::token), or on DynamoDB a `condition_check` of the store in your own transaction;
/// 2. a call of [`is_valid`](Guard::is_valid) immediately before each side effect;
/// 3. [`run`](Guard::run), [`lost`](Guard::lost) or [`cancellation`](Guard::cancellation), which stop the work when the
///    lease ends.
///
/// A background task renews the lease (see [`Renewal`](crate::Renewal)). It runs on the tokio runtime on which the lock
/// was acquired, so that runtime must keep running, and must not be blocked for longer than a quarter of the lease.
/// [Who renews](crate#who-renews) has the details, and the alternative for synchronous programs.
///
/// Dropping the guard releases the lock in the background; call [`release`](Guard::release) to wait for the result and
/// to see errors. If the process ends without a release, the lock expires after its lease. A guard that is dropped
/// within 5 ms of its acquisition causes a warning in the log, because `let _ = lock.acquire().await?` does that by
/// mistake.
///
/// In a forked child process a guard is always lost, and dropping it there does not release the lock of the parent.
#[must_use = "the lock is released when its guard is dropped"]
pub struct Guard {
    pub(crate) holding: Arc<Holding>,
    /// Runtime on which the lock was acquired.
    pub(crate) runtime: Handle,
    process: ProcessId,
    pub(crate) released: bool,
    /// Reading of the unslewed clock at the acquisition, in nanoseconds.
    pub(crate) acquired_ns: u64,
}

impl Guard {
    /// Creates the guard of a lock that was acquired.
    pub(crate) fn new(core: Arc<Core>, held: Held) -> Self {
        let runtime = core.runtime();
        let holding = Holding::new(core, held);
        // Work that runs once bypasses the queue, so a waiter of a plain lock must not wait for this guard there.
        if holding.lease.with(|held| held.kind()) == Kind::Mutex {
            holding.core.queues.hold(&holding);
        }
        // The renewal task ends with the guard. It is boxed, because the memory of a task is a multiple of 128 bytes.
        runtime.spawn(Box::pin(RenewalTask::new(holding.clone())));
        let acquired_ns = holding.core.clock.now().raw_ns;
        Self { holding, runtime, process: ProcessId::current(), released: false, acquired_ns }
    }

    /// Returns the name of the lock.
    pub fn name(&self) -> &LockName {
        &self.holding.name
    }

    /// Returns the fencing token of this acquisition. It is greater than the token of every earlier holder of this
    /// lock.
    ///
    /// Send it with every write to the protected resource, and let the resource reject tokens smaller than the largest
    /// one that it has seen. For rows in DynamoDB, `FenceExpression` builds the condition.
    pub fn token(&self) -> FencingToken {
        self.holding.token
    }

    /// Returns the lease ID of this acquisition, as in [`Holder::lease_id`](crate::Holder::lease_id). `None` in a forked
    /// child process.
    ///
    /// It names one holder of a lock also where several holders have the same token.
    pub fn lease_id(&self) -> Option<LeaseId> {
        (!self.is_forked()).then(|| self.holding.lease_id())
    }

    /// Returns whether this guard's lease is still valid, computed from this host's clocks at the time of the call.
    ///
    /// No request is sent, and the result is correct after a pause or suspension of the process. Once it is `false`, it
    /// never becomes `true` again. The lease may end right after the call has returned; only the fencing token protects
    /// against that.
    pub fn is_valid(&self) -> bool {
        // R3: computed at the time of the call, never cached.
        self.loss_reason().is_none()
    }

    /// Returns whether this is a forked copy of the process. Such a copy must not lock any mutex of the guard, because
    /// a thread that held it at the time of the fork does not exist in the copy.
    pub(crate) fn is_forked(&self) -> bool {
        !self.process.is_current()
    }

    pub(crate) fn lost_error<T>(&self, reason: LossReason, output: Option<T>) -> Lost<T> {
        Lost { reason, name: self.name().clone(), token: self.token(), output, last_error: self.last_error() }
    }

    fn loss_reason(&self) -> Option<LossReason> {
        if self.is_forked() { Some(LossReason::Suspended) } else { self.holding.check() }
    }

    /// Returns the time until the lease ends if no further renewal succeeds, zero once the lock is lost.
    ///
    /// Directly after a renewal this is the lease minus 1 %, 10 ms and the time that the request took, or less if
    /// [`max_hold`](crate::LockOptions::max_hold) ends earlier. Sends no request.
    ///
    /// A program that wants to react earlier than at the loss waits for [`at_risk`](Guard::at_risk). With
    /// [`last_error`](Guard::last_error) it can log why renewals fail.
    pub fn time_left(&self) -> Duration {
        match self.loss_reason() {
            Some(_) => Duration::ZERO,
            None => self.holding.time_left(),
        }
    }

    /// Returns the loss of the lock, or `None` while the lease is valid. Like [`is_valid`](Guard::is_valid), but with
    /// the reason. [`Lost::output`] is `None`.
    pub fn loss(&self) -> Option<Lost> {
        self.loss_reason().map(|reason| self.lost_error(reason, None))
    }

    /// Returns the error of the last renewal if it failed, for example to report why the lease is about to end. `None`
    /// in a forked child process.
    pub fn last_error(&self) -> Option<StoreError> {
        if self.is_forked() { None } else { self.holding.lease.last_error() }
    }

    /// Checks that the lease is valid for at least `min` from now, even if no further renewal succeeds.
    ///
    /// Call it before work that must not be interrupted and takes a known time. If it fails, [`renew`](Guard::renew)
    /// and check again. `min` must be well below the lease, because a renewal extends the lease to its full length and
    /// no further, counted from before the request was sent.
    ///
    /// # Errors
    /// [`EnsureError::TooShort`] if the lease ends earlier, [`EnsureError::Lost`] if it has ended.
    pub fn ensure(&self, min: Duration) -> Result<(), EnsureError> {
        // The last clock reading decides, because the thread may be paused between two of them.
        let left = self.time_left();
        if !left.is_zero() && left >= min {
            return Ok(());
        }
        Err(match self.loss() {
            Some(lost) => lost.into(),
            None => EnsureError::TooShort { left, min },
        })
    }

    /// Sets the exit code of the work, as a shell reports it. The release records it in the row, where
    /// [`LastHold::exit_code`](crate::LastHold::exit_code) returns it. Does nothing in a forked child process, and for a
    /// lock with several holders.
    pub fn set_exit_code(&self, code: u8) {
        if !self.is_forked() {
            self.holding.lease.with(|held| held.set_exit_code(code));
        }
    }

    /// Waits until the lock is lost, and returns the reason.
    ///
    /// A local timer ends the wait at the end of the lease, even if a request to the store hangs. A revocation, a
    /// takeover or a deletion of the row ends it when the next renewal is answered. Does not return while renewals
    /// succeed, unless [`max_hold`](crate::LockOptions::max_hold) ends.
    ///
    /// ```
    /// # use dynamo_lock::{Client, Memory};
    /// # async fn next_job() -> Option<u32> { None }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = Client::builder(Memory::new()).build()?;
    /// let guard = client.lock("orders/leader")?.acquire().await?;
    /// loop {
    ///     tokio::select! {
    ///         reason = guard.lost() => {
    ///             println!("not the leader any more: {reason:?}");
    ///             break;
    ///         }
    ///         job = next_job() => match job {
    ///             Some(job) => println!("job {job} with token {}", guard.token()),
    ///             None => break,
    ///         },
    ///     }
    /// }
    /// guard.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Safe. The wait has no side effects.
    pub async fn lost(&self) -> LossReason {
        if self.is_forked() {
            return LossReason::Suspended;
        }
        self.holding.until_lost().await
    }

    /// Returns a token that is cancelled when the lock is lost, and when this guard is dropped or released.
    ///
    /// Pass it to tasks that must stop without the lock. Each call returns a new child token, so cancelling one of them
    /// does not affect the others or the lock.
    pub fn cancellation(&self) -> CancellationToken {
        if self.is_forked() {
            let cancelled = CancellationToken::new();
            cancelled.cancel();
            return cancelled;
        }
        self.holding.cancellation()
    }

    /// Runs `work` while the lock is held, and cancels it when the lock is lost.
    ///
    /// `work` is cancelled by dropping it, so it stops at its next await. Work that blocks the thread, or that was
    /// spawned onto other tasks, continues; stop such work with [`cancellation`](Guard::cancellation).
    ///
    /// ```
    /// # use dynamo_lock::{Client, Memory};
    /// # async fn rebuild(_: dynamo_lock::FencingToken) -> u32 { 7 }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = Client::builder(Memory::new()).build()?;
    /// let guard = client.lock("orders/rebuild")?.acquire().await?;
    /// let rows = guard.run(rebuild(guard.token())).await?;
    /// guard.release().await?;
    /// # assert_eq!(rows, 7);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Lost`] if the lock was lost before `work` completed. [`Lost::output`] contains the output of `work` if it had
    /// completed when the loss was noticed.
    ///
    /// # Cancel safety
    /// Depends on `work`, which is dropped together with this future. The lock stays held.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> Result<T, Lost<T>> {
        let output = tokio::select! {
            biased;
            loss = self.lost() => return Err(self.lost_error(loss, None)),
            output = work.instrument(log::hold_span(&self.holding)) => output,
        };
        match self.loss_reason() {
            Some(loss) => Err(self.lost_error(loss, Some(output))),
            None => Ok(output),
        }
    }

    /// Renews the lease now, and waits until the store has confirmed a renewal. If one is in flight, its confirmation
    /// suffices, and the lease then counts from before that request was sent.
    ///
    /// Required with [`Renewal::Manual`](crate::Renewal::Manual). Otherwise useful before long work that cannot be
    /// interrupted. Failed requests are repeated until the lease ends, also those that the store rejects.
    ///
    /// # Errors
    /// [`Lost`] if the lock is lost before a renewal succeeds. [`Lost::last_error`] contains the last error of the
    /// store.
    ///
    /// # Cancel safety
    /// Safe. The renewal continues in the background.
    pub async fn renew(&self) -> Result<(), Lost> {
        if self.is_forked() {
            return Err(self.lost_error(LossReason::Suspended, None));
        }
        self.holding.renew().await.map_err(|loss| self.lost_error(loss, None))
    }

    /// Replaces the data that is stored with the lock, at most 4,096 bytes, and waits until the store has confirmed it.
    ///
    /// The data is written together with a renewal of the lease. Others read it with
    /// [`Lock::inspect`](crate::Lock::inspect). It remains after the release until it is replaced, and is never removed:
    /// an empty string is stored as an empty string.
    ///
    /// # Errors
    /// [`UpdateError::Lost`] if the lock is lost before the store confirms the data, [`UpdateError::Data`] if the data
    /// is too long, [`UpdateError::Shared`] if this is a guard of a [`RwLock`](crate::RwLock), which has no data.
    ///
    /// # Cancel safety
    /// Safe. The data is sent with every further renewal until one of them succeeds.
    pub async fn update_data(&self, data: impl Into<String>) -> Result<(), UpdateError> {
        let data = data.into();
        if data.len() > DATA_MAX {
            return Err(UpdateError::Data { bytes: data.len() });
        }
        if self.is_forked() {
            return Err(self.lost_error(LossReason::Suspended, None).into());
        }
        if self.holding.lease.with(|held| held.kind().is_shared()) {
            return Err(UpdateError::Shared);
        }
        let request = |held: &mut Held| {
            held.request_data(data);
            |held: &Held| !held.has_pending_data()
        };
        Ok(self.holding.request_and_wait(request).await.map_err(|loss| self.lost_error(loss, None))?)
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("name", self.name()).field("token", &self.token()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread that held the guard's mutex at the time of the fork does not exist in the child, so the child would
    /// wait for ever if it locked the mutex.
    #[tokio::test]
    async fn guard_in_forked_child_leaves_shared_state_alone() {
        let client = crate::Client::builder(crate::Memory::new()).build().expect("valid");
        let mut guard = client.lock("a").expect("valid").acquire().await.expect("free");
        let before = guard.holding.lease.with(|held| held.clone());
        let own = std::mem::replace(&mut guard.process, ProcessId::of_parent());
        let lost = |result: Result<(), Lost>| result.is_err_and(|lost| lost.reason == LossReason::Suspended);
        assert!(lost(guard.renew().await));
        assert!(matches!(guard.update_data("x").await, Err(UpdateError::Lost(_))));
        assert!(guard.cancellation().is_cancelled());
        assert!(matches!(guard.ensure(Duration::ZERO), Err(EnsureError::Lost(_))));
        assert_eq!(guard.holding.lease.with(|held| held.clone()), before);
        guard.process = own;
        assert!(!guard.cancellation().is_cancelled() && guard.ensure(Duration::ZERO).is_ok());
    }
}
