//! The explorer: small configurations that are sound, and mutants that it must notice.

use dynamo_lock_sim::explore::driver::Context;
use dynamo_lock_sim::explore::search::{Found, search};
use dynamo_lock_sim::explore::{configs, trace};
use dynamo_lock_sim::mutants::{MutantConfig, list};

/// Upper bound of the states of these configurations.
const STATES_MAX: usize = 400_000;

/// Returns the result of a search, and the trace of its counterexample.
fn explored(config: &str, mutant: &MutantConfig) -> (Found, String) {
    let config = configs::all().into_iter().find(|c| c.name == config).expect("the configuration exists");
    let context = Context { config: &config, mutant };
    let found = search(&context, STATES_MAX);
    let trace = found.violation.as_ref().map(|(way, violation)| trace::print(way, violation, &context));
    (found, trace.unwrap_or_default())
}

fn assert_sound(config: &str) {
    let (found, trace) = explored(config, &MutantConfig::NONE);
    assert!(found.violation.is_none(), "{config}:\n{trace}");
    assert!(found.exhausted, "{config} has more than {STATES_MAX} states");
    assert!(found.states > 1_000, "{config} has only {} states, so nothing happens in it", found.states);
}

/// Asserts that the explorer finds a counterexample that breaks this promise.
fn assert_noticed(mutant: &str, promise: &str) {
    let mutant = list::find(mutant).expect("the mutant exists");
    let (_, trace) = explored(mutant.explore.expect("the explorer has a hook"), &mutant.config);
    assert!(trace.contains(promise), "{}: not {promise:?} but:\n{trace}", mutant.name);
}

#[test]
fn leases_with_different_lengths_are_sound() {
    assert_sound("leases");
}

#[test]
fn slewed_waiter_clock_is_sound() {
    assert_sound("slewed");
}

/// Another client received a later acquisition first, and this one had not waited for the end of that.
const OUTDATED: &str = "C: an acquisition is reported with a token that is not above";

#[test]
fn take_over_of_another_version_is_noticed() {
    assert_noticed("take-over-without-guid", "A: two guards are valid");
}

#[test]
fn wait_for_two_leases_is_noticed() {
    assert_noticed("waits-twice", "D: C has waited for");
}

#[test]
fn endless_renewal_of_orphaned_lease_is_noticed() {
    assert_noticed("renews-released", "E: a task of A has not ended");
}

#[test]
fn early_purge_is_noticed() {
    assert_noticed("purge-soon", OUTDATED);
}

#[test]
fn validity_without_margin_is_noticed() {
    assert_noticed("no-margin", OUTDATED);
}

#[test]
fn validity_from_answer_is_noticed() {
    assert_noticed("holder-from-answer", OUTDATED);
}

#[test]
fn watch_from_request_is_noticed() {
    assert_noticed("waiter-from-request", OUTDATED);
}

#[test]
fn watch_with_own_lease_is_noticed() {
    assert_noticed("waiter-own-lease", "D: A has waited for");
}

#[test]
fn report_without_check_is_noticed() {
    assert_noticed("no-r5", "R5: an acquisition is reported that is not valid any more");
}

#[test]
fn restarted_token_is_noticed() {
    assert_noticed("token-restarts", "C: an acquisition has left the row's token as it was");
}

#[test]
fn renewal_of_released_row_is_noticed() {
    assert_noticed("renew-without-held", "E: a released lease ID holds the row again");
}

#[test]
fn dropped_acquire_without_clean_up_is_noticed() {
    assert_noticed("drop-leaves-row", "E: A has no task");
}

#[test]
fn release_that_forgets_unanswered_try_is_noticed() {
    assert_noticed("release-forgets", "lesson 33");
}

#[test]
fn hold_without_extension_is_noticed() {
    assert_noticed("hold-not-extended", "H: a hold is reported whose row does not last for its duration");
}

#[test]
fn dropped_hold_without_clean_up_is_noticed() {
    assert_noticed("hold-drop-leaves-row", "E: A has no task");
}

#[test]
fn hold_key_without_pad_is_noticed() {
    assert_noticed("hold-key-without-pad", "A: two guards are valid");
}

#[test]
fn inspection_ahead_of_service_time_is_noticed() {
    assert_noticed("inspect-eager", "I: an inspection reports a valid lease as expired");
}

#[test]
fn trace_begins_with_first_action_and_row() {
    let mutant = list::find("no-r5").expect("the mutant exists");
    let (_, trace) = explored(mutant.explore.expect("the explorer has a hook"), &mutant.config);
    let first = trace.lines().next().unwrap_or_default();
    assert!(first.contains("A requests the lock") && first.contains("| no row"), "{trace}");
}
