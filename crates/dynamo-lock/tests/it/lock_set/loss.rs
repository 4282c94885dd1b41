//! The loss and the release of locks that are held together.

use dynamo_lock::{EnsureError, LossReason, ReleaseError, StoreErrorKind};
use test_support::{Call, LEASE, LinkFault, POLL_MAX, World, ms, secs};
use tokio::time::{sleep, timeout};

use super::{acquire_all, held, token_of, writes};

#[tokio::test(start_paused = true)]
async fn loss_of_one_lock_is_loss_of_all() {
    let world = World::new();
    let host = world.host();
    let guards = acquire_all(&host.client(), &["a", "b", "c"]).await;
    let (cancelled, token) = (guards.cancellation(), guards.token("b").unwrap());
    world.host().client().lock("b").unwrap().revoke(token).await.unwrap();
    let error = guards.run(std::future::pending::<()>()).await.unwrap_err();
    assert_eq!((error.reason, error.name.as_str(), error.token), (LossReason::Revoked, "b", token));
    assert!(!guards.is_valid() && guards.time_left().is_zero() && cancelled.is_cancelled());
    assert!(guards.cancellation().is_cancelled());
    assert!(matches!(guards.ensure(ms(0)), Err(EnsureError::Lost(lost)) if lost.name.as_str() == "b"));
    // The others are free after one round trip, although the guard still exists.
    sleep(ms(20)).await;
    assert_eq!(held(&world, &["a", "b", "c"]).await, ["b"]);
    // The loss stays the same when the other leases have ended too.
    sleep(secs(60)).await;
    assert_eq!(guards.loss().unwrap().name.as_str(), "b");
    assert_eq!(guards.renew().await.unwrap_err().reason, LossReason::Revoked);
    let error = guards.release().await.unwrap_err();
    assert_eq!(error.lost().unwrap().reason, LossReason::Revoked);
    let ok: Vec<_> = error.results.iter().map(|(name, result)| (name.as_str(), result.is_ok())).collect();
    assert_eq!(ok, [("a", true), ("b", false), ("c", true)]);
    assert!(error.to_string().starts_with("1 of 3 locks not released: lock \"b\""), "{error}");
    assert!(!writes(&host).contains(&"release b".to_owned()), "{:?}", writes(&host));
}

/// The watching task releases the others, also if the program does not look at its guard.
#[tokio::test(start_paused = true)]
async fn others_are_released_without_a_call() {
    let world = World::new();
    let host = world.host();
    let guards = acquire_all(&host.client(), &["a", "b"]).await;
    host.link.choose_faults(|call| match call {
        Call::Write(op) if op.name.as_str() == "b" => LinkFault::LoseRequest,
        _ => LinkFault::None,
    });
    sleep(secs(11)).await;
    assert_eq!(host.link.count("release"), 2, "{:?}", writes(&host));
    assert_eq!(held(&world, &["a"]).await, [""; 0]);
    let lost = guards.loss().unwrap();
    assert_eq!((lost.reason, lost.name.as_str()), (LossReason::Expired, "b"));
    assert_eq!(lost.last_error.unwrap().kind(), StoreErrorKind::Unanswered);
}

/// The command line ends its command before it releases the other locks.
#[tokio::test(start_paused = true)]
async fn others_are_kept_on_request_until_the_release() {
    let world = World::new();
    let options = world.host().client().lock_all(["a", "b"]).unwrap().options();
    let guards = options.keep_after_loss().acquire().await.unwrap();
    let token = guards.token("b").unwrap();
    world.host().client().lock("b").unwrap().revoke(token).await.unwrap();
    assert_eq!(guards.lost().await.reason, LossReason::Revoked);
    sleep(secs(60)).await;
    assert!(!guards.is_valid());
    assert_eq!(held(&world, &["a", "b"]).await, ["a"]);
    let error = guards.release().await.unwrap_err();
    assert!(error.results[0].1.is_ok() && error.results[1].1.is_err(), "{error}");
    assert_eq!(held(&world, &["a", "b"]).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn release_reports_the_result_of_each_lock() {
    let world = World::new();
    let host = world.host();
    let guards = acquire_all(&host.client(), &["a", "b", "c"]).await;
    host.link.choose_faults(|call| match call {
        Call::Write(op) if op.name.as_str() == "b" => LinkFault::LoseRequest,
        Call::Write(op) if op.name.as_str() == "c" => LinkFault::Refuse(StoreErrorKind::AccessDenied),
        _ => LinkFault::None,
    });
    let error = timeout(secs(20), guards.release()).await.unwrap().unwrap_err();
    assert!(error.lost().is_none());
    assert!(error.results[0].1.is_ok());
    assert!(matches!(error.results[1].1, Err(ReleaseError::Unknown)), "{error}");
    assert!(matches!(error.results[2].1, Err(ReleaseError::Store(_))), "{error}");
    let text = error.to_string();
    assert!(text.starts_with("2 of 3 locks not released: lock \"b\": ") && text.contains("lock \"c\""), "{text}");
}

/// A loss that only the release finds is reported.
#[tokio::test(start_paused = true)]
async fn release_reports_a_lock_that_was_taken() {
    let world = World::new();
    let guards = acquire_all(&world.host().client(), &["a", "b"]).await;
    let token = token_of(&world, "a").await;
    world.host().client().lock("a").unwrap().force_revoke(token).await.unwrap();
    assert!(guards.is_valid(), "no renewal has been answered");
    let error = guards.release().await.unwrap_err();
    assert_eq!(error.lost().unwrap().reason, LossReason::Revoked);
    assert!(error.results[1].1.is_ok());
}

#[tokio::test(start_paused = true)]
async fn dropped_guard_releases_all_locks() {
    let world = World::new();
    let client = world.host().client();
    let guards = acquire_all(&client, &["a", "b"]).await;
    let cancelled = guards.cancellation();
    drop(guards);
    assert!(cancelled.is_cancelled());
    client.close().await;
    assert_eq!(held(&world, &["a", "b"]).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn renew_extends_all_leases() {
    let world = World::new();
    let host = world.host();
    let guards = acquire_all(&host.client(), &["a", "b"]).await;
    sleep(secs(2)).await;
    assert!(matches!(guards.ensure(secs(9)), Err(EnsureError::TooShort { .. })));
    host.link.clear_calls();
    guards.renew().await.unwrap();
    guards.ensure(secs(9)).unwrap();
    assert!(guards.last_error().is_none());
    let mut sent = writes(&host);
    sent.sort();
    assert_eq!(sent, ["renew a", "renew b"]);
}

#[tokio::test(start_paused = true)]
async fn last_error_of_any_lock_is_returned() {
    let host = World::new().host();
    let guards = acquire_all(&host.client(), &["a", "b"]).await;
    host.link.choose_faults(|call| match call {
        Call::Write(op) if op.name.as_str() == "b" => LinkFault::Throttle,
        _ => LinkFault::None,
    });
    sleep(secs(4)).await;
    assert_eq!(guards.last_error().unwrap().kind(), StoreErrorKind::Throttled);
    assert!(guards.is_valid());
}

#[tokio::test(start_paused = true)]
async fn at_risk_follows_the_lock_with_the_least_time() {
    let (world, margin) = (World::new(), secs(5));
    let host = world.host();
    let guards = acquire_all(&host.client(), &["a", "b"]).await;
    assert!(timeout(secs(60), guards.at_risk(margin)).await.is_err(), "renewals succeed");
    host.link.choose_faults(|call| match call {
        Call::Write(op) if op.name.as_str() == "b" => LinkFault::Throttle,
        _ => LinkFault::None,
    });
    let left = guards.at_risk(margin).await.unwrap();
    assert!(left < margin && left >= ms(4_700), "{left:?}");
    assert!(timeout(secs(1), guards.recovered(margin)).await.is_err(), "b was not renewed");
    host.link.heal();
    guards.recovered(margin).await.unwrap();
    host.link.set_all(LinkFault::LoseRequest);
    guards.at_risk(margin).await.unwrap();
    assert_eq!(guards.recovered(margin).await.unwrap_err().reason, LossReason::Expired);
}

/// The watch of the Node package, which does not borrow the guard.
#[tokio::test(start_paused = true)]
async fn risk_watch_follows_the_lock_with_the_least_time() {
    let (world, margin) = (World::new(), secs(5));
    let host = world.host();
    let guards = acquire_all(&host.client(), &["a", "b"]).await;
    let watch = guards.risk_watch();
    assert_eq!(watch.lease(), LEASE);
    assert!(timeout(secs(60), watch.at_risk(margin)).await.is_err(), "renewals succeed");
    host.link.choose_faults(|call| match call {
        Call::Write(op) if op.name.as_str() == "b" => LinkFault::Throttle,
        _ => LinkFault::None,
    });
    let left = watch.at_risk(margin).await.unwrap();
    assert!(left < margin && left >= ms(4_700) && guards.is_valid(), "{left:?}");
    assert!(timeout(secs(1), watch.recovered(margin)).await.is_err(), "b was not renewed");
    host.link.heal();
    watch.recovered(margin).await.unwrap();
    host.link.set_all(LinkFault::LoseRequest);
    watch.at_risk(margin).await.unwrap();
    assert_eq!(watch.recovered(margin).await, None);
    assert_eq!(watch.at_risk(margin).await, None, "the locks are lost");
}

/// R3. The guard is invalid as soon as the clocks show the end of a lease, although no task has run.
#[tokio::test(start_paused = true)]
async fn stopped_holder_of_several_locks_is_invalid_on_resume() {
    let world = World::new();
    let host = world.host();
    let guards = acquire_all(&host.client(), &["a", "b"]).await;
    host.clock.stop();
    host.link.set_all(LinkFault::Hang);
    let next = acquire_all(&world.host().client(), &["a", "b"]).await;
    assert!(!guards.is_valid());
    assert!(next.token("a").unwrap() > guards.token("a").unwrap());
    assert!(guards.token("c").is_none());
}

#[tokio::test(start_paused = true)]
async fn completed_work_is_returned_after_a_loss() {
    let world = World::new();
    let host = world.host();
    let guards = acquire_all(&host.client(), &["a", "b"]).await;
    assert_eq!(guards.run(async { 1 }).await.unwrap(), 1);
    let work = async {
        host.clock.suspend(secs(20));
        2
    };
    let lost = guards.run(work).await.unwrap_err();
    assert_eq!((lost.reason, lost.output), (LossReason::Suspended, Some(2)));
}

/// A waiter observes only the lock that it waits for. A service clock shows that the others have expired too.
#[tokio::test(start_paused = true)]
async fn locks_of_a_crashed_holder_expire_one_after_the_other() {
    for (world, longest) in [(World::new(), LEASE + secs(9)), (World::without_dates(), LEASE * 3)] {
        let host = world.host();
        let guards = acquire_all(&host.client(), &["a", "b", "c"]).await;
        host.link.set_all(LinkFault::Hang);
        let crashed = world.time();
        std::mem::forget(guards);
        let next = acquire_all(&world.host().client(), &["a", "b", "c"]).await;
        let waited = world.time() - crashed;
        assert!(waited <= longest.mul_f64(1.005) + POLL_MAX * 3, "{waited:?}, not {longest:?}");
        next.release().await.unwrap();
    }
}
