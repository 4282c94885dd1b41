//! npm packages that tests drive: installed once into the cache directory, as their lock files say, without running
//! scripts.

use crate::sh;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Packages that one folder of the repository names.
pub struct Packages {
    what: &'static str,
    name: &'static str,
    folder: &'static str,
    files: &'static [&'static str],
}

/// The original npm `dynamo-lock`, which one test pauses; its driver runs from the repository.
pub const ORIGINAL: Packages = Packages {
    what: "the original npm dynamo-lock",
    name: "npm-original",
    folder: "crates/test-support/npm",
    files: &["package.json", "package-lock.json", "aws-sdk/package.json", "aws-sdk/index.js"],
};

/// Both AWS SDKs, the original and the type checker, for the tests of the Node package.
pub const NODE: Packages = Packages {
    what: "the npm packages that the tests of the Node package drive",
    name: "npm-node",
    folder: "bindings/node/test",
    files: &["package.json", "package-lock.json"],
};

impl Packages {
    /// Where they are, with their `node_modules`.
    pub fn install(&self) -> Result<PathBuf, String> {
        let from = sh::root().join(self.folder);
        let mut contents = Vec::new();
        for file in self.files {
            contents.extend(std::fs::read(from.join(file)).map_err(|error| format!("cannot read {file}: {error}"))?);
        }
        let name = format!("{}-{:016x}", self.name, sh::fnv(&contents));
        sh::once(self.what, &name, |half| self.make(&from, half))
    }

    fn make(&self, from: &Path, to: &Path) -> Result<(), String> {
        for file in self.files {
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
            printed => Err(format!("npm could not install {}:\n{}", self.what, sh::tail(&printed.stderr, 20))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_pinned_by_their_hash_and_name_no_place_to_get_them() {
        for packages in [ORIGINAL, NODE] {
            let lock = sh::root().join(packages.folder).join("package-lock.json");
            let lock = std::fs::read_to_string(lock).expect("there");
            assert!(lock.contains("\"integrity\": \"sha512-"));
            assert!(!lock.contains("\"resolved\": \"http"));
        }
    }
}
