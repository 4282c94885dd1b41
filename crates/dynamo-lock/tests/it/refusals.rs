//! Requests that the store refuses, for example because credentials have just expired, beside attempts without an answer.

use dynamo_lock::store::StoreErrorCause;
use dynamo_lock::{AcquireError, LossReason, ReleaseError, StoreErrorKind};
use test_support::LinkFault::{LoseAnswer, LoseRequest, NoTable, Refuse};
use test_support::{LinkFault, LocalDynamoDb, ServerFault, World, acquire, ms, secs};
use tokio::time::sleep;

const DENY: LinkFault = Refuse(StoreErrorKind::AccessDenied);

fn is_denied(error: &dynamo_lock::StoreError) -> bool {
    error.kind() == StoreErrorKind::AccessDenied
}

/// The refusal was reported, while the lock was held by this very acquisition.
#[tokio::test(start_paused = true)]
async fn acquire_refused_after_lost_answer_succeeds() {
    let world = World::new();
    let host = world.host();
    host.link.set_next("acquire", [LoseAnswer, DENY, DENY]);
    let guard = host.lock().acquire().await.unwrap();
    assert_eq!(host.link.kinds(), ["acquire"; 4]);
    assert_eq!(world.row("a").await.unwrap().token(), Some(guard.token()));
    assert!(world.time() < secs(1), "{:?}", world.time());
}

#[tokio::test(start_paused = true)]
async fn takeover_refused_after_lost_answer_succeeds() {
    let world = World::new();
    let token = world.crash_holder_after(secs(1)).await;
    let host = world.host();
    host.link.set_next("take over", [LoseAnswer, DENY]);
    let guard = host.acquire().await;
    assert!(guard.token() > token);
    assert_eq!(host.link.count("take over"), 3);
}

/// The error is reported when the lease has ended, and not before. The clean-up is refused once, too.
#[tokio::test(start_paused = true)]
async fn acquire_refused_to_its_end_leaves_no_valid_lease() {
    for first in [LoseAnswer, LoseRequest] {
        let world = World::new();
        let host = world.host();
        let mut faults = vec![first.clone()].into_iter();
        host.link.choose_faults(move |call| match call.kind() {
            "acquire" => faults.next().unwrap_or(DENY),
            _ => LinkFault::None,
        });
        let client = host.client();
        let error = client.lock("a").unwrap().acquire().await.unwrap_err();
        assert!(matches!(&error, AcquireError::Store(error) if is_denied(error)), "{first:?}: {error}");
        assert!(world.time() >= ms(9_890), "{first:?}: {:?}", world.time());
        client.close().await;
        assert!(world.is_free().await, "{first:?}");
    }
}

/// Control: a throttled attempt has certainly had no effect, so the refusal after it is the answer.
#[tokio::test(start_paused = true)]
async fn acquire_refused_after_throttling_fails_at_once() {
    let world = World::new();
    let host = world.host();
    host.link.set_next("acquire", [LinkFault::Throttle, DENY]);
    let error = host.lock().acquire().await.unwrap_err();
    assert!(matches!(&error, AcquireError::Store(error) if is_denied(error)), "{error}");
    assert_eq!(host.link.kinds(), ["acquire"; 2]);
}

/// A slow wall clock has written the row, so that the lock is acquired, but reported only after a renewal (R6).
#[tokio::test(start_paused = true)]
async fn unconfirmed_lock_survives_a_refused_renewal() {
    let world = World::new();
    let host = world.host();
    host.clock.step_wall(-40_000);
    host.link.set_next("renew", [DENY]);
    let guard = host.lock().acquire().await.unwrap();
    assert!(guard.is_valid());
    assert_eq!(host.link.kinds(), ["acquire", "renew", "renew"]);
}

#[tokio::test(start_paused = true)]
async fn hold_refused_after_lost_answer_succeeds() {
    let world = World::new();
    let host = world.host();
    host.link.set_next("acquire", [LoseAnswer, DENY]);
    let token = host.lock().hold(secs(60)).await.unwrap();
    assert_eq!(world.row("a").await.unwrap().token(), Some(token));
}

#[tokio::test(start_paused = true)]
async fn refused_release_succeeds_with_the_next_attempt() {
    for faults in [vec![DENY], vec![DENY, LoseAnswer, DENY], vec![LoseAnswer, DENY]] {
        let world = World::new();
        let host = world.host();
        let guard = host.acquire().await;
        host.link.set_next("release", faults.clone());
        guard.release().await.unwrap_or_else(|error| panic!("{faults:?}: {error}"));
        assert!(world.is_free().await, "{faults:?}");
    }
}

/// An attempt without an answer may have been applied, so that the result is unknown and not a refusal.
#[tokio::test(start_paused = true)]
async fn release_refused_to_its_end_reports_what_is_known() {
    for is_ambiguous in [false, true] {
        let world = World::new();
        let host = world.host();
        let guard = host.acquire().await;
        let mut first = is_ambiguous;
        host.link.choose_faults(move |_| if std::mem::take(&mut first) { LoseRequest } else { DENY });
        let error = guard.release().await.unwrap_err();
        match is_ambiguous {
            false => assert!(matches!(&error, ReleaseError::Store(error) if is_denied(error)), "{error}"),
            true => assert!(matches!(&error, ReleaseError::Unknown), "{error}"),
        }
        assert!(world.time() >= ms(9_890), "{:?}", world.time());
    }
}

/// The clean-ups after a dropped acquisition, and after one that has timed out.
#[tokio::test(start_paused = true)]
async fn refused_clean_up_is_repeated() {
    for limit in [None, Some(ms(5))] {
        let world = World::new();
        let host = world.host();
        let mut faults = vec![DENY, DENY].into_iter();
        host.link.choose_faults(move |call| match call.kind() {
            "acquire" => LoseAnswer,
            _ => faults.next().unwrap_or(LinkFault::None),
        });
        let client = host.client();
        let lock = client.lock("a").unwrap();
        match limit {
            Some(limit) => assert!(lock.acquire_within(limit).await.is_err()),
            None => assert!(tokio::time::timeout(ms(200), lock.acquire()).await.is_err()),
        }
        client.close().await;
        assert!(world.is_free().await, "{limit:?}: {:?}", host.link.kinds());
        assert_eq!(host.link.count("release"), 3, "{limit:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn revocation_refused_after_lost_answer_is_done() {
    let world = World::new();
    let guard = world.host().acquire().await;
    let host = world.host();
    host.link.set_next("revoke", [LoseAnswer, DENY]);
    host.lock().revoke(guard.token()).await.unwrap();
    assert_eq!(guard.lost().await, LossReason::Revoked);
    // Control: without a lost answer the refusal is the result.
    host.link.set_next("revoke", [DENY]);
    assert!(matches!(host.lock().revoke(guard.token()).await, Err(dynamo_lock::RevokeError::Store(_))));
}

#[tokio::test(start_paused = true)]
async fn legacy_get_refused_after_lost_answer_succeeds() {
    let world = World::new();
    let host = world.host();
    let mut faults = [LinkFault::None, LoseAnswer, DENY].into_iter();
    host.link.choose_faults(move |_| faults.next().unwrap_or(LinkFault::None));
    host.lock().legacy_get(60_000).await.unwrap();
    assert_eq!(host.link.kinds(), ["read", "legacy get", "read", "read"]);
}

#[tokio::test(start_paused = true)]
async fn dynamodb_denial_after_lost_answer_is_retried() {
    let (server, world) = (LocalDynamoDb::new(), World::new());
    let clock = world.host().clock;
    server.set_clock(move || world.epoch_ms() / 1000);
    let client = dynamo_lock::Client::builder(server.store("Lock").await).clock(clock).build().unwrap();
    server.faults().push(ServerFault::LoseAnswer).push(ServerFault::Deny);
    let guard = acquire(&client).await;
    server.faults().push(ServerFault::Deny);
    guard.release().await.unwrap();
    assert_eq!(server.item("Lock", "a")["expiresOn"]["N"], "0");
}

/// Without a table there is no row, so an attempt that was applied holds nothing any more.
#[tokio::test(start_paused = true)]
async fn acquire_in_missing_table_fails_at_once() {
    for first in [NoTable, LoseAnswer] {
        let world = World::new();
        let host = world.host();
        host.link.set_next("acquire", [first.clone(), NoTable]);
        let error = host.lock().acquire().await.unwrap_err();
        let AcquireError::Store(error) = error else { panic!("{error}") };
        assert_eq!(error.cause(), Some(StoreErrorCause::MissingTable));
        assert!(world.time() < secs(1), "{first:?}: {:?}", world.time());
        sleep(secs(1)).await;
        assert!(world.is_free().await, "{first:?}: it is cleaned up if the table is there after all");
    }
}
