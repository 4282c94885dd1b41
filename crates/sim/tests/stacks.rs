//! Worlds over the real stores, the AWS SDK and SQLite: seeds that must be sound, and mutants that must be noticed.

mod cli;

use std::process::Output;

use cli::{printed, sim};

const SPECIFIED: &str = "the store is the specification";

fn run(world: &str, args: &[&str]) -> Output {
    sim("run", &[&["--world", world], args].concat())
}

/// Returns how often something occurred in the worlds of a run.
fn times(report: &str, what: &str) -> u64 {
    let line = report.lines().find_map(|line| line.strip_prefix(what)?.split_whitespace().next()?.parse().ok());
    line.unwrap_or(0)
}

#[test]
fn first_worlds_over_sdk_are_sound() {
    let output = run("sdk", &["--seeds", "4"]);
    let report = printed(&output);
    assert!(output.status.success(), "{report}");
    assert!(report.contains("4 seeds") && report.contains(" 0 failed"), "{report}");
    for event in ["HTTP 500 ", "connection reset", "answer cut short", "ignored date", "legacy overwrites a free row"] {
        assert!(times(&report, event) > 0, "no {event}: {report}");
    }
}

#[test]
fn first_worlds_over_sqlite_are_sound() {
    let output = run("sqlite", &["--seeds", "6"]);
    let report = printed(&output);
    assert!(output.status.success(), "{report}");
    assert!(report.contains("6 seeds") && report.contains(" 0 failed"), "{report}");
    assert!(times(&report, "store opened") > 6 && times(&report, "crash") > 0, "{report}");
    assert_eq!(times(&report, "takeover by §5"), 0, "the store has no service clock");
}

#[test]
fn worlds_with_shared_rows_over_real_stores_are_sound() {
    for world in ["sdk", "sqlite"] {
        let output = run(world, &["--shared", "--seeds", "5"]);
        let report = printed(&output);
        assert!(output.status.success(), "{report}");
        assert!(report.contains("5 seeds") && report.contains(" 0 failed"), "{report}");
        assert!(times(&report, "shared: several holders") > 0 && times(&report, "promote applied") > 0, "{report}");
    }
}

/// Children of crashed holders keep mutexes and entries of shared rows, and the lock of an ended holder is acquired at
/// once. The check notices a store that ignores the children.
#[test]
fn child_that_is_ignored_is_noticed_over_sqlite() {
    for args in [&["--from", "28", "--seeds", "1"][..], &["--shared", "--from", "22", "--seeds", "1"]] {
        let report = printed(&run("sqlite", args));
        assert!(report.contains(" 0 failed") && times(&report, "child of a crashed holder") > 0, "{report}");
        let report = printed(&run("sqlite", &[args, &["--mutant", "child-is-ignored"]].concat()));
        assert!(report.contains("fails: A (child)"), "{report}");
    }
}

#[test]
fn seed_over_real_store_has_same_trace_in_every_process() {
    for world in ["sdk", "sqlite"] {
        let trace = || run(world, &["--seed", "17", "--trace"]).stdout;
        let (first, second) = (trace(), trace());
        assert!(first.len() > 10_000, "the trace is short");
        assert!(first == second, "two traces over {world}");
    }
}

#[test]
fn violation_has_same_text_in_every_process() {
    let trace = || run("sqlite", &["--seed", "0", "--mutant", "store-forgets"]);
    assert!(!trace().status.success());
    assert_eq!(printed(&trace()), printed(&trace()));
}

/// The model beside the store notices a fault of the store in the request in which it happens.
#[test]
fn store_that_differs_from_model_is_noticed() {
    for (world, mutant, seed) in [
        ("sdk", "renew-without-renewal-seq", "2"),
        ("sdk", "renew-same-guid", "0"),
        ("sdk", "store-forgets", "0"),
        ("sqlite", "store-forgets", "0"),
    ] {
        let output = run(world, &["--mutant", mutant, "--from", seed, "--seeds", "1"]);
        let report = printed(&output);
        assert!(!output.status.success(), "{mutant} is not noticed over {world}: {report}");
        assert!(report.contains(SPECIFIED), "{report}");
        assert!(report.contains(&format!("cargo xtask sim --world {world} --seed")), "{report}");
    }
}

/// The store does what it should, and two clients believe that they hold the lock: the checks of the ordinary worlds
/// work through the whole stack, too.
#[test]
fn wrong_clocks_and_dates_are_noticed_over_sdk() {
    for (mutant, seed) in [("wild-dates", "0"), ("wild-clocks", "0")] {
        let output = run("sdk", &["--mutant", mutant, "--from", seed, "--seeds", "1"]);
        let report = printed(&output);
        assert!(!output.status.success(), "{mutant} is not noticed: {report}");
        assert!(!report.contains(SPECIFIED), "{report}");
    }
}
