//! Exhaustive exploration of small worlds: the protocol's own machines and its own `apply`, every order of events.
//!
//! A world has a handful of instants and a budget of faults, so that it ends. Within that, everything may happen at any
//! time: [`actions`] lists it. [`properties`] and [`service`] say what must hold in every state, [`calm`] what must come
//! of it once nothing disturbs, and [`mutants`] show that the search would notice.

pub mod actions;
pub mod answers;
pub mod calm;
pub mod clocks;
pub mod configs;
pub mod driver;
pub mod fingerprint;
pub mod liveness;
pub mod mutants;
pub mod properties;
pub mod search;
pub mod service;
pub mod trace;
pub mod world;

use std::process::ExitCode;
use std::time::Duration;

use driver::Context;
use search::{Found, search};
use world::Config;

/// So many states at most are kept: a bound on memory.
const STATES_MAX: usize = 20_000_000;

/// `explore [--all | --mutants | CONFIG] [--mutant NAME]`.
pub fn main(args: &[String]) -> ExitCode {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [] | ["--all"] => every(mutants::NONE, |_| true),
        ["--mutants"] => table(),
        ["--all", "--mutant", mutant] | ["--mutant", mutant] => bent(mutant, None),
        [config, "--mutant", mutant] => bent(mutant, Some(config)),
        [config] => every(mutants::NONE, |c| c.name == config),
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("explore [--all | --mutants | CONFIG] [--mutant NAME]");
    for config in configs::all() {
        eprintln!("  {:<12} {}", config.name, config.about);
    }
    ExitCode::from(2)
}

/// Explores the configurations that are asked for; fails if one has a violation or was not exhausted.
fn every(bend: mutants::Bend, asked: impl Fn(&Config) -> bool) -> ExitCode {
    let (mut states, mut good, mut any) = (0, true, false);
    println!(
        "{:<12} {:>9} {:>11} {:>9} {:>5} {:>8}  result",
        "config", "states", "transitions", "calms", "depth", "time"
    );
    for config in configs::all().iter().filter(|config| asked(config)) {
        any = true;
        let (found, took) = timed(config, &bend);
        report(config, &found, took, &bend);
        states += found.states;
        good &= found.exhausted;
    }
    println!("{states} states in all");
    if !any {
        return usage();
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn report(config: &Config, found: &Found, took: Duration, bend: &mutants::Bend) {
    let result = match (&found.violation, found.exhausted) {
        (Some((way, _)), _) => format!("VIOLATION after {} steps", way.len()),
        (None, true) => "exhausted".into(),
        (None, false) => "not exhausted".into(),
    };
    let Found { states, transitions, calms, depth, .. } = found;
    println!(
        "{:<12} {states:>9} {transitions:>11} {calms:>9} {depth:>5} {:>7.1}s  {result}",
        config.name,
        took.as_secs_f64()
    );
    if let Some((way, violation)) = &found.violation {
        println!("{}", trace::print(way, violation, &Context { config, bend }));
    }
}

/// One mutant: in the configuration that is there for it, or in another.
fn bent(name: &str, config: Option<&str>) -> ExitCode {
    let Some(mutant) = mutants::all().into_iter().find(|mutant| mutant.name == name) else {
        eprintln!("there is no mutant {name}; --mutants lists them");
        return ExitCode::from(2);
    };
    println!("{}: {}", mutant.name, mutant.about);
    every(mutant.bend, |c| c.name == config.unwrap_or(mutant.config))
}

/// Every mutant, and how it was found out.
fn table() -> ExitCode {
    let mut good = true;
    println!("{:<24} {:<12} {:>5} {:>9} {:>8}  promise broken", "mutant", "config", "depth", "states", "time");
    for mutant in mutants::all() {
        let Some(config) = configs::all().into_iter().find(|config| config.name == mutant.config) else { continue };
        let (found, took) = timed(&config, &mutant.bend);
        let (depth, what) = match &found.violation {
            Some((way, violation)) => (way.len().to_string(), violation.clone()),
            None => ("-".into(), "NOT FOUND".into()),
        };
        good &= found.violation.is_some();
        let seconds = took.as_secs_f64();
        println!("{:<24} {:<12} {depth:>5} {:>9} {seconds:>7.1}s  {what}", mutant.name, config.name, found.states);
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[allow(clippy::disallowed_methods)] // a person wants to know how long it took; nothing depends on it
fn timed(config: &Config, bend: &mutants::Bend) -> (Found, Duration) {
    let began = std::time::Instant::now();
    let found = search(&Context { config, bend }, STATES_MAX);
    (found, began.elapsed())
}
