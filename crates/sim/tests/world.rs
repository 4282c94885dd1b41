//! Seeds that must always hold, and faults that must always be found.

use std::process::{Command, Output};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dynamo-lock-sim")).arg("run").args(args).output().expect("the simulator starts")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_first_worlds_hold() {
    let output = run(&["--seeds", "60"]);
    assert!(output.status.success(), "{}", told(&output));
    assert!(told(&output).contains("60 seeds"), "{}", told(&output));
}

#[test]
fn a_seed_tells_the_same_story_in_every_process() {
    for seed in ["3", "38", "113"] {
        let (first, second) = (run(&["--seed", seed, "--trace"]), run(&["--seed", seed, "--trace"]));
        assert!(first.stdout.len() > 10_000, "a story");
        assert!(first.stdout == second.stdout, "seed {seed} tells two stories");
    }
    assert_ne!(run(&["--seed", "3", "--trace"]).stdout, run(&["--seed", "4", "--trace"]).stdout);
}

/// The fault, and worlds among which one finds it.
const MUTANTS: &[(&str, &str, &str)] = &[
    ("renew-without-beat", "451", "4"),
    ("take-over-without-guid", "7", "4"),
    ("release-without-owner", "0", "4"),
    ("renew-without-still-held", "7", "4"),
    ("acquire-without-reign", "5", "4"),
    ("check-without-owner", "0", "4"),
    ("check-without-expiresOn", "0", "4"),
    ("renew-same-guid", "0", "4"),
    ("renew-old-lease", "0", "4"),
    ("same-token", "0", "4"),
    ("revoke-frees", "6", "4"),
    ("answer-timed", "0", "4"),
    ("wild-dates", "0", "4"),
    ("wild-clocks", "0", "4"),
];

#[test]
fn every_mutant_is_found() {
    for (mutant, from, seeds) in MUTANTS {
        let output = run(&["--mutant", mutant, "--from", from, "--seeds", seeds]);
        assert!(!output.status.success(), "{mutant} lives: {}", told(&output));
        assert!(told(&output).contains("killed after"), "{}", told(&output));
        assert!(told(&output).contains(&format!("--trace --mutant {mutant}")), "{}", told(&output));
    }
}

#[test]
fn a_wrong_argument_is_told() {
    for args in [&["--seeds"][..], &["--seeds", "many"], &["--mutant", "nobody"], &["--world", "flat"], &["--sed", "3"]]
    {
        let output = run(args);
        assert_eq!(output.status.code(), Some(64));
        assert!(!output.stderr.is_empty());
    }
}

fn shrink(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dynamo-lock-sim")).arg("shrink").args(args).output().expect("the simulator starts")
}

#[test]
fn a_failing_seed_shrinks_to_a_smaller_world_that_breaks_the_same_promise() {
    let output = shrink(&["2", "--mutant", "release-without-owner"]);
    assert!(output.status.success(), "{}", told(&output));
    let told_least = told(&output);
    let promise = told_least.split('"').nth(1).expect("the promise that is broken");
    let command = told_least.lines().last().expect("a command");
    let replay: Vec<_> = command.strip_prefix("cargo xtask sim ").expect("a command of ours").split(' ').collect();
    let less = replay.iter().position(|arg| *arg == "--less").expect("something was left out");
    // In another process it breaks the same promise, and tells less than the whole world does.
    let (least, whole) = (run(&replay), run(&replay[..less]));
    assert_eq!(least.status.code(), Some(1), "{}", told(&least));
    let broken = format!("VIOLATION of {promise}:");
    assert!(told(&least).contains(&broken) && told(&whole).contains(&broken), "{told_least}");
    let lines = |output: &Output| told(output).lines().count();
    assert!(lines(&least) * 4 < lines(&whole), "{} lines of {}", lines(&least), lines(&whole));
    let trace = told(&least).lines().filter(|line| !line.starts_with("seed ")).count();
    assert!(told_least.contains(&format!("its trace has {trace} lines")), "{told_least}");
}

#[test]
fn a_seed_that_holds_cannot_be_shrunk() {
    let output = shrink(&["3"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("seed 3 breaks no promise"));
    assert!(told(&output).is_empty());
    for args in [&[][..], &["many"], &["3", "--less", "rain"], &["3", "--mutant", "nobody"]] {
        assert_eq!(shrink(args).status.code(), Some(64), "{args:?}");
    }
}
