//! [`Timing`]: the durations of one acquisition, and the limits of all settings.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::HOLDERS_MAX;

/// Minimum lease, and minimum duration of a hold.
pub const LEASE_MIN: Duration = Duration::from_secs(1);
/// Maximum lease of a client. Only a hold may be longer.
pub const LEASE_MAX: Duration = Duration::from_secs(3600);
/// Maximum duration of a hold, and maximum lease in a row.
pub const HOLD_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// Minimum time for which a success counts, if it does not count until it is reset.
pub const SUCCESS_MIN: Duration = Duration::from_secs(1);
/// Maximum time for which a success counts.
pub const SUCCESS_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);
/// Maximum deviation of the rate of a lease clock from real time, in thousandths: 0.5 % (A2).
pub const DRIFT_PER_MILLE: u64 = 5;
/// Time by which `expiresOn` lies after the end of the lease, so that R6 does not shorten short leases (§5).
pub const EXPIRY_PAD: Duration = Duration::from_secs(3);
/// Time that takes the place of [`EXPIRY_PAD`] where there is no service clock and npm dynamo-lock may use the table.
///
/// Clients of npm dynamo-lock compare `expiresOn` with their own wall clocks. The pad is the greatest difference
/// between the wall clocks of two hosts that is safe beside them. AWS refuses requests of a host whose wall clock is
/// wrong by 5 minutes, so 15 minutes are more than hosts that are in use differ by.
pub const WALL_CLOCK_PAD: Duration = Duration::from_secs(15 * 60);
/// Minimum time by which `ttl` lies after the end of the lease: seven days, and one day for a wall clock that is slow
/// by a day.
pub const TTL_MARGIN: Duration = Duration::from_secs(8 * 24 * 3600);
/// Maximum length of an owner label in bytes.
pub const OWNER_MAX: usize = 256;
/// Maximum length of the data of a lock in bytes.
pub const DATA_MAX: usize = 4096;

/// Maximum length of an attribute name in DynamoDB, in bytes.
pub(crate) const ATTRIBUTE_NAME_MAX: usize = 255;
/// Maximum heartbeat interval. It ensures that the service clock is updated often enough, whatever the lease.
const HEARTBEAT_MAX: Duration = Duration::from_secs(300);
/// Maximum time for one attempt of a request, whatever the lease.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);
/// Minimum time for the first attempt of a renewal, unless a quarter of the lease is less.
const FIRST_RENEWAL_MIN: Duration = Duration::from_millis(250);
/// Maximum time for the first attempt of a renewal, whatever the lease.
const FIRST_RENEWAL_MAX: Duration = Duration::from_secs(2);
/// Margin for scheduling delays, and minimum heartbeat interval.
const SCHEDULING_SLACK: Duration = Duration::from_millis(10);
/// Default of [`Timing::legacy_skew`].
const LEGACY_SKEW: Duration = Duration::from_secs(2);

/// Durations of one acquisition. The constructors check them against each other. Clones share them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Timing(Arc<Durations>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Durations {
    lease: Duration,
    heartbeat: Duration,
    legacy_skew: Duration,
}

impl Timing {
    /// Creates the default timing for a lease of 1 s to 1 h: heartbeat interval lease/4 (at most 5 min),
    /// legacy skew 2 s.
    ///
    /// # Errors
    /// [`ConfigError::Lease`] if the duration is outside this range.
    pub fn new(lease: Duration) -> Result<Self, ConfigError> {
        Self::up_to(LEASE_MAX, lease)
    }

    /// Creates the timing for a hold of 1 s to 30 days, which is not renewed.
    ///
    /// # Errors
    /// [`ConfigError::Lease`] if the duration is outside this range.
    pub(crate) fn for_hold(duration: Duration) -> Result<Self, ConfigError> {
        Self::up_to(HOLD_MAX, duration)
    }

    fn up_to(max: Duration, lease: Duration) -> Result<Self, ConfigError> {
        if !(LEASE_MIN..=max).contains(&lease) {
            return Err(ConfigError::Lease { lease, max });
        }
        // The row stores leases in whole milliseconds.
        let lease = Duration::from_millis(lease.as_millis() as u64);
        let heartbeat = HEARTBEAT_MAX.min(lease / 4);
        Ok(Self(Arc::new(Durations { lease, heartbeat, legacy_skew: LEGACY_SKEW })))
    }

    /// Returns the default timing for another lease. Only the legacy skew is kept.
    ///
    /// # Errors
    /// [`ConfigError`] if the lease is out of range.
    pub fn with_lease(&self, lease: Duration) -> Result<Self, ConfigError> {
        Ok(Self::new(lease)?.with_legacy_skew(self.legacy_skew()))
    }

    /// Sets the heartbeat interval: at least 10 ms, at most a third of the lease and at most 5 minutes.
    ///
    /// # Errors
    /// [`ConfigError::Heartbeat`] if it is outside this range.
    pub fn with_heartbeat(mut self, heartbeat: Duration) -> Result<Self, ConfigError> {
        if heartbeat < SCHEDULING_SLACK || heartbeat > HEARTBEAT_MAX.min(self.0.lease / 3) {
            return Err(ConfigError::Heartbeat { heartbeat, lease: self.0.lease });
        }
        self.durations_mut().heartbeat = heartbeat;
        Ok(self)
    }

    /// Sets the time for which a row of npm dynamo-lock is respected after its `expiresOn`, because the wall clocks of
    /// its writers may differ.
    pub fn with_legacy_skew(mut self, skew: Duration) -> Self {
        self.durations_mut().legacy_skew = skew;
        self
    }

    fn durations_mut(&mut self) -> &mut Durations {
        Arc::make_mut(&mut self.0)
    }

    /// Returns the lease: the time for which others respect the lock after its last renewal.
    pub fn lease(&self) -> Duration {
        self.0.lease
    }

    /// Returns the time from one renewal to the next.
    pub fn heartbeat(&self) -> Duration {
        self.0.heartbeat
    }

    /// Returns the time for which a row of npm dynamo-lock is respected after its `expiresOn`.
    pub fn legacy_skew(&self) -> Duration {
        self.0.legacy_skew
    }

    /// Returns the maximum time for one attempt of a request: a quarter of the lease, at most 10 s. An attempt that
    /// takes longer counts as unanswered.
    pub fn attempt_timeout(&self) -> Duration {
        ATTEMPT_MAX.min(self.0.lease / 4)
    }

    /// Returns the maximum time for the first attempt of a renewal: a tenth of the lease, from 250 ms to 2 s, and never
    /// more than for other requests. It is short because several attempts must fit into a lease.
    pub(crate) fn first_renewal_timeout(&self) -> Duration {
        (self.0.lease / 10).clamp(FIRST_RENEWAL_MIN, FIRST_RENEWAL_MAX).min(self.attempt_timeout())
    }

    /// Returns the maximum time for the attempt of a renewal after one of at most `previous` without an answer. It is a
    /// quarter longer, because the store may be slow, and never more than for other requests.
    pub(crate) fn next_renewal_timeout(&self, previous: Duration) -> Duration {
        (previous + previous / 4).min(self.attempt_timeout())
    }

    /// Returns the time for which a lease is valid for its holder, counted from `sent_at` (R1). The safety margin is 1
    /// % of the lease, which is twice the maximum deviation of a clock (A2), and 10 ms for scheduling.
    pub(crate) fn validity(lease: Duration) -> Duration {
        lease.saturating_sub(lease * (2 * DRIFT_PER_MILLE as u32) / 1000 + SCHEDULING_SLACK)
    }
}

/// Error returned for a setting that is out of range, with the allowed range, or for a client that cannot be created.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The lease is outside 1 s to 1 h, or the duration of a hold is outside 1 s to 30 days.
    Lease {
        /// Requested lease or duration.
        lease: Duration,
        /// Maximum that is allowed here: that of a lease or that of a hold.
        max: Duration,
    },
    /// The heartbeat interval is shorter than 10 ms, or longer than a third of the lease or 5 minutes.
    Heartbeat {
        /// Requested interval.
        heartbeat: Duration,
        /// Lease to which it applies.
        lease: Duration,
    },
    /// The owner label is empty or longer than [`OWNER_MAX`], 256 bytes.
    Owner {
        /// Length of the label in bytes.
        bytes: usize,
    },
    /// The data is longer than [`DATA_MAX`], 4,096 bytes.
    Data {
        /// Length of the data in bytes.
        bytes: usize,
    },
    /// A payload was requested for a row with several holders, which has none.
    SharedData,
    /// The number of slots of a semaphore is 0 or more than [`HOLDERS_MAX`], 64.
    Slots {
        /// Requested number.
        slots: u64,
    },
    /// The name of the table's partition key is empty or longer than 255 bytes.
    KeyLength {
        /// Length of the name in bytes.
        bytes: usize,
    },
    /// The name of the table's partition key is that of another attribute of a lock.
    KeyInUse {
        /// Requested name.
        name: &'static str,
    },
    /// The maximum hold time is shorter than [`LEASE_MIN`], 1 s.
    MaxHold {
        /// Requested time.
        max_hold: Duration,
    },
    /// The time for which a success counts is outside 1 s to 3,650 days.
    Success {
        /// Requested time.
        lasts: Duration,
    },
    /// The operating system refused the thread of the client, or its runtime. A later call may succeed.
    Thread {
        /// Error of the operating system.
        error: String,
    },
}

impl ConfigError {
    /// Returns whether the same call may succeed later without a change of the configuration.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Thread { .. })
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lease { lease, max } => write!(
                f,
                "a lease is from {LEASE_MIN:?} to {max:?}, not {lease:?}: choose how long others wait after a crash"
            ),
            Self::Heartbeat { heartbeat, lease } => write!(
                f,
                "a heartbeat is from {SCHEDULING_SLACK:?} to {:?} (a third of the lease, at most 5 minutes), \
                 not {heartbeat:?}: shorten it or lengthen the lease",
                HEARTBEAT_MAX.min(*lease / 3)
            ),
            Self::Owner { bytes } => {
                write!(f, "an owner has 1 to {OWNER_MAX} bytes, this one has {bytes}: use a short label")
            }
            Self::Data { bytes } => {
                write!(
                    f,
                    "a payload has at most {DATA_MAX} bytes, this one has {bytes}: store it elsewhere and keep a reference"
                )
            }
            Self::SharedData => f.write_str(
                "semaphores and read/write locks have no payload, because several holders share their row: leave it off",
            ),
            Self::Slots { slots } => {
                write!(f, "a semaphore has 1 to {HOLDERS_MAX} slots, not {slots}: use several semaphores")
            }
            Self::KeyLength { bytes } => {
                write!(
                    f,
                    "a partition key's name has 1 to {ATTRIBUTE_NAME_MAX} bytes, this one has {bytes}: correct it"
                )
            }
            Self::KeyInUse { name } => {
                write!(
                    f,
                    "a partition key has another name than the attributes of a lock, and `{name}` is one of those: \
                     use a table with another key"
                )
            }
            Self::MaxHold { max_hold } => {
                write!(
                    f,
                    "the longest holding time is at least {LEASE_MIN:?}, not {max_hold:?}: allow more or leave it off"
                )
            }
            Self::Success { lasts } => {
                let days = SUCCESS_MAX.as_secs() / (24 * 3600);
                write!(f, "a success counts for {SUCCESS_MIN:?} to {days} days, not {lasts:?}: leave it off for no end")
            }
            Self::Thread { error } => write!(
                f,
                "cannot start the thread of the client: {error}; check the process's limits on threads and open files"
            ),
        }
    }
}

impl std::error::Error for ConfigError {}
