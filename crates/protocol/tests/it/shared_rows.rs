//! Interpretation of rows with several holders, and of their kinds.

use std::time::Duration;

use dynamo_lock_protocol::{
    FencingToken, Kind, LeaseId, NewEntry, Op, OpKind, RecordVersion, Role, Row, RowError, RowState, SharedOp,
    SharedWrite, Value, Verdict, apply,
};

use crate::support::{name, row_bytes};

fn map<const N: usize>(parts: [(&str, Value); N]) -> Value {
    Value::Map(parts.map(|(name, part)| (name.to_owned(), part)).into())
}

fn entry<const N: usize>(more: [(&str, Value); N]) -> Value {
    let Value::Map(mut fields) = map([("renewalSeq", 2.into()), ("leaseMs", 20_000.into())]) else { unreachable!() };
    fields.extend(more.map(|(name, part)| (name.to_owned(), part)));
    Value::Map(fields)
}

fn row(holders: Value) -> Row {
    Row::new([
        ("v".to_owned(), 1.into()),
        ("kind".to_owned(), "rwlock".into()),
        ("guid".to_owned(), "g".into()),
        ("token".to_owned(), 7.into()),
        ("expiresOn".to_owned(), 253_402_300_799_000.into()),
        ("forcedLeaseId".to_owned(), "none".into()),
        ("limit".to_owned(), 64.into()),
        ("holders".to_owned(), holders),
    ])
}

#[test]
fn entries_of_a_shared_row_are_parsed() {
    let reader = LeaseId::from_random(1);
    let fields = [
        ("owner", "me".into()),
        ("acquiredOn", 5.into()),
        ("expiresOn", 9.into()),
        ("livenessKey", "4".into()),
        ("revoked", Value::Bool(true)),
    ];
    let holders = map([(reader.as_str(), entry(fields)), ("x", entry([("leaseId", "w".into())]))]);
    let parsed = row(holders).shared(Kind::RwLock).expect("a shared row");
    assert_eq!((parsed.token, parsed.limit, parsed.forced), (FencingToken::new(7), Some(64), "none".into()));
    let (first, writer) = (&parsed.entries[0], &parsed.entries[1]);
    assert_eq!((&first.holder.lease_id, first.holder.role), (&reader, Role::Shared));
    assert_eq!((first.renewal_seq, first.lease, first.expires_on), (2, Duration::from_secs(20), Some(9)));
    assert!(first.revoked && !writer.revoked);
    assert_eq!((first.owner.as_deref(), first.liveness_key.as_deref()), (Some("me"), Some("4")));
    assert_eq!((writer.holder.lease_id.as_str(), writer.holder.role), ("w", Role::Waiting));
    let held = map([("x", entry([("leaseId", "w".into()), ("held", Value::Bool(true))]))]);
    assert_eq!(row(held).shared(Kind::RwLock).expect("a row").entries[0].holder.role, Role::Exclusive);
}

/// A row that cannot be interpreted is not written to, so its error names the attribute.
#[test]
fn malformed_shared_row_is_an_error() {
    let id = LeaseId::from_random(1);
    let one = |value| map([(id.as_str(), value)]);
    for holders in [
        "text".into(),
        Value::Other(r#"{"L":[]}"#.to_owned()),
        one("no map".into()),
        one(map([("renewalSeq", 2.into())])),
        one(entry([("leaseMs", 0.into())])),
        one(entry([("leaseMs", u64::MAX.into())])),
        one(entry([("renewalSeq", "2".into())])),
        one(entry([("expiresOn", "soon".into())])),
        map([("short", entry([]))]),
        map([("X0000000000000000000000000000001", entry([]))]),
        map([("x", entry([]))]),
        map([("x", entry([("leaseId", "w".into()), ("held", Value::Bool(false))]))]),
    ] {
        let error = row(holders.clone()).shared(Kind::RwLock).expect_err("malformed");
        assert!(matches!(error, RowError::Malformed { attribute: "holders", .. }), "{holders:?}: {error}");
    }
    for (attribute, value) in [
        ("v", None),
        ("token", None),
        ("token", Some(0.into())),
        ("token", Some(FencingToken::MAX.get().into())),
        ("forcedLeaseId", None),
        ("holders", None),
    ] {
        let mut stored = row(map([]));
        match value {
            Some(value) => stored.set(attribute, value),
            None => stored.remove(attribute),
        }
        let error = stored.shared(Kind::RwLock).expect_err("malformed");
        assert!(matches!(error, RowError::Malformed { attribute: name, .. } if name == attribute), "{error}");
    }
}

#[test]
fn row_of_another_kind_is_an_error_that_names_both() {
    let shared = row(map([]));
    let error = shared.state().expect_err("no plain lock");
    assert_eq!(error, RowError::OtherKind { found: Kind::RwLock, requested: Kind::Mutex });
    let message = error.to_string();
    assert!(message.contains("that of a read/write lock") && message.contains("but a plain lock"), "{message}");
    let error = shared.shared(Kind::Semaphore).expect_err("no semaphore");
    assert_eq!(error, RowError::OtherKind { found: Kind::RwLock, requested: Kind::Semaphore });
    let mut plain = shared.clone();
    plain.remove("kind");
    plain.set("leaseId", "l".into());
    plain.set("expiresOn", 0.into());
    assert_eq!(plain.state(), Ok(RowState::Free));
    let error = plain.shared(Kind::RwLock).expect_err("a plain lock");
    assert_eq!(error, RowError::OtherKind { found: Kind::Mutex, requested: Kind::RwLock });
    let mut unknown = shared.clone();
    unknown.set("kind", "sundial".into());
    for error in [unknown.state().expect_err("unknown"), unknown.shared(Kind::RwLock).expect_err("unknown")] {
        assert!(matches!(&error, RowError::UnknownKind { kind } if kind == "\"sundial\""), "{error}");
        let known = ["\"semaphore\"", "\"rwlock\"", "\"once\""];
        assert!(known.iter().all(|kind| error.to_string().contains(kind)), "{error}");
    }
    let mut newer = shared;
    newer.set("v", 2.into());
    assert!(matches!(newer.shared(Kind::RwLock), Err(RowError::UnknownVersion { .. })));
}

/// The documents derive the cost of a write from these sizes.
#[test]
fn each_holder_adds_as_many_bytes_as_documented() {
    let join = |n: u128| {
        let entry = NewEntry {
            lease_id: LeaseId::from_random(n),
            lease_ms: 20_000,
            expires_on: Some(1_800_000_123_456),
            owner: "o".repeat(40),
            acquired_on: 1_800_000_123_457,
            liveness_key: None,
        };
        let write = SharedWrite { ttl: Some(1_802_678_401), op: SharedOp::Join { limit: 64, entry } };
        let version = RecordVersion::from_random(n);
        Op { name: name(), version, row_kind: Kind::RwLock, kind: OpKind::Shared(write) }
    };
    let mut stored = row(map([]));
    stored.set("token", (1_800_000_000_u64 << 20).into());
    let mut sizes = Vec::new();
    for n in 1..=8 {
        let Verdict::Applied(after) = apply(Some(&stored), &join(n)) else { panic!("{n} of 64") };
        stored = after;
        sizes.push(row_bytes(&stored));
    }
    println!("{sizes:?}");
    assert!((138..=150).contains(&(sizes[1] - sizes[0])), "{sizes:?}");
    assert!((256..=288).contains(&sizes[0]), "{sizes:?}");
    // Six holders fit into one write unit of 1 KB, eight do not.
    assert!(sizes[5] <= 1024 && sizes[7] > 1024, "{sizes:?}");
}
