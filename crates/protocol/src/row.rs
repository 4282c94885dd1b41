//! The row of a lock, and its interpretation.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{FencingToken, HOLD_MAX, Kind, LeaseId, Now, Number, Path, RecordVersion, RowError, Success, attr};

/// Value of an attribute, or of a part of a map.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// A string.
    S(String),
    /// A number.
    N(Number),
    /// A truth value.
    Bool(bool),
    /// A map.
    Map(BTreeMap<String, Value>),
    /// A value of any other type, as JSON in DynamoDB's notation. It is preserved and never interpreted.
    Other(String),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::N(value.into())
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::S(value.to_owned())
    }
}

/// The row of a lock as a store returns it: all attributes except the key.
///
/// A row can contain anything, because other programs may write to the same table. Use [`Row::state`] to interpret it.
///
/// A row has a **service timestamp** if its `expiresOn` is an upper bound of the lease's end on the service clock. Then
/// `expiryClock` is `service`. Without a service timestamp, `expiresOn` comes from the writer's wall clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Row {
    attributes: BTreeMap<String, Value>,
}

/// Meaning of a readable row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RowState {
    /// Native format, not held.
    Free,
    /// Native format, held.
    Held(HeldRow),
    /// Native format. The work has succeeded.
    Done(DoneRow),
    /// Format of npm dynamo-lock.
    Legacy(LegacyRow),
}

/// Parsed attributes of a held row in the native format.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeldRow {
    /// Record version.
    pub version: RecordVersion,
    /// Lease ID of the acquisition.
    pub lease_id: LeaseId,
    /// Fencing token of the holder.
    pub token: FencingToken,
    /// Lease of the holder.
    pub lease: Duration,
    /// End of the lease, in milliseconds since 1970.
    pub expires_on: u64,
    /// Whether `expires_on` is a service timestamp, so that it may be compared with service time.
    pub service_timestamp: bool,
}

/// Parsed attributes of a finished row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DoneRow {
    /// Record version.
    pub version: RecordVersion,
    /// The success.
    pub success: Success,
    /// Time after which the success does not count any more, in milliseconds since 1970.
    pub until_ms: Option<u64>,
}

impl DoneRow {
    /// Returns whether the success counts, so that the work does not run again. It counts for as long as the service
    /// clock, or the wall clock where there is none, may not have passed its end.
    pub fn counts(&self, now: &Now<'_>) -> bool {
        let time = match now.service {
            Some(_) => now.service_interval().map(|(lower, _)| lower),
            None => Some(now.at.wall_ms),
        };
        self.until_ms.zip(time).is_none_or(|(until, time)| time <= until)
    }
}

/// Parsed attributes of a row in the format of npm dynamo-lock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LegacyRow {
    /// Record version.
    pub version: RecordVersion,
    /// Token of an earlier native row, if the writer preserved it.
    pub token: Option<FencingToken>,
    /// End of the lock on the writer's wall clock, in milliseconds since 1970. 0 if it is missing or not a number.
    pub expires_on: i64,
}

impl Row {
    /// Creates a row from its attributes, without the key.
    pub fn new(attributes: impl IntoIterator<Item = (String, Value)>) -> Self {
        Self { attributes: attributes.into_iter().collect() }
    }

    /// Returns all attributes, ordered by name.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.attributes.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Returns one attribute.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.attributes.get(name)
    }

    /// Sets one attribute.
    pub fn set(&mut self, name: &str, value: Value) {
        self.attributes.insert(name.to_owned(), value);
    }

    /// Removes one attribute.
    pub fn remove(&mut self, name: &str) {
        self.attributes.remove(name);
    }

    /// Returns the value at this place.
    pub fn at(&self, path: &Path) -> Option<&Value> {
        let mut names = path.names();
        let first = self.attributes.get(names.next()?);
        names.fold(first, |value, name| match value {
            Some(Value::Map(map)) => map.get(name),
            _ => None,
        })
    }

    /// Sets the value at this place. Returns whether that is possible, because the map around it exists.
    pub(crate) fn set_at(&mut self, path: &Path, value: Value) -> bool {
        let map = self.around(path);
        map.map(|(map, last)| map.insert(last.to_owned(), value)).is_some()
    }

    /// Removes the value at this place. Returns whether that is possible, because the map around it exists.
    pub(crate) fn remove_at(&mut self, path: &Path) -> bool {
        let map = self.around(path);
        map.map(|(map, last)| map.remove(last)).is_some()
    }

    /// Returns the map that contains the value at this place, and the name of the value in it.
    fn around<'p>(&mut self, path: &'p Path) -> Option<(&mut BTreeMap<String, Value>, &'p str)> {
        let mut names = path.names();
        let (mut map, mut last) = (&mut self.attributes, names.next()?);
        for name in names {
            let Some(Value::Map(inner)) = map.get_mut(last) else { return None };
            (map, last) = (inner, name);
        }
        Some((map, last))
    }

    /// Returns one attribute if it is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        if let Some(Value::S(text)) = self.get(name) { Some(text) } else { None }
    }

    /// Returns one attribute if it is a number.
    pub fn number(&self, name: &str) -> Option<&Number> {
        if let Some(Value::N(number)) = self.get(name) { Some(number) } else { None }
    }

    /// Returns one attribute if it is a whole number from 0 to 2^64 − 1.
    pub fn whole(&self, name: &str) -> Option<u64> {
        self.number(name).and_then(Number::whole)
    }

    /// Returns the fencing token if it is a whole number of at most [`FencingToken::MAX`].
    pub fn token(&self) -> Option<FencingToken> {
        self.whole(attr::TOKEN).map(FencingToken::new).filter(|token| *token <= FencingToken::MAX)
    }

    /// Returns the record version if there is one.
    pub fn version(&self) -> Option<RecordVersion> {
        self.text(attr::GUID).map(RecordVersion::from)
    }

    /// Returns whether the row has this record version.
    pub(crate) fn has_version(&self, version: &RecordVersion) -> bool {
        self.text(attr::GUID) == Some(version.as_str())
    }

    /// Returns whether the last acquisition of this row has this lease ID.
    pub(crate) fn has_lease_id(&self, lease_id: &LeaseId) -> bool {
        self.text(attr::LEASE_ID) == Some(lease_id.as_str()) && self.whole(attr::V) == Some(1)
    }

    /// Returns whether the row has a service timestamp.
    pub(crate) fn has_service_timestamp(&self) -> bool {
        self.text(attr::EXPIRY_CLOCK) == Some(attr::SERVICE_CLOCK)
    }

    /// Returns whether a row in the native format is not held.
    pub(crate) fn is_free(&self) -> bool {
        self.whole(attr::EXPIRES_ON) == Some(0)
    }

    /// Returns the meaning of the row for a client that uses it as a lock of this kind.
    ///
    /// # Errors
    /// Same as [`state`](Self::state), and [`RowError::OtherKind`] if the row is of another kind.
    pub fn state_for(&self, requested: Kind) -> Result<RowState, RowError> {
        self.check_format()?;
        match self.kind()? {
            found if found == requested => self.state(),
            found => Err(RowError::OtherKind { found, requested }),
        }
    }

    /// Returns the meaning of the row.
    ///
    /// # Errors
    /// [`RowError`] if the row is not a lock or cannot be interpreted. Such a row must not be written to.
    pub fn state(&self) -> Result<RowState, RowError> {
        let (version, legacy) = self.check_format()?;
        let found = self.kind()?;
        if found.is_shared() {
            return Err(RowError::OtherKind { found, requested: Kind::Mutex });
        }
        if legacy && found != Kind::Mutex {
            return Err(malformed(attr::V, "1 in a row with a `kind`"));
        }
        if legacy {
            return self.legacy(version).map(RowState::Legacy);
        }
        if self.get(attr::LEASE_ID).is_none() && self.get(attr::UNRELEASED_LEASE_ID).is_some() {
            return Err(RowError::UnreleasedFormat);
        }
        let lease_id = self.text(attr::LEASE_ID).ok_or(malformed(attr::LEASE_ID, "a string"))?;
        let token = self.usable_token()?;
        let expires_on = self.whole(attr::EXPIRES_ON).ok_or(malformed(attr::EXPIRES_ON, "a whole number"))?;
        if found == Kind::Once && self.get(attr::DONE_TOKEN).is_some() {
            return self.done(version, token).map(RowState::Done);
        }
        if expires_on == 0 {
            return Ok(RowState::Free);
        }
        let lease = self.whole(attr::LEASE_MS).map(Duration::from_millis);
        let lease = lease.filter(|l| !l.is_zero() && *l <= HOLD_MAX);
        let lease = lease.ok_or(malformed(attr::LEASE_MS, "from 1 to 2592000000 (30 days)"))?;
        let service_timestamp = self.has_service_timestamp();
        Ok(RowState::Held(HeldRow { version, lease_id: lease_id.into(), token, lease, expires_on, service_timestamp }))
    }

    fn done(&self, version: RecordVersion, token: FencingToken) -> Result<DoneRow, RowError> {
        if self.whole(attr::DONE_TOKEN) != Some(token.get()) {
            return Err(malformed(attr::DONE_TOKEN, "equal to `token`"));
        }
        let until_ms = match self.get(attr::DONE_UNTIL) {
            None => None,
            Some(_) => Some(self.whole(attr::DONE_UNTIL).ok_or(malformed(attr::DONE_UNTIL, "a whole number"))?),
        };
        Ok(DoneRow { version, success: Success::of(self, token), until_ms })
    }

    /// Returns the record version, and whether the row has the format of npm dynamo-lock.
    pub(crate) fn check_format(&self) -> Result<(RecordVersion, bool), RowError> {
        let version = self.version().ok_or(RowError::NotALock)?;
        match self.get(attr::V) {
            None => Ok((version, true)),
            Some(Value::N(v)) if v.whole() == Some(1) => Ok((version, false)),
            Some(v) => Err(RowError::UnknownVersion { v: show(v) }),
        }
    }

    /// Returns the kind of the row.
    ///
    /// # Errors
    /// [`RowError::UnknownKind`] if this version does not know its kind.
    pub fn kind(&self) -> Result<Kind, RowError> {
        let kind = self.get(attr::KIND);
        Kind::of(kind).ok_or_else(|| RowError::UnknownKind { kind: kind.map(show).unwrap_or_default() })
    }

    /// Returns the token if a greater one can follow.
    pub(crate) fn usable_token(&self) -> Result<FencingToken, RowError> {
        self.token().filter(|t| t.get() > 0 && *t < FencingToken::MAX).ok_or(malformed(attr::TOKEN, TOKENS))
    }

    fn legacy(&self, version: RecordVersion) -> Result<LegacyRow, RowError> {
        let token = match self.get(attr::TOKEN) {
            None => None,
            Some(_) => Some(self.token().filter(|t| *t < FencingToken::MAX).ok_or(malformed(attr::TOKEN, TOKENS))?),
        };
        let expires_on = self.number(attr::EXPIRES_ON).and_then(Number::parse_int).unwrap_or(0);
        Ok(LegacyRow { version, token, expires_on })
    }
}

/// Range of tokens that a row may contain. The greatest token is excluded, because no greater one could follow it.
const TOKENS: &str = "a whole number from 1 to 2^53 - 2";

/// Returns the error of a row with a malformed attribute.
pub(crate) fn malformed(attribute: &'static str, expected: &'static str) -> RowError {
    RowError::Malformed { attribute, expected }
}

/// Number of characters of a foreign value that an error contains.
const SHOWN_MAX: usize = 64;

/// Returns the beginning of a value, because it may have 400 KB.
fn show(value: &Value) -> String {
    let (text, quote) = match value {
        Value::S(text) => (text.as_str(), "\""),
        Value::N(number) => return number.to_string(),
        Value::Bool(value) => return value.to_string(),
        Value::Map(_) => return "(a map)".to_owned(),
        Value::Other(json) => (json.as_str(), ""),
    };
    let escaped = |c: char| if quote.is_empty() { c.to_string() } else { c.escape_debug().to_string() };
    let mut shown: String = text.chars().take(SHOWN_MAX).map(escaped).collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    format!("{quote}{shown}{quote}")
}
