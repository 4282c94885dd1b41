//! The end of a lease, as its holder sees it.

use std::time::Duration;

use dynamo_lock::{EnsureError, Guard, LossReason, StoreErrorKind};
use test_support::{LinkFault, RecordingObserver, World, acquire, ms, secs};
use tokio::time::sleep;

/// Faults that keep all renewals from succeeding.
fn renewal_faults() -> Vec<LinkFault> {
    vec![
        LinkFault::Hang,
        LinkFault::HangAfter,
        LinkFault::LoseRequest,
        LinkFault::Throttle,
        LinkFault::Late(secs(20)),
        LinkFault::LoseAnswerAndLand(secs(20)),
        LinkFault::Refuse(StoreErrorKind::AccessDenied),
    ]
}

#[tokio::test(start_paused = true)]
async fn guard_expires_at_its_deadline_while_requests_hang() {
    let world = World::new();
    let host = world.host();
    let guard = host.acquire().await;
    let acquired = world.time();
    host.link.set_all(LinkFault::Hang);
    let ran = guard.run(std::future::pending::<()>()).await;
    assert_eq!(ran.unwrap_err().reason, LossReason::Expired);
    assert!(!guard.is_valid());
    assert!(guard.cancellation().is_cancelled());
    // The lease of 10 s less its margin of 110 ms, counted from before the acquire was sent.
    assert!(world.time() <= acquired + ms(9_890));
    assert!(world.time() >= ms(9_880));
}

/// Lesson 10. The deadline does not depend on the answers to requests.
#[tokio::test(start_paused = true)]
async fn holder_is_notified_at_its_deadline_despite_faults() {
    for fault in renewal_faults() {
        let world = World::new();
        let host = world.host();
        let guard = host.acquire().await;
        sleep(secs(1)).await;
        host.link.set_all(fault.clone());
        let deadline = world.time() + guard.time_left();
        guard.cancellation().cancelled().await;
        let (now, slack) = (world.time(), ms(50));
        assert!(now <= deadline + slack && now + slack >= deadline, "{fault:?}: {now:?}, not {deadline:?}");
        assert!(!guard.is_valid(), "{fault:?}");
        assert_eq!(guard.lost().await, LossReason::Expired, "{fault:?}");
    }
}

/// Lesson 10.
#[tokio::test(start_paused = true)]
async fn work_is_dropped_before_another_client_acquires() {
    for fault in renewal_faults() {
        let world = World::new();
        let host = world.host();
        let guard = host.acquire().await;
        host.link.set_all(fault.clone());
        let other = world.host();
        let ((ran, dropped), (next, acquired)) =
            tokio::join!(async { (guard.run(std::future::pending::<()>()).await, world.time()) }, async {
                (other.acquire().await, world.time())
            });
        assert_eq!(ran.unwrap_err().reason, LossReason::Expired, "{fault:?}");
        assert!(dropped < acquired, "{fault:?}: work ended at {dropped:?}, the next began at {acquired:?}");
        assert!(next.token() > guard.token());
    }
}

/// Lesson 11. A holder can tell an unreachable store from a lock that another client took.
#[tokio::test(start_paused = true)]
async fn loss_distinguishes_unreachable_store_from_takeover() {
    let world = World::new();
    let (host, observer) = (world.host(), RecordingObserver::default());
    let guard = acquire(&host.builder().observer(observer.clone()).build().unwrap()).await;
    host.link.set_all(LinkFault::LoseRequest);
    assert_eq!(guard.lost().await, LossReason::Expired);
    let lost = guard.loss().unwrap();
    assert_eq!(lost.last_error.as_ref().map(|error| error.kind()), Some(StoreErrorKind::Unanswered));
    let event = observer.event("Lost");
    assert!(event.contains("Expired") && event.contains("no answer came"), "{event}");

    let (world, observer) = (World::new(), RecordingObserver::default());
    let guard = acquire(&world.host().builder().observer(observer.clone()).build().unwrap()).await;
    world.host().lock().force_revoke(guard.token()).await.unwrap();
    let _next = world.host().acquire().await;
    assert_eq!(guard.lost().await, LossReason::TakenOver);
    let event = observer.event("Lost");
    assert!(event.contains("TakenOver") && event.contains("last_error: None"), "{event}");
}

#[tokio::test(start_paused = true)]
async fn ensure_fails_with_time_left_or_with_loss() {
    let host = World::new().host();
    let guard = host.acquire().await;
    guard.ensure(secs(1)).unwrap();
    let error = guard.ensure(secs(3600)).unwrap_err();
    assert!(matches!(error, EnsureError::TooShort { left, .. } if left > Duration::ZERO), "{error}");
    assert!(guard.is_valid() && guard.loss().is_none());
    host.link.set_all(LinkFault::LoseRequest);
    guard.lost().await;
    let error = guard.ensure(Duration::ZERO).unwrap_err();
    assert!(matches!(&error, EnsureError::Lost(lost) if lost.reason == LossReason::Expired), "{error}");
}

/// Resource that refuses tokens smaller than the largest one that it has seen.
#[derive(Default)]
struct FencedResource(u64);

impl FencedResource {
    fn write(&mut self, guard: &Guard) -> bool {
        let token = guard.token().get();
        let accepted = token >= self.0;
        self.0 = self.0.max(token);
        accepted
    }
}

/// Lesson 13. While the process is stopped none of its code runs and none of its timers fires.
#[tokio::test(start_paused = true)]
async fn stopped_holder_is_invalid_on_resume_and_fenced() {
    let world = World::new();
    let host = world.host();
    let stopped = host.acquire().await;
    let mut resource = FencedResource::default();
    assert!(resource.write(&stopped));
    let cancellation = stopped.cancellation();
    host.clock.stop();
    host.link.set_all(LinkFault::Hang);
    let next = world.host().acquire().await;
    assert!(resource.write(&next));
    assert!(!cancellation.is_cancelled());
    host.clock.resume();
    assert!(!stopped.is_valid());
    assert!(cancellation.is_cancelled() && stopped.cancellation().is_cancelled());
    assert!(!resource.write(&stopped));
}

#[tokio::test(start_paused = true)]
async fn expiry_on_slewed_host_is_not_reported_as_suspension() {
    for slew in [-1, 0, 1, 5] {
        let host = World::new().host();
        host.clock.slew(slew);
        let guard = host.acquire().await;
        host.link.set_all(LinkFault::Hang);
        assert_eq!(guard.lost().await, LossReason::Expired, "slewed by {slew} in a thousand");
    }
}

#[tokio::test(start_paused = true)]
async fn max_hold_ends_lock_despite_renewals() {
    let world = World::new();
    let guard = world.host().lock().options().max_hold(secs(25)).acquire().await.unwrap();
    assert_eq!(guard.lost().await, LossReason::MaxHold);
    assert!(world.time() <= ms(25_010));
    // The limit has another name in Node, which shows the same message.
    let error = guard.release().await.unwrap_err();
    assert!(error.to_string().ends_with("raise the limit, or do less work at a time"), "{error}");
}
