//! Attribute names of the item that represents a lock.
//!
//! `docs/protocol.md` §2 has the same table with the types and the rules. `guid` and `expiresOn` are shared with npm
//! dynamo-lock 0.1.x, so their names cannot change.

/// Partition key, whatever the table calls it. A [`crate::Row`] never contains it.
pub const NAME: &str = "name";
/// Version of the row format. This crate reads and writes 1; npm dynamo-lock writes none.
pub const V: &str = "v";
/// Kind of primitive. Absent means a plain lock; any value is refused.
pub const KIND: &str = "kind";
/// Record version: a random value that every write replaces.
pub const GUID: &str = "guid";
/// Lease ID of the current acquisition, or of the last one if the lock is free.
pub const LEASE_ID: &str = "leaseId";
/// Fencing token of the current acquisition, or of the last one if the lock is free.
pub const TOKEN: &str = "token";
/// End of the lease, in milliseconds since 1970. 0 means that the lock is free.
pub const EXPIRES_ON: &str = "expiresOn";
/// Clock on which [`EXPIRES_ON`] can be evaluated. Its only value is [`SERVICE_CLOCK`].
pub const EXPIRY_CLOCK: &str = "expiryClock";
/// Token of a revoked acquisition. The next acquisition removes it.
pub const REVOKED_TOKEN: &str = "revokedToken";
/// Renewal sequence number within one acquisition, from 0.
pub const RENEWAL_SEQ: &str = "renewalSeq";
/// Lease of the holder, in milliseconds.
pub const LEASE_MS: &str = "leaseMs";
/// Human-readable label of the holder.
pub const OWNER: &str = "owner";
/// Time of the acquisition on the holder's wall clock, in milliseconds since 1970. Only for display.
pub const ACQUIRED_ON: &str = "acquiredOn";
/// Payload of the holder.
pub const DATA: &str = "data";
/// Time after which DynamoDB may delete the item, in seconds since 1970.
pub const TTL: &str = "ttl";
/// Key with which the embedded store finds out whether the holder's process is alive.
pub const LIVENESS_KEY: &str = "livenessKey";

/// Value of [`EXPIRY_CLOCK`] in a row with a service timestamp: [`EXPIRES_ON`] is an upper bound of the lease's end on
/// the service clock.
pub const SERVICE_CLOCK: &str = "service";

/// Name of the attribute that [`LEASE_ID`] replaced before the first release.
pub(crate) const UNRELEASED_LEASE_ID: &str = "reign";
