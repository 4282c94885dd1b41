use std::time::Duration;

use crate::op::attr;
use crate::{ClockReading, FencingToken, ReceivedAt, RecordVersion, Row};

/// Who holds a lock, as far as its row says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Holder {
    /// The owner text. Somebody else's words: escape before printing.
    pub owner: Option<String>,
    /// Its fencing token.
    pub token: Option<FencingToken>,
    /// Since when, on its own wall clock, epoch ms.
    pub acquired_at_ms: Option<u64>,
    /// Its lease.
    pub lease: Option<Duration>,
    /// When its row says that it ends, epoch ms: for people, not to be compared with any clock.
    pub expires_at_ms: Option<u64>,
    /// Its payload. Somebody else's words.
    pub data: Option<String>,
}

impl Holder {
    /// What a row says of its holder.
    pub fn of(row: &Row) -> Self {
        Self {
            owner: row.text(attr::OWNER).map(str::to_owned),
            token: row.token(),
            acquired_at_ms: row.whole(attr::ACQUIRED_ON),
            lease: row.whole(attr::LEASE_MS).map(Duration::from_millis),
            expires_at_ms: row.whole(attr::EXPIRES_ON),
            data: row.text(attr::DATA).map(str::to_owned),
        }
    }
}

/// What a store can tell of a row's holder besides the row: on the embedded store the kernel knows. Told of a moment after
/// the row was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Liveness {
    /// Nothing: leases decide.
    #[default]
    Unknown,
    /// Its process lives, though it may be stopped: leases decide.
    ProcessAlive,
    /// Something that it started while it had the lock lives: not taken over, whatever the lease.
    ChildAlive,
    /// Its process is gone, and what it started too, for ever: nobody believes in that row any more.
    Dead,
}

/// A held row under observation. Kept by a client between acquisitions, so that repeated short attempts add up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Watch {
    pub(crate) version: RecordVersion,
    pub(crate) token: Option<FencingToken>,
    /// R2: the lease of the row, never our own. A legacy row has none.
    pub(crate) lease: Option<Duration>,
    /// R2: after the answer that first showed this guid.
    pub(crate) since: ReceivedAt,
    /// If the row has no token: the service's second by which this version surely stood already.
    pub(crate) tokenless_since: Option<u64>,
    /// The row says by what it can be told whether its holder lives: it is taken only after a look at that.
    pub(crate) has_liveness_key: bool,
    pub(crate) holder: Holder,
}

impl Watch {
    /// Who holds it.
    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    /// R2: how long until exactly this version may be taken over, if it does not change.
    fn expires_in(&self, at: ClockReading) -> Option<Duration> {
        let lease = self.lease?;
        Some(lease.saturating_sub(at.waiter_elapsed_since(self.since.0)))
    }

    /// R2: whether exactly this version may be taken over.
    pub(crate) fn is_over(&self, at: ClockReading) -> bool {
        self.expires_in(at).is_some_and(|over| over.is_zero())
    }

    /// As [`expires_in`](Self::expires_in), for a takeover without another look. What the holder started may have been started
    /// since the last one.
    pub(crate) fn expires_in_without_check(&self, at: ClockReading) -> Option<Duration> {
        self.expires_in(at).filter(|_| !self.has_liveness_key)
    }
}
