//! Command `run`: many seeds, or the trace of one.

use std::{
    cell::Cell, collections::BTreeMap, collections::BTreeSet, process::ExitCode, sync::Arc, sync::Mutex,
    sync::atomic::AtomicBool, sync::atomic::AtomicU64, sync::atomic::Ordering::Relaxed, time::Duration, time::Instant,
};

use crate::mutants::{self, Mutant, MutantConfig};
use crate::world::{
    Plan, Reduction, World, command::coverage::Coverage, history::History, lock, scenario, stack::StoreKind,
};
use test_support::Rng;

/// Number of seeds from which on coverage is checked, because fewer seeds meet too little.
const COVERAGE_FROM: u64 = 200;
/// Upper bound of the virtual time of a world: two phases, and nine days between them.
const WORLD_MAX: Duration = Duration::from_secs(10 * 24 * 3600);
const FAILURES_SHOWN: usize = 5;
const FAILURES_MAX: usize = 1000;
/// Failing seeds of a mutant that are examined for the checks that notice it.
const KILLS: usize = 10;

thread_local! {
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

#[derive(Clone, Debug)]
pub struct Args {
    from: u64,
    seeds: u64,
    jobs: u64,
    seed: Option<u64>,
    trace: bool,
    mutant: Option<Mutant>,
    /// Number of failing seeds after which a search for a mutant ends. `None` without a mutant.
    kills: Option<usize>,
    world: StoreKind,
    /// Whether the workers also use locks with several holders.
    shared: bool,
    /// Reduction of each world.
    pub reduction: Reduction,
}

impl Default for Args {
    fn default() -> Self {
        let (world, reduction) = (StoreKind::Model, Reduction::default());
        Self {
            from: 0,
            seeds: 1000,
            jobs: 2,
            seed: None,
            trace: false,
            mutant: None,
            kills: None,
            world,
            shared: false,
            reduction,
        }
    }
}

impl Args {
    fn mutant_config(&self) -> MutantConfig {
        self.mutant.as_ref().map_or(MutantConfig::NONE, |mutant| mutant.config)
    }
}

/// Runs the command with these arguments.
pub fn main(args: &[String]) -> Result<ExitCode, String> {
    let args = parse(args)?;
    count_panics();
    let good = match (args.seed, args.kills) {
        (Some(seed), _) => run_one(&args, seed),
        (None, Some(kills)) => hunt(&args, kills),
        (None, None) => run_many(&args),
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Counts panics from now on, so that a panic breaks a promise of the world in which it occurs.
pub fn count_panics() {
    std::panic::set_hook(Box::new(|info| {
        PANICS.set(PANICS.get() + 1);
        eprintln!("{info}");
    }));
}

pub fn parse(args: &[String]) -> Result<Args, String> {
    let mut parsed = Args::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("missing value of {arg}"));
        let number = |text: &String| {
            text.parse::<u64>().map_err(|_| format!("invalid value {text:?} of {arg}: expected a number"))
        };
        match arg.as_str() {
            "--from" => parsed.from = number(value()?)?,
            "--seeds" => parsed.seeds = number(value()?)?,
            "--jobs" => parsed.jobs = number(value()?)?.max(1),
            "--seed" => parsed.seed = Some(number(value()?)?),
            "--trace" => parsed.trace = true,
            "--mutant" => parsed.mutant = Some(mutants::list::find(value()?)?),
            "--kills" => parsed.kills = Some(number(value()?)? as usize),
            "--shared" => parsed.shared = true,
            "--world" => parsed.world = value()?.parse()?,
            "--reduce" => parsed.reduction = value()?.parse()?,
            _ => return Err(format!("unknown argument {arg}")),
        }
    }
    parsed.kills = parsed.kills.or(parsed.mutant.is_some().then_some(1));
    Ok(parsed)
}

/// Result of one world.
pub struct Finished {
    pub history: History,
    passes: u64,
    lock_hours: f64,
}

/// Returns the plan of a seed, reduced by the arguments.
pub fn plan(seed: u64, args: &Args) -> Plan {
    let mut plan = Plan::of(&mut Rng::mixed(seed));
    if args.shared {
        plan.share();
    }
    args.world.restrict(&mut plan);
    args.reduction.restrict(&mut plan);
    plan
}

/// Runs one world.
pub fn world(seed: u64, args: &Args, tracing: bool) -> Finished {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("the runtime can be created");
    PANICS.set(0);
    let (history, passes, lock_hours) = runtime.block_on(async {
        let world =
            Arc::new(World::new(seed, args.mutant_config(), (args.world, args.shared), &args.reduction, tracing));
        let task = tokio::spawn({
            let world = world.clone();
            async move { scenario::run(&world).await }
        });
        match tokio::time::timeout(WORLD_MAX, task).await {
            Ok(_panicked_or_not) => {}
            Err(_) => world.violation("D (an end)", format!("the world has not ended after {WORLD_MAX:?}")),
        }
        if PANICS.get() > 0 {
            world.violation("no panic", format!("{} panics", PANICS.get()));
        }
        let table = std::mem::take(&mut *lock(&world.table));
        let hours = (world.plan.phase.as_secs_f64() / 3600.0) * table.locks.len() as f64;
        // Guards are dropped while the runtime exists.
        drop(std::mem::take(&mut *lock(&world.validities)));
        drop(std::mem::take(&mut *lock(&world.sharing)));
        let history = std::mem::take(&mut *lock(&world.history));
        (history, table.locks.values().map(|entry| entry.passes).sum(), hours)
    });
    Finished { history, passes, lock_hours }
}

/// Returns whether the world of this seed breaks no promise.
fn run_one(args: &Args, seed: u64) -> bool {
    let ended = world(seed, args, args.trace);
    for line in &ended.history.lines {
        println!("{line}");
    }
    for violation in &ended.history.violations {
        println!("seed {seed}: {violation}");
    }
    let good = ended.history.violations.is_empty();
    if good {
        println!("seed {seed}: no violation, {} acquisitions", ended.passes);
    }
    good
}

/// Result of many worlds.
#[derive(Default)]
struct Found {
    coverage: Coverage,
    failures: Vec<Failure>,
}

struct Failure {
    seed: u64,
    first: String,
    broken: BTreeSet<&'static str>,
}

/// Runs the worlds of these seeds until this number of them has failed.
fn search(args: &Args, failures_max: usize) -> Found {
    let next = AtomicU64::new(args.from);
    let stop = AtomicBool::new(false);
    let found = Mutex::new(Found::default());
    std::thread::scope(|scope| {
        for _ in 0..args.jobs {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= args.from + args.seeds {
                        return;
                    }
                    let ended = world(seed, args, false);
                    let mut found = lock(&found);
                    found.coverage.add(&ended.history.counts, ended.passes, ended.lock_hours);
                    if let Some(first) = ended.history.violations.into_iter().next() {
                        found.failures.push(Failure { seed, first, broken: ended.history.broken });
                        stop.store(found.failures.len() >= failures_max, Relaxed);
                    }
                }
            });
        }
    });
    let mut found = std::mem::take(&mut *lock(&found));
    found.failures.sort_by_key(|failure| failure.seed);
    found
}

fn print_failures(found: &Found, args: &Args) {
    for Failure { seed, first, .. } in found.failures.iter().take(FAILURES_SHOWN) {
        println!("seed {seed} fails: {first}");
        println!("  {}", replay(*seed, args));
    }
}

/// Returns the command that prints the trace of this world.
pub fn replay(seed: u64, args: &Args) -> String {
    let mutant = args.mutant.as_ref().map_or(String::new(), |mutant| format!(" --mutant {}", mutant.name));
    let shared = if args.shared { " --shared" } else { "" };
    let reduction =
        if args.reduction == Reduction::default() { String::new() } else { format!(" --reduce {}", args.reduction) };
    format!("cargo xtask sim{}{shared} --seed {seed} --trace{mutant}{reduction}", args.world.arguments())
}

/// Returns whether no world breaks a promise and enough events occur.
fn run_many(args: &Args) -> bool {
    #[allow(clippy::disallowed_methods)] // how fast this is, for people
    let began = Instant::now();
    let found = search(args, FAILURES_MAX);
    print_failures(&found, args);
    let (table, missing) = found.coverage.report(args.shared);
    println!("{table}");
    let took = began.elapsed().max(Duration::from_millis(1));
    println!(
        "{} seeds in {:.1} s: {:.0} seeds/s, {:.1} lock-hours of virtual time per real minute, {} failed",
        found.coverage.seeds,
        took.as_secs_f64(),
        found.coverage.seeds as f64 / took.as_secs_f64(),
        found.coverage.lock_hours / took.as_secs_f64() * 60.0,
        found.failures.len()
    );
    let missing: Vec<_> = missing.into_iter().filter(|what| args.world.can_meet(what)).collect();
    let missing = if found.coverage.seeds < COVERAGE_FROM { Vec::new() } else { missing };
    for what in &missing {
        println!("too rare: {what}");
    }
    found.failures.is_empty() && missing.is_empty()
}

/// Searches for the mutant and reports the number of seeds and the checks that noticed it.
fn hunt(args: &Args, kills: usize) -> bool {
    let found = search(args, kills);
    print_failures(&found, args);
    println!("{}", verdict(&found, args));
    found.failures.is_empty()
}

fn verdict(found: &Found, args: &Args) -> String {
    let mut checks = BTreeMap::<&str, usize>::new();
    for promise in found.failures.iter().flat_map(|failure| &failure.broken) {
        *checks.entry(promise).or_default() += 1;
    }
    let mut checks: Vec<_> = checks.into_iter().collect();
    checks.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    let checks = checks.iter().map(|(promise, times)| format!("{promise} x{times}")).collect::<Vec<_>>().join(", ");
    match found.failures.first() {
        Some(first) => format!("killed after {} seeds by {checks}", first.seed - args.from + 1),
        None => format!("alive after {} seeds", found.coverage.seeds),
    }
}

/// Runs the worlds of these seeds over the model. Returns the first violation of each that breaks a promise.
pub fn violations_in(seeds: std::ops::Range<u64>) -> Vec<String> {
    count_panics();
    let args = Args { from: seeds.start, seeds: seeds.end - seeds.start, ..Args::default() };
    let found = search(&args, FAILURES_MAX);
    found.failures.iter().map(|Failure { seed, first, .. }| format!("seed {seed}: {first}")).collect()
}

/// Like [`violations_in`], in worlds with shared rows.
pub fn violations_with_shared_rows_in(seeds: std::ops::Range<u64>) -> Vec<String> {
    count_panics();
    let args = Args { from: seeds.start, seeds: seeds.end - seeds.start, shared: true, ..Args::default() };
    let found = search(&args, FAILURES_MAX);
    found.failures.iter().map(|Failure { seed, first, .. }| format!("seed {seed}: {first}")).collect()
}

/// Searches for a mutant in the worlds of these seeds. Returns the report, and whether a check noticed the mutant.
pub fn hunt_in(mutant: &Mutant, seeds: std::ops::Range<u64>) -> (String, bool) {
    let args =
        Args { from: seeds.start, seeds: seeds.end - seeds.start, mutant: Some(mutant.clone()), ..Args::default() };
    let found = search(&args, KILLS);
    (verdict(&found, &args), !found.failures.is_empty())
}
