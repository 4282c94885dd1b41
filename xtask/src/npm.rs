//! npm packages for tests, installed once into the cache directory from their lock files, without running scripts.
//! `npm ci` verifies the hashes that the lock files contain.

use crate::sh;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Installs npm dynamo-lock 0.1.3, for the tests that run it beside this library.
pub fn install_legacy() -> Result<PathBuf, String> {
    let files = ["package.json", "package-lock.json", "aws-sdk/package.json", "aws-sdk/index.js"];
    install("npm-original", "crates/test-support/npm", &files)
}

/// Installs both AWS SDKs, npm dynamo-lock and the type checker, for the tests of the Node package.
pub fn install_for_node() -> Result<PathBuf, String> {
    install("npm-node", "bindings/node/test", &["package.json", "package-lock.json"])
}

/// Installs the driver of headless Chromium, for the tests of the page of `dynamo-lock ui`.
pub fn install_for_browser() -> Result<PathBuf, String> {
    install("npm-browser", "crates/cli/tests/browser", &["package.json", "package-lock.json"])
}

/// Installs the libraries in Node that the benchmark compares.
pub fn install_for_bench() -> Result<PathBuf, String> {
    install("npm-bench", "bench/peers", &["package.json", "package-lock.json"])
}

/// Installs publint and attw, which check the packed Node package.
pub fn install_checks() -> Result<PathBuf, String> {
    install("npm-checks", "packaging/npm-checks", &["package.json", "package-lock.json"])
}

/// Installs the versions of Node.js that use the packed Node package.
pub fn install_node_versions() -> Result<PathBuf, String> {
    install("node-versions", "packaging/node-versions", &["package.json", "package-lock.json"])
}

/// Installs the packages that `folder` lists, and returns the directory that contains their `node_modules`.
fn install(name: &str, folder: &str, files: &[&str]) -> Result<PathBuf, String> {
    let from = sh::root().join(folder);
    let mut contents = Vec::new();
    for file in files {
        contents.extend(std::fs::read(from.join(file)).map_err(|error| format!("cannot read {file}: {error}"))?);
    }
    sh::once(&format!("the npm packages of {folder}"), &format!("{name}-{:016x}", sh::fnv(&contents)), |to| {
        for (from, to) in files.iter().map(|file| (from.join(file), to.join(file))) {
            let copied = std::fs::create_dir_all(to.parent().unwrap_or(&to)).and_then(|()| std::fs::copy(from, &to));
            copied.map_err(|error| format!("cannot write {}: {error}", to.display()))?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
        sh::stdout(npm.current_dir(to).stdin(Stdio::null())).map(drop)
    })
}
