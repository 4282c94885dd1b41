//! The packed Node package: its checks by publint and attw, and its use by several versions of Node.js and on a system
//! with an old C library.

use super::{Release, copy, elf, empty, is_root, write, zig};
use crate::{npm, sh};
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "x86_64-unknown-linux-gnu";
const PLATFORM: &str = "linux-x64-gnu";

/// Newest version of glibc that the addon may need. Node.js 18 itself needs 2.28.
const GLIBC: (u32, u32) = (2, 17);

/// The folders of packaging/node-versions.
const VERSIONS: [&str; 4] = ["node18", "node20", "node22", "node24"];

/// Distribution with an old C library (glibc 2.31).
const OLD_DEBIAN: &str = "bullseye";

/// Uses the installed package as a user does, by both module systems.
const PROGRAM: &str = "\
import { connect } from '@dynamo-lock/dynamo-lock';
import { createRequire } from 'node:module';
if (createRequire(import.meta.url)('@dynamo-lock/dynamo-lock').connect !== connect) throw new Error('two packages');
const client = connect(`sqlite://${process.argv[2]}`);
await client.withLock('demo', async (lock) => console.log(`${process.version} ${lock.isValid()} ${typeof lock.token}`));
";

/// Builds the addon, packs the packages and uses them.
pub fn pack(release: &mut Release) -> Result<(), String> {
    sh::stdout(&mut zig::build("dynamo-lock-node", "release", &format!("{TARGET}.{}.{}", GLIBC.0, GLIBC.1))?)?;
    let addon = super::target()?.join(TARGET).join("release/libdynamo_lock_node.so");
    let glibc = elf::require_glibc(&addon, GLIBC)?;
    elf::require_crate_list(&addon)?;
    let folder = super::target()?.join("npm");
    let packed = pack_with(&folder, Some(&addon))?;

    let home = folder.join("home");
    write(&home.join("package.json"), "{}")?;
    write(&home.join("use.mjs"), PROGRAM)?;
    let mut install = Command::new("npm");
    install.args(["install", "--offline", "--no-audit", "--no-fund", "--loglevel=error", "--cache", "cache"]);
    sh::stdout(install.args(&packed).current_dir(&home))?;
    let versions = npm::install_node_versions()?.join("node_modules");
    for version in VERSIONS {
        let mut node = Command::new(versions.join(version).join("bin/node"));
        require_lock(version, sh::stdout(node.arg("use.mjs").arg(home.join("locks.db")).current_dir(&home))?)?;
    }
    let how = format!(
        "publint and attw; needs glibc {glibc}; installed with `npm install --offline` and used by {}",
        VERSIONS.join(", ")
    );
    for file in &packed {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        copy(file, &release.folder, &name)?;
        release.verified(&release.folder.join(&*name), &how);
    }
    let name = format!("Node package on Debian {OLD_DEBIAN}");
    match old_debian() {
        Ok(root) => {
            use_in(&root, &home, &versions)?;
            release.lines.push(format!("ok        {name} (glibc 2.31): used by {}", VERSIONS.join(", ")));
        }
        Err(why) => release.skipped(&name, &why),
    }
    Ok(())
}

/// Checks the package without its addon.
pub fn check(release: &mut Release) -> Result<(), String> {
    let [_, package] = pack_with(&super::target()?.join("npm"), None)?;
    release.verified(&package, "publint and attw");
    Ok(())
}

/// Lays out all packages with this addon, checks the main package, and returns the archives of the addon's package and
/// of the main package.
fn pack_with(folder: &Path, addon: Option<&Path>) -> Result<[PathBuf; 2], String> {
    empty(folder)?;
    let source = sh::root().join("bindings/node");
    let platforms = std::fs::read_dir(source.join("npm")).map_err(|error| error.to_string())?;
    for platform in platforms.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()) {
        // The packages of other platforms are laid out too, but not used.
        let addons = folder.join("addons");
        write(&addons.join(format!("dynamo-lock.{platform}.node")), "")?;
    }
    if let Some(addon) = addon {
        copy(addon, &folder.join("addons"), &format!("dynamo-lock.{PLATFORM}.node"))?;
    }
    sh::stdout(Command::new("node").arg(source.join("pack.js")).arg(folder).arg(folder.join("addons")))?;
    let checks = npm::install_checks()?.join("node_modules/.bin");
    let pack = |package: &str| {
        let mut npm = Command::new("npm");
        npm.args(["pack", "--loglevel=error"]).arg(folder.join(package)).current_dir(folder);
        let archive = folder.join(sh::stdout(&mut npm)?.trim());
        let linted = sh::stdout(Command::new(checks.join("publint")).args(["run", "--strict"]).arg(&archive))?;
        // Suggestions leave the exit code at zero.
        if linted.contains("All good!") { Ok(archive) } else { Err(format!("publint: {linted}")) }
    };
    let packed = [pack(&format!("npm/{PLATFORM}"))?, pack("package")?];
    let (good, printed, errors) = sh::output(Command::new(checks.join("attw")).args(["-f", "ascii"]).arg(&packed[1]))?;
    if good { Ok(packed) } else { Err(format!("attw: {printed}{errors}")) }
}

/// Returns the root folder of a Debian with an old C library. The error is the reason for which there is none here.
fn old_debian() -> Result<PathBuf, String> {
    if !is_root() {
        return Err("only root may use `chroot`".into());
    }
    let install =
        "command -v debootstrap || { apt-get update -q && apt-get install -qy --no-install-recommends debootstrap; }";
    sh::stdout(Command::new("sh").args(["-c", install])).map_err(|error| format!("no debootstrap: {error}"))?;
    sh::once(&format!("Debian {OLD_DEBIAN}"), &format!("debian-{OLD_DEBIAN}"), |to| {
        let mut debootstrap = Command::new("debootstrap");
        sh::stdout(debootstrap.args(["--variant=minbase", OLD_DEBIAN]).arg(to)).map(drop)
    })
}

/// Uses the package that is installed in `home` in another root folder.
fn use_in(root: &Path, home: &Path, versions: &Path) -> Result<(), String> {
    // The mounts exist only for these processes.
    let script = "mount --bind \"$2\" \"$1/mnt\" && mount --bind \"$3\" \"$1/srv\" && shift 3 && exec chroot \"$@\"";
    for version in VERSIONS {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "sh", "-ec", script, "sh"]).args([root, home, versions]).arg(root);
        unshare.arg(format!("/srv/{version}/bin/node")).args(["/mnt/use.mjs", "/tmp/locks.db"]);
        require_lock(version, sh::stdout(&mut unshare)?)?;
    }
    Ok(())
}

/// Fails unless the program has held its lock, in this version of Node.js.
fn require_lock(version: &str, printed: String) -> Result<(), String> {
    let number = version.trim_start_matches("node");
    let is_good = printed.starts_with(&format!("v{number}.")) && printed.ends_with(" true bigint\n");
    if is_good { Ok(()) } else { Err(format!("the packed Node package printed {printed:?} in {version}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_lock_and_other_version_are_refused() {
        assert_eq!(require_lock("node22", "v22.1.0 true bigint\n".into()), Ok(()));
        assert!(require_lock("node22", "v22.1.0 false bigint\n".into()).is_err());
        assert!(require_lock("node22", "v20.1.0 true bigint\n".into()).is_err());
        assert!(require_lock("node22", String::new()).is_err());
    }
}
