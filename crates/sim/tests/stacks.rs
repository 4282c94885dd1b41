//! Worlds over the real stores: the AWS SDK's stack and SQLite. Seeds that must hold, and faults that must be found.

use std::process::{Command, Output};

const SPECIFIED: &str = "the store is the specification";

fn run(world: &str, args: &[&str]) -> Output {
    let mut run = Command::new(env!("CARGO_BIN_EXE_dynamo-lock-sim"));
    run.args(["run", "--world", world]).args(args).output().expect("the simulator starts")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// How often the worlds of a run met something.
fn times(told: &str, what: &str) -> u64 {
    let line = told.lines().find_map(|line| line.strip_prefix(what)?.split_whitespace().next()?.parse().ok());
    line.unwrap_or(0)
}

#[test]
fn the_first_worlds_over_the_sdk_hold() {
    let output = run("sdk", &["--from", "10", "--seeds", "4"]);
    let told = told(&output);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("4 seeds") && told.contains(" 0 failed"), "{told}");
    for met in [
        "HTTP 500 ",
        "connection reset",
        "answer cut short",
        "date that does not count",
        "legacy overwrites a free row",
    ] {
        assert!(times(&told, met) > 0, "no {met}: {told}");
    }
}

#[test]
fn the_first_worlds_over_sqlite_hold() {
    let output = run("sqlite", &["--seeds", "6"]);
    let told = told(&output);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("6 seeds") && told.contains(" 0 failed"), "{told}");
    assert!(times(&told, "store opened") > 6 && times(&told, "crash") > 0, "{told}");
    assert_eq!(times(&told, "takeover by §5"), 0, "it tells no time");
}

#[test]
fn a_seed_over_a_real_store_tells_the_same_story_in_every_process() {
    for world in ["sdk", "sqlite"] {
        let story = || run(world, &["--seed", "17", "--trace"]).stdout;
        let (first, second) = (story(), story());
        assert!(first.len() > 10_000, "a story");
        assert!(first == second, "two stories over {world}");
    }
}

#[test]
fn a_violation_is_told_in_the_same_words_in_every_process() {
    let story = || run("sqlite", &["--seed", "0", "--mutant", "forgets"]);
    assert!(!story().status.success());
    assert_eq!(told(&story()), told(&story()));
}

/// The store's fault is noticed where it happens, by the model beside it.
#[test]
fn a_store_that_disagrees_with_the_model_is_noticed() {
    for (world, mutant, seed) in [
        ("sdk", "renew-without-beat", "2"),
        ("sdk", "renew-same-guid", "0"),
        ("sdk", "forgets", "0"),
        ("sqlite", "forgets", "0"),
    ] {
        let output = run(world, &["--mutant", mutant, "--from", seed, "--seeds", "1"]);
        let told = told(&output);
        assert!(!output.status.success(), "{mutant} lives over {world}: {told}");
        assert!(told.contains(SPECIFIED), "{told}");
        assert!(told.contains(&format!("cargo xtask sim --world {world} --seed")), "{told}");
    }
}

/// The store does as it is told, and two believe: the checks of the ordinary worlds see through the whole stack.
#[test]
fn wrong_clocks_and_dates_are_found_over_the_sdk() {
    for (mutant, seed) in [("wild-dates", "0"), ("wild-clocks", "0")] {
        let output = run("sdk", &["--mutant", mutant, "--from", seed, "--seeds", "1"]);
        let told = told(&output);
        assert!(!output.status.success(), "{mutant} lives: {told}");
        assert!(!told.contains(SPECIFIED), "{told}");
    }
}
