//! Revocation of one holder, and conversion to another kind, under lost answers and concurrent changes.

use std::collections::BTreeMap;

use dynamo_lock_protocol::{
    ChangeRow, ChangeRowEnd, Kind, LeaseId, Machine, Op, Outcome, Response, Row, RowChange, RowError, SentAt, Step,
    Value, Verdict, apply,
};

use crate::support::{at, name, now};

/// Returns a row of a read/write lock with these entries.
fn shared_row(ids: &[&LeaseId]) -> Row {
    let entry = || {
        let fields = [("renewalSeq", 0.into()), ("leaseMs", 20_000.into()), ("owner", Value::from("o"))];
        Value::Map(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    };
    let holders: BTreeMap<String, Value> = ids.iter().map(|id| (id.as_str().to_owned(), entry())).collect();
    let mut row = Row::default();
    for (name, value) in [("v", 1.into()), ("kind", "rwlock".into()), ("guid", "g".into()), ("token", 5.into())] {
        row.set(name, value);
    }
    row.set("expiresOn", 253_402_300_799_000.into());
    row.set("forcedLeaseId", "none".into());
    row.set("holders", Value::Map(holders));
    row
}

fn start(change: RowChange, row: Option<&Row>) -> ChangeRow {
    let mut machine = ChangeRow::new(&name(), change, &now(0));
    assert_eq!(machine.next(&now(1)), Step::Read { strong: true });
    machine.handle(&now(2), Response::row(row));
    machine
}

fn write(machine: &mut ChangeRow, ms: u64) -> Op {
    match machine.next(&now(ms)) {
        Step::Write(op) => op,
        step => panic!("{step:?} is no write"),
    }
}

fn answer(machine: &mut ChangeRow, ms: u64, outcome: &Outcome) {
    machine.handle(&now(ms), Response::outcome(SentAt(at(ms)), outcome));
}

fn applied(row: &Row, op: &Op) -> Row {
    match apply(Some(row), op) {
        Verdict::Applied(row) => row,
        Verdict::Conflict(_) => panic!("{op:?} was not applied"),
    }
}

fn revoke(id: &LeaseId, force: bool) -> RowChange {
    RowChange::RevokeHolder { lease_id: id.clone(), force }
}

#[test]
fn forced_removal_without_answer_is_recognised() {
    let (id, other) = (LeaseId::from_random(1), LeaseId::from_random(2));
    let row = shared_row(&[&id, &other]);
    let mut machine = start(revoke(&id, true), Some(&row));
    let after = applied(&row, &write(&mut machine, 3));
    answer(&mut machine, 4, &Outcome::Unknown);
    let retry = write(&mut machine, 2_000);
    let Verdict::Conflict(found) = apply(Some(&after), &retry) else { panic!("removed twice") };
    answer(&mut machine, 2_001, &Outcome::Conflict(found));
    assert_eq!(machine.next(&now(2_002)), Step::Done(ChangeRowEnd::Done));
    // The other holder stays.
    assert!(after.shared(Kind::RwLock).expect("shared").entry(&other).is_some());
}

#[test]
fn revocation_of_a_holder_that_has_left_has_ended() {
    let (id, other) = (LeaseId::from_random(1), LeaseId::from_random(2));
    let (row, left) = (shared_row(&[&id, &other]), shared_row(&[&other]));
    let mut machine = start(revoke(&id, false), Some(&row));
    let _op = write(&mut machine, 3);
    answer(&mut machine, 4, &Outcome::Conflict(Some(left.clone())));
    assert_eq!(machine.next(&now(5)), Step::Done(ChangeRowEnd::Ended(Some(left))));
    let mut machine = start(revoke(&id, false), None);
    assert_eq!(machine.next(&now(3)), Step::Done(ChangeRowEnd::Ended(None)));
}

/// A plain lock is not malformed.
#[test]
fn revocation_of_a_holder_of_a_plain_lock_names_the_kinds() {
    let mut plain = Row::default();
    for (name, value) in [("v", 1.into()), ("guid", "g".into()), ("leaseId", "n".into()), ("token", 5.into())] {
        plain.set(name, value);
    }
    plain.set("expiresOn", 0.into());
    let mut machine = start(revoke(&LeaseId::from_random(1), false), Some(&plain));
    let expected = RowError::OtherKind { found: Kind::Mutex, requested: Kind::RwLock };
    assert_eq!(machine.next(&now(3)), Step::Done(ChangeRowEnd::RowError(expected)));
}

/// Others may change the row again and again, so a conflict is followed by a pause and a read.
#[test]
fn raced_conversion_pauses_before_it_tries_again() {
    let (free, held) = (shared_row(&[]), shared_row(&[&LeaseId::from_random(1)]));
    let mut machine = start(RowChange::Convert(Kind::Mutex), Some(&free));
    let op = write(&mut machine, 3);
    let mut changed = free.clone();
    changed.set("guid", "h".into());
    assert!(matches!(apply(Some(&changed), &op), Verdict::Conflict(_)));
    answer(&mut machine, 4, &Outcome::Conflict(Some(changed.clone())));
    assert!(matches!(machine.next(&now(5)), Step::Pause(_)));
    assert_eq!(machine.next(&now(2_000)), Step::Read { strong: true });
    machine.handle(&now(2_001), Response::row(Some(&changed)));
    let after = applied(&changed, &write(&mut machine, 2_002));
    assert_eq!(after.kind(), Ok(Kind::Mutex));
    assert!(after.token() > changed.token());
    // A holder that has joined meanwhile ends the attempt.
    let mut machine = start(RowChange::Convert(Kind::Mutex), Some(&free));
    let _op = write(&mut machine, 3);
    answer(&mut machine, 4, &Outcome::Conflict(Some(held.clone())));
    assert_eq!(machine.next(&now(5)), Step::Done(ChangeRowEnd::Held(held)));
}
