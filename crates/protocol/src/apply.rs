//! Meaning of a write on a row.

use crate::{Change, Op, Outcome, Row, Value, holds};

/// Result of [`apply`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The write takes effect and leaves this row.
    Applied(Row),
    /// The condition does not hold. The row stays as it is.
    Conflict(Option<Row>),
}

impl Verdict {
    /// Returns the outcome that a store returns for `op`.
    pub fn outcome(self, op: &Op) -> Outcome {
        match self {
            Self::Applied(row) => Outcome::Applied(op.kind.returns_row().then_some(row)),
            Self::Conflict(row) => Outcome::Conflict(row),
        }
    }
}

/// Returns the effect of `op` on `row`. `None` is a row that does not exist.
///
/// This function is the specification of every write. Stores translate [`Op::condition`] and [`Op::changes`] or call
/// this function, and they are tested against it on generated rows and writes.
pub fn apply(row: Option<&Row>, op: &Op) -> Verdict {
    if !holds(row, &op.condition()) {
        return Verdict::Conflict(row.cloned());
    }
    let mut next = row.cloned().unwrap_or_default();
    let mut possible = true;
    for change in op.changes() {
        match change {
            Change::Set(path, value) => possible &= next.set_at(&path, value),
            Change::Copy { to, from, default } => {
                let value = row.and_then(|row| row.at(&from)).cloned().unwrap_or(default);
                possible &= next.set_at(&to, value);
            }
            Change::Remove(path) => possible &= next.remove_at(&path),
            Change::Replace(row) => next = row,
            Change::Next(path, floor) => {
                let value = match next.at(&path) {
                    None => Some(floor.saturating_add(1).into()),
                    Some(Value::N(number)) => Some(Value::N(number.plus_one())),
                    Some(_) => None,
                };
                possible &= value.is_some_and(|value| next.set_at(&path, value));
            }
        }
    }
    // Always possible, because the conditions require a number before every `Next`, and the map around every part.
    if !possible {
        return Verdict::Conflict(row.cloned());
    }
    Verdict::Applied(next)
}
