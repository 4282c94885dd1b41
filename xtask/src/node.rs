//! The Node package: its addon, built and put where `index.js` looks for it, and its tests.

use crate::ministack::Server;
use crate::tally::Tally;
use crate::{sh, test};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const FOLDER: &str = "bindings/node";

/// `cargo xtask node`.
pub fn build(release: bool) -> Result<bool, String> {
    let mut cargo = sh::cargo("build --locked -p dynamo-lock-node");
    if release {
        cargo.arg("--release");
    }
    let status = cargo.status().map_err(|error| sh::cannot_start(&cargo, &error))?;
    if !status.success() {
        return Ok(false);
    }
    let profile = if release { "release" } else { "debug" };
    let addon = place(&target()?.join(profile).join(library()))?;
    println!("{}", addon.display());
    Ok(true)
}

/// `cargo xtask node-bench`: whether JavaScript's acquire and release cost at most 1.25 times Rust's.
pub fn bench() -> Result<bool, String> {
    let mut cargo = sh::cargo("build --locked --release -p dynamo-lock-node --lib --example overhead");
    if !cargo.status().map_err(|error| sh::cannot_start(&cargo, &error))?.success() {
        return Ok(false);
    }
    let release = target()?.join("release");
    place(&release.join(library()))?;
    let server = Server::start()?;
    let mut node = Command::new("node");
    node.arg("bench/overhead.js")
        .arg(release.join("examples/overhead").with_extension(std::env::consts::EXE_EXTENSION))
        .current_dir(sh::root().join(FOLDER))
        .envs(test::environment(true, Some(server.url())))
        .stdin(Stdio::null());
    let status = node.status().map_err(|error| sh::cannot_start(&node, &error))?;
    Ok(status.success())
}

/// Puts the addon that `cargo test` has built where `index.js` looks for it.
pub fn place_tested() -> Result<PathBuf, String> {
    place(&target()?.join("debug/deps").join(library()))
}

/// By a rename: a process that has loaded the one before keeps it.
fn place(from: &Path) -> Result<PathBuf, String> {
    let to = sh::root().join(FOLDER).join(format!("dynamo-lock.{}.node", platform()));
    let half = to.with_extension(format!("{}.half", std::process::id()));
    std::fs::copy(from, &half)
        .and_then(|_| std::fs::rename(&half, &to))
        .map_err(|error| format!("cannot copy {} to {}: {error}", from.display(), to.display()))?;
    Ok(to)
}

/// Where cargo builds: this program was built there too.
fn target() -> Result<PathBuf, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let target = program.ancestors().find(|path| path.join("CACHEDIR.TAG").exists());
    target.map(Path::to_path_buf).ok_or_else(|| format!("{} is in no target directory", program.display()))
}

fn library() -> String {
    let (before, after) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    format!("{before}dynamo_lock_node{after}")
}

/// As `lib/native.js` and napi-rs name platforms.
fn platform() -> String {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    match std::env::consts::OS {
        "macos" => format!("darwin-{arch}"),
        "windows" => format!("win32-{arch}-msvc"),
        os => format!("{os}-{arch}-{}", if cfg!(target_env = "musl") { "musl" } else { "gnu" }),
    }
}

/// Runs its tests by node's own runner, passes the output through and counts.
pub fn tests(packages: &Path, filter: Option<&str>, env: &[(&str, &str)], tally: &mut Tally) -> Result<(), String> {
    let folder = sh::root().join(FOLDER);
    let mut node = Command::new("node");
    // One file after the other: they watch the memory and the clocks of processes.
    node.args(["--test", "--test-concurrency=1", "--test-reporter=tap"]);
    if let Some(filter) = filter {
        node.arg(format!("--test-name-pattern={}", filter.replace(|c: char| !c.is_alphanumeric(), ".")));
    }
    node.args(files(&folder.join("test"))?).current_dir(&folder).stdin(Stdio::null()).stdout(Stdio::piped());
    node.env("DYNAMO_LOCK_TEST_NODE_MODULES", packages.join("node_modules")).envs(env.iter().copied());
    let mut child = node.spawn().map_err(|error| sh::cannot_start(&node, &error))?;
    let failed = tally.failed;
    if let Some(output) = child.stdout.take() {
        sh::pass_on(BufReader::new(output), &mut std::io::stdout(), |line| tally.tap(line))
            .map_err(|error| error.to_string())?;
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    if !status.success() && tally.failed == failed {
        println!("node --test ended with {status} and no failed test: see above");
        tally.failed += 1;
    }
    Ok(())
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(directory).map_err(|error| error.to_string())?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.to_string_lossy().ends_with(".test.js"));
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addon_has_the_name_that_javascript_looks_for() {
        let script = "console.log(require('./lib/platform')())";
        let mut node = Command::new("node");
        let Ok(printed) = sh::output(node.args(["-e", script]).current_dir(sh::root().join(FOLDER))) else { return };
        assert_eq!(printed.stdout.trim(), platform(), "{}", printed.stderr);
    }

    #[test]
    fn there_are_tests() {
        assert!(files(&sh::root().join(FOLDER).join("test")).expect("a directory").len() > 3);
    }
}
