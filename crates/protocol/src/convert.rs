//! [`Convert`]: the write that makes a free row of one kind a free row of another kind.

use std::collections::BTreeMap;

use crate::{
    Change, Condition, FencingToken, Kind, LeaseId, RecordVersion, Value, attr, change::remove, change::set,
    condition::equals, npm_format::NEVER_MS, schema::DONE_ONLY, schema::LOCK_ONLY, schema::SHARED_ONLY,
    shared_op::NOT_FORCED,
};

/// Makes a free or finished row of any kind a free row of another kind, if it is still the one that was observed. The
/// attributes of the old kind are removed, and the token increases by one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Convert {
    /// Record version that was observed. Its row was free, or finished.
    pub seen: RecordVersion,
    /// Token that was observed with it.
    pub seen_token: FencingToken,
    /// A fresh lease ID that no client owns, for a row that is not shared.
    pub lease_id: LeaseId,
    /// Time for DynamoDB's TTL, in seconds since 1970. `None` removes it.
    pub ttl: Option<u64>,
}

impl Convert {
    /// Returns the condition under which the write takes effect.
    pub(crate) fn conditions(&self) -> Vec<Condition> {
        vec![
            equals(attr::V, 1.into()),
            equals(attr::GUID, self.seen.as_str().into()),
            equals(attr::TOKEN, self.seen_token.get().into()),
        ]
    }

    /// Returns the changes besides the record version. `to` is the new kind of the row.
    pub(crate) fn changes(&self, to: Kind) -> Vec<Change> {
        let mut changes = vec![
            set(attr::TOKEN, self.seen_token.next().get().into()),
            self.ttl.map_or(remove(attr::TTL), |ttl| set(attr::TTL, ttl.into())),
            to.value().map_or(remove(attr::KIND), |kind| set(attr::KIND, kind.into())),
        ];
        changes.extend(DONE_ONLY.map(remove));
        if to.is_shared() {
            changes.push(set(attr::EXPIRES_ON, NEVER_MS.into()));
            changes.push(set(attr::HOLDERS, Value::Map(BTreeMap::new())));
            changes.push(set(attr::FORCED_LEASE_ID, NOT_FORCED.into()));
            changes.push(remove(attr::LIMIT));
            changes.extend(LOCK_ONLY.map(remove));
        } else {
            changes.push(set(attr::EXPIRES_ON, 0.into()));
            changes.push(set(attr::LEASE_ID, self.lease_id.as_str().into()));
            changes.extend(SHARED_ONLY.map(remove));
            changes.extend(LOCK_ONLY.into_iter().filter(|name| *name != attr::LEASE_ID).map(remove));
        }
        changes
    }
}
