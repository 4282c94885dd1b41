//! The packed crates: a new project over them, and their own tests.

use super::{Release, copy, read, source, write};
use crate::checks::PUBLISHED;
use crate::sh;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Packs the crates and uses the packed ones.
pub fn pack(release: &mut Release) -> Result<(), String> {
    let packages = PUBLISHED.map(|name| format!("-p {name}")).join(" ");
    // The project below compiles the content, so that nothing is compiled twice.
    sh::stdout(&mut source::cargo(&format!("package --locked --allow-dirty --no-verify {packages}"))?)?;
    sh::stdout(&mut source::cargo("publish --workspace --dry-run --locked --allow-dirty --no-verify")?)?;

    let folder = unpacked()?;
    super::empty(&folder)?;
    for name in PUBLISHED {
        let file = format!("{name}-{}.crate", release.version);
        copy(&super::target()?.join("package").join(&file), &release.folder, &file)?;
        // With the present time, because cargo compiles again only what is newer than its result.
        sh::stdout(Command::new("tar").arg("-xzmf").arg(release.folder.join(&file)).arg("-C").arg(&folder))?;
    }
    write_project(&folder, &release.version)?;
    let cargo = |arguments: &str| {
        let mut cargo = sh::cargo(arguments);
        cargo.current_dir(&folder).env("CARGO_TARGET_DIR", folder.with_file_name("crates-target"));
        sh::stdout(&mut cargo)
    };
    let printed = cargo("run --quiet --offline -p consumer")?;
    if !printed.starts_with("rebuilding with token ") {
        return Err(format!("the program of the README over the packed library printed {printed:?}"));
    }
    let mut how = "`publish --dry-run`, the program of the README over it".to_owned();
    if !release.is_quick {
        // The skipped tests compare the library with the pages of the repository.
        let skipped = "-- --skip of_the_page --skip dashboard_and_alerts";
        cargo(&format!("test --quiet --offline --all-features -p dynamo-lock-protocol -p dynamo-lock {skipped}"))?;
        cargo("build --quiet --offline -p dynamo-lock-cli")?;
        // The tests of the command, most of which use the SQLite store.
        let mut tests = source::cargo("test --quiet --locked -p dynamo-lock-cli --test it")?;
        sh::stdout(tests.env("CARGO_TARGET_DIR", folder.with_file_name("crates-target")))?;
        how += ", its own tests, and those of the command";
    }
    for name in PUBLISHED {
        release.verified(&release.folder.join(format!("{name}-{}.crate", release.version)), &how);
    }
    Ok(())
}

/// Returns the folder with the content of the packed crates.
pub fn unpacked() -> Result<PathBuf, String> {
    Ok(super::target()?.join("crates"))
}

/// Writes a workspace with the packed crates and a new project, which has the first program of the README.
fn write_project(folder: &Path, version: &str) -> Result<(), String> {
    let patches = PUBLISHED.map(|name| format!("{name} = {{ path = \"{name}-{version}\" }}\n")).concat();
    let workspace = format!("[workspace]\nresolver = \"3\"\nmembers = [\"*\"]\n\n[patch.crates-io]\n{patches}");
    write(&folder.join("Cargo.toml"), &workspace)?;
    // The same versions of other crates as in the source, so that none has to be fetched.
    copy(&source::folder()?.join("Cargo.lock"), folder, "Cargo.lock")?;
    let features = "default-features = false, features = [\"sqlite\"]";
    let manifest = format!(
        "[package]\nname = \"consumer\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n\
         dynamo-lock = {{ version = \"{version}\", {features} }}\n\
         tokio = {{ version = \"1\", features = [\"macros\", \"rt-multi-thread\"] }}\n"
    );
    write(&folder.join("consumer/Cargo.toml"), &manifest)?;
    let program = first_program(&read(&sh::root().join("README.md"))?).ok_or("the README has no Rust program")?;
    write(&folder.join("consumer/src/main.rs"), &program)
}

/// Returns the first block of Rust code in a document.
fn first_program(document: &str) -> Option<String> {
    let (_, block) = document.split_once("```rust")?;
    let (_, block) = block.split_once('\n')?;
    Some(block.split_once("```")?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_program_of_a_document_is_found() {
        assert_eq!(first_program("a\n```sh\nb\n```\n```rust,no_run\nc\n```\n```rust\nd\n```"), Some("c\n".into()));
        assert_eq!(first_program("```sh\na\n```"), None);
    }
}
