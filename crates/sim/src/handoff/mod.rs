//! Handoffs between processes in virtual time: how quickly waiters notice a release, and at which cost.
//!
//! The clients run the shipped state machines over the shipped `apply`. Nothing fails in this world: requests take
//! effect in the order of their arrival, and reads are current. The polls that preceded the shipped ones are the
//! baseline.

pub mod contender;
pub mod figures;
pub mod holds;
pub mod world;

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

pub use contender::Policy;
pub use figures::Figures;
pub use world::{Settings, run};

/// Numbers of waiting processes.
const WAITERS: [usize; 5] = [1, 2, 5, 20, 200];
/// Leases in seconds.
const LEASES: [u64; 2] = [20, 10];
/// Handoffs that are measured for distributions that change over time.
const HANDOFFS_OTHER: usize = 1_500;
const SEED: u64 = 1;

const USAGE: &str = "\
usage: dynamo-lock-sim handoff [--quick] [--jobs N] [--waiters N] [--holds NAME]

  --quick         measures a tenth of the handoffs
  --jobs N        number of threads [default: 2]
  --waiters N     number of waiting processes [default: 1, 2, 5, 20 and 200]
  --holds NAME    distribution of the lengths of holds [default: all]";

/// One row of the table.
struct Case {
    holds: &'static str,
    lease_s: u64,
    waiters: usize,
}

/// Runs `handoff`. The exit code is a failure if a bound is broken.
pub fn main(args: &[String]) -> Result<ExitCode, String> {
    let (mut quick, mut jobs, mut waiters, mut names) = (false, 2, WAITERS.to_vec(), holds::NAMES.to_vec());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(USAGE.to_owned());
        match arg.as_str() {
            "--quick" => quick = true,
            "--jobs" => jobs = value()?.parse().ok().filter(|jobs| *jobs > 0).ok_or(USAGE)?,
            "--waiters" => waiters = vec![value()?.parse().map_err(|_| USAGE.to_owned())?],
            "--holds" => {
                let name = value()?;
                names.retain(|known| known == name);
            }
            _ => return Err(USAGE.to_owned()),
        }
    }
    if names.is_empty() {
        return Err(USAGE.to_owned());
    }
    let cases = names.iter().flat_map(|holds| LEASES.map(|lease_s| (*holds, lease_s)));
    let mut cases: Vec<_> = cases
        .flat_map(|(holds, lease_s)| waiters.iter().map(move |waiters| Case { holds, lease_s, waiters: *waiters }))
        .collect();
    // The longest ones first, so that no thread is left alone with them.
    cases.sort_by_key(|case| std::cmp::Reverse(case.waiters * if case.holds == "minute" { 30 } else { 1 }));
    println!("median/mean/p99 latency in ms, looks per waiter-second, wasted writes per handoff; in brackets: jitter");
    println!("{:<12} {:>5} {:>4}  {:<28} {:<28} cost", "holds", "lease", "N", "shipped", "decorrelated jitter");
    let broken = in_parallel(jobs, &cases, |case| report(case, quick));
    let selfish = in_parallel(jobs, &[1_usize, 3, 19], |waiters| report_selfish(*waiters, quick));
    let broken = broken.into_iter().chain(selfish).sum::<usize>();
    println!("{broken} broken bounds");
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Calls `f` for all cases on this number of threads, and returns the results.
fn in_parallel<T: Sync>(jobs: usize, cases: &[T], f: impl Fn(&T) -> usize + Sync) -> Vec<usize> {
    let (next, results) = (Mutex::new(cases.iter()), Mutex::new(Vec::new()));
    let take = || next.lock().unwrap_or_else(|e| e.into_inner()).next();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(case) = take() {
                    let result = f(case);
                    results.lock().unwrap_or_else(|e| e.into_inner()).push(result);
                }
            });
        }
    });
    results.into_inner().unwrap_or_else(|e| e.into_inner())
}

/// Returns the settings of a case.
pub fn settings(holds: &'static str, lease_s: u64, waiters: usize, policy: Policy, quick: bool) -> Settings {
    let (handoffs, skipped) = match waiters {
        0..=1 => (6_000, 200),
        2..=5 => (5_000, 200),
        6..=20 => (4_000, 400),
        _ if policy == Policy::Jitter => (3_000, 800),
        _ => (1_600, 500),
    };
    let is_stationary = holds::NAMES[..holds::STATIONARY].contains(&holds);
    let handoffs = if is_stationary { handoffs } else { handoffs.min(HANDOFFS_OTHER) };
    // The estimate of waiters grows with the handoffs of one attempt, so that crowds need the whole beginning.
    let divisor = if quick { 10 } else { 1 };
    let skipped = if quick && waiters < 20 { 50 } else { skipped };
    let lease = Duration::from_secs(lease_s);
    Settings { holds, lease, waiters, policy, asks_again: false, handoffs: handoffs / divisor, skipped }
}

fn report(case: &Case, quick: bool) -> usize {
    let Case { holds, lease_s, waiters } = *case;
    let [shipped, jitter] = [Policy::Shipped, Policy::Jitter].map(|policy| {
        let handoffs = settings(holds, lease_s, waiters, policy, quick);
        run(handoffs, SEED)
    });
    let broken = broken_bounds(holds, &shipped, &jitter);
    println!(
        "{holds:<12} {lease_s:>4}s {waiters:>4}  {:<28} {:<28} {:.0} ({:.0}) {}",
        show(&shipped),
        show(&jitter),
        shipped.cost(),
        jitter.cost(),
        broken.join(", ")
    );
    broken.len()
}

/// Runs clients that ask for the lock again as soon as they have released it.
fn report_selfish(waiters: usize, quick: bool) -> usize {
    let mut broken = 0;
    for holds in ["constant", "exponential", "short"] {
        // Fewer handoffs do not show a share of some percent.
        let full = settings(holds, 20, waiters, Policy::Shipped, false);
        let handoffs = full.handoffs / if quick { 4 } else { 2 };
        let [shipped, jitter] = [Policy::Shipped, Policy::Jitter]
            .map(|policy| run(Settings { policy, asks_again: true, handoffs, ..full }, SEED));
        let (share, wait) = (shipped.won_again(), shipped.longest_wait_s());
        let is_kept = share > selfish_max(holds, waiters);
        println!(
            "{holds:<12}  20s {waiters:>4}  asks again at once: wins again {:.0} % ({:.0} %), longest wait {wait:.0} s \
             ({:.0} s){}",
            100.0 * share,
            100.0 * jitter.won_again(),
            jitter.longest_wait_s(),
            if is_kept { " BROKEN" } else { "" }
        );
        broken += usize::from(is_kept);
    }
    broken
}

/// Returns the maximum share of handoffs to the client that has just released the lock. Two clients with short holds
/// share the lock unevenly, because a release is hardly older than the next look.
pub fn selfish_max(holds: &str, waiters: usize) -> f64 {
    match (holds, waiters) {
        ("short", 1) => 0.85,
        ("short", _) => 0.15,
        (_, 1) => 0.2,
        _ => 0.05,
    }
}

fn show(figures: &Figures) -> String {
    format!(
        "{:.0}/{:.0}/{:.0} {:.1} {:.1}",
        figures.quantile_ms(0.5),
        figures.mean_ms(),
        figures.quantile_ms(0.99),
        figures.looks_per_second(),
        figures.wasted_per_handoff()
    )
}

/// Returns the bounds that a case breaks.
pub fn broken_bounds(holds: &str, shipped: &Figures, jitter: &Figures) -> Vec<String> {
    let mut broken: Vec<_> = shipped.broken.first().map(|text| format!("BROKEN (c): {text}")).into_iter().collect();
    let is_slower = shipped.mean_ms() > 1.1 * jitter.mean_ms();
    if is_slower && shipped.cost() > 0.6 * jitter.cost() {
        broken.push("BROKEN (a): slower, and not cheaper".to_owned());
    }
    let is_stationary = holds::NAMES[..holds::STATIONARY].contains(&holds);
    let looks_max = match shipped.mean_hold_s() < 0.5 {
        true => shipped.looks_per_handoff() <= 3.0 * shipped.waiters_in_mean(),
        false => shipped.looks_per_second() <= 6.0,
    };
    if is_stationary && !looks_max {
        broken.push("BROKEN (b): too many looks".to_owned());
    }
    broken
}
