//! Events that the observers of a client receive, beside its log.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dynamo_lock::{Client, Event, Holder, LossReason, Observer, TryAcquire};
use test_support::{LEASE, LinkFault, RecordingObserver, World, secs};
use tokio::time::sleep;

/// Observer that keeps the name and the main fact of each event. Clones share the record.
#[derive(Clone, Debug, Default)]
struct Facts(Arc<Mutex<Vec<String>>>);

impl Facts {
    /// Returns the facts since the last call.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Returns the token of a holder. Holders of a slot have none.
fn token(holder: &Holder) -> String {
    holder.token.map_or("a slot".to_owned(), |token| token.to_string())
}

impl Observer for Facts {
    fn event(&self, event: Event<'_>) {
        let fact = match event {
            Event::Waiting { holder, .. } => format!("waiting for {}", token(holder)),
            Event::WaitEnded { .. } => "wait ended".to_owned(),
            Event::Contended { holder, .. } => format!("contended by {}", token(holder.unwrap())),
            Event::TakenOver { holder, .. } => format!("took over {}", token(holder)),
            Event::Acquired { token, .. } => format!("acquired {token}"),
            Event::Renewed { .. } => "renewed".to_owned(),
            Event::Lost { reason, .. } => format!("lost: {reason:?}"),
            Event::Released { .. } => "released".to_owned(),
            Event::RequestFailed { .. } => "request failed".to_owned(),
            _ => "unknown".to_owned(),
        };
        self.0.lock().unwrap().push(fact);
    }
}

/// Returns a client of a new host, and the facts of its events.
fn observed(world: &World) -> (Client, Facts) {
    let facts = Facts::default();
    (world.host().builder().observer(facts.clone()).build().unwrap(), facts)
}

#[tokio::test(start_paused = true)]
async fn each_observer_of_client_receives_each_event() {
    let (world, first, second) = (World::new(), Facts::default(), RecordingObserver::default());
    let client = world.host().builder().observer(first.clone()).observer(second.clone()).build().unwrap();
    let guard = client.lock("a").unwrap().acquire().await.unwrap();
    guard.renew().await.unwrap();
    let token = guard.token();
    guard.release().await.unwrap();
    assert_eq!(first.take(), [format!("acquired {token}"), "renewed".to_owned(), "released".to_owned()]);
    assert_eq!(["Acquired", "Renewed", "Released"].map(|name| second.count(name)), [1; 3]);
}

/// The waiter of the second call is in the queue of its client behind that of the first.
#[tokio::test(start_paused = true)]
async fn wait_for_other_client_is_reported_once_per_acquisition() {
    let world = World::new();
    let (holder, (client, facts)) = (world.host().acquire().await, observed(&world));
    let wait = || {
        let lock = client.lock("a").unwrap();
        tokio::spawn(async move { lock.acquire().await.unwrap() })
    };
    let (first, second) = (wait(), wait());
    sleep(secs(30)).await;
    let held = holder.token();
    assert_eq!(facts.take(), [format!("waiting for {held}"), format!("waiting for {held}")]);
    holder.release().await.unwrap();
    let guard = first.await.unwrap();
    assert_eq!(facts.take(), [format!("acquired {}", guard.token()), "wait ended".to_owned()]);
    // The wait of a cancelled call ends too.
    second.abort();
    sleep(secs(1)).await;
    assert_eq!(facts.take(), ["wait ended"]);
    drop(guard);
}

#[tokio::test(start_paused = true)]
async fn wait_for_guard_of_same_client_is_reported() {
    let world = World::new();
    let (client, facts) = observed(&world);
    let lock = client.lock("a").unwrap();
    let guard = lock.acquire().await.unwrap();
    let held = guard.token();
    lock.acquire_within(secs(1)).await.unwrap_err();
    let facts = facts.take();
    let waited = [format!("waiting for {held}"), format!("contended by {held}"), "wait ended".to_owned()];
    assert_eq!(facts.iter().filter(|fact| *fact != "renewed").skip(1).cloned().collect::<Vec<_>>(), waited);
}

#[tokio::test(start_paused = true)]
async fn attempt_without_wait_reports_contention_alone() {
    let world = World::new();
    let (holder, (client, facts)) = (world.host().acquire().await, observed(&world));
    let TryAcquire::Held(_) = client.lock("a").unwrap().try_acquire().await.unwrap() else { panic!("it is held") };
    assert_eq!(facts.take(), [format!("contended by {}", holder.token())]);
}

/// An acquisition that never saw the lock held reports no wait, although each of its requests takes time.
#[tokio::test(start_paused = true)]
async fn acquisition_of_free_lock_reports_no_wait() {
    let world = World::new();
    let (client, facts) = observed(&world);
    let guard = client.lock("a").unwrap().acquire_within(secs(5)).await.unwrap();
    assert_eq!(facts.take(), [format!("acquired {}", guard.token())]);
}

/// Permits and read locks have no queue.
#[tokio::test(start_paused = true)]
async fn wait_for_slot_is_reported() {
    let world = World::new();
    let (other, (client, facts)) = (world.host().client(), observed(&world));
    let permit = other.semaphore("s", 1).unwrap().acquire().await.unwrap();
    let semaphore = client.semaphore("s", 1).unwrap();
    assert!(semaphore.acquire_within(secs(3)).await.is_err());
    let kinds: Vec<_> = facts.take().iter().map(|fact| fact[..7].to_owned()).collect();
    assert_eq!(kinds, ["waiting", "contend", "wait en"]);
    drop(permit);
}

#[tokio::test(start_paused = true)]
async fn takeover_names_holder_that_has_crashed() {
    let world = World::new();
    let crashed = world.crash_holder_after(secs(2)).await;
    let (client, facts) = observed(&world);
    let guard = client.lock("a").unwrap().acquire().await.unwrap();
    let facts: Vec<_> = facts.take();
    let expected =
        [format!("waiting for {crashed}"), format!("took over {crashed}"), format!("acquired {}", guard.token())];
    assert_eq!(facts[..3], expected);
}

/// The answer to the takeover is lost. The repetition shows that it was applied.
#[tokio::test(start_paused = true)]
async fn takeover_with_lost_answer_is_reported_once() {
    let world = World::new();
    world.crash_holder_after(secs(2)).await;
    sleep(secs(60)).await;
    let (host, facts) = (world.host(), Facts::default());
    let client = host.builder().observer(facts.clone()).build().unwrap();
    host.link.set_next("take over", [LinkFault::LoseAnswer]);
    let _guard = client.lock("a").unwrap().acquire().await.unwrap();
    let facts = facts.take();
    assert!(facts.contains(&"request failed".to_owned()), "control: {facts:?}");
    assert_eq!(facts.iter().filter(|fact| fact.starts_with("took over")).count(), 1, "{facts:?}");
}

#[tokio::test(start_paused = true)]
async fn eviction_of_expired_slot_is_takeover() {
    let world = World::new();
    let host = world.host();
    let permit = host.client().semaphore("s", 1).unwrap().acquire().await.unwrap();
    host.link.set_all(LinkFault::Hang);
    std::mem::forget(permit);
    let (client, facts) = observed(&world);
    let permit = client.semaphore("s", 1).unwrap().acquire().await;
    assert!(permit.is_ok());
    let facts = facts.take();
    assert_eq!(facts.iter().filter(|fact| fact.starts_with("took over")).count(), 1, "{facts:?}");
}

/// Observer that keeps the lateness of each renewal.
#[derive(Clone, Debug, Default)]
struct Lateness(Arc<Mutex<Vec<Duration>>>);

impl Observer for Lateness {
    fn event(&self, event: Event<'_>) {
        if let Event::Renewed { lateness, .. } = event {
            self.0.lock().unwrap().push(lateness);
        }
    }
}

/// A renewal whose first attempts fail is late by the time until one is answered.
#[tokio::test(start_paused = true)]
async fn lateness_of_renewal_counts_from_when_it_was_due() {
    let (world, lateness) = (World::new(), Lateness::default());
    let host = world.host();
    let client = host.builder().observer(lateness.clone()).build().unwrap();
    let guard = client.lock("a").unwrap().acquire().await.unwrap();
    sleep(LEASE * 2).await;
    let regular = std::mem::take(&mut *lateness.0.lock().unwrap());
    assert!(regular.len() >= 6, "{regular:?}");
    assert!(regular.iter().all(|lateness| *lateness < secs(1)), "{regular:?}");
    host.link.set_all(LinkFault::LoseRequest);
    sleep(secs(5)).await;
    host.link.set_all(LinkFault::None);
    sleep(secs(2)).await;
    let late = std::mem::take(&mut *lateness.0.lock().unwrap());
    assert!(guard.is_valid() && late.iter().any(|lateness| *lateness > secs(2)), "{late:?}");
    assert!(late.iter().all(|lateness| *lateness < LEASE * 3 / 4), "the lock would be lost: {late:?}");
    // A renewal that is requested early is not late.
    guard.renew().await.unwrap();
    assert_eq!(*lateness.0.lock().unwrap(), [Duration::ZERO]);
}

/// Reason of a loss, `None` for a release, and held time.
type End = (Option<LossReason>, Duration);

/// Observer that keeps all ends.
#[derive(Clone, Debug, Default)]
struct HeldTimes(Arc<Mutex<Vec<End>>>);

impl Observer for HeldTimes {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Lost { reason, held, .. } => self.0.lock().unwrap().push((Some(reason), held)),
            Event::Released { held, .. } => self.0.lock().unwrap().push((None, held)),
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn end_of_guard_has_held_time() {
    let (world, times) = (World::new(), HeldTimes::default());
    let client = world.host().builder().observer(times.clone()).build().unwrap();
    let lock = client.lock("a").unwrap();
    let guard = lock.acquire().await.unwrap();
    sleep(secs(7)).await;
    guard.release().await.unwrap();
    let guard = lock.options().max_hold(secs(3)).acquire().await.unwrap();
    guard.lost().await;
    drop(guard);
    let times = times.0.lock().unwrap().clone();
    let [(None, released), (Some(LossReason::MaxHold), lost)] = times[..] else { panic!("{times:?}") };
    assert!((secs(7)..secs(8)).contains(&released), "{released:?}");
    assert!((secs(3)..secs(4)).contains(&lost), "{lost:?}");
}
