//! The command line of the simulator: replay, mutants in worlds, and shrinking.

mod cli;

use std::process::Output;

use cli::{printed, sim};

fn run(args: &[&str]) -> Output {
    sim("run", args)
}

#[test]
fn run_reports_seeds_and_failures() {
    let output = run(&["--seeds", "10"]);
    assert!(output.status.success(), "{}", printed(&output));
    assert!(printed(&output).contains("10 seeds") && printed(&output).contains("0 failed"), "{}", printed(&output));
}

#[test]
fn seed_has_same_trace_in_every_process() {
    for seed in ["3", "38", "113"] {
        let (first, second) = (run(&["--seed", seed, "--trace"]), run(&["--seed", seed, "--trace"]));
        assert!(first.stdout.len() > 10_000, "the trace of seed {seed} is short");
        assert!(first.stdout == second.stdout, "seed {seed} has two traces");
    }
    let shared = ["--shared", "--seed", "3", "--trace"];
    assert!(run(&shared).stdout == run(&shared).stdout, "the world with shared rows has two traces");
    assert_ne!(run(&["--seed", "3", "--trace"]).stdout, run(&["--seed", "4", "--trace"]).stdout);
}

/// Mutants that a check notices in one of the first seeds.
const MUTANTS: &[&str] = &[
    "release-without-owner",
    "renew-without-held",
    "check-without-owner",
    "check-without-expires-on",
    "renew-same-guid",
    "renew-old-lease",
    "same-token",
    "revoke-frees",
    "holder-from-answer",
    "wild-dates",
    "wild-clocks",
    "refusal-ends-acquire",
    "refusal-ends-release",
    "renew-without-renewal-seq",
    "acquire-without-lease-id",
];

#[test]
fn mutants_are_noticed_in_first_worlds() {
    // These are rare: 1 in 200 worlds notices the last.
    let late = [("missing-table-is-refusal", "200", "40"), ("take-over-without-guid", "0", "600")];
    for (mutant, from, seeds) in MUTANTS.iter().map(|mutant| (*mutant, "0", "40")).chain(late) {
        let output = run(&["--mutant", mutant, "--from", from, "--seeds", seeds]);
        assert!(!output.status.success(), "{mutant} is not noticed: {}", printed(&output));
        assert!(printed(&output).contains("killed after"), "{}", printed(&output));
        assert!(printed(&output).contains(&format!("--trace --mutant {mutant}")), "{}", printed(&output));
    }
}

/// Worlds that checks once reported by mistake: a timer that was late in a handover, a token that two tables had, and a
/// guard that had ended before its loss was reported. With shared rows: a wall clock that is set back while its host
/// waits for a row without a token, a lock of a set whose handover found the row of a later holder, a writer whose
/// announcement a copy adds again after it was forced out, a lock that is lost after its longest time before it is
/// reported, a newcomer that acquired a semaphore without a row as a plain lock, and 80 workers of one lock that all
/// lead for a long time.
#[test]
fn unusual_worlds_break_no_promise() {
    for seed in ["9205039", "10129407", "10171821"] {
        let output = run(&["--seed", seed]);
        assert!(output.status.success(), "{}", printed(&output));
    }
    for seed in ["63008578", "63016206", "64066944", "64160895", "65007586", "65084497"] {
        let output = run(&["--shared", "--seed", seed]);
        assert!(output.status.success(), "{}", printed(&output));
    }
}

/// A worker that never finishes is noticed although the world sets a wall clock back by five minutes.
#[test]
fn endless_worker_is_noticed_after_correction_of_walls() {
    let output = run(&["--shared", "--seed", "508", "--mutant", "no-timeout"]);
    assert!(printed(&output).contains("D (an end)"), "{}", printed(&output));
}

/// Faults of the local queue, each with the first of some seeds and the check that notices it.
const QUEUE_MUTANTS: &[(&str, &str, &str)] = &[
    ("handovers-unlimited", "140", "F (series)"),
    ("series-without-end", "0", "F (series)"),
    ("no-rest", "0", "F (rest)"),
    ("handover-failure-ends-wait", "0", "E (failed wait)"),
];

/// A client that keeps a lock from others, or ends a wait because a handover failed, breaks a promise of its own.
#[test]
fn faults_of_local_queue_are_noticed_by_their_checks() {
    for (mutant, seed, promise) in QUEUE_MUTANTS {
        let output = run(&["--mutant", mutant, "--from", seed, "--seeds", "60"]);
        let report = printed(&output);
        assert!(!output.status.success() && report.contains(&format!("by {promise} x")), "{mutant}: {report}");
    }
}

#[test]
fn invalid_arguments_are_usage_errors() {
    let wrong: [&[&str]; 5] =
        [&["--seeds"], &["--seeds", "many"], &["--mutant", "none"], &["--world", "flat"], &["--sed", "3"]];
    for args in wrong {
        let output = run(args);
        assert_eq!(output.status.code(), Some(64), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
    for (command, args) in [("mutants", &["none"][..]), ("explore", &["none"]), ("explore", &["--mutant", "none"])] {
        assert_eq!(sim(command, args).status.code(), Some(64), "{command} {args:?}");
    }
}

/// The smaller world breaks the same promise in another process, and its trace is shorter.
#[test]
fn failing_seed_shrinks_to_smaller_world() {
    let output = sim("shrink", &["6", "--mutant", "release-without-owner"]);
    assert!(output.status.success(), "{}", printed(&output));
    let report = printed(&output);
    let promise = report.split('"').nth(1).expect("the report names the promise");
    let command = report.lines().last().expect("the last line is a command");
    let replay: Vec<_> =
        command.strip_prefix("cargo xtask sim ").expect("it starts the simulator").split(' ').collect();
    let reduction = replay.iter().position(|arg| *arg == "--reduce").expect("something was left out");
    let (smaller, whole) = (run(&replay), run(&replay[..reduction]));
    assert_eq!(smaller.status.code(), Some(1), "{}", printed(&smaller));
    let broken = format!("VIOLATION of {promise}:");
    assert!(printed(&smaller).contains(&broken) && printed(&whole).contains(&broken), "{report}");
    let lines = |output: &Output| printed(output).lines().count();
    assert!(lines(&smaller) * 4 < lines(&whole), "{} lines of {}", lines(&smaller), lines(&whole));
    let trace = printed(&smaller).lines().filter(|line| !line.starts_with("seed ")).count();
    assert!(report.contains(&format!("its trace has {trace} lines")), "{report}");
}

#[test]
fn passing_seed_cannot_be_shrunk() {
    let output = sim("shrink", &["3"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("seed 3 breaks no promise"));
    assert!(printed(&output).is_empty());
    let wrong: [&[&str]; 4] = [&[], &["many"], &["3", "--reduce", "rain"], &["3", "--mutant", "none"]];
    for args in wrong {
        assert_eq!(sim("shrink", args).status.code(), Some(64), "{args:?}");
    }
}
