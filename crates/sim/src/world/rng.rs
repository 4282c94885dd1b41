//! Random number generator: one seeded source for all decisions in a world.

use std::ops::RangeInclusive;
use std::time::Duration;

/// SplitMix64, which is small, fast and the same on every platform.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        let mut rng = Self(seed ^ 0x5DEE_CE66_D1CE_4E5B);
        rng.next();
        rng
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Returns another generator, which is independent from now on.
    pub fn fork(&mut self) -> Self {
        Self::new(self.next())
    }

    pub fn bits(&mut self) -> u128 {
        (u128::from(self.next()) << 64) | u128::from(self.next())
    }

    /// Returns a number of this range, including both ends.
    pub fn range(&mut self, range: RangeInclusive<u64>) -> u64 {
        let span = range.end() - range.start();
        range.start() + if span == u64::MAX { self.next() } else { self.next() % (span + 1) }
    }

    pub fn signed(&mut self, most: i64) -> i64 {
        self.range(0..=2 * most as u64) as i64 - most
    }

    /// Returns `true` with this probability, per thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.next() % 1000 < per_mille
    }

    pub fn ms(&mut self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.range(range))
    }

    /// Returns a duration of at most `most`, small ones more often.
    pub fn up_to(&mut self, most: Duration) -> Duration {
        let most = most.as_millis() as u64;
        let most = if self.chance(500) { most } else { most / 8 };
        self.ms(0..=most.max(1))
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[(self.next() % of.len() as u64) as usize]
    }
}
