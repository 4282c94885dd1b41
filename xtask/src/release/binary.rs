//! The static program, for every Linux on x86-64.

use super::{Release, elf, zig};
use crate::sh;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program for this target contains its C library, which also looks up host names.
pub const TARGET: &str = "x86_64-unknown-linux-musl";

/// Profile in Cargo.toml.
const PROFILE: &str = "dist";

/// Upper bound of the program's size in bytes.
const MOST: u64 = 15_000_000;

/// Builds the program and returns its path.
pub fn build(release: &mut Release) -> Result<PathBuf, String> {
    install_target()?;
    sh::stdout(&mut zig::build("dynamo-lock-cli", PROFILE, TARGET)?)?;
    let program = super::target()?.join(TARGET).join(PROFILE).join("dynamo-lock");
    elf::require_static(&program)?;
    elf::require_crate_list(&program)?;
    at_most(&program, MOST)?;
    require_version(&program, &release.version)?;
    release.verified(&program, "static, contains the list of its crates, --version");
    Ok(program)
}

/// Adds the standard library of the target to the toolchain.
fn install_target() -> Result<(), String> {
    let printed = sh::stdout(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]))?;
    if Path::new(printed.trim()).exists() {
        return Ok(());
    }
    println!("installing the standard library of {TARGET} (once)");
    sh::stdout(Command::new("rustup").args(["target", "add", TARGET])).map(drop)
}

/// Fails if the program does not report the version.
pub fn require_version(program: &Path, version: &str) -> Result<(), String> {
    let printed = sh::stdout(Command::new(program).arg("--version"))?;
    let expected = format!("dynamo-lock {version}\n");
    if printed == expected { Ok(()) } else { Err(format!("--version printed {printed:?}, not {expected:?}")) }
}

/// Fails if the file has more than `most` bytes.
fn at_most(file: &Path, most: u64) -> Result<(), String> {
    match super::size(file) {
        size if size <= most => Ok(()),
        size => Err(format!("{} has {size} bytes, more than {most}", file.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_file_and_wrong_version_are_refused() {
        let program = std::env::current_exe().expect("a path");
        assert!(at_most(&program, 1000).is_err() && at_most(&program, u64::MAX).is_ok());
        assert!(require_version(Path::new("/bin/echo"), "1.2.3").is_err());
    }
}
