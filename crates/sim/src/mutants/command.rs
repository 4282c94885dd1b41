//! The command `mutants`: searches for each mutant and compares the result with the expected one.

use std::process::ExitCode;

use super::{Expected, Mutant, list};
use crate::{explore, world};

/// Seeds within which a mutant must be noticed.
const SEEDS: u64 = 20_000;
/// Seeds that are tried for a mutant that is not expected to be noticed.
const SEEDS_FEW: u64 = 1000;

/// Runs `mutants [--list] [NAME…]`.
pub fn main(args: &[String]) -> ExitCode {
    let (mut names, mut lists) = (Vec::new(), false);
    for arg in args {
        match arg.as_str() {
            "--list" => lists = true,
            name => match list::find(name) {
                Ok(mutant) => names.push(mutant),
                Err(message) => {
                    eprintln!("{message}");
                    return ExitCode::from(64);
                }
            },
        }
    }
    let mutants = if names.is_empty() { list::all() } else { names };
    if lists {
        mutants.iter().for_each(|mutant| println!("{:<28} {:?}", mutant.name, mutant.expected));
        return ExitCode::SUCCESS;
    }
    world::count_panics();
    let (mut good, mut killed) = (true, 0);
    for mutant in &mutants {
        let result = search(mutant);
        let as_expected = result.killed == (mutant.expected == Expected::Killed);
        killed += usize::from(result.killed);
        good &= as_expected;
        let expected = match mutant.expected {
            _ if !as_expected => "UNEXPECTED: ".to_owned(),
            Expected::Killed => String::new(),
            Expected::Equivalent(reason) => format!("equivalent, because {reason}: "),
            Expected::Rare(test) => format!("too rare for worlds, noticed by the test {test}: "),
        };
        println!("{:<28} {expected}{}", mutant.name, result.text);
    }
    println!("{} mutants, {killed} killed", mutants.len());
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Found {
    killed: bool,
    text: String,
}

/// Searches in the explorer first, because a counterexample there is the shortest, then in the worlds.
fn search(mutant: &Mutant) -> Found {
    let mut found = Found { killed: false, text: String::new() };
    if let Some(config) = mutant.explore {
        match explore::violation_of(&mutant.config, config) {
            Some((promise, depth)) => {
                return Found { killed: true, text: format!("killed by {config} after {depth} steps: {promise}") };
            }
            None => found.text = format!("alive in {config}; "),
        }
    }
    if mutant.worlds {
        let seeds = if mutant.expected == Expected::Killed { SEEDS } else { SEEDS_FEW };
        let (text, killed) = world::hunt_in(mutant, 0..seeds);
        found = Found { killed, text: found.text + &text };
    }
    found
}
