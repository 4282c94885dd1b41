use std::collections::BTreeMap;

use super::tag::{OpTag, OutcomeTag};
use crate::store::{Op, Verdict};

/// Number of generated ops of each kind with each verdict. A check without ops of some kind would check nothing there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    counts: BTreeMap<(OpTag, OutcomeTag), u64>,
}

impl Coverage {
    /// Counts one op.
    pub fn count(&mut self, op: &Op, verdict: &Verdict) {
        *self.counts.entry((OpTag::of(op), OutcomeTag::of(verdict))).or_default() += 1;
    }

    /// Returns the number of ops of this kind with this verdict.
    pub fn times(&self, op: OpTag, outcome: OutcomeTag) -> u64 {
        self.counts.get(&(op, outcome)).copied().unwrap_or(0)
    }

    /// Returns all pairs of op and verdict that can occur: each kind of op can be applied or conflict.
    pub fn reachable() -> impl Iterator<Item = (OpTag, OutcomeTag)> {
        OpTag::ALL.into_iter().flat_map(|op| [(op, OutcomeTag::Applied), (op, OutcomeTag::Conflict)])
    }

    /// Checks that all reachable pairs have occurred.
    ///
    /// # Errors
    /// A text that lists the missing pairs.
    pub fn complete(&self) -> Result<(), String> {
        let missed: Vec<_> = Self::reachable().filter(|(op, outcome)| self.times(*op, *outcome) == 0).collect();
        if missed.is_empty() {
            return Ok(());
        }
        Err(format!("these never occurred: {missed:?}; raise Options::cases"))
    }
}
