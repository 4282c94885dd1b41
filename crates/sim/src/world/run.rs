//! `run`: many seeds, or one of them told in full.

use std::cell::Cell;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::coverage::Coverage;
use super::history::History;
use super::mutant::Mutant;
use super::stack::Kind;
use super::{World, lock, town};

/// A run with fewer seeds than this says nothing about what it met.
const COVERAGE_FROM: u64 = 200;
const FAILURES_SHOWN: usize = 5;

thread_local! {
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

#[derive(Clone, Debug)]
struct Args {
    from: u64,
    seeds: u64,
    jobs: u64,
    seed: Option<u64>,
    trace: bool,
    mutant: Option<Mutant>,
    world: Kind,
    mutant_name: String,
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
    std::panic::set_hook(Box::new(|info| {
        PANICS.set(PANICS.get() + 1);
        eprintln!("{info}");
    }));
    match args.seed {
        Some(seed) => one(&args, seed),
        None => many(&args),
    }
}

fn parse(args: &[String]) -> Result<Args, String> {
    let mut parsed = Args {
        from: 0,
        seeds: 1000,
        jobs: 2,
        seed: None,
        trace: false,
        mutant: None,
        world: Kind::Model,
        mutant_name: String::new(),
    };
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
            "--world" => parsed.world = value()?.parse()?,
            "--mutant" => {
                parsed.mutant_name.clone_from(value()?);
                parsed.mutant = Some(parsed.mutant_name.parse()?);
            }
            _ => return Err(format!("unknown argument {arg}")),
        }
    }
    Ok(parsed)
}

/// How one world ended.
struct Ended {
    history: History,
    passes: u64,
    lock_hours: f64,
}

fn world(seed: u64, mutant: Option<Mutant>, kind: Kind, tracing: bool) -> Ended {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime needs nothing from outside");
    PANICS.set(0);
    let (history, passes, lock_hours) = runtime.block_on(async {
        let world = Arc::new(World::new(seed, mutant, kind, tracing));
        let task = tokio::spawn({
            let world = world.clone();
            async move { town::live(&world).await }
        });
        let _panicked_or_not = task.await;
        if PANICS.get() > 0 {
            world.violation("no panic", format!("{} panics", PANICS.get()));
        }
        let table = std::mem::take(&mut *lock(&world.table));
        let hours = (world.plan.act.as_secs_f64() / 3600.0) * table.locks.len() as f64;
        // Guards go while the runtime is there.
        drop(std::mem::take(&mut *lock(&world.beliefs)));
        let history = std::mem::take(&mut *lock(&world.history));
        (history, table.locks.values().map(|entry| entry.passes).sum(), hours)
    });
    Ended { history, passes, lock_hours }
}

fn one(args: &Args, seed: u64) -> ExitCode {
    let ended = world(seed, args.mutant, args.world, args.trace);
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

fn many(args: &Args) -> ExitCode {
    #[allow(clippy::disallowed_methods)] // how fast this is, for people
    let began = Instant::now();
    let next = AtomicU64::new(args.from);
    let stop = AtomicBool::new(false);
    let (coverage, failures) = (Mutex::new(Coverage::default()), Mutex::new(Vec::<(u64, Vec<String>)>::new()));
    std::thread::scope(|scope| {
        for _ in 0..args.jobs {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= args.from + args.seeds {
                        return;
                    }
                    let ended = world(seed, args.mutant, args.world, false);
                    lock(&coverage).add(&ended.history.counts, ended.passes, ended.lock_hours);
                    if !ended.history.violations.is_empty() {
                        let mut failures = lock(&failures);
                        failures.push((seed, ended.history.violations));
                        stop.store(args.mutant.is_some() || failures.len() >= 1000, Relaxed);
                    }
                }
            });
        }
    });
    let (coverage, mut failures) = (lock(&coverage), lock(&failures));
    failures.sort();
    for (seed, violations) in failures.iter().take(FAILURES_SHOWN) {
        println!("seed {seed} fails: {}", violations[0]);
        let mutant = if args.mutant.is_some() { format!(" --mutant {}", args.mutant_name) } else { String::new() };
        let (build, world) = args.world.arguments();
        println!("  cargo run -p dynamo-lock-sim --profile sim{build} -- run{world} --seed {seed} --trace{mutant}");
    }
    let (table, missing) = coverage.report();
    if args.mutant.is_none() {
        println!("{table}");
    }
    let took = began.elapsed().max(Duration::from_millis(1));
    println!(
        "{} seeds in {:.1} s: {:.0} seeds/s, {:.1} lock-hours of virtual time per real minute, {} failed",
        coverage.seeds,
        took.as_secs_f64(),
        coverage.seeds as f64 / took.as_secs_f64(),
        coverage.lock_hours / took.as_secs_f64() * 60.0,
        failures.len()
    );
    let missing: Vec<_> = missing.into_iter().filter(|what| args.world.meets(what)).collect();
    let missing = if args.mutant.is_some() || coverage.seeds < COVERAGE_FROM { Vec::new() } else { missing };
    for what in &missing {
        println!("not enough of {what}");
    }
    if failures.is_empty() && missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
