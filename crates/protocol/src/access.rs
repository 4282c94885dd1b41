//! [`Access`]: what an acquisition requests of a shared row.

use crate::{Kind, Role};

/// Maximum number of holders of a shared row, because each write costs the size of the whole row.
pub const HOLDERS_MAX: u64 = 64;

/// Access to a shared row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    pub(crate) kind: Kind,
    pub(crate) is_exclusive: bool,
    pub(crate) limit: u64,
}

impl Access {
    /// Returns the access to one of `slots` permits of a semaphore, at most [`HOLDERS_MAX`].
    pub fn permit(slots: u64) -> Self {
        Self { kind: Kind::Semaphore, is_exclusive: false, limit: slots }
    }

    /// Returns the access to a read/write lock beside other readers, at most [`HOLDERS_MAX`] in all.
    pub fn read() -> Self {
        Self { kind: Kind::RwLock, is_exclusive: false, limit: HOLDERS_MAX }
    }

    /// Returns the access to a read/write lock alone.
    pub fn write() -> Self {
        Self { kind: Kind::RwLock, is_exclusive: true, limit: HOLDERS_MAX }
    }

    /// Returns the kind of the row.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns whether the holder is a writer, which holds the row alone.
    pub fn is_exclusive(&self) -> bool {
        self.is_exclusive
    }

    /// Returns the maximum number of holders.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Returns the role of the holder.
    pub(crate) fn role(&self) -> Role {
        if self.is_exclusive { Role::Exclusive } else { Role::Shared }
    }
}
