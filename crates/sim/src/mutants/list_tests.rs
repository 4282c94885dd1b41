//! The list of mutants agrees with the conditions of the protocol and with the configurations.

use std::collections::BTreeSet;

use dynamo_lock_protocol::{
    Condition, Done, Ends, FencingToken, HoldHistory, Kind, Lease, LeaseId, LockName, NextLease, RecordVersion, Row,
    Target,
};

use super::*;
use crate::explore::configs;
use crate::mutants::without;

fn names(condition: &Condition, into: &mut Vec<&'static str>) {
    match condition {
        Condition::All(parts) | Condition::Any(parts) => parts.iter().for_each(|part| names(part, into)),
        other => into.extend(other.path().and_then(Path::attribute)),
    }
}

fn history() -> HoldHistory {
    HoldHistory::new([std::time::Duration::from_secs(2)], 150)
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
    let next = NextLease {
        lease_id: LeaseId::from_random(3),
        lease_ms: 1000,
        ends,
        owner: "o".to_owned(),
        data: None,
        liveness_key: None,
    };
    let done = Done { done_on: 1, done_by: "o".to_owned(), until: None };
    let target = || Target::Token(token);
    let mut legacy = Row::default();
    legacy.set(attr::GUID, "g".into());
    legacy.set(attr::TOKEN, 7.into());
    let kinds = [
        OpKind::Acquire(lease.clone()),
        OpKind::TakeOver { lease: lease.clone(), seen: version.clone(), seen_token: Some(token), ended: None },
        OpKind::Renew { lease_id: lease_id.clone(), token, renewal_seq: 1, lease_ms: 1000, ends, data: None },
        OpKind::StartAnew { lease: lease.clone(), seen: version.clone(), token },
        OpKind::Finish { lease_id: lease_id.clone(), token, done, next_lease_id: lease_id.clone(), ended: None },
        OpKind::Reset { token, lease_id: lease_id.clone(), ttl: 9 },
        OpKind::HandOver { lease_id: lease_id.clone(), token, next },
        OpKind::Release {
            lease_id: lease_id.clone(),
            token: Some(token),
            ttl: 9,
            history: Some(history()),
            ended: None,
        },
        OpKind::Release { lease_id: lease_id.clone(), token: None, ttl: 9, history: None, ended: None },
        OpKind::Revoke { target: target(), lease_id: lease_id.clone(), ended: None },
        OpKind::ForceRevoke { target: target(), lease_id, ttl: 9, ended: None },
        OpKind::LegacyGet { seen: Some(legacy), expires_on: 9 },
    ];
    let name = LockName::new("a").expect("the name is valid");
    kinds
        .into_iter()
        .map(|kind| Op { name: name.clone(), version: version.clone(), row_kind: Kind::Once, kind })
        .collect()
}

#[test]
fn every_conjunct_has_a_mutant() {
    for op in ops() {
        let mut checked = Vec::new();
        names(&op.condition(), &mut checked);
        let checked: BTreeSet<_> = checked.into_iter().filter(|name| *name != attr::NAME).collect();
        let (_, known) = CHECKED.iter().find(|(tag, _)| *tag == OpTag::of(&op)).expect("each tag has a row");
        assert_eq!(checked, known.iter().copied().collect(), "{}", OpTag::of(&op));
    }
}

#[test]
fn unchecked_attribute_is_not_in_condition() {
    for op in ops() {
        let (_, known) = CHECKED.iter().find(|(tag, _)| *tag == OpTag::of(&op)).expect("each tag has a row");
        for name in *known {
            let mut left = Vec::new();
            names(&without(op.condition(), &[name]), &mut left);
            assert!(!left.contains(name), "{} {name}", OpTag::of(&op));
        }
    }
}

#[test]
fn mutant_names_and_configurations_are_valid() {
    let all = all();
    for (n, mutant) in all.iter().enumerate() {
        assert!(all[..n].iter().all(|other| other.name != mutant.name), "{} occurs twice", mutant.name);
        assert!(mutant.worlds || mutant.explore.is_some(), "{} is searched nowhere", mutant.name);
        if let Some(name) = mutant.explore {
            assert!(configs::all().iter().any(|config| config.name == name), "{}: no {name}", mutant.name);
        }
    }
}

#[test]
fn expected_results_name_mutants() {
    let all = all();
    for (name, reason) in EQUIVALENT.iter().chain(RARE) {
        assert!(all.iter().any(|mutant| mutant.name == *name), "{name}");
        assert!(reason.len() > 20, "{name} needs an argument");
    }
}
