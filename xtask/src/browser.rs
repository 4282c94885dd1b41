//! The tests of the page of `dynamo-lock ui` in headless Chromium.

use crate::tally::Tally;
use crate::{node, sh, test};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const FOLDER: &str = "crates/cli/tests/browser";

/// Names of Chromium in the distributions.
const PROGRAMS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Returns the path of Chromium.
pub fn find() -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    find_in(&folders)
}

fn find_in(folders: &[PathBuf]) -> Result<PathBuf, String> {
    let mut found = PROGRAMS.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let missing = || format!("no {} in PATH; install Debian's package chromium", PROGRAMS.join(" or "));
    found.find(|path| path.is_file()).ok_or_else(missing)
}

/// Returns whether the tests contain `filter`. They run all or not at all, because they share one page.
pub fn matches(filter: Option<&str>) -> Result<bool, String> {
    let Some(filter) = filter else { return Ok(true) };
    let path = sh::root().join(FOLDER).join("ui.test.js");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(text.lines().any(|line| line.trim_start().starts_with("test('") && line.contains(filter)))
}

/// Runs the tests with node's own runner, with the program that `cargo test` has built.
pub fn tests(packages: &Path, chromium: &Path, tally: &mut Tally) -> Result<(), String> {
    let mut node = Command::new("node");
    node.args(["--test", "--test-reporter=tap", "ui.test.js"]).current_dir(sh::root().join(FOLDER));
    node.env("DYNAMO_LOCK_TEST_PROGRAM", node::target()?.join("debug/dynamo-lock"));
    node.env("DYNAMO_LOCK_TEST_NODE_MODULES", packages.join("node_modules"));
    node.env("DYNAMO_LOCK_TEST_CHROMIUM", chromium).stdin(Stdio::null());
    test::run_and_count(&mut node, tally, Tally::tap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_chromium_is_reported_with_the_fix() {
        assert!(find_in(&[PathBuf::from("/nonexistent")]).is_err_and(|error| error.contains("install")));
    }

    #[test]
    fn filter_selects_the_browser_tests_by_their_names() {
        let matches = |filter| matches(filter).expect("the file exists");
        assert!(matches(None) && matches(Some("lost connection")) && !matches(Some("lost_connection")));
    }
}
