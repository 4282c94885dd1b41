//! Handoffs between processes in virtual time: bounds that the shipped policy keeps, and variants that break them.

use dynamo_lock_sim::handoff::{self, Figures, Policy, Settings};

fn quick(holds: &'static str, waiters: usize, policy: Policy) -> Figures {
    handoff::run(handoff::settings(holds, 20, waiters, policy, true), 1)
}

/// Checks that the shipped policy keeps bound (a), on latency and cost, and that a variant of it breaks it.
fn assert_slower_and_not_cheaper(holds: &'static str, variant: Policy) {
    let [shipped, jitter, variant] = [Policy::Shipped, Policy::Jitter, variant].map(|policy| quick(holds, 20, policy));
    assert_eq!(handoff::broken_bounds(holds, &shipped, &jitter), [] as [String; 0]);
    let broken = handoff::broken_bounds(holds, &variant, &jitter);
    assert!(broken.iter().any(|bound| bound.starts_with("BROKEN (a)")), "{broken:?}");
}

/// Without jitter, waiters look together.
#[test]
fn waiters_without_jitter_break_bound_on_latency() {
    assert_slower_and_not_cheaper("constant", Policy::WithoutJitter);
}

/// Without jitter, waiters that look together also write together.
#[test]
fn waiters_without_jitter_waste_writes() {
    let wasted = |policy| quick("bimodal", 20, policy).wasted_per_handoff();
    assert!(wasted(Policy::Shipped) <= 2.0, "{}", wasted(Policy::Shipped));
    assert!(wasted(Policy::WithoutJitter) > 2.0, "{}", wasted(Policy::WithoutJitter));
}

/// Without the random phase, all waiters look late after a handoff.
#[test]
fn waiters_without_random_phase_break_bound_on_latency() {
    assert_slower_and_not_cheaper("bimodal", Policy::WithoutPhase);
}

/// Without sitting out, a client that asks again at once keeps the lock from the others.
#[test]
fn client_without_sitting_out_keeps_the_lock() {
    let won_again = |policy| {
        let settings = handoff::settings("constant", 20, 3, policy, true);
        handoff::run(Settings { asks_again: true, ..settings }, 1).won_again()
    };
    let most = handoff::selfish_max("constant", 3);
    assert!(won_again(Policy::Shipped) <= most, "{}", won_again(Policy::Shipped));
    assert!(won_again(Policy::WithoutSitOut) > most, "{}", won_again(Policy::WithoutSitOut));
}
