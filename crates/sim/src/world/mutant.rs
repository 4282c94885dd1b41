//! Faults put into the protocol on purpose: a simulator that finds nothing in them would find nothing at all.

use std::str::FromStr;

use dynamo_lock_protocol::{Change, Condition, Op, OpKind, Outcome, Row, Value, Verdict, apply, attr, holds};

/// One broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A renewal does not ask for a smaller `beat`.
    NoBeat,
    /// A takeover does not ask for the record version that was watched.
    NoSeenGuid,
    /// A release does not ask whose reign it is.
    NoReleaseOwner,
    /// A renewal does not ask whether the lock is still held.
    NoStillHeld,
    /// An acquire may take a free row that its own release has left.
    NoSpentNonce,
    /// Renewals keep the record version.
    ConstantGuid,
    /// The token stays what it was.
    SameToken,
    /// A revocation frees the lock.
    RevokeFrees,
    /// Holders count from the answer.
    AnswerTimed,
    /// The service's dates are ten seconds fast here and slow there: outside A4.
    WildDates,
    /// Lease clocks run wrong by 8 %: outside A2.
    WildClocks,
}

impl Mutant {
    pub const ALL: [(&'static str, Mutant); 11] = [
        ("no-beat", Self::NoBeat),
        ("no-seen-guid", Self::NoSeenGuid),
        ("no-release-owner", Self::NoReleaseOwner),
        ("no-still-held", Self::NoStillHeld),
        ("no-spent-nonce", Self::NoSpentNonce),
        ("constant-guid", Self::ConstantGuid),
        ("same-token", Self::SameToken),
        ("revoke-frees", Self::RevokeFrees),
        ("answer-timed", Self::AnswerTimed),
        ("wild-dates", Self::WildDates),
        ("wild-clocks", Self::WildClocks),
    ];

    fn condition(self, op: &Op) -> Condition {
        let without = |attribute: &str| without(op.condition(), attribute);
        match (self, &op.kind) {
            (Self::NoBeat, OpKind::Renew { .. }) => without(attr::BEAT),
            (Self::NoSeenGuid, OpKind::TakeOver { .. }) => without(attr::GUID),
            (Self::NoReleaseOwner, OpKind::Release { .. }) => match without(attr::REIGN) {
                Condition::All(mut all) => {
                    all.retain(|part| !names(part, attr::TOKEN));
                    Condition::All(all)
                }
                other => other,
            },
            // A free row has no `beat`: while a renewal compares it, it cannot land there either.
            (Self::NoStillHeld, OpKind::Renew { .. }) => self::without(without(attr::EXPIRES_ON), attr::BEAT),
            (Self::NoSpentNonce, OpKind::Acquire(_)) => match op.condition() {
                Condition::Any(any) => {
                    Condition::Any(any.into_iter().map(|part| self::without(part, attr::REIGN)).collect())
                }
                other => other,
            },
            _ => op.condition(),
        }
    }

    fn change(self, op: &Op, change: &Change) -> bool {
        let renewal = matches!(op.kind, OpKind::Renew { .. });
        let acquisition = matches!(op.kind, OpKind::Acquire(_) | OpKind::TakeOver { .. });
        match change {
            Change::Set(attr::GUID, _) => !(self == Self::ConstantGuid && renewal),
            Change::Next(..) => !(self == Self::SameToken && acquisition),
            _ => true,
        }
    }
}

impl FromStr for Mutant {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(|(name, _)| name).join(", ");
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, mutant)| *mutant).ok_or_else(|| format!("no mutant {name:?}; there are {}", names()))
    }
}

fn names(condition: &Condition, attribute: &str) -> bool {
    match condition {
        Condition::Missing(name)
        | Condition::Equals(name, _)
        | Condition::Differs(name, _)
        | Condition::Below(name, _)
        | Condition::Above(name, _) => *name == attribute,
        Condition::All(_) | Condition::Any(_) => false,
    }
}

fn without(condition: Condition, attribute: &str) -> Condition {
    match condition {
        Condition::All(mut all) => {
            all.retain(|part| !names(part, attribute));
            Condition::All(all)
        }
        other => other,
    }
}

/// The meaning of an op, with the mutant's fault in it.
pub fn apply_as(mutant: Option<Mutant>, row: Option<&Row>, op: &Op) -> Outcome {
    let Some(mutant) = mutant else {
        return match apply(row, op) {
            Verdict::Applied(row) => Outcome::Applied(row),
            Verdict::Conflict(row) => Outcome::Conflict(row),
        };
    };
    if !holds(row, &mutant.condition(op)) {
        return Outcome::Conflict(row.cloned());
    }
    let mut next = row.cloned().unwrap_or_default();
    for change in op.changes().into_iter().filter(|change| mutant.change(op, change) || row.is_none()) {
        match change {
            Change::Set(name, value) => next.set(name, value),
            Change::Remove(name) => next.remove(name),
            Change::Replace(row) => next = row,
            Change::Next(name, seed) => {
                let value = next.whole(name).unwrap_or(seed) + 1;
                next.set(name, Value::from(value));
            }
        }
    }
    if mutant == Mutant::RevokeFrees && matches!(op.kind, OpKind::Revoke { .. }) {
        next.set(attr::EXPIRES_ON, 0.into());
    }
    Outcome::Applied(next)
}
