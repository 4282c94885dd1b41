//! [`Target`]: an acquisition that an operator revokes.

use crate::{
    Change, Condition, FencingToken, LeaseId, Number, RecordVersion, Value, attr, change::set, condition::above,
    condition::equals, condition::missing,
};

/// Exactly one acquisition, chosen by an operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The acquisition with this token.
    Token(FencingToken),
    /// This version of a row that has no token.
    Version {
        /// Record version of the row.
        version: RecordVersion,
        /// Value of its `expiresOn`.
        expires_on: Number,
    },
}

impl Target {
    /// Returns the conjuncts that the row is still the target.
    pub(crate) fn conditions(&self) -> Vec<Condition> {
        match self {
            Self::Token(token) => vec![equals(attr::TOKEN, token.get().into()), above(attr::EXPIRES_ON, 0)],
            Self::Version { version, expires_on } => vec![
                missing(attr::TOKEN),
                equals(attr::GUID, version.as_str().into()),
                equals(attr::EXPIRES_ON, Value::N(expires_on.clone())),
            ],
        }
    }

    /// Returns the changes that make the holder's writes fail. The end of the lease stays.
    pub(crate) fn changes(&self, lease_id: &LeaseId) -> Vec<Change> {
        let mut changes = vec![set(attr::LEASE_ID, lease_id.as_str().into()), set(attr::RENEWAL_SEQ, 0.into())];
        if let Self::Token(token) = self {
            changes.extend([set(attr::TOKEN, token.next().get().into()), set(attr::REVOKED_TOKEN, token.get().into())]);
        }
        changes
    }
}
