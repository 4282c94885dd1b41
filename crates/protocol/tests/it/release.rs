//! `Release` and `Revoke`.

use dynamo_lock_protocol::{
    FencingToken, HeldStep, LossReason, Outcome, ReleaseEnd, Revoke, RevokeEnd, Step, Target, attr,
};

use crate::support::{EPOCH_MS, TestHost, at, held_row, name, npm_row, write};

/// Before the deadline another native client can only hold the lock because the release was applied. npm dynamo-lock,
/// and a deletion of the row, hide whether it was.
#[test]
fn unanswered_release_is_unknown_after_foreign_write() {
    let mut successor = held_row(60_000);
    successor.set("token", (1u64 << 52).into());
    let cases = [
        (Some(npm_row("g", EPOCH_MS + 60_000)), ReleaseEnd::Unknown),
        (None, ReleaseEnd::Unknown),
        (Some(successor), ReleaseEnd::Released),
    ];
    for (stored, end) in cases {
        let mut host = TestHost::without_dates(1);
        let held = host.acquire(20, &mut None, 0, 10, None);
        let mut release = host.release(20, &held);
        host.op(20, &mut release);
        host.respond(30, &mut release, 20, &Outcome::Unknown, None);
        host.respond(2_000, &mut release, 20, &Outcome::Conflict(stored.clone()), None);
        assert_eq!(host.next(2_000, &mut release), Step::Done(end), "{stored:?}");
    }
}

/// Seed 139. The second revocation hides the first one.
#[test]
fn unanswered_release_is_unknown_after_two_revocations() {
    let (mut host, mut row) = (TestHost::without_dates(1), None);
    let held = host.acquire(20, &mut row, 0, 10, None);
    let mut release = host.release(20, &held);
    host.op(20, &mut release);
    host.respond(30, &mut release, 20, &Outcome::Unknown, None);
    for (token, ms) in [(held.token(), 40), (FencingToken::new(held.token().get() + 1), 50)] {
        let mut revoke = Revoke::new(&name(), Target::Token(token), false, &host.now(ms));
        let op = host.op(ms, &mut revoke);
        assert!(matches!(write(&mut row, &op), Outcome::Applied(_)));
    }
    host.respond(2_000, &mut release, 20, &Outcome::Conflict(row), None);
    assert_eq!(host.next(2_000, &mut release), Step::Done(ReleaseEnd::Unknown));
}

/// The row stays held by no client until its lease has expired, so the lock was not freed.
#[test]
fn force_revoke_after_revoke_does_not_report_success() {
    let (mut host, mut row) = (TestHost::without_dates(1), None);
    let held = host.acquire(20, &mut row, 0, 10, None);
    let mut revoke = Revoke::new(&name(), Target::Token(held.token()), false, &host.now(20));
    let op = host.op(20, &mut revoke);
    assert!(matches!(write(&mut row, &op), Outcome::Applied(_)));

    let mut force = Revoke::new(&name(), Target::Token(held.token()), true, &host.now(30));
    let op = host.op(30, &mut force);
    let conflict = write(&mut row, &op);
    assert!(matches!(conflict, Outcome::Conflict(_)));
    host.respond(40, &mut force, 30, &conflict, None);
    let Step::Done(end) = host.next(40, &mut force) else { panic!("it has not ended") };
    assert_ne!(end, RevokeEnd::Done);

    let mut release = host.release(40, &held);
    let op = host.op(40, &mut release);
    let conflict = write(&mut row, &op);
    assert!(matches!(conflict, Outcome::Conflict(_)));
    host.respond(50, &mut release, 40, &conflict, None);
    assert_eq!(host.next(50, &mut release), Step::Done(ReleaseEnd::Lost(LossReason::Revoked)));
}

/// The lock is freed early, and the first reason of a loss stays.
#[test]
fn release_after_renewals_stopped_frees_row() {
    let (mut host, mut row) = (TestHost::without_dates(1), None);
    let mut held = host.acquire(20, &mut row, 0, 10, None);
    let mut expired = held.clone();
    held.stop_renewing(at(20));
    assert_eq!(held.check(at(20)), Some(LossReason::RenewalStopped));
    assert_eq!(held.next(&host.now(30)), HeldStep::Lost(LossReason::RenewalStopped));
    let mut release = host.release(30, &held);
    let op = host.op(30, &mut release);
    host.respond(40, &mut release, 30, &write(&mut row, &op), None);
    assert_eq!(host.next(40, &mut release), Step::Done(ReleaseEnd::Lost(LossReason::RenewalStopped)));
    assert_eq!(row.and_then(|row| row.whole(attr::EXPIRES_ON)), Some(0));
    // Control: a lock that is lost already keeps its reason.
    expired.stop_renewing(at(20_000));
    assert_eq!(expired.check(at(20_000)), Some(LossReason::Expired));
}
