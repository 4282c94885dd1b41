//! Acquisition of several locks, one after the other.
#![expect(clippy::result_large_err, reason = "a boxed cause cannot be matched together with the name of its lock")]

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use dynamo_lock_protocol::{AcquireAll, AcquireAllStep, ClockReading, LEASE_MIN, WaitMode};
use tokio_util::sync::CancellationToken;

use super::members::join_all;
use super::{AcquireAllError, GuardSet, LockSetOptions, TryAcquireAll};
use crate::clock::timeout;
use crate::core::Core;
use crate::renewal::SLICE;
use crate::run::unanswered;
use crate::{AcquireError, ConfigError, Guard, LockName, ReleaseError, TryAcquire, log};

type Result<T> = std::result::Result<T, AcquireAllError>;

impl LockSetOptions {
    /// Acquires all locks, or none. Returns the first holder if the mode is not to wait. With a `limit` it waits at
    /// most that long.
    ///
    /// If it is dropped, the guards in `held` are dropped, and the background gives back what the acquisition in
    /// progress may have acquired.
    pub(super) async fn start(self, wait_mode: WaitMode, limit: Option<Duration>) -> Result<TryAcquireAll> {
        let names = self.names.as_slice();
        if let Some(max_hold) = self.max_hold.filter(|max_hold| *max_hold < LEASE_MIN) {
            let error = ConfigError::MaxHold { max_hold }.into();
            return Err(AcquireAllError { name: names[0].clone(), error });
        }
        let began = self.core.clock.now();
        let mut machine = AcquireAll::new(names.len());
        let mut held = HeldLocks::new(&self.core);
        let mut failure = None;
        loop {
            // R3, R5: each guard is asked just before the step that depends on it.
            match machine.next(held.are_valid()) {
                AcquireAllStep::Acquire(index) => {
                    let left = limit.map(|limit| limit.saturating_sub(self.waited(began)));
                    let acquisition = Box::pin(self.of(&names[index]).start(wait_mode, left));
                    match held.unless_lost(acquisition).await {
                        None => {} // A lock was lost, which the next step takes into account.
                        Some(Ok(TryAcquire::Acquired(guard))) => {
                            held.add(guard);
                            machine.acquired();
                        }
                        Some(other) => {
                            failure = Some(self.failure(&names[index], other, began));
                            machine.stop();
                        }
                    }
                }
                AcquireAllStep::GiveBack => {
                    if failure.is_none() && self.is_too_late(wait_mode, limit, began) {
                        failure = held.lost().map(|guard| self.late_loss(guard, wait_mode, began));
                        machine.stop();
                    }
                    held.give_back().await;
                    machine.given_back();
                }
                AcquireAllStep::Acquired => {
                    let guards = held.take();
                    return Ok(TryAcquireAll::Acquired(GuardSet::new(&self, guards, held.stop.clone())));
                }
                AcquireAllStep::Stopped => {
                    return failure.unwrap_or_else(|| {
                        Err(AcquireAllError { name: names[0].clone(), error: unanswered().into() })
                    });
                }
            }
        }
    }

    /// Returns the time since the call, without time during which the host was suspended.
    fn waited(&self, began: ClockReading) -> Duration {
        self.core.clock.now().waiter_elapsed_since(began)
    }

    /// Returns whether the acquisition must not begin anew after a loss. Without a limit it may always: if the store
    /// does not respond, the acquisition of the first lock fails.
    fn is_too_late(&self, wait_mode: WaitMode, limit: Option<Duration>, began: ClockReading) -> bool {
        let limit = if wait_mode == WaitMode::Try { Some(self.core.timing.lease()) } else { limit };
        limit.is_some_and(|limit| self.waited(began) >= limit)
    }

    /// Returns the result if a lock was lost and it is too late to begin anew.
    fn late_loss(&self, lost: &Guard, wait_mode: WaitMode, began: ClockReading) -> Result<TryAcquireAll> {
        let error = match wait_mode {
            WaitMode::Try => lost.last_error().unwrap_or_else(unanswered).into(),
            _ => AcquireError::TimedOut { holder: None, waited: self.waited(began) },
        };
        Err(AcquireAllError { name: lost.name().clone(), error })
    }

    /// Returns the result if this lock was not acquired.
    fn failure(
        &self,
        name: &LockName,
        result: std::result::Result<TryAcquire, AcquireError>,
        began: ClockReading,
    ) -> Result<TryAcquireAll> {
        let name = name.clone();
        match result {
            Ok(TryAcquire::Held(holder)) => Ok(TryAcquireAll::Held { name, holder }),
            Err(AcquireError::TimedOut { holder, .. }) => {
                let waited = self.waited(began);
                Err(AcquireAllError { name, error: AcquireError::TimedOut { holder, waited } })
            }
            Err(error) => Err(AcquireAllError { name, error }),
            // Unreachable, because a guard is no failure. Dropping it releases its lock.
            Ok(TryAcquire::Acquired(_)) => Err(AcquireAllError { name, error: unanswered().into() }),
        }
    }
}

/// Locks that are held while the next one is awaited. Dropping them releases them in the background.
struct HeldLocks {
    core: Arc<Core>,
    guards: Vec<Guard>,
    /// Cancelled when one of the guards is lost.
    stop: CancellationToken,
}

impl HeldLocks {
    fn new(core: &Arc<Core>) -> Self {
        Self { core: core.clone(), guards: Vec::new(), stop: CancellationToken::new() }
    }

    fn add(&mut self, guard: Guard) {
        guard.holding.set_cancellation(&self.stop);
        self.guards.push(guard);
    }

    fn are_valid(&self) -> bool {
        self.lost().is_none()
    }

    /// Returns a guard that is lost, if there is one.
    fn lost(&self) -> Option<&Guard> {
        self.guards.iter().find(|guard| !guard.is_valid())
    }

    /// Completes `work`. Returns `None` if one of the locks is lost before.
    async fn unless_lost<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.until_lost() => None,
            done = work => Some(done),
        }
    }

    async fn until_lost(&self) {
        if self.guards.is_empty() {
            return pending().await;
        }
        while self.are_valid() {
            let left = self.guards.iter().map(Guard::time_left).min().unwrap_or(SLICE);
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {}
                () = self.core.pause(left.min(SLICE)) => {}
            }
        }
    }

    /// Releases all locks, and waits for the results as long as one attempt may take. Further attempts follow in the
    /// background.
    async fn give_back(&mut self) {
        let guards = self.take();
        let names: Vec<_> = guards.iter().map(|guard| guard.name().clone()).collect();
        self.stop = CancellationToken::new();
        let releases = join_all(guards.into_iter().map(Guard::start_release).collect());
        let results = timeout(&*self.core.clock, self.core.timing.attempt_timeout(), releases).await;
        for (name, result) in names.iter().zip(results.unwrap_or_default()) {
            if let Err(error @ (ReleaseError::Unknown | ReleaseError::Store(_))) = result {
                log::not_released(&self.core, name, &error);
            }
        }
    }

    fn take(&mut self) -> Vec<Guard> {
        std::mem::take(&mut self.guards)
    }
}

impl Drop for HeldLocks {
    fn drop(&mut self) {
        self.take().into_iter().for_each(Guard::drop_in_background);
    }
}
