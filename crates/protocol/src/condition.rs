//! Conditions of writes, as data.

use std::cmp::Ordering;

use crate::{FencingToken, LeaseId, Path, Row, Value, attr};

/// Condition under which a write takes effect.
///
/// A comparison with a missing value does not hold. With a value of another type only [`Differs`](Condition::Differs)
/// holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// The value does not exist. For [`attr::NAME`]: the row does not exist.
    Missing(Path),
    /// The value exists. For [`attr::NAME`]: the row exists.
    Exists(Path),
    /// The value exists and is this one.
    Equals(Path, Value),
    /// The value exists and is another one.
    Differs(Path, Value),
    /// The value is a number below this one.
    Below(Path, u64),
    /// The value is a number above this one.
    Above(Path, u64),
    /// The value is a map.
    IsMap(Path),
    /// The value is a map with this number of entries.
    SizeIs(Path, u64),
    /// The value is a map with fewer entries than this.
    SizeBelow(Path, u64),
    /// All of these conditions hold.
    All(Vec<Condition>),
    /// At least one of these conditions holds.
    Any(Vec<Condition>),
}

use Condition::{Above, All, Any, Below, Differs, Equals, Exists, IsMap, Missing, SizeBelow, SizeIs};

pub(crate) fn missing(path: impl Into<Path>) -> Condition {
    Missing(path.into())
}

pub(crate) fn equals(path: impl Into<Path>, value: Value) -> Condition {
    Equals(path.into(), value)
}

pub(crate) fn differs(path: impl Into<Path>, value: Value) -> Condition {
    Differs(path.into(), value)
}

pub(crate) fn below(path: impl Into<Path>, number: u64) -> Condition {
    Below(path.into(), number)
}

pub(crate) fn above(path: impl Into<Path>, number: u64) -> Condition {
    Above(path.into(), number)
}

impl Condition {
    /// Returns the conjuncts that hold on a row that is held under `lease_id` and `token`. They are part of every write
    /// of a holder, and they are the condition check for a user's own transaction.
    pub(crate) fn held_under(lease_id: &LeaseId, token: Option<FencingToken>) -> Vec<Self> {
        let mut all = vec![equals(attr::V, 1.into()), equals(attr::LEASE_ID, lease_id.as_str().into())];
        all.extend(token.map(|token| equals(attr::TOKEN, token.get().into())));
        all.push(above(attr::EXPIRES_ON, 0));
        all
    }

    /// Returns a condition that holds on a row if its `handovers` can be increased by one.
    pub(crate) fn counts_handovers() -> Self {
        let in_range = All(vec![above(attr::HANDOVERS, 0), below(attr::HANDOVERS, FencingToken::MAX.get())]);
        Any(vec![missing(attr::HANDOVERS), in_range])
    }

    /// Returns the place that the condition is about, `None` if it consists of other conditions.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Missing(path) | Exists(path) | IsMap(path) => Some(path),
            Equals(path, _) | Differs(path, _) => Some(path),
            Below(path, _) | Above(path, _) | SizeIs(path, _) | SizeBelow(path, _) => Some(path),
            All(_) | Any(_) => None,
        }
    }
}

/// Returns whether `condition` holds on `row`. `None` is a row that does not exist.
pub fn holds(row: Option<&Row>, condition: &Condition) -> bool {
    let get = |path: &Path| row.and_then(|row| row.at(path));
    let exists = |path: &Path| match path {
        Path::Attribute(attr::NAME) => row.is_some(),
        path => get(path).is_some(),
    };
    let compare = |path: &Path, to: u64| match get(path) {
        Some(Value::N(number)) => Some(number.compare(to)),
        _ => None,
    };
    let size = |path: &Path| if let Some(Value::Map(map)) = get(path) { Some(map.len() as u64) } else { None };
    match condition {
        Missing(path) => !exists(path),
        Exists(path) => exists(path),
        Equals(path, Value::N(to)) if to.whole().is_some() => {
            to.whole().is_some_and(|to| compare(path, to) == Some(Ordering::Equal))
        }
        Equals(path, value) => get(path) == Some(value),
        Differs(path, value) => get(path).is_some_and(|there| there != value),
        Below(path, to) => compare(path, *to) == Some(Ordering::Less),
        Above(path, to) => compare(path, *to) == Some(Ordering::Greater),
        IsMap(path) => size(path).is_some(),
        SizeIs(path, to) => size(path) == Some(*to),
        SizeBelow(path, to) => size(path).is_some_and(|size| size < *to),
        All(all) => all.iter().all(|c| holds(row, c)),
        Any(any) => any.iter().any(|c| holds(row, c)),
    }
}
