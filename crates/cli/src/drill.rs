//! [`Drill`]: a rehearsal of the loss of a lock, as `run --drill` names it.

use std::{fmt, time::Duration};

use crate::{ui::format, values};

/// Time after the acquisition at which a loss is rehearsed, unless one is given.
const DEFAULT_TIME: Duration = Duration::from_secs(10);

/// A rehearsal of the loss of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drill {
    /// No renewal succeeds, so that the grace begins this time after the acquisition.
    Lost(Duration),
    /// An operator revokes the acquisition after this time.
    Revoked(Duration),
    /// The store answers no request in time until the command has ended.
    SlowStore,
}

impl Drill {
    /// Parses `lost`, `revoked`, each with an optional time such as `lost@30s`, or `slow-store`.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (kind, time) = text.split_once('@').map_or((text, None), |(kind, time)| (kind, Some(time)));
        let time = time.map(values::duration).transpose()?;
        match (kind, time) {
            ("lost", time) => Ok(Self::Lost(time.unwrap_or(DEFAULT_TIME))),
            ("revoked", time) => Ok(Self::Revoked(time.unwrap_or(DEFAULT_TIME))),
            ("slow-store", None) => Ok(Self::SlowStore),
            _ => Err("expected lost or revoked, with or without a time such as lost@30s, or slow-store"),
        }
    }

    /// Returns the time after the acquisition at which the loss begins, if that is not left to the lease.
    pub fn time(&self) -> Option<Duration> {
        match self {
            Self::Lost(time) | Self::Revoked(time) => Some(*time),
            Self::SlowStore => None,
        }
    }
}

impl fmt::Display for Drill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(time) => write!(f, "lost@{}", format::given(*time)),
            Self::Revoked(time) => write!(f, "revoked@{}", format::given(*time)),
            Self::SlowStore => f.write_str("slow-store"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drill_is_parsed_and_printed_in_the_same_form() {
        for text in ["lost@30s", "lost@250ms", "revoked@0ns", "slow-store"] {
            assert_eq!(Drill::parse(text).map(|drill| drill.to_string()).as_deref(), Ok(text));
        }
        assert_eq!(Drill::parse("lost"), Ok(Drill::Lost(DEFAULT_TIME)));
        assert_eq!(Drill::parse("revoked"), Drill::parse("revoked@10"));
        for wrong in ["", "lost@", "lost@x", "slow-store@3s", "slow", "Lost", "@3s"] {
            assert!(Drill::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
