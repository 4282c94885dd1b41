//! Lessons from clocks: wrong ones, slewed ones, frozen ones. `docs/lessons.md` names each.

use std::time::Duration;

use crate::machine::{Desk, at, date, request, write};
use dynamo_lock::{Client, Guard, Renewal};
use dynamo_lock_protocol::{Acquire, AcquireEnd, OpKind, Response, SentAt, Step};
use test_support::hosts::{Fault, IntoGuard, World};
use tokio::time::sleep;

const DAY_MS: i64 = 24 * 3600 * 1000;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

async fn acquired(client: &Client) -> Guard {
    client.lock("a").unwrap().acquire().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn lesson_06_wall_clocks_a_day_off_take_no_live_lock() {
    for world in [World::new, World::without_dates] {
        for (ours, theirs) in [(DAY_MS, -DAY_MS), (-DAY_MS, DAY_MS), (0, 61_000), (61_000, 0)] {
            let world = world();
            let (host, other) = (world.host(), world.host());
            host.clock.step_wall(ours);
            other.clock.step_wall(theirs);
            let guard = acquired(&host.client()).await;
            let lock = other.client().lock("a").unwrap();
            for _ in 0..10 {
                sleep(ms(3_000)).await;
                assert!(lock.try_acquire().await.unwrap().into_guard().is_none(), "{ours} against {theirs}");
            }
            // And when its holder crashes, nobody is in before it has stopped believing.
            host.link.all(Fault::Hang);
            let (lost, next) = tokio::join!(
                async {
                    guard.lost().await;
                    world.time()
                },
                async {
                    let next = lock.acquire().await.unwrap();
                    (next, world.time())
                }
            );
            assert!(lost < next.1, "{ours} against {theirs}: lost at {lost:?}, taken at {:?}", next.1);
            assert!(next.0.token() > guard.token());
        }
    }
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

#[tokio::test(start_paused = true)]
async fn lesson_43_a_holder_whose_clock_is_slewed_slow_ends_its_belief_in_time() {
    let world = World::without_dates();
    let host = world.host();
    host.clock.slew(-80);
    let guard = acquired(&host.client()).await;
    host.link.all(Fault::Hang);
    guard.lost().await;
    assert!(world.time() <= ms(9_890), "{:?}", world.time());
}

#[tokio::test(start_paused = true)]
async fn lesson_43_a_waiter_whose_clock_is_slewed_fast_waits_a_whole_lease() {
    let world = World::without_dates();
    let host = world.host();
    let _guard = acquired(&host.client()).await;
    host.link.all(Fault::Hang);
    let waiter = world.host();
    waiter.clock.slew(80);
    let _next = acquired(&waiter.client()).await;
    assert!(world.time() >= ms(10_000), "{:?}", world.time());
}

#[tokio::test(start_paused = true)]
async fn lesson_48_a_hold_longer_than_the_lease_keeps_others_out_to_its_end() {
    for world in [World::new(), World::without_dates()] {
        let host = world.host();
        let token = host.client().lock("a").unwrap().hold(Duration::from_secs(120)).await.unwrap();
        let held_from = world.time();
        assert_eq!(world.row("a").await.unwrap().whole("leaseMs"), Some(120_000));
        // One who watched from before, and one who comes late.
        let (early, late) = (world.host().client(), world.host().client());
        let (first, second) = tokio::join!(acquired(&early), async {
            sleep(Duration::from_secs(60)).await;
            assert!(late.lock("a").unwrap().try_acquire().await.unwrap().into_guard().is_none());
        });
        let () = second;
        assert!(first.token() > token);
        // The hold began with its renewal, one round trip before `hold` returned.
        assert!(world.time() + ms(20) >= held_from + Duration::from_secs(120), "{:?}", world.time() - held_from);
    }
}

#[tokio::test(start_paused = true)]
async fn lesson_49_no_old_stamp_stays_beside_a_wall_clock_time() {
    let world = World::new();
    let host = world.host();
    let guard = acquired(&host.client()).await;
    sleep(ms(1_000)).await;
    assert_eq!(world.row("a").await.unwrap().text("expiryClock"), Some("service"));
    host.link.all(Fault::Hang);
    std::mem::forget(guard);
    // Its successor has no service clock, and a wall clock an hour slow.
    let successor = world.host();
    successor.clock.step_wall(-3_600_000);
    let client = successor.builder().service_clock(false).build().unwrap();
    let guard = acquired(&client).await;
    let row = world.row("a").await.unwrap();
    assert_eq!(row.text("expiryClock"), None);
    assert!(row.whole("expiresOn").unwrap() < world.epoch_ms());
    // So one who has a service clock does not take it for long dead.
    assert!(world.host().client().lock("a").unwrap().try_acquire().await.unwrap().into_guard().is_none());
    assert!(guard.is_valid());
}

#[tokio::test(start_paused = true)]
async fn lesson_14_a_wall_clock_that_jumps_back_lengthens_nothing() {
    let world = World::new();
    let host = world.host();
    let lock = host.client().lock("a").unwrap();
    let guard = lock.options().renewal(Renewal::Disabled).acquire().await.unwrap();
    host.clock.step_wall(-DAY_MS);
    guard.lost().await;
    assert!(world.time() <= ms(9_890), "{:?}", world.time());
}
