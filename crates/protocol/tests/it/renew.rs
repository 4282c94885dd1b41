//! `Held`: renewals, and the validity that they give.

use std::time::Duration;

use dynamo_lock_protocol::{Ends, HeldStep, LossReason, Op, OpKind, Outcome, Response, SentAt, Timing, attr, holds};

use crate::support::{EPOCH_MS, TestHost, at, attempt, date, pause_ms, waiter, write};

/// Returns the end of the lease that a renewal writes.
fn ends(renewal: &Op) -> &Ends {
    match &renewal.kind {
        OpKind::Renew { ends, .. } => ends,
        kind => panic!("not a renewal: {kind:?}"),
    }
}

/// Lesson 42. The renewal is applied in time, but its response arrives 20 ms after the deadline of 9.89 s.
#[test]
fn answer_after_deadline_does_not_revive_lease() {
    let (mut host, mut row) = (TestHost::without_dates(1), None);
    let mut held = host.acquire(10, &mut row, 0, 10, None);
    let renewal = host.renewal_now(2_500, &mut held);
    host.renewed(9_910, &mut held, 2_500, &write(&mut row, &renewal), None);
    assert!(!held.is_valid(at(9_910)));
    assert_eq!(held.check(at(9_910)), Some(LossReason::Expired));
    assert_eq!(held.next(&host.now(9_920)), HeldStep::Lost(LossReason::Expired));
}

/// Lesson 42. The control: the lease is extended from the time at which the renewal was sent.
#[test]
fn answer_before_deadline_extends_lease() {
    let (mut host, mut row) = (TestHost::without_dates(1), None);
    let mut held = host.acquire(10, &mut row, 0, 10, None);
    let renewal = host.renewal_now(2_500, &mut held);
    host.renewed(9_880, &mut held, 2_500, &write(&mut row, &renewal), None);
    assert!(held.is_valid(at(12_380)));
    assert!(!held.is_valid(at(12_390)));
}

/// Nothing bounds the service's time if the response has no date (R6). Another renewal follows soon.
#[test]
fn renewal_without_date_does_not_extend_lease() {
    let (mut host, mut row) = (TestHost::new(1), None);
    host.observe(date(0), 0, 0);
    let mut held = host.acquire(20, &mut row, 0, 10, Some(date(10)));
    let before = held.time_left(at(5_000));
    let mut ms = 5_000;
    let renewal = host.renewal_now(ms, &mut held);
    host.renewed(ms, &mut held, ms, &write(&mut row, &renewal), None);
    assert_eq!((held.renewals(), held.time_left(at(ms))), (0, before));

    let renewal = host.renewal(&mut ms, &mut held);
    assert!(ms < 10_001);
    host.renewed(ms, &mut held, ms, &write(&mut row, &renewal), Some(date(ms)));
    assert!(held.renewals() == 1 && held.time_left(at(ms)) > before);
}

/// Returns the number of attempts of a renewal in a row that may vanish before the lock is lost, if the pauses between
/// them are as long as they may be and the last attempt is answered after 10 ms.
fn vanished_attempts_survived(lease_s: u64) -> usize {
    let (mut host, mut row) = (TestHost::without_dates(1), None);
    let mut held = host.acquire(lease_s, &mut row, 0, 10, None);
    let mut ms = 0;
    for vanished in 0.. {
        while let HeldStep::Sleep(length) = held.next(&host.now(ms)) {
            ms += pause_ms(length);
        }
        if held.time_left(at(ms)) <= Duration::from_millis(10) {
            return vanished - 1;
        }
        ms += held.attempt_timeout().as_millis() as u64;
        if held.check(at(ms)).is_some() {
            return vanished;
        }
        // The longest of many random pauses.
        let failed = (1..200_u64).map(|n| {
            let mut held = held.clone();
            let mut now = host.now(ms);
            now.entropy.jitter = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            held.handle(&now, Response::outcome(SentAt(now.at), &Outcome::Unknown));
            match held.next(&now) {
                HeldStep::Sleep(pause) => (pause, held),
                step => panic!("no pause: {step:?}"),
            }
        });
        held = failed.max_by_key(|(pause, _)| *pause).expect("many pauses").1;
    }
    unreachable!("the lease ends")
}

/// The figures of `docs/guarantees.md`.
#[test]
fn vanished_attempts_leave_time_for_another() {
    let leases = [1, 4, 10, 20, 60];
    assert_eq!(leases.map(vanished_attempts_survived), [2, 4, 4, 4, 7]);
    for lease_s in 10..120 {
        assert!(vanished_attempts_survived(lease_s) >= 4, "{lease_s} s");
    }
}

/// The first attempt is short, so that several fit into a lease. A slow store gets more time with each attempt.
#[test]
fn attempt_of_renewal_grows_until_an_answer() {
    let (mut host, mut row) = (TestHost::without_dates(1), None);
    let mut held = host.acquire(20, &mut row, 0, 10, None);
    let mut ms = 0;
    for expected_ms in [2_000, 2_500, 3_125, 3_906, 4_882, 5_000, 5_000] {
        host.renewal(&mut ms, &mut held);
        assert_eq!(held.attempt_timeout().as_millis(), expected_ms);
        host.renewed(ms, &mut held, ms, &Outcome::Throttled, None);
        assert_eq!(held.attempt_timeout().as_millis(), expected_ms, "the store has responded");
        host.renewed(ms, &mut held, ms, &Outcome::Unknown, None);
    }
    let renewal = host.renewal(&mut ms, &mut held);
    host.renewed(ms, &mut held, ms, &write(&mut row, &renewal), None);
    assert_eq!(held.attempt_timeout(), Duration::from_secs(2));
}

/// A pause is at least 25 ms, and at most 1/20 of the validity that is left.
#[test]
fn failed_renewal_is_repeated_after_a_pause() {
    let (mut host, mut row) = (TestHost::without_dates(1), None);
    let mut held = host.acquire(20, &mut row, 0, 10, None);
    let mut ms = 5_000;
    let renewal = host.renewal_now(ms, &mut held);
    for outcome in [Outcome::Unknown, Outcome::Throttled] {
        let (failed_at, left) = (ms, held.time_left(at(ms)));
        host.renewed(ms, &mut held, ms, &outcome, None);
        assert_eq!(host.renewal(&mut ms, &mut held), renewal);
        assert!(ms >= failed_at + 25 && ms - failed_at <= left.as_millis() as u64 / 20, "{failed_at} {ms}");
    }
}

/// The row ends at 26 s of service time, rounded up, and service time was at most 11 s when the request was sent (R6).
/// The holder's clock may be slow by 0.5 %.
#[test]
fn late_date_ends_validity_before_the_row_expires() {
    let (mut host, mut row) = (TestHost::new(1), None);
    host.observe(date(0), 0, 0);
    let mut held = host.acquire(20, &mut row, 0, 10, Some(date(8_000)));
    assert_eq!(row.as_ref().and_then(|row| row.whole(attr::EXPIRES_ON)), Some(EPOCH_MS + 26_001));
    assert_eq!(held.time_left(at(0)), Duration::from_millis(14_925));
    assert!(held.is_valid(at(14_924)) && !held.is_valid(at(14_925)));
}

/// A row that a wall clock wrote gets a service timestamp after 500 ms. Any other row is renewed after a heartbeat.
#[test]
fn row_without_service_timestamp_is_renewed_early() {
    for (has_date, due_ms) in [(true, 5_000), (false, 500)] {
        let (mut host, mut row) = (TestHost::new(1), None);
        if has_date {
            host.observe(date(0), 0, 0);
        }
        let mut machine = waiter(20);
        let op = host.op(0, &mut machine);
        host.observe(date(0), 0, 0);
        host.respond(0, &mut machine, 0, &write(&mut row, &op), Some(date(0)));
        let (mut held, mut ms) = (host.acquired(0, &mut machine), 0);
        host.renewal(&mut ms, &mut held);
        assert_eq!(ms, due_ms, "date before the acquire: {has_date}");
    }
}

/// A date counts for ten minutes, and a service timestamp needs one that counts.
#[test]
fn heartbeat_of_long_lease_refreshes_service_clock() {
    let timing = Timing::new(Duration::from_secs(3_600)).unwrap();
    assert!(timing.heartbeat() + timing.attempt_timeout() < Duration::from_secs(600));
    assert!(timing.with_heartbeat(Duration::from_secs(1_000)).is_err());
}

/// After more than ten minutes without a date, a wall clock that was set back by an hour would end the row before the
/// renewal is sent, while the guard is still valid.
#[test]
fn renewal_without_service_timestamp_never_ends_row_earlier() {
    let (mut host, mut row) = (TestHost::new(1), None);
    host.observe(date(0), 0, 5);
    let mut held = host.acquire(3600, &mut row, 10, 20, Some(date(0)));
    host.wall_ahead_ms = -3_600_000;
    let renewal = host.renewal_now(700_000, &mut held);
    let ends = ends(&renewal);
    assert!(!ends.service_timestamp, "no date tells the service's time");
    assert_eq!(Some(ends.expires_on), row.unwrap().whole(attr::EXPIRES_ON));
    let left = held.time_left(host.at(700_000));
    assert!(left > Duration::from_secs(2000));
    assert!(ends.expires_on > EPOCH_MS + 700_000 + left.as_millis() as u64);
}

/// The wall clock was a day fast and is set right. npm dynamo-lock, which knows `expiresOn` only, must not be kept out
/// for that day.
#[test]
fn renewal_without_service_clock_uses_present_wall_clock() {
    let (mut host, mut row) = (TestHost::without_dates(1), None);
    host.wall_ahead_ms = 24 * 3_600_000;
    let mut held = host.acquire(20, &mut row, 0, 1, None);
    held.request_renewal();
    host.wall_ahead_ms = 0;
    let renewal = host.renewal_now(10, &mut held);
    let pad = dynamo_lock_protocol::WALL_CLOCK_PAD.as_millis() as u64;
    assert!(ends(&renewal).expires_on < EPOCH_MS + pad + 60_000, "{renewal:?}");
}

/// The host froze for five seconds that its clocks do not count, which is too short for the two dates to disagree.
#[test]
fn second_renewal_of_hold_counts_from_last_date() {
    let (mut host, mut row) = (TestHost::new(1), None);
    host.observe(date(0), 0, 5);
    let mut machine = attempt(20);
    let op = host.op(10, &mut machine);
    let acquired = write(&mut row, &op);
    host.observe(date(5_000), 10, 20);
    host.respond(20, &mut machine, 10, &acquired, Some(date(5_000)));
    let mut held = host.acquired(20, &mut machine);
    held.request_lease(Duration::from_secs(20));
    let first = host.renewal_now(20, &mut held);
    host.renewed(30, &mut held, 20, &write(&mut row, &first), None);
    let second = host.renewal(&mut 30, &mut held);
    let (first, second) = (ends(&first), ends(&second));
    assert!(second.service_timestamp && second.expires_on >= first.expires_on, "{second:?} after {first:?}");
}

/// Lesson 35. The condition that users put into their transactions.
#[test]
fn condition_of_guard_fails_after_its_release() {
    let (mut host, mut row) = (TestHost::without_dates(1), None);
    let mut held = host.acquire(10, &mut row, 0, 10, None);
    let condition = held.condition();
    assert!(holds(row.as_ref(), &condition));
    let renewal = host.renewal_now(2_500, &mut held);
    write(&mut row, &renewal);
    assert!(holds(row.as_ref(), &condition), "renewals do not change the result");
    assert!(held.is_valid(at(2_510)));
    let mut release = host.release(3_000, &held);
    let op = host.op(3_000, &mut release);
    write(&mut row, &op);
    assert!(!holds(row.as_ref(), &condition));
    TestHost::without_dates(2).acquire(10, &mut row, 4_000, 4_010, None);
    assert!(!holds(row.as_ref(), &condition), "a successor holds the lock");
    assert!(!holds(None, &condition));
}
