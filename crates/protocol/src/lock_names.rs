//! [`LockNames`]: the names of the locks that are acquired together.

use std::fmt;
use std::sync::Arc;

use crate::{LockName, NameError};

/// Maximum number of locks that are acquired together.
pub const LOCKS_MAX: usize = 32;

/// Names of 1 to 32 different locks, sorted byte by byte. Clones share their names.
///
/// All clients acquire several locks in this order, so that no two of them wait for each other for ever.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LockNames(Arc<[LockName]>);

impl LockNames {
    /// Checks and sorts the names.
    ///
    /// # Errors
    /// [`LockNamesError`] if a name is invalid or occurs twice, or if there are none or more than 32.
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, LockNamesError> {
        let mut sorted = Vec::new();
        for name in names {
            sorted.push(LockName::new(name).map_err(LockNamesError::Name)?);
        }
        if sorted.is_empty() {
            return Err(LockNamesError::Empty);
        }
        if sorted.len() > LOCKS_MAX {
            return Err(LockNamesError::TooMany { count: sorted.len() });
        }
        sorted.sort();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(LockNamesError::Duplicate { name: pair[0].clone() }),
            None => Ok(Self(sorted.into())),
        }
    }

    /// Returns the names in their order.
    pub fn as_slice(&self) -> &[LockName] {
        &self.0
    }
}

/// Error returned for names of locks that cannot be acquired together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockNamesError {
    /// There is no name.
    Empty,
    /// There are more than 32 names.
    TooMany {
        /// Number of names.
        count: usize,
    },
    /// A name occurs twice.
    Duplicate {
        /// The name.
        name: LockName,
    },
    /// A name is invalid.
    Name(NameError),
}

impl fmt::Display for LockNamesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("cannot acquire several locks: no name is given; give at least one"),
            Self::TooMany { count } => write!(
                f,
                "cannot acquire {count} locks together: at most {LOCKS_MAX} are possible; use one lock for several \
                 resources"
            ),
            Self::Duplicate { name } => {
                write!(f, "cannot acquire lock {:?} twice: locks are not reentrant; name it once", name.as_str())
            }
            Self::Name(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LockNamesError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Name(error) => Some(error),
            _ => None,
        }
    }
}
