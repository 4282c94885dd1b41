//! Random histories of work that runs once keep its promises, and faults on purpose are found.

use dynamo_lock_sim::once::{Counts, Mutant, run};

/// Number of histories.
const SEEDS: u64 = 100;

#[test]
fn random_histories_keep_the_promises_of_once() {
    let mut total = Counts::default();
    for seed in 0..SEEDS {
        let counts = run(seed, None).unwrap_or_else(|promise| panic!("seed {seed}: {promise}"));
        total.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
    }
    assert!(total.iter().all(|count| *count as u64 >= SEEDS / 5), "too few of one outcome: {total:?}");
}

#[test]
fn faults_of_the_operator_break_promises_of_once() {
    for (mutant, promise) in [
        (Mutant::UnnotedReset, "the work begins although its success is recorded"),
        (Mutant::ForcedRevoke, "two runs at once"),
    ] {
        let found = (0..SEEDS).any(|seed| run(seed, Some(mutant)).is_err_and(|broken| broken.contains(promise)));
        assert!(found, "{mutant:?}");
    }
}
