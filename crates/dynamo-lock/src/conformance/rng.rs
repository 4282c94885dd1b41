use std::iter;

/// Source of choices for the generator of cases: a seed, or a list of choices that a test can shrink.
///
/// A smaller choice always gives a simpler case, so that shrinking the list simplifies the case.
pub struct Rng(Box<dyn Iterator<Item = u32> + Send>);

impl Rng {
    /// Returns an endless source that depends on the seed alone.
    pub fn from_seed(mut seed: u64) -> Self {
        Self(Box::new(iter::repeat_with(move || (split_mix_64(&mut seed) >> 32) as u32)))
    }

    /// Returns a source of these choices, followed by zeros, the simplest choice.
    pub fn from_choices(choices: Vec<u32>) -> Self {
        Self(Box::new(choices.into_iter()))
    }

    /// Returns a number below `n`.
    pub(super) fn below(&mut self, n: u32) -> u32 {
        self.0.next().unwrap_or(0) % n.max(1)
    }

    /// Returns `true` with probability 1/`n`.
    pub(super) fn once_in(&mut self, n: u32) -> bool {
        self.below(n) == n - 1
    }

    pub(super) fn one_of<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u32) as usize].clone()
    }
}

/// Returns the next number of SplitMix64. We use an own generator, because a seed must give the same numbers in every
/// version of every dependency.
fn split_mix_64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
