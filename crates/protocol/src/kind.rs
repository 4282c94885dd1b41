//! [`Kind`]: kinds of rows.

use std::fmt;

use crate::{Condition, Value, attr, condition::equals, condition::missing};

/// Kind of a row. A client that finds another kind than its own leaves the row as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A plain lock. Its row has no attribute `kind`.
    #[default]
    Mutex,
    /// A lock that a limited number of holders hold together.
    Semaphore,
    /// A lock that several readers hold together, or one writer alone.
    RwLock,
    /// A lock on work that runs until it has succeeded once.
    Once,
}

impl Kind {
    /// Returns the value of [`attr::KIND`] in a row of this kind, `None` if such a row has no such attribute.
    pub fn value(self) -> Option<&'static str> {
        match self {
            Self::Mutex => None,
            Self::Semaphore => Some(attr::SEMAPHORE),
            Self::RwLock => Some(attr::RW_LOCK),
            Self::Once => Some(attr::ONCE),
        }
    }

    /// Returns whether rows of this kind are shared: they contain an entry for each holder.
    pub fn is_shared(self) -> bool {
        matches!(self, Self::Semaphore | Self::RwLock)
    }

    /// Returns the kind of a row whose attribute `kind` has this value, `None` if the value is unknown.
    pub(crate) fn of(value: Option<&Value>) -> Option<Self> {
        match value {
            None => Some(Self::Mutex),
            Some(Value::S(kind)) if kind == attr::SEMAPHORE => Some(Self::Semaphore),
            Some(Value::S(kind)) if kind == attr::RW_LOCK => Some(Self::RwLock),
            Some(Value::S(kind)) if kind == attr::ONCE => Some(Self::Once),
            Some(_) => None,
        }
    }

    /// Returns a condition that holds on rows of this kind.
    pub(crate) fn condition(self) -> Condition {
        self.value().map_or(missing(attr::KIND), |kind| equals(attr::KIND, kind.into()))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.value().unwrap_or("mutex"))
    }
}
