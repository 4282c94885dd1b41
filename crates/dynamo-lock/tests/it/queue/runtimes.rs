//! Runtimes that end, or that are not driven, while their tasks wait.

use std::sync::mpsc;

use dynamo_lock::{Client, Memory};
use test_support::{acquire, secs};
use tokio::runtime::{Builder, Runtime};

use crate::runtimes::{SteppedClock, runtime};

fn threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime starts")
}

/// Starts a waiter on `runtime` that sends its token when it has the lock. It has its place when this returns.
fn start_on(runtime: &Runtime, client: &Client, tokens: &mpsc::Sender<u64>) {
    let (client, tokens, (begun, began)) = (client.clone(), tokens.clone(), mpsc::channel());
    runtime.spawn(async move {
        let lock = client.lock("a").unwrap();
        let mut acquire = Box::pin(lock.acquire());
        let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(acquire.as_mut().poll(cx)));
        assert!(polled.await.is_pending(), "it waits");
        begun.send(()).unwrap();
        let guard = acquire.await.unwrap();
        tokens.send(guard.token().get()).unwrap();
        guard.release().await.unwrap();
    });
    began.recv().unwrap();
}

/// The first waiter and the driver of the queue run on a runtime that is shut down.
#[test]
fn runtime_of_another_waiter_takes_over() {
    for first in [runtime(), threads()] {
        let client = Client::builder(Memory::new()).lease(secs(1)).build().unwrap();
        let other = Client::builder(Memory::new()).build().unwrap();
        let (holder, second) = (threads(), threads());
        let guard = holder.block_on(acquire(&client));
        let (tokens, received) = mpsc::channel();
        let handle = first.handle().clone();
        let begin = client.clone();
        // It is polled once on the first runtime, and is not dropped with it.
        let lock = begin.lock("a").unwrap();
        let mut waiting = Box::pin(lock.acquire());
        first.block_on(async {
            std::future::poll_fn(|cx| {
                assert!(waiting.as_mut().poll(cx).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
        });
        start_on(&second, &client, &tokens);
        first.shutdown_background();
        drop(handle);
        holder.block_on(guard.release()).unwrap();
        drop(waiting);
        received.recv_timeout(secs(60)).expect("the second waiter acquires the lock");
        drop(other);
    }
}

/// The first waiter is polled once, and its runtime is never driven again.
#[test]
fn undriven_runtime_of_first_waiter_is_replaced() {
    let client = Client::builder(Memory::new()).clock(SteppedClock::default()).build().unwrap();
    let (idle, driven) = (runtime(), runtime());
    let guard = driven.block_on(acquire(&client));
    let lock = client.lock("a").unwrap();
    let mut first = Box::pin(lock.acquire());
    idle.block_on(std::future::poll_fn(|cx| {
        assert!(first.as_mut().poll(cx).is_pending());
        std::task::Poll::Ready(())
    }));
    driven.block_on(async {
        let client = client.clone();
        let second = tokio::spawn(async move { acquire(&client).await });
        tokio::task::yield_now().await;
        guard.release().await.unwrap();
        // By the watch of the second waiter, and after half a validity of the first one.
        assert!(second.await.unwrap().is_valid());
    });
}
