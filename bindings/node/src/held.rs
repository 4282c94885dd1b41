//! [`Held`]: a held lock, a slot of a semaphore, or several locks that were acquired together.

use std::time::Duration;

use dynamo_lock::{Guard, GuardSet, Lost, OnceGuard, Permit, RiskWatch};
use tokio_util::sync::CancellationToken;

use crate::connection::CallResult;
use crate::failure::Failure;
use crate::methods::without_value;

/// The guard behind a `HeldLock`, a `Permit` or a `HeldLocks` of JavaScript.
pub(crate) enum Held {
    One(Guard),
    All(GuardSet),
    /// The lock on work that has not succeeded yet.
    Once(OnceGuard),
    /// A slot of a semaphore.
    Permit(Permit),
}

impl Held {
    pub(crate) fn is_valid(&self) -> bool {
        match self {
            Self::One(guard) => guard.is_valid(),
            Self::Once(guard) => guard.is_valid(),
            Self::Permit(permit) => permit.is_valid(),
            Self::All(guards) => guards.is_valid(),
        }
    }

    pub(crate) fn time_left(&self) -> Duration {
        match self {
            Self::One(guard) => guard.time_left(),
            Self::Once(guard) => guard.time_left(),
            Self::Permit(permit) => permit.time_left(),
            Self::All(guards) => guards.time_left(),
        }
    }

    pub(crate) fn loss(&self) -> Option<Lost> {
        match self {
            Self::One(guard) => guard.loss(),
            Self::Once(guard) => guard.loss(),
            Self::Permit(permit) => permit.loss(),
            Self::All(guards) => guards.loss(),
        }
    }

    pub(crate) fn cancellation(&self) -> CancellationToken {
        match self {
            Self::One(guard) => guard.cancellation(),
            Self::Once(guard) => guard.cancellation(),
            Self::Permit(permit) => permit.cancellation(),
            Self::All(guards) => guards.cancellation(),
        }
    }

    pub(crate) fn risk_watch(&self) -> RiskWatch {
        match self {
            Self::One(guard) => guard.risk_watch(),
            Self::Once(guard) => guard.risk_watch(),
            Self::Permit(permit) => permit.risk_watch(),
            Self::All(guards) => guards.risk_watch(),
        }
    }

    /// Renews the lock now, and waits for the result.
    pub(crate) async fn renew(&self) -> CallResult {
        without_value(match self {
            Self::One(guard) => guard.renew().await,
            Self::Once(guard) => guard.renew().await,
            Self::Permit(permit) => permit.renew().await,
            Self::All(guards) => guards.renew().await,
        })
    }

    /// Replaces the payload in the row with a renewal, and waits for the result.
    pub(crate) async fn update_data(&self, data: &str) -> CallResult {
        match self {
            Self::One(guard) => without_value(guard.update_data(data).await),
            Self::Once(guard) => without_value(guard.update_data(data).await),
            Self::Permit(_) | Self::All(_) => Err(Failure::argument("only a single lock has a payload")),
        }
    }

    /// Records the success of the work in place of the release. Any other lock is released.
    pub(crate) async fn succeed(self) -> CallResult {
        match self {
            Self::Once(guard) => without_value(guard.succeed().await),
            held => held.release().await,
        }
    }

    /// Releases the lock, or all locks.
    pub(crate) async fn release(self) -> CallResult {
        match self {
            Self::One(guard) => without_value(guard.release().await),
            Self::Once(guard) => without_value(guard.release().await),
            Self::Permit(permit) => without_value(permit.release().await),
            Self::All(guards) => without_value(guards.release().await),
        }
    }
}
