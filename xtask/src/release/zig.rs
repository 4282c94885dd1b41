//! Builds with zig as C compiler and linker, which brings the C libraries of other systems with it: musl, and the
//! symbols of old versions of glibc.

use super::source;
use crate::{ministack, sh};
use std::process::Command;

const FILE: &str = "xtask/zig-requirements.txt";
const REQUIREMENTS: &str = include_str!("../../zig-requirements.txt");

/// Version of cargo-auditable, which writes the list of all crates into what it builds.
const AUDITABLE: &str = "0.7.7";

/// Returns a command that builds `package` with a profile for a target, in a target directory of its own. A version of
/// glibc may follow the name of the target, for example `x86_64-unknown-linux-gnu.2.17`.
pub fn build(package: &str, profile: &str, target: &str) -> Result<Command, String> {
    let (python, tag) = ministack::find_python()?;
    let zig = ministack::install_packages("zig", python, &tag, REQUIREMENTS, FILE)?;
    let folders = [zig.join("bin"), sh::tool("cargo-auditable", AUDITABLE, "")?];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(folders.into_iter().chain(std::env::split_paths(&path)));
    let options = format!("--locked -p {package} --profile {profile} --target {target}");
    let mut cargo = source::cargo(&format!("auditable zigbuild {options}"))?;
    cargo.arg("--target-dir").arg(super::target()?);
    cargo.env("PATH", path.map_err(|error| error.to_string())?).env("CARGO_ZIGBUILD_ZIG_PATH", zig.join("ziglang/zig"));
    Ok(cargo)
}
