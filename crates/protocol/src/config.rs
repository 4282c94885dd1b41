//! Limits, and the durations of an acquisition.

use std::fmt;
use std::time::Duration;

/// Minimum lease of a client.
pub const LEASE_MIN: Duration = Duration::from_secs(1);
/// Maximum lease of a client. Only a hold may be longer.
pub const LEASE_MAX: Duration = Duration::from_secs(3600);
/// Maximum duration of a hold, and the maximum lease that a row may contain.
pub const HOLD_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// Maximum deviation of a lease clock's rate from real time, in thousandths: 0.5 % (A2).
pub const DRIFT_PER_MILLE: u64 = 5;
/// Time from the end of a lease to the `expiresOn` in its row, so that R6 does not shorten short leases (§5).
pub const EXPIRY_PAD: Duration = Duration::from_secs(3);
/// Time from the end of a lease to the `ttl` of its row: seven days, and one day for a wall clock that is a day slow.
pub const TTL_MARGIN: Duration = Duration::from_secs(8 * 24 * 3600);
/// Time by which a token floor is ahead of the clock if the row has lost its token, because the lock's first token may
/// come from a wall clock that is a day fast.
pub(crate) const FLOOR_AHEAD: Duration = Duration::from_secs(24 * 3600);
/// Maximum length of an owner label, in bytes.
pub const OWNER_MAX: usize = 256;
/// Maximum length of a payload, in bytes.
pub const DATA_MAX: usize = 4096;

/// Maximum time between two renewals, so that a sample of the service clock is always recent.
const HEARTBEAT_MAX: Duration = Duration::from_secs(300);
/// Maximum time for one try of a request, even if the lease is long.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);
/// Part of the margin for delays of the scheduler. Also the minimum heartbeat.
const SCHEDULING_SLACK: Duration = Duration::from_millis(10);
/// Shortest pause between two tries of a write.
pub(crate) const RETRY_MIN: Duration = Duration::from_millis(25);
/// Longest pause between two tries of a release or revocation.
pub(crate) const RETRY_MAX: Duration = Duration::from_secs(1);
/// Shortest pause between two polls.
const POLL_MIN: Duration = Duration::from_millis(25);
/// Longest pause between two polls.
const POLL_MAX: Duration = Duration::from_secs(1);
/// Default tolerance for the wall clocks of npm dynamo-lock clients.
const LEGACY_SKEW: Duration = Duration::from_secs(2);

/// Durations of an acquisition. A value is always valid, because every constructor checks the inequalities between them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    lease: Duration,
    heartbeat: Duration,
    poll_min: Duration,
    poll_max: Duration,
    legacy_skew: Duration,
}

impl Timing {
    /// Returns the durations for a lease of 1 s to 1 h.
    ///
    /// The heartbeat is a quarter of the lease, at most 5 minutes. Pauses between polls are 25 ms to a twentieth of the
    /// lease, at most 1 s. The legacy skew is 2 s.
    ///
    /// # Errors
    /// [`ConfigError::Lease`] outside that range.
    pub fn new(lease: Duration) -> Result<Self, ConfigError> {
        if !(LEASE_MIN..=LEASE_MAX).contains(&lease) {
            return Err(ConfigError::Lease { lease, max: LEASE_MAX });
        }
        Ok(Self::unchecked(lease))
    }

    /// Returns the durations for a hold of 1 s to 30 days.
    ///
    /// # Errors
    /// [`ConfigError::Lease`] outside that range.
    pub fn for_hold(duration: Duration) -> Result<Self, ConfigError> {
        if !(LEASE_MIN..=HOLD_MAX).contains(&duration) {
            return Err(ConfigError::Lease { lease: duration, max: HOLD_MAX });
        }
        Ok(Self::unchecked(duration))
    }

    fn unchecked(lease: Duration) -> Self {
        // Rows store leases in whole milliseconds.
        let lease = Duration::from_millis(lease.as_millis() as u64);
        let poll_max = POLL_MAX.min(lease / 20);
        let heartbeat = HEARTBEAT_MAX.min(lease / 4);
        Self { lease, heartbeat, poll_min: POLL_MIN.min(poll_max), poll_max, legacy_skew: LEGACY_SKEW }
    }

    /// Returns the durations for another lease. Heartbeat and polls are derived from it; the legacy skew stays.
    ///
    /// # Errors
    /// [`ConfigError`] if the lease is out of range.
    pub fn with_lease(&self, lease: Duration) -> Result<Self, ConfigError> {
        Ok(Self { legacy_skew: self.legacy_skew, ..Self::new(lease)? })
    }

    /// Sets the time between two renewals: at least 10 ms, at most a third of the lease and at most 5 minutes.
    ///
    /// # Errors
    /// [`ConfigError::Heartbeat`] outside that range.
    pub fn with_heartbeat(mut self, heartbeat: Duration) -> Result<Self, ConfigError> {
        if heartbeat < SCHEDULING_SLACK || heartbeat > HEARTBEAT_MAX.min(self.lease / 3) {
            return Err(ConfigError::Heartbeat { heartbeat, lease: self.lease });
        }
        self.heartbeat = heartbeat;
        Ok(self)
    }

    /// Sets the pauses between polls: from `min`, at least 1 ms, to `max`, at most 1 minute.
    ///
    /// # Errors
    /// [`ConfigError::Poll`] outside that range, or if `min` is more than `max`.
    pub fn with_poll(mut self, min: Duration, max: Duration) -> Result<Self, ConfigError> {
        if min < Duration::from_millis(1) || max < min || max > Duration::from_secs(60) {
            return Err(ConfigError::Poll { min, max });
        }
        (self.poll_min, self.poll_max) = (min, max);
        Ok(self)
    }

    /// Sets the tolerance for the wall clocks of npm dynamo-lock clients: the time after its `expiresOn` during which
    /// their row is still respected. The default is 2 s.
    pub fn with_legacy_skew(mut self, skew: Duration) -> Self {
        self.legacy_skew = skew;
        self
    }

    /// Returns the lease: if the holder crashes, other clients acquire the lock after this time.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// Returns the time between two renewals.
    pub fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    /// Returns the time after its `expiresOn` during which a row of npm dynamo-lock is respected.
    pub fn legacy_skew(&self) -> Duration {
        self.legacy_skew
    }

    /// Returns the maximum time for one try of a request, a quarter of the lease and at most 10 s. A try that takes longer
    /// counts as unanswered.
    pub fn attempt_timeout(&self) -> Duration {
        ATTEMPT_MAX.min(self.lease / 4)
    }

    /// Returns the shortest and the longest pause between two polls.
    pub(crate) fn poll_range(&self) -> (Duration, Duration) {
        (self.poll_min, self.poll_max)
    }

    /// Returns the local validity of a lease, counted from `sent_at` (R1).
    pub(crate) fn validity(lease: Duration) -> Duration {
        lease.saturating_sub(margin(lease))
    }
}

/// Returns the safety margin of a lease: 1 % of it, because the clocks of holder and waiter may each deviate by 0.5 % (A2),
/// and 10 ms for scheduling.
fn margin(lease: Duration) -> Duration {
    lease * (2 * DRIFT_PER_MILLE as u32) / 1000 + SCHEDULING_SLACK
}

/// Error returned for an invalid configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The lease is out of range.
    Lease {
        /// The rejected lease.
        lease: Duration,
        /// Maximum lease.
        max: Duration,
    },
    /// The heartbeat is out of range for the lease.
    Heartbeat {
        /// The rejected heartbeat.
        heartbeat: Duration,
        /// Lease that it would renew.
        lease: Duration,
    },
    /// The range of pauses between polls is empty or out of range.
    Poll {
        /// Shortest pause.
        min: Duration,
        /// Longest pause.
        max: Duration,
    },
    /// The owner label is empty or too long.
    Owner {
        /// Length of the label in bytes.
        bytes: usize,
    },
    /// The payload is too long.
    Data {
        /// Length of the payload in bytes.
        bytes: usize,
    },
    /// The maximum holding time is too short.
    MaxHold {
        /// The rejected maximum.
        max_hold: Duration,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lease { lease, max } => write!(
                f,
                "a lease is from {LEASE_MIN:?} to {max:?}, not {lease:?}: choose how long others shall wait after a crash"
            ),
            Self::Heartbeat { heartbeat, lease } => write!(
                f,
                "a heartbeat is from {SCHEDULING_SLACK:?} to {:?} (a third of the lease, at most 5 minutes), \
                 not {heartbeat:?}: shorten it or lengthen the lease",
                HEARTBEAT_MAX.min(*lease / 3)
            ),
            Self::Poll { min, max } => write!(
                f,
                "pauses between polls go from at least 1ms up to at most 60s, not from {min:?} to {max:?}: reorder them"
            ),
            Self::Owner { bytes } => {
                write!(f, "an owner has 1 to {OWNER_MAX} bytes, this one has {bytes}: use a short label")
            }
            Self::Data { bytes } => {
                write!(
                    f,
                    "a payload has at most {DATA_MAX} bytes, this one has {bytes}: store it elsewhere and name it"
                )
            }
            Self::MaxHold { max_hold } => {
                write!(
                    f,
                    "the longest holding time is at least {LEASE_MIN:?}, not {max_hold:?}: allow more or leave it off"
                )
            }
        }
    }
}

impl std::error::Error for ConfigError {}
