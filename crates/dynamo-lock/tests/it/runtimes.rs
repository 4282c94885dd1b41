//! Guards on several runtimes: runtimes that end, that are not driven, and callbacks that panic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dynamo_lock::simulation::{Clock, ClockReading};
use dynamo_lock::store::{BoxFuture, Consistency};
use dynamo_lock::{
    Client, ClientBuilder, Event, Guard, LockName, LossReason, Memory, Observer, ReleaseError, Store, UpdateError,
};
use test_support::{LEASE, LinkFault, RecordingObserver, World, acquire, secs};
use tokio::runtime::{Builder, Runtime};

use crate::dedicated_thread::block_on;

/// Clock whose sleeps end at once and advance it, so that a test needs no real time and no timer of a runtime.
#[derive(Clone, Debug, Default)]
pub(crate) struct SteppedClock(Arc<AtomicU64>);

impl Clock for SteppedClock {
    fn now(&self) -> ClockReading {
        let ns = self.0.load(Ordering::SeqCst);
        ClockReading { boot_ns: ns, raw_ns: ns, wall_ms: 1_800_000_000_000 + ns / 1_000_000 }
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        Box::pin(async move {
            // Everything else that can run runs before time advances.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            clock.0.fetch_add(duration.as_nanos() as u64, Ordering::SeqCst);
        })
    }
}

pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime starts")
}

fn threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime starts")
}

/// A store, and a client on it with a clock that tests need not wait for.
struct Setup {
    store: Memory,
    client: Client,
}

impl Setup {
    fn new() -> Self {
        Self::of(|builder| builder.clock(SteppedClock::default()))
    }

    fn of(configure: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Self {
        let store = Memory::new();
        let client = configure(Client::builder(store.clone())).build().expect("a valid configuration");
        Self { store, client }
    }

    fn is_free(&self) -> bool {
        let read = async { self.store.read(&LockName::new("a").unwrap(), Consistency::Strong).await };
        runtime().block_on(read).result.expect("reads").is_none_or(|row| row.whole("expiresOn") == Some(0))
    }

    /// Acquires the lock on `runtime`, which is not driven any more after that.
    fn acquire_on(&self, runtime: &Runtime) -> Guard {
        runtime.block_on(acquire(&self.client))
    }
}

/// The lease of 20 s has just begun, so the loss is not that of its end.
#[test]
fn shutdown_of_runtime_ends_lease_of_its_guards() {
    for old in [runtime(), threads()] {
        let observer = RecordingObserver::default();
        let setup = Setup::of(|builder| builder.observer(observer.clone()));
        let guard = setup.acquire_on(&old);
        let cancellation = guard.cancellation();
        old.shutdown_background();
        let new = runtime();
        assert_eq!(new.block_on(guard.lost()), LossReason::RenewalStopped);
        new.block_on(cancellation.cancelled());
        assert!(!guard.is_valid() && guard.time_left().is_zero());
        assert!(guard.loss().unwrap().to_string().contains("its runtime was shut down or a callback panicked"));
        assert_eq!(observer.count("Lost"), 1);
        let error = new.block_on(guard.release()).unwrap_err();
        assert!(matches!(&error, ReleaseError::Lost(lost) if lost.reason == LossReason::RenewalStopped), "{error}");
        assert!(setup.is_free(), "it is released early");
    }
}

/// The runtime is dropped while the guard is used elsewhere, so that the loss is noticed without any call of it.
#[test]
fn drop_of_runtime_cancels_tokens_of_its_guards() {
    let setup = Setup::of(|builder| builder);
    let old = runtime();
    let guard = setup.acquire_on(&old);
    let cancellation = guard.cancellation();
    drop(old);
    assert!(cancellation.is_cancelled());
}

/// A runtime that has ended drops the renewal task before its first poll.
#[test]
fn guard_of_an_ended_runtime_is_lost() {
    let setup = Setup::new();
    let old = runtime();
    let handle = old.handle().clone();
    drop(old);
    let guard = handle.block_on(acquire(&setup.client));
    assert_eq!(guard.loss().map(|lost| lost.reason), Some(LossReason::RenewalStopped));
    assert!(guard.cancellation().is_cancelled());
}

/// Waits until the tokens of a guard are cancelled.
async fn cancelled(guard: &Guard) {
    tokio::time::timeout(2 * LEASE, guard.cancellation().cancelled()).await.expect("a loss cancels them");
}

/// Observer that panics at each failed request.
#[derive(Debug)]
struct PanicAtFailure(RecordingObserver);

impl Observer for PanicAtFailure {
    fn event(&self, event: Event<'_>) {
        Observer::event(&self.0, event);
        assert!(!matches!(event, Event::RequestFailed { .. }), "the observer of this test panics");
    }
}

#[tokio::test(start_paused = true)]
async fn panic_of_observer_in_renewal_ends_lease() {
    let (world, observer) = (World::new(), RecordingObserver::default());
    let host = world.host();
    let client = host.builder().observer(PanicAtFailure(observer.clone())).build().unwrap();
    let guard = acquire(&client).await;
    host.link.set_next("renew", [LinkFault::LoseRequest]);
    let deadline = world.time() + guard.time_left();
    cancelled(&guard).await;
    assert!(world.time() + secs(5) < deadline, "long before the end of the lease");
    assert_eq!(guard.lost().await, LossReason::RenewalStopped);
    assert_eq!(observer.count("Lost"), 1, "it did not panic at this event");
    drop(guard);
    client.close().await;
    assert!(world.is_free().await);
}

/// Observer that panics at each event of a failure or a loss.
#[derive(Debug)]
struct PanicAlways;

impl Observer for PanicAlways {
    fn event(&self, event: Event<'_>) {
        let calm = matches!(event, Event::Acquired { .. } | Event::Released { .. });
        assert!(calm, "the observer of this test panics");
    }
}

/// The second panic happens while the first one unwinds, which must not abort the process.
#[tokio::test(start_paused = true)]
async fn observer_that_panics_twice_ends_lease() {
    let world = World::new();
    let host = world.host();
    let client = host.builder().observer(PanicAlways).build().unwrap();
    let guard = acquire(&client).await;
    host.link.set_next("renew", [LinkFault::LoseRequest]);
    cancelled(&guard).await;
    assert_eq!(guard.lost().await, LossReason::RenewalStopped);
    drop(guard);
    client.close().await;
    assert!(world.is_free().await);
}

/// A guard that is dropped by a panic reports its loss to an observer that panics too.
#[tokio::test(start_paused = true)]
async fn panicking_observer_does_not_keep_lock_of_dropped_guard() {
    let world = World::new();
    let host = world.host();
    let client = host.builder().observer(PanicAlways).build().unwrap();
    let guard = client.lock("a").unwrap().options().max_hold(secs(2)).acquire().await.unwrap();
    host.clock.stop();
    tokio::time::sleep(secs(3)).await;
    host.clock.resume();
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _guard = guard;
        panic!("the work of this test panics");
    }));
    assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"the work of this test panics"));
    client.close().await;
    assert!(world.is_free().await);
}

#[test]
fn release_does_not_need_runtime_of_acquisition() {
    let (idle, caller) = (runtime(), runtime());
    let setup = Setup::new();
    let guard = setup.acquire_on(&idle);
    caller.block_on(guard.release()).unwrap();
    assert!(setup.is_free());
}

/// Neither the caller nor the runtime of the acquisition has a timer that fires.
#[test]
fn release_without_driven_runtime_ends_after_lease() {
    let idle = runtime();
    let setup = Setup::of(|builder| builder.lease(secs(1)));
    let guard = setup.acquire_on(&idle);
    let (sender, released) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(block_on(guard.release())));
    let released = released.recv_timeout(secs(60)).expect("the release ends");
    assert!(matches!(released, Err(ReleaseError::Unknown)), "{released:?}");
    // Control: on a runtime that is driven, the release succeeds.
    let driven = threads();
    let guard = driven.block_on(setup.client.lock("b").unwrap().acquire()).unwrap();
    block_on(guard.release()).unwrap();
}

/// The lease ends by the caller's own timers.
#[test]
fn calls_end_with_lease_while_other_runtime_is_idle() {
    let (idle, caller) = (runtime(), runtime());
    let setup = Setup::new();
    let expired = |reason: LossReason| assert_eq!(reason, LossReason::Expired);
    let guard = setup.acquire_on(&idle);
    expired(caller.block_on(guard.renew()).unwrap_err().reason);
    drop(guard);
    let guard = setup.acquire_on(&idle);
    let UpdateError::Lost(lost) = caller.block_on(guard.update_data("x")).unwrap_err() else { panic!("not lost") };
    expired(lost.reason);
    drop(guard);
    let guard = setup.acquire_on(&idle);
    expired(caller.block_on(guard.lost()));
    drop(guard);
    let guard = setup.acquire_on(&idle);
    expired(caller.block_on(guard.run(std::future::pending::<()>())).unwrap_err().reason);
    drop(guard);
    caller.block_on(setup.client.close());
}

#[test]
fn dropped_guard_is_released_on_runtime_of_its_thread() {
    let (idle, caller) = (runtime(), runtime());
    let setup = Setup::new();
    let guard = setup.acquire_on(&idle);
    caller.block_on(async {
        drop(guard);
        setup.client.close().await;
    });
    assert!(setup.is_free());
    // Control: without a runtime on this thread, that of the acquisition releases it.
    let guard = setup.acquire_on(&idle);
    drop(guard);
    caller.block_on(setup.client.close());
    assert!(!setup.is_free(), "closing gives up after a lease");
    idle.block_on(setup.client.close());
    assert!(setup.is_free());
}
