//! [`Change`]: the change that a write makes to one value.

use crate::{Path, Row, Value};

use Change::{Copy, Next, Remove, Set};

/// Change that a write makes to one value. All other values stay as they are.
///
/// The condition of the write ensures that the map around an entry, or around a field of an entry, exists.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// Sets a value.
    Set(Path, Value),
    /// Sets a number to its value plus one. If it is missing: to this number plus one, for a token the token floor.
    Next(Path, u64),
    /// Sets a value to the one that `from` has in the row before the write, or to `default` if that is missing.
    Copy {
        /// Place that is set.
        to: Path,
        /// Place that is read.
        from: Path,
        /// Value that is set if `from` is missing.
        default: Value,
    },
    /// Removes a value.
    Remove(Path),
    /// Replaces the whole row by this one. An op with this change has no other changes.
    Replace(Row),
}

pub(crate) fn set(path: impl Into<Path>, value: Value) -> Change {
    Set(path.into(), value)
}

pub(crate) fn increment(path: impl Into<Path>, floor: u64) -> Change {
    Next(path.into(), floor)
}

pub(crate) fn copy(to: impl Into<Path>, from: impl Into<Path>, default: Value) -> Change {
    Copy { to: to.into(), from: from.into(), default }
}

pub(crate) fn remove(path: impl Into<Path>) -> Change {
    Remove(path.into())
}
