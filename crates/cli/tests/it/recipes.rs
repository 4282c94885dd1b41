//! The shell blocks of `docs/recipes.md` that are marked `<!-- tested -->`, run as written.

use std::os::unix::fs::{PermissionsExt, symlink};

use crate::support::{Fixture, PROGRAM, Running};

const RECIPES: &str = include_str!("../../../../docs/recipes.md");
const MARK: &str = "<!-- tested -->\n```sh\n";
const PRINTS: &str = "# → ";

/// Returns the marked blocks.
fn blocks() -> impl Iterator<Item = &'static str> {
    RECIPES.split(MARK).skip(1).map(|rest| rest.split("```").next().unwrap_or_default())
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
    for block in blocks() {
        run_block(block).unwrap_or_else(|error| panic!("{error}"));
    }
    assert!(blocks().count() >= 5, "the marks were not found");
    // All blocks that start with the program are tested.
    let untested = RECIPES.replace(MARK, "").matches("```sh\ndynamo-lock").count();
    assert_eq!(untested, 0);
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
