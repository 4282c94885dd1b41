//! The queue of the waiters of one client.

mod errors;
mod fairness;
mod handover;
mod order;
mod runtimes;
mod unpolled;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use dynamo_lock::{AcquireError, Client, FencingToken, Guard};
use test_support::{acquire, ms};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Starts a task that waits for the lock `a`. It has its place in the queue when this returns.
async fn start_waiter(client: &Client) -> JoinHandle<Result<Guard, AcquireError>> {
    let lock = client.lock("a").unwrap();
    let waiter = tokio::spawn(async move { lock.acquire().await });
    tokio::task::yield_now().await;
    waiter
}

/// Acquires the lock `a`, works for 10 ms, and releases it. Returns the token.
async fn work(client: &Client) -> FencingToken {
    let guard = acquire(client).await;
    sleep(ms(10)).await;
    let token = guard.token();
    guard.release().await.unwrap();
    token
}

/// An acquisition that is polled only by [`poll`](Self::poll).
struct Unpolled(Pin<Box<dyn Future<Output = Result<Guard, AcquireError>>>>);

impl Unpolled {
    /// Begins an acquisition of the lock `a`, and polls it once.
    fn begin(client: &Client) -> Self {
        let lock = client.lock("a").unwrap();
        let mut future = Self(Box::pin(async move { lock.acquire().await }));
        assert!(future.poll().is_none(), "it has to wait");
        future
    }

    /// Polls the future once, and returns its output if it has ended.
    fn poll(&mut self) -> Option<Result<Guard, AcquireError>> {
        match self.0.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }
}
