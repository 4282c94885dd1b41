//! `cargo xtask release`: builds every artefact of a release that can be built here, and uses each once.
//! docs/releasing.md describes them.

mod archive;
mod binary;
mod crates;
mod elf;
mod image;
mod node;
pub mod source;
mod zig;

use crate::sh;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// State of a run.
pub struct Release {
    /// Version of the workspace.
    version: String,
    /// Whether to leave out what compiles for minutes.
    is_quick: bool,
    /// Folder that receives the artefacts.
    folder: PathBuf,
    /// Lines of the summary.
    lines: Vec<String>,
}

/// A part of the release, which fails with the reason.
type Step = fn(&mut Release) -> Result<(), String>;

/// The steps of a release.
const ALL: [(&str, Step); 3] = [("crates", crates::pack), ("command", command), ("Node package", node::pack)];

/// The steps that need no optimized build.
const QUICK: [(&str, Step); 2] = [("crates", crates::pack), ("Node package", node::check)];

/// Runs the steps, and prints a line for each artefact. A step that fails does not stop the others.
#[allow(clippy::disallowed_methods)] // the times are only printed
pub fn run(is_quick: bool) -> Result<bool, String> {
    let (version, folder) = (env!("CARGO_PKG_VERSION").to_owned(), crate::node::target()?.join("release-artifacts"));
    empty(&folder)?;
    let mut release = Release { version, is_quick, folder, lines: Vec::new() };
    source::prepare()?;
    let steps: &[(&str, Step)] = if is_quick { &QUICK } else { &ALL };
    let mut good = true;
    for (name, step) in steps {
        println!("=== {name}");
        let started = Instant::now();
        if let Err(error) = step(&mut release) {
            good = false;
            println!("{error}");
            release.lines.push(format!("FAILED    {name}: see above"));
        }
        println!("=== {name}: {} s", started.elapsed().as_secs());
    }
    if good && !is_quick {
        archive::write_sums(&mut release)?;
    }
    println!("\n{}\n{}", release.folder.display(), release.lines.join("\n"));
    Ok(good)
}

/// Builds the program, and what contains it.
fn command(release: &mut Release) -> Result<(), String> {
    let program = binary::build(release)?;
    let content = archive::pack(release, &program)?;
    image::assemble(release, &content)
}

impl Release {
    /// Adds the line of an artefact that was verified.
    fn verified(&mut self, artefact: &Path, how: &str) {
        let name = artefact.file_name().unwrap_or_default().to_string_lossy();
        self.lines.push(format!("ok        {name}, {:.1} MB: {how}", size(artefact) as f64 / 1e6));
    }

    /// Adds the line of a check that cannot run here.
    fn skipped(&mut self, what: &str, why: &str) {
        self.lines.push(format!("skipped   {what}: {why}"));
    }
}

/// Returns the target directory of the optimized builds, which other flags than those of the tests compile.
fn target() -> Result<PathBuf, String> {
    Ok(crate::node::target()?.join("dist"))
}

/// Returns the size of a file in bytes; zero if it cannot be read.
fn size(file: &Path) -> u64 {
    file.metadata().map_or(0, |metadata| metadata.len())
}

/// Creates the folder, and removes what an earlier run has left in it.
fn empty(folder: &Path) -> Result<(), String> {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))
}

/// Copies a file into a folder under a name.
fn copy(from: &Path, folder: &Path, name: &str) -> Result<(), String> {
    let to = folder.join(name);
    let made = std::fs::create_dir_all(to.parent().unwrap_or(folder)).and_then(|()| std::fs::copy(from, &to));
    made.map(drop).map_err(|error| format!("cannot copy {} to {}: {error}", from.display(), to.display()))
}

/// Writes a file.
fn write(file: &Path, text: &str) -> Result<(), String> {
    let made = std::fs::create_dir_all(file.parent().unwrap_or(file)).and_then(|()| std::fs::write(file, text));
    made.map_err(|error| format!("cannot write {}: {error}", file.display()))
}

/// Reads a file.
fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))
}

/// Fails with what is missing.
fn none(missing: &[String], what: &str) -> Result<(), String> {
    if missing.is_empty() { Ok(()) } else { Err(format!("{what}: {}", missing.join(", "))) }
}

/// Returns whether this process may change its root directory.
fn is_root() -> bool {
    sh::stdout(std::process::Command::new("id").arg("-u")).is_ok_and(|user| user.trim() == "0")
}
