use std::{ops::RangeInclusive, time::Duration};

/// Pseudo-random numbers (SplitMix64) that depend on the seed alone, so that a failure can be repeated by its seed.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Creates a generator. Equal seeds generate equal sequences.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Creates a generator whose first number is not close to that of a generator with a similar seed.
    pub fn mixed(seed: u64) -> Self {
        let mut rng = Self(seed ^ 0x5DEE_CE66_D1CE_4E5B);
        rng.next_u64();
        rng
    }

    /// Returns another generator, which is independent from now on.
    pub fn fork(&mut self) -> Self {
        Self::mixed(self.next_u64())
    }

    /// Returns the next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns 128 random bits.
    pub fn bits(&mut self) -> u128 {
        (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64())
    }

    /// Returns a number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound
    }

    /// Returns a number in this range, including both ends.
    pub fn range(&mut self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    /// Returns a number from `-max` to `max`.
    pub fn signed(&mut self, max: i64) -> i64 {
        self.range(0..=2 * max as u64) as i64 - max
    }

    /// Returns `true` with this probability, per thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// Returns a duration in this range of milliseconds.
    pub fn ms(&mut self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.range(range))
    }

    /// Returns a duration of at most `max`, or of 1 ms if that is longer. Short ones are more frequent.
    pub fn up_to(&mut self, max: Duration) -> Duration {
        let max = max.as_millis() as u64;
        let max = if self.chance(500) { max } else { max / 8 };
        self.ms(0..=max.max(1))
    }

    /// Returns one of these values.
    pub fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }
}
