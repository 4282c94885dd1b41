//! The shape of an op for DynamoDB: its condition and changes without their values, and without the keys of entries.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::item;
use crate::store::{Change, Condition, EntryKey, Path, Row, Value};

/// Placeholders of the first values.
const PLACEHOLDERS: [&str; 16] =
    [":0", ":1", ":2", ":3", ":4", ":5", ":6", ":7", ":8", ":9", ":10", ":11", ":12", ":13", ":14", ":15"];

/// Place of a value in a row. Keys of entries are not in the text, but have placeholders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Attribute(&'static str),
    Entry(Key),
    Field(Key, &'static str),
}

/// Key of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Exclusive,
    /// The lease ID with this number among those of the shape.
    Shared(usize),
}

/// One element of a condition or of an update, in the order of the text. Numbers are those of placeholders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Missing(Place),
    Exists(Place),
    /// The placeholder is that of the type's name.
    IsMap(Place, usize),
    Compare(Place, &'static str, usize),
    /// The placeholders are those of the type's name and of the size.
    Size(Place, &'static str, usize, usize),
    /// Number of conditions that follow and belong to it.
    All(usize),
    Any(usize),
    /// Value of an attribute that is present, else a token floor, and the number that is added.
    Next(Place, usize, usize),
    /// Place that is set, place that is read, and the value that is set if the latter is missing.
    Copy(Place, Place, usize),
    Remove(Place),
}

/// Condition and changes of an op without their values.
#[derive(Debug, Default)]
pub(super) struct Shape {
    pub(super) condition: Vec<Part>,
    pub(super) update: Vec<Part>,
    values: Vec<AttributeValue>,
    /// Lease IDs that are keys of entries.
    keys: Vec<String>,
}

impl Shape {
    /// Creates the shape of a condition alone.
    pub(super) fn of_condition(condition: &Condition) -> Self {
        let mut shape = Self::default();
        shape.add_condition(condition);
        shape
    }

    /// Creates the shape of a write. Returns the row instead if the write is a put that replaces it.
    pub(super) fn of_write(condition: &Condition, changes: Vec<Change>) -> Result<Self, Row> {
        let mut shape = Self::of_condition(condition);
        for change in changes {
            let part = match change {
                Change::Set(path, value) => Part::Compare(shape.place(&path), "=", shape.value(&value)),
                Change::Next(path, floor) => {
                    Part::Next(shape.place(&path), shape.value(&floor.into()), shape.value(&1.into()))
                }
                Change::Copy { to, from, default } => {
                    Part::Copy(shape.place(&to), shape.place(&from), shape.value(&default))
                }
                Change::Remove(path) => Part::Remove(shape.place(&path)),
                // An op that replaces the row makes no other change.
                Change::Replace(row) => return Err(row),
            };
            shape.update.push(part);
        }
        Ok(shape)
    }

    /// Returns the names of the placeholders of keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = (String, String)> {
        self.keys.iter().enumerate().map(|(at, key)| (key_placeholder(at), key.clone()))
    }

    /// Returns the values of the placeholders.
    pub(super) fn into_values(self) -> HashMap<String, AttributeValue> {
        self.values.into_iter().enumerate().map(|(at, value)| (placeholder(at), value)).collect()
    }

    fn add_condition(&mut self, condition: &Condition) {
        let part = match condition {
            Condition::Missing(path) => Part::Missing(self.place(path)),
            Condition::Exists(path) => Part::Exists(self.place(path)),
            Condition::Equals(path, value) => Part::Compare(self.place(path), "=", self.value(value)),
            Condition::Differs(path, value) => Part::Compare(self.place(path), "<>", self.value(value)),
            Condition::Below(path, to) => Part::Compare(self.place(path), "<", self.value(&(*to).into())),
            Condition::Above(path, to) => Part::Compare(self.place(path), ">", self.value(&(*to).into())),
            Condition::IsMap(path) => Part::IsMap(self.place(path), self.value(&"M".into())),
            Condition::SizeIs(path, to) => self.size(path, "=", *to),
            Condition::SizeBelow(path, to) => self.size(path, "<", *to),
            Condition::All(all) => Part::All(all.len()),
            Condition::Any(all) => Part::Any(all.len()),
        };
        self.condition.push(part);
        if let Condition::All(all) | Condition::Any(all) = condition {
            all.iter().for_each(|part| self.add_condition(part));
        }
    }

    fn size(&mut self, path: &Path, operator: &'static str, to: u64) -> Part {
        Part::Size(self.place(path), operator, self.value(&"M".into()), self.value(&to.into()))
    }

    /// Returns the place of a path, with placeholders for keys of entries.
    fn place(&mut self, path: &Path) -> Place {
        match path {
            Path::Attribute(name) => Place::Attribute(name),
            Path::Entry(key) => Place::Entry(self.key(key)),
            Path::Field(key, field) => Place::Field(self.key(key), field),
        }
    }

    fn key(&mut self, key: &EntryKey) -> Key {
        let EntryKey::Shared(lease_id) = key else { return Key::Exclusive };
        let known = self.keys.iter().position(|there| there == lease_id.as_str());
        Key::Shared(known.unwrap_or_else(|| {
            self.keys.push(lease_id.as_str().to_owned());
            self.keys.len() - 1
        }))
    }

    /// Returns the number of the placeholder for a value. Equal values share one.
    fn value(&mut self, value: &Value) -> usize {
        let value = item::attribute(value);
        self.values.iter().position(|there| *there == value).unwrap_or_else(|| {
            self.values.push(value);
            self.values.len() - 1
        })
    }
}

fn placeholder(at: usize) -> String {
    PLACEHOLDERS.get(at).map_or_else(|| format!(":{at}"), |&placeholder| placeholder.to_owned())
}

/// Returns the placeholder of the key of an entry. No attribute has this name.
pub(super) fn key_placeholder(at: usize) -> String {
    format!("#entry{at}")
}
