//! The command `mutants`: searches for each mutant and compares the result with the expected one.

use std::process::ExitCode;

use super::{Expected, Mutant, list};
use crate::{explore, world};

/// Seeds within which a mutant must be noticed.
const SEEDS: u64 = 20_000;
/// Seeds that are tried for a mutant that is not expected to be noticed.
const SEEDS_FEW: u64 = 1000;

/// Runs `mutants [--list] [NAME…]`.
pub fn main(args: &[String]) -> Result<ExitCode, String> {
    let names = args.iter().filter(|arg| *arg != "--list").map(|name| list::find(name));
    let named = names.collect::<Result<Vec<_>, _>>()?;
    let mutants = if named.is_empty() { list::all() } else { named };
    if args.iter().any(|arg| arg == "--list") {
        mutants.iter().for_each(|mutant| println!("{:<28} {:?}", mutant.name, mutant.expected));
        return Ok(ExitCode::SUCCESS);
    }
    world::count_panics();
    let (mut good, mut killed) = (true, 0);
    for mutant in &mutants {
        let (result, is_killed) = search(mutant);
        let as_expected = is_killed == (mutant.expected == Expected::Killed);
        killed += usize::from(is_killed);
        good &= as_expected;
        let expected = match mutant.expected {
            _ if !as_expected => "UNEXPECTED: ".to_owned(),
            Expected::Killed => String::new(),
            Expected::Equivalent(reason) => format!("equivalent, because {reason}: "),
            Expected::Rare(test) => format!("too rare for worlds, noticed by the test {test}: "),
        };
        println!("{:<28} {expected}{result}", mutant.name);
    }
    println!("{} mutants, {killed} killed", mutants.len());
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Searches in the explorer first, because a counterexample there is the shortest, then in the worlds.
/// Returns the report, and whether a check noticed the mutant.
fn search(mutant: &Mutant) -> (String, bool) {
    let mut report = String::new();
    if let Some(config) = mutant.explore {
        if let Some((promise, depth)) = explore::violation_of(&mutant.config, config) {
            return (format!("killed by {config} after {depth} steps: {promise}"), true);
        }
        report = format!("alive in {config}; ");
    }
    if !mutant.worlds {
        return (report, false);
    }
    let seeds = if mutant.expected == Expected::Killed { SEEDS } else { SEEDS_FEW };
    let (text, killed) = world::hunt_in(mutant, 0..seeds);
    (report + &text, killed)
}
