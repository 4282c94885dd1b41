//! Regression tests of the state machines. `docs/internals/track-record.md` describes the faults.

use std::cmp::Ordering;
use std::time::Duration;

use dynamo_lock_protocol::{
    Acquire, AcquireEnd, ClockReading, Entropy, FencingToken, Held, HeldStep, LockName, Now, Number, Op, OpKind,
    Outcome, ReceivedAt, Release, ReleaseEnd, Renewal, Request, Response, Revoke, Row, RowError, SentAt, ServiceClock,
    ServiceDate, Step, Target, Timing, Value, Verdict, WaitMode, apply, attr,
};

const EPOCH_MS: u64 = 1_800_000_000_000;

fn at(ms: u64) -> ClockReading {
    ClockReading { boot_ns: ms * 1_000_000, raw_ns: ms * 1_000_000, wall_ms: EPOCH_MS + ms }
}

/// The time of a host without a service clock; luck that always gives the longest pause.
fn now(ms: u64) -> Now<'static> {
    let luck = u128::from(ms) + 1;
    Now {
        at: at(ms),
        service: None,
        entropy: Entropy { version: luck << 8, lease_id: luck << 64, jitter: u64::MAX - 1 },
    }
}

fn with<'a>(service: &'a ServiceClock, ms: u64) -> Now<'a> {
    Now { service: Some(service), ..now(ms) }
}

fn request(lease_s: u64, wait_mode: WaitMode) -> Request {
    Request {
        name: LockName::new("a").unwrap(),
        owner: "test".into(),
        timing: Timing::new(Duration::from_secs(lease_s)).unwrap(),
        renewal: Renewal::Automatic,
        max_hold: None,
        data: None,
        liveness_key: None,
        wait_mode,
    }
}

fn row(attributes: &[(&str, Value)]) -> Row {
    Row::new(attributes.iter().map(|(name, value)| (name.to_string(), value.clone())))
}

fn held(lease_ms: u64) -> Row {
    row(&[
        (attr::V, 1.into()),
        (attr::GUID, "g".into()),
        (attr::LEASE_ID, "r".into()),
        (attr::TOKEN, 7.into()),
        (attr::EXPIRES_ON, (EPOCH_MS + lease_ms).into()),
        (attr::LEASE_MS, lease_ms.into()),
    ])
}

fn write<T: std::fmt::Debug, C: std::fmt::Debug>(step: Step<T, C>) -> Op {
    match step {
        Step::Write(op) => op,
        other => panic!("not a write: {other:?}"),
    }
}

/// An uncontended acquisition at 0 ms, on a store without a clock.
fn acquired(lease_s: u64) -> (Held, Row) {
    let mut machine = Acquire::new(request(lease_s, WaitMode::Wait), None);
    let op = write(machine.next(&now(0)));
    let Verdict::Applied(row) = apply(None, &op) else { panic!() };
    machine.handle(&now(10), Response::outcome(SentAt(at(0)), &Outcome::Applied(row.clone())));
    match machine.next(&now(10)) {
        Step::Done(AcquireEnd::Acquired(held)) => (*held, row),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_poll_that_outlasts_the_rows_lease_does_not_delay_its_takeover() {
    let mut machine = Acquire::new(request(20, WaitMode::Wait), None);
    let _acquire = write(machine.next(&now(0)));
    machine.handle(&now(1), Response::outcome(SentAt(at(0)), &Outcome::Conflict(Some(held(1_000)))));
    // Pauses and reads until the lease of the row is over; each step must move time, or end the wait.
    let mut ms = 1;
    for _ in 0..1_000 {
        match machine.next(&now(ms)) {
            Step::Pause(length) => {
                assert!(!length.is_zero(), "a pause of nothing at {ms} ms");
                ms += length.as_millis().max(1) as u64;
            }
            Step::Read { .. } => machine.handle(&now(ms), Response::row(Some(&held(1_000)))),
            Step::Write(op) => {
                assert!(matches!(op.kind, OpKind::TakeOver { .. }));
                assert_eq!(ms, 1_001, "not before the lease is over, and not after");
                return;
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("never taken over");
}

#[test]
fn the_wait_for_a_safe_seed_begins_anew_with_each_version_of_a_row_without_a_token() {
    let legacy = |version: &str| row(&[(attr::GUID, version.into()), (attr::EXPIRES_ON, 1.into())]);
    let mut machine = Acquire::new(request(20, WaitMode::Wait), None).reading_first();
    let mut service = ServiceClock::default();
    let mut ms = 0;
    let mut versions = 0;
    let mut first_seen = 0;
    for _ in 0..10_000 {
        let date = ServiceDate((EPOCH_MS + ms) / 1000);
        match machine.next(&with(&service, ms)) {
            Step::Pause(length) => ms += length.as_millis().max(1) as u64,
            Step::Read { .. } => {
                service.observe(date, SentAt(at(ms)), ReceivedAt(at(ms)));
                // A new version of another legacy client, twice, each just before the old one could be taken.
                let version = ms / 6_000;
                if version < 3 && version != versions {
                    (versions, first_seen) = (version, ms);
                }
                machine
                    .handle(&with(&service, ms), Response::row(Some(&legacy(&versions.to_string()))).with_date(date));
            }
            Step::Write(op) => {
                let OpKind::TakeOver { lease, seen_token: None, .. } = op.kind else { panic!("{op:?}") };
                let second_seen = (EPOCH_MS + first_seen) / 1000;
                assert!(lease.token_floor.get() >> 20 > second_seen, "a seed from before this version was seen");
                assert_eq!(versions, 2, "taken while versions were still changing");
                return;
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("never taken over");
}

#[test]
fn a_token_beyond_its_range_is_refused_and_neither_wraps_nor_panics() {
    for token in ["9007199254740992", "18446744073709551615", "99999999999999999999999999999999999999"] {
        let mut there = held(1_000);
        there.set(attr::TOKEN, Value::N(Number::parse(token).unwrap()));
        assert!(matches!(there.state(), Err(RowError::Malformed { attribute: attr::TOKEN, .. })));
        let mut free = there.clone();
        free.set(attr::EXPIRES_ON, 0.into());
        let mut machine = Acquire::new(request(20, WaitMode::Wait), None);
        let op = write(machine.next(&now(0)));
        assert_eq!(apply(Some(&free), &op), Verdict::Conflict(Some(free)));
    }
    let target = Target::Token(FencingToken::new(u64::MAX));
    let mut revoke = Revoke::new(LockName::new("a").unwrap(), target, false, &now(0));
    let Step::Write(op) = revoke.next(&now(0)) else { panic!() };
    assert_eq!(apply(Some(&held(1_000)), &op), Verdict::Conflict(Some(held(1_000))));
}

#[test]
fn a_row_whose_token_no_greater_one_can_follow_is_refused_by_name_and_not_waited_for() {
    for (ends, later) in [(0, 0), (1_000, 30_000)] {
        let mut there = held(ends);
        there.set(attr::TOKEN, FencingToken::MAX.get().into());
        if ends == 0 {
            there.set(attr::EXPIRES_ON, 0.into());
        }
        let mut machine = Acquire::new(request(20, WaitMode::Wait), None);
        let op = write(machine.next(&now(0)));
        let Verdict::Conflict(shown) = apply(Some(&there), &op) else { panic!("it gives {op:?}") };
        machine.handle(&now(later), Response::outcome(SentAt(at(0)), &Outcome::Conflict(shown)));
        let step = machine.next(&now(later));
        assert!(
            matches!(step, Step::Done(AcquireEnd::RowError(RowError::Malformed { attribute: attr::TOKEN, .. }))),
            "{step:?}"
        );
    }
}

#[test]
fn a_release_whose_answer_was_lost_does_not_guess_what_the_original_or_a_deletion_hides() {
    let over = row(&[(attr::GUID, "g".into()), (attr::EXPIRES_ON, (EPOCH_MS + 60_000).into())]);
    let mut next = held(60_000);
    next.set(attr::TOKEN, (1u64 << 52).into());
    // Nobody of ours can be in before the deadline unless it was released; the original, and who deletes rows, can.
    let cases = [(Some(over), ReleaseEnd::Unknown), (None, ReleaseEnd::Unknown), (Some(next), ReleaseEnd::Released)];
    for (there, end) in cases {
        let (held, _) = acquired(20);
        let mut release = Release::of(&held, &now(20));
        let Step::Write(_) = release.next(&now(20)) else { panic!() };
        release.handle_outcome(&now(30), &Outcome::Unknown);
        release.handle_outcome(&now(2_000), &Outcome::Conflict(there.clone()));
        assert_eq!(release.next(&now(2_000)), Step::Done(end), "{there:?}");
    }
}

#[test]
fn a_legacy_row_with_a_kind_is_refused_before_it_is_taken_over() {
    let order = row(&[(attr::GUID, "g".into()), (attr::KIND, "order".into()), (attr::EXPIRES_ON, 1.into())]);
    assert!(matches!(order.state(), Err(RowError::UnknownKind { .. })));
}

#[test]
fn a_clean_up_that_was_throttled_is_tried_again() {
    let mut machine = Acquire::new(request(20, WaitMode::Wait), None);
    let _acquire = write(machine.next(&now(0)));
    machine.handle(&now(5_000), Response::outcome(SentAt(at(0)), &Outcome::Unknown));
    // The belief of this operation is over: it is abandoned.
    let Step::CleanUp(mut release) = machine.next(&now(20_000)) else { panic!("no clean-up") };
    let Step::Write(_) = release.next(&now(20_000)) else { panic!() };
    release.handle_outcome(&now(20_010), &Outcome::Throttled);
    let mut ms = 20_010;
    loop {
        match release.next(&now(ms)) {
            Step::Pause(length) => ms += length.as_millis().max(1) as u64,
            Step::Write(_) => return,
            Step::Read { .. } => panic!("a release reads nothing"),
            Step::Done(end) => panic!("given up: {end:?}"),
        }
    }
}

#[test]
fn numbers_are_compared_exactly() {
    let compare = |text: &str, to| Number::parse(text).unwrap().compare(to);
    assert_eq!(compare("5.00000000000000000001", 5), Ordering::Greater);
    assert_eq!(compare("-0.5", 0), Ordering::Less);
    assert_eq!(compare("5.000", 5), Ordering::Equal);
    assert_eq!(compare("9007199254740993", 9_007_199_254_740_992), Ordering::Greater);
    assert_eq!(compare("18446744073709551616", u64::MAX), Ordering::Greater);
}

#[test]
fn a_renewal_that_tells_nothing_of_the_services_time_moves_no_belief() {
    // Acquired with a stamp and a date.
    let mut service = ServiceClock::default();
    let date = |ms: u64| ServiceDate((EPOCH_MS + ms) / 1000);
    service.observe(date(0), SentAt(at(0)), ReceivedAt(at(0)));
    let mut machine = Acquire::new(request(20, WaitMode::Wait), None);
    let op = write(machine.next(&with(&service, 0)));
    let Verdict::Applied(row) = apply(None, &op) else { panic!() };
    machine.handle(
        &with(&service, 10),
        Response::outcome(SentAt(at(0)), &Outcome::Applied(row.clone())).with_date(date(10)),
    );
    let Step::Done(AcquireEnd::Acquired(mut held)) = machine.next(&with(&service, 10)) else { panic!() };
    let before = held.time_left(at(5_000));

    let HeldStep::Write(op) = held.next(&with(&service, 5_000)) else { panic!("no renewal is due") };
    let Verdict::Applied(row) = apply(Some(&row), &op) else { panic!() };
    held.handle_outcome(&with(&service, 5_000), SentAt(at(5_000)), &Outcome::Applied(row.clone()), None);
    assert_eq!((held.renewals(), held.time_left(at(5_000))), (0, before), "an answer without a date");

    // The next one follows soon, and does.
    let mut ms = 5_000;
    let op = loop {
        match held.next(&with(&service, ms)) {
            HeldStep::Sleep(length) => ms += length.as_millis().max(1) as u64,
            HeldStep::Write(op) => break op,
            HeldStep::Lost(loss) => panic!("{loss:?}"),
        }
    };
    assert!(ms < 10_001);
    let Verdict::Applied(row) = apply(Some(&row), &op) else { panic!() };
    held.handle_outcome(&with(&service, ms), SentAt(at(ms)), &Outcome::Applied(row), Some(date(ms)));
    assert!(held.renewals() == 1 && held.time_left(at(ms)) > before);
}

#[test]
fn force_free_after_a_revocation_does_not_report_what_it_did_not_do() {
    let (held, row) = acquired(20);
    let name = LockName::new("a").unwrap();
    let mut revoke = Revoke::new(name.clone(), Target::Token(held.token()), false, &now(20));
    let Step::Write(op) = revoke.next(&now(20)) else { panic!() };
    let Verdict::Applied(row) = apply(Some(&row), &op) else { panic!() };

    let mut force = Revoke::new(name, Target::Token(held.token()), true, &now(30));
    let Step::Write(op) = force.next(&now(30)) else { panic!() };
    let Verdict::Conflict(there) = apply(Some(&row), &op) else { panic!() };
    force.handle_outcome(&now(40), &Outcome::Conflict(there));
    let Step::Done(end) = force.next(&now(40)) else { panic!() };
    assert_ne!(end, dynamo_lock_protocol::RevokeEnd::Done, "the row is still held by nobody for its lease");
    let mut release = Release::of(&held, &now(40));
    let Step::Write(op) = release.next(&now(40)) else { panic!() };
    let Verdict::Conflict(there) = apply(Some(&row), &op) else { panic!() };
    release.handle_outcome(&now(50), &Outcome::Conflict(there));
    assert_eq!(release.next(&now(50)), Step::Done(ReleaseEnd::Lost(dynamo_lock_protocol::LossReason::Revoked)));
}

#[test]
fn a_long_lease_hears_the_service_clock_often_enough() {
    // Samples live for ten minutes; a stamp needs one that does.
    let timing = Timing::new(Duration::from_secs(3_600)).unwrap();
    assert!(timing.heartbeat() + timing.attempt_timeout() < Duration::from_secs(600));
    assert!(timing.with_heartbeat(Duration::from_secs(1_000)).is_err());
}

#[test]
fn a_row_without_a_token_that_was_first_seen_without_a_date_can_be_taken_later() {
    let there = row(&[(attr::GUID, "g".into()), (attr::EXPIRES_ON, 1.into())]);
    let mut machine = Acquire::new(request(20, WaitMode::Try), None).reading_first();
    let mut service = ServiceClock::default();
    let mut ms = 0;
    let Step::Read { .. } = machine.next(&with(&service, ms)) else { panic!() };
    machine.handle(&with(&service, ms), Response::row(Some(&there)));
    // Somebody whose answers never tell the time is told that it is held; the watch is kept for the next attempt.
    assert!(matches!(machine.next(&with(&service, ms)), Step::Done(AcquireEnd::Contended(_))));
    let watch = machine.watch().cloned();
    let mut machine = Acquire::new(request(20, WaitMode::Try), watch);
    while ms < 60_000 {
        let date = ServiceDate((EPOCH_MS + ms) / 1000);
        match machine.next(&with(&service, ms)) {
            Step::Read { .. } => {
                service.observe(date, SentAt(at(ms)), ReceivedAt(at(ms)));
                machine.handle(&with(&service, ms), Response::row(Some(&there)).with_date(date));
            }
            Step::Pause(length) => ms += length.as_millis().max(1) as u64,
            Step::Write(_) => return,
            other => panic!("{other:?}"),
        }
    }
    panic!("never taken over");
}

#[test]
fn a_release_between_two_revocations_does_not_say_that_it_released() {
    let (held, mut row) = acquired(20);
    let mut release = Release::of(&held, &now(20));
    let Step::Write(_) = release.next(&now(20)) else { panic!() };
    release.handle_outcome(&now(30), &Outcome::Unknown);
    for (token, ms) in [(held.token(), 40), (FencingToken::new(held.token().get() + 1), 50)] {
        let mut revoke = Revoke::new(LockName::new("a").unwrap(), Target::Token(token), false, &now(ms));
        let Step::Write(op) = revoke.next(&now(ms)) else { panic!() };
        let Verdict::Applied(next) = apply(Some(&row), &op) else { panic!() };
        row = next;
    }
    release.handle_outcome(&now(2_000), &Outcome::Conflict(Some(row)));
    assert_eq!(release.next(&now(2_000)), Step::Done(ReleaseEnd::Unknown));
}

#[test]
fn an_acquisition_by_a_slow_wall_clock_is_not_reported_with_moments_to_live() {
    // Unstamped: nothing has told the service's time yet. By its answer this host's wall clock is far behind.
    for (behind_ms, reported) in [(0, true), (12_000, true), (18_000, false), (30_000, false)] {
        let mut service = ServiceClock::default();
        let date = |ms: u64| ServiceDate((EPOCH_MS + behind_ms + ms) / 1000);
        let mut machine = Acquire::new(request(20, WaitMode::Wait), None);
        let op = write(machine.next(&with(&service, 0)));
        let Verdict::Applied(row) = apply(None, &op) else { panic!() };
        service.observe(date(0), SentAt(at(0)), ReceivedAt(at(10)));
        machine.handle(
            &with(&service, 10),
            Response::outcome(SentAt(at(0)), &Outcome::Applied(row.clone())).with_date(date(10)),
        );
        let step = machine.next(&with(&service, 10));
        assert_eq!(matches!(step, Step::Done(AcquireEnd::Acquired(_))), reported, "{behind_ms} ms behind: {step:?}");
        if reported {
            continue;
        }
        // A renewal with the service's time cures it.
        let Verdict::Applied(row) = apply(Some(&row), &write(step)) else { panic!() };
        machine
            .handle(&with(&service, 20), Response::outcome(SentAt(at(10)), &Outcome::Applied(row)).with_date(date(20)));
        let Step::Done(AcquireEnd::Acquired(mut held)) = machine.next(&with(&service, 20)) else { panic!() };
        assert!(held.time_left(at(20)) > Duration::from_secs(19));
    }
}

#[test]
fn a_renewal_without_a_stamp_never_ends_a_row_earlier() {
    let mut service = ServiceClock::default();
    let second = EPOCH_MS / 1000;
    service.observe(ServiceDate(second), SentAt(at(0)), ReceivedAt(at(5)));
    let mut machine = Acquire::new(request(3600, WaitMode::Wait), None);
    let op = write(machine.next(&with(&service, 10)));
    let Verdict::Applied(row) = apply(None, &op) else { panic!() };
    machine.handle(
        &with(&service, 20),
        Response::outcome(SentAt(at(10)), &Outcome::Applied(row.clone())).with_date(ServiceDate(second)),
    );
    let Step::Done(AcquireEnd::Acquired(mut held)) = machine.next(&with(&service, 20)) else { panic!() };
    // More than ten minutes without a date, and the wall clock an hour back: what it would say is over before it is sent.
    let mut late = with(&service, 700_000);
    late.at.wall_ms -= 3_600_000;
    let HeldStep::Write(renewal) = held.next(&late) else { panic!("a renewal is due") };
    let OpKind::Renew { ends, .. } = &renewal.kind else { panic!() };
    assert!(!ends.service_timestamp, "nothing tells the service's time any more");
    assert_eq!(Some(ends.expires_on), row.whole(attr::EXPIRES_ON));
    // The belief that stands is within it.
    assert!(held.time_left(late.at) > Duration::from_secs(2000));
    assert!(ends.expires_on > EPOCH_MS + 700_000 + held.time_left(late.at).as_millis() as u64);
}

#[test]
fn a_legacy_row_that_was_freed_by_force_is_had_also_by_an_answer_without_a_date() {
    let attributes = [
        (attr::GUID, Value::from("g")),
        (attr::LEASE_ID, "r".into()),
        (attr::TOKEN, 8.into()),
        (attr::EXPIRES_ON, 0.into()),
        (attr::REVOKED_TOKEN, 7.into()),
    ];
    let freed = row(&attributes);
    let service = ServiceClock::default();
    let mut machine = Acquire::new(request(20, WaitMode::Try), None);
    let op = write(machine.next(&with(&service, 0)));
    assert!(matches!(apply(Some(&freed), &op), Verdict::Conflict(_)), "it has no `v`");
    machine.handle(&with(&service, 1), Response::outcome(SentAt(at(0)), &Outcome::Conflict(Some(freed.clone()))));
    let op = write(machine.next(&with(&service, 1)));
    assert!(matches!(apply(Some(&freed), &op), Verdict::Applied(_)), "{op:?}");
}

#[test]
fn a_hold_that_is_renewed_once_more_still_counts_from_the_last_date_that_it_heard() {
    let mut service = ServiceClock::default();
    let date = |ms: u64| ServiceDate((EPOCH_MS + ms) / 1000);
    service.observe(date(0), SentAt(at(0)), ReceivedAt(at(5)));
    let mut machine = Acquire::new(request(20, WaitMode::Try), None);
    let op = write(machine.next(&with(&service, 10)));
    let Verdict::Applied(row) = apply(None, &op) else { panic!() };
    // It stood still for five seconds that its clocks do not count: too short for the two dates to disagree.
    service.observe(date(5_000), SentAt(at(10)), ReceivedAt(at(20)));
    machine.handle(
        &with(&service, 20),
        Response::outcome(SentAt(at(10)), &Outcome::Applied(row.clone())).with_date(date(5_000)),
    );
    let Step::Done(AcquireEnd::Acquired(mut held)) = machine.next(&with(&service, 20)) else { panic!() };
    held.request_lease(Duration::from_secs(20));
    let HeldStep::Write(first) = held.next(&with(&service, 20)) else { panic!("a renewal is due") };
    let Verdict::Applied(row) = apply(Some(&row), &first) else { panic!() };
    held.handle_outcome(&with(&service, 30), SentAt(at(20)), &Outcome::Applied(row), None);
    let mut ms = 30;
    let second = loop {
        match held.next(&with(&service, ms)) {
            HeldStep::Write(op) => break op,
            HeldStep::Sleep(length) => ms += length.as_millis().max(1) as u64,
            HeldStep::Lost(loss) => panic!("{loss:?}"),
        }
    };
    let [OpKind::Renew { ends: first, .. }, OpKind::Renew { ends: second, .. }] = [&first.kind, &second.kind] else {
        panic!()
    };
    assert!(second.service_timestamp && second.expires_on >= first.expires_on, "{second:?} after {first:?}");
}

#[test]
fn a_row_without_a_token_that_is_over_is_contended_where_no_date_will_ever_come() {
    let freed = row(&[(attr::GUID, "g".into()), (attr::EXPIRES_ON, 0.into())]);
    let service = ServiceClock::default();
    let mut machine = Acquire::new(request(20, WaitMode::Try), None);
    let mut ms = 0;
    for _ in 0..50 {
        match machine.next(&with(&service, ms)) {
            Step::Write(_) => {
                let there = Outcome::Conflict(Some(freed.clone()));
                machine.handle(&with(&service, ms + 1), Response::outcome(SentAt(at(ms)), &there));
            }
            Step::Read { .. } => machine.handle(&with(&service, ms), Response::row(Some(&freed))),
            Step::Pause(length) => ms += length.as_millis().max(1) as u64,
            Step::Done(AcquireEnd::Contended(_)) => return,
            step => panic!("{step:?}"),
        }
    }
    panic!("an attempt that does not wait has no end");
}

#[test]
fn without_a_service_clock_a_renewal_ends_a_row_by_the_wall_clock_as_it_is_now() {
    const DAY: u64 = 24 * 3_600_000;
    let fast = |ms| {
        let mut fast = now(ms);
        fast.at.wall_ms += DAY;
        fast
    };
    let mut machine = Acquire::new(request(20, WaitMode::Wait), None);
    let op = write(machine.next(&fast(0)));
    let Verdict::Applied(row) = apply(None, &op) else { panic!() };
    machine.handle(&fast(1), Response::outcome(SentAt(fast(0).at), &Outcome::Applied(row.clone())));
    let Step::Done(AcquireEnd::Acquired(mut held)) = machine.next(&fast(1)) else { panic!() };
    held.request_renewal();
    // The clock is set right. Clients of the original, who know nothing but `expiresOn`, must not be kept out for a day.
    let HeldStep::Write(renewal) = held.next(&now(10)) else { panic!("a renewal is due") };
    let OpKind::Renew { ends, .. } = renewal.kind else { panic!() };
    assert!(ends.expires_on < EPOCH_MS + 60_000, "{ends:?}");
}

#[test]
fn a_token_after_a_legacy_overwrite_is_above_one_seeded_by_a_fast_wall_clock() {
    let mut service = ServiceClock::default();
    // Nothing has told the service's time, and this wall clock is hours fast.
    let mut first = Acquire::new(request(20, WaitMode::Wait), None);
    let mut fast = with(&service, 0);
    fast.at.wall_ms += 6 * 3_600_000;
    let op = write(first.next(&fast));
    let Verdict::Applied(row) = apply(None, &op) else { panic!() };
    let given = row.token().unwrap();
    // A client of the original overwrites it; that takes the token with it.
    let there = self::row(&[(attr::GUID, "g".into()), (attr::EXPIRES_ON, (EPOCH_MS + 1_000).into())]);
    let mut next = Acquire::new(request(20, WaitMode::Wait), None).reading_first();
    let mut ms = 30_000;
    let op = loop {
        let date = ServiceDate((EPOCH_MS + ms) / 1000);
        match next.next(&with(&service, ms)) {
            Step::Read { .. } => {
                service.observe(date, SentAt(at(ms)), ReceivedAt(at(ms)));
                next.handle(&with(&service, ms), Response::row(Some(&there)).with_date(date));
            }
            Step::Pause(length) => ms += length.as_millis().max(1) as u64,
            step => break write(step),
        }
    };
    let Verdict::Applied(row) = apply(Some(&there), &op) else { panic!("{op:?}") };
    assert!(row.token().unwrap() > given, "{:?} after {given:?}", row.token());
}

/// A row of an unreleased version has the attribute names of that version, and is refused with one line.
#[test]
fn row_of_unreleased_version_is_refused() {
    let mut there = held(1_000);
    there.remove(attr::LEASE_ID);
    there.set("reign", "r".into());
    let error = there.state().unwrap_err();
    assert_eq!(error, RowError::UnreleasedFormat);
    let message = error.to_string();
    assert!(message.contains("unreleased version of dynamo-lock") && !message.contains('\n'), "{message}");
    // A row of the present format may contain an attribute of that name.
    there.set(attr::LEASE_ID, "r".into());
    assert!(there.state().is_ok());
}
