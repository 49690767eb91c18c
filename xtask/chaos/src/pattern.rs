//! The pattern in common data: many words that are equal whenever nobody is inside, written one after the other.
//!
//! Whoever takes the lock, where no death is reported, must find all of them equal and nobody inside. It repairs
//! nothing by itself.

use monshm::{Region, Result, Segment};
use std::alloc::Layout;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many words.
const COUNT: usize = 24;

/// The pattern of one segment: the word that says who is inside, and the equal words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pattern<'a> {
    region: Region<'a>,
}

/// What a holder finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    /// Whether all words are equal.
    pub(crate) whole: bool,
    /// Who says to be inside; 0 for nobody.
    pub(crate) inside: u64,
}

impl<'a> Pattern<'a> {
    const LEN: usize = (COUNT + 1) * 8;

    /// Takes room for it in a segment; gives its offset in bytes.
    pub(crate) fn place(segment: &Segment) -> Result<u64> {
        segment.alloc(Layout::array::<u64>(COUNT + 1).unwrap_or(Layout::new::<u64>()))
    }

    /// The pattern at `offset`.
    pub(crate) fn at(segment: &'a Segment, offset: u64) -> Result<Self> {
        Ok(Self { region: segment.region(offset, Self::LEN)? })
    }

    /// What stands there, read under the lock.
    pub(crate) fn state(&self) -> Result<State> {
        let first = self.word(1)?.load(Ordering::Relaxed);
        let mut whole = true;
        for index in 2..=COUNT {
            whole &= self.word(index)?.load(Ordering::Relaxed) == first;
        }
        Ok(State { whole, inside: self.word(0)?.load(Ordering::Relaxed) })
    }

    /// Says that `who` is inside, and begins to change the words.
    pub(crate) fn enter(&self, who: u64) -> Result<u64> {
        self.word(0)?.store(who, Ordering::Relaxed);
        Ok(self.word(1)?.load(Ordering::Relaxed).wrapping_add(1))
    }

    /// Writes the words, one after the other.
    #[inline(never)]
    pub(crate) fn write(&self, generation: u64) -> Result<()> {
        for index in 1..=COUNT {
            self.word(index)?.store(generation, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Says that `who` leaves. Answers whether nobody else was inside meanwhile.
    pub(crate) fn leave(&self, who: u64, generation: u64) -> Result<bool> {
        let mut alone = self.word(0)?.load(Ordering::Relaxed) == who;
        for index in 1..=COUNT {
            alone &= self.word(index)?.load(Ordering::Relaxed) == generation;
        }
        self.word(0)?.store(0, Ordering::Relaxed);
        Ok(alone)
    }

    /// Changes all the words, inside. Answers whether nobody else was inside meanwhile.
    pub(crate) fn update(&self, who: u64) -> Result<bool> {
        let generation = self.enter(who)?;
        self.write(generation)?;
        self.leave(who, generation)
    }

    fn word(&self, index: usize) -> Result<&'a AtomicU64> {
        self.region.atomic_u64(index * 8)
    }
}
