//! Random numbers that a seed repeats: SplitMix64 (Steele, Lea, Flood, 2014).
//!
//! Good enough to choose delays and sizes; nothing secret comes from here.

/// A stream of numbers.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The stream of a seed and of the numbers that say what it is for.
    pub fn of(seed: u64, purpose: &[u64]) -> Self {
        let start = purpose.iter().fold(seed, |state, number| Self(state ^ *number).next());
        Self(start)
    }

    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "an endless stream: no Option")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Nanoseconds from 0 to 2^`bits`, the short ones as likely as the long ones, octave by octave.
    pub fn spread_ns(&mut self, bits: u64) -> u64 {
        let octave = self.below(bits + 1);
        self.below(1 << octave)
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn a_seed_repeats_its_numbers_and_a_purpose_changes_them() {
        let numbers = |seed, purpose: &[u64]| {
            let mut random = Random::of(seed, purpose);
            [(); 8].map(|()| random.next())
        };
        assert_eq!(numbers(7, &[1, 2]), numbers(7, &[1, 2]));
        assert_ne!(numbers(7, &[1, 2]), numbers(7, &[2, 1]));
        assert_ne!(numbers(7, &[1, 2]), numbers(8, &[1, 2]));
    }
}
