//! A worker that stops cleanly: on a signal, or when its lock is lost, whichever comes first.
//!
//! `cargo run -p dynamo-lock --example shutdown`

use std::error::Error;
use std::time::Duration;

use dynamo_lock::{Client, Memory};
use tokio_util::sync::CancellationToken;

/// The example itself.
#[tokio::main(flavor = "current_thread")]
pub async fn main() -> Result<(), Box<dyn Error>> {
    let client = Client::builder(Memory::new()).owner("the shutdown example").lease(Duration::from_secs(5)).build()?;
    let guard = client.lock("consumer/7")?.acquire().await?;

    // Everything that must not go on without the lock listens to this.
    let stop = guard.cancellation();
    let worker = tokio::spawn(consume(stop.clone()));

    // Stands for a signal.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    tokio::select! {
        loss = guard.lost() => println!("lost: {loss:?}"),
        () = std::future::ready(()) => println!("asked to stop"),
    }
    // First the work ends, then the lock is given up.
    stop.cancel();
    println!("consumed {} messages", worker.await?);
    guard.release().await?;

    // Waits, within bounds, for what dropped guards and futures left to the background.
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
