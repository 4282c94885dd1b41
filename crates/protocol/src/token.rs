//! Fencing tokens, record versions and lease IDs.

use std::fmt;
use std::str::FromStr;

/// Number of an acquisition of a lock. Each acquisition has a greater token than all earlier acquisitions of the same
/// lock, also after releases, crashes, takeovers and revocations. Only the deletion of the table ends this order.
///
/// A resource is protected from paused holders if it remembers the largest token that it has seen and rejects smaller
/// ones. Tokens stay below 2^53 until the year 2242, so that a JavaScript number can hold them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FencingToken(u64);

impl FencingToken {
    /// Upper bound of the tokens: 2^53 − 1. Rows with this token or a greater one are refused, because no greater token
    /// could follow.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// Creates a token from a number that was stored or sent before. Accepts any number.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// Returns the number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the token of the next acquisition.
    pub(crate) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for FencingToken {
    type Err = std::num::ParseIntError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.parse().map(Self)
    }
}

impl From<FencingToken> for u64 {
    fn from(token: FencingToken) -> u64 {
        token.0
    }
}

/// Version of a row. Every write sets a fresh random one; versions are only compared for equality.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordVersion(Box<str>);

/// Random ID of one acquisition of a lock, from the acquisition to its release.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(Box<str>);

macro_rules! nonce {
    ($name:ident) => {
        impl $name {
            /// Creates an ID from 128 random bits.
            pub fn from_random(bits: u128) -> Self {
                Self(format!("{bits:032x}").into())
            }

            /// Returns the text that is stored in the row.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }
    };
}
nonce!(RecordVersion);
nonce!(LeaseId);
