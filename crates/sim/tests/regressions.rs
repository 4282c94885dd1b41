//! Seeds that found a fault, each with a sentence. They tell the same story only while the worlds are made the same way.

use std::process::Command;

fn holds(seed: &str) {
    let run = Command::new(env!("CARGO_BIN_EXE_dynamo-lock-sim")).args(["run", "--seed", seed]).output();
    let output = run.expect("the simulator starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// A lock's first token came from a wall clock hours fast; a legacy client overwrote the row, and the next token came
/// from the service's time.
#[test]
fn a_token_after_a_legacy_overwrite_is_above_one_seeded_by_a_fast_wall_clock() {
    holds("1");
    holds("80");
}

/// The answer that first showed a legacy row came without a `Date`: the row was waited for without end, since nothing
/// noted later when it had been seen without a token.
#[test]
fn a_legacy_row_first_seen_without_a_date_is_taken_in_the_end() {
    holds("2637");
}

/// A reign was revoked, and then the row that the revocation had left; a release with a lost answer took the second
/// mark for a stranger's, and said `Ok`.
#[test]
fn a_release_after_two_revocations_does_not_say_ok() {
    holds("155");
    holds("228");
}

/// A pause of a nanosecond, on a clock that counts in coarser steps, was none: the wait for a lock never slept.
#[test]
fn a_pause_that_no_clock_can_tell_is_one_all_the_same() {
    holds("1614");
}

/// A hold whose first read came without a date was unstamped, by a slow wall clock, and reported as if it lasted.
#[test]
fn a_hold_that_was_written_without_the_services_time_is_stamped_before_it_is_reported() {
    holds("44082");
}
