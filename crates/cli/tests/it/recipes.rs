//! The shell blocks of the documents that are marked `<!-- tested -->`, run as written.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::support::{Fixture, PROGRAM, Running};

const MARK: &str = "<!-- tested -->\n```sh\n";
const PRINTS: &str = "# → ";

/// Returns the paths and the texts of the README and of all pages below `docs/`.
fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (mut folders, mut found) = (vec![root.join("docs")], vec![root.join("README.md")]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let is_page = path.extension().is_some_and(|extension| extension == "md");
            if path.is_dir() {
                folders.push(path)
            } else if is_page {
                found.push(path)
            }
        }
    }
    let read = |path: &Path| std::fs::read_to_string(path).expect("a page");
    found.iter().map(|path| (path.display().to_string(), read(path))).collect()
}

/// Returns the marked blocks of a document.
fn blocks(document: &str) -> impl Iterator<Item = &str> {
    document.split(MARK).skip(1).map(|rest| rest.split("```").next().unwrap_or_default())
}

/// Runs a block, with stubs of the scripts that it calls. Returns an error unless its output is as documented.
fn run_block(block: &str) -> Result<(), String> {
    let fixture = Fixture::new();
    let programs = fixture.path("bin");
    std::fs::create_dir(&programs).expect("a directory");
    symlink(PROGRAM, programs.join("dynamo-lock")).expect("a link");
    for script in ["report", "migrate", "backup"] {
        let path = fixture.path(&format!("{script}.sh"));
        std::fs::write(&path, format!("#!/bin/sh\necho {script} $1\n")).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("access to it");
    }
    let mut command = fixture.command_of("bash", &["-euo", "pipefail", "-c", block]);
    command.env("PATH", format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default()));
    let finished = Running::spawn(command).wait();
    let documented: Vec<&str> = block.lines().filter_map(|line| line.strip_prefix(PRINTS)).collect();
    let printed: Vec<&str> = finished.stdout.lines().map(str::trim_end).collect();
    if finished.code == Some(0) && printed == documented && finished.stderr.is_empty() {
        Ok(())
    } else {
        Err(format!("{block}\ndocumented {documented:#?}\n{finished:?}"))
    }
}

#[test]
fn every_recipe_works_as_written() {
    let mut count = 0;
    for (path, document) in documents() {
        for block in blocks(&document) {
            run_block(block).unwrap_or_else(|error| panic!("{path}: {error}"));
            count += 1;
        }
        if path.ends_with("recipes.md") {
            assert!(blocks(&document).count() >= 5, "the marks were not found");
            // All blocks that start with the program are tested.
            assert_eq!(document.replace(MARK, "").matches("```sh\ndynamo-lock").count(), 0);
        }
    }
    assert!(count >= 15, "the documents were not found");
}

#[test]
fn control_broken_recipe_is_detected() {
    run_block("dynamo-lock run a true").expect("control: a correct recipe passes");
    for wrong in
        ["dynamo-lock run a false", "dynamo-lock frobnicate", "dynamo-lock run a echo one\n# → two", "echo one"]
    {
        assert!(run_block(wrong).is_err(), "{wrong}");
    }
}
