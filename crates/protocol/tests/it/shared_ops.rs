//! Writes to shared rows: for each, the rows on which it must conflict, and the row that it leaves.
//!
//! Each conjunct of a condition is needed on some row of these tests, also where a search of the whole protocol cannot
//! reach such a row.

use dynamo_lock_protocol::{
    Condition, Convert, EntryKey, EntryLease, FencingToken, Kind, LeaseId, NewEntry, Op, OpKind, Path, RecordVersion,
    Role, Row, SharedHolder, SharedOp, SharedWrite, Value, Verdict, apply, holds,
};

use crate::support::name;

const NEVER: u64 = 253_402_300_799_000;

fn map<const N: usize>(parts: [(&str, Value); N]) -> Value {
    Value::Map(parts.map(|(name, part)| (name.to_owned(), part)).into())
}

fn id(n: u128) -> LeaseId {
    LeaseId::from_random(n)
}

fn op(row_kind: Kind, kind: OpKind) -> Op {
    Op { name: name(), version: "new".into(), row_kind, kind }
}

fn shared(op_on_row: SharedOp) -> Op {
    op(Kind::RwLock, OpKind::Shared(SharedWrite { ttl: Some(9), op: op_on_row }))
}

fn new_entry(lease_id: LeaseId) -> NewEntry {
    let owner = "me".to_owned();
    NewEntry { lease_id, lease_ms: 20_000, expires_on: Some(7_000), owner, acquired_on: 5_000, liveness_key: None }
}

fn lease(renewal_seq: u64) -> EntryLease {
    EntryLease { renewal_seq, lease_ms: 30_000, expires_on: None }
}

fn holder(n: u128, role: Role) -> SharedHolder {
    SharedHolder { lease_id: id(n), role }
}

/// Returns a row with these entries. Its token is 7.
fn row<const N: usize>(entries: [(&str, Value); N]) -> Row {
    Row::new([
        ("v".to_owned(), 1.into()),
        ("kind".to_owned(), "rwlock".into()),
        ("guid".to_owned(), "old".into()),
        ("token".to_owned(), 7.into()),
        ("expiresOn".to_owned(), NEVER.into()),
        ("forcedLeaseId".to_owned(), "none".into()),
        ("holders".to_owned(), map(entries)),
        ("note".to_owned(), "of another program".into()),
    ])
}

/// Returns the entry of a reader whose last renewal had number 2.
fn reader() -> Value {
    map([("renewalSeq", 2.into()), ("leaseMs", 20_000.into()), ("expiresOn", 6_000.into())])
}

/// Returns the exclusive entry of the owner `n`.
fn writer(n: u128, role: Role) -> Value {
    let lease_id = id(n);
    let Value::Map(mut fields) = reader() else { unreachable!("an entry is a map") };
    fields.insert("leaseId".to_owned(), lease_id.as_str().into());
    if role == Role::Exclusive {
        fields.insert("held".to_owned(), Value::Bool(true));
    }
    Value::Map(fields)
}

fn with(row: &Row, attribute: &str, value: impl Into<Option<Value>>) -> Row {
    let mut changed = row.clone();
    match value.into() {
        Some(value) => changed.set(attribute, value),
        None => changed.remove(attribute),
    }
    changed
}

/// Returns the row with a changed field of an entry.
fn with_field(row: &Row, key: &str, field: &str, value: impl Into<Option<Value>>) -> Row {
    let Some(Value::Map(mut holders)) = row.get("holders").cloned() else { panic!("no holders") };
    let Some(Value::Map(fields)) = holders.get_mut(key) else { panic!("no entry {key}") };
    match value.into() {
        Some(value) => drop(fields.insert(field.to_owned(), value)),
        None => drop(fields.remove(field)),
    }
    with(row, "holders", Value::Map(holders))
}

/// Checks that `op` takes effect on `row`, conflicts on each of `refused`, and has no conjunct without a row among them
/// that this conjunct alone refuses. Returns the row that `op` leaves.
fn check(op: &Op, row: &Row, refused: &[Row]) -> Row {
    let Condition::All(all) = op.condition() else { panic!("one list of conjuncts") };
    for other in refused {
        assert_eq!(apply(Some(other), op), Verdict::Conflict(Some(other.clone())));
    }
    assert_eq!(apply(None, op), Verdict::Conflict(None));
    for at in 0..all.len() {
        let rest: Vec<_> = all.iter().enumerate().filter(|(nth, _)| *nth != at).map(|(_, part)| part.clone()).collect();
        let rest = Condition::All(rest);
        assert!(refused.iter().any(|other| holds(Some(other), &rest)), "no row needs {:?}", all[at]);
    }
    match apply(Some(row), op) {
        Verdict::Applied(after) => after,
        Verdict::Conflict(_) => panic!("{op:?} must be applied on {row:?}"),
    }
}

/// Returns rows of another format or kind.
fn other_kinds(row: &Row) -> Vec<Row> {
    [("v", Some(2.into())), ("v", None), ("kind", Some("semaphore".into())), ("kind", None)]
        .map(|(attribute, value): (&str, Option<Value>)| with(row, attribute, value))
        .into()
}

/// Returns rows from whose token no greater one can follow.
fn unusable_tokens(row: &Row) -> Vec<Row> {
    [None, Some("7".into()), Some(0.into()), Some(FencingToken::MAX.get().into())]
        .map(|value: Option<Value>| with(row, "token", value))
        .into()
}

/// Returns rows that no acquisition may enter.
fn not_enterable(row: &Row, lease_id: &LeaseId) -> Vec<Row> {
    let mut rows = other_kinds(row);
    rows.extend(unusable_tokens(row));
    rows.extend([with(row, "guid", None), with(row, "guid", Value::from("new"))]);
    rows.extend([with(row, "forcedLeaseId", None), with(row, "forcedLeaseId", Value::from(lease_id.as_str()))]);
    rows.extend([
        with(row, "holders", None),
        with(row, "holders", Value::from("")),
        with(row, "holders", Value::from(0)),
    ]);
    rows
}

fn key(n: u128) -> String {
    id(n).as_str().to_owned()
}

fn entry_of(row: &Row, key: &EntryKey) -> Option<Value> {
    row.at(&Path::Entry(key.clone())).cloned()
}

#[test]
fn create_needs_no_row() {
    for (exclusive, key) in [(false, EntryKey::Shared(id(1))), (true, EntryKey::Exclusive)] {
        let token_floor = FencingToken::new(100);
        let create = shared(SharedOp::Create { limit: 3, token_floor, exclusive, entry: new_entry(id(1)) });
        let Verdict::Applied(after) = apply(None, &create) else { panic!("there is no row") };
        assert_eq!(after.whole("token"), Some(101));
        assert_eq!((after.whole("expiresOn"), after.text("forcedLeaseId")), (Some(NEVER), Some("none")));
        assert_eq!((after.text("kind"), after.whole("limit"), after.whole("ttl")), (Some("rwlock"), Some(3), Some(9)));
        let parsed = after.shared(Kind::RwLock).expect("a shared row");
        let role = if exclusive { Role::Exclusive } else { Role::Shared };
        assert_eq!(parsed.entries.iter().map(|entry| &entry.holder).collect::<Vec<_>>(), [&holder(1, role)]);
        assert!(entry_of(&after, &key).is_some());
        for other in [row([]), Row::default()] {
            assert_eq!(apply(Some(&other), &create), Verdict::Conflict(Some(other)));
        }
    }
}

#[test]
fn join_needs_a_place_beside_readers() {
    let join = shared(SharedOp::Join { limit: 2, entry: new_entry(id(1)) });
    let free = row([]);
    let mut refused = not_enterable(&free, &id(1));
    refused.extend([
        row([("x", writer(2, Role::Exclusive))]),
        row([("x", writer(2, Role::Waiting))]),
        row([(&key(2), reader()), (&key(3), reader())]),
        row([(&key(1), reader())]),
    ]);
    let after = check(&join, &free, &refused);
    let entry = map([
        ("renewalSeq", 0.into()),
        ("leaseMs", 20_000.into()),
        ("expiresOn", 7_000.into()),
        ("owner", "me".into()),
        ("acquiredOn", 5_000.into()),
    ]);
    let mut expected = row([(&key(1), entry)]);
    for (attribute, value) in [("guid", "new".into()), ("limit", 2.into()), ("ttl", Value::from(9))] {
        expected.set(attribute, value);
    }
    assert_eq!(after, expected);
    let beside = check(&join, &row([(&key(2), reader())]), &refused);
    assert_eq!(beside.shared(Kind::RwLock).expect("a row").entries.len(), 2);
}

#[test]
fn take_exclusive_needs_a_row_without_holders() {
    let take = shared(SharedOp::TakeExclusive { entry: new_entry(id(1)) });
    let free = row([]);
    let mut refused = not_enterable(&free, &id(1));
    refused.extend([row([(&key(2), reader())]), row([("x", writer(2, Role::Waiting))])]);
    let after = check(&take, &free, &refused);
    assert_eq!(after.whole("token"), Some(8));
    let parsed = after.shared(Kind::RwLock).expect("a row");
    assert_eq!(parsed.writer().map(|entry| &entry.holder), Some(&holder(1, Role::Exclusive)));
}

#[test]
fn announce_needs_a_row_without_a_writer() {
    let announce = shared(SharedOp::Announce { entry: new_entry(id(1)) });
    let free = row([]);
    let mut refused = not_enterable(&free, &id(1));
    refused.extend([row([("x", writer(2, Role::Waiting))]), row([("x", writer(2, Role::Exclusive))])]);
    let full = row([(&key(2), reader()), (&key(3), reader())]);
    let after = check(&announce, &full, &refused);
    assert_eq!(after.whole("token"), Some(7), "a waiting writer holds nothing");
    let parsed = after.shared(Kind::RwLock).expect("a row");
    assert_eq!(parsed.writer().map(|entry| &entry.holder), Some(&holder(1, Role::Waiting)));
    assert_eq!(parsed.entries.len(), 3);
}

#[test]
fn promote_needs_the_own_announcement_alone() {
    let promote = shared(SharedOp::Promote { lease_id: id(1), lease: lease(3), acquired_on: 8_000 });
    let waiting = row([("x", writer(1, Role::Waiting))]);
    let mut refused = other_kinds(&waiting);
    refused.extend(unusable_tokens(&waiting));
    refused.extend([
        row([("x", writer(1, Role::Waiting)), (&key(2), reader())]),
        row([("x", writer(2, Role::Waiting))]),
        row([(&key(1), reader())]),
        with_field(&waiting, "x", "renewalSeq", Value::from(3)),
        with_field(&waiting, "x", "renewalSeq", None),
        with_field(&waiting, "x", "revoked", Value::Bool(true)),
    ]);
    let after = check(&promote, &waiting, &refused);
    assert_eq!(after.whole("token"), Some(8));
    let entry = entry_of(&after, &EntryKey::Exclusive);
    let lease_id = id(1);
    let expected = map([
        ("leaseId", lease_id.as_str().into()),
        ("held", Value::Bool(true)),
        ("renewalSeq", 3.into()),
        ("leaseMs", 30_000.into()),
        ("acquiredOn", 8_000.into()),
    ]);
    assert_eq!(entry, Some(expected), "without a service timestamp the old one is removed");
}

/// Returns rows that refuse a renewal with number 3 of the entry with this key.
fn not_renewable(row: &Row, key: &str) -> Vec<Row> {
    let mut rows = other_kinds(row);
    rows.extend([
        with_field(row, key, "renewalSeq", Value::from(3)),
        with_field(row, key, "renewalSeq", Value::from("2")),
        with_field(row, key, "renewalSeq", None),
        with_field(row, key, "revoked", Value::Bool(true)),
        with(row, "holders", map([])),
        with(row, "holders", map([(key, "no map".into())])),
    ]);
    rows
}

#[test]
fn renewal_of_a_reader_needs_its_entry_and_token() {
    let (holder, token) = (holder(1, Role::Shared), Some(FencingToken::new(7)));
    let renew = shared(SharedOp::Renew { holder, token, lease: EntryLease { expires_on: Some(8_000), ..lease(3) } });
    let held = row([(&key(1), reader()), (&key(2), reader())]);
    let mut refused = not_renewable(&held, &key(1));
    refused.push(with(&held, "token", Value::from(8)));
    let after = check(&renew, &held, &refused);
    let expected = map([("renewalSeq", 3.into()), ("leaseMs", 30_000.into()), ("expiresOn", 8_000.into())]);
    assert_eq!(entry_of(&after, &EntryKey::Shared(id(1))), Some(expected));
    assert_eq!(entry_of(&after, &EntryKey::Shared(id(2))), Some(reader()), "the other entry stays");
}

#[test]
fn renewal_of_a_writer_needs_its_lease_id_and_token() {
    let (holder, token) = (holder(1, Role::Exclusive), Some(FencingToken::new(7)));
    let renew = shared(SharedOp::Renew { holder, token, lease: lease(3) });
    let held = row([("x", writer(1, Role::Exclusive))]);
    let mut refused = not_renewable(&held, "x");
    refused.extend([with(&held, "token", Value::from(8)), row([("x", writer(2, Role::Exclusive))])]);
    let after = check(&renew, &held, &refused);
    let entry = after.shared(Kind::RwLock).expect("a row").entries.remove(0);
    assert_eq!((entry.renewal_seq, entry.lease.as_secs(), entry.expires_on), (3, 30, None));
}

/// The token may change while a writer waits, so the renewal of an announcement does not compare it.
#[test]
fn renewal_of_an_announcement_needs_it_to_wait() {
    let renew = shared(SharedOp::Renew { holder: holder(1, Role::Waiting), token: None, lease: lease(3) });
    let waiting = row([("x", writer(1, Role::Waiting)), (&key(2), reader())]);
    let mut refused = not_renewable(&waiting, "x");
    refused.extend([row([("x", writer(2, Role::Waiting))]), row([("x", writer(1, Role::Exclusive))])]);
    let after = check(&renew, &with(&waiting, "token", Value::from(8)), &refused);
    assert_eq!(after.shared(Kind::RwLock).expect("a row").writer().map(|entry| entry.renewal_seq), Some(3));
}

#[test]
fn leave_needs_the_own_entry_in_its_role() {
    let entry = |role| if role == Role::Shared { (key(1), reader()) } else { ("x".to_owned(), writer(1, role)) };
    for (role, other_role, token) in
        [(Role::Shared, Role::Waiting, 7), (Role::Exclusive, Role::Waiting, 8), (Role::Waiting, Role::Exclusive, 7)]
    {
        let leave = shared(SharedOp::Leave { holder: holder(1, role) });
        let (own, value) = entry(role);
        let held = row([(&own, value), (&key(2), reader())]);
        let mut refused = other_kinds(&held);
        refused.extend([row([(&key(2), reader())]), row([("x", writer(1, other_role))]), row([])]);
        if role != Role::Shared {
            refused.push(row([("x", writer(2, role))]));
        }
        if role == Role::Exclusive {
            refused.extend(unusable_tokens(&held));
        }
        let after = check(&leave, &held, &refused);
        assert_eq!(after.get("holders"), Some(&map([(&key(2), reader())])));
        assert_eq!((after.whole("token"), after.text("forcedLeaseId")), (Some(token), Some("none")), "{role:?}");
    }
}

#[test]
fn evict_needs_the_entry_that_was_seen() {
    for (role, token) in [(Role::Shared, 7), (Role::Exclusive, 8), (Role::Waiting, 7)] {
        let evict = shared(SharedOp::Evict { holder: holder(1, role), seen_seq: 2 });
        let own = if role == Role::Shared { key(1) } else { "x".to_owned() };
        let value = if role == Role::Shared { reader() } else { writer(1, role) };
        let held = row([(&own, value), (&key(2), reader())]);
        let mut refused = other_kinds(&held);
        refused.extend([
            with_field(&held, &own, "renewalSeq", Value::from(3)),
            with_field(&held, &own, "renewalSeq", None),
            row([]),
        ]);
        if role != Role::Shared {
            refused.push(row([("x", writer(2, role))]));
        }
        if role == Role::Exclusive {
            refused.extend(unusable_tokens(&held));
        }
        let after = check(&evict, &held, &refused);
        assert_eq!(after.get("holders"), Some(&map([(&key(2), reader())])));
        assert_eq!((after.whole("token"), after.text("forcedLeaseId")), (Some(token), Some("none")), "{role:?}");
    }
}

/// Removing a revoked holder is not the task of a revocation, because its lease has not expired.
#[test]
fn revoke_marks_one_entry() {
    for role in [Role::Shared, Role::Exclusive, Role::Waiting] {
        let revoke = shared(SharedOp::Revoke { holder: holder(1, role) });
        let own = if role == Role::Shared { key(1) } else { "x".to_owned() };
        let value = if role == Role::Shared { reader() } else { writer(1, role) };
        let held = row([(&own, value), (&key(2), reader())]);
        let mut refused = other_kinds(&held);
        refused.extend([row([]), row([(&own, "no map".into())])]);
        if role != Role::Shared {
            refused.push(row([("x", writer(2, role))]));
        }
        let after = check(&revoke, &held, &refused);
        let mut expected = with_field(&held, &own, "revoked", Value::Bool(true));
        expected.set("guid", "new".into());
        expected.set("ttl", 9.into());
        assert_eq!(after, expected);
        assert!(after.shared(Kind::RwLock).expect("a row").entry(&id(1)).is_some_and(|entry| entry.revoked));
    }
}

#[test]
fn force_out_removes_one_entry_and_names_it() {
    for (role, token) in [(Role::Shared, 7), (Role::Exclusive, 8), (Role::Waiting, 7)] {
        let force = shared(SharedOp::ForceOut { holder: holder(1, role) });
        let own = if role == Role::Shared { key(1) } else { "x".to_owned() };
        let value = if role == Role::Shared { reader() } else { writer(1, role) };
        let held = row([(&own, value), (&key(2), reader())]);
        let mut refused = other_kinds(&held);
        refused.push(row([]));
        if role != Role::Shared {
            let other_role = if role == Role::Exclusive { Role::Waiting } else { Role::Exclusive };
            refused.extend([row([("x", writer(2, role))]), row([("x", writer(1, other_role))])]);
        }
        if role == Role::Exclusive {
            refused.extend(unusable_tokens(&held));
        }
        let after = check(&force, &held, &refused);
        assert_eq!(after.get("holders"), Some(&map([(&key(2), reader())])));
        assert_eq!(after.text("forcedLeaseId"), Some(&*key(1)));
        assert_eq!(after.whole("token"), Some(token), "{role:?}");
    }
}

/// A wall clock may be slow, so a writer without a service clock leaves no time after which the row may be deleted.
#[test]
fn write_without_service_time_removes_ttl() {
    let holder = holder(1, Role::Shared);
    let held = with(&row([(&key(1), reader())]), "ttl", Value::from(3));
    for (ttl, expected) in [(None, None), (Some(9), Some(9))] {
        let write =
            op(Kind::RwLock, OpKind::Shared(SharedWrite { ttl, op: SharedOp::Leave { holder: holder.clone() } }));
        let Verdict::Applied(after) = apply(Some(&held), &write) else { panic!("it is there") };
        assert_eq!(after.whole("ttl"), expected);
    }
}

#[test]
fn condition_check_holds_until_the_holder_is_gone() {
    let token = FencingToken::new(7);
    for role in [Role::Shared, Role::Exclusive] {
        let own = if role == Role::Shared { key(1) } else { "x".to_owned() };
        let value = if role == Role::Shared { reader() } else { writer(1, role) };
        let held = row([(&own, value), (&key(2), reader())]);
        let condition = holder(1, role).holds_under(Kind::RwLock, token);
        assert!(holds(Some(&held), &condition));
        let mut refused = other_kinds(&held);
        refused.extend([
            with(&held, "token", Value::from(8)),
            with_field(&held, &own, "revoked", Value::Bool(true)),
            row([]),
        ]);
        if role == Role::Exclusive {
            refused.extend([row([("x", writer(2, role))]), row([("x", writer(1, Role::Waiting))])]);
        }
        let Condition::All(all) = &condition else { panic!("one list of conjuncts") };
        for at in 0..all.len() {
            let mut rest = all.clone();
            rest.remove(at);
            let needed = refused.iter().any(|other| holds(Some(other), &Condition::All(rest.clone())));
            assert!(needed, "no row needs {:?}", all[at]);
        }
        assert!(refused.iter().all(|other| !holds(Some(other), &condition)));
    }
}

fn free_lock() -> Row {
    let mut row = Row::default();
    for (attribute, value) in [
        ("v", 1.into()),
        ("guid", "old".into()),
        ("leaseId", "last".into()),
        ("token", 7.into()),
        ("expiresOn", 0.into()),
        ("ttl", 3.into()),
        ("data", "payload".into()),
        ("handovers", 2.into()),
        ("recentHoldsMs", "5".into()),
        ("waiterEstimate", 3.into()),
        ("note", Value::from("of another program")),
    ] {
        row.set(attribute, value);
    }
    row
}

#[test]
fn convert_leaves_a_free_row_of_the_new_kind() {
    let convert = |to| {
        let (seen, seen_token, lease_id) = (RecordVersion::from("old"), FencingToken::new(7), id(5));
        op(to, OpKind::Convert(Convert { seen, seen_token, lease_id, ttl: Some(9) }))
    };
    let free_once = with(&free_lock(), "kind", Value::from("once"));
    let mut done = with(&free_once, "expiresOn", Value::from(NEVER));
    for (attribute, value) in [("doneToken", 7), ("doneOn", 6), ("doneUntil", 9), ("acquiredOn", 5)] {
        done.set(attribute, value.into());
    }
    done.set("doneBy", "worker-8".into());
    done.set("doneClock", "service".into());
    let cases = [
        (free_lock(), Kind::RwLock),
        (row([]), Kind::Mutex),
        (free_lock(), Kind::Once),
        (free_once.clone(), Kind::Mutex),
        (row([]), Kind::Once),
        (done.clone(), Kind::Once),
        (done.clone(), Kind::Mutex),
        (done, Kind::RwLock),
    ];
    for (before, to) in cases {
        let refused = [
            with(&before, "v", Value::from(2)),
            with(&before, "guid", Value::from("newer")),
            with(&before, "token", Value::from(8)),
        ];
        let after = check(&convert(to), &before, &refused);
        assert_eq!((after.whole("token"), after.whole("ttl")), (Some(8), Some(9)));
        // Exactly the row of that kind, with the attributes of other programs.
        let expected = match to {
            Kind::Mutex => free_lock(),
            Kind::Once => free_once.clone(),
            _ => row([]),
        };
        let mut expected = with(&expected, "token", Value::from(8));
        expected.set("guid", "new".into());
        expected.set("ttl", 9.into());
        if !to.is_shared() {
            expected.set("leaseId", id(5).as_str().into());
            ["data", "handovers", "recentHoldsMs", "waiterEstimate"].iter().for_each(|name| expected.remove(name));
        }
        assert_eq!(after, expected);
    }
}
