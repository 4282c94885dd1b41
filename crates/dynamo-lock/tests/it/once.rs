//! `Lock::once`: work that runs until it has succeeded once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dynamo_lock::store::Consistency;
use dynamo_lock::{
    AcquireError, ConfigError, Guard, Inspection, Kind, Lock, LossReason, Once, OnceError, OnceGuard, OnceStart,
    RecordError, ResetError, RowError, StoreErrorKind, Success,
};
use test_support::{Call, Host, LEASE, LinkFault, World, ms, secs};
use tokio::time::{sleep, timeout};

/// Counts the runs of a piece of work.
#[derive(Clone, Default)]
struct Runs(Arc<AtomicUsize>);

impl Runs {
    async fn succeed(&self, _: &Guard) -> Result<usize, &'static str> {
        Ok(self.0.fetch_add(1, Ordering::SeqCst) + 1)
    }

    async fn fail(&self, _: &Guard) -> Result<usize, &'static str> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err("failed")
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Runs work that succeeds. Returns the success for which it was skipped.
async fn skips(lock: &Lock, runs: &Runs) -> Option<Success> {
    match lock.once(async |guard| runs.succeed(guard).await).await.unwrap() {
        Once::Ran(_) => None,
        Once::Skipped(success) => Some(success),
        Once::Running(_) => panic!("it waits"),
    }
}

async fn start(host: &Host) -> OnceGuard {
    match host.lock().options().once().start().await.unwrap() {
        OnceStart::Started(guard) => guard,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn success_is_recorded_with_one_write() {
    let world = World::new();
    let (host, runs) = (world.host(), Runs::default());
    assert_eq!(skips(&host.lock(), &runs).await, None);
    assert_eq!(host.link.kinds(), ["read", "acquire", "finish"]);
    let Inspection::Done { success, .. } = host.lock().inspect().await.unwrap() else { panic!("done") };
    assert!(success.by.is_some_and(|by| by.starts_with("test (")));
    assert!(success.until.is_none() && success.started_at <= success.finished_at);
}

#[tokio::test(start_paused = true)]
async fn recorded_success_costs_one_eventual_read() {
    let world = World::new();
    let runs = Runs::default();
    assert_eq!(skips(&world.host().lock(), &runs).await, None);
    let token = world.row("a").await.unwrap().token();
    for no_wait in [false, true] {
        let host = world.host();
        let options = host.lock().options().once();
        let options = if no_wait { options.no_wait() } else { options };
        let result = options.run(async |guard| runs.succeed(guard).await).await.unwrap();
        assert!(matches!(result, Once::Skipped(success) if Some(success.token) == token), "{no_wait}");
        let calls = host.link.calls();
        assert!(matches!(&calls[..], [(_, Call::Read(_, Consistency::Eventual))]), "{calls:?}");
    }
    assert_eq!(runs.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn failed_work_is_released_and_runs_again() {
    let world = World::new();
    let (host, runs) = (world.host(), Runs::default());
    let result = host.lock().once(async |guard| runs.fail(guard).await).await;
    assert!(matches!(result, Err(OnceError::Work("failed"))), "{result:?}");
    assert!(world.is_free().await);
    assert_eq!(host.link.kinds(), ["read", "acquire", "release"]);
    assert_eq!(skips(&world.host().lock(), &runs).await, None);
    assert_eq!(runs.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn cancelled_work_is_released_and_runs_again() {
    let world = World::new();
    let client = world.host().client();
    let lock = client.lock("a").unwrap();
    let never = lock.once(async |_| {
        std::future::pending::<()>().await;
        Ok::<_, ()>(())
    });
    assert!(timeout(secs(1), never).await.is_err());
    client.close().await;
    assert!(world.is_free().await);
    assert_eq!(skips(&world.host().lock(), &Runs::default()).await, None);
}

#[tokio::test(start_paused = true)]
async fn work_of_a_crashed_host_runs_again_after_its_lease() {
    let world = World::new();
    let host = world.host();
    std::mem::forget(start(&host).await);
    host.link.set_all(LinkFault::Hang);
    let runs = Runs::default();
    assert_eq!(timeout(LEASE + secs(5), skips(&world.host().lock(), &runs)).await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn waiter_skips_after_success_and_runs_after_failure() {
    for succeeds in [true, false] {
        let world = World::new();
        let guard = start(&world.host()).await;
        let (lock, runs) = (world.host().lock(), Runs::default());
        let waiter = tokio::spawn({
            let runs = runs.clone();
            async move { skips(&lock, &runs).await }
        });
        sleep(secs(3)).await;
        match succeeds {
            true => guard.succeed().await.unwrap(),
            false => guard.release().await.unwrap(),
        }
        let skipped = timeout(secs(2), waiter).await.unwrap().unwrap();
        assert_eq!((skipped.is_some(), runs.count()), (succeeds, usize::from(!succeeds)));
    }
}

/// Calls for the same work in one client do not use its queue, which is for plain locks.
#[tokio::test(start_paused = true)]
async fn calls_of_one_client_run_the_work_once() {
    let world = World::new();
    let (client, runs) = (world.host().client(), Runs::default());
    let calls = (0..5).map(|_| {
        let (lock, runs) = (client.lock("a").unwrap(), runs.clone());
        tokio::spawn(async move {
            let work = async |guard: &Guard| {
                sleep(secs(1)).await;
                runs.succeed(guard).await
            };
            matches!(lock.once(work).await.unwrap(), Once::Ran(_))
        })
    });
    let mut ran = 0;
    for call in calls.collect::<Vec<_>>() {
        ran += usize::from(call.await.unwrap());
    }
    assert_eq!((ran, runs.count()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn running_work_is_reported_or_awaited_for_a_limit() {
    let world = World::new();
    let guard = start(&world.host()).await;
    let once = || world.host().lock().options().once();
    let result = once().no_wait().run(async |_| Ok::<_, ()>(())).await.unwrap();
    assert!(matches!(result, Once::Running(holder) if holder.token == Some(guard.token())));
    let began = world.time();
    let result = once().wait_within(secs(2)).run(async |_| Ok::<_, ()>(())).await;
    assert!(matches!(result, Err(OnceError::Acquire(AcquireError::TimedOut { holder: Some(_), .. }))), "{result:?}");
    assert!(world.time() - began < secs(3));
}

#[tokio::test(start_paused = true)]
async fn lost_answer_of_a_record_is_asked_for_again() {
    let world = World::new();
    for (fault, count) in [(LinkFault::LoseAnswer, 2), (LinkFault::LoseRequest, 2), (LinkFault::Throttle, 2)] {
        let host = world.host();
        let guard = start(&host).await;
        let token = guard.token();
        host.link.set_next("finish", [fault.clone()]);
        guard.succeed().await.unwrap();
        assert_eq!(host.link.count("finish"), count, "{fault:?}");
        assert_eq!(host.link.count("release"), 0);
        host.lock().reset_success(token).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn unanswered_record_is_unknown_after_a_lease() {
    let world = World::new();
    let host = world.host();
    host.link.set_all_of("finish", LinkFault::Hang);
    let began = world.time();
    let result = host.lock().once(async |_| Ok::<_, ()>(7)).await;
    assert!(matches!(result, Err(OnceError::NotRecorded { output: 7, error: RecordError::Unknown })), "{result:?}");
    let took = world.time() - began;
    assert!(LEASE <= took && took <= LEASE + LEASE / 2, "{took:?}");
    assert_eq!(host.link.count("release"), 0);
}

#[tokio::test(start_paused = true)]
async fn refused_record_returns_the_error_of_the_store() {
    let host = World::new().host();
    host.link.set_all_of("finish", LinkFault::Refuse(StoreErrorKind::AccessDenied));
    let result = host.lock().once(async |_| Ok::<_, ()>(7)).await;
    let Err(OnceError::NotRecorded { output: 7, error: RecordError::Store(error) }) = result else {
        panic!("{result:?}")
    };
    assert_eq!(error.kind(), StoreErrorKind::AccessDenied);
}

#[tokio::test(start_paused = true)]
async fn revoked_work_is_cancelled_and_runs_again() {
    let world = World::new();
    let host = world.host();
    let lock = host.lock();
    let work = tokio::spawn(async move {
        let work = async |_: &Guard| {
            std::future::pending::<()>().await;
            Ok::<_, ()>(())
        };
        lock.once(work).await
    });
    sleep(secs(1)).await;
    let token = world.row("a").await.unwrap().token().unwrap();
    world.host().lock().revoke(token).await.unwrap();
    let result = timeout(LEASE, work).await.unwrap().unwrap();
    assert!(matches!(&result, Err(OnceError::Lost(lost)) if lost.reason == LossReason::Revoked), "{result:?}");
    assert_eq!(skips(&world.host().lock(), &Runs::default()).await, None);
}

/// No other client has acquired the lock since, so the success is still the latest state.
#[tokio::test(start_paused = true)]
async fn success_after_the_lease_is_recorded_unless_taken_over() {
    for taken_over in [false, true] {
        let world = World::new();
        let host = world.host();
        let guard = start(&host).await;
        host.link.set_all(LinkFault::Hang);
        sleep(LEASE + secs(1)).await;
        assert!(!guard.is_valid());
        let other = if taken_over { Some(start(&world.host()).await) } else { None };
        host.link.heal();
        let result = guard.succeed().await;
        match (taken_over, result) {
            (false, Ok(())) => {}
            (true, Err(RecordError::Lost(lost))) => assert_eq!(lost.reason, LossReason::TakenOver),
            (_, result) => panic!("{taken_over}: {result:?}"),
        }
        drop(other);
    }
}

#[tokio::test(start_paused = true)]
async fn success_counts_from_the_start_of_the_run() {
    let world = World::new();
    let day = secs(24 * 3600);
    let run = async || {
        let once = world.host().lock().options().once().counts_for(day);
        let work = async |_: &Guard| {
            sleep(secs(3600)).await;
            Ok::<_, ()>(())
        };
        once.run(work).await.unwrap()
    };
    assert!(matches!(run().await, Once::Ran(())));
    // Dates have whole seconds.
    sleep(day - secs(3600) - secs(2)).await;
    let Once::Skipped(success) = run().await else { panic!("it counts") };
    assert!(success.until.unwrap() > success.started_at.unwrap() + day - secs(1));
    // The clocks of a host may drift by 0.5 % during the run.
    sleep(secs(8) + secs(3600) / 200).await;
    assert!(matches!(run().await, Once::Ran(())));
}

#[tokio::test(start_paused = true)]
async fn reset_success_forgets_exactly_that_success() {
    let world = World::new();
    let (lock, runs) = (world.host().lock(), Runs::default());
    let token = start(&world.host()).await.token();
    assert!(matches!(lock.reset_success(token).await, Err(ResetError::NotDone { .. })), "a run, not a success");
    sleep(ms(100)).await;
    assert_eq!(skips(&lock, &runs).await, None);
    let first = world.row("a").await.unwrap().token().unwrap();
    lock.reset_success(first).await.unwrap();
    assert!(world.is_free().await);
    assert_eq!(skips(&lock, &runs).await, None);
    assert!(matches!(lock.reset_success(first).await, Err(ResetError::NotDone { token }) if token == first));
    assert_eq!(skips(&lock, &runs).await.unwrap().token, world.row("a").await.unwrap().token().unwrap());
    assert_eq!(runs.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn other_kind_is_refused_and_left_as_it_is() {
    let world = World::new();
    let lock = world.host().lock();
    lock.acquire().await.unwrap().release().await.unwrap();
    let row = world.row("a").await;
    let result = lock.once(async |_| Ok::<_, ()>(())).await;
    let expected = RowError::OtherKind { found: Kind::Mutex, requested: Kind::Once };
    assert!(
        matches!(&result, Err(OnceError::Acquire(AcquireError::Row { error, .. })) if *error == expected),
        "{result:?}"
    );
    let reset = lock.reset_success(row.as_ref().unwrap().token().unwrap()).await;
    assert!(matches!(reset, Err(ResetError::Row { error, .. }) if error == expected));
    assert_eq!(world.row("a").await, row);
    let done = world.host().client().lock("b").unwrap();
    assert_eq!(skips(&done, &Runs::default()).await, None);
    let expected = RowError::OtherKind { found: Kind::Once, requested: Kind::Mutex };
    let result = done.acquire().await;
    assert!(matches!(&result, Err(AcquireError::Row { error, .. }) if *error == expected), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn invalid_time_of_a_success_is_an_error() {
    let host = World::new().host();
    for lasts in [Duration::ZERO, ms(999), secs(3651 * 24 * 3600)] {
        let result = host.lock().options().once().counts_for(lasts).run(async |_| Ok::<_, ()>(())).await;
        let is_config = matches!(
            &result,
            Err(OnceError::Acquire(AcquireError::Config(ConfigError::Success { lasts: found }))) if *found == lasts
        );
        assert!(is_config, "{result:?}");
    }
    assert!(host.link.calls().is_empty());
}
