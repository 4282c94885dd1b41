//! Lessons from locks that answers were lost under. `docs/lessons.md` names each.

use std::time::Duration;

use crate::machine::{Desk, at, request, write};
use dynamo_lock::{LossReason, ReleaseError, Renewal};
use dynamo_lock_protocol::{Acquire, HeldStep, Response, SentAt, Step};
use test_support::hosts::{Call, Fault, Host, IntoGuard, LATENCY, World, dice};
use tokio::time::sleep;

/// Two round trips, and the longest first pause between two tries.
const TWO_ROUND_TRIPS: Duration = Duration::from_millis(4 * LATENCY.as_millis() as u64 + 75);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[tokio::test(start_paused = true)]
async fn lesson_01_an_applied_acquire_with_a_lost_answer_is_recognised_as_ours() {
    let world = World::new();
    let host = world.host();
    host.link.once("acquire", Fault::LoseAnswer);
    let guard = host.client().lock("a").unwrap().try_acquire().await.unwrap().into_guard().expect("ours");
    assert_eq!(host.link.kinds(), ["acquire", "acquire"]);
    assert!(world.time() <= TWO_ROUND_TRIPS, "{:?}", world.time());
    assert_eq!(world.row("a").await.unwrap().token(), Some(guard.token()));
}

#[tokio::test(start_paused = true)]
async fn lesson_01_an_applied_takeover_with_a_lost_answer_is_recognised_as_ours() {
    let world = World::new();
    let dead = dead_lock(&world).await;
    let host = world.host();
    host.link.once("take over", Fault::LoseAnswer);
    let began = world.time();
    let guard = host.client().lock("a").unwrap().try_acquire().await.unwrap().into_guard().expect("ours");
    assert_eq!(host.link.kinds(), ["acquire", "take over", "take over"]);
    assert!(world.time() - began <= TWO_ROUND_TRIPS + 2 * LATENCY);
    assert_eq!(guard.token().get(), dead + 1, "it took effect once");
}

#[tokio::test(start_paused = true)]
async fn lesson_01_an_applied_renewal_with_a_lost_answer_is_recognised_as_ours() {
    let world = World::new();
    let host = world.host();
    let lock = host.client().lock("a").unwrap();
    let guard = lock.options().renewal(Renewal::Manual).acquire().await.unwrap();
    host.link.once("renew", Fault::LoseAnswer);
    let began = world.time();
    guard.renew().await.unwrap();
    assert!(world.time() - began <= TWO_ROUND_TRIPS);
    assert_eq!(host.link.kinds(), ["acquire", "renew", "renew"]);
    assert_eq!(world.row("a").await.unwrap().whole("renewalSeq"), Some(1), "it took effect once");
}

#[tokio::test(start_paused = true)]
async fn lesson_01_an_applied_release_with_a_lost_answer_is_a_release() {
    let world = World::new();
    let host = world.host();
    let guard = host.client().lock("a").unwrap().acquire().await.unwrap();
    host.link.once("release", Fault::LoseAnswer);
    let began = world.time();
    guard.release().await.unwrap();
    assert!(world.time() - began <= TWO_ROUND_TRIPS);
    assert!(world.is_free("a").await);
}

#[tokio::test(start_paused = true)]
async fn lesson_02_half_of_all_renewal_answers_lost_for_ten_leases_lose_no_lock() {
    for seed in 0..100 {
        let world = World::new();
        let host = world.host();
        let mut luck = dice(seed);
        host.link.rule(move |call| match call.kind() {
            "renew" if luck().is_multiple_of(2) => Fault::LoseAnswer,
            _ => Fault::None,
        });
        let guard = host.client().lock("a").unwrap().acquire().await.unwrap();
        let loss = tokio::time::timeout(Duration::from_secs(100), guard.lost()).await;
        assert!(loss.is_err(), "seed {seed}: {loss:?} at {:?}", world.time());
        let (sent, seconds) = (host.link.kinds().len(), 100);
        assert!(sent <= 3 * seconds, "seed {seed}: {sent} requests in {seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn lesson_03_a_late_duplicate_of_a_renewal_does_not_bring_its_version_back() {
    let world = World::new();
    let host = world.host();
    let guard = host.client().lock("a").unwrap().acquire().await.unwrap();
    let mut first = true;
    host.link.rule(move |call| match call.kind() {
        "renew" if std::mem::take(&mut first) => Fault::Twice(ms(3_600)),
        _ => Fault::None,
    });
    sleep(ms(4_000)).await;
    let before = world.row("a").await.unwrap();
    assert_eq!(before.whole("renewalSeq"), Some(2), "the second renewal follows the stamping one by a heartbeat");
    sleep(ms(400)).await; // the first one has landed once more
    assert_eq!(world.row("a").await.unwrap(), before);
    assert!(guard.is_valid());
}

#[tokio::test(start_paused = true)]
async fn lesson_09_a_renewal_that_lands_after_the_release_does_not_bring_the_lock_back() {
    let world = World::new();
    let host = world.host();
    let guard = host.client().lock("a").unwrap().acquire().await.unwrap();
    host.link.once("renew", Fault::Late(ms(1_000)));
    while !host.link.kinds().contains(&"renew") {
        sleep(ms(10)).await;
    }
    guard.release().await.unwrap();
    assert!(world.is_free("a").await);
    sleep(ms(2_000)).await;
    assert!(world.is_free("a").await, "{:?}", world.row("a").await);
    assert_eq!(host.link.kinds(), ["acquire", "renew", "release"]);
}

/// A release whose answer is lost, with a successor in before it is asked again.
async fn released_with_a_successor(host: &Host, world: &World, at_ms: u64, second: Fault) -> Result<(), ReleaseError> {
    let lock = host.client().lock("a").unwrap();
    let guard = lock.options().renewal(Renewal::Disabled).acquire().await.unwrap();
    let mut faults = vec![second, Fault::LoseAnswer];
    host.link.rule(move |call| match call.kind() {
        "release" => faults.pop().unwrap_or(Fault::None),
        _ => Fault::None,
    });
    sleep(ms(at_ms) - world.time()).await;
    let release = tokio::spawn(guard.release());
    sleep(ms(6)).await;
    let successor = world.host().client().lock("a").unwrap().try_acquire().await.unwrap().into_guard().expect("free");
    let result = release.await.unwrap();
    assert_eq!(host.link.kinds(), ["acquire", "release", "release"]);
    assert!(successor.is_valid());
    assert_eq!(world.row("a").await.unwrap().token(), Some(successor.token()));
    result
}

#[tokio::test(start_paused = true)]
async fn lesson_33_a_release_whose_answer_was_lost_is_no_loss_when_a_successor_is_in_already() {
    let world = World::new();
    released_with_a_successor(&world.host(), &world, 1_000, Fault::None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn lesson_33_after_our_own_deadline_such_a_release_is_unknown() {
    let world = World::new();
    // Belief ends at 9.89 s; the second try is sent before that and answered after.
    let result = released_with_a_successor(&world.host(), &world, 9_800, Fault::Late(ms(100))).await;
    assert!(matches!(result, Err(ReleaseError::Unknown)), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn lesson_40_a_row_that_an_abandoned_request_of_ours_locked_late_is_not_adopted() {
    let world = World::without_dates();
    let other = world.host().client().lock("a").unwrap().acquire().await.unwrap();
    let host = world.host();
    let (clock, mut first) = (world.clone(), true);
    host.link.rule(move |call| match call.kind() {
        // The first try lands 3 s after its answer was given up; reads miss the moment between release and landing.
        "acquire" if std::mem::take(&mut first) => Fault::LoseAnswerAndLand(ms(3_000)),
        "read" if clock.time() > ms(2_000) && clock.time() < ms(3_100) => Fault::LoseRequest,
        _ => Fault::None,
    });
    let lock = host.client().lock("a").unwrap();
    let waiter = tokio::spawn(async move { lock.acquire().await.unwrap() });
    sleep(ms(2_500)).await;
    other.release().await.unwrap();
    let guard = waiter.await.unwrap();
    // It takes its own ghost over at once, and does not wait its lease out.
    assert!(world.time() < ms(4_000), "{:?}", world.time());
    assert_eq!(host.link.kinds().last(), Some(&"take over"));
    let abandoned = first_lease_id(&host);
    let row = world.row("a").await.unwrap();
    assert_ne!(row.text("leaseId"), Some(abandoned.as_str()));
    assert_eq!(row.token(), Some(guard.token()));
}

/// The nonce of the first acquire that this host sent.
fn first_lease_id(host: &Host) -> String {
    use dynamo_lock_protocol::OpKind;
    let lease_ids = host.link.calls().into_iter().filter_map(|(_, call)| match call {
        Call::Write(op) => match op.kind {
            OpKind::Acquire(lease) => Some(lease.lease_id.as_str().to_owned()),
            _ => None,
        },
        _ => None,
    });
    lease_ids.into_iter().next().expect("an acquire was sent")
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

#[tokio::test(start_paused = true)]
async fn lesson_46_a_payload_whose_renewal_was_lost_travels_with_the_next_one() {
    let world = World::new();
    let host = world.host();
    let guard = host.client().lock("a").unwrap().acquire().await.unwrap();
    sleep(ms(1_000)).await;
    host.link.always("renew", Fault::LoseRequest);
    // Longer than a heartbeat: what follows is another renewal, not a retry of the one that carried the payload.
    let waiting = tokio::time::timeout(ms(3_000), guard.update_data("payload")).await;
    assert!(waiting.is_err());
    host.link.heal();
    guard.renew().await.unwrap();
    assert_eq!(world.row("a").await.unwrap().text("data"), Some("payload"));
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

/// A lock whose holder crashed long ago, after its stamp; its token.
async fn dead_lock(world: &World) -> u64 {
    let host = world.host();
    let guard = host.client().lock("a").unwrap().acquire().await.unwrap();
    sleep(ms(2_000)).await;
    host.link.all(Fault::Hang);
    sleep(ms(30_000)).await;
    let token = guard.token().get();
    std::mem::forget(guard);
    token
}
