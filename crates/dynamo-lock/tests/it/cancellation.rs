//! Acquisitions that are dropped, aborted or timed out while a request is in flight.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use dynamo_lock::{AcquireError, Client};
use test_support::{Host, LEASE, LinkFault, POLL_MAX, Rng, World, ms, secs};
use tokio::time::sleep;

/// Future that polls `inner` at most `left` times and then drops it. Its output is `None` if `inner` had not ended.
struct PollAtMost<F> {
    inner: Pin<Box<F>>,
    left: usize,
}

impl<F: Future> Future for PollAtMost<F> {
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

/// Polls `work` at most `polls` times, and then drops it. Returns its output if it had ended.
async fn poll_at_most<F: Future>(polls: usize, work: F) -> Option<F::Output> {
    PollAtMost { inner: Box::pin(work), left: polls }.await
}

/// State of the lock before an acquisition.
#[derive(Clone, Copy, Debug)]
enum Before {
    Free,
    /// Held, and released after a second.
    ReleasedSoon,
    /// The holder crashed, and its lease has expired.
    Expired,
}

const ALL: [Before; 3] = [Before::Free, Before::ReleasedSoon, Before::Expired];

impl Before {
    async fn set_up(self, world: &World) {
        match self {
            Self::Free => {}
            Self::ReleasedSoon => {
                let guard = world.host().acquire().await;
                tokio::spawn(async move {
                    sleep(secs(1)).await;
                    guard.release().await.unwrap();
                });
            }
            Self::Expired => {
                world.crash_holder_after(secs(2)).await;
                sleep(secs(30)).await;
            }
        }
    }

    /// Applies `fault` to the first write that could acquire the lock.
    fn set_fault(self, host: &Host, fault: Option<LinkFault>) {
        let kind = if matches!(self, Self::Expired) { "take over" } else { "acquire" };
        host.link.set_next(kind, fault);
    }
}

async fn is_held_by(world: &World, owner: &str) -> bool {
    let row = world.row("a").await;
    row.is_some_and(|row| row.text("owner").is_some_and(|label| label.starts_with(owner)))
}

/// Acquires and releases the lock on a new host. Returns the time that this took.
async fn time_of_next(world: &World) -> Duration {
    let asked = world.time();
    world.host().acquire().await.release().await.unwrap();
    world.time() - asked
}

/// Drops an acquisition after `polls` polls. Returns whether it had ended by then.
async fn drop_after(polls: usize, before: Before, fault: Option<LinkFault>, applies_later: bool) -> bool {
    let world = World::new();
    before.set_up(&world).await;
    let host = world.host();
    before.set_fault(&host, fault.clone());
    let client = host.builder().owner("dropped").build().unwrap();
    let lock = client.lock("a").unwrap();
    let case = format!("{before:?}, {fault:?}, dropped after {polls} polls");
    let output = poll_at_most(polls, async move { lock.acquire().await }).await;
    let done = output.is_some();
    drop(output.map(|guard| guard.expect("acquire waits")));
    let dropped = world.time();
    client.close().await;
    assert!(world.time() - dropped <= LEASE, "{case}: closing took {:?}", world.time() - dropped);
    if !applies_later {
        assert!(!is_held_by(&world, "dropped").await, "{case}: {:?}", world.row("a").await);
    }
    sleep(secs(5)).await;
    let waited = time_of_next(&world).await;
    let most = if applies_later { LEASE + POLL_MAX } else { POLL_MAX };
    assert!(waited <= most, "{case}: the next one waited {waited:?}");
    done
}

/// Lesson 15. A request that is applied after the clean-up leaves an orphaned lease, which expires by itself.
#[tokio::test(start_paused = true)]
async fn acquire_dropped_at_any_await_leaves_lock_free() {
    let faults = [
        (None, false),
        (Some(LinkFault::LoseRequest), false),
        (Some(LinkFault::LoseAnswer), false),
        (Some(LinkFault::HangAfter), false),
        (Some(LinkFault::Late(secs(1))), false),
        (Some(LinkFault::Throttle), false),
        (Some(LinkFault::Late(secs(4))), true),
        (Some(LinkFault::LoseAnswerAndLand(secs(3))), true),
        (Some(LinkFault::Twice(secs(3))), true),
    ];
    for before in ALL {
        for (fault, applies_later) in faults.clone() {
            let mut polls = 1;
            while !drop_after(polls, before, fault.clone(), applies_later).await {
                polls += 1;
                assert!(polls < 1_000, "{before:?}, {fault:?}: never done");
            }
            assert!(polls >= 3, "{before:?}, {fault:?}: done after {polls} polls, so nothing was dropped");
        }
    }
}

/// Applies a fault to two in five requests. No request is applied later than 3 s after it was sent.
fn set_random_faults(host: &Host, mut rng: Rng) {
    host.link.choose_faults(move |_| {
        let delay = ms(rng.below(3_000));
        match rng.below(20) {
            0 => LinkFault::LoseRequest,
            1 | 2 => LinkFault::LoseAnswer,
            3 => LinkFault::HangAfter,
            4 => LinkFault::Late(delay),
            5 => LinkFault::Twice(delay),
            6 => LinkFault::LoseAnswerAndLand(delay),
            7 => LinkFault::Throttle,
            _ => LinkFault::None,
        }
    });
}

/// Lesson 15.
#[tokio::test(start_paused = true)]
async fn next_acquires_within_a_lease_of_a_drop_despite_faults() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let before = ALL[rng.below(3) as usize];
        let polls = 1 + rng.below(40) as usize;
        let world = World::new();
        before.set_up(&world).await;
        let host = world.host();
        set_random_faults(&host, rng);
        let client = host.client();
        let lock = client.lock("a").unwrap();
        drop(poll_at_most(polls, async move { lock.acquire().await }).await);
        let dropped = world.time();
        client.close().await;
        assert!(world.time() - dropped <= LEASE, "seed {seed}: closing took {:?}", world.time() - dropped);
        sleep(secs(5).saturating_sub(world.time() - dropped)).await;
        let waited = time_of_next(&world).await;
        assert!(waited <= LEASE + POLL_MAX, "seed {seed}: the next one waited {waited:?}");
    }
}

/// Lesson 15.
#[tokio::test(start_paused = true)]
async fn guard_in_aborted_task_is_released() {
    let world = World::new();
    let client = world.host().client();
    let lock = client.lock("a").unwrap();
    let task = tokio::spawn(async move {
        let _guard = lock.acquire().await.unwrap();
        std::future::pending::<()>().await;
    });
    sleep(secs(1)).await;
    assert!(!world.is_free().await);
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    client.close().await;
    assert!(world.is_free().await);
}

/// Makes one attempt with a limit. Returns its error, or `None` if it acquired the lock.
async fn acquire_within(client: &Client, limit: Duration) -> Option<AcquireError> {
    match client.lock("a").unwrap().acquire_within(limit).await {
        Ok(guard) => {
            assert!(guard.is_valid());
            guard.release().await.unwrap();
            None
        }
        Err(error) => Some(error),
    }
}

/// Lesson 28.
#[tokio::test(start_paused = true)]
async fn acquire_within_never_times_out_while_holding() {
    // Each fault, and whether it applies a request after the attempt has ended.
    let faults = [
        (LinkFault::LoseAnswer, false),
        (LinkFault::HangAfter, false),
        (LinkFault::Late(ms(300)), false),
        (LinkFault::Late(ms(2_400)), false),
        (LinkFault::Twice(ms(40)), false),
        (LinkFault::Late(secs(4)), true),
        (LinkFault::LoseAnswerAndLand(secs(3)), true),
    ];
    let mut timed_out = 0;
    for before in ALL {
        for (fault, applies_later) in &faults {
            for limit in (0..40).map(|step| step * 5).chain((4..60).map(|step| step * 50)) {
                let world = World::new();
                before.set_up(&world).await;
                let host = world.host();
                before.set_fault(&host, Some(fault.clone()));
                let client = host.builder().owner("timed").build().unwrap();
                let case = format!("{before:?}, {fault:?}, limit {limit} ms");
                let asked = world.time();
                let Some(error) = acquire_within(&client, ms(limit)).await else { continue };
                let ended = matches!(error, AcquireError::TimedOut { .. } | AcquireError::Store(_));
                assert!(ended, "{case}: {error}");
                timed_out += 1;
                let took = world.time() - asked;
                // A request in flight and its clean-up take at most a quarter of the lease each.
                assert!(took <= ms(limit) + LEASE / 2, "{case}: took {took:?}");
                assert!(!is_held_by(&world, "timed").await, "{case}: {:?}", world.row("a").await);
                sleep(secs(5)).await;
                assert!(*applies_later || !is_held_by(&world, "timed").await, "{case}: it is held later");
                let waited = time_of_next(&world).await;
                assert!(waited <= LEASE + POLL_MAX, "{case}: the next one waited {waited:?}");
            }
        }
    }
    assert!(timed_out > 100, "only {timed_out} attempts timed out: the test shows nothing");
}
