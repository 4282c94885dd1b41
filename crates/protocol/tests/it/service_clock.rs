//! Dates that contradict each other or the wall clock, and the rows of hosts without a service clock.

use std::time::Duration;

use dynamo_lock_protocol::{
    Acquire, EXPIRY_PAD, Evidence, Expiry, Holder, Liveness, OpKind, Row, ServiceDate, Step, WALL_CLOCK_PAD, WaitMode,
    attr, expiry,
};

use crate::support::{EPOCH_MS, TestHost, attempt, date, held_row, now, npm_row, request, row, waiter, write};

const HOUR_MS: u64 = 3_600_000;

/// Returns a host that has received 15 right dates in 15 seconds.
fn host_with_dates() -> TestHost {
    let mut host = TestHost::new(1);
    (0..15).for_each(|n| host.observe(date(n * 1_000), n * 1_000, n * 1_000));
    host
}

fn bounds(host: &mut TestHost, ms: u64) -> Option<(u64, u64)> {
    let now = host.now(ms);
    now.service.and_then(|clock| clock.interval(now.at))
}

/// Decides about `row`, which a response with this date contained.
fn decide(host: &mut TestHost, ms: u64, date: ServiceDate, row: &Row) -> Expiry {
    host.observe(date, ms, ms);
    let now = host.now(ms);
    let evidence = Evidence {
        at: now.at,
        service: now.service,
        date: Some(date),
        liveness: Liveness::Unknown,
        watch: None,
        legacy_skew: Duration::ZERO,
    };
    expiry(&row.state().expect("a lock"), &evidence)
}

/// Returns a held row with a service timestamp.
fn dated_row(expires_on: u64) -> Row {
    let mut row = held_row(20_000);
    row.set(attr::EXPIRES_ON, expires_on.into());
    row.set(attr::EXPIRY_CLOCK, attr::SERVICE_CLOCK.into());
    row
}

#[test]
fn single_contradicting_date_changes_no_bound() {
    for wrong in [date(15_000 + HOUR_MS), ServiceDate(date(0).0 - 3_600)] {
        let (mut host, mut other) = (host_with_dates(), host_with_dates());
        host.observe(wrong, 15_000, 15_000);
        assert_eq!(bounds(&mut host, 15_000), bounds(&mut other, 15_000));
        // Right dates come between the wrong ones.
        for ms in [16_000, 18_000, 20_000] {
            host.observe(date(ms), ms, ms);
            other.observe(date(ms), ms, ms);
            host.observe(wrong, ms + 1_000, ms + 1_000);
            assert_eq!(bounds(&mut host, ms + 1_000), bounds(&mut other, ms + 1_000));
        }
    }
}

/// The host stood still for an hour that none of its clocks counts.
#[test]
fn second_contradicting_date_replaces_samples() {
    let mut host = host_with_dates();
    host.observe(date(15_000 + HOUR_MS), 15_000, 15_000);
    host.observe(date(16_000 + HOUR_MS), 16_000, 16_000);
    let (lower, upper) = bounds(&mut host, 16_000).unwrap();
    let service_ms = EPOCH_MS + 16_000 + HOUR_MS;
    assert!((lower..=upper).contains(&service_ms), "{lower} to {upper} without {service_ms}");
}

#[test]
fn two_wrong_dates_that_disagree_change_no_bound() {
    let (mut host, mut other) = (host_with_dates(), host_with_dates());
    host.observe(date(15_000 + HOUR_MS), 15_000, 15_000);
    host.observe(date(15_000 + 2 * HOUR_MS), 15_000, 15_000);
    assert_eq!(bounds(&mut host, 15_000), bounds(&mut other, 15_000));
}

#[test]
fn samples_of_ten_minutes_ago_contradict_nothing() {
    let mut host = host_with_dates();
    host.observe(date(700_000 + HOUR_MS), 700_000, 700_000);
    let (lower, _) = bounds(&mut host, 700_000).unwrap();
    assert!(lower > EPOCH_MS + HOUR_MS);
}

/// One host of the service is an hour fast, so that a fresh lease seems to have expired.
#[test]
fn contradicting_date_permits_no_takeover() {
    let later = |ms: u64| date(ms + HOUR_MS);
    for row in [dated_row(EPOCH_MS + 60_000), npm_row("g", EPOCH_MS + 60_000)] {
        let mut host = host_with_dates();
        assert!(matches!(decide(&mut host, 15_000, later(15_000), &row), Expiry::Running { .. }));
        assert!(matches!(decide(&mut host, 16_000, date(16_000), &row), Expiry::Running { .. }));
        assert!(matches!(decide(&mut host, 17_000, later(17_000), &row), Expiry::Running { .. }));
    }
    // After an hour that the lease clocks did not count, the second date proves the expiry.
    let (mut host, row) = (host_with_dates(), dated_row(EPOCH_MS + 60_000));
    host.wall_ahead_ms = HOUR_MS as i64;
    assert!(matches!(decide(&mut host, 15_000, later(15_000), &row), Expiry::Running { .. }));
    assert_eq!(decide(&mut host, 16_000, later(16_000), &row), Expiry::Expired);
}

/// The first date of a client contradicts no other one. Its wall clock is the second witness.
#[test]
fn takeover_by_date_needs_wall_clock_to_agree() {
    let row = dated_row(EPOCH_MS);
    for (wall_ahead_ms, agrees) in [(0, true), (-5_000, true), (5_000, true), (-60_000, false), (60_000, false)] {
        let mut host = TestHost::new(1);
        host.wall_ahead_ms = wall_ahead_ms;
        let expiry = decide(&mut host, 30_000, date(30_000), &row);
        match agrees {
            true => assert_eq!(expiry, Expiry::Expired, "{wall_ahead_ms}"),
            false => {
                let (earliest, latest) = (Duration::ZERO, Duration::from_secs(20));
                assert_eq!(expiry, Expiry::Running { earliest, latest }, "{wall_ahead_ms}");
            }
        }
    }
}

/// R2 does not exist for these rows, so a host with a wrong wall clock could never acquire the lock.
#[test]
fn takeover_of_npm_row_needs_no_wall_clock() {
    let (mut host, row) = (TestHost::new(1), npm_row("g", EPOCH_MS));
    host.wall_ahead_ms = -(HOUR_MS as i64);
    assert_eq!(decide(&mut host, 30_000, date(30_000), &row), Expiry::Expired);
}

/// A waiter whose wall clock is wrong observes the row for its lease (R2).
#[test]
fn waiter_with_wrong_wall_clock_acquires_after_lease() {
    let (mut host, mut ms) = (TestHost::new(1), 30_000);
    host.wall_ahead_ms = HOUR_MS as i64;
    let mut machine = waiter(20).reading_first();
    let step = host.run(&mut ms, &mut machine, true, |_| dated_row(EPOCH_MS));
    assert!(matches!(&step, Step::Write(op) if matches!(op.kind, OpKind::TakeOver { .. })), "{step:?}");
    assert_eq!(ms, 50_000);
}

/// R6 bounds the validity by the date of the response. A date that is an hour early would lengthen it.
#[test]
fn contradicting_early_date_does_not_extend_validity() {
    let (mut host, mut row) = (host_with_dates(), None);
    let mut held = host.acquire(20, &mut row, 15_000, 15_000, Some(date(15_000)));
    let before = held.time_left(host.at(20_000));
    let renewal = host.renewal(&mut 20_000, &mut held);
    let renewed = write(&mut row, &renewal);
    let wrong = ServiceDate(date(20_000).0 - 3_600);
    host.observe(wrong, 20_000, 20_000);
    host.renewed(20_000, &mut held, 20_000, &renewed, Some(wrong));
    assert_eq!(held.time_left(host.at(20_000)), before);
    // The next response has a right date.
    let mut ms = 20_000;
    let renewal = host.renewal(&mut ms, &mut held);
    assert!(ms < 21_000, "{ms}");
    host.observe(date(ms), ms, ms);
    let renewed = write(&mut row, &renewal);
    host.renewed(ms, &mut held, ms, &renewed, Some(date(ms)));
    assert!(held.time_left(host.at(ms)) > Duration::from_secs(19));
}

/// The service's time may really be later, because this host stood still.
#[test]
fn contradicting_late_date_ends_validity() {
    let (mut host, mut row) = (host_with_dates(), None);
    let mut held = host.acquire(20, &mut row, 15_000, 15_000, Some(date(15_000)));
    let renewal = host.renewal(&mut 20_000, &mut held);
    let renewed = write(&mut row, &renewal);
    host.observe(date(20_000 + HOUR_MS), 20_000, 20_000);
    host.renewed(20_000, &mut held, 20_000, &renewed, Some(date(20_000 + HOUR_MS)));
    assert!(!held.is_valid(host.at(20_000)));
}

/// An early date does not confirm an acquisition either.
#[test]
fn contradicting_early_date_confirms_no_acquisition() {
    let (mut host, mut row, mut machine) = (host_with_dates(), None, attempt(20));
    let wrong = ServiceDate(date(15_000).0 - 3_600);
    let op = host.op(15_000, &mut machine);
    let acquired = write(&mut row, &op);
    host.observe(wrong, 15_000, 15_000);
    host.respond(15_000, &mut machine, 15_000, &acquired, Some(wrong));
    assert!(matches!(host.op(15_000, &mut machine).kind, OpKind::Renew { .. }));
}

fn acquired_end(op: &dynamo_lock_protocol::Op) -> u64 {
    let OpKind::Acquire(lease) = &op.kind else { panic!("{op:?}") };
    lease.ends.expires_on
}

#[test]
fn pad_without_service_clock_covers_wrong_wall_clocks() {
    let lease_end = EPOCH_MS + 20_000;
    let pad = |pad: Duration| lease_end + pad.as_millis() as u64;
    let op = TestHost::without_dates(1).op(0, &mut waiter(20));
    assert_eq!(acquired_end(&op), pad(WALL_CLOCK_PAD));
    // With a service clock, R6 and the first renewal cover a row from before the first date.
    let op = TestHost::new(1).op(0, &mut waiter(20));
    assert_eq!(acquired_end(&op), pad(EXPIRY_PAD));
    // npm dynamo-lock cannot use the table.
    let mut machine = Acquire::new(request(20, WaitMode::Wait), None);
    let embedded = dynamo_lock_protocol::Now { npm_clients: false, ..now(0) };
    let Step::Write(op) = dynamo_lock_protocol::Machine::next(&mut machine, &embedded) else { panic!("no write") };
    assert_eq!(acquired_end(&op), pad(EXPIRY_PAD));
}

#[test]
fn shown_end_of_lease_is_without_pad() {
    let shown = |host: &mut TestHost, ms: u64, row: &Row| {
        let end = Holder::of(row, &host.now(ms)).expires_at.unwrap();
        end.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64 - EPOCH_MS
    };
    let dated = dated_row(EPOCH_MS + 23_000);
    assert_eq!(shown(&mut TestHost::new(1), 5_000, &dated), 20_000);
    let mut host = TestHost::without_dates(1);
    let mut stored = None;
    let op = host.op(0, &mut waiter(20));
    write(&mut stored, &op);
    let stored = stored.unwrap();
    assert_eq!(shown(&mut host, 5_000, &stored), 20_000);
    // A reader with another pad, and a reader whose wall clock is behind: at most one lease from now.
    assert_eq!(shown(&mut TestHost::new(1), 5_000, &stored), 25_000);
    host.wall_ahead_ms = -10_000;
    assert_eq!(shown(&mut host, 15_000, &stored), 20_000);
    assert_eq!(shown(&mut host, 5_000, &stored), 15_000);
    // A row of npm dynamo-lock has no pad, and neither has a row that is no lock.
    assert_eq!(shown(&mut host, 5_000, &npm_row("g", EPOCH_MS + 9_000)), 9_000);
    let other = row(&[(attr::V, 2.into()), (attr::EXPIRES_ON, (EPOCH_MS + 9_000).into())]);
    assert_eq!(shown(&mut host, 5_000, &other), 9_000);
}
