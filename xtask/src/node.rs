//! The Node package: builds its addon, copies it to where `index.js` looks for it, and runs its tests.

use crate::ministack::Server;
use crate::tally::Tally;
use crate::{release::source, sh, test};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const FOLDER: &str = "bindings/node";

/// Runs `cargo xtask node`: builds the addon and prints its path. That of a release is built from the source of releases.
pub fn build(release: bool) -> Result<bool, String> {
    let (mut cargo, folder) = if release {
        source::prepare()?;
        (source::cargo("build --locked --release -p dynamo-lock-node")?, "dist/release")
    } else {
        (sh::cargo("build --locked -p dynamo-lock-node"), "debug")
    };
    if !sh::succeeds(&mut cargo)? {
        return Ok(false);
    }
    let addon = place(&target()?.join(folder).join(library()))?;
    println!("{}", addon.display());
    Ok(true)
}

/// Runs `cargo xtask node-bench`: fails if acquire and release from JavaScript cost more than 1.25 times Rust's.
pub fn bench() -> Result<bool, String> {
    let mut cargo = sh::cargo("build --locked --release -p dynamo-lock-node --lib --example overhead");
    if !sh::succeeds(&mut cargo)? {
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
    sh::succeeds(&mut node)
}

/// Copies the addon that `cargo test` has built to where `index.js` looks for it.
pub fn place_tested() -> Result<PathBuf, String> {
    place(&target()?.join("debug/deps").join(library()))
}

/// Copies and renames, because a process may have the previous addon loaded.
fn place(from: &Path) -> Result<PathBuf, String> {
    let to = sh::root().join(FOLDER).join(format!("dynamo-lock.{}.node", platform()?));
    let part = to.with_extension(format!("{}.part", std::process::id()));
    std::fs::copy(from, &part)
        .and_then(|_| std::fs::rename(&part, &to))
        .map_err(|error| format!("cannot copy {} to {}: {error}", from.display(), to.display()))?;
    Ok(to)
}

/// Returns the target directory, which is the one that contains this program.
pub fn target() -> Result<PathBuf, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let target = program.ancestors().find(|path| path.join("CACHEDIR.TAG").exists());
    target.map(Path::to_path_buf).ok_or_else(|| format!("{} is in no target directory", program.display()))
}

fn library() -> String {
    let (before, after) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    format!("{before}dynamo_lock_node{after}")
}

/// Returns the platform's name as `lib/platform.js` gives it, for example `linux-x64-gnu`.
fn platform() -> Result<String, String> {
    let script = "process.stdout.write(require('./lib/platform')())";
    sh::stdout(Command::new("node").args(["-e", script]).current_dir(sh::root().join(FOLDER)))
}

/// Runs the tests with node's own runner, passes its output through and adds its results to `tally`.
pub fn tests(packages: &Path, filter: Option<&str>, env: &[(&str, &str)], tally: &mut Tally) -> Result<(), String> {
    let folder = sh::root().join(FOLDER);
    let mut node = Command::new("node");
    // One file at a time, because some tests measure the memory and the clocks of processes.
    node.args(["--test", "--test-concurrency=1", "--test-reporter=tap"]);
    if let Some(filter) = filter {
        node.arg(format!("--test-name-pattern={}", filter.replace(|c: char| !c.is_alphanumeric(), ".")));
    }
    node.args(files(&folder.join("test"))?).current_dir(&folder).stdin(Stdio::null());
    node.env("DYNAMO_LOCK_TEST_NODE_MODULES", packages.join("node_modules")).envs(env.iter().copied());
    test::run_and_count(&mut node, tally, Tally::tap)
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
    fn test_files_are_found() {
        assert!(files(&sh::root().join(FOLDER).join("test")).expect("readable").len() > 3);
    }
}
