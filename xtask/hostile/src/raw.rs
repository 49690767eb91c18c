//! The attacker's hands: words of a segment by their offsets, and system calls that no honest program makes.
//!
//! The offsets are those of the diagrams in `monshm-core/src/layout` and `monshm-rbuf/src/layout.rs`.

use monshm::Segment;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A word of the header: its name, offset and width in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) offset: usize,
    pub(crate) width: usize,
}

const fn field(name: &'static str, offset: usize, width: usize) -> Field {
    Field { name, offset, width }
}

/// Every word of the header that somebody reads, but for those of lock, tokens and slots.
pub(crate) const FIELDS: [Field; 20] = [
    field("magic", 0, 8),
    field("version", 8, 4),
    field("layout", 12, 4),
    field("size", 16, 8),
    field("cdata_begin", 24, 8),
    field("cdata_end", 32, 8),
    field("ring_floor", 40, 8),
    field("ring_frozen", 48, 4),
    field("attached", 52, 4),
    field("begin", 128, 8),
    field("end", 136, 8),
    field("consumer_waiting", 144, 4),
    field("producer_waiting", 148, 4),
    field("head", HEAD, 8),
    field("consumer_claim", CONSUMER_CLAIM, 4),
    field("consumer_closed", 268, 4),
    field("tail", TAIL, 8),
    field("producer_claim", PRODUCER_CLAIM, 4),
    field("producer_closed", 396, 4),
    field("dropped_records", 400, 8),
];

pub(crate) const CDATA_END: usize = 32;
pub(crate) const RING_FROZEN: usize = 48;
pub(crate) const BEGIN: usize = 128;
pub(crate) const HEAD: usize = 256;
pub(crate) const CONSUMER_CLAIM: usize = 264;
pub(crate) const TAIL: usize = 384;
pub(crate) const PRODUCER_CLAIM: usize = 392;
pub(crate) const LOCK_AREA: usize = 512;
pub(crate) const DIRTY: usize = 576;
pub(crate) const SLEEPERS: usize = 580;
pub(crate) const SLOTS: usize = 896;
pub(crate) const HEADER_LEN: usize = 2048;

/// The bytes of a segment, unchecked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw {
    base: NonNull<u8>,
    len: usize,
}

impl Raw {
    /// The bytes of `segment`, for as long as a handle of it lives.
    pub(crate) fn of(segment: &Segment) -> monshm::Result<Self> {
        Ok(Self { base: segment.address(0)?, len: segment.size() })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// The word at `offset`, which the caller keeps to multiples of 4 inside.
    pub(crate) fn word32(&self, offset: usize) -> &AtomicU32 {
        assert!(offset % 4 == 0 && offset + 4 <= self.len);
        // SAFETY: inside the mapping, aligned (asserted); whoever made this value keeps the segment mapped.
        unsafe { AtomicU32::from_ptr(self.base.as_ptr().add(offset).cast()) }
    }

    /// The word at `offset`, which the caller keeps to multiples of 8 inside.
    pub(crate) fn word64(&self, offset: usize) -> &AtomicU64 {
        assert!(offset % 8 == 0 && offset + 8 <= self.len);
        // SAFETY: as above.
        unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(offset).cast()) }
    }

    /// Loads a field.
    pub(crate) fn load_field(&self, field: Field) -> u64 {
        match field.width {
            4 => self.word32(field.offset).load(Ordering::SeqCst).into(),
            _ => self.word64(field.offset).load(Ordering::SeqCst),
        }
    }

    /// Stores to a field.
    pub(crate) fn store_field(&self, field: Field, value: u64) {
        match field.width {
            4 => self.word32(field.offset).store(value as u32, Ordering::SeqCst),
            _ => self.word64(field.offset).store(value, Ordering::SeqCst),
        }
    }

    /// Stores to a 64-bit word.
    pub(crate) fn store(&self, offset: usize, value: u64) {
        self.word64(offset).store(value, Ordering::SeqCst);
    }

    /// Loads a 64-bit word.
    pub(crate) fn load(&self, offset: usize) -> u64 {
        self.word64(offset).load(Ordering::SeqCst)
    }
}
