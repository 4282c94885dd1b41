use crate::store::{Op, OpKind, Target, Verdict};

/// Kind of an op, without its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum OpTag {
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
    ForceRevokeToken,
    /// [`OpKind::ForceRevoke`] by version.
    ForceRevokeVersion,
    /// [`OpKind::LegacyGet`].
    LegacyGet,
}

impl OpTag {
    /// All kinds.
    pub const ALL: [OpTag; 9] = [
        OpTag::Acquire,
        OpTag::TakeOver,
        OpTag::Renew,
        OpTag::Release,
        OpTag::RevokeToken,
        OpTag::RevokeVersion,
        OpTag::ForceRevokeToken,
        OpTag::ForceRevokeVersion,
        OpTag::LegacyGet,
    ];

    /// Returns the kind of an op.
    pub fn of(op: &Op) -> Self {
        match &op.kind {
            OpKind::Acquire(_) => OpTag::Acquire,
            OpKind::TakeOver { .. } => OpTag::TakeOver,
            OpKind::Renew { .. } => OpTag::Renew,
            OpKind::Release { .. } => OpTag::Release,
            OpKind::Revoke { target: Target::Token(_), .. } => OpTag::RevokeToken,
            OpKind::Revoke { target: Target::Version { .. }, .. } => OpTag::RevokeVersion,
            OpKind::ForceRevoke { target: Target::Token(_), .. } => OpTag::ForceRevokeToken,
            OpKind::ForceRevoke { target: Target::Version { .. }, .. } => OpTag::ForceRevokeVersion,
            OpKind::LegacyGet { .. } => OpTag::LegacyGet,
        }
    }
}

/// Kind of a [`Verdict`], without its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutcomeTag {
    /// [`Verdict::Applied`].
    Applied,
    /// [`Verdict::Conflict`].
    Conflict,
}

impl OutcomeTag {
    /// Returns the kind of a verdict.
    pub fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Applied(_) => OutcomeTag::Applied,
            Verdict::Conflict(_) => OutcomeTag::Conflict,
        }
    }
}
