//! Takeover of expired locks, and of rows without a token.

use std::time::Duration;

use dynamo_lock_protocol::{
    Acquire, AcquireEnd, Evidence, Expiry, LeaseId, Liveness, Machine, OpKind, Outcome, Response, Row, SentAt, Step,
    WaitMode, attr, expiry,
};

use crate::support::{EPOCH_MS, TestHost, attempt, date, held_row, npm_row, request, waiter, write};

/// A look is due at the end of the observed lease, or 25 ms after the last look if that is later.
#[test]
fn long_poll_pause_does_not_delay_the_takeover() {
    let (mut host, mut machine, mut ms) = (TestHost::without_dates(1), waiter(20), 1);
    host.op(0, &mut machine);
    host.respond(ms, &mut machine, 0, &Outcome::Conflict(Some(held_row(1_000))), None);
    let step = host.run(&mut ms, &mut machine, false, |_| held_row(1_000));
    assert!(matches!(&step, Step::Write(op) if matches!(op.kind, OpKind::TakeOver { .. })), "{step:?}");
    assert!((1_001..=1_026).contains(&ms), "{ms} ms: before the end of the lease, or long after it");
}

/// A client that has observed the row since it was written takes the lock over after the lease, without the pad that
/// the row's `expiresOn` contains.
#[test]
fn earliest_end_does_not_include_pad_of_expires_on() {
    let (mut holder, mut reader, mut row) = (TestHost::new(1), TestHost::new(2), None);
    holder.observe(date(0), 0, 0);
    holder.acquire(10, &mut row, 0, 0, Some(date(0)));
    let (mut watcher, mut waiting, mut ms) = (TestHost::without_dates(3), waiter(10), 0);
    watcher.write(&mut row, &mut waiting, 0, 0, None);
    let stored = row.unwrap();
    let step = watcher.run(&mut ms, &mut waiting, false, |_| stored.clone());
    assert!(matches!(&step, Step::Write(op) if matches!(op.kind, OpKind::TakeOver { .. })), "{step:?}");

    reader.observe(date(5_000), 5_000, 5_000);
    let now = reader.now(5_000);
    let evidence = Evidence {
        at: now.at,
        service: now.service,
        date: Some(date(5_000)),
        liveness: Liveness::Unknown,
        watch: None,
        legacy_skew: Duration::ZERO,
    };
    let expiry = expiry(&stored.state().unwrap(), &evidence);
    let Expiry::Running { earliest, latest } = expiry else { panic!("{expiry:?}") };
    let taken_over = Duration::from_millis(ms - 5_000);
    assert!(earliest <= taken_over && taken_over <= latest, "{taken_over:?} is not in {earliest:?} to {latest:?}");
}

/// Lesson 51. The duplicate of an acquire arrives much later, so that its record version returns with another lease ID.
/// The waiter has seen nothing of the time between, and its look at the end of the lease returns the first row, because
/// it is eventually consistent.
#[test]
fn takeover_requires_the_seen_version_and_token() {
    let (mut host, mut other, mut watcher) =
        (TestHost::without_dates(1), TestHost::without_dates(2), TestHost::without_dates(3));
    let (mut row, mut machine, mut waiting) = (None, waiter(10), waiter(10));
    let duplicated = host.op(0, &mut machine);
    let acquired = write(&mut row, &duplicated);
    let first = row.clone().unwrap();
    watcher.write(&mut row, &mut waiting, 10, 20, None);
    host.respond(30, &mut machine, 0, &acquired, None);
    release(&mut host, &mut row, 40, &mut machine);
    let mut successor = waiter(10);
    other.write(&mut row, &mut successor, 50, 60, None);
    release(&mut other, &mut row, 70, &mut successor);
    write(&mut row, &duplicated);
    let orphaned = row.clone().unwrap();
    assert_eq!(orphaned.version(), Some(duplicated.version), "the first version, with another lease ID");
    assert!(matches!(watcher.next(10_100, &mut waiting), Step::Read { .. }), "a look comes first");
    watcher.handle(10_100, &mut waiting, Response::row(Some(&first)));
    let takeover = watcher.op(10_100, &mut waiting);
    write(&mut row, &takeover);
    assert_eq!(row, Some(orphaned));
}

/// At the end of the observed lease the waiter looks, and writes only if the record version is still the same, because a
/// failed write costs as much as ten reads.
#[test]
fn takeover_is_written_only_if_version_is_unchanged() {
    for is_renewed in [false, true] {
        let (mut host, mut machine, mut ms) = (TestHost::without_dates(1), waiter(20), 1);
        host.op(0, &mut machine);
        host.respond(ms, &mut machine, 0, &Outcome::Conflict(Some(held_row(1_000))), None);
        let mut reads = Vec::new();
        let step = host.run(&mut ms, &mut machine, false, |ms| {
            reads.push(ms);
            let mut row = held_row(1_000);
            if is_renewed && ms > 1_000 {
                row.set(attr::GUID, "renewed".into());
            }
            row
        });
        assert!(matches!(step, Step::Write(_)), "{step:?}");
        let last = reads.last().copied().unwrap();
        assert_eq!(last, ms, "the last request before the write is a read");
        assert_eq!(ms > 2_000, is_renewed, "taken over at {ms} ms");
    }
}

/// Releases the lock that a machine has acquired.
fn release(host: &mut TestHost, row: &mut Option<Row>, ms: u64, machine: &mut Acquire) {
    let mut release = machine.cancel(&host.now(ms)).expect("it is acquired");
    let op = host.op(ms, &mut release);
    write(row, &op);
    assert!(row.as_ref().is_some_and(|row| row.whole(attr::EXPIRES_ON) == Some(0)));
}

/// A client that receives no date reports the row as held. The observation is kept for the next attempt.
#[test]
fn tokenless_row_first_seen_without_date_is_taken_over() {
    let (mut host, mut ms) = (TestHost::new(1), 0);
    let mut machine = attempt(20).reading_first();
    let step = host.run(&mut ms, &mut machine, false, |_| npm_row("g", 1));
    assert!(matches!(step, Step::Done(AcquireEnd::Contended(_))), "{step:?}");
    assert_eq!(ms, 0, "it ends after one read");
    let mut machine = Acquire::new(request(20, WaitMode::Try), machine.watch().cloned());
    let step = host.run(&mut ms, &mut machine, true, |_| npm_row("g", 1));
    assert!(matches!(step, Step::Write(_)) && ms < 60_000, "{step:?} at {ms} ms");
}

#[test]
fn tokenless_row_is_contended_if_no_date_ever_comes() {
    let (mut host, mut machine, mut ms) = (TestHost::new(1), attempt(20), 0);
    for _ in 0..50 {
        match host.run(&mut ms, &mut machine, false, |_| npm_row("g", 0)) {
            Step::Write(_) => host.respond(ms + 1, &mut machine, ms, &Outcome::Conflict(Some(npm_row("g", 0))), None),
            Step::Done(AcquireEnd::Contended(_)) => return,
            step => panic!("{step:?}"),
        }
    }
    panic!("an attempt that does not wait has no end");
}

/// Another client may have written tokens between two versions of a row without a token. Two npm clients each write a
/// version just before the last one could be taken over.
#[test]
fn token_floor_wait_restarts_with_each_version_of_row() {
    let (mut host, mut ms) = (TestHost::new(1), 0);
    let mut machine = waiter(20).reading_first();
    let (mut version, mut first_seen_ms) = (0, 0);
    let step = host.run(&mut ms, &mut machine, true, |ms| {
        let new = ms / 6_000;
        if new < 3 && new != version {
            (version, first_seen_ms) = (new, ms);
        }
        npm_row(&version.to_string(), 1)
    });
    let Step::Write(op) = step else { panic!("{step:?}") };
    let OpKind::TakeOver { lease, seen_token: None, .. } = op.kind else { panic!("{op:?}") };
    assert!(lease.token_floor.get() >> 20 > date(first_seen_ms).0, "a floor from before this version was seen");
    assert_eq!(version, 2, "taken over while versions were still changing");
}

/// The first token came from a wall clock that is hours fast. npm dynamo-lock overwrote the row, and its token with it.
#[test]
fn token_after_npm_overwrite_exceeds_one_of_fast_clock() {
    let (mut fast, mut row) = (TestHost::new(1), None);
    fast.wall_ahead_ms = 6 * 3_600_000;
    let op = fast.op(0, &mut waiter(20));
    write(&mut row, &op);
    let given = row.and_then(|row| row.token()).expect("a token");
    let overwritten = npm_row("g", EPOCH_MS + 1_000);
    let (mut host, mut machine, mut ms) = (TestHost::new(2), waiter(20).reading_first(), 30_000);
    let step = host.run(&mut ms, &mut machine, true, |_| overwritten.clone());
    let Step::Write(op) = step else { panic!("{step:?}") };
    let mut row = Some(overwritten);
    assert!(matches!(write(&mut row, &op), Outcome::Applied(_)), "{op:?}");
    let token = row.and_then(|row| row.token()).expect("a token");
    assert!(token > given, "{token:?} after {given:?}");
}

/// The client knows that no guard has that lease any more, but a child process of the guard may still work.
#[test]
fn lease_of_own_lost_guard_is_taken_over_at_once() {
    let lease_id = LeaseId::from_random(1);
    let mut row = held_row(20_000);
    row.set(attr::LEASE_ID, lease_id.as_str().into());
    let mut host = TestHost::without_dates(1);
    let lost = || waiter(20).after_loss(Some(lease_id.clone()));
    let step_after = |host: &mut TestHost, liveness| {
        let mut machine = lost();
        host.op(0, &mut machine);
        let outcome = Outcome::Conflict(Some(row.clone()));
        let response = Response::outcome(SentAt(host.at(0)), &outcome).with_liveness(liveness);
        host.handle(1, &mut machine, response);
        host.next(1, &mut machine)
    };
    let Step::Write(op) = step_after(&mut host, Liveness::Unknown) else { panic!("not a write") };
    assert!(matches!(op.kind, OpKind::TakeOver { .. }), "{op:?}");
    assert!(matches!(step_after(&mut host, Liveness::ChildAlive), Step::Pause(_)));
}
