//! Parameters of an acquisition.

use std::time::Duration;

use crate::{Kind, LockName, Timing};

/// Parameters of an acquisition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// Name of the lock.
    pub name: LockName,
    /// Kind of the lock.
    pub kind: Kind,
    /// Human-readable label of the holder.
    pub owner: String,
    /// Durations: lease, heartbeat and legacy skew.
    pub timing: Timing,
    /// Renewal of the lease after the acquisition.
    pub renewal: Renewal,
    /// Maximum time for which the lock may be held.
    pub max_hold: Option<Duration>,
    /// Payload for the row.
    pub data: Option<String>,
    /// Liveness key for the row, by which the embedded store finds out whether the holder is alive.
    pub liveness_key: Option<String>,
    /// Behaviour if another client holds the lock.
    pub wait_mode: WaitMode,
}

/// Behaviour of an acquisition if another client holds the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitMode {
    /// End at once and return the holder.
    Try,
    /// Wait for the lock.
    Wait,
}

/// Renewal of a held lock, set by `LockOptions::renewal`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Renewal {
    /// The library renews the lease in the background, once per heartbeat interval. This is the default.
    #[default]
    Automatic,
    /// The caller renews the lease by calling `Guard::renew` before each end of the lease.
    Manual,
    /// The lock is meant to expire at the end of its lease. `Guard::renew` works as with `Manual`.
    Disabled,
}
