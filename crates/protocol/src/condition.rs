//! Conditions of writes, as data.

use std::cmp::Ordering;

use crate::{FencingToken, LeaseId, Row, Value, attr};

/// Condition under which a write takes effect.
///
/// A comparison with a missing attribute does not hold. With an attribute of another type only
/// [`Differs`](Condition::Differs) holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// The attribute does not exist. For [`attr::NAME`]: the row does not exist.
    Missing(&'static str),
    /// The attribute exists and has this value.
    Equals(&'static str, Value),
    /// The attribute exists and has another value.
    Differs(&'static str, Value),
    /// The attribute is a number below this one.
    Below(&'static str, u64),
    /// The attribute is a number above this one.
    Above(&'static str, u64),
    /// All of these conditions hold.
    All(Vec<Condition>),
    /// At least one of these conditions holds.
    Any(Vec<Condition>),
}

use Condition::{Above, All, Any, Below, Differs, Equals, Missing};

impl Condition {
    /// Returns the conjuncts that hold on a row that is held under `lease_id` and `token`. They are part of every write
    /// of a holder, and they are the condition check for a user's own transaction.
    pub(crate) fn held_under(lease_id: &LeaseId, token: Option<FencingToken>) -> Vec<Self> {
        let mut all = vec![Equals(attr::V, 1.into()), Equals(attr::LEASE_ID, lease_id.as_str().into())];
        all.extend(token.map(|token| Equals(attr::TOKEN, token.get().into())));
        all.push(Above(attr::EXPIRES_ON, 0));
        all
    }

    /// Returns a condition that holds on a row if its `handovers` can be increased by one.
    pub(crate) fn counts_handovers() -> Self {
        let in_range = All(vec![Above(attr::HANDOVERS, 0), Below(attr::HANDOVERS, FencingToken::MAX.get())]);
        Any(vec![Missing(attr::HANDOVERS), in_range])
    }
}

/// Returns whether `condition` holds on `row`. `None` is a row that does not exist.
pub fn holds(row: Option<&Row>, condition: &Condition) -> bool {
    let get = |name: &str| row.and_then(|row| row.get(name));
    let compare = |name: &str, to: u64| match get(name) {
        Some(Value::N(number)) => Some(number.compare(to)),
        _ => None,
    };
    match condition {
        Missing(attr::NAME) => row.is_none(),
        Missing(name) => get(name).is_none(),
        Equals(name, Value::N(to)) if to.whole().is_some() => {
            to.whole().is_some_and(|to| compare(name, to) == Some(Ordering::Equal))
        }
        Equals(name, value) => get(name) == Some(value),
        Differs(name, value) => get(name).is_some_and(|there| there != value),
        Below(name, to) => compare(name, *to) == Some(Ordering::Less),
        Above(name, to) => compare(name, *to) == Some(Ordering::Greater),
        All(all) => all.iter().all(|c| holds(row, c)),
        Any(any) => any.iter().any(|c| holds(row, c)),
    }
}
