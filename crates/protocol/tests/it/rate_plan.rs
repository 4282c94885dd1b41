//! `RatePlan`: the planned rate of looks by the age of a hold.

use dynamo_lock_protocol::RatePlan;
use proptest::prelude::*;

/// Returns plausible and hostile lengths of holds.
fn rings() -> impl Strategy<Value = Vec<u32>> {
    let any = prop_oneof![1_u32..10, 1_u32..5_000, 1_u32..=9_999_999, Just(1), Just(9_999_999)];
    prop::collection::vec(any, 1..=16)
}

proptest! {
    /// A walk ends for every ring, never goes back, and keeps the limits of the rate.
    #[test]
    fn walk_stays_within_limits_of_rate(
        ring in rings(),
        slow in 0.4..5.5,
        waiters in 1.0..1_010.0,
        age in -10.0..4e9,
        mass in 0.0..1.25,
        shortest in 0.025..1.6,
        factor in 1.0..80.0,
    ) {
        let (min, max) = (1.0 / (shortest * factor), 1.0 / shortest);
        let next = RatePlan::fit(&ring, slow, waiters).walk(age, mass, min, max);
        let age = f64::clamp(age, 0.0, 30.0 * 24.0 * 3600.0);
        prop_assert!(next.is_finite() && next >= age, "{next}");
        // The age has up to 7 digits before the point, and differences lose as many.
        prop_assert!(next - age <= mass / min + 1e-6, "{} after {age}", next - age);
        prop_assert!(next - age >= mass / max - 1e-6, "{} after {age}", next - age);
    }

    /// More mass means a later look, so that the integral of the rate is a strictly increasing function.
    #[test]
    fn walk_is_later_with_more_mass(ring in rings(), age in 0.0..100.0, mass in 0.0..1.0, more in 0.01..0.25) {
        let plan = RatePlan::fit(&ring, 1.4, 1.0);
        prop_assert!(plan.walk(age, mass, 0.5, 40.0) < plan.walk(age, mass + more, 0.5, 40.0));
    }
}

/// Counts the looks of a plan during a hold.
fn looks_during(plan: &RatePlan, hold: f64) -> usize {
    let (mut age, mut looks) = (0.0, 0);
    while age < hold {
        age = plan.walk(age, 1.0, 0.5, 40.0);
        looks += 1;
    }
    looks
}

/// Near the expected end a waiter looks every 25 ms or so, and rarely before.
#[test]
fn constant_holds_are_watched_near_their_end() {
    let plan = RatePlan::fit(&[2_000; 16], 1.4, 1.0);
    let gap_at = |age: f64| plan.walk(age, 1.0, 0.5, 40.0) - age;
    assert!(gap_at(0.1) > 0.6, "{}", gap_at(0.1));
    assert!(gap_at(2.0) < 0.05, "{}", gap_at(2.0));
    assert!(looks_during(&plan, 2.0) <= 12, "{}", looks_during(&plan, 2.0));
}

/// The number of looks in the mean is the budget, whatever the lengths are.
#[test]
fn mean_number_of_looks_keeps_the_budget() {
    let uniform: Vec<u32> = (0..16).map(|i| 2_000 + 190 * i).collect();
    for ring in [vec![2_000; 16], uniform, vec![500, 1_000, 1_500, 2_000, 3_000, 4_000]] {
        let plan = RatePlan::fit(&ring, 1.4, 1.0);
        let seconds: f64 = ring.iter().map(|ms| f64::from(*ms) / 1000.0).sum();
        let looks: usize = ring.iter().map(|ms| looks_during(&plan, f64::from(*ms) / 1000.0)).sum();
        let rate = looks as f64 / seconds;
        assert!((3.0..=6.5).contains(&rate), "{rate} looks per second for {ring:?}");
    }
}
