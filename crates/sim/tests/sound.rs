//! The quick run of the simulator: small configurations and first seeds in which no promise may be broken.
//!
//! `cargo mutants` runs these tests on each mutant of the product (`.cargo/mutants.toml`), so they take a few seconds.

use dynamo_lock_sim::explore::driver::Context;
use dynamo_lock_sim::explore::search::search;
use dynamo_lock_sim::explore::{configs, trace};
use dynamo_lock_sim::mutants::MutantConfig;
use dynamo_lock_sim::world;

/// Upper bound of the states of a small configuration.
const STATES_MAX: usize = 400_000;

fn assert_sound(name: &str) {
    let config = configs::all().into_iter().find(|config| config.name == name).expect("the configuration exists");
    let context = Context { config: &config, mutant: &MutantConfig::NONE };
    let found = search(&context, STATES_MAX);
    let trace = found.violation.as_ref().map(|(way, violation)| trace::print(way, violation, &context));
    assert!(found.violation.is_none(), "{name}:\n{}", trace.unwrap_or_default());
    assert!(found.exhausted, "{name} has more than {STATES_MAX} states");
    assert!(found.states > 1_000, "{name} has only {} states, so nothing happens in it", found.states);
}

#[test]
fn clocks_with_different_rates_are_sound() {
    assert_sound("drift");
}

#[test]
fn releases_with_lost_answers_are_sound() {
    assert_sound("release");
}

#[test]
fn frozen_host_is_sound() {
    assert_sound("freeze");
}

#[test]
fn first_worlds_break_no_promise() {
    let violations = world::violations_in(0..60);
    assert!(violations.is_empty(), "{violations:#?}");
}
