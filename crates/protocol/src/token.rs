//! Fencing tokens, record versions and lease IDs.

use std::fmt;
use std::str::FromStr;

/// Fencing token of an acquisition. It is greater than the tokens of all earlier acquisitions of the same lock, across
/// releases, crashes and takeovers.
///
/// A resource that rejects tokens smaller than the largest one that it has seen is protected against paused holders.
/// Tokens are below 2^53 until the year 2242, so they fit a JavaScript number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FencingToken(u64);

impl FencingToken {
    /// Largest token: 2^53 − 1. A row with a larger one was not written by this protocol and is refused.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// Creates a token with this value, for example from one that was stored before.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// Returns the value.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the token floor of a time in seconds: the first token of a row is greater. It is seconds × 2^20, so that a
    /// row that is created anew continues above the old one, unless that was acquired a million times per second.
    pub(crate) const fn token_floor(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1 << 20))
    }

    /// Returns the next token.
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

/// Record version: a random value that is fresh for every operation that writes. Only its equality matters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordVersion(pub(crate) String);

/// Lease ID: a random value that identifies one acquisition, from its first write to its release.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub(crate) String);

macro_rules! nonce {
    ($name:ident) => {
        impl $name {
            /// Creates a value from 128 random bits.
            pub fn from_random(bits: u128) -> Self {
                Self(format!("{bits:032x}"))
            }

            /// Returns the text that rows contain.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}
nonce!(RecordVersion);
nonce!(LeaseId);
