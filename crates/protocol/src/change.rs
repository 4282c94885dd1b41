//! [`Change`]: the change that a write makes to one value.

use crate::{Path, Row, Value};

use Change::{Next, Remove, Set};

/// Change that a write makes to one value. All other values stay as they are.
///
/// The condition of the write ensures that the map around an entry, or around a field of an entry, exists.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// Sets a value.
    Set(Path, Value),
    /// Sets a number to its value plus one. If it is missing: to this number plus one, for a token the token floor.
    Next(Path, u64),
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

pub(crate) fn remove(path: impl Into<Path>) -> Change {
    Remove(path.into())
}
