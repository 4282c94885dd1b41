//! The quick run of the simulator: small configurations and first seeds in which no promise may be broken.
//!
//! `cargo mutants` runs these tests on each mutant of the product (`.cargo/mutants.toml`), so they take a few seconds.

mod common;

use common::assert_sound;
use dynamo_lock_sim::world;

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
fn first_worlds_with_shared_rows_break_no_promise() {
    let violations = world::violations_with_shared_rows_in(0..40);
    assert!(violations.is_empty(), "{violations:#?}");
}

#[test]
fn first_worlds_break_no_promise() {
    let violations = world::violations_in(0..60);
    assert!(violations.is_empty(), "{violations:#?}");
}
