//! `cargo xtask sim`: builds the simulator with optimizations and passes the arguments on.

use crate::{mutants, sh};

/// Runs `cargo xtask sim ARGS`.
pub fn run(args: &[&str]) -> Result<bool, String> {
    match args.first().copied() {
        Some("mutants") => mutants::run(&args[1..].iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>()),
        Some("explore" | "shrink") => simulator(args),
        _ => simulator(&[&["run"], args].concat()),
    }
}

fn simulator(args: &[&str]) -> Result<bool, String> {
    // The worlds over the AWS SDK and over SQLite need a feature of their own, because it is slow to build.
    let stacks = args.iter().any(|arg| *arg == "sdk" || *arg == "sqlite");
    let feature = if stacks { "--features stacks" } else { "" };
    let mut cargo = sh::cargo(&format!("run --quiet --package dynamo-lock-sim --profile sim {feature} --"));
    let ended = cargo.args(args).status().map_err(|error| sh::cannot_start(&cargo, &error))?;
    Ok(ended.success())
}
