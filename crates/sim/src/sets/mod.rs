//! Exhaustive search for several locks that are acquired together: `AcquireAll` of the protocol, in every order of
//! events.
//!
//! A single lock is abstract here, because `explore` searches its protocol: it is free or owned by one client, and its
//! owner may lose it at any time. A loss makes the guard invalid at once, and the client notices it when it looks.

mod client;
mod search;
mod world;

use std::process::ExitCode;

pub use search::{Found, search};
pub use world::{Action, World};

/// A small world.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    pub name: &'static str,
    pub about: &'static str,
    /// Names of the locks that each client wants, in the order in which its user gives them.
    pub sets: &'static [&'static [&'static str]],
    /// Number of losses of a lock by its owner.
    pub losses: u8,
    /// Number of clients that give up while they wait.
    pub timeouts: u8,
}

/// Returns all configurations.
pub fn configs() -> [Config; 3] {
    let config = |name, about, sets| Config { name, about, sets, losses: 2, timeouts: 1 };
    [
        config("pairs", "three clients with overlapping pairs", &[&["b", "a"], &["c", "b"], &["a", "c"]]),
        config(
            "triples",
            "three clients with the same three locks",
            &[&["a", "b", "c"], &["b", "c", "a"], &["c", "a", "b"]],
        ),
        config("nested", "a set, and clients with one of its locks", &[&["a", "b", "c"], &["b"], &["c", "a"]]),
    ]
}

/// Fault that is put into the clients, to prove that the search notices it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// The locks are acquired in the order in which they are given.
    Unsorted,
    /// After a loss, the rest is kept, and the lost lock is awaited again.
    KeepsRest,
    /// The guards are not asked whether they are valid before they are reported.
    NoLook,
    /// Only the lock that is awaited is given back.
    GivesBackAwaitedOnly,
    /// The other locks of a guard are kept after the loss of one.
    KeepsOthersAfterLoss,
}

/// All mutants, with their names for the command line.
pub const MUTANTS: [(&str, Mutant); 5] = [
    ("unsorted", Mutant::Unsorted),
    ("keeps-rest", Mutant::KeepsRest),
    ("no-look", Mutant::NoLook),
    ("gives-back-awaited-only", Mutant::GivesBackAwaitedOnly),
    ("keeps-others-after-loss", Mutant::KeepsOthersAfterLoss),
];

/// Runs `sets [--mutant NAME]`. Without a mutant, the exit code is a failure if a search found a violation.
pub fn main(args: &[String]) -> Result<ExitCode, String> {
    let names = || MUTANTS.map(|(name, _)| name).join(", ");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mutant = match args[..] {
        [] => None,
        ["--mutant", name] => {
            let found = MUTANTS.into_iter().find(|(known, _)| *known == name);
            Some(found.ok_or_else(|| format!("unknown mutant {name:?}: one of {}", names()))?.1)
        }
        _ => return Err(format!("usage: dynamo-lock-sim sets [--mutant NAME]\n\nmutants: {}", names())),
    };
    let mut good = true;
    for config in configs() {
        let found = search(&config, mutant);
        println!("{:<8} {:>6} states, depth {:>2}, {}", config.name, found.states, found.depth, config.about);
        if let Some((path, violation)) = &found.violation {
            println!("VIOLATION after {} steps: {violation}", path.len());
            path.iter().for_each(|action| println!("  {action:?}"));
            good = false;
        }
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
