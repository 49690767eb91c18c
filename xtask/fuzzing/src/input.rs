//! The bytes of an input, taken from the front; zeros behind its end.
//!
//! Small numbers come first in what it gives, so that a short input already does something.

/// What is left of an input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether nothing is left.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `limit`, which is at most 256.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::from(self.byte()) % limit
    }

    pub(crate) fn half(&mut self) -> u16 {
        u16::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    pub(crate) fn word(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// Up to `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A word that a hostile peer might put where `good` stood: near it, at an edge, one bit off, or anything.
    pub(crate) fn hostile_word(&mut self, good: u64) -> u64 {
        match self.byte() % 8 {
            0 => 0,
            1 => good ^ 1 << (self.byte() % 64),
            2 => good.wrapping_add_signed(i64::from(self.byte() as i8)),
            3 => good.wrapping_add_signed(i64::from(self.byte() as i8) * 128),
            4 => u64::MAX - u64::from(self.byte()),
            5 => u64::from(self.half()),
            6 => 1 << (self.byte() % 64),
            _ => self.word(),
        }
    }
}
