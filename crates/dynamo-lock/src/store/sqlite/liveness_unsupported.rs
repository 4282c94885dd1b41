//! Stand-in for `liveness.rs` on platforms where the kernel does not report which processes are alive.

use super::database_path::DatabasePath;
use crate::store::{BoxFuture, StoreError};
use dynamo_lock_protocol::Liveness;

/// Uninhabited type: process liveness is not supported on this platform, so only leases decide.
#[derive(Debug)]
pub(super) enum LivenessLock {}

impl LivenessLock {
    pub(super) fn acquire(_: &DatabasePath) -> Result<Option<Self>, StoreError> {
        Ok(None)
    }

    pub(super) fn liveness_key(&self) -> &str {
        match *self {}
    }

    pub(super) fn liveness(&self, _: &str) -> Liveness {
        match *self {}
    }

    pub(super) fn changed(&self) -> Option<BoxFuture<'static, ()>> {
        match *self {}
    }

    pub(super) fn release_signal(&self) -> ReleaseSignal {
        match *self {}
    }

    #[cfg(unix)]
    pub(super) fn lock_for_child(&self) -> Result<Option<std::os::fd::OwnedFd>, StoreError> {
        match *self {}
    }
}

/// Uninhabited type: no waiter is woken on this platform.
#[derive(Clone, Debug)]
pub(super) enum ReleaseSignal {}

impl ReleaseSignal {
    pub(super) fn send(&self) {
        match *self {}
    }
}

/// Returns the reason why only leases decide.
#[cfg(unix)]
pub(super) fn examine(_: &DatabasePath) -> Result<&'static str, StoreError> {
    Ok("only leases decide, because this platform does not report the end of a holder")
}

/// Locks of other processes are not visible.
#[cfg(unix)]
pub(super) fn has_lock(_: &std::fs::File, _: u64) -> bool {
    false
}
