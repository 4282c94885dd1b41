use std::collections::BTreeMap;

use crate::store::{Kind, Op, OpKind, Target, Verdict};

/// Result of a check. The error describes the deviation.
pub(super) type CheckResult = Result<(), String>;

/// Kinds of ops, as [`kind`] returns them.
const KINDS: &str = "Acquire|TakeOver|StartAnew|Renew|HandOver|Finish|Release|Reset|RevokeToken|RevokeVersion|\
    ForceRevokeToken|ForceRevokeVersion|LegacyGet|create shared|create exclusive|join|take exclusive|announce|promote|\
    renew shared|renew exclusive|renew announcement|leave shared|leave exclusive|withdraw|evict shared|evict exclusive|\
    evict announcement|revoke shared|revoke exclusive|revoke announcement|force out shared|force out exclusive|\
    force out announcement|convert to shared|convert to plain|convert to once";

/// Kind of an op, and the name of its verdict.
type Outcome = (&'static str, &'static str);

/// Number of generated ops of each kind with each verdict. A check without ops of some kind would check nothing there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    counts: BTreeMap<Outcome, u64>,
}

impl Coverage {
    /// Counts one op.
    pub fn count(&mut self, op: &Op, verdict: &Verdict) {
        let verdict = if matches!(verdict, Verdict::Applied(_)) { "Applied" } else { "Conflict" };
        *self.counts.entry((kind(op), verdict)).or_default() += 1;
    }

    /// Returns the outcomes that have occurred less than `times` times. Each kind of op can be applied or conflict.
    pub fn rarer_than(&self, times: u64) -> Vec<Outcome> {
        let outcomes = KINDS.split('|').flat_map(|kind| [(kind, "Applied"), (kind, "Conflict")]);
        outcomes.filter(|outcome| self.counts.get(outcome).is_none_or(|count| *count < times)).collect()
    }

    /// Checks that every outcome has occurred.
    pub(super) fn complete(&self) -> CheckResult {
        let missed = self.rarer_than(1);
        if missed.is_empty() { Ok(()) } else { Err(format!("these never occurred: {missed:?}; raise Options::cases")) }
    }
}

fn kind(op: &Op) -> &'static str {
    match &op.kind {
        OpKind::Acquire(_) => "Acquire",
        OpKind::TakeOver { .. } => "TakeOver",
        OpKind::StartAnew { .. } => "StartAnew",
        OpKind::Renew { .. } => "Renew",
        OpKind::HandOver { .. } => "HandOver",
        OpKind::Finish { .. } => "Finish",
        OpKind::Release { .. } => "Release",
        OpKind::Reset { .. } => "Reset",
        OpKind::Revoke { target: Target::Token(_), .. } => "RevokeToken",
        OpKind::Revoke { target: Target::Version { .. }, .. } => "RevokeVersion",
        OpKind::ForceRevoke { target: Target::Token(_), .. } => "ForceRevokeToken",
        OpKind::ForceRevoke { target: Target::Version { .. }, .. } => "ForceRevokeVersion",
        OpKind::LegacyGet { .. } => "LegacyGet",
        OpKind::Shared(write) => write.name(),
        OpKind::Convert(_) if op.row_kind.is_shared() => "convert to shared",
        OpKind::Convert(_) if op.row_kind == Kind::Once => "convert to once",
        OpKind::Convert(_) => "convert to plain",
    }
}
