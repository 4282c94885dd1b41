//! `LegacyGet`: `getLock` of npm dynamo-lock.

use std::time::Duration;

use dynamo_lock_protocol::{
    FencingToken, LegacyEnd, LegacyGet, Machine, Op, OpKind, Outcome, Response, Row, RowError, SentAt, Step, Verdict,
    apply, attr,
};

use crate::support::{EPOCH_MS, at, name, now, npm_row, row};

fn other_row(expires_on: u64) -> Row {
    npm_row("other", expires_on)
}

/// Returns a row with just this record version.
fn row_with_version(version: &str) -> Row {
    row(&[(attr::GUID, version.into())])
}

fn native(expires_on: u64) -> Row {
    row(&[
        (attr::V, 1.into()),
        (attr::GUID, "native".into()),
        (attr::LEASE_ID, "r".into()),
        (attr::TOKEN, 7.into()),
        (attr::EXPIRES_ON, expires_on.into()),
        (attr::LEASE_MS, 20_000.into()),
        (attr::OWNER, "test".into()),
        (attr::EXPIRY_CLOCK, attr::SERVICE_CLOCK.into()),
        (attr::DATA, "kept".into()),
        ("note", "kept too".into()),
    ])
}

fn get(duration_ms: i64) -> LegacyGet {
    LegacyGet::new(name(), duration_ms, at(0))
}

/// Returns the response to a put. The machine does not need the time at which it was sent.
fn outcome(outcome: &Outcome) -> Response<'_> {
    Response::outcome(SentAt(at(0)), outcome)
}

/// Returns the put after a read that returned `seen`.
fn put(machine: &mut LegacyGet, ms: u64, seen: Option<&Row>) -> Op {
    assert_eq!(machine.next(&now(ms)), Step::Read { strong: true });
    machine.handle(&now(ms), Response::row(seen));
    match machine.next(&now(ms)) {
        Step::Write(op) => op,
        other => panic!("not a write: {other:?}"),
    }
}

/// Returns the row after the put.
fn applied(row: Option<&Row>, op: &Op) -> Row {
    match apply(row, op) {
        Verdict::Applied(row) => row,
        verdict => panic!("{verdict:?}"),
    }
}

fn end(machine: &mut LegacyGet, ms: u64) -> LegacyEnd {
    match machine.next(&now(ms)) {
        Step::Done(end) => end,
        other => panic!("not done: {other:?}"),
    }
}

#[test]
fn only_rows_expired_by_wall_clock_are_taken() {
    for expired in [other_row(EPOCH_MS), native(0), native(EPOCH_MS), row_with_version("g")] {
        put(&mut get(5), 0, Some(&expired));
    }
    for held in [other_row(EPOCH_MS + 1), native(EPOCH_MS + 1)] {
        let mut machine = get(5);
        machine.next(&now(0));
        machine.handle(&now(0), Response::row(Some(&held)));
        let expires_on = (EPOCH_MS + 1).into();
        assert_eq!(end(&mut machine, 0), LegacyEnd::Held { expires_on, now_ms: EPOCH_MS });
    }
}

/// The put writes the two attributes of npm dynamo-lock, and keeps the token, the payload and unknown attributes.
#[test]
fn put_keeps_token_payload_and_unknown_attributes() {
    let seen = native(0);
    let op = put(&mut get(1_234), 0, Some(&seen));
    let after = applied(Some(&seen), &op);
    let expected = row(&[
        (attr::GUID, op.version.as_str().into()),
        (attr::EXPIRES_ON, (EPOCH_MS + 1_234).into()),
        (attr::TOKEN, 8.into()),
        (attr::DATA, "kept".into()),
        ("note", "kept too".into()),
    ]);
    assert_eq!(after, expected);
    let fresh = put(&mut get(1), 0, None);
    let after = applied(None, &fresh);
    assert_eq!(after.attributes().count(), 2);
}

/// Lesson 51.
#[test]
fn seen_version_with_another_token_is_not_overwritten() {
    let seen = native(0);
    let op = put(&mut get(5), 0, Some(&seen));
    let mut later = seen.clone();
    later.set(attr::TOKEN, FencingToken::new(9).get().into());
    assert!(matches!(apply(Some(&later), &op), Verdict::Conflict(_)), "the same version with a larger token");
    assert!(matches!(apply(Some(&seen), &op), Verdict::Applied(_)));
}

/// Lesson 30.
#[test]
fn lock_renewed_since_the_read_is_not_overwritten() {
    let seen = native(EPOCH_MS - 1);
    let op = put(&mut get(5), 0, Some(&seen));
    let mut renewed = seen.clone();
    renewed.set(attr::GUID, "renewed".into());
    assert!(matches!(apply(Some(&renewed), &op), Verdict::Conflict(_)));
    let first = put(&mut get(5), 0, None);
    assert!(matches!(apply(Some(&other_row(5)), &first), Verdict::Conflict(_)));
}

#[test]
fn unusable_rows_are_refused_by_name() {
    let cases = [
        (row(&[("total", 5.into())]), RowError::NotALock),
        (row(&[(attr::GUID, "g".into()), (attr::V, 2.into())]), RowError::UnknownVersion { v: "2".into() }),
    ];
    for (stored, error) in cases {
        let mut machine = get(5);
        machine.next(&now(0));
        machine.handle(&now(0), Response::row(Some(&stored)));
        assert_eq!(end(&mut machine, 0), LegacyEnd::RowError(error));
    }
}

#[test]
fn applied_put_with_lost_answer_is_recognized() {
    let mut machine = get(60_000);
    let op = put(&mut machine, 0, None);
    let after = applied(None, &op);
    machine.handle(&now(10), outcome(&Outcome::Unknown));
    assert!(matches!(machine.next(&now(10)), Step::Pause(_)));
    assert_eq!(machine.next(&now(1_100)), Step::Read { strong: true });
    machine.handle(&now(1_100), Response::row(Some(&after)));
    assert_eq!(end(&mut machine, 1_100), LegacyEnd::Got);
}

/// A put that another client has overtaken is lost.
#[test]
fn unapplied_put_is_retried_identically() {
    let mut machine = get(60_000);
    let op = put(&mut machine, 0, Some(&other_row(5)));
    machine.handle(&now(10), outcome(&Outcome::Unknown));
    assert_eq!(machine.next(&now(1_100)), Step::Read { strong: true });
    machine.handle(&now(1_100), Response::row(Some(&other_row(5))));
    assert_eq!(machine.next(&now(1_100)), Step::Write(op.clone()));
    machine.handle(&now(1_100), outcome(&Outcome::Unknown));
    assert_eq!(machine.next(&now(2_200)), Step::Read { strong: true });
    machine.handle(&now(2_200), Response::row(Some(&row_with_version("another"))));
    assert_eq!(end(&mut machine, 2_200), LegacyEnd::Lost);
}

/// A conflict without the row is followed by a read.
#[test]
fn conflict_with_own_version_is_success() {
    let mut machine = get(60_000);
    let op = put(&mut machine, 0, None);
    let own = row_with_version(op.version.as_str());
    let mut with_own_row = machine.clone();
    with_own_row.handle(&now(1), outcome(&Outcome::Conflict(Some(own.clone()))));
    assert_eq!(end(&mut with_own_row, 1), LegacyEnd::Got);
    let mut with_other_row = machine.clone();
    with_other_row.handle(&now(1), outcome(&Outcome::Conflict(Some(other_row(5)))));
    assert_eq!(end(&mut with_other_row, 1), LegacyEnd::Lost);
    machine.handle(&now(1), outcome(&Outcome::Conflict(None)));
    assert_eq!(machine.next(&now(1)), Step::Read { strong: true });
    machine.handle(&now(2), Response::row(Some(&own)));
    assert_eq!(end(&mut machine, 2), LegacyEnd::Got);
}

#[test]
fn put_confirmed_after_its_end_is_unknown() {
    let mut machine = get(50);
    let op = put(&mut machine, 0, None);
    machine.handle(&now(10), outcome(&Outcome::Unknown));
    assert!(matches!(machine.next(&now(10)), Step::Pause(_)));
    machine.next(&now(30));
    let own = row_with_version(op.version.as_str());
    machine.handle(&now(51), Response::row(Some(&own)));
    assert_eq!(end(&mut machine, 51), LegacyEnd::Unknown);
    // As in npm dynamo-lock, a response to the first try counts even if the lock has expired.
    let mut short = get(0);
    put(&mut short, 0, None);
    short.handle(&now(900), outcome(&Outcome::Applied(None)));
    assert_eq!(end(&mut short, 900), LegacyEnd::Got);
}

/// Ten seconds are a second limit.
#[test]
fn legacy_get_gives_up_after_four_failures() {
    let (mut failures, mut ms) = (0, 0);
    let mut machine = get(60_000);
    while let step @ (Step::Read { strong: true } | Step::Pause(_)) = machine.next(&now(ms)) {
        match step {
            Step::Pause(length) => ms += length.as_millis() as u64 + 1,
            _ => {
                machine.handle(&now(ms), Response::unread());
                failures += 1;
            }
        }
    }
    assert_eq!((failures, end(&mut machine, ms)), (4, LegacyEnd::Unknown));
    let mut slow = get(60_000);
    assert_eq!(slow.request_limit(at(4_000)), Duration::from_secs(6));
    slow.next(&now(0));
    slow.handle(&now(10_000), Response::unread());
    assert_eq!(end(&mut slow, 10_000), LegacyEnd::Unknown);
}

#[test]
fn throttled_put_is_retried_without_a_read() {
    let mut machine = get(60_000);
    let op = put(&mut machine, 0, None);
    machine.handle(&now(1), outcome(&Outcome::Throttled));
    assert_eq!(machine.next(&now(1_200)), Step::Write(op));
}

#[test]
fn extreme_durations_do_not_overflow() {
    for (duration, expires) in [(i64::MIN, 0), (-5, EPOCH_MS - 5), (i64::MAX, EPOCH_MS + i64::MAX as u64)] {
        let op = put(&mut get(duration), 0, None);
        assert!(matches!(op.kind, OpKind::LegacyGet { expires_on, .. } if expires_on == expires), "{duration}");
    }
}
