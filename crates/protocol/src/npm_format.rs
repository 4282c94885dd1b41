//! Row format of npm dynamo-lock 0.1.x, as far as this crate writes it.

use crate::{RecordVersion, Row, attr, schema::HELD_ONLY, schema::NATIVE_ONLY};

/// Value of `expiresOn` in a shared or finished row: the end of the year 9999, so that npm dynamo-lock finds it held.
pub(crate) const NEVER_MS: u64 = 253_402_300_799_000;

/// Returns the row that npm dynamo-lock would put over `seen`, with the next token, the payload and all unknown
/// attributes of `seen`.
pub(crate) fn npm_row(seen: Option<&Row>, version: &RecordVersion, expires_on: u64) -> Row {
    let mut row = seen.cloned().unwrap_or_default();
    HELD_ONLY.iter().chain(&NATIVE_ONLY).for_each(|name| row.remove(name));
    if let Some(token) = seen.and_then(Row::token) {
        row.set(attr::TOKEN, token.next().get().into());
    }
    row.set(attr::GUID, version.as_str().into());
    row.set(attr::EXPIRES_ON, expires_on.into());
    row
}
