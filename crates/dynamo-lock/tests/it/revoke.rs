//! `Lock::revoke` and `Lock::force_revoke`.

use dynamo_lock::{FencingToken, Inspection, LossReason, ReleaseError, RevokeError};
use test_support::{LinkFault, World, secs, try_acquire};
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn revoked_holder_is_notified_and_others_wait_one_lease() {
    let world = World::new();
    let guard = world.host().acquire().await;
    let operator = world.host().lock();
    operator.revoke(guard.token()).await.unwrap();
    assert_eq!(guard.lost().await, LossReason::Revoked);
    operator.revoke(guard.token()).await.expect("revoking twice succeeds");
    let next = world.host().acquire().await;
    assert!(next.token() > guard.token());
    assert!(world.time() >= secs(10));
}

/// Lesson 31. The holder receives no response, so that nothing tells it of the revocation.
#[tokio::test(start_paused = true)]
async fn revoked_lock_is_not_acquired_before_holder_expires() {
    for world in [World::new(), World::without_dates()] {
        let host = world.host();
        let guard = host.acquire().await;
        sleep(secs(6)).await;
        host.link.set_all(LinkFault::Hang);
        let operator = world.host().lock();
        operator.revoke(guard.token()).await.unwrap();
        let ((_, lost), (next, acquired)) = tokio::join!(async { (guard.lost().await, world.time()) }, async {
            (operator.acquire().await.unwrap(), world.time())
        });
        assert!(lost < acquired, "lost at {lost:?}, acquired at {acquired:?}");
        assert!(next.token() > guard.token());
    }
}

#[tokio::test(start_paused = true)]
async fn force_revoke_frees_lock_at_once() {
    let world = World::new();
    let guard = world.host().acquire().await;
    let operator = world.host().lock();
    operator.force_revoke(guard.token()).await.unwrap();
    let next = try_acquire(&operator).await.expect("free");
    assert!(next.token() > guard.token());
    assert_eq!(guard.lost().await, LossReason::TakenOver);
    let error = guard.release().await.unwrap_err();
    assert!(error.to_string().ends_with("or a revocation was forced"), "{error}");
}

/// The first revocation changes the token, so that the lease has not ended although its old token is refused.
#[tokio::test(start_paused = true)]
async fn force_revoke_after_revoke_needs_the_new_token() {
    let world = World::new();
    let token = world.host().acquire().await.token();
    let operator = world.host().lock();
    operator.revoke(token).await.unwrap();
    let error = operator.force_revoke(token).await.unwrap_err();
    assert!(matches!(error, RevokeError::Ended { holder: Some(_), .. }), "{error}");
    assert!(error.to_string().contains("a new token because it was revoked before"), "{error}");
    let Ok(Inspection::Held { holder, .. }) = operator.inspect().await else { panic!("held") };
    operator.force_revoke(holder.token.expect("a token")).await.unwrap();
    try_acquire(&operator).await.expect("free");
}

#[tokio::test(start_paused = true)]
async fn ended_lease_cannot_be_revoked() {
    let lock = World::new().host().lock();
    let guard = lock.acquire().await.unwrap();
    let token = guard.token();
    guard.release().await.unwrap();
    let error = lock.revoke(token).await.unwrap_err();
    assert!(matches!(error, RevokeError::Ended { holder: None, .. }), "{error}");
    let next = lock.acquire().await.unwrap();
    let error = lock.force_revoke(token).await.unwrap_err();
    assert!(matches!(error, RevokeError::Ended { holder: Some(_), .. }), "{error}");
    assert!(next.is_valid());
}

/// Lesson 25. A stuck lock can be freed by the token that `inspect` returns, and only that acquisition is ended.
#[tokio::test(start_paused = true)]
async fn revoke_ends_exactly_the_lease_with_this_token() {
    let world = World::new();
    let host = world.host();
    let stuck = host.acquire().await;
    host.link.set_all(LinkFault::Hang);
    let operator = world.host().lock();
    let Inspection::Held { holder, .. } = operator.inspect().await.unwrap() else { panic!("held") };
    let token = holder.token.unwrap();
    assert_eq!(token, stuck.token());
    for other in [token.get() - 1, token.get() + 1] {
        let before = world.row("a").await;
        for force in [false, true] {
            let other = FencingToken::new(other);
            let result = if force { operator.force_revoke(other).await } else { operator.revoke(other).await };
            assert!(matches!(result, Err(RevokeError::Ended { holder: Some(_), .. })), "{result:?}");
        }
        assert_eq!(world.row("a").await, before);
    }
    operator.force_revoke(token).await.unwrap();
    assert!(world.is_free().await);
    // Repeating the command does not touch the successor.
    let next = try_acquire(&operator).await.expect("free");
    let before = world.row("a").await;
    assert!(matches!(operator.force_revoke(token).await, Err(RevokeError::Ended { .. })));
    assert_eq!(world.row("a").await, before);
    assert!(next.token() > token);
    std::mem::forget(stuck);
}

/// Lesson 25.
#[tokio::test(start_paused = true)]
async fn revoke_of_deleted_row_reports_that_lease_has_ended() {
    let world = World::new();
    let guard = world.host().acquire().await;
    let operator = world.host().lock();
    operator.inspect().await.unwrap();
    world.set_row("a", None);
    let result = operator.revoke(guard.token()).await;
    assert!(matches!(result, Err(RevokeError::Ended { holder: None, .. })), "{result:?}");
    assert_eq!(world.row("a").await, None, "nothing was written");
    assert_eq!(guard.lost().await, LossReason::RowGone);
}

/// Lesson 50. The first answer to the release is lost.
#[tokio::test(start_paused = true)]
async fn release_of_revoked_lease_reports_the_revocation() {
    let world = World::new();
    let host = world.host();
    let guard = host.acquire().await;
    world.host().lock().revoke(guard.token()).await.unwrap();
    host.link.set_next("release", [LinkFault::LoseAnswer]);
    let error = guard.release().await.unwrap_err();
    assert_eq!(host.link.kinds(), ["acquire", "release", "release"]);
    assert!(matches!(&error, ReleaseError::Lost(lost) if lost.reason == LossReason::Revoked), "{error}");
}

/// The revocation of a row of an unreleased version wrote a lease ID, so that the row looked like one of this version.
#[tokio::test(start_paused = true)]
async fn row_of_unreleased_version_is_not_revoked() {
    let world = World::new();
    let token = world.host().acquire().await.token();
    let mut unreleased = world.row("a").await.unwrap();
    unreleased.set("reign", unreleased.get("leaseId").unwrap().clone());
    unreleased.remove("leaseId");
    world.set_row("a", Some(unreleased.clone()));
    let operator = world.host().lock();
    for error in [operator.revoke(token).await, operator.force_revoke(token).await] {
        assert!(matches!(error, Err(RevokeError::Row { .. })), "{error:?}");
    }
    assert_eq!(world.row("a").await, Some(unreleased));
}
