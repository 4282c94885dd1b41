//! Distributions of the lengths of holds.

use std::f64::consts::TAU;

use test_support::Rng;

/// Names of all distributions. The first [`STATIONARY`] do not change over time.
pub const NAMES: [&str; 14] = [
    "constant",
    "uniform",
    "exponential",
    "bimodal",
    "log-normal",
    "short",
    "surprise",
    "early",
    "alternate",
    "switch",
    "switch2",
    "drift",
    "walk",
    "minute",
];

/// Number of distributions for which the rate of looks is bounded.
pub const STATIONARY: usize = 6;

/// Returns a number from 0, exclusively, to 1.
pub fn unit(rng: &mut Rng) -> f64 {
    ((rng.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64
}

/// Returns an exponentially distributed number with mean 1.
pub fn exponential(rng: &mut Rng) -> f64 {
    -unit(rng).ln()
}

/// Returns a normally distributed number with mean 0 and deviation 1.
pub fn normal(rng: &mut Rng) -> f64 {
    (2.0 * exponential(rng)).sqrt() * (TAU * unit(rng)).cos()
}

/// Returns the length of hold number `i` in seconds.
pub fn length(name: &str, i: u64, rng: &mut Rng) -> f64 {
    let mut uniform = |from: f64, to: f64| from + (to - from) * unit(rng);
    let every = |period: u64, rare: f64, usual: f64| if i % period == period - 1 { rare } else { usual };
    match name {
        "constant" => 2.0,
        "uniform" => uniform(2.0, 4.9),
        "exponential" => 2.0 * exponential(rng),
        "bimodal" => [0.2, 30.0][usize::from(uniform(0.0, 1.0) > 0.9)],
        "log-normal" => (1.5 * normal(rng)).exp(),
        "short" => uniform(0.005, 0.05),
        "surprise" => every(17, 20.0, 0.05),
        "early" => every(17, 0.5, 4.0),
        "alternate" => every(2, 2.0, 0.2),
        "switch" => [2.0, 0.3][(i / 60 % 2) as usize],
        "switch2" => [0.05, 8.0][(i / 60 % 2) as usize],
        "drift" => 0.2 * 1.02_f64.powi((i % 200) as i32),
        "walk" => uniform(0.5, 1.5) * (1 + i / 20 % 5) as f64,
        _ => (60.0 + 5.0 * normal(rng)).max(1.0),
    }
}
