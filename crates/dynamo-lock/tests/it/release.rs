//! `Guard::release`, dropped guards, and `Client::close`.

use dynamo_lock::{LossReason, ReleaseError, Renewal, StoreErrorKind, WithError};
use test_support::{Host, LinkFault, World, ms, secs, try_acquire};
use tokio::time::sleep;

use crate::acquire::TWO_ROUND_TRIPS;

/// Lesson 1.
#[tokio::test(start_paused = true)]
async fn applied_release_with_lost_answer_succeeds() {
    let world = World::new();
    let host = world.host();
    let guard = host.acquire().await;
    host.link.set_next("release", [LinkFault::LoseAnswer]);
    let began = world.time();
    guard.release().await.unwrap();
    assert!(world.time() - began <= TWO_ROUND_TRIPS);
    assert!(world.is_free().await);
}

/// Lesson 8.
#[tokio::test(start_paused = true)]
async fn late_release_leaves_row_of_successor_unchanged() {
    let world = World::new();
    let host = world.host();
    let late = host.acquire().await;
    host.link.set_all(LinkFault::Hang);
    let successor = world.host().acquire().await;
    host.link.heal();
    let before = world.row("a").await;
    let error = late.release().await.unwrap_err();
    assert!(matches!(&error, ReleaseError::Lost(lost) if lost.reason == LossReason::Expired), "{error}");
    assert_eq!(world.row("a").await, before);
    assert!(successor.is_valid());
}

/// Releases at `at_ms`. The answer is lost, a successor acquires the lock, and `second` is the fault of the second try.
async fn release_before_successor(
    host: &Host,
    world: &World,
    at_ms: u64,
    second: LinkFault,
) -> Result<(), ReleaseError> {
    let guard = host.lock().options().renewal(Renewal::Disabled).acquire().await.unwrap();
    host.link.set_next("release", [LinkFault::LoseAnswer, second]);
    sleep(ms(at_ms) - world.time()).await;
    let release = tokio::spawn(guard.release());
    sleep(ms(6)).await;
    let successor = try_acquire(&world.host().lock()).await.expect("free");
    let result = release.await.unwrap();
    assert_eq!(host.link.kinds(), ["acquire", "release", "release"]);
    assert!(successor.is_valid());
    assert_eq!(world.row("a").await.unwrap().token(), Some(successor.token()));
    result
}

/// Lesson 33. Before the deadline another client can only hold the lock because the release was applied.
#[tokio::test(start_paused = true)]
async fn release_with_lost_answer_and_successor_succeeds() {
    let world = World::new();
    release_before_successor(&world.host(), &world, 1_000, LinkFault::None).await.unwrap();
}

/// Lesson 33. The lease ends at 9.89 s. The second try is sent before that, and answered after it.
#[tokio::test(start_paused = true)]
async fn release_answered_after_deadline_is_unknown() {
    let world = World::new();
    let result = release_before_successor(&world.host(), &world, 9_800, LinkFault::Late(ms(100))).await;
    assert!(matches!(result, Err(ReleaseError::Unknown)), "{result:?}");
}

/// Lesson 17. Neither the error of the work nor the error of the release is swallowed.
#[tokio::test(start_paused = true)]
async fn with_returns_errors_of_work_and_of_release() {
    let world = World::new();
    let host = world.host();
    host.link.set_all_of("release", LinkFault::Refuse(StoreErrorKind::AccessDenied));
    let error = host.lock().with(async |_| Err::<(), _>("the work failed")).await.unwrap_err();
    let WithError::Release { output, error } = error else { panic!("{error}") };
    assert_eq!(output, Err("the work failed"));
    assert!(matches!(error, ReleaseError::Store(_)), "{error}");
    let lock = world.host().client().lock("b").unwrap();
    assert_eq!(lock.with(async |_| Err::<(), _>("alone")).await.unwrap(), Err("alone"));
}

#[tokio::test(start_paused = true)]
async fn close_waits_for_release_of_dropped_guard() {
    let world = World::new();
    let client = world.host().client();
    drop(test_support::acquire(&client).await);
    client.close().await;
    assert!(world.is_free().await);
}

/// Lesson 16.
#[tokio::test(start_paused = true)]
async fn close_ends_within_a_lease_while_requests_hang() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    let guard = test_support::acquire(&client).await;
    host.link.set_all(LinkFault::Hang);
    drop(guard);
    let began = world.time();
    client.close().await;
    assert!(world.time() - began <= secs(10), "{:?}", world.time() - began);
}

/// Lesson 16. A task that remains would keep a process from ending.
#[tokio::test(start_paused = true)]
async fn no_task_remains_after_release_and_close() {
    let client = World::new().host().client();
    let lock = client.lock("a").unwrap();
    for _ in 0..10 {
        drop(lock.acquire().await.unwrap());
        client.close().await;
    }
    lock.acquire().await.unwrap().release().await.unwrap();
    sleep(ms(300)).await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

/// The first `close` gives up after a lease. The second one ends when the release is answered.
#[tokio::test(start_paused = true)]
async fn close_is_not_delayed_by_another_that_gave_up() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    let guard = client.lock("a").unwrap().options().lease(secs(60)).acquire().await.unwrap();
    host.link.set_all_of("release", LinkFault::LoseRequest);
    drop(guard);
    let close = || {
        let client = client.clone();
        tokio::spawn(async move { client.close().await })
    };
    let first = close();
    sleep(secs(5)).await;
    let begun = world.time();
    let second = close();
    first.await.unwrap();
    assert!(!world.is_free().await, "the first one has given up");
    host.link.heal();
    second.await.unwrap();
    assert!(world.is_free().await);
    assert!(world.time() - begun < secs(10), "{:?}", world.time() - begun);
}
