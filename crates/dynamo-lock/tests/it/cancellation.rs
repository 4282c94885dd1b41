//! Lessons from acquisitions that were dropped or timed out while they won. `docs/lessons.md` names each.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use dynamo_lock::{AcquireError, Client};
use test_support::hosts::{Fault, Host, World, dice};
use tokio::time::sleep;

const LEASE: Duration = Duration::from_secs(10);
/// The longest pause between two polls of such a lease, and the round trips of a takeover.
const POLL: Duration = Duration::from_millis(550);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A future that is polled so many times, and then dropped; its output, if it was done by then.
struct Polled<F> {
    inner: Pin<Box<F>>,
    left: usize,
}

impl<F: Future> Future for Polled<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.left -= 1;
        match self.inner.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// How the lock stands when it is asked for.
#[derive(Clone, Copy, Debug)]
enum Before {
    /// Nobody holds it.
    Free,
    /// Somebody does, and releases it after a second.
    ReleasedSoon,
    /// Its holder crashed long ago.
    Dead,
}

impl Before {
    async fn arrange(self, world: &World) {
        let host = world.host();
        let lock = host.client().lock("a").unwrap();
        match self {
            Self::Free => {}
            Self::ReleasedSoon => {
                let guard = lock.acquire().await.unwrap();
                tokio::spawn(async move {
                    sleep(ms(1_000)).await;
                    guard.release().await.unwrap();
                });
            }
            Self::Dead => {
                let guard = lock.acquire().await.unwrap();
                sleep(ms(2_000)).await;
                host.link.all(Fault::Hang);
                sleep(ms(30_000)).await;
                std::mem::forget(guard);
            }
        }
    }
}

/// The first write that could win meets this fault; all else is well.
fn first_write(host: &Host, before: Before, fault: Option<Fault>) {
    let kind = if matches!(before, Before::Dead) { "take over" } else { "acquire" };
    let mut fault = fault;
    host.link.rule(move |call| if call.kind() == kind { fault.take().unwrap_or(Fault::None) } else { Fault::None });
}

/// Drops an acquisition after so many polls. Says whether it was done by then.
async fn dropped_after(polls: usize, before: Before, fault: Option<Fault>, lands_later: bool) -> bool {
    let world = World::new();
    before.arrange(&world).await;
    let host = world.host();
    first_write(&host, before, fault.clone());
    let client = host.builder().owner("dropped").build().unwrap();
    let lock = client.lock("a").unwrap();
    let case = format!("{before:?}, {fault:?}, dropped after {polls} polls");
    let output = Polled { inner: Box::pin(async move { lock.acquire().await }), left: polls }.await;
    let done = output.is_some();
    drop(output.map(|guard| guard.expect("it waits")));
    let dropped = world.time();
    client.close().await;
    assert!(world.time() - dropped <= LEASE, "{case}: closing took {:?}", world.time() - dropped);
    if !lands_later {
        assert!(!is_held_by(&world, "dropped").await, "{case}: {:?}", world.row("a").await);
    }
    // Whatever is left, others are in after one lease at most.
    sleep(ms(5_000)).await;
    let asked = world.time();
    world.host().client().lock("a").unwrap().acquire().await.unwrap().release().await.unwrap();
    let waited = world.time() - asked;
    let most = if lands_later { LEASE + POLL } else { POLL };
    assert!(waited <= most, "{case}: the next one waited {waited:?}");
    done
}

async fn is_held_by(world: &World, label: &str) -> bool {
    let row = world.row("a").await;
    row.is_some_and(|row| row.text("owner").is_some_and(|owner| owner.starts_with(label)))
}

#[tokio::test(start_paused = true)]
async fn lesson_15_a_future_dropped_at_every_await_leaves_nothing_behind() {
    let faults = [
        (None, false),
        (Some(Fault::LoseRequest), false),
        (Some(Fault::LoseAnswer), false),
        (Some(Fault::HangAfter), false),
        (Some(Fault::Late(ms(1_000))), false),
        (Some(Fault::Throttle), false),
        // These land when nobody waits for them any more: a row that is over within its lease.
        (Some(Fault::Late(ms(4_000))), true),
        (Some(Fault::LoseAnswerAndLand(ms(3_000))), true),
        (Some(Fault::Twice(ms(3_000))), true),
    ];
    for before in [Before::Free, Before::ReleasedSoon, Before::Dead] {
        for (fault, lands_later) in faults.clone() {
            let mut polls = 1;
            while !dropped_after(polls, before, fault.clone(), lands_later).await {
                polls += 1;
                assert!(polls < 1_000, "{before:?}, {fault:?}: never done");
            }
            assert!(polls >= 3, "{before:?}, {fault:?}: done after {polls} polls, so nothing was dropped");
        }
    }
}

/// Two in five requests of any kind meet some fault; nothing lands later than 3 s after it was sent.
fn anything(host: &Host, mut luck: impl FnMut() -> u64 + Send + 'static) {
    host.link.rule(move |_| {
        let delay = ms(luck() % 3_000);
        match luck() % 20 {
            0 => Fault::LoseRequest,
            1 | 2 => Fault::LoseAnswer,
            3 => Fault::HangAfter,
            4 => Fault::Late(delay),
            5 => Fault::Twice(delay),
            6 => Fault::LoseAnswerAndLand(delay),
            7 => Fault::Throttle,
            _ => Fault::None,
        }
    });
}

#[tokio::test(start_paused = true)]
async fn lesson_15_whatever_went_wrong_others_are_in_one_lease_after_a_drop() {
    for seed in 0..300 {
        let mut luck = dice(seed);
        let before = [Before::Free, Before::ReleasedSoon, Before::Dead][(luck() % 3) as usize];
        let polls = 1 + (luck() % 40) as usize;
        let world = World::new();
        before.arrange(&world).await;
        let host = world.host();
        anything(&host, luck);
        let client = host.client();
        let lock = client.lock("a").unwrap();
        drop(Polled { inner: Box::pin(async move { lock.acquire().await }), left: polls }.await);
        let dropped = world.time();
        client.close().await;
        assert!(world.time() - dropped <= LEASE, "seed {seed}: closing took {:?}", world.time() - dropped);
        sleep(ms(5_000).saturating_sub(world.time() - dropped)).await;
        let asked = world.time();
        world.host().client().lock("a").unwrap().acquire().await.unwrap().release().await.unwrap();
        assert!(world.time() - asked <= LEASE + POLL, "seed {seed}: the next one waited {:?}", world.time() - asked);
    }
}

#[tokio::test(start_paused = true)]
async fn lesson_15_a_guard_that_nobody_took_out_of_its_task_is_released() {
    let world = World::new();
    let client = world.host().client();
    let lock = client.lock("a").unwrap();
    let task = tokio::spawn(async move {
        let _guard = lock.acquire().await.unwrap();
        std::future::pending::<()>().await;
    });
    sleep(ms(1_000)).await;
    assert!(!world.is_free("a").await);
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    client.close().await;
    assert!(world.is_free("a").await);
}

/// One timed attempt. `None` if it got the lock.
async fn timed(client: &Client, limit: Duration) -> Option<AcquireError> {
    let guard = client.lock("a").unwrap().acquire_within(limit).await;
    match guard {
        Ok(guard) => {
            assert!(guard.is_valid());
            guard.release().await.unwrap();
            None
        }
        Err(error) => Some(error),
    }
}

#[tokio::test(start_paused = true)]
async fn lesson_28_acquire_within_never_says_timed_out_while_holding() {
    // Each fault, and whether what it leaves lands after everybody has given up.
    let faults = [
        (Fault::LoseAnswer, false),
        (Fault::HangAfter, false),
        (Fault::Late(ms(300)), false),
        (Fault::Late(ms(2_400)), false),
        (Fault::Twice(ms(40)), false),
        (Fault::Late(ms(4_000)), true),
        (Fault::LoseAnswerAndLand(ms(3_000)), true),
    ];
    let mut timed_out = 0;
    for before in [Before::Free, Before::ReleasedSoon, Before::Dead] {
        for (fault, lands_later) in &faults {
            for limit in (0..40).map(|step| step * 5).chain((4..60).map(|step| step * 50)) {
                let world = World::new();
                before.arrange(&world).await;
                let host = world.host();
                first_write(&host, before, Some(fault.clone()));
                let client = host.builder().owner("timed").build().unwrap();
                let case = format!("{before:?}, {fault:?}, limit {limit} ms");
                let asked = world.time();
                let Some(error) = timed(&client, ms(limit)).await else { continue };
                assert!(matches!(error, AcquireError::TimedOut { .. }), "{case}: {error}");
                timed_out += 1;
                let took = world.time() - asked;
                // A request in flight, and its clean-up: a quarter of the lease each.
                assert!(took <= ms(limit) + LEASE / 2, "{case}: took {took:?}");
                assert!(!is_held_by(&world, "timed").await, "{case}: {:?}", world.row("a").await);
                sleep(ms(5_000)).await;
                assert!(*lands_later || !is_held_by(&world, "timed").await, "{case}: it is held later");
                let asked = world.time();
                world.host().client().lock("a").unwrap().acquire().await.unwrap().release().await.unwrap();
                assert!(world.time() - asked <= LEASE + POLL, "{case}: the next one waited {:?}", world.time() - asked);
            }
        }
    }
    assert!(timed_out > 100, "only {timed_out} attempts timed out: too few to show anything");
}
