//! The record header, one 64-bit word, and the two values that callers see of it.
//!
//! A word is loaded once and decoded from the private copy. Whether a record fits where it is, is decided
//! in the consumer, which knows what is published.
//!
//! ```text
//! bit   63                48 47      40 39      32 31 30 29 28 27                          0
//!      | tag (u16)          | flags    | kind     | R| P| C| F| payload length (28 bits)    |
//!
//! R  1 in every record: a word of zeros is never one
//! P  padding: the rest up to the end of the ring holds nothing; C, F, kind, flags, tag are 0
//! C  checked: a word {CRC-32C in the high half, sequence number in the low half} follows the header
//! F  checked, and the first one by this producer: its sequence number starts the count
//!
//! a record   | header, 8 bytes | [check word, 8 bytes] | payload | 0 … 7 bytes up to a multiple of 8 |
//! ```
//!
//! A record begins at a multiple of 8 from the base of the segment and never reaches over the end of the ring.

use core::fmt;

use crate::error::{Corruption, Error};

/// Length of a record header, bytes.
pub const HEADER_LEN: usize = 8;
/// Length of the check word of a checked record, bytes.
pub const CHECK_LEN: usize = 8;
/// The longest payload that a header can describe, bytes; the ring's size may set a lower limit.
pub const PAYLOAD_MAX: usize = (1 << 28) - 1;

const FIRST: u64 = 1 << 28;
const CHECKED: u64 = 1 << 29;
const PADDING: u64 = 1 << 30;
const RECORD: u64 = 1 << 31;

/// What the caller says about a record besides its payload. The ring gives none of it a meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Label {
    /// What kind of record it is.
    pub kind: u8,
    /// Any eight flags.
    pub flags: u8,
    /// A number of the caller's, a stream or a thread for instance.
    pub tag: u16,
}

impl Label {
    /// A label of this kind, without flags or tag.
    ///
    /// # Examples
    /// ```
    /// use monshm_rbuf::Label;
    /// assert_eq!(Label::kind(7), Label { kind: 7, flags: 0, tag: 0 });
    /// ```
    pub const fn kind(kind: u8) -> Self {
        Label { kind, flags: 0, tag: 0 }
    }
}

/// A record as its consumer sees it, from the private copy of its header.
///
/// One word, so that it passes through registers: an answer of several fields is put together in memory by small
/// stores and then loaded as a whole, for which the CPU waits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// The header, without F.
    word: u64,
}

impl Record {
    /// The label that the producer gave it.
    #[inline]
    pub const fn label(self) -> Label {
        Label { kind: (self.word >> 32) as u8, flags: (self.word >> 40) as u8, tag: (self.word >> 48) as u16 }
    }

    /// Length of the payload, bytes.
    #[inline]
    pub const fn len(self) -> usize {
        self.word as usize & PAYLOAD_MAX
    }

    /// Whether it has no payload.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether it carries a sequence number and a CRC-32C.
    #[inline]
    pub const fn is_checked(self) -> bool {
        self.word & CHECKED != 0
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("label", &self.label())
            .field("len", &self.len())
            .field("is_checked", &self.is_checked())
            .finish()
    }
}

/// A header word taken apart: a record, or padding to the end of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) word: u64,
}

impl Header {
    pub(crate) const fn record(label: Label, payload_len: usize) -> Self {
        let word = (label.tag as u64) << 48
            | (label.flags as u64) << 40
            | (label.kind as u64) << 32
            | RECORD
            | payload_len as u64;
        Header { word }
    }

    pub(crate) const fn checked(self, first: bool) -> Self {
        Header { word: self.word | CHECKED | if first { FIRST } else { 0 } }
    }

    /// Padding of `extent` bytes, its own header included; a multiple of 8, at least 8.
    pub(crate) const fn padding(extent: u64) -> Self {
        Header { word: RECORD | PADDING | (extent - HEADER_LEN as u64) }
    }

    /// Takes a word from the ring, which can be any.
    #[inline(always)]
    pub(crate) const fn from_word(word: u64) -> Result<Self, Error> {
        let header = Header { word };
        let plain = word & RECORD != 0;
        let padding_only = word >> 32 == 0 && word & (CHECKED | FIRST) == 0;
        let first_is_checked = word & (FIRST | CHECKED) != FIRST;
        if !plain || !first_is_checked || (header.is_padding() && !padding_only) {
            return Err(Error::Corrupt(Corruption::HeaderInvalid));
        }
        Ok(header)
    }

    /// The length of the payload, bytes, of a record that is neither padding nor checked, if it is at most `most`;
    /// `None` of any other, and of what is no header.
    #[inline(always)]
    pub(crate) fn plain_len(self, most: usize) -> Option<usize> {
        // One comparison for the bits and the length, which is below them.
        let len = (self.word as u32).wrapping_sub(RECORD as u32) as usize;
        if len <= most.min(PAYLOAD_MAX) { Some(len) } else { None }
    }

    /// The extent of a record that is not checked, whose payload has `len` bytes.
    #[inline(always)]
    pub(crate) const fn plain_extent(len: usize) -> u64 {
        (HEADER_LEN + len + 7) as u64 & !7
    }

    #[inline(always)]
    pub(crate) const fn is_padding(self) -> bool {
        self.word & PADDING != 0
    }

    #[inline(always)]
    pub(crate) const fn is_checked(self) -> bool {
        self.word & CHECKED != 0
    }

    pub(crate) const fn is_first(self) -> bool {
        self.word & FIRST != 0
    }

    #[inline(always)]
    pub(crate) const fn payload_len(self) -> usize {
        self.word as usize & PAYLOAD_MAX
    }

    /// Bytes before the payload.
    #[inline(always)]
    pub(crate) const fn overhead(self) -> u64 {
        if self.is_checked() { (HEADER_LEN + CHECK_LEN) as u64 } else { HEADER_LEN as u64 }
    }

    /// All bytes that the record takes in the ring.
    #[inline(always)]
    pub(crate) const fn extent(self) -> u64 {
        self.overhead() + ((self.payload_len() as u64 + 7) & !7)
    }

    #[inline(always)]
    pub(crate) const fn to_record(self) -> Record {
        Record { word: self.word & !FIRST }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_keeps_each_field_to_itself() {
        let label = Label { kind: 0xA5, flags: 0x5A, tag: 0xC33C };
        for len in [0, 1, 7, 8, 9, PAYLOAD_MAX] {
            let header = Header::record(label, len);
            let seen = |record: Record| (record.label(), record.len(), record.is_empty(), record.is_checked());
            assert_eq!(seen(header.to_record()), (label, len, len == 0, false));
            assert_eq!(header.extent(), 8 + (len as u64).div_ceil(8) * 8);
            let checked = header.checked(true);
            assert_eq!(seen(checked.to_record()), (label, len, len == 0, true));
            assert_eq!(checked.to_record(), header.checked(false).to_record(), "the first is like others");
            assert_eq!(checked.extent(), header.extent() + 8);
            assert_eq!(Header::from_word(checked.word), Ok(checked));
            assert_eq!(header.plain_len(len), Some(len));
            assert_eq!(header.plain_len(len.wrapping_sub(1)), if len == 0 { Some(0) } else { None });
            assert_eq!(Header::plain_extent(len), header.extent());
            assert_eq!(checked.plain_len(usize::MAX), None);
        }
    }

    #[test]
    fn words_that_no_producer_writes_are_refused() {
        let bad = Err(Error::Corrupt(Corruption::HeaderInvalid));
        assert_eq!(Header::from_word(0), bad);
        assert_eq!(Header::from_word(16), bad);
        assert_eq!(Header::from_word(!RECORD), bad);
        assert_eq!(Header::from_word(RECORD | FIRST), bad);
        assert_eq!(Header::from_word(RECORD | PADDING | CHECKED), bad);
        assert_eq!(Header::from_word(RECORD | PADDING | 1 << 32), bad);
        assert_eq!(Header::from_word(RECORD | PADDING | 1 << 63), bad);
        assert!(Header::from_word(Header::padding(8).word).unwrap().is_padding());
        for word in [0, 16, !RECORD, RECORD | FIRST, Header::padding(8).word] {
            assert_eq!(Header { word }.plain_len(usize::MAX), None);
        }
    }
}
