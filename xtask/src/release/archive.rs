//! The archive with the program and its documents, the list of its components, and the checksums.

use super::{Release, binary, copy, none, read, source, write};
use crate::sh;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Version of cargo-about, which collects the licences of all crates.
const ABOUT: &str = "0.9.3";

/// Version of cargo-cyclonedx, which lists all crates for scanners.
const CYCLONEDX: &str = "0.5.9";

/// Shells with the names under which they look for the completions of a command.
const COMPLETIONS: [(&str, &str); 3] =
    [("bash", "dynamo-lock.bash"), ("zsh", "_dynamo-lock"), ("fish", "dynamo-lock.fish")];

/// Packs the archive, uses its content, and returns the folder with it.
pub fn pack(release: &mut Release, program: &Path) -> Result<PathBuf, String> {
    let name = format!("dynamo-lock-{}-{}", release.version, binary::TARGET);
    let staged = super::target()?.join("archive");
    super::empty(&staged)?;
    let content = staged.join(&name);
    copy(program, &content, "dynamo-lock")?;
    copy(&sh::root().join("crates/cli/README.md"), &content, "README.md")?;
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        copy(&sh::root().join(licence), &content, licence)?;
    }
    write(&content.join("dynamo-lock.1"), &sh::stdout(Command::new(program).arg("man"))?)?;
    for (shell, file) in COMPLETIONS {
        let script = sh::stdout(Command::new(program).args(["completions", shell]))?;
        write(&content.join("completions").join(file), &script)?;
    }
    let crates = crates()?;
    let notices = content.join("THIRD-PARTY.md");
    write_notices(&notices)?;
    none(&unnamed(&crates, "\n- NAME VERSION\n", &read(&notices)?), "no licence text names these crates")?;

    let archive = release.folder.join(format!("{name}.tar.gz"));
    tar(&staged, &name, &archive)?;
    let unpacked = staged.join("unpacked");
    super::empty(&unpacked)?;
    sh::stdout(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(&unpacked))?;
    let content = unpacked.join(&name);
    binary::require_version(&content.join("dynamo-lock"), &release.version)?;
    sh::stdout(Command::new("bash").arg("-n").arg(content.join("completions/dynamo-lock.bash")))?;
    if !read(&content.join("dynamo-lock.1"))?.contains(".SH SYNOPSIS") {
        return Err("the manual page in the archive has no synopsis".into());
    }
    release.verified(&archive, &format!("unpacked and run; licences of {} crates", crates.len()));
    list_components(release, &crates)?;
    Ok(content)
}

/// Writes the checksums of all artefacts, verifies them, and installs the program as a user does.
pub fn write_sums(release: &mut Release) -> Result<(), String> {
    let script = "sha256sum -- * > ../SHA256SUMS && mv ../SHA256SUMS . && sha256sum --check --strict SHA256SUMS";
    sh::stdout(Command::new("sh").args(["-ec", script]).current_dir(&release.folder))?;
    let to = super::target()?.join("installed");
    super::empty(&to)?;
    let mut install = Command::new("sh");
    install.arg("install.sh").arg("--from").arg(format!("file://{}", release.folder.display())).arg("--to").arg(&to);
    sh::stdout(install.current_dir(sh::root()))?;
    binary::require_version(&to.join("dynamo-lock"), &release.version)?;
    release.verified(&release.folder.join("SHA256SUMS"), "sha256sum --check, and install.sh over it");
    Ok(())
}

/// Packs a folder so that equal contents give equal archives: with fixed owners and the time of the last commit.
fn tar(parent: &Path, name: &str, archive: &Path) -> Result<(), String> {
    let time = sh::stdout(Command::new("git").args(["log", "-1", "--format=@%ct"]).current_dir(sh::root()))?;
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX"]);
    tar.arg(format!("--mtime={}", time.trim())).args(["-I", "gzip -9n", "-cf"]).arg(archive);
    sh::stdout(tar.arg("-C").arg(parent).arg(name)).map(drop)
}

/// Returns all crates of the program as `name version`.
fn crates() -> Result<Vec<String>, String> {
    let options = format!("tree --locked -p dynamo-lock-cli -e normal --prefix none --target {}", binary::TARGET);
    let printed = sh::stdout(&mut source::cargo(&options)?)?;
    let mut crates: Vec<String> = printed.lines().filter_map(name_and_version).collect();
    crates.sort();
    crates.dedup();
    Ok(crates)
}

/// Returns `name version` of a line such as `name v1.2.3 (proc-macro) (*)`.
fn name_and_version(line: &str) -> Option<String> {
    let (name, rest) = line.split_once(" v")?;
    Some(format!("{name} {}", rest.split(' ').next()?))
}

/// Returns those of the crates that the text does not contain in the form of the pattern `NAME VERSION`.
fn unnamed(crates: &[String], pattern: &str, text: &str) -> Vec<String> {
    let is_named = |one: &String| match one.split_once(' ') {
        Some((name, version)) => text.contains(&pattern.replace("NAME", name).replace("VERSION", version)),
        None => false,
    };
    crates.iter().filter(|one| !is_named(one)).cloned().collect()
}

/// Writes the licences of all crates of the program.
fn write_notices(file: &Path) -> Result<(), String> {
    let mut about = Command::new(sh::tool("cargo-about", ABOUT, "--features cli")?.join("cargo-about"));
    about.args(["generate", "--locked", "--fail", "--manifest-path", "crates/cli/Cargo.toml"]);
    about.args(["--config", "packaging/about.toml", "--target", binary::TARGET, "packaging/about.hbs", "-o"]);
    sh::stdout(about.arg(file).current_dir(source::folder()?)).map(drop)
}

/// Writes the list of the program's crates in CycloneDX. The packed crates are listed, because the tool leaves a file in
/// each folder of a workspace.
fn list_components(release: &mut Release, crates: &[String]) -> Result<(), String> {
    let packed = super::crates::unpacked()?;
    let folder = packed.join(format!("dynamo-lock-cli-{}", release.version));
    let mut cyclonedx = Command::new(sh::tool("cargo-cyclonedx", CYCLONEDX, "")?.join("cargo-cyclonedx"));
    cyclonedx.args(["cyclonedx", "--format", "json", "--spec-version", "1.5", "--override-filename", "sbom"]);
    sh::stdout(cyclonedx.args(["--target", binary::TARGET]).current_dir(&folder))?;
    let text = read(&folder.join("sbom.json"))?.replace(&format!("{}/", packed.display()), "");
    if text.contains(&*sh::root().to_string_lossy()) {
        return Err("the CycloneDX list contains a path of this host".into());
    }
    none(&unnamed(crates, "\"pkg:cargo/NAME@VERSION", &text), "the CycloneDX list lacks these crates")?;
    let list = release.folder.join(format!("dynamo-lock-{}.cdx.json", release.version));
    write(&list, &text)?;
    release.verified(&list, &format!("CycloneDX, contains all {} crates", crates.len()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crate_without_licence_text_is_found() {
        let crates: Vec<String> =
            ["a v1.0.0 (proc-macro) (*)", "b v2.1.0"].into_iter().filter_map(name_and_version).collect();
        assert_eq!(crates, ["a 1.0.0", "b 2.1.0"]);
        assert_eq!(unnamed(&crates, "- NAME VERSION\n", "- a 1.0.0\n- bb 2.1.0\n"), ["b 2.1.0"]);
        assert_eq!(unnamed(&crates, "/NAME@VERSION", "cargo/a@1.0.0 cargo/b@2.1.0"), [""; 0]);
    }
}
