use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::config::HOLD_MAX;
use crate::op::attr;
use crate::{FencingToken, LeaseId, Number, RecordVersion};

/// One attribute's value. Only strings and numbers mean anything to the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// A string.
    S(String),
    /// A number.
    N(Number),
    /// Any other type, as its JSON in DynamoDB's notation; carried along and never looked into.
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

/// A lock's row as it stands in a store: its attributes without the key. Anything can be in it, since others may write
/// to the same table; [`Row::state`] says what it means.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Row {
    attributes: BTreeMap<String, Value>,
}

/// What a readable row means.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RowState {
    /// Ours, and nobody's.
    Free,
    /// Ours, and held.
    Held(HeldRow),
    /// Written by the original npm `dynamo-lock`, or by someone who speaks its format.
    Legacy(LegacyRow),
}

/// A held native row, typed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeldRow {
    /// The record version.
    pub version: RecordVersion,
    /// Who began this reign.
    pub lease_id: LeaseId,
    /// Its fencing token.
    pub token: FencingToken,
    /// The holder's lease.
    pub lease: Duration,
    /// Epoch ms; with `service_timestamp` an upper bound of the lease's end on the service clock.
    pub expires_on: u64,
    /// Whether `expires_on` may be compared with service time.
    pub service_timestamp: bool,
}

/// A legacy row, typed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LegacyRow {
    /// The record version.
    pub version: RecordVersion,
    /// A token that an earlier native row left, if its writer carried it on.
    pub token: Option<FencingToken>,
    /// When its lock is over on its writer's wall clock, epoch ms; 0 where it does not say.
    pub expires_on: i64,
}

impl Row {
    /// From attributes, the key not among them.
    pub fn new(attributes: impl IntoIterator<Item = (String, Value)>) -> Self {
        Self { attributes: attributes.into_iter().collect() }
    }

    /// All attributes, in order of their names.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.attributes.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// One attribute.
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

    /// One attribute, if it is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Value::S(text)) => Some(text),
            _ => None,
        }
    }

    /// One attribute, if it is a number.
    pub fn number(&self, name: &str) -> Option<&Number> {
        match self.get(name) {
            Some(Value::N(number)) => Some(number),
            _ => None,
        }
    }

    /// One attribute, if it is a whole number.
    pub fn whole(&self, name: &str) -> Option<u64> {
        self.number(name).and_then(Number::whole)
    }

    /// The fencing token, if there is a readable one.
    pub fn token(&self) -> Option<FencingToken> {
        self.whole(attr::TOKEN).map(FencingToken::new).filter(|token| *token <= FencingToken::MAX)
    }

    /// The record version, if there is one.
    pub fn version(&self) -> Option<RecordVersion> {
        self.text(attr::GUID).map(RecordVersion::from)
    }

    /// Whether this is the reign named `lease_id`, held.
    pub(crate) fn has_lease_id(&self, lease_id: &LeaseId) -> bool {
        self.text(attr::LEASE_ID) == Some(lease_id.as_str()) && self.whole(attr::V) == Some(1)
    }

    /// Whether a native row says free.
    pub(crate) fn says_free(&self) -> bool {
        self.whole(attr::EXPIRES_ON) == Some(0)
    }

    /// What the row means.
    ///
    /// # Errors
    /// [`RowError`] if it is not a row that we may touch.
    pub fn state(&self) -> Result<RowState, RowError> {
        let version = self.version().ok_or(RowError::NotALock)?;
        let legacy = match self.get(attr::V) {
            None => true,
            Some(Value::N(v)) if v.whole() == Some(1) => false,
            Some(v) => return Err(RowError::UnknownVersion { v: show(v) }),
        };
        if let Some(kind) = self.get(attr::KIND) {
            return Err(RowError::UnknownKind { kind: show(kind) });
        }
        if legacy {
            return self.legacy(version).map(RowState::Legacy);
        }
        let lease_id = self.text(attr::LEASE_ID).ok_or(malformed(attr::LEASE_ID, "a string"))?;
        let token =
            self.token().filter(|t| t.get() > 0 && *t < FencingToken::MAX).ok_or(malformed(attr::TOKEN, TOKENS))?;
        let expires_on = self.whole(attr::EXPIRES_ON).ok_or(malformed(attr::EXPIRES_ON, "a whole number"))?;
        if expires_on == 0 {
            return Ok(RowState::Free);
        }
        let lease = self.whole(attr::LEASE_MS).map(Duration::from_millis);
        let lease = lease.filter(|l| !l.is_zero() && *l <= HOLD_MAX);
        let lease = lease.ok_or(malformed(attr::LEASE_MS, "from 1 to 2592000000 (30 days)"))?;
        let service_timestamp = self.text(attr::EXPIRY_CLOCK) == Some(attr::SERVICE_CLOCK);
        Ok(RowState::Held(HeldRow { version, lease_id: lease_id.into(), token, lease, expires_on, service_timestamp }))
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

/// The greatest token is none that a greater one could follow.
const TOKENS: &str = "a whole number from 1 to 2^53 - 2";

fn malformed(attribute: &'static str, expected: &'static str) -> RowError {
    RowError::Malformed { attribute, expected }
}

fn show(value: &Value) -> String {
    match value {
        Value::S(text) => format!("{text:?}"),
        Value::N(number) => number.to_string(),
        Value::Other(json) => json.clone(),
    }
}

/// Why a row is refused. It is never touched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RowError {
    /// There is a row of that name without `version`: somebody's data.
    NotALock,
    /// The row's format is not one that this version knows.
    UnknownVersion {
        /// What its `v` says.
        v: String,
    },
    /// The row belongs to a primitive that this version does not know.
    UnknownKind {
        /// What its `kind` says.
        kind: String,
    },
    /// An attribute that the protocol needs is missing, or is not what it must be.
    Malformed {
        /// Its name.
        attribute: &'static str,
        /// What it must be.
        expected: &'static str,
    },
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotALock => write!(
                f,
                "the row of this name has no `guid`, so it is not a lock but other data: \
                 use another lock name or a table of its own"
            ),
            Self::UnknownVersion { v } => {
                write!(f, "the row has format `v` = {v}, and this version knows 1: upgrade dynamo-lock here")
            }
            Self::UnknownKind { kind } => {
                write!(
                    f,
                    "the row is of `kind` {kind}, and this version knows only plain locks: upgrade dynamo-lock here"
                )
            }
            Self::Malformed { attribute, expected } => write!(
                f,
                "the row's `{attribute}` must be {expected}: somebody else wrote it; mend it, or delete the row while nobody holds the lock"
            ),
        }
    }
}

impl std::error::Error for RowError {}
