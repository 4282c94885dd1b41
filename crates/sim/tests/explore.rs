//! Small worlds of the lease protocol, explored to their ends; and mutants of it, each of which has to be noticed.

use dynamo_lock_sim::explore::driver::Context;
use dynamo_lock_sim::explore::search::{Found, search};
use dynamo_lock_sim::explore::{configs, mutants, trace};

/// More than any of these worlds has.
const STATES_MAX: usize = 400_000;

fn explored(config: &str, bend: &mutants::Bend) -> (Found, String) {
    let config = configs::all().into_iter().find(|c| c.name == config).expect("a configuration of that name");
    let context = Context { config: &config, bend };
    let found = search(&context, STATES_MAX);
    let told = found.violation.as_ref().map(|(way, violation)| trace::print(way, violation, &context));
    (found, told.unwrap_or_default())
}

fn is_sound(config: &str) {
    let (found, told) = explored(config, &mutants::NONE);
    assert!(found.violation.is_none(), "{config}:\n{told}");
    assert!(found.exhausted, "{config} has more than {STATES_MAX} states");
    assert!(found.states > 1_000, "{config} has only {} states: nothing happens in it", found.states);
}

fn is_noticed(mutant: &str, promise: &str) {
    let mutant = mutants::all().into_iter().find(|m| m.name == mutant).expect("a mutant of that name");
    let (_, told) = explored(mutant.config, &mutant.bend);
    assert!(told.contains(promise), "{}: not {promise:?} but:\n{told}", mutant.name);
}

#[test]
fn clocks_of_unlike_rates_let_nobody_in_early() {
    is_sound("drift");
}

#[test]
fn leases_of_unlike_lengths_let_nobody_in_early() {
    is_sound("leases");
}

#[test]
fn a_slewed_clock_lets_nobody_in_early() {
    is_sound("slewed");
}

/// Somebody else was told of a later acquisition first, whose end this one had not waited for.
const OUTDATED: &str = "C: an acquisition is reported with a token that is not above";

#[test]
fn a_takeover_of_another_version_is_noticed() {
    is_noticed("takeover-any-version", "A: two guards believe");
}

#[test]
fn a_wait_that_starts_over_is_noticed() {
    is_noticed("waits-twice", "D: C has waited for");
}

#[test]
fn a_ghost_that_is_renewed_for_ever_is_noticed() {
    is_noticed("renews-let-go", "E: a task of A has not ended");
}

#[test]
fn a_purge_before_its_time_is_noticed() {
    is_noticed("purge-soon", OUTDATED);
}

#[test]
fn a_belief_without_margin_is_noticed() {
    is_noticed("no-margin", OUTDATED);
}

#[test]
fn a_belief_that_counts_from_the_answer_is_noticed() {
    is_noticed("holder-from-answer", OUTDATED);
}

#[test]
fn a_watch_that_counts_from_the_request_is_noticed() {
    is_noticed("waiter-from-request", OUTDATED);
}

#[test]
fn a_watch_by_the_wrong_lease_is_noticed() {
    is_noticed("waiter-own-lease", "D: A has waited for");
}

#[test]
fn a_report_without_asking_again_is_noticed() {
    is_noticed("no-r5", "R5: an acquisition is reported that is not live any more");
}

#[test]
fn a_token_that_restarts_is_noticed() {
    is_noticed("token-restarts", "C: an acquisition has left the row's token as it was");
}

#[test]
fn a_renewal_of_a_released_row_is_noticed() {
    is_noticed("renew-released", "E: a reign that was released holds the row again");
}

#[test]
fn a_dropped_acquire_that_leaves_its_row_is_noticed() {
    is_noticed("drop-leaves-row", "E: A does nothing any more");
}

#[test]
fn a_release_that_forgets_its_unanswered_try_is_noticed() {
    is_noticed("release-forgets", "lesson 33");
}

#[test]
fn every_mutant_has_a_configuration_and_a_name_of_its_own() {
    let all = mutants::all();
    for (n, mutant) in all.iter().enumerate() {
        assert!(configs::all().iter().any(|config| config.name == mutant.config), "{}", mutant.name);
        assert!(all[..n].iter().all(|other| other.name != mutant.name), "{}", mutant.name);
    }
}

#[test]
fn a_trace_says_who_did_what_and_how_the_row_was_then() {
    let mutant = mutants::all().into_iter().find(|m| m.name == "no-r5").expect("it is there");
    let (_, told) = explored(mutant.config, &mutant.bend);
    let first = told.lines().next().unwrap_or_default();
    assert!(first.contains("A asks for the lock") && first.contains("| no row"), "{told}");
}
