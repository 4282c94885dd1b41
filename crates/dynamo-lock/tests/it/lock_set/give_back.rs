//! Locks that are given back while others are awaited: after a loss, a time limit or a dropped future.

use std::future::Future;
use std::time::Duration;

use dynamo_lock::AcquireError;
use test_support::{LEASE, LinkFault, POLL_MAX, World, ms, secs};
use tokio::time::{sleep, timeout};

use super::{acquire_all, acquire_within, held, token_of, writes};

/// A client that keeps the rest after a loss and asks for the lost lock again waits for a client that waits for it.
#[tokio::test(start_paused = true)]
async fn loss_while_another_is_awaited_gives_all_back() {
    let world = World::new();
    let blocker = world.host().client().lock("c").unwrap().acquire().await.unwrap();
    let (host, other) = (world.host(), world.host().client());
    let client = host.client();
    let waiter = tokio::spawn(async move { acquire_all(&client, &["a", "b", "c"]).await });
    sleep(secs(1)).await;
    let token = token_of(&world, "a").await;
    other.lock("a").unwrap().force_revoke(token).await.unwrap();
    // The lock is free at once, so that this client gets it before the first one has noticed its loss.
    let guards = timeout(LEASE, acquire_all(&other, &["a", "b"])).await.expect("b was given back");
    assert!(guards.is_valid());
    sleep(secs(30)).await;
    assert!(!waiter.is_finished());
    guards.release().await.unwrap();
    blocker.release().await.unwrap();
    let guards = waiter.await.unwrap();
    assert!(guards.is_valid());
    let writes = writes(&host);
    let position = |write: &str| writes.iter().position(|sent| sent == write);
    assert!(position("release b") < writes.iter().rposition(|sent| sent == "acquire b"), "{writes:?}");
}

/// R5. The process is stopped until the lease of the first lock has ended, while the second one is acquired. No timer
/// of it has fired when the response arrives.
#[tokio::test(start_paused = true)]
async fn lock_lost_during_last_request_is_not_reported() {
    let world = World::without_dates();
    let host = world.host();
    let client = host.client();
    // The lease of a lock is valid for 9.89 s. The second acquire is sent 10 ms after the first one.
    let late = ms(9_890 + 5 - 10 - 10);
    let (mut acquires, mut renewals) = (0, 0);
    host.link.choose_faults(move |call| {
        acquires += u32::from(call.kind() == "acquire");
        renewals += u32::from(call.kind() == "renew");
        match call.kind() {
            "acquire" if acquires == 2 => LinkFault::Late(late),
            "renew" if renewals == 1 => LinkFault::Hang,
            _ => LinkFault::None,
        }
    });
    let waiter = tokio::spawn(async move {
        let guards = acquire_all(&client, &["a", "b"]).await;
        (guards.is_valid(), guards)
    });
    sleep(ms(12)).await;
    host.clock.stop();
    sleep(secs(12)).await;
    assert!(host.link.count("acquire") >= 2, "{:?}", writes(&host));
    host.clock.resume();
    let (was_valid, guards) = timeout(secs(60), waiter).await.expect("it acquires").unwrap();
    assert!(was_valid, "a lost lock was reported as held: {:?}", writes(&host));
    // Control: the first lock was lost, and all were acquired anew.
    assert_eq!(writes(&host).iter().filter(|sent| *sent == "acquire a").count(), 2, "{:?}", writes(&host));
    guards.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn time_limit_gives_all_back_before_it_returns() {
    let world = World::new();
    let _blocker = world.host().client().lock("c").unwrap().acquire().await.unwrap();
    let client = world.host().client();
    let error = acquire_within(&client, &["a", "b", "c"], secs(3)).await.unwrap_err();
    assert!(matches!(error.error, AcquireError::TimedOut { .. }) && error.name.as_str() == "c", "{error}");
    assert_eq!(held(&world, &["a", "b", "c"]).await, ["c"]);
}

/// The releases are repeated in the background if they are not answered at once.
#[tokio::test(start_paused = true)]
async fn time_limit_is_kept_while_releases_hang() {
    let world = World::new();
    let _blocker = world.host().client().lock("c").unwrap().acquire().await.unwrap();
    let host = world.host();
    host.link.set_next("release", [LinkFault::Hang, LinkFault::Hang]);
    let (client, asked) = (host.client(), world.time());
    acquire_within(&client, &["a", "b", "c"], secs(3)).await.unwrap_err();
    assert!(world.time() - asked <= secs(3) + LEASE / 2, "{:?}", world.time() - asked);
    client.close().await;
    assert_eq!(held(&world, &["a", "b", "c"]).await, ["c"]);
}

/// A loss that is noticed after the limit ends the acquisition.
#[tokio::test(start_paused = true)]
async fn loss_after_the_limit_is_not_followed_by_another_round() {
    let world = World::new();
    let host = world.host();
    let client = host.client();
    host.link.set_all_of("acquire", LinkFault::Late(secs(2)));
    let waiter = tokio::spawn(async move { acquire_within(&client, &["a", "b", "c"], secs(3)).await });
    sleep(ms(2_500)).await;
    let token = token_of(&world, "a").await;
    world.host().client().lock("a").unwrap().force_revoke(token).await.unwrap();
    let error = waiter.await.unwrap().unwrap_err();
    assert!(matches!(error.error, AcquireError::TimedOut { .. }) && error.name.as_str() == "a", "{error}");
    assert!(world.time() <= secs(10), "{:?}", world.time());
    sleep(secs(10)).await;
    assert_eq!(held(&world, &["a", "b", "c"]).await, [""; 0]);
}

/// Polls `work` at most `polls` times, and then drops it. Returns its output if it had ended.
async fn poll_at_most<F: Future>(polls: usize, work: F) -> Option<F::Output> {
    let (mut work, mut left) = (Box::pin(work), polls);
    std::future::poll_fn(move |cx| {
        left -= 1;
        match work.as_mut().poll(cx) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending if left == 0 => std::task::Poll::Ready(None),
            std::task::Poll::Pending => std::task::Poll::Pending,
        }
    })
    .await
}

/// Drops an acquisition of three locks after `polls` polls. Returns whether it had ended by then.
async fn drop_after(polls: usize, wait: Duration, fault: Option<LinkFault>) -> bool {
    let world = World::new();
    let blocker = world.host().client().lock("b").unwrap().acquire().await.unwrap();
    tokio::spawn(async move {
        sleep(wait).await;
        blocker.release().await.unwrap();
    });
    let host = world.host();
    host.link.set_next("acquire", fault.clone());
    let client = host.client();
    let locks = client.lock_all(["a", "b", "c"]).unwrap();
    let output = poll_at_most(polls, async move { locks.acquire().await }).await;
    let done = output.is_some();
    drop(output.map(Result::unwrap));
    client.close().await;
    sleep(secs(2)).await;
    let case = format!("{fault:?}, dropped after {polls} polls");
    assert_eq!(held(&world, &["a", "b", "c"]).await, [""; 0], "{case}: {:?}", writes(&host));
    done
}

#[tokio::test(start_paused = true)]
async fn acquisition_dropped_at_any_await_leaves_all_free() {
    for fault in [None, Some(LinkFault::LoseAnswer), Some(LinkFault::Late(secs(1)))] {
        let mut polls = 1;
        while !drop_after(polls, secs(1), fault.clone()).await {
            polls += 1;
            assert!(polls < 1_000, "{fault:?}: never done");
        }
        assert!(polls >= 6, "{fault:?}: done after {polls} polls, so nothing was dropped");
    }
}

/// The row of a client that waits in vain is taken over by others only after its lease, so all releases are sent.
#[tokio::test(start_paused = true)]
async fn failed_attempts_leave_locks_to_other_waiters() {
    let world = World::new();
    let _blocker = world.host().client().lock("z").unwrap().acquire().await.unwrap();
    let (client, other) = (world.host().client(), world.host().client());
    for _ in 0..10 {
        acquire_within(&client, &["a", "z"], ms(500)).await.unwrap_err();
        let asked = world.time();
        let guard = other.lock("a").unwrap().acquire_within(LEASE).await.unwrap();
        assert!(world.time() - asked <= POLL_MAX, "{:?}", world.time() - asked);
        guard.release().await.unwrap();
    }
}

/// `close` ends waiting acquisitions, and the locks that they hold are released.
#[tokio::test(start_paused = true)]
async fn close_ends_the_wait_and_gives_all_back() {
    let world = World::new();
    let _blocker = world.host().client().lock("b").unwrap().acquire().await.unwrap();
    let client = world.host().client();
    let waiter = tokio::spawn({
        let client = client.clone();
        async move { client.lock_all(["a", "b"]).unwrap().acquire().await }
    });
    sleep(secs(5)).await;
    client.close().await;
    let error = waiter.await.unwrap().unwrap_err();
    assert!(matches!(error.error, AcquireError::Store(_)) && error.name.as_str() == "b", "{error}");
    assert_eq!(held(&world, &["a", "b"]).await, ["b"]);
}
