//! What a store tells, so that two of them can be compared.

use std::fmt;

use dynamo_lock::StoreErrorKind;
use dynamo_lock::store::{Outcome, Row};

use crate::world::World;
use crate::world::store::{show, show_outcome};

/// What is checked wherever a real store and the model have done the same.
const SPECIFIED: &str = "the store is the specification";

/// An answer, of whatever kind.
#[derive(Clone, PartialEq, Eq)]
pub enum Told {
    Row(Option<Row>),
    Outcome(Outcome),
    Error(StoreErrorKind),
}

impl Told {
    fn row(&self) -> Option<&Row> {
        match self {
            Self::Row(row) | Self::Outcome(Outcome::Conflict(row)) => row.as_ref(),
            Self::Outcome(Outcome::Applied(row)) => Some(row),
            _ => None,
        }
    }

    /// The row that somebody else left, of which this tells.
    pub fn news(&self) -> Option<&Row> {
        if matches!(self, Self::Outcome(Outcome::Applied(_))) { None } else { self.row() }
    }
}

/// Never the whole row: its owner names this process.
impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(row) => f.write_str(&show(row.as_ref())),
            Self::Outcome(outcome) => f.write_str(&show_outcome(outcome)),
            Self::Error(kind) => kind.fmt(f),
        }
    }
}

impl World {
    /// The real store tells what is specified; says whether it does.
    pub fn agree(&self, asked: impl fmt::Display, real: &Told, model: &Told) -> bool {
        self.specified(real == model, || {
            let differing = differing(real.row(), model.row()).join(", ");
            format!("{asked}: it says {real:?}, and {model:?} is specified; they differ in {differing}")
        });
        real == model
    }

    pub fn specified(&self, holds: bool, what: impl FnOnce() -> String) {
        self.check(holds, SPECIFIED, what);
    }
}

/// The attributes in which two rows differ.
fn differing<'a>(one: Option<&'a Row>, other: Option<&'a Row>) -> Vec<&'a str> {
    let get = |row: Option<&'a Row>, name: &str| row.and_then(|row| row.get(name));
    let all = [one, other].into_iter().flatten().flat_map(Row::attributes).map(|(name, _)| name);
    let mut names: Vec<_> = all.filter(|name| get(one, name) != get(other, name)).collect();
    names.sort_unstable();
    names.dedup();
    names
}
