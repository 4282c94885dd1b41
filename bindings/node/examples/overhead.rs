//! Rust half of `bench/overhead.js`.
//!
//! For each line of standard input, which contains a number, the program acquires and releases a lock this many times
//! and prints the elapsed nanoseconds.
#![allow(clippy::disallowed_methods)] // because it measures real time

use std::io::{BufRead, Write};
use std::time::Instant;

use dynamo_lock::{Client, store::StoreUrl};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("usage: overhead STORE_URL")?;
    let lock = Client::builder(StoreUrl::parse(&url)?.open().await?).build()?.lock("rust")?;
    for line in std::io::stdin().lock().lines() {
        let cycles: u32 = line?.trim().parse()?;
        let start = Instant::now();
        for _ in 0..cycles {
            lock.acquire().await?.release().await?;
        }
        writeln!(std::io::stdout(), "{}", start.elapsed().as_nanos())?;
    }
    Ok(())
}
