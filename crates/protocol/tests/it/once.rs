//! Work that runs until it has succeeded once.

use std::time::Duration;

use dynamo_lock_protocol::{
    Acquire, AcquireEnd, Done, DoneUntil, Ends, FencingToken, Finish, FinishEnd, Held, Kind, Lease, LeaseId, LegacyEnd,
    LegacyGet, LossReason, Op, OpKind, Outcome, Refusal, Request, Response, Revoke, RevokeEnd, Row, RowError, RowState,
    Step, Target, Value, Verdict, WaitMode, apply, attr,
};

use crate::support::{EPOCH_MS, TestHost, at, date, held_row, name, npm_row, request, row, waiter, write};

/// End of the lease in a finished row.
const NEVER_MS: u64 = 253_402_300_799_000;

fn once(wait_mode: WaitMode) -> Acquire {
    Acquire::new(Request { kind: Kind::Once, ..request(20, wait_mode) }, None)
}

/// Reads the row, as the first step of an attempt.
fn look(host: &mut TestHost, ms: u64, machine: &mut Acquire, stored: Option<&Row>, is_strong: bool) {
    let step = host.next(ms, machine);
    assert_eq!(step, Step::Read { strong: is_strong });
    host.handle(ms, machine, Response::row(stored));
}

/// Begins the work of a lock that was acquired at 0 ms.
fn begin(host: &mut TestHost, stored: &mut Option<Row>) -> Held {
    let mut machine = once(WaitMode::Wait);
    look(host, 0, &mut machine, stored.as_ref(), false);
    host.write(stored, &mut machine, 0, 10, None);
    host.acquired(10, &mut machine)
}

fn finish(host: &mut TestHost, ms: u64, held: &Held, lasts: Option<Duration>) -> Finish {
    Finish::new(held, "worker-7".to_owned(), lasts, &host.now(ms))
}

/// Returns a row whose work has succeeded, and its token.
fn finished(lasts: Option<Duration>) -> (Option<Row>, FencingToken) {
    let (mut host, mut stored) = (TestHost::without_dates(9), None);
    let held = begin(&mut host, &mut stored);
    let mut machine = finish(&mut host, 5_000, &held, lasts);
    host.write(&mut stored, &mut machine, 5_000, 5_010, None);
    assert_eq!(host.next(5_010, &mut machine), Step::Done(FinishEnd::Recorded));
    (stored, held.token())
}

fn after(token: FencingToken, n: u64) -> FencingToken {
    FencingToken::new(token.get() + n)
}

fn op(kind: OpKind) -> Op {
    Op { name: name(), version: "fresh".into(), row_kind: Kind::Once, kind }
}

fn lease() -> Lease {
    Lease {
        lease_id: LeaseId::from("n"),
        token_floor: FencingToken::new(0),
        lease_ms: 20_000,
        ends: Ends { expires_on: EPOCH_MS, service_timestamp: false, ttl: 9 },
        owner: "worker-8".to_owned(),
        acquired_on: EPOCH_MS,
        data: None,
        liveness_key: None,
    }
}

fn held() -> Row {
    let mut held = held_row(20_000);
    held.set(attr::KIND, attr::ONCE.into());
    held.set(attr::RENEWAL_SEQ, 0.into());
    held
}

fn free() -> Row {
    let mut free = held();
    free.set(attr::EXPIRES_ON, 0.into());
    free
}

fn done() -> Row {
    let mut done = held();
    done.remove(attr::RENEWAL_SEQ);
    done.set(attr::EXPIRES_ON, NEVER_MS.into());
    done.set(attr::DONE_TOKEN, 7.into());
    done
}

/// Change of a row, after which one conjunct of a condition does not hold.
type Change = (&'static str, Option<Value>);

/// Each conjunct that a search may find redundant, because another one excludes the same rows of this protocol.
#[test]
fn each_conjunct_of_a_condition_is_tested() {
    let (token, mine) = (FencingToken::new(7), LeaseId::from("r"));
    let number = |n: u64| Some(Value::from(n));
    let text = |text: &str| Some(Value::from(text));
    let ends = lease().ends;
    let success = Done { done_on: 1, done_by: "o".to_owned(), until: None };
    let target = || Target::Token(token);
    let other_kind = || [(attr::KIND, None), (attr::KIND, text("semaphore")), (attr::KIND, number(1))].to_vec();
    let success_there = || vec![(attr::DONE_TOKEN, number(7)), (attr::DONE_TOKEN, text("malformed"))];
    let owner = || {
        let version = [(attr::V, None), (attr::V, number(2))].to_vec();
        let lease_id = [(attr::LEASE_ID, None), (attr::LEASE_ID, text("another"))].to_vec();
        let token = vec![(attr::TOKEN, number(8))];
        [version, lease_id, token, vec![(attr::EXPIRES_ON, number(0)), (attr::EXPIRES_ON, None)]].concat()
    };
    let lock = || vec![(attr::V, None), (attr::V, number(2)), (attr::GUID, None), (attr::GUID, text("fresh"))];
    let cases: [(OpKind, Row, Vec<Change>); 10] = [
        (
            OpKind::Acquire(lease()),
            free(),
            [
                other_kind(),
                success_there(),
                lock(),
                vec![(attr::LEASE_ID, text("n")), (attr::TOKEN, number(0)), (attr::EXPIRES_ON, number(1))],
            ]
            .concat(),
        ),
        (
            OpKind::TakeOver { lease: lease(), seen: "g".into(), seen_token: Some(token), ended: None },
            held(),
            [other_kind(), success_there(), vec![(attr::GUID, text("h")), (attr::TOKEN, number(8))]].concat(),
        ),
        (
            OpKind::StartAnew { lease: lease(), seen: "g".into(), token },
            done(),
            [
                other_kind(),
                vec![(attr::GUID, text("h")), (attr::TOKEN, number(8))],
                vec![(attr::DONE_TOKEN, None), (attr::DONE_TOKEN, number(6))],
            ]
            .concat(),
        ),
        (
            OpKind::Renew { lease_id: mine.clone(), token, renewal_seq: 1, lease_ms: 1, ends, data: None },
            held(),
            [owner(), other_kind(), vec![(attr::RENEWAL_SEQ, number(1)), (attr::RENEWAL_SEQ, None)]].concat(),
        ),
        (
            OpKind::Finish { lease_id: mine.clone(), token, done: success, next_lease_id: "f".into(), ended: None },
            held(),
            [owner(), other_kind(), success_there()].concat(),
        ),
        (
            OpKind::Release { lease_id: mine.clone(), token: Some(token), ttl: 9, history: None, ended: None },
            held(),
            [owner(), other_kind()].concat(),
        ),
        (
            OpKind::Release { lease_id: mine, token: None, ttl: 9, history: None, ended: None },
            held(),
            [owner().into_iter().filter(|(attribute, _)| *attribute != attr::TOKEN).collect(), other_kind()].concat(),
        ),
        (
            OpKind::Reset { token, lease_id: "f".into(), ttl: 9 },
            done(),
            [
                other_kind(),
                lock(),
                vec![(attr::TOKEN, number(8)), (attr::LEASE_ID, None), (attr::LEASE_ID, text("f"))],
                vec![(attr::DONE_TOKEN, None), (attr::DONE_TOKEN, number(6))],
            ]
            .concat(),
        ),
        (
            OpKind::Revoke { target: target(), lease_id: "f".into(), ended: None },
            held(),
            [other_kind()[1..].to_vec(), success_there(), vec![(attr::TOKEN, number(8))]].concat(),
        ),
        (
            OpKind::ForceRevoke { target: target(), lease_id: "f".into(), ttl: 9, ended: None },
            held(),
            [other_kind()[1..].to_vec(), success_there(), vec![(attr::TOKEN, number(8))]].concat(),
        ),
    ];
    for (kind, stored, changes) in cases {
        let op = op(kind);
        assert!(matches!(apply(Some(&stored), &op), Verdict::Applied(_)), "control: {op:?}");
        for (attribute, value) in changes {
            let mut stored = stored.clone();
            match &value {
                Some(value) => stored.set(attribute, value.clone()),
                None => stored.remove(attribute),
            }
            assert!(matches!(apply(Some(&stored), &op), Verdict::Conflict(_)), "{attribute} {value:?}: {op:?}");
        }
    }
}

/// A plain lock has no success, and a lock of this kind is never handed over.
#[test]
fn operations_of_other_kinds_are_refused() {
    let plain = |kind| Op { row_kind: Kind::Mutex, ..op(kind) };
    let acquire = plain(OpKind::Acquire(lease()));
    assert!(matches!(apply(Some(&free()), &acquire), Verdict::Conflict(_)));
    let mut host = TestHost::without_dates(1);
    let mut guard = begin(&mut host, &mut None);
    assert!(guard.is_valid(at(20)) && !guard.can_hand_over(at(20)));
    let mut plain_guard = host.acquire(20, &mut None, 0, 10, None);
    assert!(plain_guard.can_hand_over(at(20)), "control");
    // Revocation is the same for both kinds.
    for stored in [held(), held_row(20_000)] {
        let mut revoke = Revoke::new(&name(), Target::Token(FencingToken::new(7)), false, &host.now(30));
        let op = host.op(30, &mut revoke);
        assert!(matches!(apply(Some(&stored), &op), Verdict::Applied(_)));
    }
}

/// The error names both kinds and the way out, so that a name that was used for two things can be told apart.
#[test]
fn row_of_another_kind_is_refused_by_name() {
    for (requested, stored) in [(Kind::Mutex, free()), (Kind::Once, held_row(1_000)), (Kind::Mutex, done())] {
        let found = if requested == Kind::Once { Kind::Mutex } else { Kind::Once };
        let mut host = TestHost::without_dates(1);
        let mut machine = Acquire::new(Request { kind: requested, ..request(20, WaitMode::Wait) }, None);
        match requested {
            Kind::Once => {
                // The first look may be stale.
                look(&mut host, 0, &mut machine, Some(&stored), false);
                assert!(matches!(host.next(10, &mut machine), Step::Pause(_)));
                look(&mut host, 25, &mut machine, Some(&stored), true);
            }
            _ => host.write(&mut Some(stored), &mut machine, 0, 10, None),
        }
        let Step::Done(AcquireEnd::RowError(error)) = host.next(50, &mut machine) else { panic!("{requested}") };
        assert_eq!(error, RowError::OtherKind { found, requested });
        let message = error.to_string();
        let words = match requested {
            Kind::Once => "that of a plain lock, but work that runs once was",
            _ => "that of work that runs once, but a plain lock was",
        };
        assert!(message.contains(words), "{message}");
        assert!(message.contains("use another name") && !message.contains('\n'), "{message}");
    }
    let mut host = TestHost::without_dates(1);
    let mut get = LegacyGet::new(name(), 1_000, at(0));
    assert!(matches!(host.next(0, &mut get), Step::Read { .. }));
    host.handle(0, &mut get, Response::row(Some(&free())));
    let step = host.next(0, &mut get);
    assert!(matches!(step, Step::Done(LegacyEnd::RowError(RowError::OtherKind { .. }))), "{step:?}");
    // A row of npm dynamo-lock is a plain lock.
    let error = npm_row("g", 0).state_for(Kind::Once);
    assert!(matches!(error, Err(RowError::OtherKind { found: Kind::Mutex, .. })), "{error:?}");
}

#[test]
fn malformed_success_is_refused() {
    let with = |attribute, value: Value| {
        let mut stored = done();
        stored.set(attribute, value);
        stored.state()
    };
    assert!(matches!(with(attr::DONE_TOKEN, 6.into()), Err(RowError::Malformed { attribute: attr::DONE_TOKEN, .. })));
    assert!(matches!(with(attr::DONE_UNTIL, "x".into()), Err(RowError::Malformed { attribute: attr::DONE_UNTIL, .. })));
    assert!(matches!(with(attr::DONE_UNTIL, 5.into()), Ok(RowState::Done(_))), "control");
    let legacy = row(&[(attr::GUID, "g".into()), (attr::KIND, attr::ONCE.into()), (attr::EXPIRES_ON, 1.into())]);
    assert!(matches!(legacy.state(), Err(RowError::Malformed { attribute: attr::V, .. })));
    // A plain lock may contain an attribute of that name.
    let mut plain = held_row(1_000);
    plain.set(attr::DONE_TOKEN, 7.into());
    assert!(matches!(plain.state(), Ok(RowState::Held(_))));
}

#[test]
fn finished_row_keeps_begin_and_never_expires() {
    let (stored, token) = finished(None);
    let stored = stored.expect("a row");
    assert_eq!(stored.whole(attr::DONE_TOKEN), Some(token.get()));
    assert_eq!(stored.whole(attr::EXPIRES_ON), Some(NEVER_MS));
    for gone in [attr::RENEWAL_SEQ, attr::LEASE_MS, attr::OWNER, attr::EXPIRY_CLOCK, attr::LIVENESS_KEY, attr::TTL] {
        assert!(stored.get(gone).is_none(), "{gone}");
    }
    let Ok(RowState::Done(row)) = stored.state() else { panic!("not finished") };
    let time = |ms| std::time::SystemTime::UNIX_EPOCH + Duration::from_millis(EPOCH_MS + ms);
    assert_eq!(row.success.token, token);
    assert_eq!((row.success.started_at, row.success.finished_at), (Some(time(0)), Some(time(5_000))));
    assert_eq!((row.success.by.as_deref(), row.success.until), (Some("worker-7"), None));
}

/// One eventually consistent read, also if the client does not wait.
#[test]
fn attempt_after_success_is_one_read() {
    let (stored, token) = finished(None);
    for wait_mode in [WaitMode::Wait, WaitMode::Try] {
        let (mut host, mut machine) = (TestHost::without_dates(1), once(wait_mode));
        look(&mut host, 100_000, &mut machine, stored.as_ref(), false);
        let step = host.next(100_000, &mut machine);
        assert!(matches!(&step, Step::Done(AcquireEnd::Done(success)) if success.token == token), "{step:?}");
    }
}

/// The first look may be stale, and a client that does not wait reports the holder that it has read.
#[test]
fn attempt_reads_strongly_before_it_reports_a_holder() {
    let (mut host, mut machine) = (TestHost::without_dates(1), once(WaitMode::Try));
    look(&mut host, 0, &mut machine, Some(&held()), false);
    look(&mut host, 10, &mut machine, Some(&held()), true);
    assert!(matches!(host.next(10, &mut machine), Step::Done(AcquireEnd::Contended(_))));
}

/// The waiter receives the success with its next look, or in the conflict of its write.
#[test]
fn waiter_skips_after_success() {
    let (stored, token) = finished(None);
    let (mut host, mut machine, mut ms) = (TestHost::without_dates(1), once(WaitMode::Wait), 0);
    let step =
        host.run(&mut ms, &mut machine, false, |ms| if ms < 4_000 { held() } else { stored.clone().expect("a row") });
    assert!(matches!(step, Step::Done(AcquireEnd::Done(success)) if success.token == token) && ms < 5_000);

    let mut machine = once(WaitMode::Wait);
    look(&mut host, 0, &mut machine, Some(&free()), false);
    host.write(&mut stored.clone(), &mut machine, 0, 10, None);
    assert!(matches!(host.next(10, &mut machine), Step::Done(AcquireEnd::Done(_))));
}

#[test]
fn failure_is_released_for_the_next_attempt() {
    let (mut host, mut stored) = (TestHost::without_dates(1), None);
    let held = begin(&mut host, &mut stored);
    let mut release = host.release(20, &held);
    host.write(&mut stored, &mut release, 20, 30, None);
    let next = begin(&mut TestHost::without_dates(2), &mut stored);
    assert_eq!(next.token(), after(held.token(), 1));
}

/// Lost answers and throttling are retried for one lease, also after the local deadline.
#[test]
fn unanswered_finish_is_repeated_for_a_lease() {
    let (mut host, mut stored) = (TestHost::without_dates(1), None);
    let mut held = begin(&mut host, &mut stored);
    let began = 19_000;
    let mut machine = finish(&mut host, began, &held, None);
    let first = host.op(began, &mut machine);
    let (mut ms, mut attempts) = (began, 1);
    host.respond(ms, &mut machine, ms, &Outcome::Unknown, None);
    let end = loop {
        match host.next(ms, &mut machine) {
            Step::Pause(length) => ms += length.as_millis().max(1) as u64,
            Step::Write(op) => {
                assert_eq!(op, first);
                attempts += 1;
                let outcome = if attempts % 2 == 0 { Outcome::Throttled } else { Outcome::Unknown };
                host.respond(ms, &mut machine, ms, &outcome, None);
            }
            Step::Done(end) => break end,
            step => panic!("{step:?}"),
        }
    };
    assert_eq!(end, FinishEnd::Unknown);
    assert!((began + 20_000..began + 20_100).contains(&ms) && attempts > 10, "{attempts} until {ms}");
    assert!(held.check(at(ms)).is_some(), "control: the lease ended before");
}

#[test]
fn conflict_with_own_token_is_a_recorded_success() {
    let (mut host, mut stored) = (TestHost::without_dates(1), None);
    let held = begin(&mut host, &mut stored);
    let mut machine = finish(&mut host, 1_000, &held, None);
    let op = host.op(1_000, &mut machine);
    assert!(matches!(write(&mut stored, &op), Outcome::Applied(_)));
    host.respond(1_100, &mut machine, 1_000, &Outcome::Unknown, None);
    host.write(&mut stored, &mut machine, 3_000, 3_100, None);
    assert_eq!(host.next(3_100, &mut machine), Step::Done(FinishEnd::Recorded));
}

/// The reason is that for which the row is not held any more. The success of another run is not one's own.
#[test]
fn other_conflict_is_a_success_that_is_not_recorded() {
    let mut revoked = held();
    let (mut host, mut stored) = (TestHost::without_dates(1), None);
    let held = begin(&mut host, &mut stored);
    revoked.set(attr::REVOKED_TOKEN, held.token().get().into());
    let rows =
        [(None, LossReason::RowGone), (Some(revoked), LossReason::Revoked), (Some(done()), LossReason::TakenOver)];
    for (stored, reason) in rows {
        for ambiguous in [false, true] {
            let mut machine = finish(&mut host, 1_000, &held, None);
            host.op(1_000, &mut machine);
            if ambiguous {
                host.respond(1_100, &mut machine, 1_000, &Outcome::Unknown, None);
                host.op(3_000, &mut machine);
            }
            host.respond(3_100, &mut machine, 3_000, &Outcome::Conflict(stored.clone()), None);
            assert_eq!(host.next(3_100, &mut machine), Step::Done(FinishEnd::NotRecorded(reason)), "{stored:?}");
        }
    }
    let mut machine = finish(&mut host, 1_000, &held, None);
    host.op(1_000, &mut machine);
    host.handle(1_100, &mut machine, Response::refused(Refusal::NoTable));
    assert_eq!(host.next(1_100, &mut machine), Step::Done(FinishEnd::NotRecorded(LossReason::RowGone)));
}

#[test]
fn refused_finish_is_retried_for_a_lease() {
    let (mut host, mut stored) = (TestHost::without_dates(1), None);
    let held = begin(&mut host, &mut stored);
    for (ambiguous, expected) in [(false, FinishEnd::Refused), (true, FinishEnd::Unknown)] {
        let mut machine = finish(&mut host, 1_000, &held, None);
        host.op(1_000, &mut machine);
        if ambiguous {
            host.respond(1_000, &mut machine, 1_000, &Outcome::Unknown, None);
            host.op(3_000, &mut machine);
        }
        host.handle(3_000, &mut machine, Response::refused(Refusal::Other));
        assert!(matches!(host.next(3_000, &mut machine), Step::Pause(_)));
        host.op(20_900, &mut machine);
        host.handle(21_000, &mut machine, Response::refused(Refusal::Other));
        assert_eq!(host.next(21_000, &mut machine), Step::Done(expected));
    }
}

/// A guard that is known to be lost sends nothing. One whose lease has only passed does.
#[test]
fn finish_is_sent_unless_the_loss_is_known() {
    let (mut host, mut stored) = (TestHost::without_dates(1), None);
    let mut held = begin(&mut host, &mut stored);
    let mut late = finish(&mut host, 60_000, &held, None);
    host.write(&mut stored.clone(), &mut late, 60_000, 60_100, None);
    assert_eq!(host.next(60_100, &mut late), Step::Done(FinishEnd::Recorded));
    host.renewal_now(5_500, &mut held);
    host.renewed(5_600, &mut held, 5_500, &Outcome::Conflict(None), None);
    let mut machine = finish(&mut host, 5_700, &held, None);
    assert_eq!(host.next(5_700, &mut machine), Step::Done(FinishEnd::NotRecorded(LossReason::RowGone)));
}

/// It counts from the begin of the successful run, by the upper bound of service time then.
#[test]
fn success_with_an_end_counts_from_the_begin() {
    let until = |host: &mut TestHost, held: &Held| {
        let mut machine = finish(host, 9_000, held, Some(Duration::from_secs(60)));
        match host.op(9_000, &mut machine).kind {
            OpKind::Finish { done: Done { until: Some(until), .. }, .. } => until,
            kind => panic!("{kind:?}"),
        }
    };
    let mut host = TestHost::without_dates(1);
    let held = begin(&mut host, &mut None);
    let day = 8 * 24 * 3600;
    let ttl = (EPOCH_MS + 60_000) / 1000 + day;
    assert_eq!(until(&mut host, &held), DoneUntil { ms: EPOCH_MS + 60_000, service_timestamp: false, ttl });

    let mut host = TestHost::new(1);
    host.wall_ahead_ms = -3_600_000;
    let held = begin_dated(&mut host);
    let DoneUntil { ms, service_timestamp, ttl } = until(&mut host, &held);
    // The date of the acquisition bounds service time by 3 s, and 0.5 % of the time since are added.
    assert!(service_timestamp && (EPOCH_MS + 63_000..EPOCH_MS + 63_200).contains(&ms), "{}", ms - EPOCH_MS);
    assert_eq!(ttl, ms.div_ceil(1000) + day);
}

fn begin_dated(host: &mut TestHost) -> Held {
    let (mut machine, mut stored) = (once(WaitMode::Wait), None);
    assert!(matches!(host.next(0, &mut machine), Step::Read { .. }));
    host.observe(date(0), 0, 0);
    host.handle(0, &mut machine, Response::row(None).with_date(date(0)));
    host.write(&mut stored, &mut machine, 0, 10, Some(date(0)));
    host.acquired(10, &mut machine)
}

/// Work begins anew by a write on exactly the version that was seen, after the end of its success.
#[test]
fn work_begins_anew_after_the_end_of_its_success() {
    let (stored, token) = finished(Some(Duration::from_secs(60)));
    let attempt = |ms, dated: bool, wall_ahead_ms| {
        let mut host = if dated { TestHost::new(1) } else { TestHost::without_dates(1) };
        host.wall_ahead_ms = wall_ahead_ms;
        let mut machine = once(WaitMode::Try);
        assert!(matches!(host.next(ms, &mut machine), Step::Read { strong: false }));
        let date = dated.then(|| date(ms));
        date.into_iter().for_each(|date| host.observe(date, ms, ms));
        host.handle(ms, &mut machine, Response::row(stored.as_ref()).with_date(date));
        let step = host.next(ms, &mut machine);
        (host, machine, step)
    };
    let skips = |(_, _, step): (TestHost, Acquire, _)| matches!(step, Step::Done(AcquireEnd::Done(_)));
    assert!(skips(attempt(60_000, false, 0)) && !skips(attempt(60_001, false, 0)));
    // With a service clock its lower bound decides, and not the wall clock.
    assert!(skips(attempt(62_000, true, 3_600_000)) && !skips(attempt(63_000, true, -3_600_000)));

    let (mut host, mut machine, step) = attempt(61_000, false, 0);
    let Step::Write(op) = step else { panic!("{step:?}") };
    let seen = stored.as_ref().and_then(Row::version).expect("a version");
    assert!(matches!(&op.kind, OpKind::StartAnew { seen: s, token: t, .. } if *s == seen && *t == token), "{op:?}");
    let mut next = stored.clone();
    host.respond(61_010, &mut machine, 61_000, &write(&mut next, &op), None);
    let held = host.acquired(61_010, &mut machine);
    assert_eq!(held.token(), after(token, 1));
    let next = next.expect("a row");
    for gone in [attr::DONE_TOKEN, attr::DONE_ON, attr::DONE_BY, attr::DONE_UNTIL, attr::DONE_CLOCK] {
        assert!(next.get(gone).is_none(), "{gone}");
    }
    assert!(matches!(next.state_for(Kind::Once), Ok(RowState::Held(_))));
}

/// Without a date, a client with a service clock does not know that the end has passed.
#[test]
fn success_counts_while_no_service_time_is_known() {
    let (stored, _) = finished(Some(Duration::from_secs(60)));
    let (mut host, mut machine) = (TestHost::new(1), once(WaitMode::Try));
    look(&mut host, 900_000, &mut machine, stored.as_ref(), false);
    assert!(matches!(host.next(900_000, &mut machine), Step::Done(AcquireEnd::Done(_))));
}

#[test]
fn reset_forgets_exactly_the_named_success() {
    let (mut stored, token) = finished(Some(Duration::from_secs(60)));
    let mut host = TestHost::without_dates(1);
    let mut other = Revoke::of_success(&name(), after(token, 1), &host.now(0));
    host.write(&mut stored, &mut other, 0, 10, None);
    assert!(matches!(host.next(10, &mut other), Step::Done(RevokeEnd::Ended(Some(_)))));

    let mut reset = Revoke::of_success(&name(), token, &host.now(20));
    let op = host.op(20, &mut reset);
    write(&mut stored, &op);
    host.respond(30, &mut reset, 20, &Outcome::Unknown, None);
    host.write(&mut stored, &mut reset, 2_000, 2_010, None);
    assert_eq!(host.next(2_010, &mut reset), Step::Done(RevokeEnd::Done), "an earlier attempt was applied");
    assert_eq!(stored.as_ref().map(|row| row.state_for(Kind::Once)), Some(Ok(RowState::Free)));
    let held = begin(&mut host, &mut stored);
    assert_eq!(held.token(), after(token, 2));
}

/// A late copy of a finish must not end the work of a later acquisition, also under the same lease ID.
#[test]
fn late_finish_does_not_end_a_later_acquisition() {
    let (mut host, mut stored) = (TestHost::without_dates(1), None);
    let held = begin(&mut host, &mut stored);
    let mut machine = finish(&mut host, 100, &held, None);
    let late = host.op(100, &mut machine);
    write(&mut stored, &late);
    let mut reset = Revoke::of_success(&name(), held.token(), &host.now(200));
    host.write(&mut stored, &mut reset, 200, 210, None);
    let mut again = stored.clone().expect("a row");
    again.set(attr::LEASE_ID, held.lease_id().as_str().into());
    again.set(attr::EXPIRES_ON, 1.into());
    assert!(matches!(apply(Some(&again), &late), Verdict::Conflict(_)));
}

/// A waiter for a plain lock is not affected by an attribute of that name.
#[test]
fn plain_acquisition_does_not_ask_for_a_success() {
    let mut host = TestHost::without_dates(1);
    let mut stored = held_row(1_000);
    stored.set(attr::EXPIRES_ON, 0.into());
    stored.set(attr::DONE_TOKEN, 7.into());
    let op = host.op(0, &mut waiter(20));
    assert_eq!(op.row_kind, Kind::Mutex);
    assert!(matches!(apply(Some(&stored), &op), Verdict::Applied(_)));
}
