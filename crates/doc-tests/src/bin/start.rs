//! The first program of the quick start, which a test compares with the document and runs.

use dynamo_lock::{AcquireError, Client, Sqlite, TryAcquire};
use std::time::Duration;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Opening is not asynchronous. The file is created if it is missing.
    let client = Client::builder(Sqlite::open("locks.db")?).owner("worker-7").build()?;
    let lock = client.lock("orders/rebuild")?;

    let guard = lock.acquire().await?; // waits for the current holder
    println!("acquired: {}", guard.is_valid());

    // The lock is held, so the next two calls do not acquire it.
    if let TryAcquire::Held(holder) = lock.try_acquire().await? {
        println!("held with the same token: {}", holder.token == Some(guard.token()));
    }
    match lock.acquire_within(Duration::from_millis(10)).await {
        Err(AcquireError::TimedOut { .. }) => println!("not acquired in 10 ms"),
        other => println!("unexpected: {other:?}"),
    }

    let sum = guard.run(async { 1 + 1 }).await?; // cancels the work if the lock is lost
    println!("the work returned {sum}");
    guard.release().await?; // dropping the guard releases it too, but hides errors

    client.close().await; // waits for background work, for a limited time
    Ok(())
}
