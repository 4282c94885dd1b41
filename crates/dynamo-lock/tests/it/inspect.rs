//! `Lock::inspect` and `Client::list`.

use std::time::Duration;

use dynamo_lock::{AcquireError, Inspection, Listed, RowError};
use test_support::{LEASE, LinkFault, POLL_MAX, World, row, secs, try_acquire};
use tokio::time::sleep;

/// Lesson 5. The returned range contains the time at which another client acquires the lock.
#[tokio::test(start_paused = true)]
async fn inspect_returns_range_in_which_lease_ends() {
    let world = World::new();
    let host = world.host();
    let operator = world.host().lock();
    assert!(matches!(operator.inspect().await.unwrap(), Inspection::Free { token: None, .. }));
    let guard = host.acquire().await;
    sleep(secs(1)).await;
    let token = guard.token();
    host.link.set_all(LinkFault::Hang);
    let Inspection::Held { holder, may_end, .. } = operator.inspect().await.unwrap() else { panic!("held") };
    assert_eq!(holder.token, Some(token));
    let asked = world.time();
    let next = world.host().acquire().await;
    let ended = world.time() - asked;
    assert!(*may_end.start() <= ended && ended <= *may_end.end() + POLL_MAX, "{ended:?} is not in {may_end:?}");
    assert!(*may_end.end() <= LEASE);
    next.release().await.unwrap();
    assert!(matches!(operator.inspect().await.unwrap(), Inspection::Free { token: Some(_), .. }));
    std::mem::forget(guard);
}

/// The lease ID names one acquisition: that of a guard, of a guard of several locks, and of each client that reads it.
#[tokio::test(start_paused = true)]
async fn holder_has_lease_id_of_its_guard() {
    let world = World::new();
    let (host, operator) = (world.host(), world.host().client());
    let holder_of = async |name: &str| match operator.lock(name).unwrap().inspect().await.unwrap() {
        Inspection::Held { holder, .. } => holder.lease_id,
        other => panic!("{other:?}"),
    };
    let client = host.client();
    let first = client.lock("a").unwrap().acquire().await.unwrap();
    let id = first.lease_id().unwrap();
    assert_eq!((id.as_str().len(), holder_of("a").await), (32, Some(id.clone())));
    let error = client.lock("a").unwrap().acquire_within(secs(0)).await.unwrap_err();
    let AcquireError::TimedOut { holder: Some(holder), .. } = error else { panic!("{error}") };
    assert_eq!(holder.lease_id, Some(id.clone()));
    first.release().await.unwrap();

    let set = client.lock_all(["b", "a"]).unwrap().acquire().await.unwrap();
    let (a, b) = (set.lease_id("a"), set.lease_id("b"));
    assert!(a.is_some() && b.is_some() && a != b && a != Some(id) && set.lease_id("c").is_none());
    assert_eq!((holder_of("a").await, holder_of("b").await), (a, b));
    set.release().await.unwrap();
}

/// Lesson 5. A lock that `inspect` reports as expired can be acquired at once.
#[tokio::test(start_paused = true)]
async fn inspect_reports_expired_lease_with_its_holder() {
    let world = World::new();
    let token = world.crash_holder_after(secs(1)).await;
    sleep(secs(60)).await;
    let operator = world.host().lock();
    let inspection = operator.inspect().await.unwrap();
    let Inspection::Expired { holder, .. } = inspection else { panic!("{inspection:?}") };
    assert_eq!(holder.token, Some(token));
    assert!(holder.owner.unwrap().starts_with("test ("));
    assert!(try_acquire(&operator).await.is_some());
}

/// Lesson 5.
#[tokio::test(start_paused = true)]
async fn inspect_without_service_clock_never_reports_expired() {
    let world = World::without_dates();
    world.crash_holder_after(Duration::ZERO).await;
    sleep(secs(3600)).await;
    let inspection = world.host().lock().inspect().await.unwrap();
    let Inspection::Held { may_end, .. } = inspection else { panic!("{inspection:?}") };
    assert_eq!(may_end, Duration::ZERO..=LEASE);
}

#[tokio::test(start_paused = true)]
async fn list_returns_every_row_with_its_state() {
    let world = World::new();
    let client = world.host().client();
    let _held = client.lock("held").unwrap().acquire().await.unwrap();
    client.lock("free").unwrap().acquire().await.unwrap().release().await.unwrap();
    world.set_row("data", Some(row(&[("customer", "Smith".into())])));
    let (mut list, mut seen) = (client.list(), Vec::new());
    while let Some(listed) = list.try_next().await.unwrap() {
        let Listed { name, inspection, .. } = listed;
        seen.push((name, inspection));
    }
    seen.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(seen.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["data", "free", "held"]);
    assert!(matches!(seen[0].1, Err(RowError::NotALock)));
    assert!(matches!(seen[1].1, Ok(Inspection::Free { token: Some(_), .. })));
    assert!(matches!(seen[2].1, Ok(Inspection::Held { .. })));
}

#[tokio::test(start_paused = true)]
async fn list_retries_page_after_error() {
    let host = World::new().host();
    let client = host.client();
    test_support::acquire(&client).await.release().await.unwrap();
    host.link.set_next("list", [LinkFault::Throttle]);
    let mut list = client.list();
    assert!(list.try_next().await.is_err());
    assert_eq!(list.try_next().await.unwrap().unwrap().name, "a");
    assert!(list.try_next().await.unwrap().is_none());
}
