//! 128-bit fingerprints of states. With n states two share one with a probability below n² / 2^129: 10^-24 for ten
//! million. A collision could only hide a state, never invent a violation.

use std::hash::{Hash, Hasher};

/// Two lanes of multiply-and-fold, differently keyed.
struct Wide(u64, u64);

const K: [u64; 4] = [0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db, 0x8ebc_6af0_9c88_c6e3, 0x5899_65cc_7537_4cc3];

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

impl Hasher for Wide {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
        self.write_u64(bytes.len() as u64);
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = fold(self.0 ^ word ^ K[0], K[1]).wrapping_add(word);
        self.1 = fold(self.1.rotate_left(23) ^ word ^ K[2], K[3]).wrapping_add(word.rotate_left(32));
    }

    fn write_u128(&mut self, word: u128) {
        self.write_u64(word as u64);
        self.write_u64((word >> 64) as u64);
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(word.into());
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The fingerprint of a value: a function of its content alone, the same in every run.
pub fn fingerprint(value: &impl Hash) -> u128 {
    let mut wide = Wide(K[3], K[0]);
    value.hash(&mut wide);
    wide.write_u64(0x9e37_79b9_7f4a_7c15);
    u128::from(wide.0) << 64 | u128::from(wide.1)
}
