//! `--at-least`: a lock is kept for a while even if its command was quick, so that hosts whose clocks differ do not run
//! one job twice.

use std::future::Future;
use std::time::Duration;

use dynamo_lock::{Clock, Guard, Moment, SystemClock};

/// Waits until the lock was held for `at_least` since it was taken. A signal, or its loss, ends the wait.
pub async fn stay<S>(guard: &Guard, taken: Moment, at_least: Option<Duration>, signal: impl Future<Output = S>) {
    // The smaller clock: others are kept out for no less than was asked.
    let held = SystemClock.now().waiter_elapsed_since(taken);
    let Some(rest) = at_least.and_then(|at_least| at_least.checked_sub(held)) else { return };
    tokio::select! {
        biased;
        _ = signal => {}
        _ = guard.lost() => {}
        () = SystemClock.sleep(rest) => {}
    }
}
