//! [`GuardSet`]: several locks that are held together.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::members::{Members, join_all};
use super::{LockSetOptions, ReleaseAllError};
use crate::at_risk::{falls_below, reaches};
use crate::boxed_future::BoxFuture;
use crate::process::ProcessId;
use crate::release::DROPPED_AT_ONCE;
use crate::renewal::SLICE;
use crate::{EnsureError, FencingToken, Guard, LeaseId, LockName, LossReason, Lost, ReleaseError, StoreError, log};

/// Several held locks, acquired by [`LockSet::acquire`](crate::LockSet::acquire). Valid only while each of them is.
///
/// Each lock has its own lease and fencing token and is renewed like that of a [`Guard`]. The loss of one lock is the
/// loss of all: this guard becomes invalid at once and for ever, and the others are released in the background. At most
/// one valid guard, of a set or of a single lock, contains a lock at any time, on all hosts together.
///
/// As for a single lock, no check can stop a process that is paused after it. Send the [token](GuardSet::token) of the
/// lock that protects a resource with every write to it, or on DynamoDB put the `condition_checks` of the store into
/// your own transaction.
///
/// Dropping the guard releases all locks in the background; call [`release`](GuardSet::release) to wait for the results
/// and to see errors. If the process ends without a release, each lock expires after its lease. In a forked child
/// process the guard is always lost, and dropping it there releases nothing.
#[must_use = "the locks are released when their guard is dropped"]
pub struct GuardSet {
    members: Arc<Members>,
    tokens: Box<[(LockName, FencingToken)]>,
    process: ProcessId,
    is_released: bool,
    /// Reading of the unslewed clock at the acquisition of the last lock, in nanoseconds.
    acquired_ns: u64,
}

impl GuardSet {
    /// Creates the guard of locks that were acquired with these options. Losses of the locks cancel `stop`.
    pub(super) fn new(options: &LockSetOptions, guards: Vec<Guard>, stop: CancellationToken) -> Self {
        let members = Members::new(options, guards, stop);
        Self {
            tokens: members.holdings.iter().map(|holding| (holding.name.clone(), holding.token)).collect(),
            members,
            process: ProcessId::current(),
            is_released: false,
            acquired_ns: options.core.clock.now().raw_ns,
        }
    }

    /// Returns the names of the locks with the fencing tokens of this acquisition, sorted by name.
    pub fn tokens(&self) -> &[(LockName, FencingToken)] {
        &self.tokens
    }

    /// Returns the fencing token of the lock with this name, `None` if it is not one of these locks.
    ///
    /// It is greater than the token of every earlier holder of that lock. Tokens of different locks cannot be compared.
    pub fn token(&self, name: &str) -> Option<FencingToken> {
        let of_name = |(known, token): &(LockName, FencingToken)| (known.as_str() == name).then_some(*token);
        self.tokens.iter().find_map(of_name)
    }

    /// Returns the lease ID of the lock with this name, `None` if it is not one of these locks, and in a forked child
    /// process. See [`Guard::lease_id`].
    pub fn lease_id(&self, name: &str) -> Option<LeaseId> {
        let holding = self.members.holdings.iter().find(|holding| holding.name.as_str() == name)?;
        (!self.is_forked()).then(|| holding.lease_id())
    }

    /// Returns whether the leases of all locks are still valid, computed from this host's clocks at the time of the
    /// call.
    ///
    /// No request is sent, and the result is correct after a pause or suspension of the process. Once it is `false`, it
    /// never becomes `true` again, and the locks that are not lost are released.
    pub fn is_valid(&self) -> bool {
        self.check().is_none()
    }

    /// Returns the first loss that was noticed, with the index of its lock.
    fn check(&self) -> Option<(usize, LossReason)> {
        if self.is_forked() { Some((0, LossReason::Suspended)) } else { self.members.check() }
    }

    fn is_forked(&self) -> bool {
        !self.process.is_current()
    }

    /// Returns the time until the first lease ends if no further renewal succeeds, zero once a lock is lost. Sends no
    /// request. See [`Guard::time_left`].
    pub fn time_left(&self) -> Duration {
        if self.is_forked() { Duration::ZERO } else { self.members.time_left() }
    }

    /// Returns the loss of the locks, or `None` while all leases are valid. [`Lost::name`] is the lock that was noticed
    /// first; it never changes. [`Lost::output`] is `None`.
    pub fn loss(&self) -> Option<Lost> {
        self.check().map(|loss| self.lost_error(loss, None))
    }

    fn lost_error<T>(&self, (index, reason): (usize, LossReason), output: Option<T>) -> Lost<T> {
        let (name, token) = self.tokens[index].clone();
        let last_error = if self.is_forked() { None } else { self.members.holdings[index].lease.last_error() };
        Lost { reason, name, token, output, last_error }
    }

    /// Returns the error of the last renewal of one of the locks, if the last renewal of at least one of them failed.
    /// `None` in a forked child process.
    pub fn last_error(&self) -> Option<StoreError> {
        if self.is_forked() {
            return None;
        }
        self.members.holdings.iter().find_map(|holding| holding.lease.last_error())
    }

    /// Checks that all leases are valid for at least `min` from now, even if no further renewal succeeds. See
    /// [`Guard::ensure`].
    ///
    /// # Errors
    /// [`EnsureError::TooShort`] if a lease ends earlier, [`EnsureError::Lost`] if one has ended.
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

    /// Waits until one of the locks is lost, and returns the loss. See [`Guard::lost`].
    ///
    /// # Cancel safety
    /// Safe. The wait has no side effects.
    pub async fn lost(&self) -> Lost {
        let never = |left| ControlFlow::<Infallible, _>::Continue(left);
        match self.until(never).await {
            Err(lost) => lost,
            Ok(never) => match never {},
        }
    }

    /// Waits until less than `margin` of one of the leases is left because no renewal of it has succeeded, and returns
    /// the time left. See [`Guard::at_risk`].
    ///
    /// # Errors
    /// [`Lost`] if a lock is lost before.
    ///
    /// # Cancel safety
    /// Safe. The wait has no side effects.
    pub async fn at_risk(&self, margin: Duration) -> Result<Duration, Lost> {
        self.until(falls_below(margin)).await
    }

    /// Waits until at least `margin` of all leases is left, because renewals have succeeded. Detects that within 250
    /// ms. See [`Guard::recovered`].
    ///
    /// # Errors
    /// [`Lost`] if a lock is lost before.
    ///
    /// # Cancel safety
    /// Safe. The wait has no side effects.
    pub async fn recovered(&self, margin: Duration) -> Result<(), Lost> {
        self.until(reaches(margin)).await
    }

    /// Calls `step` with the time left, until it returns a result or a lock is lost. It returns the time until its next
    /// call otherwise.
    async fn until<T>(&self, step: impl Fn(Duration) -> ControlFlow<T, Duration>) -> Result<T, Lost> {
        loop {
            let left = self.time_left();
            if let Some(lost) = self.loss() {
                return Err(lost);
            }
            let rest = match step(left) {
                ControlFlow::Break(result) => return Ok(result),
                ControlFlow::Continue(rest) => rest,
            };
            tokio::select! {
                biased;
                () = self.members.stop.cancelled() => {}
                () = self.members.holdings[0].core.pause(rest.min(SLICE)) => {}
            }
        }
    }

    /// Returns a token that is cancelled when one of the locks is lost, and when this guard is dropped or released.
    ///
    /// Pass it to tasks that must stop without the locks. Each call returns a new child token, so cancelling one of
    /// them does not affect the others or the locks.
    pub fn cancellation(&self) -> CancellationToken {
        if self.is_valid() {
            return self.members.stop.child_token();
        }
        let cancelled = CancellationToken::new();
        cancelled.cancel();
        cancelled
    }

    /// Runs `work` while all locks are held, and cancels it when one of them is lost.
    ///
    /// `work` is cancelled by dropping it, so it stops at its next await. Work that blocks the thread, or that was
    /// spawned onto other tasks, continues; stop such work with [`cancellation`](GuardSet::cancellation). The remaining
    /// locks may be acquired by others at once after the loss.
    ///
    /// # Errors
    /// [`Lost`] if a lock was lost before `work` completed. [`Lost::output`] contains the output of `work` if it had
    /// completed when the loss was noticed.
    ///
    /// # Cancel safety
    /// Depends on `work`, which is dropped together with this future. The locks stay held.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> Result<T, Lost<T>> {
        let output = tokio::select! {
            biased;
            Lost { reason, name, token, last_error, .. } = self.lost() => {
                return Err(Lost { reason, name, token, output: None, last_error });
            }
            output = work.instrument(log::hold_span(&self.members.holdings[0])) => output,
        };
        match self.check() {
            Some(loss) => Err(self.lost_error(loss, Some(output))),
            None => Ok(output),
        }
    }

    /// Sets the exit code of the work, which the release of each lock records. See [`Guard::set_exit_code`].
    pub fn set_exit_code(&self, code: u8) {
        if !self.is_forked() {
            self.members.holdings.iter().for_each(|holding| holding.lease.with(|held| held.set_exit_code(code)));
        }
    }

    /// Renews all leases now, and waits until the store has confirmed a renewal of each. See [`Guard::renew`].
    ///
    /// # Errors
    /// [`Lost`] if a lock is lost before.
    ///
    /// # Cancel safety
    /// Safe. The renewals continue in the background.
    pub async fn renew(&self) -> Result<(), Lost> {
        if self.is_forked() {
            return Err(self.lost_error((0, LossReason::Suspended), None));
        }
        let renewals: Vec<BoxFuture<'_, _>> =
            self.members.holdings.iter().map(|holding| Box::pin(holding.renew()) as BoxFuture<'_, _>).collect();
        tokio::select! {
            biased;
            lost = self.lost() => return Err(lost),
            _ = join_all(renewals) => {}
        }
        self.loss().map_or(Ok(()), Err)
    }

    /// Returns the locks, for their conditions and for a watch.
    pub(crate) fn holdings(&self) -> &[Arc<crate::renewal::Holding>] {
        &self.members.holdings
    }

    /// Releases all locks at the same time, and waits for the results. See [`Guard::release`].
    ///
    /// All locks become invalid before the first request is sent. If one was lost before, the others were released
    /// then, and the results are those of these releases.
    ///
    /// # Errors
    /// [`ReleaseAllError`] with the result of each lock, if at least one was lost or not released.
    ///
    /// # Cancel safety
    /// Safe. The releases continue in the background; [`Client::close`](crate::Client::close) waits for them.
    pub async fn release(mut self) -> Result<(), ReleaseAllError> {
        self.is_released = true;
        let results: Vec<_> = if self.is_forked() {
            // A forked child must not release the locks of its parent.
            let lost = |index| ReleaseError::from(self.lost_error((index, LossReason::Suspended), None));
            self.tokens.iter().enumerate().map(|(index, (name, _))| (name.clone(), Err(lost(index)))).collect()
        } else {
            self.members.release().await
        };
        if results.iter().all(|(_, result)| result.is_ok()) { Ok(()) } else { Err(ReleaseAllError { results }) }
    }
}

impl Drop for GuardSet {
    fn drop(&mut self) {
        if self.is_released || self.is_forked() {
            return;
        }
        let now_ns = self.members.holdings[0].core.clock.now().raw_ns;
        if Duration::from_nanos(now_ns.saturating_sub(self.acquired_ns)) < DROPPED_AT_ONCE {
            log::dropped_at_once(&self.members.holdings[0].core, &self.tokens[0].0);
        }
        self.members.drop_in_background();
    }
}

impl fmt::Debug for GuardSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardSet").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread that held one of the mutexes at the time of the fork does not exist in the child.
    #[tokio::test]
    async fn guard_of_several_in_forked_child_leaves_state_alone() {
        let client = crate::Client::builder(crate::Memory::new()).build().expect("valid");
        let mut guards = client.lock_all(["a", "b"]).expect("valid").acquire().await.expect("free");
        let members = guards.members.clone();
        let own = std::mem::replace(&mut guards.process, ProcessId::of_parent());
        assert!(!guards.is_valid() && guards.time_left().is_zero() && guards.last_error().is_none());
        assert!(guards.cancellation().is_cancelled());
        assert_eq!(guards.lost().await.reason, LossReason::Suspended);
        assert!(matches!(guards.ensure(Duration::ZERO), Err(EnsureError::Lost(_))));
        assert!(guards.renew().await.is_err_and(|lost| lost.reason == LossReason::Suspended));
        // Control: the parent still holds both locks.
        guards.process = own;
        assert!(guards.is_valid());
        guards.process = ProcessId::of_parent();
        let error = guards.release().await.expect_err("it must not release the locks of the parent");
        assert!(error.results.len() == 2 && error.results.iter().all(|(_, result)| result.is_err()), "{error}");
        assert!(members.check().is_none() && !members.stop.is_cancelled());
    }
}
