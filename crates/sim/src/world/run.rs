//! `run`: many seeds, or one of them told in full.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::coverage::Coverage;
use super::dice::Dice;
use super::history::History;
use super::less::Less;
use super::plan::Plan;
use super::stack::Kind;
use super::{World, lock, town};
use crate::mutants::{self, Mutant, MutantConfig};

/// A run with fewer seeds than this says nothing about what it met.
const COVERAGE_FROM: u64 = 200;
/// Longer than any world lasts: two acts, and nine days between them.
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
    /// A fault is in this program: go on until so many seeds have failed, and say what noticed.
    kills: Option<usize>,
    world: Kind,
    /// What is left out of each world.
    pub less: Less,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            from: 0,
            seeds: 1000,
            jobs: 2,
            seed: None,
            trace: false,
            mutant: None,
            kills: None,
            world: Kind::Model,
            less: Less::default(),
        }
    }
}

impl Args {
    fn mutant_config(&self) -> MutantConfig {
        self.mutant.as_ref().map_or(MutantConfig::NONE, |mutant| mutant.config)
    }
}

/// The subcommand.
pub fn main(args: &[String]) -> ExitCode {
    let args = match parse(args) {
        Ok(args) => args,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(64);
        }
    };
    count_panics();
    match (args.seed, args.kills) {
        (Some(seed), _) => one(&args, seed),
        (None, Some(kills)) => hunt(&args, kills),
        (None, None) => many(&args),
    }
}

/// From now on a panic breaks a promise of the world that it is in.
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
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        let number = |text: &String| text.parse::<u64>().map_err(|_| format!("{arg} needs a number, not {text:?}"));
        match arg.as_str() {
            "--from" => parsed.from = number(value()?)?,
            "--seeds" => parsed.seeds = number(value()?)?,
            "--jobs" => parsed.jobs = number(value()?)?.max(1),
            "--seed" => parsed.seed = Some(number(value()?)?),
            "--trace" => parsed.trace = true,
            "--mutant" => parsed.mutant = Some(mutants::list::find(value()?)?),
            "--kills" => parsed.kills = Some(number(value()?)? as usize),
            "--world" => parsed.world = value()?.parse()?,
            "--less" => parsed.less = value()?.parse()?,
            _ => return Err(format!("unknown argument {arg}")),
        }
    }
    parsed.kills = parsed.kills.or(parsed.mutant.is_some().then_some(1));
    Ok(parsed)
}

/// How one world ended.
pub struct Ended {
    pub history: History,
    passes: u64,
    lock_hours: f64,
}

/// The world that a seed makes, before it begins.
pub fn plan(seed: u64, args: &Args) -> Plan {
    let mut plan = Plan::of(&mut Dice::new(seed));
    args.world.settle(&mut plan);
    args.less.settle(&mut plan);
    plan
}

/// Lives through one world.
pub fn world(seed: u64, args: &Args, tracing: bool) -> Ended {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime needs nothing from outside");
    PANICS.set(0);
    let (history, passes, lock_hours) = runtime.block_on(async {
        let world = Arc::new(World::new(seed, args.mutant_config(), args.world, &args.less, tracing));
        let task = tokio::spawn({
            let world = world.clone();
            async move { town::live(&world).await }
        });
        match tokio::time::timeout(WORLD_MAX, task).await {
            Ok(_panicked_or_not) => {}
            Err(_) => world.violation("D (an end)", format!("the world goes on after {WORLD_MAX:?}")),
        }
        if PANICS.get() > 0 {
            world.violation("no panic", format!("{} panics", PANICS.get()));
        }
        let table = std::mem::take(&mut *lock(&world.table));
        let hours = (world.plan.act.as_secs_f64() / 3600.0) * table.locks.len() as f64;
        // Guards go while the runtime is there.
        drop(std::mem::take(&mut *lock(&world.validities)));
        let history = std::mem::take(&mut *lock(&world.history));
        (history, table.locks.values().map(|entry| entry.passes).sum(), hours)
    });
    Ended { history, passes, lock_hours }
}

fn one(args: &Args, seed: u64) -> ExitCode {
    let ended = world(seed, args, args.trace);
    for line in &ended.history.lines {
        println!("{line}");
    }
    for violation in &ended.history.violations {
        println!("seed {seed}: {violation}");
    }
    if ended.history.violations.is_empty() {
        println!("seed {seed}: no violation, {} passes", ended.passes);
        return ExitCode::SUCCESS;
    }
    ExitCode::FAILURE
}

/// What came of many worlds.
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

/// Lives through the worlds of these seeds, until so many have failed.
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

/// The command that tells this world again.
pub fn replay(seed: u64, args: &Args) -> String {
    let mutant = args.mutant.as_ref().map_or(String::new(), |mutant| format!(" --mutant {}", mutant.name));
    let less = if args.less == Less::default() { String::new() } else { format!(" --less {}", args.less) };
    format!("cargo xtask sim{} --seed {seed} --trace{mutant}{less}", args.world.arguments())
}

fn many(args: &Args) -> ExitCode {
    #[allow(clippy::disallowed_methods)] // how fast this is, for people
    let began = Instant::now();
    let found = search(args, FAILURES_MAX);
    print_failures(&found, args);
    let (table, missing) = found.coverage.report();
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
    let missing: Vec<_> = missing.into_iter().filter(|what| args.world.meets(what)).collect();
    let missing = if found.coverage.seeds < COVERAGE_FROM { Vec::new() } else { missing };
    for what in &missing {
        println!("not enough of {what}");
    }
    if found.failures.is_empty() && missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Searches for the mutant and reports the number of seeds and the checks that noticed it.
fn hunt(args: &Args, kills: usize) -> ExitCode {
    let found = search(args, kills);
    print_failures(&found, args);
    println!("{}", verdict(&found, args));
    if found.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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

/// Searches for a mutant in the worlds of these seeds. Returns the report, and whether a check noticed the mutant.
pub fn hunt_in(mutant: &Mutant, seeds: std::ops::Range<u64>) -> (String, bool) {
    let args =
        Args { from: seeds.start, seeds: seeds.end - seeds.start, mutant: Some(mutant.clone()), ..Args::default() };
    let found = search(&args, KILLS);
    (verdict(&found, &args), !found.failures.is_empty())
}
