use std::fmt;
use std::str::FromStr;

/// A lock's fencing token: strictly increases along its acquisitions, across releases, crashes and takeovers.
/// A resource that remembers the largest token it has seen, and refuses smaller ones, is safe from paused holders.
/// Below 2^53 until the year 2242, so it fits a JavaScript number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FencingToken(u64);

impl FencingToken {
    /// The largest that a row may have: 2^53 − 1. A larger one was not written by this protocol, and is refused.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// A token of this value: for one that was stored or sent before.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// What a first token follows on: whole seconds × 2^20, so that a row created anew counts on above the old one
    /// unless that was acquired more than a million times a second.
    pub(crate) const fn token_floor(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1 << 20))
    }

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

/// A record version: fresh for every operation that writes, compared for equality only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordVersion(pub(crate) String);

/// The nonce of an acquiring operation, which names the reign that it begins.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub(crate) String);

macro_rules! nonce {
    ($name:ident) => {
        impl $name {
            /// From 128 random bits.
            pub fn from_random(bits: u128) -> Self {
                Self(format!("{bits:032x}"))
            }

            /// The nonce as the row has it.
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
