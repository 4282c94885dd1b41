//! [`LockSetOptions`]: the options of one acquisition of several locks, and the ways to acquire them.

use std::{sync::Arc, time::Duration};

use dynamo_lock_protocol::{LockNames, WaitMode};

use super::{AcquireAllError, GuardSet};
use crate::{AcquireError, Holder, LockName, LockOptions, core::Core};

/// Options of one acquisition of several locks, returned by [`LockSet::options`](crate::LockSet::options), and the ways
/// to acquire them. The leases are always renewed in the background, because those of the first locks must last while
/// the others are awaited.
#[derive(Clone, Debug)]
#[must_use = "options do nothing until something is acquired with them"]
pub struct LockSetOptions {
    pub(super) core: Arc<Core>,
    pub(super) names: LockNames,
    lease: Option<Duration>,
    pub(super) max_hold: Option<Duration>,
    data: Option<String>,
    pub(super) keep_after_loss: bool,
}

impl LockSetOptions {
    pub(super) fn new(core: Arc<Core>, names: LockNames) -> Self {
        Self { core, names, lease: None, max_hold: None, data: None, keep_after_loss: false }
    }

    /// Sets the lease of each lock, 1 s to 1 h. Default: the lease of the client.
    ///
    /// The heartbeat interval is then the default for this lease, even if the client sets another.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Sets the maximum time from the acquisition of all locks to their loss, at least 1 s. Default: unlimited.
    ///
    /// When it has passed, the guard reports [`LossReason::MaxHold`](crate::LossReason::MaxHold), even if all renewals
    /// succeed. The time during which some locks were held and others awaited does not count.
    pub fn max_hold(mut self, max_hold: Duration) -> Self {
        self.max_hold = Some(max_hold);
        self
    }

    /// Sets data that is stored with each of the locks, at most 4,096 bytes. Default: the data of the previous holders
    /// is kept. Others read it with [`Lock::inspect`](crate::Lock::inspect).
    pub fn data(mut self, data: impl Into<String>) -> Self {
        self.data = Some(data.into());
        self
    }

    /// Keeps the remaining locks after the loss of one until the guard is released or dropped, so that processes that
    /// work under all of them can be ended first.
    #[doc(hidden)] // for the command line
    pub fn keep_after_loss(mut self) -> Self {
        self.keep_after_loss = true;
        self
    }

    /// Like [`LockSet::acquire`](crate::LockSet::acquire), with these options.
    ///
    /// # Errors
    /// Same as [`LockSet::acquire`](crate::LockSet::acquire), and [`AcquireError::Config`] if an option is out of
    /// range.
    ///
    /// # Cancel safety
    /// Same as [`LockSet::acquire`](crate::LockSet::acquire).
    pub async fn acquire(self) -> Result<GuardSet, AcquireAllError> {
        self.wait(None).await
    }

    /// Like [`LockSet::acquire_within`](crate::LockSet::acquire_within), with these options.
    ///
    /// # Errors
    /// Same as [`LockSet::acquire_within`](crate::LockSet::acquire_within), and [`AcquireError::Config`] if an option
    /// is out of range.
    ///
    /// # Cancel safety
    /// Same as [`LockSet::acquire`](crate::LockSet::acquire).
    pub async fn acquire_within(self, limit: Duration) -> Result<GuardSet, AcquireAllError> {
        self.wait(Some(limit)).await
    }

    /// Like [`LockSet::try_acquire`](crate::LockSet::try_acquire), with these options.
    ///
    /// # Errors
    /// Same as [`LockSet::try_acquire`](crate::LockSet::try_acquire), and [`AcquireError::Config`] if an option is out
    /// of range.
    ///
    /// # Cancel safety
    /// Same as [`LockSet::acquire`](crate::LockSet::acquire).
    pub async fn try_acquire(self) -> Result<TryAcquireAll, AcquireAllError> {
        self.start(WaitMode::Try, None).await
    }

    async fn wait(self, limit: Option<Duration>) -> Result<GuardSet, AcquireAllError> {
        match self.start(WaitMode::Wait, limit).await? {
            TryAcquireAll::Acquired(guards) => Ok(guards),
            // Unreachable, because a machine that waits does not report contention.
            TryAcquireAll::Held { name, holder } => {
                let waited = limit.unwrap_or_default();
                Err(AcquireAllError { name, error: AcquireError::TimedOut { holder: Some(holder), waited } })
            }
        }
    }

    /// Returns the options of one of the locks. They have no maximum hold time, because it counts from the acquisition
    /// of the last lock.
    pub(super) fn of(&self, name: &LockName) -> LockOptions {
        let mut options = LockOptions::new(self.core.clone(), name.clone());
        if let Some(lease) = self.lease {
            options = options.lease(lease);
        }
        if let Some(data) = &self.data {
            options = options.data(data);
        }
        options
    }
}

/// Result of [`LockSet::try_acquire`](crate::LockSet::try_acquire).
#[derive(Debug)]
#[must_use = "the locks are released when the guard in it is dropped"]
pub enum TryAcquireAll {
    /// All locks were acquired.
    Acquired(GuardSet),
    /// Another client holds one of the locks. None is held by this call.
    Held {
        /// Name of the first lock that is held, in the order of the names.
        name: LockName,
        /// Its holder. Escape the text before printing it, because another process wrote it. The fields are `None` if
        /// other clients acquired and released the lock faster than this one.
        holder: Holder,
    },
}
