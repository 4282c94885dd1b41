//! Mutants of writes to shared rows: each conjunct of `docs/protocol-shared.md`, section 2, and each change.

use dynamo_lock_protocol::{Change, EntryKey, Op, OpKind, Path, Role, Row, SharedHolder, SharedOp, Value, attr};

use super::{ChangeFault, set_name};

/// Places that the condition of each write checks. `x` is the entry of the writer, `e` the shared entry.
pub const CHECKED: &[(&str, &[&str])] = &[
    ("create shared", &["name"]),
    ("create exclusive", &["name"]),
    ("join", &["v", "kind", "x", "holders", "e", "guid", "forcedLeaseId", "token"]),
    ("take exclusive", &["v", "kind", "holders", "guid", "forcedLeaseId", "token"]),
    ("announce", &["v", "kind", "holders", "x", "guid", "forcedLeaseId", "token"]),
    ("promote", &["v", "kind", "holders", "x.leaseId", "x.renewalSeq", "x.revoked", "token"]),
    ("renew shared", &["v", "kind", "token", "e.renewalSeq", "e.revoked"]),
    ("renew exclusive", &["v", "kind", "token", "x.leaseId", "x.renewalSeq", "x.revoked"]),
    ("renew announcement", &["v", "kind", "x.leaseId", "x.renewalSeq", "x.revoked", "x.held"]),
    ("leave shared", &["v", "kind", "e"]),
    ("leave exclusive", &["v", "kind", "x.leaseId", "x.held", "token"]),
    ("withdraw", &["v", "kind", "x.leaseId", "x.held"]),
    ("evict shared", &["v", "kind", "e.renewalSeq"]),
    ("evict exclusive", &["v", "kind", "x.leaseId", "x.renewalSeq", "token"]),
    ("evict announcement", &["v", "kind", "x.leaseId", "x.renewalSeq"]),
    ("revoke shared", &["v", "kind", "e"]),
    ("revoke exclusive", &["v", "kind", "x.leaseId"]),
    ("revoke announcement", &["v", "kind", "x.leaseId"]),
    ("force out shared", &["v", "kind", "e"]),
    ("force out exclusive", &["v", "kind", "x.leaseId", "x.held", "token"]),
    ("force out announcement", &["v", "kind", "x.leaseId", "x.held"]),
];

/// Changes that a write omits or makes differently.
pub const CHANGES: &[(&str, ChangeFault)] = &[
    ("take-exclusive-same-token", |op, _, changes| same_token(op, "take exclusive", changes)),
    ("promote-same-token", |op, _, changes| same_token(op, "promote", changes)),
    ("leave-exclusive-same-token", |op, _, changes| same_token(op, "leave exclusive", changes)),
    ("evict-exclusive-same-token", |op, _, changes| same_token(op, "evict exclusive", changes)),
    ("force-out-exclusive-same-token", |op, _, changes| same_token(op, "force out exclusive", changes)),
    ("withdraw-new-token", |op, _, changes| {
        changes.extend((name(op) == "withdraw").then(|| Change::Next(attr::TOKEN.into(), 0)));
    }),
    ("renew-shared-old-number", |op, _, changes| omit(op, "renew shared", attr::RENEWAL_SEQ, changes)),
    ("renew-exclusive-old-number", |op, _, changes| omit(op, "renew exclusive", attr::RENEWAL_SEQ, changes)),
    ("renew-announcement-old-number", |op, _, changes| omit(op, "renew announcement", attr::RENEWAL_SEQ, changes)),
    ("promote-old-number", |op, _, changes| omit(op, "promote", attr::RENEWAL_SEQ, changes)),
    ("renew-shared-old-end", |op, _, changes| omit(op, "renew shared", attr::EXPIRES_ON, changes)),
    ("promote-old-end", |op, _, changes| omit(op, "promote", attr::EXPIRES_ON, changes)),
    ("force-out-unmarked", |op, _, changes| {
        changes.retain(|change| !name(op).starts_with("force out") || set_name(change) != Some(attr::FORCED_LEASE_ID));
    }),
    ("revoke-removes-entry", |op, _, changes| {
        if let (true, Some(holder)) = (name(op).starts_with("revoke"), holder(op)) {
            changes.retain(|change| !matches!(change, Change::Set(Path::Field(..), _)));
            changes.push(Change::Remove(Path::Entry(holder.key())));
        }
    }),
    ("shared-purge-soon", |op, _, changes| {
        for change in changes.iter_mut().filter(|_| !name(op).is_empty()) {
            if let Change::Set(Path::Attribute(attr::TTL), on) = change {
                *on = 1_700_000_002.into();
            }
        }
    }),
    ("shared-purge-without-clock", |op, _, changes| {
        for change in changes.iter_mut().filter(|_| !name(op).is_empty()) {
            if matches!(change, Change::Remove(Path::Attribute(attr::TTL))) {
                *change = Change::Set(attr::TTL.into(), 1_700_000_002.into());
            }
        }
    }),
];

/// Returns the name of a write to a shared row, empty for any other write.
fn name(op: &Op) -> &'static str {
    if let OpKind::Shared(write) = &op.kind { write.name() } else { "" }
}

fn holder(op: &Op) -> Option<&SharedHolder> {
    match &op.kind {
        OpKind::Shared(write) => match &write.op {
            SharedOp::Revoke { holder } | SharedOp::ForceOut { holder } => Some(holder),
            _ => None,
        },
        _ => None,
    }
}

fn same_token(op: &Op, of: &str, changes: &mut Vec<Change>) {
    changes.retain(|change| name(op) != of || !matches!(change, Change::Next(..)));
}

/// Omits the change of a field of the entry.
fn omit(op: &Op, of: &str, field: &str, changes: &mut Vec<Change>) {
    let is_field = |path: &Path| matches!(path, Path::Field(_, name) if *name == field);
    changes.retain(|change| {
        name(op) != of || !matches!(change, Change::Set(path, _) | Change::Remove(path) if is_field(path))
    });
}

/// Returns the name of a place in a row, as in [`CHECKED`].
pub fn place(path: &Path) -> String {
    let entry = |key: &EntryKey| if *key == EntryKey::Exclusive { "x" } else { "e" };
    match path {
        Path::Attribute(name) => (*name).to_owned(),
        Path::Entry(key) => entry(key).to_owned(),
        Path::Field(key, field) => format!("{}.{field}", entry(key)),
    }
}

/// Sets or removes the value at this place. Returns whether the map around it exists.
pub fn change_at(row: &mut Row, path: &Path, value: Option<Value>) -> bool {
    let (key, field) = match (path, value) {
        (Path::Attribute(name), Some(value)) => {
            row.set(name, value);
            return true;
        }
        (Path::Attribute(name), None) => {
            row.remove(name);
            return true;
        }
        (Path::Entry(key), value) => (key, (None, value)),
        (Path::Field(key, field), value) => (key, (Some(*field), value)),
    };
    let Some(Value::Map(mut holders)) = row.get(attr::HOLDERS).cloned() else { return false };
    let (map, last) = match field.0 {
        None => (&mut holders, key.as_str()),
        Some(name) => match holders.get_mut(key.as_str()) {
            Some(Value::Map(fields)) => (fields, name),
            _ => return false,
        },
    };
    match field.1 {
        Some(value) => drop(map.insert(last.to_owned(), value)),
        None => drop(map.remove(last)),
    }
    row.set(attr::HOLDERS, Value::Map(holders));
    true
}

/// Returns the row with every entry changed.
pub fn with_entries(mut row: Row, change: impl Fn(Role, &mut std::collections::BTreeMap<String, Value>)) -> Row {
    let Some(Value::Map(mut holders)) = row.get(attr::HOLDERS).cloned() else { return row };
    for (key, entry) in &mut holders {
        if let Value::Map(fields) = entry {
            let role = match (key == EntryKey::Exclusive.as_str(), fields.contains_key(attr::HELD)) {
                (false, _) => Role::Shared,
                (true, true) => Role::Exclusive,
                (true, false) => Role::Waiting,
            };
            change(role, fields);
        }
    }
    row.set(attr::HOLDERS, Value::Map(holders));
    row
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use dynamo_lock_protocol::{
        Condition, EntryLease, FencingToken, Kind, LeaseId, LockName, NewEntry, RecordVersion, SharedWrite,
    };

    use super::*;
    use crate::mutants::without;

    fn places(condition: &Condition, into: &mut BTreeSet<String>) {
        match condition {
            Condition::All(parts) | Condition::Any(parts) => parts.iter().for_each(|part| places(part, into)),
            other => into.extend(other.path().map(place)),
        }
    }

    fn ops() -> Vec<Op> {
        let lease_id = LeaseId::from_random(1);
        let lease = EntryLease { renewal_seq: 1, lease_ms: 1000, expires_on: None };
        let entry = NewEntry {
            lease_id: lease_id.clone(),
            lease_ms: 1000,
            expires_on: None,
            owner: "o".to_owned(),
            acquired_on: 1,
            liveness_key: None,
        };
        let token = FencingToken::new(7);
        let create = |exclusive| SharedOp::Create { limit: 2, token_floor: token, exclusive, entry: entry.clone() };
        let mut ops = vec![
            create(false),
            create(true),
            SharedOp::Join { limit: 2, entry: entry.clone() },
            SharedOp::TakeExclusive { entry: entry.clone() },
            SharedOp::Announce { entry: entry.clone() },
            SharedOp::Promote { lease_id: lease_id.clone(), lease, acquired_on: 1 },
        ];
        for role in [Role::Shared, Role::Exclusive, Role::Waiting] {
            let holder = SharedHolder { lease_id: lease_id.clone(), role };
            let token = Some(token).filter(|_| role != Role::Waiting);
            ops.push(SharedOp::Renew { holder: holder.clone(), token, lease });
            ops.push(SharedOp::Leave { holder: holder.clone() });
            ops.push(SharedOp::Evict { holder: holder.clone(), seen_seq: 0 });
            ops.push(SharedOp::Revoke { holder: holder.clone() });
            ops.push(SharedOp::ForceOut { holder });
        }
        let name = LockName::new("a").expect("the name is valid");
        let op = |op| {
            let kind = OpKind::Shared(SharedWrite { ttl: None, op });
            Op { name: name.clone(), row_kind: Kind::RwLock, version: RecordVersion::from_random(2), kind }
        };
        ops.into_iter().map(op).collect()
    }

    #[test]
    fn every_conjunct_of_shared_writes_has_a_mutant() {
        let ops = ops();
        assert_eq!(ops.len(), CHECKED.len());
        for op in ops {
            let mut checked = BTreeSet::new();
            places(&op.condition(), &mut checked);
            let (_, known) = CHECKED.iter().find(|(write, _)| *write == name(&op)).expect("each write has a line");
            assert_eq!(checked, known.iter().map(|place| (*place).to_owned()).collect(), "{}", name(&op));
            for place in *known {
                let mut left = BTreeSet::new();
                places(&without(op.condition(), &[place]), &mut left);
                assert!(!left.contains(*place), "{} {place}", name(&op));
            }
        }
    }

    /// A mutant without a fault applies every write as the product does.
    #[test]
    fn writes_without_a_fault_are_those_of_the_product() {
        let unchanged = crate::mutants::MutantConfig { changes: Some(|_, _, _| {}), ..Default::default() };
        let mut row: Option<Row> = None;
        for op in ops() {
            let verdict = unchanged.apply(row.as_ref(), &op);
            assert_eq!(verdict, dynamo_lock_protocol::apply(row.as_ref(), &op), "{}", name(&op));
            if let dynamo_lock_protocol::Verdict::Applied(next) = verdict {
                row = Some(next);
            }
        }
    }

    #[test]
    fn every_change_has_an_effect() {
        for (mutant, fault) in CHANGES {
            let has_effect = |op: &Op| {
                let mut changes = op.changes();
                fault(op, None, &mut changes);
                changes != op.changes()
            };
            let needs_date = *mutant == "shared-purge-soon";
            assert!(needs_date || ops().iter().any(has_effect), "{mutant}");
        }
    }
}
