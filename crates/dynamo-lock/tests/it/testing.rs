//! `testing::lose`.

use dynamo_lock::{Inspection, LossReason, testing};
use test_support::World;

/// The loss concerns one guard, in its process alone.
#[tokio::test(start_paused = true)]
async fn lost_guard_ends_work_and_leaves_row_held() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    let (guard, other) = (client.lock("a").unwrap().acquire().await.unwrap(), client.lock("b").unwrap());
    let other = other.acquire().await.unwrap();
    let writes = host.link.writes();
    testing::lose(&guard);
    assert!(!guard.is_valid() && guard.time_left().is_zero());
    assert_eq!(guard.lost().await, LossReason::RenewalStopped);
    assert!(guard.cancellation().is_cancelled());
    assert_eq!(guard.run(std::future::pending::<()>()).await.unwrap_err().reason, LossReason::RenewalStopped);
    assert_eq!(host.link.writes(), writes);
    let operator = world.host().client();
    assert!(matches!(operator.lock("a").unwrap().inspect().await.unwrap(), Inspection::Held { .. }));
    assert!(other.is_valid());
    guard.release().await.unwrap_err();
    let permit = client.semaphore("s", 1).unwrap().acquire().await.unwrap();
    testing::lose_permit(&permit);
    assert!(!permit.is_valid());
    other.release().await.unwrap();
}
