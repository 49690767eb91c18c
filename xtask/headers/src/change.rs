//! What is done to the words of a header: flip a bit, set, zero, swap, add, random; on one word or on two.
//!
//! It knows where the words are that calls read, not what they mean.

use harness::Random;
use std::fmt;

/// Words of 64 bits in a header.
pub(crate) const WORDS: usize = 256;

/// An image of a header, or the parts of it that differ.
pub(crate) type Words = [u64; WORDS];

/// Words that calls read between attach and detach: version, sizes, ends, the ring's, lock, dirty and sleepers, tokens.
const READ: [usize; 18] = [0, 1, 2, 3, 4, 5, 6, 16, 17, 18, 32, 33, 48, 49, 50, 64, 72, 80];

/// Mutations of a header: one word or two, each with its new value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    pub(crate) words: [(usize, u64); 2],
    pub(crate) count: usize,
}

impl Change {
    /// Chooses one, for a header that looks like `image`.
    pub(crate) fn choose(image: &Words, random: &mut Random) -> Self {
        let choice = random.next();
        // Evenly over all words; the second one of a pair mostly where it matters.
        let first = (choice >> 8) as usize % WORDS;
        let second = match choice >> 16 & 3 {
            0 => (choice >> 24) as usize % WORDS,
            _ => READ[(choice >> 24) as usize % READ.len()],
        };
        let count = 1 + (choice & 1) as usize;
        let value = |at: usize, other: usize, random: &mut Random| {
            let (old, number) = (image[at], random.next());
            let low = number as u8;
            match number >> 60 {
                0..=3 => old ^ 1 << (number % 64),
                4 | 5 => 0,
                6 => u64::MAX - u64::from(low),
                7 => image[other],
                8 | 9 => old.wrapping_add_signed(i64::from(low as i8)),
                10 => old.wrapping_add_signed(i64::from(low as i8) * 128),
                11 => u64::from(number as u16),
                // One half of it, as 32-bit fields are.
                12 => old & !0xFFFF_FFFF | u64::from(number as u32),
                13 => old & 0xFFFF_FFFF | u64::from(low) << 32,
                _ => number.rotate_left(17),
            }
        };
        let one = value(first, second, random);
        let two = value(second, first, random);
        Self { words: [(first, one), (second, two)], count }
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = (usize, u64)> {
        self.words.into_iter().take(self.count)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, value) in self.each() {
            write!(f, "byte {} = {value:#018x} ", 8 * at)?;
        }
        Ok(())
    }
}
