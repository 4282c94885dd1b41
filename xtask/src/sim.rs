//! The simulator's front end: builds it for speed, and hands the rest of the line on.

use crate::{mutants, sh};

/// `cargo xtask sim …`.
pub fn run(args: &[String]) -> Result<bool, String> {
    let first = args.first().map(String::as_str);
    match first {
        Some("mutants") => mutants::run(&args[1..]),
        Some("explore" | "shrink") => simulator(args),
        _ => simulator(&[&["run".to_owned()], args].concat()),
    }
}

fn simulator(args: &[String]) -> Result<bool, String> {
    // The SDK's stack and SQLite are worlds of their own, and slow to build.
    let stacks = args.iter().any(|arg| arg == "sdk" || arg == "sqlite");
    let feature = if stacks { "--features stacks" } else { "" };
    let mut cargo = sh::cargo(&format!("run --quiet --package dynamo-lock-sim --profile sim {feature} --"));
    let ended = cargo.args(args).status().map_err(|error| sh::cannot_start(&cargo, &error))?;
    Ok(ended.success())
}
