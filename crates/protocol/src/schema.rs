//! The item schema: names, types and meanings of the attributes of the item that represents a lock.
//!
//! `docs/item-format.md` has the same table with the ranges. `row.rs` interprets the attributes, and `op.rs` writes
//! them.

use crate::config::{ATTRIBUTE_NAME_MAX, ConfigError};

/// Attribute names. `S` and `N` are the types of the attributes in DynamoDB: string and number.
///
/// `guid` and `expiresOn` are shared with npm dynamo-lock 0.1.x, so their names cannot change.
pub mod attr {
    /// `S`: partition key. The table may have another name for it. A [`crate::Row`] never contains it.
    pub const NAME: &str = "name";
    /// `N`: version of the row format. This crate reads and writes 1; npm dynamo-lock writes none.
    pub const V: &str = "v";
    /// `S`: kind of primitive. Absent means a plain lock. Its values are [`SEMAPHORE`], [`RW_LOCK`] and [`ONCE`]; any other
    /// is refused.
    pub const KIND: &str = "kind";
    /// `S`: record version: a random value that every write replaces.
    pub const GUID: &str = "guid";
    /// `S`: lease ID of the current acquisition, or of the last one if the lock is free.
    pub const LEASE_ID: &str = "leaseId";
    /// `N`: fencing token of the current acquisition, or of the last one if the lock is free.
    pub const TOKEN: &str = "token";
    /// `N`: end of the lease, in milliseconds since 1970. 0 means that the lock is free.
    pub const EXPIRES_ON: &str = "expiresOn";
    /// `S`: clock on which [`EXPIRES_ON`] can be evaluated. Its only value is [`SERVICE_CLOCK`].
    pub const EXPIRY_CLOCK: &str = "expiryClock";
    /// `N`: token of a revoked acquisition. The next acquisition removes it.
    pub const REVOKED_TOKEN: &str = "revokedToken";
    /// `N`: renewal sequence number within one acquisition, from 0.
    pub const RENEWAL_SEQ: &str = "renewalSeq";
    /// `N`: number of handovers over the life of the row. Absent means 0.
    pub const HANDOVERS: &str = "handovers";
    /// `N`: lease of the holder, in milliseconds.
    pub const LEASE_MS: &str = "leaseMs";
    /// `S`: human-readable label of the holder.
    pub const OWNER: &str = "owner";
    /// `N`: time of the acquisition on the holder's wall clock, in milliseconds since 1970. For display, and for the times
    /// of looks.
    pub const ACQUIRED_ON: &str = "acquiredOn";
    /// `S`: lengths of the most recent holds, in milliseconds. Waiters derive from it when to look next.
    pub const RECENT_HOLDS_MS: &str = "recentHoldsMs";
    /// `N`: moving average of the waiting processes, in hundredths. Waiters derive from it when to look next.
    pub const WAITER_ESTIMATE: &str = "waiterEstimate";
    /// `S`: [`OWNER`] of the last hold that has ended. For display, like the four attributes that follow.
    pub const LAST_OWNER: &str = "lastOwner";
    /// `N`: [`ACQUIRED_ON`] of the last hold that has ended.
    pub const LAST_ACQUIRED_ON: &str = "lastAcquiredOn";
    /// `N`: end of the last hold, in milliseconds since 1970, on the wall clock of the client that ended it.
    pub const LAST_ENDED_ON: &str = "lastEndedOn";
    /// `S`: how the last hold ended: `released`, `expired`, `revoked` or `forced`.
    pub const LAST_END: &str = "lastEnd";
    /// `N`: exit code of the work of the last hold, from 0 to 255. Absent if it is not known.
    pub const LAST_EXIT_CODE: &str = "lastExitCode";
    /// `N`: token of the successful run of a finished row.
    pub const DONE_TOKEN: &str = "doneToken";
    /// `N`: time of the success on its host's wall clock, in milliseconds since 1970. Only for display.
    pub const DONE_ON: &str = "doneOn";
    /// `S`: label of the process that recorded the success.
    pub const DONE_BY: &str = "doneBy";
    /// `N`: time after which the success does not count any more, in milliseconds since 1970.
    pub const DONE_UNTIL: &str = "doneUntil";
    /// `S`: clock that [`DONE_UNTIL`] is from. Its only value is [`SERVICE_CLOCK`]. Only for display.
    pub const DONE_CLOCK: &str = "doneClock";
    /// `M`: holders of a shared row, one entry each. The key is the lease ID, or `x` for a writer.
    pub const HOLDERS: &str = "holders";
    /// `N`: maximum number of holders of a shared row in the most recent acquisition; display only.
    pub const LIMIT: &str = "limit";
    /// `S`: lease ID of the holder of a shared row that was forced out last.
    pub const FORCED_LEASE_ID: &str = "forcedLeaseId";
    /// `BOOL`, field of the entry of a writer: it holds the row. Absent while it waits.
    pub const HELD: &str = "held";
    /// `BOOL`, field of an entry: an operator has revoked its holder.
    pub const REVOKED: &str = "revoked";
    /// `S`: payload of the holder.
    pub const DATA: &str = "data";
    /// `N`: time after which DynamoDB may delete the item, in seconds since 1970.
    pub const TTL: &str = "ttl";
    /// `S`: key with which the SQLite store finds out whether the holder's process is alive.
    pub const LIVENESS_KEY: &str = "livenessKey";

    /// Value of [`KIND`] in the row of a semaphore.
    pub const SEMAPHORE: &str = "semaphore";
    /// Value of [`KIND`] in the row of a read/write lock.
    pub const RW_LOCK: &str = "rwlock";

    /// Value of [`EXPIRY_CLOCK`] in a row with a service timestamp: [`EXPIRES_ON`] is an upper bound of the lease's end
    /// on the service clock.
    pub const SERVICE_CLOCK: &str = "service";

    /// Value of [`KIND`] in the row of a lock on work that runs until it has succeeded once.
    pub const ONCE: &str = "once";

    /// Name of the attribute that [`LEASE_ID`] replaced before the first release.
    pub(crate) const UNRELEASED_LEASE_ID: &str = "reign";
}

/// Attributes of a lock besides its partition key. `session` and `wanted` are reserved for later versions.
const NON_KEY: [&str; 34] = [
    attr::V,
    attr::KIND,
    attr::GUID,
    attr::LEASE_ID,
    attr::TOKEN,
    attr::EXPIRES_ON,
    attr::EXPIRY_CLOCK,
    attr::REVOKED_TOKEN,
    attr::RENEWAL_SEQ,
    attr::HANDOVERS,
    attr::LEASE_MS,
    attr::OWNER,
    attr::ACQUIRED_ON,
    attr::RECENT_HOLDS_MS,
    attr::WAITER_ESTIMATE,
    attr::LAST_OWNER,
    attr::LAST_ACQUIRED_ON,
    attr::LAST_ENDED_ON,
    attr::LAST_END,
    attr::LAST_EXIT_CODE,
    attr::DONE_TOKEN,
    attr::DONE_ON,
    attr::DONE_BY,
    attr::DONE_UNTIL,
    attr::DONE_CLOCK,
    attr::HOLDERS,
    attr::LIMIT,
    attr::FORCED_LEASE_ID,
    attr::DATA,
    attr::TTL,
    attr::LIVENESS_KEY,
    attr::UNRELEASED_LEASE_ID,
    "session",
    "wanted",
];

/// Checks the name of a table's partition key: it has 1 to 255 bytes, and no other attribute of a lock has it.
///
/// # Errors
/// [`ConfigError::KeyLength`] or [`ConfigError::KeyInUse`].
pub fn check_partition_key(name: &str) -> Result<(), ConfigError> {
    if !(1..=ATTRIBUTE_NAME_MAX).contains(&name.len()) {
        return Err(ConfigError::KeyLength { bytes: name.len() });
    }
    NON_KEY.into_iter().find(|used| *used == name).map_or(Ok(()), |name| Err(ConfigError::KeyInUse { name }))
}

/// Attributes that a release removes, because they describe the holder.
pub(crate) const HELD_ONLY: [&str; 6] =
    [attr::EXPIRY_CLOCK, attr::RENEWAL_SEQ, attr::LEASE_MS, attr::OWNER, attr::ACQUIRED_ON, attr::LIVENESS_KEY];

/// Attributes of a finished row that describe its success.
pub(crate) const DONE_ONLY: [&str; 5] =
    [attr::DONE_TOKEN, attr::DONE_ON, attr::DONE_BY, attr::DONE_UNTIL, attr::DONE_CLOCK];

/// Attributes of a plain lock that a shared row does not have.
pub(crate) const LOCK_ONLY: [&str; 17] = [
    attr::LEASE_ID,
    attr::EXPIRY_CLOCK,
    attr::REVOKED_TOKEN,
    attr::RENEWAL_SEQ,
    attr::HANDOVERS,
    attr::LEASE_MS,
    attr::OWNER,
    attr::ACQUIRED_ON,
    attr::RECENT_HOLDS_MS,
    attr::WAITER_ESTIMATE,
    attr::LAST_OWNER,
    attr::LAST_ACQUIRED_ON,
    attr::LAST_ENDED_ON,
    attr::LAST_END,
    attr::LAST_EXIT_CODE,
    attr::DATA,
    attr::LIVENESS_KEY,
];

/// Attributes of a shared row that a plain lock does not have.
pub(crate) const SHARED_ONLY: [&str; 3] = [attr::HOLDERS, attr::LIMIT, attr::FORCED_LEASE_ID];

/// Attributes that a row in the format of npm dynamo-lock must not contain, besides those in [`HELD_ONLY`]. The payload
/// is not among them, because it survives.
pub(crate) const NATIVE_ONLY: [&str; 10] = [
    attr::V,
    attr::LEASE_ID,
    attr::TOKEN,
    attr::REVOKED_TOKEN,
    attr::TTL,
    attr::LAST_OWNER,
    attr::LAST_ACQUIRED_ON,
    attr::LAST_ENDED_ON,
    attr::LAST_END,
    attr::LAST_EXIT_CODE,
];
