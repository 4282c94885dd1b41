//! `cargo xtask sim`: builds the simulator with optimizations and passes the arguments on.

use std::path::{Path, PathBuf};

use crate::sh;

/// Version of cargo-mutants, which generates mutants of the product's code. `.cargo/mutants.toml` configures it.
const CARGO_MUTANTS: &str = "27.1.0";

/// Runs `cargo xtask sim ARGS`.
pub fn run(args: &[&str]) -> Result<bool, String> {
    match args {
        ["mutants", "--generated", args @ ..] => generated(args),
        ["explore" | "shrink" | "mutants" | "--help", ..] => simulator(args),
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

/// Runs `cargo mutants`, for example with `--shard 0/4` or `--file crates/protocol/src/held.rs`.
fn generated(args: &[&str]) -> Result<bool, String> {
    let tool = cargo_mutants()?.join("bin/cargo-mutants");
    let mut mutants = std::process::Command::new(tool);
    mutants.args(["mutants", "--output", "target"]).args(args).current_dir(sh::root());
    let ended = mutants.status().map_err(|error| sh::cannot_start(&mutants, &error))?;
    Ok(ended.success())
}

/// Returns the directory with cargo-mutants, and installs it first if necessary.
fn cargo_mutants() -> Result<PathBuf, String> {
    let install = |root: &Path| {
        let version = format!("={CARGO_MUTANTS}");
        let mut cargo = sh::cargo("install cargo-mutants --locked --quiet --version");
        // Neither the settings nor the build of this workspace apply to it.
        cargo.args([&version, "--root"]).arg(root).current_dir("/").env_remove("CARGO_TARGET_DIR");
        let ended = cargo.status().map_err(|error| sh::cannot_start(&cargo, &error))?;
        ended.success().then_some(()).ok_or_else(|| "cannot install cargo-mutants; is the registry reachable?".into())
    };
    sh::once("cargo-mutants", &format!("cargo-mutants-{CARGO_MUTANTS}"), install)
}
