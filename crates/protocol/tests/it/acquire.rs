//! `Acquire` until it reports a lock, and its clean-ups.

use std::time::Duration;

use dynamo_lock_protocol::{AcquireEnd, OpKind, Outcome, Response, Step, Timing, Verdict, apply, attr};

use crate::support::{TestHost, at, attempt, date, held_row, pause_ms, row, waiter, write};

/// Lesson 20. The lease of 10 s, less the margin, ends 9.89 s after the acquire was sent.
#[test]
fn acquired_lock_is_not_reported_after_its_deadline() {
    let (mut host, mut row) = (TestHost::without_dates(1), None);
    let mut machine = waiter(10);
    host.write(&mut row, &mut machine, 0, 10, None);
    let step = host.next(9_890, &mut machine.clone());
    assert!(!matches!(step, Step::Done(AcquireEnd::Acquired(_))), "{step:?}");
    let step = host.next(9_889, &mut machine.clone());
    assert!(matches!(step, Step::Done(AcquireEnd::Acquired(_))), "{step:?}");
}

/// Lesson 20.
#[test]
fn answer_after_deadline_of_acquire_leads_to_clean_up() {
    let (mut host, mut row) = (TestHost::without_dates(1), None);
    let mut machine = waiter(10);
    host.write(&mut row, &mut machine, 0, 9_890, None);
    let step = host.next(9_890, &mut machine);
    assert!(matches!(step, Step::CleanUp(_)), "{step:?}");
}

#[test]
fn throttled_clean_up_is_retried() {
    let mut host = TestHost::without_dates(1);
    let mut machine = waiter(20);
    host.op(0, &mut machine);
    host.respond(5_000, &mut machine, 0, &Outcome::Unknown, None);
    // The lease of this operation would have ended, so it is abandoned.
    let Step::CleanUp(mut release) = host.next(20_000, &mut machine) else { panic!("no clean-up") };
    host.op(20_000, &mut release);
    let mut ms = 20_010;
    host.respond(ms, &mut release, 20_000, &Outcome::Throttled, None);
    loop {
        match host.next(ms, &mut release) {
            Step::Pause(length) => ms += pause_ms(length),
            Step::Write(_) => return,
            step => panic!("no second try: {step:?}"),
        }
    }
}

/// No date has told the service's time when the acquire is sent, and the response shows that the wall clock is far
/// behind. A renewal with the service's time makes the lock usable.
#[test]
fn acquire_by_slow_wall_clock_is_renewed_before_report() {
    for (behind_ms, is_reported) in [(0, true), (12_000, true), (18_000, false), (30_000, false)] {
        let (mut host, mut row) = (TestHost::new(1), None);
        let mut machine = waiter(20);
        let op = host.op(0, &mut machine);
        let acquired = write(&mut row, &op);
        host.observe(date(behind_ms), 0, 10);
        host.respond(10, &mut machine, 0, &acquired, Some(date(behind_ms + 10)));
        let step = host.next(10, &mut machine);
        let acquired = matches!(step, Step::Done(AcquireEnd::Acquired(_)));
        assert_eq!(acquired, is_reported, "{behind_ms} ms behind: {step:?}");
        if let Step::Write(renewal) = step {
            let renewed = write(&mut row, &renewal);
            assert!(matches!(renewed, Outcome::Applied(_)));
            host.respond(20, &mut machine, 10, &renewed, Some(date(behind_ms + 20)));
            let mut held = host.acquired(20, &mut machine);
            assert!(held.time_left(at(20)) > Duration::from_secs(19));
        } else {
            assert!(is_reported, "a renewal is due, not {step:?}");
        }
    }
}

/// Returns the machine of an acquire that was applied, and its renewal. The host froze for a minute, which none of its
/// clocks counts, after it had learned the service's time. By the response its service timestamp has passed long ago.
fn acquire_by_frozen_host(
    host: &mut TestHost,
    row: &mut Option<dynamo_lock_protocol::Row>,
) -> (dynamo_lock_protocol::Acquire, dynamo_lock_protocol::Op) {
    host.observe(date(0), 0, 10);
    let mut machine = waiter(10);
    let op = host.op(20, &mut machine);
    let OpKind::Acquire(lease) = &op.kind else { panic!("{op:?}") };
    assert!(lease.ends.service_timestamp);
    let acquired = write(row, &op);
    host.observe(date(60_000), 20, 30);
    host.respond(30, &mut machine, 20, &acquired, Some(date(60_000)));
    let renewal = host.op(30, &mut machine);
    assert!(matches!(renewal.kind, OpKind::Renew { .. }), "{renewal:?}");
    (machine, renewal)
}

/// Lesson 41. The first date after the freeze contradicts the one before it. The second date confirms it, and the write
/// after that contains the right time.
#[test]
fn acquire_by_frozen_host_is_renewed_before_report() {
    let (mut host, mut row) = (TestHost::new(1), None);
    let (mut machine, renewal) = acquire_by_frozen_host(&mut host, &mut row);
    let renewed = write(&mut row, &renewal);
    host.observe(date(60_000), 30, 40);
    host.respond(40, &mut machine, 30, &renewed, Some(date(60_000)));
    let Step::Pause(pause) = host.next(40, &mut machine) else { panic!("its row has ended") };
    let ms = 41 + pause_ms(pause);
    host.write(&mut row, &mut machine, ms, ms, Some(date(60_000)));
    host.acquired(ms, &mut machine);
}

/// Lesson 41. A newcomer finds that the service timestamp has passed, and takes the lock over before the renewal.
#[test]
fn renewal_by_frozen_host_fails_after_takeover() {
    let (mut host, mut row) = (TestHost::new(1), None);
    let (mut machine, renewal) = acquire_by_frozen_host(&mut host, &mut row);
    let (mut newcomer, mut other) = (TestHost::new(2), waiter(10));
    let op = newcomer.op(60_000, &mut other);
    let conflict = write(&mut row, &op);
    newcomer.observe(date(60_000), 60_000, 60_010);
    newcomer.respond(60_010, &mut other, 60_000, &conflict, Some(date(60_000)));
    let takeover = newcomer.op(60_010, &mut other);
    assert!(matches!(takeover.kind, OpKind::TakeOver { .. }), "{takeover:?}");
    write(&mut row, &takeover);
    let conflict = write(&mut row, &renewal);
    host.respond(40, &mut machine, 30, &conflict, Some(date(60_000)));
    let step = host.next(40, &mut machine);
    assert!(!matches!(step, Step::Done(AcquireEnd::Acquired(_))), "{step:?}");
}

/// Seeds 13949 and 19592. Such a row was reported as held if the response that returned it had no date.
#[test]
fn force_revoked_npm_row_is_acquired_without_a_date() {
    use dynamo_lock_protocol::attr;
    let freed = crate::support::row(&[
        (attr::GUID, "g".into()),
        (attr::LEASE_ID, "r".into()),
        (attr::TOKEN, 8.into()),
        (attr::EXPIRES_ON, 0.into()),
        (attr::REVOKED_TOKEN, 7.into()),
    ]);
    let (mut host, mut machine) = (TestHost::new(1), attempt(20));
    let op = host.op(0, &mut machine);
    assert!(matches!(apply(Some(&freed), &op), Verdict::Conflict(_)), "it has no `v`");
    host.respond(1, &mut machine, 0, &Outcome::Conflict(Some(freed.clone())), None);
    let op = host.op(1, &mut machine);
    assert!(matches!(apply(Some(&freed), &op), Verdict::Applied(_)), "{op:?}");
}

/// Other clients acquire and release the lock faster, so that each write finds a free row that has changed.
#[test]
fn acquire_restarts_three_times_at_once() {
    let free = row(&[
        (attr::V, 1.into()),
        (attr::GUID, "g".into()),
        (attr::LEASE_ID, "r".into()),
        (attr::TOKEN, 7.into()),
        (attr::EXPIRES_ON, 0.into()),
    ]);
    let (mut host, mut machine, mut writes) = (TestHost::without_dates(1), attempt(10), 0);
    loop {
        match host.next(writes, &mut machine) {
            Step::Write(_) => writes += 1,
            Step::Done(AcquireEnd::Contended(_)) => break,
            step => panic!("{step:?}"),
        }
        host.respond(writes, &mut machine, writes, &Outcome::Conflict(Some(free.clone())), None);
    }
    assert_eq!(writes, 4);
}

/// Pauses grow to a twentieth of the lease, at least 250 ms and at most 1 s, if recent holds were long.
#[test]
fn pauses_between_polls_have_a_maximum() {
    for (lease_s, longest_ms) in [(1, 250), (10, 500), (60, 1_000)] {
        let (mut host, mut machine, mut ms, mut longest) = (TestHost::without_dates(1), waiter(lease_s), 1, 0);
        host.op(0, &mut machine);
        let mut held = held_row(600_000);
        held.set(attr::ACQUIRED_ON, crate::support::EPOCH_MS.into());
        held.set(attr::RECENT_HOLDS_MS, "600000 600000 600000".into());
        host.respond(ms, &mut machine, 0, &Outcome::Conflict(Some(held.clone())), None);
        while ms < 30_000 {
            match host.next(ms, &mut machine) {
                Step::Pause(length) => {
                    longest = longest.max(pause_ms(length));
                    ms += pause_ms(length);
                }
                Step::Read { .. } => host.handle(ms, &mut machine, Response::row(Some(&held))),
                step => panic!("{step:?}"),
            }
        }
        assert!(longest <= longest_ms && longest > longest_ms / 2, "lease of {lease_s} s: {longest} ms");
    }
}

#[test]
fn timing_with_other_lease_keeps_legacy_skew() {
    let skew = Duration::from_secs(60);
    let timing = Timing::new(Duration::from_secs(10)).unwrap().with_legacy_skew(skew);
    assert_eq!(timing.with_lease(Duration::from_secs(20)).unwrap().legacy_skew(), skew);
}

/// A store must return the row of an acquire. If one does not, the repetition of the write returns it with a conflict.
#[test]
fn applied_acquire_without_its_row_is_repeated() {
    let (mut host, mut row) = (TestHost::without_dates(1), None);
    let mut machine = waiter(20);
    let op = host.op(0, &mut machine);
    assert!(matches!(write(&mut row, &op), Outcome::Applied(Some(_))));
    host.respond(10, &mut machine, 0, &Outcome::Applied(None), None);
    let Step::Pause(length) = host.next(10, &mut machine) else { panic!("no repetition") };
    let sent_ms = 11 + pause_ms(length);
    assert_eq!(host.op(sent_ms, &mut machine), op);
    host.respond(sent_ms + 10, &mut machine, sent_ms, &write(&mut row, &op), None);
    let mut held = host.acquired(sent_ms + 10, &mut machine);
    assert!(held.time_left(at(sent_ms)) < Duration::from_secs(20), "the lease counts from the first attempt");
}
