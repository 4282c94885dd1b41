//! Places of values in a row.

use std::fmt;

use crate::{LeaseId, attr};

/// Key of an entry in the map `holders` of a shared row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EntryKey {
    /// The entry of a holder that others may hold beside. Its key is the lease ID.
    Shared(LeaseId),
    /// The entry of a writer, which holds the row alone or waits for that. Its key is `x`.
    Exclusive,
}

impl EntryKey {
    /// Key of the exclusive entry in the row.
    const EXCLUSIVE: &str = "x";

    /// Returns the key as it is in the row.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Shared(lease_id) => lease_id.as_str(),
            Self::Exclusive => Self::EXCLUSIVE,
        }
    }
}

/// Place of a value in a row: an attribute, or a part of the map `holders` of a shared row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Path {
    /// An attribute of the row. [`attr::NAME`] stands for the row itself.
    Attribute(&'static str),
    /// An entry of `holders`.
    Entry(EntryKey),
    /// A field of an entry of `holders`.
    Field(EntryKey, &'static str),
}

impl Path {
    /// Returns the names from the attribute to the value.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let (first, key, field) = match self {
            Self::Attribute(name) => (*name, None, None),
            Self::Entry(key) => (attr::HOLDERS, Some(key), None),
            Self::Field(key, field) => (attr::HOLDERS, Some(key), Some(*field)),
        };
        std::iter::once(first).chain(key.map(EntryKey::as_str)).chain(field)
    }

    /// Returns the name of the attribute if the whole attribute is meant.
    pub fn attribute(&self) -> Option<&'static str> {
        if let Self::Attribute(name) = self { Some(name) } else { None }
    }
}

impl From<&'static str> for Path {
    fn from(attribute: &'static str) -> Self {
        Self::Attribute(attribute)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().collect::<Vec<_>>().join("."))
    }
}
