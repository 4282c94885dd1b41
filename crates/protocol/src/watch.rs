use std::time::Duration;

use crate::op::attr;
use crate::{FencingToken, Guid, Moment, ReceivedAt, Row};

/// Who holds a lock, as far as its row says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Holder {
    /// The owner text. Somebody else's words: escape before printing.
    pub owner: Option<String>,
    /// Its fencing token.
    pub token: Option<FencingToken>,
    /// Since when, on its own wall clock, epoch ms.
    pub since_ms: Option<u64>,
    /// Its lease.
    pub lease: Option<Duration>,
    /// When its row says that it ends, epoch ms: for people, not to be compared with any clock.
    pub expires_ms: Option<u64>,
    /// Its payload. Somebody else's words.
    pub data: Option<String>,
}

impl Holder {
    /// What a row says of its holder.
    pub fn of(row: &Row) -> Self {
        Self {
            owner: row.text(attr::OWNER).map(str::to_owned),
            token: row.token(),
            since_ms: row.whole(attr::ACQUIRED_ON),
            lease: row.whole(attr::LEASE_MS).map(Duration::from_millis),
            expires_ms: row.whole(attr::EXPIRES_ON),
            data: row.text(attr::DATA).map(str::to_owned),
        }
    }
}

/// A held row under observation. Kept by a client between acquisitions, so that repeated short attempts add up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Watch {
    pub(crate) guid: Guid,
    pub(crate) token: Option<FencingToken>,
    /// R2: the lease of the row, never our own. A legacy row has none.
    pub(crate) lease: Option<Duration>,
    /// R2: after the answer that first showed this guid.
    pub(crate) since: ReceivedAt,
    /// If the row has no token: the service's second by which this version surely stood already.
    pub(crate) tokenless_since: Option<u64>,
    pub(crate) holder: Holder,
}

impl Watch {
    /// Who holds it.
    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    /// R2: how long until exactly this version may be taken over, if it does not change.
    pub(crate) fn over_in(&self, at: Moment) -> Option<Duration> {
        let lease = self.lease?;
        Some(lease.saturating_sub(at.waiter_elapsed_since(self.since.0)))
    }
}
