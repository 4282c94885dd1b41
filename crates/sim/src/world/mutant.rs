//! Faults put into the table's meaning and into the world on purpose: a simulator that finds nothing in them would find
//! nothing at all. Faults in the machines and the drive loop are made from outside, in a copy of their source: `xtask`.

use std::fmt;
use std::str::FromStr;

use dynamo_lock_protocol::{Change, Condition, Op, OpKind, Outcome, Row, Value, Verdict, apply, attr, holds};

/// One broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A write of this kind does not ask for this attribute.
    Drop(&'static str, &'static str),
    /// A renewal, a release, a user's own transaction asks for neither reign nor token.
    DropOwner(&'static str),
    /// A renewal asks neither whether the lock is held, nor for a smaller `renewal_seq`, which a free row has not.
    DropStillHeld,
    /// A change that is left out, or made otherwise.
    Change(&'static str),
    /// Holders count from the answer.
    AnswerTimed,
    /// The service's dates are ten seconds fast here and slow there: outside A4.
    WildDates,
    /// Lease clocks run wrong by 8 %: outside A2.
    WildClocks,
    /// The store answers now and then, and has written nothing.
    Forgets,
}

/// Every conjunct of §3's table: what an op asks for, by its kind.
const ASKED: &[(&str, &[&str])] = &[
    ("acquire", &[attr::V, attr::KIND, attr::GUID, attr::EXPIRES_ON, attr::TOKEN, attr::LEASE_ID]),
    ("take-over", &[attr::GUID, attr::TOKEN]),
    ("renew", &[attr::V, attr::LEASE_ID, attr::TOKEN, attr::EXPIRES_ON, attr::RENEWAL_SEQ]),
    ("release", &[attr::V, attr::LEASE_ID, attr::TOKEN, attr::EXPIRES_ON]),
    ("clean-up", &[attr::V, attr::LEASE_ID, attr::EXPIRES_ON]),
    ("revoke", &[attr::V, attr::KIND, attr::GUID, attr::TOKEN, attr::EXPIRES_ON]),
    ("force-free", &[attr::V, attr::KIND, attr::GUID, attr::TOKEN, attr::EXPIRES_ON]),
    ("legacy-get", &[attr::GUID, attr::TOKEN]),
    (CHECK, &[attr::V, attr::LEASE_ID, attr::TOKEN, attr::EXPIRES_ON]),
];
/// The condition that a user's own transaction carries.
pub const CHECK: &str = "check";

/// Changes that are left out, or made otherwise.
const CHANGES: &[&str] = &[
    "renew-same-guid",
    "take-over-same-guid",
    "release-same-guid",
    "revoke-same-guid",
    "same-token",
    "token-restarts",
    "renew-old-lease",
    "renew-old-end",
    "stamp-stays",
    "always-stamped",
    "release-holds",
    "release-keeps-token-not",
    "revoke-frees",
    "revoke-unmarked",
    "revoke-same-reign",
    "mark-stays",
    "purge-at-once",
    "legacy-drops-token",
    "legacy-drops-data",
];

impl Mutant {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let drops = ASKED.iter().flat_map(|(kind, names)| names.iter().map(|name| Self::Drop(kind, name)));
        let owners = ["renew", "release", CHECK].map(Self::DropOwner);
        let changes = CHANGES.iter().map(|name| Self::Change(name));
        let world = [Self::AnswerTimed, Self::WildDates, Self::WildClocks, Self::Forgets];
        drops.chain(owners).chain([Self::DropStillHeld]).chain(changes).chain(world).collect()
    }

    fn dropped(self, kind: &str) -> &'static [&'static str] {
        match self {
            Self::Drop(of, name) if of == kind => std::slice::from_ref(asked(of, name)),
            Self::DropOwner(of) if of == kind => &[attr::LEASE_ID, attr::TOKEN],
            Self::DropStillHeld if kind == "renew" => &[attr::EXPIRES_ON, attr::RENEWAL_SEQ],
            _ => &[],
        }
    }

    fn changes(self, op: &Op, before: Option<&Row>) -> Vec<Change> {
        let Self::Change(name) = self else { return op.changes() };
        let acquires = matches!(op.kind, OpKind::Acquire(_) | OpKind::TakeOver { .. });
        let (renews, takes) = (kind(op) == "renew", kind(op) == "take-over");
        let (frees, revokes) = (matches!(kind(op), "release" | "clean-up"), kind(op) == "revoke");
        let bent = |change: Change| match (name, &change) {
            ("renew-same-guid", Change::Set(attr::GUID, _)) if renews => None,
            ("take-over-same-guid", Change::Set(attr::GUID, _)) if takes => None,
            ("release-same-guid", Change::Set(attr::GUID, _)) if frees && before.is_some() => None,
            ("revoke-same-guid", Change::Set(attr::GUID, _)) if revokes => None,
            ("same-token", Change::Next(..)) if acquires && before.is_some() => None,
            ("token-restarts", Change::Next(token, seed)) => Some(Change::Set(token, Value::from(seed + 1))),
            ("renew-old-lease", Change::Set(attr::LEASE_MS, _)) if renews => None,
            ("renew-old-end", Change::Set(attr::EXPIRES_ON, _)) if renews => None,
            ("stamp-stays", Change::Remove(attr::EXPIRY_CLOCK)) if !frees => None,
            ("always-stamped", Change::Remove(attr::EXPIRY_CLOCK)) if !frees => {
                Some(Change::Set(attr::EXPIRY_CLOCK, attr::SERVICE_CLOCK.into()))
            }
            ("release-holds", Change::Set(attr::EXPIRES_ON, _)) if frees => None,
            ("revoke-frees", Change::Set(attr::RENEWAL_SEQ, _)) if revokes => {
                Some(Change::Set(attr::EXPIRES_ON, 0.into()))
            }
            ("revoke-unmarked", Change::Set(attr::REVOKED_TOKEN, _)) => None,
            ("revoke-same-reign", Change::Set(attr::LEASE_ID | attr::TOKEN, _)) if revokes => None,
            ("mark-stays", Change::Remove(attr::REVOKED_TOKEN)) => None,
            ("purge-at-once", Change::Set(attr::TTL, _)) if !acquires => None,
            ("legacy-drops-token", Change::Replace(row)) => Some(Change::Replace(stripped(row, attr::TOKEN))),
            ("legacy-drops-data", Change::Replace(row)) => Some(Change::Replace(stripped(row, attr::DATA))),
            _ => Some(change),
        };
        let mut changes: Vec<_> = op.changes().into_iter().filter_map(bent).collect();
        if name == "release-keeps-token-not" && frees {
            changes.push(Change::Remove(attr::TOKEN));
        }
        changes
    }
}

fn stripped(row: &Row, name: &'static str) -> Row {
    let mut row = row.clone();
    row.remove(name);
    row
}

fn asked(kind: &str, name: &str) -> &'static &'static str {
    let names = ASKED.iter().find(|(known, _)| *known == kind).map_or(&[][..], |(_, names)| *names);
    names.iter().find(|known| **known == name).unwrap_or(&"")
}

/// The name by which mutants call a kind of op.
fn kind(op: &Op) -> &'static str {
    match &op.kind {
        OpKind::Acquire(_) => "acquire",
        OpKind::TakeOver { .. } => "take-over",
        OpKind::Renew { .. } => "renew",
        OpKind::Release { token: Some(_), .. } => "release",
        OpKind::Release { token: None, .. } => "clean-up",
        OpKind::Revoke { .. } => "revoke",
        OpKind::ForceRevoke { .. } => "force-free",
        OpKind::LegacyGet { .. } => "legacy-get",
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drop(kind, name) => write!(f, "{kind}-without-{name}"),
            Self::DropOwner(kind) => write!(f, "{kind}-without-owner"),
            Self::DropStillHeld => write!(f, "renew-without-still-held"),
            Self::Change(name) => write!(f, "{name}"),
            Self::AnswerTimed => write!(f, "answer-timed"),
            Self::WildDates => write!(f, "wild-dates"),
            Self::WildClocks => write!(f, "wild-clocks"),
            Self::Forgets => write!(f, "forgets"),
        }
    }
}

impl FromStr for Mutant {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::all().into_iter().find(|mutant| mutant.to_string() == name);
        found.ok_or_else(|| format!("no mutant {name:?}; `run --mutants` lists them"))
    }
}

fn is_about(condition: &Condition, names: &[&str]) -> bool {
    match condition {
        Condition::Missing(name)
        | Condition::Equals(name, _)
        | Condition::Differs(name, _)
        | Condition::Below(name, _)
        | Condition::Above(name, _) => names.contains(name),
        // "No such attribute, or this value" is about one attribute.
        Condition::Any(any) => any.iter().all(|part| is_about(part, names)),
        Condition::All(_) => false,
    }
}

fn without(condition: Condition, names: &[&str]) -> Condition {
    let rest = |parts: Vec<Condition>| {
        let parts = parts.into_iter().filter(|part| !is_about(part, names));
        parts.map(|part| without(part, names)).collect()
    };
    match condition {
        Condition::All(parts) => Condition::All(rest(parts)),
        Condition::Any(parts) => Condition::Any(rest(parts)),
        other => other,
    }
}

/// Whether a condition of this kind holds, with the mutant's fault in it.
pub fn holds_as(mutant: Option<Mutant>, kind: &str, row: Option<&Row>, condition: Condition) -> bool {
    let dropped = mutant.map_or(&[][..], |mutant| mutant.dropped(kind));
    holds(row, &if dropped.is_empty() { condition } else { without(condition, dropped) })
}

/// The meaning of an op, with the mutant's fault in it.
pub fn apply_as(mutant: Option<Mutant>, row: Option<&Row>, op: &Op) -> Outcome {
    let Some(mutant) = mutant else {
        return match apply(row, op) {
            Verdict::Applied(row) => Outcome::Applied(row),
            Verdict::Conflict(row) => Outcome::Conflict(row),
        };
    };
    if !holds_as(Some(mutant), kind(op), row, op.condition()) {
        return Outcome::Conflict(row.cloned());
    }
    let mut next = row.cloned().unwrap_or_default();
    for change in mutant.changes(op, row) {
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
    Outcome::Applied(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynamo_lock_protocol::{Ends, FencingToken, Lease, LeaseId, LockName, RecordVersion, Target};

    fn names(condition: &Condition, into: &mut Vec<&'static str>) {
        match condition {
            Condition::Missing(name)
            | Condition::Equals(name, _)
            | Condition::Differs(name, _)
            | Condition::Below(name, _)
            | Condition::Above(name, _) => into.push(name),
            Condition::All(parts) | Condition::Any(parts) => parts.iter().for_each(|part| names(part, into)),
        }
    }

    fn ops() -> Vec<Op> {
        let (lease_id, version) = (LeaseId::from_random(1), RecordVersion::from_random(2));
        let token = FencingToken::new(7);
        let ends = Ends { expires_on: 9, service_timestamp: false, ttl: 9 };
        let lease = Lease {
            lease_id: lease_id.clone(),
            token_floor: token,
            lease_ms: 1000,
            ends,
            owner: "o".to_owned(),
            acquired_on: 1,
            data: None,
            liveness_key: None,
        };
        let target = || Target::Token(token);
        let mut legacy = Row::default();
        legacy.set(attr::GUID, "g".into());
        legacy.set(attr::TOKEN, 7.into());
        let kinds = [
            OpKind::Acquire(lease.clone()),
            OpKind::TakeOver { lease, seen: version.clone(), seen_token: Some(token) },
            OpKind::Renew { lease_id: lease_id.clone(), token, renewal_seq: 1, lease_ms: 1000, ends, data: None },
            OpKind::Release { lease_id: lease_id.clone(), token: Some(token), ttl: 9 },
            OpKind::Release { lease_id: lease_id.clone(), token: None, ttl: 9 },
            OpKind::Revoke { target: target(), lease_id: lease_id.clone() },
            OpKind::ForceRevoke { target: target(), lease_id, ttl: 9 },
            OpKind::LegacyGet { seen: Some(legacy), expires_on: 9 },
        ];
        let name = LockName::new("a").expect("a name");
        kinds.into_iter().map(|kind| Op { name: name.clone(), version: version.clone(), kind }).collect()
    }

    #[test]
    fn every_conjunct_of_every_op_has_its_mutant() {
        for op in ops() {
            let mut asks = Vec::new();
            names(&op.condition(), &mut asks);
            asks.retain(|name| *name != attr::NAME);
            asks.sort_unstable();
            asks.dedup();
            let (_, known) = ASKED.iter().find(|(of, _)| *of == kind(&op)).expect("its kind");
            let mut known = known.to_vec();
            known.sort_unstable();
            assert_eq!(asks, known, "{}", kind(&op));
        }
    }

    #[test]
    fn a_conjunct_that_is_left_out_is_not_asked_for() {
        for op in ops() {
            let (_, asks) = ASKED.iter().find(|(of, _)| *of == kind(&op)).expect("its kind");
            for name in *asks {
                let mut left = Vec::new();
                names(&without(op.condition(), Mutant::Drop(kind(&op), name).dropped(kind(&op))), &mut left);
                assert!(!left.contains(name), "{} {name}", kind(&op));
            }
        }
    }

    #[test]
    fn mutants_have_names_of_their_own() {
        for mutant in Mutant::all() {
            assert_eq!(mutant.to_string().parse(), Ok(mutant));
        }
    }
}
