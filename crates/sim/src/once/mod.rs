//! Random histories of work that runs until it has succeeded once, with the real client in virtual time.

mod history;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::runtime::Builder;

pub use history::{Counts, Mutant, OUTCOMES};

const USAGE: &str = "usage: dynamo-lock-sim once [--seeds N] [--from N] [--jobs N]";

/// Runs `once [--seeds N] [--from N] [--jobs N]`.
pub fn main(args: &[String]) -> Result<ExitCode, String> {
    let (mut seeds, mut from, mut jobs) = (1000, 0, 2);
    for pair in args.chunks(2) {
        let number = pair.get(1).and_then(|value| value.parse().ok()).ok_or(USAGE)?;
        match pair[0].as_str() {
            "--seeds" => seeds = number,
            "--from" => from = number,
            "--jobs" => jobs = number,
            _ => return Err(USAGE.to_owned()),
        }
    }
    let next = AtomicU64::new(from);
    let results = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs)
            .map(|_| {
                scope.spawn(|| {
                    let all = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
                    let own = all.take_while(|seed| *seed < from + seeds);
                    own.map(|seed| (seed, run(seed, None))).collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).flatten().collect::<Vec<_>>()
    });
    let mut total = Counts::default();
    let mut broken = 0;
    for (seed, result) in &results {
        match result {
            Ok(counts) => total.iter_mut().zip(counts).for_each(|(total, count)| *total += count),
            Err(promise) => {
                broken += 1;
                println!("seed {seed}: {promise}");
            }
        }
    }
    let totals: Vec<_> = OUTCOMES.iter().zip(total).map(|(outcome, count)| format!("{count} {outcome}")).collect();
    println!("{} histories, {broken} violations: {}", results.len(), totals.join(", "));
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Plays the history of this seed. Returns its outcomes, or the promise that it breaks.
pub fn run(seed: u64, mutant: Option<Mutant>) -> Result<Counts, String> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().map_err(|e| e.to_string())?;
    catch_unwind(AssertUnwindSafe(|| runtime.block_on(history::play(seed, mutant)))).map_err(|panic| message(&*panic))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}
