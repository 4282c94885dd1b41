//! A worker that stops when the process is asked to stop, or when its lock is lost.
//!
//! Run it with `cargo run -p dynamo-lock --example shutdown`.

use std::error::Error;
use std::time::Duration;

use dynamo_lock::{Client, Memory};
use tokio_util::sync::CancellationToken;

/// Runs the example.
#[tokio::main(flavor = "current_thread")]
pub async fn main() -> Result<(), Box<dyn Error>> {
    let client = Client::builder(Memory::new()).owner("shutdown example").lease(Duration::from_secs(5)).build()?;
    let guard = client.lock("consumer/7")?.acquire().await?;

    // Every task that must stop without the lock gets a token.
    let stop = guard.cancellation();
    let worker = tokio::spawn(consume(stop.clone()));

    // Let the worker run until the signal arrives. A real program waits for a signal of the operating system here.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    tokio::select! {
        loss = guard.lost() => println!("lost: {loss:?}"),
        () = std::future::ready(()) => println!("asked to stop"),
    }
    // Stop the work before releasing the lock.
    stop.cancel();
    println!("consumed {} messages", worker.await?);
    guard.release().await?;

    // Wait for the releases of dropped guards before the runtime ends.
    client.close().await;
    Ok(())
}

async fn consume(stop: CancellationToken) -> u32 {
    let mut messages = 0;
    while !stop.is_cancelled() {
        tokio::task::yield_now().await;
        messages += 1;
    }
    messages
}
