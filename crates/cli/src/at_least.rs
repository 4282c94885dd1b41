//! `--at-least`: a lock is kept for a while even if its command was quick, so that hosts whose clocks differ do not run
//! one job twice.

use std::future::Future;
use std::time::Duration;

use crate::clock::{ClockReading, SystemClock};
use dynamo_lock::Guard;

use crate::plan::RunTask;
use crate::print;

/// What lasts no longer is not spoken of.
const BRIEF: Duration = Duration::from_secs(1);

/// Waits until the lock was held for as long as asked since it was taken. A signal, or its loss, ends the wait.
pub async fn stay<S>(guard: &Guard, taken: ClockReading, task: &RunTask, signal: impl Future<Output = S>) {
    // The smaller clock: others are kept out for no less than was asked.
    let held = SystemClock.now().waiter_elapsed_since(taken);
    let Some(rest) = task.at_least.and_then(|at_least| at_least.checked_sub(held)) else { return };
    if rest > BRIEF && !task.quiet {
        let rest = print::span(rest);
        let _by_itself =
            print::aside(&format!("the command has ended; the lock is kept for another {rest} (--at-least)"));
    }
    tokio::select! {
        biased;
        _ = signal => {}
        _ = guard.lost() => {}
        () = SystemClock.sleep(rest) => {}
    }
}
