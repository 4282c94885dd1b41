//! Runs the shell blocks of docs/recipes.md that are marked `<!-- tested -->`, unchanged.

mod support;

use std::os::unix::fs::{PermissionsExt, symlink};

use support::{Fixture, PROGRAM, Running};

const RECIPES: &str = include_str!("../../../docs/recipes.md");
const MARK: &str = "<!-- tested -->\n```sh\n";
const PRINTS: &str = "# → ";

fn blocks() -> impl Iterator<Item = &'static str> {
    RECIPES.split(MARK).skip(1).map(|rest| rest.split("```").next().unwrap_or_default())
}

/// Runs a block together with the scripts that it calls, and returns an error if it fails.
fn run(block: &str) -> Result<(), String> {
    let fixture = Fixture::new();
    let programs = fixture.path("bin");
    std::fs::create_dir(&programs).expect("a directory");
    symlink(PROGRAM, programs.join("dynamo-lock")).expect("a link");
    for script in ["report", "migrate", "backup"] {
        let path = fixture.path(&format!("{script}.sh"));
        std::fs::write(&path, format!("#!/bin/sh\necho {script} $1\n")).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("ours");
    }
    let mut command = fixture.command_of("bash", &["-euo", "pipefail", "-c", block]);
    command.env("PATH", format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default()));
    let ran = Running::of(command).end();
    let promised: Vec<&str> = block.lines().filter_map(|line| line.strip_prefix(PRINTS)).collect();
    let printed: Vec<&str> = ran.stdout.lines().map(str::trim_end).collect();
    if ran.code == Some(0) && printed == promised && ran.stderr.is_empty() {
        Ok(())
    } else {
        Err(format!("{block}\npromised {promised:#?}\n{ran:?}"))
    }
}

#[test]
fn every_recipe_works_as_written() {
    for block in blocks() {
        run(block).unwrap_or_else(|wrong| panic!("{wrong}"));
    }
    assert!(blocks().count() >= 5, "the marks are found");
    // Every block that calls the program must be marked as tested.
    let untested = RECIPES.replace(MARK, "").matches("```sh\ndynamo-lock").count();
    assert_eq!(untested, 0);
}

#[test]
fn control_broken_recipe_is_detected() {
    run("dynamo-lock run a true").expect("the control");
    for wrong in
        ["dynamo-lock run a false", "dynamo-lock frobnicate", "dynamo-lock run a echo one\n# → two", "echo one"]
    {
        assert!(run(wrong).is_err(), "{wrong}");
    }
}
