//! Lessons from operators: locks that could not be seen, and hands that freed the wrong one. `docs/lessons.md` names each.

use std::time::Duration;

use dynamo_lock::{Client, Guard, Inspection, LossReason, ReleaseError, RevokeError};
use test_support::hosts::{Fault, IntoGuard, World};
use tokio::time::sleep;

const LEASE: Duration = Duration::from_secs(10);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

async fn acquired(client: &Client) -> Guard {
    client.lock("a").unwrap().acquire().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn lesson_05_inspect_says_between_what_and_what_a_lease_ends() {
    let world = World::new();
    let host = world.host();
    let operator = world.host().client().lock("a").unwrap();
    assert!(matches!(operator.inspect().await.unwrap(), Inspection::Free { token: None, .. }));
    let guard = acquired(&host.client()).await;
    sleep(ms(1_000)).await;
    let token = guard.token();
    host.link.all(Fault::Hang);
    let Inspection::Held { holder, may_end } = operator.inspect().await.unwrap() else { panic!("held") };
    assert_eq!(holder.token, Some(token));
    let asked = world.time();
    // What follows shows that it spoke the truth.
    let next = acquired(&world.host().client()).await;
    let ended = world.time() - asked;
    assert!(*may_end.start() <= ended && ended <= *may_end.end() + ms(550), "{ended:?} is not in {may_end:?}");
    assert!(*may_end.end() <= LEASE);
    next.release().await.unwrap();
    assert!(matches!(operator.inspect().await.unwrap(), Inspection::Free { token: Some(_), .. }));
    std::mem::forget(guard);
}

#[tokio::test(start_paused = true)]
async fn lesson_05_inspect_says_that_a_dead_lease_is_surely_over() {
    let world = World::new();
    let host = world.host();
    let guard = acquired(&host.client()).await;
    sleep(ms(1_000)).await;
    host.link.all(Fault::Hang);
    sleep(ms(60_000)).await;
    let operator = world.host().client().lock("a").unwrap();
    let inspection = operator.inspect().await.unwrap();
    let Inspection::Expired { holder } = inspection else { panic!("{inspection:?}") };
    assert_eq!(holder.token, Some(guard.token()));
    assert!(holder.owner.unwrap().starts_with("test ("));
    // And only then: whoever tries finds it so.
    assert!(operator.try_acquire().await.unwrap().into_guard().is_some());
}

#[tokio::test(start_paused = true)]
async fn lesson_05_without_a_service_clock_nothing_is_surely_over() {
    let world = World::without_dates();
    let host = world.host();
    let guard = acquired(&host.client()).await;
    host.link.all(Fault::Hang);
    sleep(ms(3_600_000)).await;
    let inspection = world.host().client().lock("a").unwrap().inspect().await.unwrap();
    let Inspection::Held { may_end, .. } = inspection else { panic!("{inspection:?}") };
    assert_eq!(may_end, Duration::ZERO..=LEASE);
    std::mem::forget(guard);
}

#[tokio::test(start_paused = true)]
async fn lesson_25_what_inspect_shows_can_be_freed_and_exactly_that() {
    let world = World::new();
    let host = world.host();
    let stuck = acquired(&host.client()).await;
    host.link.all(Fault::Hang);
    let operator = world.host().client().lock("a").unwrap();
    let Inspection::Held { holder, .. } = operator.inspect().await.unwrap() else { panic!("held") };
    let token = holder.token.unwrap();
    assert_eq!(token, stuck.token());
    // Another reign's number frees nothing.
    for other in [token.get() - 1, token.get() + 1] {
        let before = world.row("a").await;
        for force in [false, true] {
            let other = dynamo_lock::FencingToken::new(other);
            let result = if force { operator.force_revoke(other).await } else { operator.revoke(other).await };
            assert!(matches!(result, Err(RevokeError::Ended { holder: Some(_), .. })), "{result:?}");
        }
        assert_eq!(world.row("a").await, before);
    }
    operator.force_revoke(token).await.unwrap();
    assert!(world.is_free("a").await);
    // The successor is not touched by the same command, given once more.
    let next = operator.try_acquire().await.unwrap().into_guard().expect("free");
    let before = world.row("a").await;
    assert!(matches!(operator.force_revoke(token).await, Err(RevokeError::Ended { .. })));
    assert_eq!(world.row("a").await, before);
    assert!(next.token() > token);
    std::mem::forget(stuck);
}

#[tokio::test(start_paused = true)]
async fn lesson_25_a_row_that_vanished_between_two_requests_has_ended() {
    let world = World::new();
    let guard = acquired(&world.host().client()).await;
    let operator = world.host().client().lock("a").unwrap();
    operator.inspect().await.unwrap();
    world.plant("a", None);
    let result = operator.revoke(guard.token()).await;
    assert!(matches!(result, Err(RevokeError::Ended { holder: None, .. })), "{result:?}");
    assert_eq!(world.row("a").await, None, "nothing was written");
    assert_eq!(guard.lost().await, LossReason::RowGone);
}

#[tokio::test(start_paused = true)]
async fn lesson_31_nobody_is_in_before_a_revoked_holder_has_stopped_believing() {
    for world in [World::new(), World::without_dates()] {
        let host = world.host();
        let guard = acquired(&host.client()).await;
        sleep(ms(6_000)).await;
        // The worst case: its holder cannot be told.
        host.link.all(Fault::Hang);
        let operator = world.host().client().lock("a").unwrap();
        operator.revoke(guard.token()).await.unwrap();
        let (lost, next) = tokio::join!(
            async {
                guard.lost().await;
                world.time()
            },
            async {
                let next = operator.acquire().await.unwrap();
                (next, world.time())
            }
        );
        assert!(lost < next.1, "lost at {lost:?}, taken at {:?}", next.1);
        assert!(next.0.token() > guard.token());
    }
}

#[tokio::test(start_paused = true)]
async fn lesson_50_a_release_of_a_revoked_reign_says_so_also_after_a_lost_answer() {
    let world = World::new();
    let host = world.host();
    let guard = acquired(&host.client()).await;
    world.host().client().lock("a").unwrap().revoke(guard.token()).await.unwrap();
    host.link.once("release", Fault::LoseAnswer);
    let error = guard.release().await.unwrap_err();
    assert_eq!(host.link.kinds(), ["acquire", "release", "release"]);
    assert!(matches!(&error, ReleaseError::Lost(lost) if lost.reason == LossReason::Revoked), "{error}");
}
