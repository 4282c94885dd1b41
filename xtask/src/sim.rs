//! `cargo xtask sim`: builds the simulator with optimizations and passes the arguments on.

use std::process::Command;

use crate::sh;

/// Command that installs the version of cargo-mutants that `.cargo/mutants.toml` is written for.
const INSTALL: &str = "cargo install cargo-mutants --locked --version =27.1.0";

/// Runs `cargo xtask sim ARGS`.
pub fn run(args: &[&str]) -> Result<bool, String> {
    match args {
        ["mutants", "--generated", args @ ..] => generated(args),
        ["explore" | "sets" | "once" | "handoff" | "shrink" | "mutants" | "threads" | "--help", ..] => simulator(args),
        _ => simulator(&[&["run"], args].concat()),
    }
}

fn simulator(args: &[&str]) -> Result<bool, String> {
    // The worlds over the AWS SDK and over SQLite need a feature of their own, because it is slow to build.
    let stacks = args.iter().any(|arg| *arg == "sdk" || *arg == "sqlite");
    let feature = if stacks { "--features stacks" } else { "" };
    sh::succeeds(sh::cargo(&format!("run --quiet --package dynamo-lock-sim --profile sim {feature} --")).args(args))
}

/// Runs `cargo mutants`, for example with `--shard 0/4` or `--file crates/protocol/src/held.rs`.
fn generated(args: &[&str]) -> Result<bool, String> {
    let mut mutants = Command::new("cargo-mutants");
    mutants.args(["mutants", "--output", "target"]).args(args).current_dir(sh::root());
    sh::succeeds(&mut mutants).map_err(|error| format!("{error} Run `{INSTALL}`"))
}
