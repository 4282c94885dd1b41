//! [`Held`]: the lock or the locks that the command runs under.

use std::time::Duration;

use dynamo_lock::{
    FencingToken, Guard, GuardSet, LeaseId, LockName, LossReason, Lost, OnceGuard, Permit, ReleaseError, StoreError,
};

/// A held lock, or several locks that were acquired together. The loss of one is the loss of all.
pub enum Held {
    One(Guard),
    All(GuardSet),
    /// A slot of a lock. It has no token.
    Permit(Permit),
    /// The lock on work that has not succeeded yet.
    Once(OnceGuard),
}

impl Held {
    /// Returns the names of the locks with their fencing tokens, if they have any.
    pub fn tokens(&self) -> Vec<(LockName, Option<FencingToken>)> {
        match self {
            Self::Permit(permit) => vec![(permit.name().clone(), None)],
            Self::One(guard) => vec![(guard.name().clone(), Some(guard.token()))],
            Self::Once(guard) => vec![(guard.name().clone(), Some(guard.token()))],
            Self::All(guards) => guards.tokens().iter().map(|(name, token)| (name.clone(), Some(*token))).collect(),
        }
    }

    /// Returns the names of the locks with the lease IDs of their acquisitions.
    pub fn lease_ids(&self) -> Vec<(LockName, LeaseId)> {
        let id_of = |name: &LockName| match self {
            Self::One(guard) => guard.lease_id(),
            Self::Permit(permit) => permit.lease_id(),
            Self::Once(guard) => guard.lease_id(),
            Self::All(guards) => guards.lease_id(name.as_str()),
        };
        self.tokens().into_iter().filter_map(|(name, _)| id_of(&name).map(|id| (name, id))).collect()
    }

    pub fn is_valid(&self) -> bool {
        match self {
            Self::One(guard) => guard.is_valid(),
            Self::Permit(permit) => permit.is_valid(),
            Self::Once(guard) => guard.is_valid(),
            Self::All(guards) => guards.is_valid(),
        }
    }

    /// Returns the time until the first lease ends if no further renewal succeeds.
    pub fn time_left(&self) -> Duration {
        match self {
            Self::One(guard) => guard.time_left(),
            Self::Permit(permit) => permit.time_left(),
            Self::Once(guard) => guard.time_left(),
            Self::All(guards) => guards.time_left(),
        }
    }

    /// Waits until a lock is lost, and returns the reason.
    pub async fn lost(&self) -> LossReason {
        match self {
            Self::One(guard) => guard.lost().await,
            Self::Permit(permit) => permit.lost().await,
            Self::Once(guard) => guard.lost().await,
            Self::All(guards) => guards.lost().await.reason,
        }
    }

    /// Returns the error of a last renewal that failed.
    pub fn last_error(&self) -> Option<StoreError> {
        match self {
            Self::One(guard) => guard.last_error(),
            Self::Permit(permit) => permit.last_error(),
            Self::Once(guard) => guard.last_error(),
            Self::All(guards) => guards.last_error(),
        }
    }

    /// Renews all leases now.
    pub async fn renew(&self) -> Result<(), Lost> {
        match self {
            Self::One(guard) => guard.renew().await,
            Self::Permit(permit) => permit.renew().await,
            Self::Once(guard) => guard.renew().await,
            Self::All(guards) => guards.renew().await,
        }
    }

    /// Sets the exit code of the command, which the releases record.
    pub fn set_exit_code(&self, code: u8) {
        match self {
            Self::One(guard) => guard.set_exit_code(code),
            // The row of a permit has no room for the last hold.
            Self::Permit(_) => {}
            Self::Once(guard) => guard.set_exit_code(code),
            Self::All(guards) => guards.set_exit_code(code),
        }
    }

    /// Releases all locks, and returns the result of each.
    pub async fn release(self) -> Vec<Result<(), ReleaseError>> {
        match self {
            Self::One(guard) => vec![guard.release().await],
            Self::Permit(permit) => vec![permit.release().await],
            Self::Once(guard) => vec![guard.release().await],
            Self::All(guards) => {
                let count = guards.tokens().len();
                let results = |error: dynamo_lock::ReleaseAllError| error.results.into_iter().map(|(_, result)| result);
                guards.release().await.map_or_else(|error| results(error).collect(), |()| vec![Ok(()); count])
            }
        }
    }
}
