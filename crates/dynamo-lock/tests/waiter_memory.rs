//! Memory of the waiters of one client, counted by the allocator. A binary of its own, because it replaces the
//! allocator.
#![allow(unsafe_code)] // an allocator

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};
use std::time::Duration;

use dynamo_lock::{Client, Memory};

/// Number of bytes that are allocated now.
static BYTES: AtomicIsize = AtomicIsize::new(0);

/// The allocator of the system, which counts bytes.
struct Counting;

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size() as isize, Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size() as isize, Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Counts the waiters with their futures and tasks, and with a limit, which needs a timer of its own.
#[tokio::test(start_paused = true)]
async fn local_waiter_needs_at_most_two_kib() {
    const WAITERS: isize = 1_000;
    let client = Client::builder(Memory::new()).build().expect("valid");
    let lock = client.lock("a").expect("valid");
    let guard = lock.acquire().await.expect("free");
    let mut waiters = Vec::with_capacity(WAITERS as usize + 10);
    let start = || {
        let lock = lock.clone();
        tokio::spawn(async move { lock.acquire_within(Duration::from_secs(3600)).await })
    };
    // The first waiters have the task of the queue made.
    waiters.extend((0..10).map(|_| start()));
    tokio::task::yield_now().await;
    let before = BYTES.load(Relaxed);
    waiters.extend((0..WAITERS).map(|_| start()));
    tokio::task::yield_now().await;
    let each = (BYTES.load(Relaxed) - before) / WAITERS;
    println!("{each} bytes for each waiter");
    assert!(each <= 2_048, "{each} bytes for each waiter");
    assert!(each > 200, "control: {each} bytes for each waiter");
    drop(guard);
    for waiter in waiters {
        waiter.await.expect("no panic").expect("acquires").release().await.expect("held");
    }
    client.close().await;
    let left = BYTES.load(Relaxed) - before;
    assert!(left < 16 * 1024, "{left} bytes are left after all waits");
}
