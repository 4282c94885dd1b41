//! `Handover`: one write passes the lock to the next waiter of the same client.

use std::time::Duration;

use dynamo_lock_protocol::{
    Acquire, FencingToken, Handover, HandoverEnd, Held, LeaseId, LossReason, Machine, Op, OpKind, Outcome, Refusal,
    Release, ReleaseEnd, Request, Response, Revoke, Row, Step, Target, Value, Verdict, WaitMode, apply, attr,
};

use crate::support::{TestHost, at, date, name, request, waiter, write};

/// Acquires a lock with a lease of 20 s, and starts its handover at 1 s to a waiter with a lease of `lease_s` seconds.
fn begin(lease_s: u64) -> (TestHost, Option<Row>, Held, Handover) {
    let (mut host, mut row) = (TestHost::without_dates(1), None);
    let held = host.acquire(20, &mut row, 0, 10, None);
    let handover = Handover::new(&held, &request(lease_s, WaitMode::Wait), &host.now(1_000));
    (host, row, held, handover)
}

/// Returns the lock that a handover reports.
fn done(host: &mut TestHost, ms: u64, handover: &mut Handover) -> Held {
    match host.next(ms, handover) {
        Step::Done(HandoverEnd::Done(held)) => *held,
        step => panic!("not handed over: {step:?}"),
    }
}

/// Returns the release of a handover that ended without an answer.
fn unanswered(host: &mut TestHost, ms: u64, handover: &mut Handover) -> Release {
    match host.next(ms, handover) {
        Step::Done(HandoverEnd::Unanswered(release)) => *release,
        step => panic!("not unanswered: {step:?}"),
    }
}

/// Revokes the acquisition of `held`.
fn revoke(host: &mut TestHost, row: &mut Option<Row>, ms: u64, held: &Held) {
    let mut revoke = Revoke::new(&name(), Target::Token(held.token()), false, &host.now(ms));
    let op = host.op(ms, &mut revoke);
    assert!(matches!(write(row, &op), Outcome::Applied(_)));
}

#[test]
fn handover_gives_next_token_and_own_lease() {
    let (mut host, mut row, held, mut handover) = begin(10);
    let acquired_on = row.as_ref().and_then(|row| row.whole(attr::ACQUIRED_ON));
    host.write(&mut row, &mut handover, 1_000, 1_010, None);
    assert!(handover.has_taken_effect());
    let mut next = done(&mut host, 1_010, &mut handover);
    assert_eq!(next.token().get(), held.token().get() + 1);
    // R1: 10 s less the margin of 110 ms, counted from the first byte.
    assert!(next.is_valid(at(10_889)) && !next.is_valid(at(10_890)));
    let row = row.expect("a row");
    let whole = |name| row.whole(name);
    assert_eq!(
        [whole(attr::HANDOVERS), whole(attr::RENEWAL_SEQ), whole(attr::LEASE_MS)],
        [Some(1), Some(0), Some(10_000)]
    );
    assert_eq!(whole(attr::ACQUIRED_ON), acquired_on);
    assert!(row.get(attr::REVOKED_TOKEN).is_none());
}

/// The new guard renews and releases like any other, and hands over again.
#[test]
fn handed_over_lock_is_renewed_and_handed_over_again() {
    let (mut host, mut row, _, mut handover) = begin(20);
    host.write(&mut row, &mut handover, 1_000, 1_010, None);
    let mut next = done(&mut host, 1_010, &mut handover);
    let renewal = host.renewal_now(6_000, &mut next);
    host.renewed(6_010, &mut next, 6_000, &write(&mut row, &renewal), None);
    assert_eq!(next.renewals(), 1);
    assert!(next.can_hand_over(at(7_000)));
    let mut handover = Handover::new(&next, &request(20, WaitMode::Wait), &host.now(7_000));
    host.write(&mut row, &mut handover, 7_000, 7_010, None);
    let third = done(&mut host, 7_010, &mut handover);
    let mut release = host.release(8_000, &third);
    host.write(&mut row, &mut release, 8_000, 8_010, None);
    assert_eq!(host.next(8_010, &mut release), Step::Done(ReleaseEnd::Released));
    assert_eq!(row.and_then(|row| row.whole(attr::HANDOVERS)), Some(2));
}

/// The payload of the waiter counts; without one, a payload that the old guard has not written yet.
#[test]
fn payload_is_that_of_waiter_else_pending_one() {
    for (of_waiter, expected) in [(Some("mine"), Some("mine")), (None, Some("pending"))] {
        let (mut host, mut row) = (TestHost::without_dates(1), None);
        let mut held = host.acquire(20, &mut row, 0, 10, None);
        held.request_data("pending".into());
        let next = Request { data: of_waiter.map(str::to_owned), ..request(20, WaitMode::Wait) };
        let mut handover = Handover::new(&held, &next, &host.now(1_000));
        host.write(&mut row, &mut handover, 1_000, 1_010, None);
        assert_eq!(row.expect("a row").text(attr::DATA), expected);
    }
}

#[test]
fn lost_answer_is_recognised_by_lease_id_in_row() {
    let (mut host, mut row, held, mut handover) = begin(20);
    let op = host.op(1_000, &mut handover);
    write(&mut row, &op);
    host.respond(2_000, &mut handover, 1_000, &Outcome::Unknown, None);
    assert!(!handover.has_taken_effect());
    assert_eq!(host.op(3_000, &mut handover), op, "the repetition is identical");
    host.respond(3_010, &mut handover, 3_000, &write(&mut row, &op), None);
    let mut next = done(&mut host, 3_010, &mut handover);
    assert_eq!(next.token().get(), held.token().get() + 1);
    // R1 counts from the first attempt.
    assert!(!next.is_valid(at(1_000 + 19_790)));
}

/// R5. The answer arrives after the end of the new lease.
#[test]
fn handover_that_took_effect_too_late_is_released() {
    let (mut host, mut row, _, mut handover) = begin(10);
    host.write(&mut row, &mut handover, 1_000, 10_900, None);
    let Step::CleanUp(mut release) = host.next(10_900, &mut handover) else { panic!("no clean-up") };
    host.write(&mut row, &mut release, 10_900, 10_910, None);
    assert_eq!(row.and_then(|row| row.whole(attr::EXPIRES_ON)), Some(0));
    let end = HandoverEnd::Failed { release: ReleaseEnd::Released, watch: None };
    assert_eq!(host.next(10_910, &mut handover), Step::Done(end));
}

/// R6. The response has no date, so the row's end does not bound the validity: a renewal is applied before the report.
#[test]
fn handover_without_date_is_renewed_before_report() {
    let (mut host, mut row) = (TestHost::new(1), None);
    host.observe(date(0), 0, 0);
    let held = host.acquire(20, &mut row, 0, 10, Some(date(10)));
    let mut handover = Handover::new(&held, &request(20, WaitMode::Wait), &host.now(1_000));
    host.write(&mut row, &mut handover, 1_000, 1_010, None);
    let renewal = host.op(1_010, &mut handover);
    assert!(matches!(renewal.kind, OpKind::Renew { renewal_seq: 1, .. }), "{renewal:?}");
    host.respond(1_020, &mut handover, 1_010, &write(&mut row, &renewal), Some(date(1_010)));
    assert!(done(&mut host, 1_020, &mut handover).is_valid(at(1_020)));
}

/// The old guard's release returns the reason that the row shows, if each attempt had an answer.
#[test]
fn conflict_returns_result_of_release_and_watch() {
    let cases = [(false, false), (false, true), (true, false), (true, true)];
    for (is_revoked, is_ambiguous) in cases {
        let (mut host, mut row, held, mut handover) = begin(20);
        if is_ambiguous {
            host.op(1_000, &mut handover);
            host.respond(1_010, &mut handover, 1_000, &Outcome::Unknown, None);
        }
        revoke(&mut host, &mut row, 1_500, &held);
        if !is_revoked {
            row.as_mut().expect("a row").remove(attr::REVOKED_TOKEN);
        }
        host.write(&mut row, &mut handover, 3_000, 3_010, None);
        let Step::Done(HandoverEnd::Failed { release, watch }) = host.next(3_010, &mut handover) else { panic!() };
        let expected = match (is_revoked, is_ambiguous) {
            (true, _) => ReleaseEnd::Lost(LossReason::Revoked),
            (false, false) => ReleaseEnd::Lost(LossReason::TakenOver),
            (false, true) => ReleaseEnd::Unknown,
        };
        assert_eq!(release, expected);
        // The waiter's acquisition begins with what the answer has shown, so it reads.
        let mut acquire = Acquire::new(request(20, WaitMode::Wait), watch);
        assert!(matches!(host.next(3_010, &mut acquire), Step::Read { .. }));
    }
}

#[test]
fn conflict_without_row_is_loss_unless_ambiguous() {
    for is_ambiguous in [false, true] {
        let (mut host, _, _, mut handover) = begin(20);
        if is_ambiguous {
            host.op(1_000, &mut handover);
            host.respond(1_010, &mut handover, 1_000, &Outcome::Unknown, None);
        }
        host.op(3_000, &mut handover);
        host.handle(3_010, &mut handover, Response::refused(Refusal::NoTable));
        let release = if is_ambiguous { ReleaseEnd::Unknown } else { ReleaseEnd::Lost(LossReason::RowGone) };
        let end = HandoverEnd::Failed { release, watch: None };
        assert_eq!(host.next(3_010, &mut handover), Step::Done(end));
    }
}

/// No attempt was applied. The release of the old lease also stops the late copy of the handover.
#[test]
fn unanswered_handover_releases_old_lease() {
    let (mut host, mut row, _, mut handover) = begin(20);
    let op = host.op(1_000, &mut handover);
    host.respond(20_000, &mut handover, 1_000, &Outcome::Unknown, None);
    let mut release = unanswered(&mut host, 21_000, &mut handover);
    host.write(&mut row, &mut release, 21_000, 21_010, None);
    assert_eq!(host.next(21_010, &mut release), Step::Done(ReleaseEnd::Released));
    assert!(matches!(write(&mut row, &op), Outcome::Conflict(_)));
    assert_eq!(row.and_then(|row| row.whole(attr::EXPIRES_ON)), Some(0));
}

/// The handover was applied, but no answer arrived. No guard owns the new lease, so it is released.
#[test]
fn unanswered_handover_releases_new_lease_in_row() {
    let (mut host, mut row, _, mut handover) = begin(20);
    let op = host.op(1_000, &mut handover);
    write(&mut row, &op);
    host.respond(20_000, &mut handover, 1_000, &Outcome::Unknown, None);
    let mut release = unanswered(&mut host, 21_000, &mut handover);
    host.write(&mut row, &mut release, 21_000, 21_010, None);
    host.write(&mut row, &mut release, 21_010, 21_020, None);
    assert_eq!(host.next(21_020, &mut release), Step::Done(ReleaseEnd::Released));
    assert_eq!(row.and_then(|row| row.whole(attr::EXPIRES_ON)), Some(0));
}

/// The result is unknown if neither lease is known to be released.
#[test]
fn unanswered_handover_without_released_lease_is_unknown() {
    for outcome in [Outcome::Unknown, Outcome::Throttled] {
        let (mut host, _, _, mut handover) = begin(20);
        host.op(1_000, &mut handover);
        host.respond(20_000, &mut handover, 1_000, &Outcome::Unknown, None);
        let mut release = unanswered(&mut host, 21_000, &mut handover);
        host.op(21_000, &mut release);
        host.respond(41_100, &mut release, 21_000, &outcome, None);
        assert_eq!(host.next(42_200, &mut release), Step::Done(ReleaseEnd::Unknown));
    }
    // Another client has taken the lock over, after which no one can know whether the handover had been applied.
    let (mut host, _, _, mut handover) = begin(20);
    host.op(1_000, &mut handover);
    host.respond(20_000, &mut handover, 1_000, &Outcome::Unknown, None);
    let mut release = unanswered(&mut host, 21_000, &mut handover);
    let mut row = Some(crate::support::held_row(20_000));
    host.write(&mut row, &mut release, 21_000, 21_010, None);
    assert_eq!(host.next(21_010, &mut release), Step::Done(ReleaseEnd::Unknown));
}

/// A refusal before any ambiguous attempt ends the handover at once. The release goes on until the old lease ends.
#[test]
fn refused_handover_is_released_at_once() {
    let (mut host, mut row, _, mut handover) = begin(20);
    host.op(1_000, &mut handover);
    host.handle(1_010, &mut handover, Response::refused(Refusal::Other));
    let mut release = unanswered(&mut host, 1_010, &mut handover);
    host.write(&mut row, &mut release, 1_010, 1_020, None);
    assert_eq!(host.next(1_020, &mut release), Step::Done(ReleaseEnd::Released));
    // After an ambiguous attempt a refusal is one more failed attempt.
    let (mut host, _, _, mut handover) = begin(20);
    host.op(1_000, &mut handover);
    host.respond(1_010, &mut handover, 1_000, &Outcome::Unknown, None);
    host.op(2_500, &mut handover);
    host.handle(2_510, &mut handover, Response::refused(Refusal::Other));
    assert!(matches!(host.next(2_510, &mut handover), Step::Pause(_)));
}

/// A handover that is given up leaves no lease, whatever its state.
#[test]
fn cancelled_handover_leaves_free_row() {
    for is_applied in [false, true] {
        for is_answered in [false, true] {
            let (mut host, mut row, _, mut handover) = begin(20);
            let op = host.op(1_000, &mut handover);
            let outcome = match is_applied {
                true => write(&mut row, &op),
                false => Outcome::Throttled,
            };
            let outcome = if is_answered { outcome } else { Outcome::Unknown };
            host.respond(1_010, &mut handover, 1_000, &outcome, None);
            let mut release = handover.cancel(&host.now(1_020)).expect("a lease may be left");
            let mut ms = 1_020;
            while !matches!(host.next(ms, &mut release), Step::Done(_)) {
                host.write(&mut row, &mut release, ms, ms + 10, None);
                ms += 10;
            }
            assert_eq!(row.and_then(|row| row.whole(attr::EXPIRES_ON)), Some(0), "{is_applied} {is_answered}");
        }
    }
}

/// A row that counts handovers in an unknown way is released in the ordinary way. The store returns a conflict
/// if another program has changed the counter meanwhile.
#[test]
fn malformed_counter_leads_to_release() {
    for (value, is_usable) in [
        (Value::from("1"), false),
        (0.into(), false),
        (Value::Other(r#"{"NULL":true}"#.into()), false),
        ((FencingToken::MAX.get()).into(), false),
        (7.into(), true),
    ] {
        let (mut host, mut row) = (TestHost::without_dates(1), None);
        let first = host.acquire(20, &mut row, 0, 10, None);
        let mut release = host.release(20, &first);
        host.write(&mut row, &mut release, 20, 30, None);
        row.as_mut().expect("a row").set(attr::HANDOVERS, value.clone());
        let mut held = host.acquire(20, &mut row, 100, 110, None);
        assert_eq!(held.can_hand_over(at(200)), is_usable, "{value:?}");
        let mut handover = Handover::new(&held, &request(20, WaitMode::Wait), &host.now(1_000));
        host.write(&mut row, &mut handover, 1_000, 1_010, None);
        if is_usable {
            done(&mut host, 1_010, &mut handover);
            assert_eq!(row.and_then(|row| row.whole(attr::HANDOVERS)), Some(8));
            continue;
        }
        let mut release = unanswered(&mut host, 1_010, &mut handover);
        host.write(&mut row, &mut release, 1_010, 1_020, None);
        assert_eq!(host.next(1_020, &mut release), Step::Done(ReleaseEnd::Released));
    }
}

#[test]
fn lost_or_unconfirmed_lock_is_not_handed_over() {
    let (mut host, mut row) = (TestHost::without_dates(1), None);
    let mut held = host.acquire(20, &mut row, 0, 10, None);
    assert!(held.can_hand_over(at(19_000)));
    assert!(!held.can_hand_over(at(19_800)));
    // The last token has no successor.
    let mut last = Some(row.expect("a row"));
    let mut release = host.release(30, &held);
    host.write(&mut last, &mut release, 30, 40, None);
    last.as_mut().expect("a row").set(attr::TOKEN, (FencingToken::MAX.get() - 2).into());
    assert!(!host.acquire(20, &mut last, 50, 60, None).can_hand_over(at(100)));
}

/// The new guard's `max_hold` counts from the first byte of the handover, like its lease.
#[test]
fn max_hold_counts_from_handover() {
    let (mut host, mut row) = (TestHost::without_dates(1), None);
    let held = host.acquire(20, &mut row, 0, 10, None);
    let next = Request { max_hold: Some(Duration::from_secs(2)), ..request(20, WaitMode::Wait) };
    let mut handover = Handover::new(&held, &next, &host.now(5_000));
    host.write(&mut row, &mut handover, 5_000, 5_010, None);
    let mut next = done(&mut host, 5_010, &mut handover);
    assert!(next.is_valid(at(6_999)));
    assert_eq!(next.check(at(7_000)), Some(LossReason::MaxHold));
}

/// Each conjunct of the condition, on `apply`. Lease ID and token are each redundant as long as clients keep the
/// protocol, so no search finds the absence of one of them.
#[test]
fn handover_is_not_applied_without_each_conjunct() {
    let (mut host, stored, _, mut handover) = begin(20);
    let op: Op = host.op(1_000, &mut handover);
    let stored = stored.expect("a row");
    assert!(matches!(apply(Some(&stored), &op), Verdict::Applied(_)));
    let other = LeaseId::from_random(99);
    let cases: [(&str, Value); 8] = [
        (attr::LEASE_ID, other.as_str().into()),
        (attr::TOKEN, 5.into()),
        (attr::EXPIRES_ON, 0.into()),
        (attr::V, 2.into()),
        (attr::KIND, "semaphore".into()),
        (attr::HANDOVERS, 0.into()),
        (attr::HANDOVERS, FencingToken::MAX.get().into()),
        (attr::HANDOVERS, "1".into()),
    ];
    for (attribute, value) in cases {
        let mut changed = stored.clone();
        changed.set(attribute, value);
        assert_eq!(apply(Some(&changed), &op), Verdict::Conflict(Some(changed.clone())), "{attribute}");
    }
    assert_eq!(apply(None, &op), Verdict::Conflict(None));
}

/// A late copy of a handover changes nothing after a release, although lease ID and token are still in the row.
#[test]
fn free_row_is_not_handed_over() {
    let (mut host, mut row, held, mut handover) = begin(20);
    let op = host.op(1_000, &mut handover);
    let mut release = host.release(1_000, &held);
    host.write(&mut row, &mut release, 1_000, 1_010, None);
    assert!(matches!(write(&mut row, &op), Outcome::Conflict(Some(row)) if row.whole(attr::EXPIRES_ON) == Some(0)));
}

/// A waiter of another process starts its wait anew, with the lease of the new guard.
#[test]
fn handover_restarts_wait_of_other_clients() {
    let (mut host, mut stored, _, mut handover) = begin(20);
    let (mut other, mut ms) = (TestHost::without_dates(2), 100);
    let mut waiter = waiter(20);
    let first = other.op(ms, &mut waiter);
    other.respond(ms, &mut waiter, ms, &write(&mut stored, &first), None);
    let before = stored.clone().expect("a row");
    host.write(&mut stored, &mut handover, 10_000, 10_010, None);
    let after = stored.expect("a row");
    let rows = |ms| if ms < 10_010 { before.clone() } else { after.clone() };
    let step = other.run(&mut ms, &mut waiter, false, rows);
    assert!(matches!(step, Step::Write(_)));
    assert!(ms >= 30_010, "{ms}");
}
