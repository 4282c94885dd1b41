//! `Lock::try_acquire`.

use dynamo_lock::Renewal;
use test_support::{World, ms, try_acquire};
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn try_acquire_of_held_lock_sends_one_request() {
    let world = World::new();
    let _guard = world.host().acquire().await;
    let other = world.host();
    assert!(try_acquire(&other.lock()).await.is_none());
    assert_eq!(other.link.kinds(), ["acquire"]);
}

/// Lesson 18.
#[tokio::test(start_paused = true)]
async fn repeated_try_acquire_reads_instead_of_writing() {
    let world = World::new();
    let _held = world.host().acquire().await;
    let host = world.host();
    let lock = host.lock();
    for _ in 0..20 {
        assert!(try_acquire(&lock).await.is_none());
    }
    assert_eq!((host.link.writes(), host.link.kinds().len()), (1, 20));
}

/// Lesson 21. Clients that identify a holder by its process let two guards of one process hold the same lock.
#[tokio::test(start_paused = true)]
async fn two_guards_in_one_process_exclude_each_other() {
    let client = World::new().host().client();
    let lock = client.lock("a").unwrap();
    let first = lock.options().renewal(Renewal::Automatic).acquire().await.unwrap();
    assert!(try_acquire(&lock).await.is_none());
    assert!(try_acquire(&client.clone().lock("a").unwrap()).await.is_none());
    first.release().await.unwrap();
    assert!(try_acquire(&lock).await.is_some());
}

/// Virtual machines that are resumed from one snapshot may get the same random bits (A6). With equal lease IDs the
/// second one would take the row of the first for the result of its own attempt.
#[tokio::test(start_paused = true)]
async fn hosts_with_equal_random_bits_exclude_each_other() {
    let world = World::new();
    let first = world.host();
    let second = first.with_equal_random_bits(&world);
    let (first, second) = (first.lock(), second.lock());
    let guard = try_acquire(&first).await.unwrap();
    sleep(ms(1)).await;
    assert!(try_acquire(&second).await.is_none());
    assert!(guard.is_valid());
}
