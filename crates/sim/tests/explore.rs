//! The explorer: small configurations that are sound, and mutants that it must notice.

mod common;

use common::{assert_sound, explored};
use dynamo_lock_sim::explore::{
    Context, World, actions::Action, actions::Delivery, actions::enabled, actions::successor,
};
use dynamo_lock_sim::{explore::configs, mutants::MutantConfig, mutants::list};

#[test]
fn leases_with_different_lengths_are_sound() {
    assert_sound("leases");
}

#[test]
fn slewed_waiter_clock_is_sound() {
    assert_sound("slewed");
}

#[test]
fn hints_at_any_time_are_sound() {
    assert_sound("hints");
}

#[test]
fn semaphore_with_service_timestamps_is_sound() {
    assert_sound("sem-stamps");
}

#[test]
fn copies_and_forced_removals_are_sound() {
    assert_sound("rw-force-copies");
}

#[test]
fn rows_that_are_converted_twice_are_sound() {
    assert_sound("convert-twice");
}

#[test]
fn successes_are_sound() {
    assert_sound("once");
}

#[test]
fn successes_beside_revocations_are_sound() {
    assert_sound("once-revoke");
}

#[test]
fn successes_that_count_for_a_time_are_sound() {
    assert_sound("once-for-late");
}

#[test]
fn attempts_beside_successes_are_sound() {
    assert_sound("once-try");
}

/// Another client received a later acquisition first, and this one had not waited for the end of that.
const OUTDATED: &str = "C: an acquisition is reported with a token that is not above";

/// Mutants, and the promises that their counterexamples break.
const NOTICED: &[(&str, &str)] = &[
    ("take-over-without-guid", "A: two guards are valid"),
    ("waits-twice", "D: C has waited for"),
    ("renews-released", "E: a task of A has not ended"),
    ("purge-soon", OUTDATED),
    ("no-margin", OUTDATED),
    ("holder-from-answer", OUTDATED),
    ("waiter-from-request", OUTDATED),
    ("waiter-own-lease", "D: A has waited for"),
    ("hint-is-expiry", OUTDATED),
    ("no-r5", "R5: an acquisition is reported that is not valid any more"),
    ("token-restarts", "C: an acquisition has left the row's token as it was"),
    ("renew-without-held", "E: a released lease ID holds the row again"),
    ("drop-leaves-row", "E: A has no task"),
    ("release-forgets", "lesson 33"),
    ("hold-not-extended", "H: a hold is reported whose row does not last for its duration"),
    ("hold-drop-leaves-row", "E: A has no task"),
    ("hold-key-without-pad", "A: two guards are valid"),
    ("refusal-ends-acquire", "E: A reports Refused, and its lease is valid"),
    ("refusal-ends-release", "E: a release was given up before its lease ended"),
    ("missing-table-is-refusal", "A: a guard is valid although its client has received that its row is gone"),
    ("handover-not-cleaned-up", "E: A has no task"),
    ("handover-releases-old-only", "E: A has no task"),
    ("hand-over-without-expires-on", "E: A has no task"),
    ("handover-unknown-is-lost", "lesson 33"),
    ("handover-without-r5", "R5: an acquisition is reported that is not valid any more"),
    ("valid-until-handed-over", "A: two guards are valid"),
    ("hand-over-old-lease", OUTDATED),
    ("hand-over-same-token", "C: a handover has not increased the row's token by one"),
    ("success-not-recognised", "E: a success is reported as not recorded, and it was"),
    ("finish-unrecorded", "O: work begins although its success is recorded"),
    ("inspect-eager", "I: an inspection reports a valid lease as expired"),
];

/// The same for shared rows.
const NOTICED_ENTRIES: &[(&str, &str)] = &[
    ("create-shared-without-name", "E: a write removes the entry of another holder"),
    ("join-without-x", "E: a writer's entry holds the lock beside others"),
    ("join-without-holders", "A: 2 guards are valid"),
    ("take-exclusive-without-holders", "E: a write removes the entry of another holder"),
    ("renew-shared-without-e-revoked", "E: the lease of a revoked entry is extended"),
    ("leave-shared-without-e", "E: a release returned Released, and none of its tries was applied"),
    ("leave-exclusive-same-token", OUTDATED),
    ("promote-same-token", OUTDATED),
    ("force-out-unmarked", "E: a release returned Released, and none of its tries was applied"),
    ("revoke-removes-entry", "E: a write removes the entry of another holder"),
    ("shared-purge-soon", "T: the service deletes a row with a valid entry"),
    ("join-without-kind", "E: a write changes a row of another kind"),
    ("announcement-never-expires", "D: C has waited for"),
    ("entry-waits-twice", "D: C has waited for"),
    ("entry-from-answer", "A: 2 guards are valid"),
    ("entry-no-r5", "R5: an acquisition is reported that is not valid any more"),
    ("entry-no-r6", "A: 2 guards are valid"),
    ("entry-release-forgets", "lesson 33"),
    ("entry-clean-up-is-forgotten", "E: no task of A has its entry"),
    ("entry-refusal-ends-acquire", "E: A reports Refused, and its entry is valid"),
];

#[test]
fn mutants_of_shared_rows_are_noticed() {
    for (name, promise) in NOTICED_ENTRIES {
        let mutant = list::find(name).expect("the mutant exists");
        let (_, trace) = explored(mutant.explore.expect("the explorer has a hook"), &mutant.config);
        assert!(trace.contains(promise), "{name}: not {promise:?} but:\n{trace}");
    }
}

/// The trace of a counterexample begins with the first action and the row after it.
#[test]
fn mutants_are_noticed_with_trace() {
    for (name, promise) in NOTICED {
        let mutant = list::find(name).expect("the mutant exists");
        let (_, trace) = explored(mutant.explore.expect("the explorer has a hook"), &mutant.config);
        assert!(trace.contains(promise), "{name}: not {promise:?} but:\n{trace}");
        let first = trace.lines().next().unwrap_or_default();
        let expected = if *name == "purge-soon" { "time passes" } else { "A requests the lock" };
        assert!(first.contains(expected) && first.contains("| no row"), "{name}: {trace}");
    }
}

/// The configuration `rw-three` has three clients, and only its first may be late.
#[test]
fn only_slow_client_is_delayed() {
    let config = configs::find("rw-three").expect("the configuration exists");
    let context = Context { config: &config, mutant: &MutantConfig::NONE };
    for host in 0..3 {
        let world = successor(&World::initial(&config), Action::Begin(host), &context);
        let world = world.expect("no violation").expect("the client begins");
        let is_delay = |action: &Action| {
            matches!(action, Action::Send(_, Delivery::RequestDelayed | Delivery::ResponseDelayed(_)))
        };
        assert_eq!(enabled(&world, &context).iter().any(is_delay), host == 0, "requests of client {host}");
        let waited = successor(&world, Action::Tick, &context).expect("no violation");
        assert_eq!(waited.is_some(), host == 0, "steps of client {host}");
    }
}
