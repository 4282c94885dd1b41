use std::fmt;
use std::time::Duration;

/// The shortest lease of a client.
pub const LEASE_MIN: Duration = Duration::from_secs(1);
/// The longest lease of a client; only a hold may be longer.
pub const LEASE_MAX: Duration = Duration::from_secs(3600);
/// The longest hold, and the longest lease that a row may name.
pub const HOLD_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// A2: how far the rate of a lease clock may be from real time, in thousandths (0.5 %).
pub const DRIFT_PER_MILLE: u64 = 5;
/// What a stamp is ahead of the lease's end, so that R6 does not eat short leases (§5).
pub const EXPIRY_PAD: Duration = Duration::from_secs(3);
/// How far ahead of the lease's end `purgeOn` is at least: seven days, and one for a wall clock that is a day slow.
pub const TTL_MARGIN: Duration = Duration::from_secs(8 * 24 * 3600);
/// How far ahead of the time a token is seeded where a row has lost its own: a lock's first token may come from a wall
/// clock that is a day fast.
pub(crate) const FLOOR_AHEAD: Duration = Duration::from_secs(24 * 3600);
/// The longest owner text, in bytes.
pub const OWNER_MAX: usize = 256;
/// The longest payload, in bytes.
pub const DATA_MAX: usize = 4096;

/// The longest heartbeat: so often the service clock is heard of, whatever the lease.
const HEARTBEAT_MAX: Duration = Duration::from_secs(300);
/// The longest that one try may take, however long the lease.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);
const SCHEDULING_SLACK: Duration = Duration::from_millis(10);
/// Shortest pause between two tries of a write.
pub(crate) const RETRY_MIN: Duration = Duration::from_millis(25);
/// Longest pause between two tries of a write whose deadline does not matter.
pub(crate) const RETRY_MAX: Duration = Duration::from_secs(1);
const POLL_MIN: Duration = Duration::from_millis(25);
const POLL_MAX: Duration = Duration::from_secs(1);
const LEGACY_SKEW: Duration = Duration::from_secs(2);

/// The durations that one acquisition lives by, checked against one another. Valid once it exists.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    lease: Duration,
    heartbeat: Duration,
    poll_min: Duration,
    poll_max: Duration,
    legacy_skew: Duration,
}

impl Timing {
    /// For a lease of 1 s to 1 h: heartbeat min(lease/4, 5 min), polls from 25 ms to min(1 s, lease/20), legacy skew 2 s.
    ///
    /// # Errors
    /// [`ConfigError::Lease`] outside that range.
    pub fn new(lease: Duration) -> Result<Self, ConfigError> {
        if !(LEASE_MIN..=LEASE_MAX).contains(&lease) {
            return Err(ConfigError::Lease { lease, max: LEASE_MAX });
        }
        Ok(Self::unchecked(lease))
    }

    /// For a hold of 1 s to 30 days, which nothing renews.
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
        // The row counts leases in whole milliseconds.
        let lease = Duration::from_millis(lease.as_millis() as u64);
        let poll_max = POLL_MAX.min(lease / 20);
        let heartbeat = HEARTBEAT_MAX.min(lease / 4);
        Self { lease, heartbeat, poll_min: POLL_MIN.min(poll_max), poll_max, legacy_skew: LEGACY_SKEW }
    }

    /// With another lease; heartbeat and polls follow from it.
    ///
    /// # Errors
    /// [`ConfigError`] if the lease is out of range.
    pub fn with_lease(&self, lease: Duration) -> Result<Self, ConfigError> {
        Ok(Self { legacy_skew: self.legacy_skew, ..Self::new(lease)? })
    }

    /// With a heartbeat of at least 10 ms, at most a third of the lease and at most 5 minutes.
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

    /// With pauses between polls from `min` (at least 1 ms) to `max` (at most 1 min).
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

    /// With this tolerance for the wall clocks of legacy clients: how long past its `expiresOn` a row of theirs is
    /// still respected.
    pub fn with_legacy_skew(mut self, skew: Duration) -> Self {
        self.legacy_skew = skew;
        self
    }

    /// The lease: how long others respect the lock after the holder was last heard of.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// Time from one renewal to the next.
    pub fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    /// How long past its `expiresOn` a legacy row is respected.
    pub fn legacy_skew(&self) -> Duration {
        self.legacy_skew
    }

    /// How long one try may take, a quarter of the lease and at most 10 s: an attempt that takes longer counts as unanswered.
    pub fn attempt_timeout(&self) -> Duration {
        ATTEMPT_MAX.min(self.lease / 4)
    }

    pub(crate) fn poll_range(&self) -> (Duration, Duration) {
        (self.poll_min, self.poll_max)
    }

    /// R1: how long the holder of such a lease believes, counted from `sent_at`.
    pub(crate) fn validity(lease: Duration) -> Duration {
        lease.saturating_sub(margin(lease))
    }
}

/// 1 % of the lease, twice what two clocks may drift apart by (A2), and 10 ms for scheduling.
fn margin(lease: Duration) -> Duration {
    lease * (2 * DRIFT_PER_MILLE as u32) / 1000 + SCHEDULING_SLACK
}

/// Why a configuration cannot be: one sentence each, with what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The lease is out of range.
    Lease {
        /// What was asked for.
        lease: Duration,
        /// The longest allowed here.
        max: Duration,
    },
    /// The heartbeat is out of range for the lease.
    Heartbeat {
        /// What was asked for.
        heartbeat: Duration,
        /// The lease that it should keep.
        lease: Duration,
    },
    /// The range of pauses between polls is empty or out of range.
    Poll {
        /// The shortest pause.
        min: Duration,
        /// The longest pause.
        max: Duration,
    },
    /// The owner text is empty or too long.
    Owner {
        /// Its length in bytes.
        bytes: usize,
    },
    /// The payload is too long.
    Data {
        /// Its length in bytes.
        bytes: usize,
    },
    /// The longest holding time is too short to be of use.
    MaxHold {
        /// What was asked for.
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
