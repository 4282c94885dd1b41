//! A lock that several processes of one machine share through a SQLite file. Start the example twice at the same time.
//!
//! Run it with `cargo run -p dynamo-lock --example lock --features sqlite`.

use std::error::Error;
use std::time::Duration;

use dynamo_lock::{Client, Sqlite};

/// Runs the example.
#[tokio::main(flavor = "current_thread")]
pub async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::temp_dir().join(format!("dynamo-lock-example-{}", nix::unistd::getuid()));
    std::fs::create_dir_all(&path)?;
    let client = Client::builder(Sqlite::open(path.join("locks.db"))?)
        .owner("lock example")
        .lease(Duration::from_secs(5))
        .build()?;

    let lock = client.lock("orders/rebuild")?;
    let guard = lock.acquire().await?;
    let sum = guard.run(rebuild()).await?; // cancelled if the lease is lost
    println!("rebuilt {sum} orders under token {}", guard.token());
    guard.release().await?;

    // The same in one call.
    let sum = lock.with(async |_| rebuild().await).await?;
    println!("rebuilt {sum} orders again");
    Ok(())
}

async fn rebuild() -> u32 {
    let mut sum = 0;
    for part in 1..=10 {
        tokio::task::yield_now().await;
        sum += part;
    }
    sum
}
