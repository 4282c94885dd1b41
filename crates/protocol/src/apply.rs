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
    for change in op.changes() {
        match change {
            Change::Set(name, value) => next.set(name, value),
            Change::Remove(name) => next.remove(name),
            Change::Replace(row) => next = row,
            Change::Next(name, floor) => {
                let value = match next.get(name) {
                    None => floor.saturating_add(1).into(),
                    Some(Value::N(number)) => Value::N(number.plus_one()),
                    // Unreachable, because a condition before every `Next` requires a number or no attribute.
                    Some(_) => return Verdict::Conflict(row.cloned()),
                };
                next.set(name, value);
            }
        }
    }
    Verdict::Applied(next)
}
