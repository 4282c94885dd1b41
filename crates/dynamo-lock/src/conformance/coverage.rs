use std::collections::BTreeMap;

use crate::store::{Op, OpKind, Target, Verdict};

/// What an op does, without its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Feat {
    /// [`OpKind::Acquire`].
    Acquire,
    /// [`OpKind::TakeOver`].
    TakeOver,
    /// [`OpKind::Renew`].
    Renew,
    /// [`OpKind::Release`].
    Release,
    /// [`OpKind::Revoke`] by token.
    RevokeToken,
    /// [`OpKind::Revoke`] by version.
    RevokeVersion,
    /// [`OpKind::ForceRevoke`] by token.
    FreeToken,
    /// [`OpKind::ForceRevoke`] by version.
    FreeVersion,
    /// [`OpKind::LegacyGet`].
    LegacyGet,
}

impl Feat {
    /// All of them.
    pub const ALL: [Feat; 9] = [
        Feat::Acquire,
        Feat::TakeOver,
        Feat::Renew,
        Feat::Release,
        Feat::RevokeToken,
        Feat::RevokeVersion,
        Feat::FreeToken,
        Feat::FreeVersion,
        Feat::LegacyGet,
    ];

    /// What this op does.
    pub fn of(op: &Op) -> Self {
        match &op.kind {
            OpKind::Acquire(_) => Feat::Acquire,
            OpKind::TakeOver { .. } => Feat::TakeOver,
            OpKind::Renew { .. } => Feat::Renew,
            OpKind::Release { .. } => Feat::Release,
            OpKind::Revoke { target: Target::Token(_), .. } => Feat::RevokeToken,
            OpKind::Revoke { target: Target::Version { .. }, .. } => Feat::RevokeVersion,
            OpKind::ForceRevoke { target: Target::Token(_), .. } => Feat::FreeToken,
            OpKind::ForceRevoke { target: Target::Version { .. }, .. } => Feat::FreeVersion,
            OpKind::LegacyGet { .. } => Feat::LegacyGet,
        }
    }
}

/// A [`Verdict`] without its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Said {
    /// [`Verdict::Applied`].
    Applied,
    /// [`Verdict::Conflict`].
    Conflict,
}

impl Said {
    /// What this verdict says.
    pub fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Applied(_) => Said::Applied,
            Verdict::Conflict(_) => Said::Conflict,
        }
    }
}

/// How often each kind of op met each verdict: a generator that misses one checks nothing there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    counts: BTreeMap<(Feat, Said), u64>,
}

impl Coverage {
    /// Counts one op.
    pub fn count(&mut self, op: &Op, verdict: &Verdict) {
        *self.counts.entry((Feat::of(op), Said::of(verdict))).or_default() += 1;
    }

    /// How often this kind of op met this verdict.
    pub fn times(&self, feat: Feat, said: Said) -> u64 {
        self.counts.get(&(feat, said)).copied().unwrap_or(0)
    }

    /// What can be met at all: every kind of op meets both.
    pub fn reachable() -> impl Iterator<Item = (Feat, Said)> {
        Feat::ALL.into_iter().flat_map(|feat| [(feat, Said::Applied), (feat, Said::Conflict)])
    }

    /// Whether all that is reachable was met.
    ///
    /// # Errors
    /// What was not.
    pub fn complete(&self) -> Result<(), String> {
        let missed: Vec<_> = Self::reachable().filter(|(feat, said)| self.times(*feat, *said) == 0).collect();
        if missed.is_empty() {
            return Ok(());
        }
        Err(format!("never met: {missed:?}; raise Options::cases"))
    }
}
