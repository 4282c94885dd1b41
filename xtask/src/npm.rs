//! The original npm `dynamo-lock`, which one test drives: installed once into the cache directory, as its lock file
//! says, without running scripts.

use crate::sh;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const FOLDER: &str = "crates/dynamo-lock/tests/npm";
/// What the package needs; its driver runs from the repository.
const FILES: [&str; 4] = ["package.json", "package-lock.json", "aws-sdk/package.json", "aws-sdk/index.js"];

/// Where the original is, with its `node_modules`.
pub fn install() -> Result<PathBuf, String> {
    let from = sh::root().join(FOLDER);
    let mut contents = Vec::new();
    for file in FILES {
        contents.extend(std::fs::read(from.join(file)).map_err(|error| format!("cannot read {file}: {error}"))?);
    }
    let name = format!("npm-original-{:016x}", sh::fnv(&contents));
    sh::once("the original npm dynamo-lock", &name, |half| make(&from, half))
}

fn make(from: &Path, to: &Path) -> Result<(), String> {
    for file in FILES {
        let (from, to) = (from.join(file), to.join(file));
        let copied = std::fs::create_dir_all(to.parent().unwrap_or(&to)).and_then(|()| std::fs::copy(from, &to));
        copied.map_err(|error| format!("cannot write {}: {error}", to.display()))?;
    }
    let mut npm = Command::new("npm");
    npm.args("ci --ignore-scripts --no-audit --no-fund --loglevel=error".split(' '))
        .current_dir(to)
        .stdin(Stdio::null());
    match sh::output(&mut npm)? {
        printed if printed.ok => Ok(()),
        printed => Err(format!("npm could not install the original:\n{}", sh::tail(&printed.stderr, 20))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_is_pinned_by_its_hash_and_names_no_host() {
        let lock = std::fs::read_to_string(sh::root().join(FOLDER).join("package-lock.json")).expect("there");
        assert!(lock.contains("\"integrity\": \"sha512-"));
        assert!(!lock.contains("://"));
    }
}
