//! The record of the last hold.

use std::time::{Duration, SystemTime};

use dynamo_lock_protocol::{
    Acquire, Ends, FencingToken, Finish, Held, HoldEnd, HoldHistory, Kind, LastHold, LeaseId, LossReason, Machine,
    NextLease, Op, OpKind, Outcome, RecordVersion, ReleaseEnd, Request, Response, Revoke, Row, Step, Target, Value,
    WaitMode, attr,
};

use crate::support::{EPOCH_MS, TestHost, at, date, held_row, name, npm_row, request, row, row_bytes, write};

/// Acquires the free lock for this owner.
fn acquire(host: &mut TestHost, owner: &str, row: &mut Option<Row>, ms: u64) -> Held {
    let request = Request { owner: owner.into(), ..request(20, WaitMode::Wait) };
    let mut machine = Acquire::new(request, None);
    host.write(row, &mut machine, ms, ms, None);
    host.acquired(ms, &mut machine)
}

fn last(row: &Option<Row>) -> LastHold {
    LastHold::of(row.as_ref().expect("a row")).expect("a record")
}

fn moment(ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(EPOCH_MS + ms)
}

/// Checks that the row records a hold of `owner` from `from` to `to`.
#[track_caller]
fn assert_last(row: &Option<Row>, owner: &str, from: u64, to: u64, end: HoldEnd) {
    let last = last(row);
    assert_eq!((last.owner.as_deref(), last.end), (Some(owner), end));
    assert_eq!((last.acquired_at, last.held), (Some(moment(from)), Some(Duration::from_millis(to - from))));
}

#[test]
fn release_records_holder_and_exit_code() {
    let (mut host, mut row) = (TestHost::without_dates(1), None);
    let mut held = acquire(&mut host, "first", &mut row, 1_000);
    assert_eq!(LastHold::of(row.as_ref().unwrap()), None, "no hold has ended");
    held.set_exit_code(3);
    let mut release = host.release(4_500, &held);
    host.write(&mut row, &mut release, 4_500, 4_600, None);
    assert_last(&row, "first", 1_000, 4_500, HoldEnd::Released);
    assert_eq!(last(&row).exit_code, Some(3));

    // The record stays while the next holder has the lock. Its release removes the exit code.
    let held = acquire(&mut host, "second", &mut row, 6_000);
    assert_last(&row, "first", 1_000, 4_500, HoldEnd::Released);
    let mut release = host.release(7_000, &held);
    host.write(&mut row, &mut release, 7_000, 7_000, None);
    assert_last(&row, "second", 6_000, 7_000, HoldEnd::Released);
    assert_eq!(last(&row).exit_code, None);
}

/// The host's wall clock is set back by an hour during the hold.
#[test]
fn step_of_wall_clock_does_not_change_recorded_length() {
    let (mut host, mut row) = (TestHost::without_dates(1), None);
    let held = acquire(&mut host, "first", &mut row, 0);
    host.wall_ahead_ms = -3_600_000;
    let mut release = host.release(5_000, &held);
    host.write(&mut row, &mut release, 5_000, 5_000, None);
    assert_last(&row, "first", 0, 5_000, HoldEnd::Released);
}

/// The answer of a release is lost. Whether its repetition or another acquisition comes first, the record is true.
#[test]
fn lost_answer_of_release_leaves_true_record() {
    let (mut host, mut other, mut row) = (TestHost::without_dates(1), TestHost::without_dates(2), None);
    let held = acquire(&mut host, "first", &mut row, 0);
    let mut release = host.release(1_000, &held);
    let op = host.op(1_000, &mut release);
    assert!(matches!(write(&mut row, &op), Outcome::Applied(_)));
    host.respond(1_500, &mut release, 1_000, &Outcome::Unknown, None);
    assert_last(&row, "first", 0, 1_000, HoldEnd::Released);

    let next = acquire(&mut other, "second", &mut row, 1_600);
    let repeated = host.op(2_500, &mut release);
    assert_eq!(repeated, op);
    let conflict = write(&mut row, &repeated);
    assert!(matches!(conflict, Outcome::Conflict(_)));
    host.respond(2_600, &mut release, 2_500, &conflict, None);
    assert_eq!(host.next(2_600, &mut release), Step::Done(ReleaseEnd::Released));
    assert_last(&row, "first", 0, 1_000, HoldEnd::Released);

    let mut release = other.release(3_000, &next);
    other.write(&mut row, &mut release, 3_000, 3_000, None);
    assert!(matches!(write(&mut row, &repeated), Outcome::Conflict(_)), "a late copy of the first release");
    assert_last(&row, "second", 1_600, 3_000, HoldEnd::Released);
}

/// A waiter finds the row that a holder left at 10 s, and takes it over much later.
#[test]
fn takeover_records_expiry_at_end_of_lease() {
    let (mut host, mut taker, mut row) = (TestHost::new(1), TestHost::new(2), None);
    host.observe(date(0), 0, 0);
    let request_of = |owner: &str| Request { owner: owner.into(), ..request(20, WaitMode::Wait) };
    let mut machine = Acquire::new(request_of("first"), None);
    host.write(&mut row, &mut machine, 0, 0, Some(date(0)));
    let held = host.acquired(0, &mut machine);

    let mut ms = 3_600_000;
    taker.observe(date(ms), ms, ms);
    let mut machine = Acquire::new(request_of("second"), None);
    taker.write(&mut row, &mut machine, ms, ms, Some(date(ms)));
    let stored = row.clone().unwrap();
    let Step::Write(op) = taker.run(&mut ms, &mut machine, true, |_| stored.clone()) else { panic!("a takeover") };
    assert!(matches!(op.kind, OpKind::TakeOver { .. }), "{op:?}");
    assert!(matches!(write(&mut row, &op), Outcome::Applied(_)));
    let record = last(&row);
    assert_eq!((record.owner.as_deref(), record.end), (Some("first"), HoldEnd::Expired));
    // The upper bound of service time is about 3 s ahead.
    assert!((20_000..23_100).contains(&record.held.unwrap().as_millis()), "{record:?}");
    assert_eq!(row.as_ref().unwrap().text(attr::OWNER), Some("second"));

    // The release of the lost lease changes nothing.
    let mut release = host.release(ms, &held);
    let op = host.op(ms, &mut release);
    assert!(matches!(write(&mut row, &op), Outcome::Conflict(_)));
}

#[test]
fn revocation_is_recorded_until_next_hold_ends() {
    let (mut host, mut taker, mut row) = (TestHost::without_dates(1), TestHost::without_dates(2), None);
    let held = acquire(&mut host, "first", &mut row, 0);
    let mut revoke = Revoke::new(&name(), Target::Token(held.token()), false, &host.now(2_000));
    host.write(&mut row, &mut revoke, 2_000, 2_000, None);
    assert_last(&row, "first", 0, 2_000, HoldEnd::Revoked);

    // The takeover after the end of the lease ends no hold.
    let mut ms = 3_000;
    let mut machine = Acquire::new(request(20, WaitMode::Wait), None);
    taker.write(&mut row, &mut machine, ms, ms, None);
    let stored = row.clone().unwrap();
    let Step::Write(op) = taker.run(&mut ms, &mut machine, false, |_| stored.clone()) else { panic!("a takeover") };
    assert!(matches!(op.kind, OpKind::TakeOver { ended: None, .. }), "{op:?}");
    assert!(matches!(write(&mut row, &op), Outcome::Applied(_)));
    assert_last(&row, "first", 0, 2_000, HoldEnd::Revoked);

    let token = row.as_ref().unwrap().token().unwrap();
    let mut force = Revoke::new(&name(), Target::Token(token), true, &host.now(ms + 500));
    host.write(&mut row, &mut force, ms + 500, ms + 500, None);
    assert_last(&row, "test", ms, ms + 500, HoldEnd::Forced);
}

#[test]
fn success_is_recorded_as_release() {
    let (mut host, mut row) = (TestHost::without_dates(1), None);
    let request = Request { kind: Kind::Once, owner: "first".into(), ..request(20, WaitMode::Wait) };
    let mut machine = Acquire::new(request, None);
    assert_eq!(host.next(0, &mut machine), Step::Read { strong: false });
    host.handle(0, &mut machine, Response::row(None));
    host.write(&mut row, &mut machine, 0, 0, None);
    let mut held = host.acquired(0, &mut machine);
    held.set_exit_code(0);
    let mut finish = Finish::new(&held, "first".into(), None, &host.now(900));
    host.write(&mut row, &mut finish, 900, 900, None);
    assert_last(&row, "first", 0, 900, HoldEnd::Released);
    assert_eq!(last(&row).exit_code, Some(0));
}

/// An acquisition whose user gave up before the lock was reported is no hold.
#[test]
fn clean_up_keeps_record() {
    let (mut host, mut row) = (TestHost::without_dates(1), None);
    let held = acquire(&mut host, "first", &mut row, 0);
    let mut release = host.release(1_000, &held);
    host.write(&mut row, &mut release, 1_000, 1_000, None);
    for is_won in [false, true] {
        let mut machine = Acquire::new(Request { owner: "second".into(), ..request(20, WaitMode::Wait) }, None);
        let op = host.op(2_000, &mut machine);
        let outcome = write(&mut row, &op);
        assert!(matches!(outcome, Outcome::Applied(_)));
        if is_won {
            host.respond(2_100, &mut machine, 2_000, &outcome, None);
            assert!(machine.has_won());
        }
        let clean_up = machine.cancel(&host.now(2_200));
        host.write(&mut row, &mut clean_up.expect("a clean-up"), 2_200, 2_200, None);
        assert_eq!(row.as_ref().unwrap().whole(attr::EXPIRES_ON), Some(0));
        assert_last(&row, "first", 0, 1_000, HoldEnd::Released);
    }
}

/// The lease of the guard has ended, but no other client has acquired the lock before its release.
#[test]
fn release_after_loss_is_recorded() {
    let (mut host, mut row) = (TestHost::without_dates(1), None);
    let mut held = acquire(&mut host, "first", &mut row, 0);
    held.stop_renewing(at(500));
    let mut release = host.release(700, &held);
    host.write(&mut row, &mut release, 700, 700, None);
    assert_eq!(host.next(700, &mut release), Step::Done(ReleaseEnd::Lost(LossReason::RenewalStopped)));
    assert_last(&row, "first", 0, 700, HoldEnd::Released);
}

#[test]
fn rows_of_npm_have_no_record() {
    let (mut host, mut stored) = (TestHost::without_dates(1), Some(npm_row("g", EPOCH_MS - 60_000)));
    stored.as_mut().unwrap().set("token", 7.into());
    let (mut machine, mut ms) = (Acquire::new(request(20, WaitMode::Wait), None), 0);
    host.write(&mut stored, &mut machine, ms, ms, None);
    let seen = stored.clone().unwrap();
    let step = host.run(&mut ms, &mut machine, false, |_| seen.clone());
    assert!(matches!(&step, Step::Write(op) if matches!(op.kind, OpKind::TakeOver { ended: None, .. })), "{step:?}");

    let mut recorded = held_row(20_000);
    recorded.set(attr::LAST_END, "released".into());
    let kind = OpKind::LegacyGet { seen: Some(recorded.clone()), expires_on: EPOCH_MS };
    let put = Op { name: name(), version: "new".into(), row_kind: Kind::Mutex, kind };
    let mut row = Some(recorded);
    assert!(matches!(write(&mut row, &put), Outcome::Applied(_)));
    assert_eq!(LastHold::of(row.as_ref().unwrap()), None);
}

/// Another program may write anything.
#[test]
fn malformed_record_is_read_without_error() {
    let with = |name: &str, value: Value| {
        let mut stored = row(&[
            (attr::LAST_END, "expired".into()),
            (attr::LAST_OWNER, "me".into()),
            (attr::LAST_ACQUIRED_ON, 500.into()),
            (attr::LAST_ENDED_ON, 400.into()),
            (attr::LAST_EXIT_CODE, 256.into()),
        ]);
        stored.set(name, value);
        LastHold::of(&stored)
    };
    let known = with("x", 0.into()).expect("a record");
    assert_eq!(
        (known.held, known.exit_code),
        (Some(Duration::ZERO), None),
        "an end before the begin, and no exit code"
    );
    assert_eq!(with(attr::LAST_END, "vanished".into()), None);
    assert_eq!(with(attr::LAST_END, 1.into()), None);
    assert_eq!(with(attr::LAST_OWNER, 1.into()).map(|last| last.owner), Some(None));
    assert_eq!(with(attr::LAST_ACQUIRED_ON, "x".into()).map(|last| (last.acquired_at, last.held)), Some((None, None)));
    assert_eq!(with(attr::LAST_EXIT_CODE, 143.into()).and_then(|last| last.exit_code), Some(143));
}

/// A write costs one unit for each 1,024 bytes of the row. The longest stored owner has 128 bytes of a label, a host of
/// 64 bytes, a process ID and an instance ID.
#[test]
fn longest_row_of_a_lock_costs_one_write_unit() {
    let owner = format!("{} ({}, pid 4194304, 01234567)", "l".repeat(128), "h".repeat(64));
    let longest_history = HoldHistory::new([Duration::from_secs(10_000); 16], 100_000);
    let (mut host, mut stored, mut longest) = (TestHost::new(1), None, 0);
    host.observe(date(0), 0, 0);
    let mut measure = |stored: &Option<Row>| longest = longest.max(row_bytes(stored.as_ref().unwrap()));
    for ms in [0, 1_000] {
        let mut machine = Acquire::new(Request { owner: owner.clone(), ..request(20, WaitMode::Wait) }, None);
        host.write(&mut stored, &mut machine, ms, ms, Some(date(ms)));
        measure(&stored);
        let mut held = host.acquired(ms, &mut machine);
        held.set_exit_code(255);
        let token = held.token();
        let next = NextLease {
            lease_id: LeaseId::from_random(1 << 100 | u128::from(ms)),
            lease_ms: 3_599_999,
            ends: Ends { expires_on: EPOCH_MS + 3_602_999, service_timestamp: true, ttl: 1_800_691_201 },
            owner: owner.clone(),
            data: None,
            liveness_key: None,
        };
        let hand_over = OpKind::HandOver { lease_id: held.lease_id().clone(), token, next: next.clone() };
        let mut release = host.release(ms + 123, &held);
        let Op { kind: OpKind::Release { ended, .. }, .. } = host.op(ms + 123, &mut release) else {
            panic!("a release")
        };
        let token = FencingToken::new(token.get() + 1);
        let release = OpKind::Release {
            lease_id: next.lease_id,
            token: Some(token),
            ttl: 1_800_691_201,
            history: Some(longest_history),
            ended,
        };
        let revoke = OpKind::Revoke { target: Target::Token(token), lease_id: LeaseId::from_random(1 << 101), ended };
        let op = |n, kind| Op { name: name(), version: RecordVersion::from_random(n), row_kind: Kind::Mutex, kind };
        assert!(matches!(write(&mut stored, &op(1 << 100, hand_over)), Outcome::Applied(_)));
        measure(&stored);
        let mut revoked = stored.clone();
        assert!(matches!(write(&mut revoked, &op(1 << 101, revoke)), Outcome::Applied(_)));
        measure(&revoked);
        assert!(matches!(write(&mut stored, &op(1 << 102, release)), Outcome::Applied(_)));
        measure(&stored);
    }
    println!("{longest} bytes");
    // The key has 4 bytes and the name of the lock.
    assert!((800..=1024 - 4 - 100).contains(&longest), "{longest} bytes");
}
