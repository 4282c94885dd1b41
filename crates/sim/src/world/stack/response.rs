//! Responses of stores, for comparison of a real store with the model.

use std::fmt;

use dynamo_lock::StoreErrorKind;
use dynamo_lock::store::{Outcome, Row};

use crate::world::{World, show, show_outcome};

/// Name of the promise that a real store and the model agree.
const SPECIFIED: &str = "the store is the specification";

/// Response of a store to a read or a write.
#[derive(Clone, PartialEq, Eq)]
pub enum Response {
    Row(Option<Row>),
    Outcome(Outcome),
    Error(StoreErrorKind),
}

impl Response {
    fn row(&self) -> Option<&Row> {
        match self {
            Self::Row(row) | Self::Outcome(Outcome::Conflict(row) | Outcome::Applied(row)) => row.as_ref(),
            _ => None,
        }
    }

    /// Returns the row of another client that the response contains.
    pub fn row_of_other(&self) -> Option<&Row> {
        if matches!(self, Self::Outcome(Outcome::Applied(_))) { None } else { self.row() }
    }
}

/// Never prints the whole row, because its owner contains the ID of this process.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(row) => f.write_str(&show(row.as_ref())),
            Self::Outcome(outcome) => f.write_str(&show_outcome(outcome)),
            Self::Error(kind) => kind.fmt(f),
        }
    }
}

impl World {
    /// Checks that the real store agrees with the model. Returns whether it does.
    pub fn check_agreement(&self, store_request: impl fmt::Display, real: &Response, model: &Response) -> bool {
        self.check_specified(real == model, || {
            let differing = differing(real.row(), model.row()).join(", ");
            format!("{store_request}: the store returned {real:?}, the model {model:?}; they differ in {differing}")
        });
        real == model
    }

    pub fn check_specified(&self, holds: bool, what: impl FnOnce() -> String) {
        self.check(holds, SPECIFIED, what);
    }
}

/// Returns the names of the attributes in which two rows differ.
fn differing<'a>(one: Option<&'a Row>, other: Option<&'a Row>) -> Vec<&'a str> {
    let get = |row: Option<&'a Row>, name: &str| row.and_then(|row| row.get(name));
    let all = [one, other].into_iter().flatten().flat_map(Row::attributes).map(|(name, _)| name);
    let mut names: Vec<_> = all.filter(|name| get(one, name) != get(other, name)).collect();
    names.sort_unstable();
    names.dedup();
    names
}
