use dynamo_lock::LossReason;
use dynamo_lock_protocol::{Acquire, AcquireEnd, HeldStep, OpKind, Release, Response, SentAt, Step, holds};

use crate::machine::{Desk, at, date, request, write};

#[test]
fn lesson_20_a_lock_that_was_won_and_slept_over_is_not_reported() {
    let (mut desk, mut row) = (Desk::without_dates(1), None);
    let mut machine = Acquire::new(request(), None);
    let op = desk.op(0, &mut machine);
    let won = write(&mut row, &op);
    desk.at(10, |now| machine.handle(now, Response::outcome(SentAt(at(0)), &won)));
    let step = desk.at(9_890, |now| machine.clone().next(now));
    assert!(!matches!(step, Step::Done(AcquireEnd::Acquired(_))), "{step:?}");
    let step = desk.at(9_889, |now| machine.clone().next(now));
    assert!(matches!(step, Step::Done(AcquireEnd::Acquired(_))), "{step:?}");
}

#[test]
fn lesson_20_an_answer_that_comes_after_its_own_deadline_is_no_success() {
    let (mut desk, mut row) = (Desk::without_dates(1), None);
    let mut machine = Acquire::new(request(), None);
    let op = desk.op(0, &mut machine);
    let won = write(&mut row, &op);
    desk.at(9_890, |now| machine.handle(now, Response::outcome(SentAt(at(0)), &won)));
    let step = desk.at(9_890, |now| machine.next(now));
    assert!(matches!(step, Step::CleanUp(_)), "{step:?}");
}

#[test]
fn lesson_42_an_answer_after_the_deadline_revives_nothing() {
    let (mut desk, mut row) = (Desk::without_dates(1), None);
    let mut held = desk.acquired(&mut row, 0, 10);
    let HeldStep::Write(renewal) = desk.at(2_500, |now| held.next(now)) else { panic!("a renewal is due") };
    let answer = write(&mut row, &renewal);
    // It landed in time, and its answer comes 20 ms after the deadline of the acquisition, 9.89 s.
    desk.at(9_910, |now| held.handle_outcome(now, SentAt(at(2_500)), &answer, None));
    assert!(!held.is_valid(at(9_910)));
    assert_eq!(held.check(at(9_910)), Some(LossReason::Expired));
    assert_eq!(desk.at(9_920, |now| held.next(now)), HeldStep::Lost(LossReason::Expired));
}

#[test]
fn lesson_42_an_answer_before_the_deadline_does_count() {
    let (mut desk, mut row) = (Desk::without_dates(1), None);
    let mut held = desk.acquired(&mut row, 0, 10);
    let HeldStep::Write(renewal) = desk.at(2_500, |now| held.next(now)) else { panic!("a renewal is due") };
    let answer = write(&mut row, &renewal);
    desk.at(9_880, |now| held.handle_outcome(now, SentAt(at(2_500)), &answer, None));
    assert!(held.is_valid(at(12_380)));
    assert!(!held.is_valid(at(12_390)));
}

#[test]
fn lesson_51_a_takeover_means_the_version_and_the_token_that_were_seen() {
    let (mut ours, mut others) = (Desk::without_dates(1), Desk::without_dates(2));
    let (mut watcher, mut row) = (Desk::without_dates(3), None);
    // An acquire whose duplicate will land much later, so that its record version comes back.
    let mut machine = Acquire::new(request(), None);
    let twice = ours.op(0, &mut machine);
    let held = write(&mut row, &twice);
    let mut waiter = Acquire::new(request(), None);
    let refused = {
        let op = watcher.op(10, &mut waiter);
        write(&mut row, &op)
    };
    watcher.at(20, |now| waiter.handle(now, Response::outcome(SentAt(at(10)), &refused)));
    ours.at(30, |now| machine.handle(now, Response::outcome(SentAt(at(0)), &held)));
    free(&mut ours, &mut row, 40, &mut machine);
    let mut successor = Acquire::new(request(), None);
    let op = others.op(50, &mut successor);
    let held = write(&mut row, &op);
    others.at(60, |now| successor.handle(now, Response::outcome(SentAt(at(50)), &held)));
    free(&mut others, &mut row, 70, &mut successor);
    write(&mut row, &twice);
    let ghost = row.clone().unwrap();
    assert_eq!(ghost.version(), Some(twice.version), "the same version as at first, of another reign");
    // The waiter, who saw nothing of all this, means the version of then.
    let takeover = watcher.op(10_100, &mut waiter);
    write(&mut row, &takeover);
    assert_eq!(row, Some(ghost));
}

/// Releases what the machine has won.
fn free(desk: &mut Desk, row: &mut Option<dynamo_lock::store::Row>, at_ms: u64, machine: &mut Acquire) {
    let mut release = desk.at(at_ms, |now| machine.cancel(now)).expect("it has won");
    let Step::Write(op) = desk.at(at_ms, |now| release.next(now)) else { panic!("a release is due") };
    write(row, &op);
    assert!(row.as_ref().is_some_and(|row| row.whole("expiresOn") == Some(0)));
}

#[test]
fn lesson_41_a_host_that_froze_between_learning_the_time_and_stamping_renews_before_it_believes() {
    let (mut desk, mut row) = (Desk::new(1), None);
    // What it knows: the service's time is 0 s, as its own clocks say.
    desk.hear(date(0), 0, 10);
    let mut machine = Acquire::new(request(), None);
    let op = desk.op(20, &mut machine);
    let OpKind::Acquire(lease) = &op.kind else { panic!("{op:?}") };
    assert!(lease.ends.service_timestamp);
    // It freezes for a minute that no clock of it counts: by its answer the service is far beyond the stamp.
    let won = write(&mut row, &op);
    desk.hear(date(60_000), 20, 30);
    desk.at(30, |now| machine.handle(now, Response::outcome(SentAt(at(20)), &won).with_date(date(60_000))));
    let step = desk.at(30, |now| machine.next(now));
    let Step::Write(renewal) = step else { panic!("a renewal is due, not {step:?}") };
    assert!(matches!(renewal.kind, OpKind::Renew { .. }), "{renewal:?}");
    // The renewal's stamp is of the time that it has learnt now.
    let renewed = write(&mut row, &renewal);
    desk.hear(date(60_000), 30, 40);
    desk.at(40, |now| machine.handle(now, Response::outcome(SentAt(at(30)), &renewed).with_date(date(60_000))));
    let step = desk.at(40, |now| machine.next(now));
    assert!(matches!(step, Step::Done(AcquireEnd::Acquired(_))), "{step:?}");
}

#[test]
fn lesson_41_if_somebody_took_it_meanwhile_that_renewal_says_so() {
    let (mut desk, mut row) = (Desk::new(1), None);
    desk.hear(date(0), 0, 10);
    let mut machine = Acquire::new(request(), None);
    let op = desk.op(20, &mut machine);
    let won = write(&mut row, &op);
    desk.hear(date(60_000), 20, 30);
    desk.at(30, |now| machine.handle(now, Response::outcome(SentAt(at(20)), &won).with_date(date(60_000))));
    let Step::Write(renewal) = desk.at(30, |now| machine.next(now)) else { panic!("a renewal is due") };
    // A newcomer found the stamp long past.
    let mut newcomer = Desk::new(2);
    let mut other = Acquire::new(request(), None);
    let op = newcomer.op(60_000, &mut other);
    let seen = write(&mut row, &op);
    newcomer.hear(date(60_000), 60_000, 60_010);
    newcomer.at(60_010, |now| other.handle(now, Response::outcome(SentAt(at(60_000)), &seen).with_date(date(60_000))));
    let op = newcomer.op(60_010, &mut other);
    assert!(matches!(op.kind, OpKind::TakeOver { .. }), "{op:?}");
    write(&mut row, &op);
    let refused = write(&mut row, &renewal);
    desk.at(40, |now| machine.handle(now, Response::outcome(SentAt(at(30)), &refused).with_date(date(60_000))));
    let step = desk.at(40, |now| machine.next(now));
    assert!(!matches!(step, Step::Done(AcquireEnd::Acquired(_))), "{step:?}");
}

#[test]
fn lesson_35_a_guarded_transaction_is_refused_after_our_own_release() {
    let (mut desk, mut row) = (Desk::without_dates(1), None);
    let mut held = desk.acquired(&mut row, 0, 10);
    let check = held.condition();
    assert!(holds(row.as_ref(), &check));
    let HeldStep::Write(renewal) = desk.at(2_500, |now| held.next(now)) else { panic!("a renewal is due") };
    write(&mut row, &renewal);
    assert!(holds(row.as_ref(), &check), "renewals do not disturb it");
    assert!(held.is_valid(at(2_510)));
    let mut release = desk.at(3_000, |now| Release::of(&held, now));
    let Step::Write(op) = desk.at(3_000, |now| release.next(now)) else { panic!("a release is due") };
    write(&mut row, &op);
    assert!(!holds(row.as_ref(), &check));
    // And while a successor holds it.
    Desk::without_dates(2).acquired(&mut row, 4_000, 4_010);
    assert!(!holds(row.as_ref(), &check));
    assert!(!holds(None, &check));
}
