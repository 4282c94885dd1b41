//! [`LockName`]: a valid name of a lock.

use std::fmt;
use std::sync::Arc;

/// Maximum length of a lock name in bytes. This is DynamoDB's limit for a partition key.
pub const NAME_MAX: usize = 2048;

/// Name of a lock: 1 to 2,048 bytes of UTF-8 without control characters. Names are compared byte by byte. Clones share
/// their text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LockName(Arc<str>);

impl LockName {
    /// Creates a name.
    ///
    /// # Errors
    /// [`NameError`] if the name is empty, too long, or contains a control character.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > NAME_MAX {
            return Err(NameError::TooLong { bytes: name.len() });
        }
        match name.char_indices().find(|(_, c)| c.is_control()) {
            Some((at, c)) => Err(NameError::ControlCharacter { at, code: c as u32 }),
            None => Ok(Self(name.into())),
        }
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Error returned for an invalid lock name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// The name is empty.
    Empty,
    /// The name is longer than [`NAME_MAX`] bytes.
    TooLong {
        /// Length of the name in bytes.
        bytes: usize,
    },
    /// The name contains a control character.
    ControlCharacter {
        /// Byte position of the first control character.
        at: usize,
        /// Code point of that character.
        code: u32,
    },
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => {
                write!(f, "a lock name must not be empty: choose a name for the task that the lock protects")
            }
            Self::TooLong { bytes } => {
                write!(f, "a lock name has at most {NAME_MAX} bytes, this one has {bytes}: use a shorter one or a hash")
            }
            Self::ControlCharacter { at, code } => {
                write!(f, "a lock name has no control characters, this one has U+{code:04X} at byte {at}: remove it")
            }
        }
    }
}

impl std::error::Error for NameError {}
