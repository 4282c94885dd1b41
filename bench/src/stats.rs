//! Medians and percentiles, and the random holds of the scenarios.

/// Returns the value below which the fraction `part` of the samples lies, interpolated; NaN if there are none.
pub fn quantile(samples: &[f64], part: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = part * last as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

pub fn median(samples: &[f64]) -> f64 {
    quantile(samples, 0.5)
}

pub fn mean(samples: &[f64]) -> f64 {
    samples.iter().sum::<f64>() / samples.len() as f64
}

/// Lengths of holds in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Holds {
    Constant,
    Uniform,
    Exponential,
    Bimodal,
    Short,
}

impl Holds {
    pub const ALL: [Holds; 5] = [Holds::Constant, Holds::Uniform, Holds::Exponential, Holds::Bimodal, Holds::Short];

    pub fn name(self) -> &'static str {
        match self {
            Holds::Constant => "constant",
            Holds::Uniform => "uniform",
            Holds::Exponential => "exponential",
            Holds::Bimodal => "bimodal",
            Holds::Short => "short",
        }
    }

    /// Returns the length at the fraction `part` of the distribution.
    fn at(self, part: f64) -> f64 {
        match self {
            Holds::Constant => 2000.0,
            Holds::Uniform => 2000.0 + 2900.0 * part,
            Holds::Exponential => -2000.0 * (1.0 - part).ln(),
            Holds::Bimodal if part < 0.9 => 200.0,
            Holds::Bimodal => 10_000.0,
            Holds::Short => 5.0 + 45.0 * part,
        }
    }
}

/// Sequence of holds. Any ten in a row, from a multiple of ten on, take one from each tenth of the distribution, so
/// that short runs of different libraries can be compared.
pub struct Sequence {
    holds: Holds,
    random: Random,
    tenths: Vec<u32>,
}

impl Sequence {
    pub fn new(holds: Holds, seed: u64) -> Sequence {
        Sequence { holds, random: Random(seed), tenths: Vec::new() }
    }
}

impl Iterator for Sequence {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        if self.tenths.is_empty() {
            self.tenths = (0..10).collect();
        }
        let index = (self.random.unit() * self.tenths.len() as f64) as usize;
        let tenth = f64::from(self.tenths.swap_remove(index));
        Some(self.holds.at((tenth + self.random.unit()) / 10.0))
    }
}

/// Random numbers (SplitMix64), the same in every run.
pub struct Random(pub u64);

impl Random {
    /// Returns a number from 0 to 1, without 1.
    pub fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_interpolated() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0]), 2.5);
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0, 5.0], 0.99), 4.96);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn ten_holds_cover_the_distribution() {
        let holds: Vec<f64> = Sequence::new(Holds::Uniform, 1).take(10).collect();
        assert!((mean(&holds) - 3450.0).abs() < 150.0, "{holds:?}");
        let long = Sequence::new(Holds::Bimodal, 2).take(20).filter(|hold| *hold > 1000.0).count();
        assert_eq!(long, 2);
    }
}
