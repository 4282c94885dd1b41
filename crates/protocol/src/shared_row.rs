//! [`SharedRow`]: the interpretation of a row with several holders.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{
    EntryKey, FencingToken, HOLD_MAX, Kind, LeaseId, RecordVersion, Role, Row, RowError, SharedHolder, Value, attr,
    row::malformed,
};

/// Parsed attributes of a shared row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SharedRow {
    /// Record version.
    pub version: RecordVersion,
    /// Kind of the row.
    pub kind: Kind,
    /// Fencing token of the row. Writes of writers increase it.
    pub token: FencingToken,
    /// Limit of the most recent acquisition. Only for display, because each acquisition uses its own.
    pub limit: Option<u64>,
    /// Lease ID of the holder that was forced out last.
    pub forced: LeaseId,
    /// Entries, ordered by their keys.
    pub entries: Vec<SharedEntry>,
}

/// Parsed entry of a shared row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SharedEntry {
    /// Lease ID and role.
    pub holder: SharedHolder,
    /// Renewal sequence number.
    pub renewal_seq: u64,
    /// Lease of the holder.
    pub lease: Duration,
    /// End of the lease as a service timestamp, in milliseconds since 1970, if there is one.
    pub expires_on: Option<u64>,
    /// Whether an operator has revoked the holder.
    pub revoked: bool,
    /// Human-readable label of the holder.
    pub owner: Option<String>,
    /// Time of the acquisition on the holder's wall clock, in milliseconds since 1970.
    pub acquired_on: Option<u64>,
    /// Liveness key of the holder.
    pub liveness_key: Option<String>,
}

impl SharedRow {
    /// Returns the entry of this owner, in any role.
    pub fn entry(&self, lease_id: &LeaseId) -> Option<&SharedEntry> {
        self.entries.iter().find(|entry| entry.holder.lease_id == *lease_id)
    }

    /// Returns the entry of the writer that holds the row or waits.
    pub fn writer(&self) -> Option<&SharedEntry> {
        self.entries.iter().find(|entry| entry.holder.role != Role::Shared)
    }
}

/// Number of hexadecimal digits of a lease ID.
const LEASE_ID_DIGITS: usize = 32;

impl Row {
    /// Returns the liveness keys in the entries of a shared row.
    pub fn liveness_keys(&self) -> impl Iterator<Item = &str> {
        fn key(entry: &Value) -> Option<&str> {
            if let Value::Map(fields) = entry { text(fields, attr::LIVENESS_KEY) } else { None }
        }
        let holders = if let Some(Value::Map(holders)) = self.get(attr::HOLDERS) { Some(holders) } else { None };
        holders.into_iter().flat_map(BTreeMap::values).filter_map(key)
    }

    /// Returns the meaning of a shared row of this kind.
    ///
    /// # Errors
    /// [`RowError`] if the row is not a lock, is of another kind, or cannot be interpreted. Such a row must not be
    /// written to.
    pub fn shared(&self, requested: Kind) -> Result<SharedRow, RowError> {
        let (version, legacy) = self.check_format()?;
        let found = self.kind()?;
        if found != requested {
            return Err(RowError::OtherKind { found, requested });
        }
        if legacy {
            return Err(malformed(attr::V, "1 in a row with a `kind`"));
        }
        let forced = self.text(attr::FORCED_LEASE_ID).ok_or(malformed(attr::FORCED_LEASE_ID, "a string"))?;
        let Some(Value::Map(holders)) = self.get(attr::HOLDERS) else {
            return Err(malformed(attr::HOLDERS, "a map"));
        };
        let entries = holders.iter().map(|(key, value)| entry(key, value));
        let entries = entries.collect::<Option<Vec<_>>>().ok_or(malformed(attr::HOLDERS, ENTRIES))?;
        let (token, limit) = (self.usable_token()?, self.whole(attr::LIMIT));
        Ok(SharedRow { version, kind: found, token, limit, forced: forced.into(), entries })
    }
}

/// Expected entries of a row.
const ENTRIES: &str = "a map of entries with `renewalSeq` and `leaseMs`, each under its lease ID";

/// Returns the entry with this key and value, `None` if it is malformed.
fn entry(key: &str, value: &Value) -> Option<SharedEntry> {
    let Value::Map(fields) = value else { return None };
    let holder = holder(key, fields)?;
    let (renewal_seq, lease) = (whole(fields, attr::RENEWAL_SEQ)?, whole(fields, attr::LEASE_MS)?);
    let lease = Some(Duration::from_millis(lease)).filter(|lease| !lease.is_zero() && *lease <= HOLD_MAX)?;
    let expires_on = match fields.get(attr::EXPIRES_ON) {
        None => None,
        Some(_) => Some(whole(fields, attr::EXPIRES_ON)?),
    };
    Some(SharedEntry {
        holder,
        renewal_seq,
        lease,
        expires_on,
        revoked: fields.contains_key(attr::REVOKED),
        owner: text(fields, attr::OWNER).map(str::to_owned),
        acquired_on: whole(fields, attr::ACQUIRED_ON),
        liveness_key: text(fields, attr::LIVENESS_KEY).map(str::to_owned),
    })
}

fn holder(key: &str, fields: &BTreeMap<String, Value>) -> Option<SharedHolder> {
    if key != EntryKey::Exclusive.as_str() {
        let is_lease_id = key.len() == LEASE_ID_DIGITS && key.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        return is_lease_id.then(|| SharedHolder { lease_id: key.into(), role: Role::Shared });
    }
    let role = match fields.get(attr::HELD) {
        None => Role::Waiting,
        Some(Value::Bool(true)) => Role::Exclusive,
        Some(_) => return None,
    };
    Some(SharedHolder { lease_id: text(fields, attr::LEASE_ID)?.into(), role })
}

fn whole(fields: &BTreeMap<String, Value>, name: &str) -> Option<u64> {
    if let Some(Value::N(number)) = fields.get(name) { number.whole() } else { None }
}

fn text<'a>(fields: &'a BTreeMap<String, Value>, name: &str) -> Option<&'a str> {
    if let Some(Value::S(text)) = fields.get(name) { Some(text) } else { None }
}
