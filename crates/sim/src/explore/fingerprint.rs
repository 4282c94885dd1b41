//! 128-bit fingerprints of states. With n states two share one with a probability below n² / 2^129: 10^-24 for ten
//! million. A collision could only hide a state, never invent a violation.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Returns the fingerprint of a value: a function of its content alone, the same in every run.
pub fn fingerprint(value: &impl Hash) -> u128 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    let half = hasher.finish();
    // The state of the hasher has 256 bits, so a suffix yields 64 more independent ones.
    hasher.write_u8(1);
    u128::from(half) << 64 | u128::from(hasher.finish())
}
