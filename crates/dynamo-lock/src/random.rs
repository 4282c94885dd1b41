//! [`Random`]: a source of random bits, and that of the operating system.

use std::fmt;

/// A source of random bits, for `ClientBuilder::random` (feature `simulation`).
///
/// Lease IDs and record versions come from it, so two clients must never get the same bits.
pub trait Random: fmt::Debug + Send + Sync {
    /// Returns 128 fresh random bits. Called several times for each request, so it must return quickly.
    fn bits(&self) -> u128;

    /// Returns three times 128 fresh random bits. The random source of the operating system needs one call for them.
    /// Default: three calls of [`bits`](Self::bits).
    fn three_bits(&self) -> [u128; 3] {
        [self.bits(), self.bits(), self.bits()]
    }
}

/// The random source of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    /// # Panics
    /// Panics if the operating system has no random source. Linux waits until it is ready after boot.
    fn bits(&self) -> u128 {
        let mut bytes = [0; 16];
        #[allow(clippy::disallowed_methods)]
        getrandom::fill(&mut bytes).expect("the operating system provides random bits");
        u128::from_le_bytes(bytes)
    }

    fn three_bits(&self) -> [u128; 3] {
        let mut bytes = [0; 48];
        #[allow(clippy::disallowed_methods)]
        getrandom::fill(&mut bytes).expect("the operating system provides random bits");
        let (bits, _) = bytes.as_chunks();
        [0, 1, 2].map(|at| u128::from_le_bytes(bits[at]))
    }
}
