//! The planned rate of looks at a held lock, by the age of the hold.
//!
//! A waiter that looks at rate n(a) when the hold is a seconds old notices the release after 1/(2n) in the mean. With a
//! fixed number of looks per hold, the best rate is proportional to the square root of f/S: f is the density of the
//! lengths of holds, S the share of holds that are longer. `docs/internals/rationale.md` has the derivation.

/// Planned looks per second of one waiter in the long run, if holds are not very short.
pub(crate) const RATE: f64 = 5.5;
/// Minimum number of looks per hold that all waiters together plan, because short holds end soon.
const LOOKS_MIN: f64 = 2.0;
/// Number of segments of a plan, in each of which the rate is constant.
const SEGMENTS: usize = 8;
/// Maximum age of a hold, in seconds. An older one counts as this old.
const AGE_MAX: f64 = 30.0 * 24.0 * 3600.0;
/// Width below which a segment gets no looks of its own, in seconds.
const WIDTH_MIN: f64 = 1e-6;

/// Rate of looks as a step function of the age of a hold, in looks per second and seconds.
///
/// All results are deterministic, because only additions, multiplications, divisions and square roots are used, which
/// IEEE 754 defines exactly.
#[derive(Clone, Copy, Debug)]
pub struct RatePlan {
    edges: [f64; SEGMENTS + 1],
    rates: [f64; SEGMENTS],
    /// Rate before the first edge.
    slow: f64,
}

impl RatePlan {
    /// Fits a plan to the lengths of recent holds in milliseconds, of which there must be one or more. `slow` is the
    /// rate at which a waiter looks anyway, and `waiters` the number of processes that share the minimum of looks.
    pub fn fit(holds_ms: &[u32], slow: f64, waiters: f64) -> Self {
        let count = holds_ms.len();
        let holds = || holds_ms.iter().map(|ms| f64::from(*ms) / 1000.0);
        let spread = |hold: f64, sign: f64| (hold + sign * (hold / 32.0).max(0.03)).max(0.0);
        let mut sorted: Vec<f64> = holds().flat_map(|hold| [spread(hold, -1.0), spread(hold, 1.0)]).collect();
        sorted.sort_by(f64::total_cmp);
        let mut edges: [f64; SEGMENTS + 1] = std::array::from_fn(|i| sorted[i * (2 * count - 1) / SEGMENTS]);
        // Some holds are shorter or longer than the recent ones.
        let outside = SEGMENTS as f64 / count as f64;
        edges[0] = (edges[0] - (edges[1] - edges[0]) * outside).max(0.0);
        edges[SEGMENTS] += (edges[SEGMENTS] - edges[SEGMENTS - 1]) * outside;

        let mean = holds().sum::<f64>() / count as f64;
        let budget = ((LOOKS_MIN / waiters).max(RATE * mean) - slow * mean).max(0.0);
        let share = 1.0 / SEGMENTS as f64;
        let width = |i: usize| edges[i + 1] - edges[i];
        let left = |i: usize| 1.0 - (i as f64 + 0.5) * share;
        let total: f64 = (0..SEGMENTS).map(|i| (width(i) * left(i) * share).sqrt()).sum();
        let rates = std::array::from_fn(|i| match width(i) > WIDTH_MIN && total > 0.0 {
            true => slow + budget / total * (share / (width(i) * left(i))).sqrt(),
            false => slow,
        });
        Self { edges, rates, slow }
    }

    /// Returns the age at which the next look is due: the integral of the rate from `age` on reaches `mass` there.
    /// Rates are limited to `min` to `max`, where `min` is greater than zero.
    pub fn walk(&self, age: f64, mass: f64, min: f64, max: f64) -> f64 {
        let (mut age, mut mass) = (age.clamp(0.0, AGE_MAX), mass);
        let last = self.edges[SEGMENTS];
        let segments = self.rates.iter().zip(&self.edges[1..]).map(|(rate, end)| (*rate, *end));
        for (rate, end) in [(self.slow, self.edges[0])].into_iter().chain(segments) {
            if age >= end {
                continue;
            }
            let rate = rate.clamp(min, max);
            if age + mass / rate <= end {
                return age + mass / rate;
            }
            mass -= rate * (end - age);
            age = end;
        }
        age.max(last) + mass.max(0.0) / RATE.clamp(min, max)
    }
}
