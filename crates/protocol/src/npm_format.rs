//! Row format of npm dynamo-lock 0.1.x, as far as this crate writes it.

use crate::attr;
use crate::row::Row;
use crate::token::RecordVersion;

/// Attributes of the native format that a row of npm dynamo-lock must not contain. The payload is not among them,
/// because it survives.
const NATIVE: [&str; 11] = [
    attr::V,
    attr::LEASE_ID,
    attr::TOKEN,
    attr::EXPIRY_CLOCK,
    attr::REVOKED_TOKEN,
    attr::RENEWAL_SEQ,
    attr::LEASE_MS,
    attr::OWNER,
    attr::ACQUIRED_ON,
    attr::TTL,
    attr::LIVENESS_KEY,
];

/// Returns the row that npm dynamo-lock would put over `seen`, with the next token, the payload and all unknown
/// attributes of `seen`.
pub(crate) fn npm_row(seen: Option<&Row>, version: &RecordVersion, expires_on: u64) -> Row {
    let mut row = seen.cloned().unwrap_or_default();
    NATIVE.iter().for_each(|name| row.remove(name));
    if let Some(token) = seen.and_then(Row::token) {
        row.set(attr::TOKEN, token.next().get().into());
    }
    row.set(attr::GUID, version.as_str().into());
    row.set(attr::EXPIRES_ON, expires_on.into());
    row
}
