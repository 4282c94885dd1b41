//! The Rust half of `bench/overhead.js`: acquires and releases as often as each line of its standard input says, and prints
//! how many nanoseconds that took.
#![allow(clippy::disallowed_methods)] // it measures

use std::io::{BufRead, Write};
use std::time::Instant;

use dynamo_lock::{Client, store::StoreUrl};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("a store's URL is needed")?;
    let lock = Client::builder(StoreUrl::parse(&url)?.open().await?).build()?.lock("rust")?;
    for line in std::io::stdin().lock().lines() {
        let times: u32 = line?.trim().parse()?;
        let began = Instant::now();
        for _ in 0..times {
            lock.acquire().await?.release().await?;
        }
        writeln!(std::io::stdout(), "{}", began.elapsed().as_nanos())?;
    }
    Ok(())
}
