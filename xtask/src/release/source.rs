//! The source of what is released: the crates of users without those of the tests, and with the newest SQLite.
//!
//! One program can link only one SQLite, and the in-process DynamoDB of the tests needs an old one, which the lock file of
//! the repository therefore has (docs/decisions/0003-rusqlite-version-range.md).

use super::{copy, empty, read, write};
use crate::sh;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Version of rusqlite in what is released, the newest that the library accepts. It contains SQLite.
const RUSQLITE: &str = "0.43.0";

/// The members of the workspace that are released.
const MEMBERS: &str = r#"members = ["crates/protocol", "crates/dynamo-lock", "crates/cli", "bindings/node"]"#;

/// Returns the folder with the source.
pub fn folder() -> Result<PathBuf, String> {
    Ok(super::target()?.join("source"))
}

/// Returns a cargo command for the source, with a target directory outside of it.
pub fn cargo(arguments: &str) -> Result<Command, String> {
    let mut cargo = sh::cargo(arguments);
    cargo.current_dir(folder()?).env("CARGO_TARGET_DIR", super::target()?);
    Ok(cargo)
}

/// Copies the source, and replaces SQLite in its lock file. All other crates keep their versions.
pub fn prepare() -> Result<(), String> {
    let folder = folder()?;
    empty(&folder)?;
    let listed =
        sh::stdout(Command::new("git").args(["ls-files", "-co", "--exclude-standard"]).current_dir(sh::root()))?;
    for path in listed.lines().filter(|path| sh::root().join(path).is_file() && is_released(path)) {
        copy(&sh::root().join(path), &folder, path)?;
    }
    edit(&folder.join("Cargo.toml"), |line| Some(if line.starts_with("members = ") { MEMBERS } else { line }.into()))?;
    let library = folder.join("crates/dynamo-lock/Cargo.toml");
    edit(&library, |line| (!line.starts_with("dynamo-lock-test-support")).then(|| line.into()))?;
    sh::stdout(&mut cargo(&format!("update --package rusqlite --precise {RUSQLITE}"))?)?;
    sh::stdout(&mut cargo("fetch --locked")?)?;
    let [old, new] = [read(&sh::root().join("Cargo.lock"))?, read(&folder.join("Cargo.lock"))?];
    require_same(&old, &new)
}

/// Returns whether the source has this file of the repository.
fn is_released(path: &str) -> bool {
    let is_tool = path.starts_with("xtask/");
    let mut folders = path.split('/');
    let is_other_crate = folders.next() == Some("crates")
        && folders.next().is_some_and(|name| !MEMBERS.contains(&format!("\"crates/{name}\"")));
    !is_tool && !is_other_crate
}

/// Replaces each line of a file, or removes it.
fn edit(file: &Path, line: impl Fn(&str) -> Option<String>) -> Result<(), String> {
    let text: String = read(file)?.lines().filter_map(line).map(|line| line + "\n").collect();
    write(file, &text)
}

/// Fails if a lock file has another version of a crate than the repository, except for SQLite.
fn require_same(old: &str, new: &str) -> Result<(), String> {
    let old = packages(old);
    let sqlite = ["rusqlite", "libsqlite3-sys"];
    let others: Vec<String> = packages(new)
        .into_iter()
        .filter(|package| !old.contains(package) && !sqlite.contains(&package.split(' ').next().unwrap_or_default()))
        .collect();
    super::none(&others, "the lock file of the release has other versions than that of the repository")
}

/// Returns the packages of a lock file as `name version`.
fn packages(lock: &str) -> Vec<String> {
    let value = |line: &str| Some(line.split('"').nth(1)?.to_owned());
    let pairs = lock.split("[[package]]").skip(1).filter_map(|package| {
        let mut lines = package.trim_start().lines();
        Some(format!("{} {}", value(lines.next()?)?, value(lines.next()?)?))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_of_tests_are_not_released() {
        let all = [
            "Cargo.toml",
            "crates/protocol/src/lib.rs",
            "crates/sim/src/lib.rs",
            "crates/lock/src/lib.rs",
            "xtask/src/main.rs",
            "docs/cli.md",
        ];
        let released: Vec<&str> = all.into_iter().filter(|path| is_released(path)).collect();
        assert_eq!(released, ["Cargo.toml", "crates/protocol/src/lib.rs", "docs/cli.md"]);
    }

    #[test]
    fn other_versions_than_those_of_the_repository_are_refused() {
        let lock = |tokio: &str, rusqlite: &str| {
            format!(
                "version = 4\n\n[[package]]\nname = \"rusqlite\"\nversion = \"{rusqlite}\"\n\n[[package]]\nname = \"tokio\"\nversion = \"{tokio}\"\n"
            )
        };
        assert_eq!(packages(&lock("1.2.3", "0.36.0")), ["rusqlite 0.36.0", "tokio 1.2.3"]);
        assert_eq!(require_same(&lock("1.2.3", "0.36.0"), &lock("1.2.3", "0.43.0")), Ok(()));
        assert!(require_same(&lock("1.2.3", "0.36.0"), &lock("1.2.4", "0.36.0")).is_err());
    }
}
