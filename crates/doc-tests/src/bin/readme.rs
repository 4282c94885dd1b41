//! The first program of the README, which a test compares with the document and runs.

use dynamo_lock::{Client, Guard, Sqlite};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::builder(Sqlite::open("locks.db")?).owner("worker-7").build()?;
    let lock = client.lock("orders/rebuild")?;
    let work = async |guard: &Guard| println!("rebuilding with token {}", guard.token());
    lock.with(work).await?; // waits for the lock, cancels the work if the lock is lost, and releases it
    client.close().await;
    Ok(())
}
