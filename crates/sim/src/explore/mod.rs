//! Exhaustive exploration of small worlds: the protocol's own machines and its own `apply`, every order of events.
//!
//! A world has a few instants and a budget of faults, so that it ends. Within these limits every event can occur at any
//! instant: [`actions`] lists the events. [`properties`] and [`service`] contain the properties of every state,
//! [`quiescence`] those of its continuations without faults. The [mutants] show that the search notices faults.

pub mod acquisition;
pub mod actions;
pub mod answers;
pub mod clocks;
pub mod configs;
pub mod driver;
pub mod entries;
pub mod fingerprint;
pub mod handover;
pub mod last_hold;
mod liveness;
pub mod once;
pub mod properties;
pub mod quiescence;
pub mod search;
pub mod service;
pub mod shared_configs;
pub mod trace;
pub mod world;

pub use acquisition::Acquisition;
pub use clocks::EPOCH_MS;
pub use driver::{Context, StepResult, letter};
pub use entries::EntryFacts;
pub use once::{FinishTask, Work};
pub use service::Violation;
pub use world::{
    Answer, Body, Budget, Client, Config, HandoverTask, HoldTask, Host, InFlight, Legacy, Past, ReleaseTask,
    RequestBody, Shared, Task, TaskState, Wild, World,
};

use std::{process::ExitCode, time::Duration};

use search::{Found, search};

use crate::mutants::{self, MutantConfig};

/// Upper bound of the states that a search keeps in memory.
const STATES_MAX: usize = 20_000_000;

/// Runs `explore [--all | CONFIG] [--mutant NAME]`.
pub fn main(args: &[String]) -> Result<ExitCode, String> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [] | ["--all"] => explore(None, MutantConfig::NONE),
        [config, "--mutant", name] | ["--mutant", name, config] => with_mutant(name, Some(config)),
        ["--mutant", name] => with_mutant(name, None),
        [config] => explore(Some(config), MutantConfig::NONE),
        _ => Err(usage()),
    }
}

fn usage() -> String {
    let configs = configs::all().into_iter().map(|config| format!("\n  {:<20} {}", config.name, config.about));
    let usage = "usage: dynamo-lock-sim explore [--all | CONFIG] [--mutant NAME]\n\nconfigurations:";
    usage.to_owned() + &configs.collect::<String>()
}

/// Explores one mutant, by default in the configuration that finds it.
fn with_mutant(name: &str, config: Option<&str>) -> Result<ExitCode, String> {
    let mutant = mutants::list::find(name)?;
    explore(config.or(mutant.explore), mutant.config)
}

/// Explores one configuration or all. The exit code is a failure if a search found a violation or was not exhausted.
fn explore(name: Option<&str>, mutant: MutantConfig) -> Result<ExitCode, String> {
    let configs: Vec<_> = configs::all().into_iter().filter(|c| name.is_none_or(|name| c.name == name)).collect();
    if configs.is_empty() {
        return Err(usage());
    }
    let (mut states, mut good) = (0, true);
    println!(
        "{:<20} {:>9} {:>11} {:>9} {:>5} {:>8}  result",
        "config", "states", "transitions", "quiescent", "depth", "time"
    );
    for config in &configs {
        let (found, took) = timed(config, &mutant);
        report(config, &found, took, &mutant);
        states += found.states;
        good &= found.exhausted;
    }
    println!("{states} states in total");
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report(config: &Config, found: &Found, took: Duration, mutant: &MutantConfig) {
    let result = match (&found.violation, found.exhausted) {
        (Some((path, _)), _) => format!("VIOLATION after {} steps", path.len()),
        (None, true) => "exhausted".into(),
        (None, false) => "not exhausted".into(),
    };
    let Found { states, transitions, continuations, depth, .. } = found;
    println!(
        "{:<20} {states:>9} {transitions:>11} {continuations:>9} {depth:>5} {:>7.1}s  {result}",
        config.name,
        took.as_secs_f64()
    );
    if let Some((path, violation)) = &found.violation {
        println!("{}", trace::print(path, violation, &Context { config, mutant }));
    }
}

/// Returns the promise that a mutant breaks in a configuration, and the depth of the counterexample.
pub fn violation_of(mutant: &MutantConfig, name: &str) -> Option<(String, usize)> {
    let config = configs::find(name)?;
    let found = search(&Context { config: &config, mutant }, STATES_MAX);
    found.violation.map(|(path, violation)| (violation, path.len()))
}

#[allow(clippy::disallowed_methods)] // only for the report
fn timed(config: &Config, mutant: &MutantConfig) -> (Found, Duration) {
    let began = std::time::Instant::now();
    let found = search(&Context { config, mutant }, STATES_MAX);
    (found, began.elapsed())
}
