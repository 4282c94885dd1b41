//! The last hold of a lock: who held it, since when, for how long, and how the hold ended.
//!
//! The write that ends a hold records it in the row. Only people and programs that inspect the row read the record; no
//! condition contains it.

use std::time::{Duration, SystemTime};

use crate::{Change, Row, attr, change::copy, change::remove, change::set, time::system_time};

/// Owner that is recorded if the row has none.
const UNKNOWN: &str = "unknown";

/// How a hold ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HoldEnd {
    /// The holder released the lock, or recorded the success of its work.
    Released,
    /// The holder did not renew its lease, and another acquisition took the lock over.
    Expired,
    /// An operator revoked the lease.
    Revoked,
    /// An operator revoked the lease and freed the lock at once.
    Forced,
}

impl HoldEnd {
    const ALL: [Self; 4] = [Self::Released, Self::Expired, Self::Revoked, Self::Forced];

    /// Returns the word for this end in the row, in JSON and in the lines of `show`, for example `released`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Forced => "forced",
        }
    }
}

/// Record that a write adds about the hold that it ends. The owner and the time of the acquisition are copied from the
/// row itself, so that the record is always about that hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndedHold {
    /// How the hold ended.
    pub end: HoldEnd,
    /// Time of the end, in milliseconds since 1970.
    pub ended_on: u64,
    /// Exit code of the work, if it is known.
    pub exit_code: Option<u8>,
}

impl EndedHold {
    /// Returns the record of a hold that ended this way, without an exit code.
    pub(crate) fn new(end: HoldEnd, ended_on: u64) -> Self {
        Self { end, ended_on, exit_code: None }
    }

    /// Returns the changes that store the record. They precede those that replace or remove the holder, because some
    /// servers perform the changes one after the other.
    pub(crate) fn changes(&self) -> [Change; 5] {
        [
            copy(attr::LAST_OWNER, attr::OWNER, UNKNOWN.into()),
            copy(attr::LAST_ACQUIRED_ON, attr::ACQUIRED_ON, 0.into()),
            set(attr::LAST_ENDED_ON, self.ended_on.into()),
            set(attr::LAST_END, self.end.as_str().into()),
            self.exit_code
                .map_or(remove(attr::LAST_EXIT_CODE), |code| set(attr::LAST_EXIT_CODE, u64::from(code).into())),
        ]
    }
}

/// The last hold of a lock that has ended, as described by the lock's row. A present holder is not the last one.
///
/// The times are from the wall clocks of the holder and of the client that ended the hold, so they are only for display.
/// Every client with access to the table can write these fields, so escape the owner before printing it on a terminal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct LastHold {
    /// Label of the holder, in the form of [`Holder::owner`](crate::Holder::owner).
    pub owner: Option<String>,
    /// Time of the acquisition on the holder's wall clock.
    pub acquired_at: Option<SystemTime>,
    /// Length of the hold. `None` if the time of the acquisition is not known.
    pub held: Option<Duration>,
    /// How the hold ended.
    pub end: HoldEnd,
    /// Exit code of the work, if the holder recorded it.
    pub exit_code: Option<u8>,
}

impl LastHold {
    /// Returns the last hold that a row describes, `None` if none has ended since the row exists.
    pub fn of(row: &Row) -> Option<Self> {
        let end = HoldEnd::ALL.into_iter().find(|end| row.text(attr::LAST_END) == Some(end.as_str()))?;
        let acquired_on = row.whole(attr::LAST_ACQUIRED_ON).filter(|ms| *ms > 0);
        let ended_on = row.whole(attr::LAST_ENDED_ON);
        let held = ended_on.zip(acquired_on).map(|(ended, acquired)| ended.saturating_sub(acquired));
        Some(Self {
            owner: row.text(attr::LAST_OWNER).map(str::to_owned),
            acquired_at: acquired_on.map(system_time),
            held: held.map(Duration::from_millis),
            end,
            exit_code: row.whole(attr::LAST_EXIT_CODE).and_then(|code| code.try_into().ok()),
        })
    }
}
