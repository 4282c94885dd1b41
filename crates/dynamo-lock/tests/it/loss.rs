//! Lessons from holders that were not told, told late, or told the wrong thing. `docs/lessons.md` names each.

use std::time::Duration;

use crate::machine::{Desk, at, request, write};
use dynamo_lock::{EnsureError, Guard, LossReason, ReleaseError, Renewal, StoreErrorKind, WithError};
use dynamo_lock_protocol::{Acquire, AcquireEnd, Response, SentAt, Step};
use test_support::hosts::{Diary, Fault, Host, IntoGuard, World};
use tokio::time::sleep;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// All the ways in which a store does not answer well.
fn faults() -> Vec<Fault> {
    vec![
        Fault::Hang,
        Fault::HangAfter,
        Fault::LoseRequest,
        Fault::Throttle,
        Fault::Late(ms(20_000)),
        Fault::LoseAnswerAndLand(ms(20_000)),
        Fault::Refuse(StoreErrorKind::AccessDenied),
    ]
}

async fn acquired(host: &Host) -> Guard {
    host.client().lock("a").unwrap().acquire().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn lesson_08_a_late_release_leaves_the_successors_row_untouched() {
    let world = World::new();
    let host = world.host();
    let late = acquired(&host).await;
    host.link.all(Fault::Hang);
    let successor = acquired(&world.host()).await;
    host.link.heal();
    let before = world.row("a").await;
    let error = late.release().await.unwrap_err();
    assert!(matches!(&error, ReleaseError::Lost(lost) if lost.reason == LossReason::Expired), "{error}");
    assert_eq!(world.row("a").await, before);
    assert!(successor.is_valid());
}

#[tokio::test(start_paused = true)]
async fn lesson_10_the_holder_is_told_by_its_own_deadline_whatever_requests_do() {
    for fault in faults() {
        let world = World::new();
        let host = world.host();
        let guard = acquired(&host).await;
        sleep(ms(1_000)).await;
        host.link.all(fault.clone());
        let deadline = world.time() + guard.time_left();
        let told = guard.cancellation();
        told.cancelled().await;
        let (now, slack) = (world.time(), ms(50));
        assert!(now <= deadline + slack && now + slack >= deadline, "{fault:?}: {now:?}, not {deadline:?}");
        assert!(!guard.is_valid(), "{fault:?}");
        assert_eq!(guard.lost().await, LossReason::Expired, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn lesson_10_work_is_dropped_before_others_can_be_in_whatever_requests_do() {
    for fault in faults() {
        let world = World::new();
        let host = world.host();
        let guard = acquired(&host).await;
        host.link.all(fault.clone());
        let other = world.host();
        let (ran, next) = tokio::join!(
            async {
                let ran = guard.run(std::future::pending::<()>()).await;
                (ran, world.time())
            },
            async {
                let next = acquired(&other).await;
                (next, world.time())
            }
        );
        let ((ran, dropped), (next, entered)) = (ran, next);
        assert_eq!(ran.unwrap_err().reason, LossReason::Expired, "{fault:?}");
        assert!(dropped < entered, "{fault:?}: work ended at {dropped:?}, the next began at {entered:?}");
        assert!(next.token() > guard.token());
    }
}

#[tokio::test(start_paused = true)]
async fn lesson_11_an_unreachable_store_is_told_apart_from_a_lock_taken_away() {
    let world = World::new();
    let (host, diary) = (world.host(), Diary::default());
    let client = host.builder().observer(diary.clone()).build().unwrap();
    let guard = client.lock("a").unwrap().acquire().await.unwrap();
    host.link.all(Fault::LoseRequest);
    assert_eq!(guard.lost().await, LossReason::Expired);
    let last = guard.loss().unwrap();
    assert_eq!(last.last_error.as_ref().map(|error| error.kind()), Some(StoreErrorKind::Unanswered));
    let line = diary.lines().into_iter().find(|line| line.starts_with("Lost")).expect("a line says so");
    assert!(line.contains("Expired") && line.contains("no answer came"), "{line}");

    let diary = Diary::default();
    let client = world.host().builder().observer(diary.clone()).build().unwrap();
    let guard = client.lock("b").unwrap().acquire().await.unwrap();
    world.host().client().lock("b").unwrap().force_revoke(guard.token()).await.unwrap();
    let _next = world.host().client().lock("b").unwrap().acquire().await.unwrap();
    assert_eq!(guard.lost().await, LossReason::TakenOver);
    let line = diary.lines().into_iter().find(|line| line.starts_with("Lost")).expect("a line says so");
    assert!(line.contains("TakenOver") && line.contains("last_error: None"), "{line}");
}

#[tokio::test(start_paused = true)]
async fn lesson_12_three_failures_in_a_row_do_not_end_the_heartbeats() {
    for fault in [Fault::LoseRequest, Fault::Throttle, Fault::Refuse(StoreErrorKind::AccessDenied)] {
        let world = World::new();
        let host = world.host();
        let guard = acquired(&host).await;
        let mut failures = vec![fault.clone(); 3];
        host.link.rule(move |call| match call.kind() {
            "renew" => failures.pop().unwrap_or(Fault::None),
            _ => Fault::None,
        });
        sleep(ms(60_000)).await;
        assert!(guard.is_valid(), "{fault:?}");
        assert!(!guard.cancellation().is_cancelled(), "{fault:?}");
    }
}

/// A resource that refuses smaller tokens than it has seen.
#[derive(Default)]
struct Fenced(u64);

impl Fenced {
    fn write(&mut self, guard: &Guard) -> bool {
        let token = guard.token().get();
        let in_order = token >= self.0;
        self.0 = self.0.max(token);
        in_order
    }
}

#[tokio::test(start_paused = true)]
async fn lesson_13_a_holder_that_was_stopped_knows_at_once_and_its_late_write_is_refused() {
    let world = World::new();
    let host = world.host();
    let stopped = acquired(&host).await;
    let mut resource = Fenced::default();
    assert!(resource.write(&stopped));
    host.clock.stop();
    host.link.all(Fault::Hang);
    let next = acquired(&world.host()).await;
    assert!(resource.write(&next));
    // Nothing of the stopped process has run since, and no timer of it has fired.
    assert!(!stopped.cancellation().is_cancelled());
    host.clock.go_on();
    assert!(!stopped.is_valid());
    assert!(stopped.cancellation().is_cancelled());
    assert!(!resource.write(&stopped));
}

#[tokio::test(start_paused = true)]
async fn lesson_14_a_host_that_was_suspended_does_not_think_its_lease_young() {
    let world = World::new();
    let host = world.host();
    let guard = acquired(&host).await;
    host.clock.suspended(ms(9_000));
    assert!(guard.is_valid(), "9 of 9.89 seconds");
    host.clock.suspended(ms(11_000));
    assert!(!guard.is_valid());
    assert_eq!(guard.lost().await, LossReason::Suspended);
}

#[tokio::test(start_paused = true)]
async fn lesson_16_close_is_bounded_while_every_request_hangs() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    let guard = client.lock("a").unwrap().acquire().await.unwrap();
    host.link.all(Fault::Hang);
    drop(guard);
    let began = world.time();
    client.close().await;
    assert!(world.time() - began <= Duration::from_secs(10), "{:?}", world.time() - began);
}

#[tokio::test(start_paused = true)]
async fn lesson_16_no_task_is_left_to_keep_the_process() {
    let world = World::new();
    let client = world.host().client();
    let lock = client.lock("a").unwrap();
    for _ in 0..10 {
        drop(lock.acquire().await.unwrap());
        client.close().await;
    }
    lock.acquire().await.unwrap().release().await.unwrap();
    sleep(ms(300)).await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn lesson_17_the_error_of_the_work_and_the_error_of_the_release_are_both_seen() {
    let world = World::new();
    let host = world.host();
    host.link.always("release", Fault::Refuse(StoreErrorKind::AccessDenied));
    let lock = host.client().lock("a").unwrap();
    let error = lock.with(async |_| Err::<(), _>("the work failed")).await.unwrap_err();
    let WithError::Release { output, error } = error else { panic!("{error}") };
    assert_eq!(output, Err("the work failed"));
    assert!(matches!(error, ReleaseError::Store(_)), "{error}");
    // And an error of the work alone is the work's.
    let lock = world.host().client().lock("b").unwrap();
    assert_eq!(lock.with(async |_| Err::<(), _>("alone")).await.unwrap(), Err("alone"));
}

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

#[tokio::test(start_paused = true)]
async fn lesson_21_two_guards_in_one_process_exclude_each_other() {
    let world = World::new();
    let client = world.host().client();
    let lock = client.lock("a").unwrap();
    let first = lock.options().renewal(Renewal::Automatic).acquire().await.unwrap();
    assert!(lock.try_acquire().await.unwrap().into_guard().is_none());
    assert!(client.clone().lock("a").unwrap().try_acquire().await.unwrap().into_guard().is_none());
    first.release().await.unwrap();
    assert!(lock.try_acquire().await.unwrap().into_guard().is_some());
}

#[tokio::test(start_paused = true)]
async fn ensure_reports_too_short_while_lease_is_valid() {
    let world = World::new();
    let host = world.host();
    let guard = host.client().lock("a").unwrap().acquire().await.unwrap();
    guard.ensure(Duration::from_secs(1)).unwrap();
    let error = guard.ensure(Duration::from_secs(3600)).unwrap_err();
    assert!(matches!(error, EnsureError::TooShort { left, .. } if left > Duration::ZERO), "{error}");
    assert!(guard.is_valid() && guard.loss().is_none());
    host.link.all(Fault::LoseRequest);
    guard.lost().await;
    let error = guard.ensure(Duration::ZERO).unwrap_err();
    assert!(matches!(&error, EnsureError::Lost(lost) if lost.reason == LossReason::Expired), "{error}");
}
