//! The original's `getLock`, as a machine: what it asks, what it makes of each answer, and when it gives up.

use std::time::Duration;

use dynamo_lock_protocol::{
    ClockReading, Entropy, FencingToken, LegacyEnd, LegacyGet, LockName, Now, Op, OpKind, Outcome, Row, RowError, Step,
    Value, Verdict, apply, attr,
};

const EPOCH_MS: u64 = 1_800_000_000_000;

fn at(ms: u64) -> ClockReading {
    ClockReading { boot_ns: ms * 1_000_000, raw_ns: ms * 1_000_000, wall_ms: EPOCH_MS + ms }
}

fn now(ms: u64) -> Now<'static> {
    Now {
        at: at(ms),
        service: None,
        entropy: Entropy { version: u128::from(ms) + 1, lease_id: 0, jitter: u64::MAX - 1 },
    }
}

fn row(attributes: &[(&str, Value)]) -> Row {
    Row::new(attributes.iter().map(|(name, value)| (name.to_string(), value.clone())))
}

fn legacy(expires_on: u64) -> Row {
    row(&[(attr::GUID, "theirs".into()), (attr::EXPIRES_ON, expires_on.into())])
}

fn native(expires_on: u64) -> Row {
    row(&[
        (attr::V, 1.into()),
        (attr::GUID, "ours".into()),
        (attr::LEASE_ID, "r".into()),
        (attr::TOKEN, 7.into()),
        (attr::EXPIRES_ON, expires_on.into()),
        (attr::LEASE_MS, 20_000.into()),
        (attr::OWNER, "somebody".into()),
        (attr::EXPIRY_CLOCK, attr::SERVICE_CLOCK.into()),
        (attr::DATA, "kept".into()),
        ("note", "kept too".into()),
    ])
}

fn get(duration_ms: i64) -> LegacyGet {
    LegacyGet::new(LockName::new("a").unwrap(), duration_ms, at(0))
}

/// The put after this row was read.
fn put(machine: &mut LegacyGet, ms: u64, seen: Option<&Row>) -> Op {
    assert_eq!(machine.next(&now(ms)), Step::Read { strong: true });
    machine.handle_row(&now(ms), seen);
    match machine.next(&now(ms)) {
        Step::Write(op) => op,
        other => panic!("not a write: {other:?}"),
    }
}

fn end(machine: &mut LegacyGet, ms: u64) -> LegacyEnd {
    match machine.next(&now(ms)) {
        Step::Done(end) => end,
        other => panic!("not done: {other:?}"),
    }
}

#[test]
fn what_is_over_on_the_wall_clock_is_taken_and_nothing_else() {
    for over in [legacy(EPOCH_MS), native(0), native(EPOCH_MS), row(&[(attr::GUID, "g".into())])] {
        put(&mut get(5), 0, Some(&over));
    }
    for held in [legacy(EPOCH_MS + 1), native(EPOCH_MS + 1)] {
        let mut machine = get(5);
        machine.next(&now(0));
        machine.handle_row(&now(0), Some(&held));
        let expires_on = (EPOCH_MS + 1).into();
        assert_eq!(end(&mut machine, 0), LegacyEnd::Held { expires_on, now_ms: EPOCH_MS });
    }
}

#[test]
fn the_put_has_the_originals_two_attributes_and_carries_on_token_payload_and_what_is_not_ours() {
    let seen = native(0);
    let op = put(&mut get(1_234), 0, Some(&seen));
    let Verdict::Applied(after) = apply(Some(&seen), &op) else { panic!("a conflict") };
    let expected = row(&[
        (attr::GUID, op.version.as_str().into()),
        (attr::EXPIRES_ON, (EPOCH_MS + 1_234).into()),
        (attr::TOKEN, 8.into()),
        (attr::DATA, "kept".into()),
        ("note", "kept too".into()),
    ]);
    assert_eq!(after, expected);
    let fresh = put(&mut get(1), 0, None);
    let Verdict::Applied(after) = apply(None, &fresh) else { panic!("a conflict") };
    assert_eq!(after.attributes().count(), 2);
}

#[test]
fn lesson_51_a_version_that_came_back_with_another_token_is_not_overwritten() {
    let seen = native(0);
    let op = put(&mut get(5), 0, Some(&seen));
    let mut since = seen.clone();
    since.set(attr::TOKEN, FencingToken::new(9).get().into());
    assert!(matches!(apply(Some(&since), &op), Verdict::Conflict(_)), "the same guid, a larger token");
    assert!(matches!(apply(Some(&seen), &op), Verdict::Applied(_)));
}

#[test]
fn lesson_30_a_lock_that_was_renewed_or_taken_since_is_not_overwritten() {
    let seen = native(EPOCH_MS - 1);
    let op = put(&mut get(5), 0, Some(&seen));
    let mut renewed = seen.clone();
    renewed.set(attr::GUID, "renewed".into());
    assert!(matches!(apply(Some(&renewed), &op), Verdict::Conflict(_)));
    let first = put(&mut get(5), 0, None);
    assert!(matches!(apply(Some(&legacy(5)), &first), Verdict::Conflict(_)));
}

#[test]
fn rows_that_we_may_not_touch_are_refused_by_name() {
    let cases = [
        (row(&[("total", 5.into())]), RowError::NotALock),
        (row(&[(attr::GUID, "g".into()), (attr::V, 2.into())]), RowError::UnknownVersion { v: "2".into() }),
    ];
    for (there, fault) in cases {
        let mut machine = get(5);
        machine.next(&now(0));
        machine.handle_row(&now(0), Some(&there));
        assert_eq!(end(&mut machine, 0), LegacyEnd::RowError(fault));
    }
}

#[test]
fn a_put_whose_answer_was_lost_is_read_back_and_recognised() {
    let mut machine = get(60_000);
    let op = put(&mut machine, 0, None);
    let Verdict::Applied(after) = apply(None, &op) else { panic!("a conflict") };
    machine.handle_outcome(&now(10), &Outcome::Unknown);
    assert!(matches!(machine.next(&now(10)), Step::Pause(_)));
    assert_eq!(machine.next(&now(1_100)), Step::Read { strong: true });
    machine.handle_row(&now(1_100), Some(&after));
    assert_eq!(end(&mut machine, 1_100), LegacyEnd::Got);
}

#[test]
fn one_that_did_not_land_is_sent_again_the_same_and_one_that_was_overtaken_is_lost() {
    let mut machine = get(60_000);
    let op = put(&mut machine, 0, Some(&legacy(5)));
    machine.handle_outcome(&now(10), &Outcome::Unknown);
    assert_eq!(machine.next(&now(1_100)), Step::Read { strong: true });
    machine.handle_row(&now(1_100), Some(&legacy(5)));
    assert_eq!(machine.next(&now(1_100)), Step::Write(op.clone()));
    machine.handle_outcome(&now(1_100), &Outcome::Unknown);
    assert_eq!(machine.next(&now(2_200)), Step::Read { strong: true });
    machine.handle_row(&now(2_200), Some(&row(&[(attr::GUID, "another".into())])));
    assert_eq!(end(&mut machine, 2_200), LegacyEnd::Lost);
}

#[test]
fn a_conflict_is_ours_if_the_row_says_so_and_is_read_if_the_answer_does_not_bring_it() {
    let mut machine = get(60_000);
    let op = put(&mut machine, 0, None);
    let mine = row(&[(attr::GUID, op.version.as_str().into())]);
    let mut brought = machine.clone();
    brought.handle_outcome(&now(1), &Outcome::Conflict(Some(mine.clone())));
    assert_eq!(end(&mut brought, 1), LegacyEnd::Got);
    let mut stranger = machine.clone();
    stranger.handle_outcome(&now(1), &Outcome::Conflict(Some(legacy(5))));
    assert_eq!(end(&mut stranger, 1), LegacyEnd::Lost);
    machine.handle_outcome(&now(1), &Outcome::Conflict(None));
    assert_eq!(machine.next(&now(1)), Step::Read { strong: true });
    machine.handle_row(&now(2), Some(&mine));
    assert_eq!(end(&mut machine, 2), LegacyEnd::Got);
}

#[test]
fn a_put_that_is_confirmed_only_after_it_was_over_is_not_reported() {
    let mut machine = get(50);
    let op = put(&mut machine, 0, None);
    machine.handle_outcome(&now(10), &Outcome::Unknown);
    assert!(matches!(machine.next(&now(10)), Step::Pause(_)));
    machine.next(&now(30));
    let mine = row(&[(attr::GUID, op.version.as_str().into())]);
    machine.handle_row(&now(51), Some(&mine));
    assert_eq!(end(&mut machine, 51), LegacyEnd::Unknown);
    // An answer to the first try counts, however short the lock: as with the original.
    let mut short = get(0);
    let op = put(&mut short, 0, None);
    let Verdict::Applied(after) = apply(None, &op) else { panic!("a conflict") };
    short.handle_outcome(&now(900), &Outcome::Applied(after));
    assert_eq!(end(&mut short, 900), LegacyEnd::Got);
}

#[test]
fn it_gives_up_after_a_few_failures_and_after_ten_seconds() {
    let (mut failures, mut ms) = (0, 0);
    let mut machine = get(60_000);
    while let step @ (Step::Read { strong: true } | Step::Pause(_)) = machine.next(&now(ms)) {
        match step {
            Step::Pause(length) => ms += length.as_millis() as u64 + 1,
            _ => {
                machine.handle_failure(&now(ms));
                failures += 1;
            }
        }
    }
    assert_eq!((failures, end(&mut machine, ms)), (4, LegacyEnd::Unknown));
    let mut slow = get(60_000);
    assert_eq!(slow.time_left(at(4_000)), Duration::from_secs(6));
    slow.next(&now(0));
    slow.handle_failure(&now(10_000));
    assert_eq!(end(&mut slow, 10_000), LegacyEnd::Unknown);
}

#[test]
fn a_throttled_put_is_sent_again_without_a_read() {
    let mut machine = get(60_000);
    let op = put(&mut machine, 0, None);
    machine.handle_outcome(&now(1), &Outcome::Throttled);
    assert_eq!(machine.next(&now(1_200)), Step::Write(op));
}

#[test]
fn durations_of_any_kind_do_not_overflow() {
    for (duration, expires) in [(i64::MIN, 0), (-5, EPOCH_MS - 5), (i64::MAX, EPOCH_MS + i64::MAX as u64)] {
        let op = put(&mut get(duration), 0, None);
        assert!(matches!(op.kind, OpKind::LegacyGet { expires_on, .. } if expires_on == expires), "{duration}");
    }
}
