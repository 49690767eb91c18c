//! The header at the start of every segment: written once by the creator, checked by each process that attaches.
//!
//! The map of its bytes is in [`super`], at the top. Its words are private: what another crate may load or store has a
//! method that says who else may change it.

use core::mem::offset_of;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::geometry::{Geometry, HEADER_SIZE};
use super::slots::{SLOT_COUNT, Slot, SlotTable};
use super::tokens::{TOKEN_COUNT, TokenTable};
use crate::descriptor::{Identity, Token};
use crate::kind::LockKind;

/// The bytes that belong to the lock.
pub const LOCK_AREA_SIZE: usize = 64;

/// The version of the layout.
pub const LAYOUT_VERSION: u32 = 1;

const MAGIC: u64 = u64::from_ne_bytes(*b"monshm\r\n");

/// The header as it stands in shared memory: atomics only. Reached by [`crate::MappedBytes::header`].
#[derive(Debug)]
#[repr(C, align(128))]
pub struct Header {
    magic: AtomicU64,
    version: AtomicU32,
    layout: AtomicU32,
    /// Size of the segment in bytes; written by the creator; a peer may overwrite it, so nobody reads it after
    /// the attach.
    size: AtomicU64,
    /// First byte of the common data; written by the creator.
    cdata_begin: AtomicU64,
    /// First byte behind the common data; written by the holder of the lock. Its store commits an allocation.
    pub(crate) cdata_end: AtomicU64,
    /// First byte behind the room reserved for common data at creation; written by the creator.
    pub(crate) ring_floor: AtomicU64,
    /// 1 once the ring was used: from then on `begin` does not move. Written by the holder of the lock.
    pub(crate) ring_frozen: AtomicU32,
    /// How many attaches have succeeded so far; written by peers.
    attached: AtomicU32,
    _line0: [AtomicU64; 9],
    /// The words of the ring, `mon_shm_rbuf`.
    pub(crate) ring: RingWords,
    /// 64 bytes that belong to the lock: a futex word, a `pthread_mutex_t`, or an owner word and a `sem_t`.
    lock_area: [AtomicU64; LOCK_AREA_SIZE / 8],
    /// See [`Header::dirty`].
    dirty: AtomicU32,
    /// Bit N: the waiter of a lock word in slot N is asleep, or about to be. See `lock::word`.
    sleepers: AtomicU32,
    _lock_line: [AtomicU32; 14],
    tokens: TokenTable,
    slots: SlotTable,
    _rest: [AtomicU64; 16],
}

/// The four words of the ring that the allocator moves while the ring is not in use. The other words of these 384
/// bytes are known to `monshm-rbuf` alone.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct RingWords {
    /// First byte of the ring.
    pub(crate) begin: AtomicU64,
    /// First byte behind the ring.
    pub(crate) end: AtomicU64,
    _line0: [AtomicU64; 14],
    /// First byte of data.
    pub(crate) head: AtomicU64,
    _line1: [AtomicU64; 15],
    /// First free byte.
    pub(crate) tail: AtomicU64,
    _line2: [AtomicU64; 15],
}

/// What the shared words of a header said when they were loaded, in bytes from the start of the segment. Hints: any
/// attached process can change the words at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct HeaderWords {
    /// The size of the segment in bytes.
    pub size: u64,
    /// The first byte of the common data.
    pub cdata_begin: u64,
    /// The first byte behind the common data.
    pub cdata_end: u64,
    /// The first byte of the ring.
    pub ring_begin: u64,
    /// The first byte behind the ring.
    pub ring_end: u64,
    /// The first byte of data in the ring.
    pub ring_head: u64,
    /// The first free byte of the ring.
    pub ring_tail: u64,
}

const _: () = {
    assert!(size_of::<Header>() == HEADER_SIZE && align_of::<Header>() == 128);
    assert!(offset_of!(Header, magic) == 0 && offset_of!(Header, version) == 8 && offset_of!(Header, layout) == 12);
    assert!(offset_of!(Header, size) == 16 && offset_of!(Header, cdata_begin) == 24);
    assert!(offset_of!(Header, cdata_end) == 32 && offset_of!(Header, ring_floor) == 40);
    assert!(offset_of!(Header, ring_frozen) == 48 && offset_of!(Header, attached) == 52);
    assert!(offset_of!(Header, ring) == 128 && size_of::<RingWords>() == 384);
    assert!(offset_of!(RingWords, begin) == 0 && offset_of!(RingWords, end) == 8);
    assert!(offset_of!(RingWords, head) == 128 && offset_of!(RingWords, tail) == 256);
    assert!(offset_of!(Header, lock_area) == 512 && offset_of!(Header, dirty) == 576);
    assert!(offset_of!(Header, sleepers) == 580);
    assert!(offset_of!(Header, tokens) == 640 && offset_of!(Header, slots) == 896);
};

/// Where the words that the C interface shows stand, in bytes from the start of the segment.
pub mod offset {
    use super::{Header, RingWords, offset_of};

    /// The size of the segment.
    pub const SIZE: usize = offset_of!(Header, size);
    /// The first byte of the common data.
    pub const CDATA_BEGIN: usize = offset_of!(Header, cdata_begin);
    /// The first byte behind the common data.
    pub const CDATA_END: usize = offset_of!(Header, cdata_end);
    /// The words of the ring.
    pub const RING: usize = offset_of!(Header, ring);
    /// The first byte of the ring.
    pub const RING_BEGIN: usize = RING + offset_of!(RingWords, begin);
    /// The first byte behind the ring.
    pub const RING_END: usize = RING + offset_of!(RingWords, end);
    /// The first byte of data.
    pub const RING_HEAD: usize = RING + offset_of!(RingWords, head);
    /// The first free byte.
    pub const RING_TAIL: usize = RING + offset_of!(RingWords, tail);
}

/// A number that differs between builds that cannot share a segment: version, sizes, and the width of a pointer where
/// the lock's words depend on it.
pub const fn layout_hash(lock: LockKind) -> u32 {
    let width = if lock.depends_on_pointer_width() { usize::BITS } else { 0 };
    let words = [
        LAYOUT_VERSION,
        HEADER_SIZE as u32,
        SLOT_COUNT,
        TOKEN_COUNT as u32,
        lock.wire(),
        width,
        cfg!(target_endian = "big") as u32,
    ];
    // FNV-1a, 32 bits, over the bytes of the words.
    let mut hash = 0x811c_9dc5_u32;
    let mut word = 0;
    while word < words.len() {
        let mut shift = 0;
        while shift < 32 {
            hash = (hash ^ ((words[word] >> shift) & 0xff)).wrapping_mul(0x0100_0193);
            shift += 8;
        }
        word += 1;
    }
    hash
}

/// Why a mapped object is not a segment that this build can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderFault {
    /// The magic word is 0: the creator died before it was done, or the bytes were punched out.
    #[error("the header is empty: the creator died while it made the segment, or the bytes were punched out")]
    NotReady,
    /// The magic word is another program's.
    #[error("the object does not hold a monshm segment")]
    Foreign,
    /// Version or layout differ from this build's.
    #[error("the segment has layout {found:#010x}, this build expects {expected:#010x}")]
    OtherLayout {
        /// The layout hash in the header.
        found: u32,
        /// The layout hash of this build.
        expected: u32,
    },
    /// A field holds a value that no creator writes.
    #[error("the header's {field} is {found}, which cannot be")]
    BadField {
        /// Which field.
        field: &'static str,
        /// What it holds.
        found: u64,
    },
}

impl Header {
    /// Writes every word of a new segment but the magic. The memory must be zero, as the kernel gives it.
    pub fn initialize(&self, geometry: &Geometry, lock: LockKind) {
        // Relaxed throughout: `publish` stores the magic with Release after all of it.
        self.version.store(LAYOUT_VERSION, Ordering::Relaxed);
        self.layout.store(layout_hash(lock), Ordering::Relaxed);
        self.size.store(geometry.size, Ordering::Relaxed);
        self.cdata_begin.store(geometry.cdata_begin, Ordering::Relaxed);
        self.cdata_end.store(geometry.cdata_begin, Ordering::Relaxed);
        self.ring_floor.store(geometry.ring_floor, Ordering::Relaxed);
        self.ring.begin.store(geometry.ring_floor, Ordering::Relaxed);
        self.ring.end.store(geometry.ring_end, Ordering::Relaxed);
        self.ring.head.store(geometry.ring_floor, Ordering::Relaxed);
        self.ring.tail.store(geometry.ring_floor, Ordering::Relaxed);
    }

    /// Declares the segment ready. The last store of its creation.
    pub fn publish(&self) {
        // Release: pairs with the Acquire in `check`; a process that sees the magic sees all that was written before
        // it.
        self.magic.store(MAGIC, Ordering::Release);
    }

    /// Checks the header of an object of `size` bytes (as the kernel tells it) and gives the private copy of what an
    /// attaching process may rely on. Writes nothing.
    ///
    /// # Errors
    /// [`HeaderFault`], telling an unfinished segment, a foreign one, another layout and a damaged one apart.
    pub fn check(&self, size: u64, lock: LockKind) -> Result<Geometry, HeaderFault> {
        // Acquire: pairs with the Release in `publish`.
        match self.magic.load(Ordering::Acquire) {
            MAGIC => {}
            0 => return Err(HeaderFault::NotReady),
            _ => return Err(HeaderFault::Foreign),
        }
        let (found, expected) = (self.layout.load(Ordering::Relaxed), layout_hash(lock));
        if self.version.load(Ordering::Relaxed) != LAYOUT_VERSION || found != expected {
            return Err(HeaderFault::OtherLayout { found, expected });
        }
        let field = |field, found, good: bool| {
            if good { Ok(found) } else { Err(HeaderFault::BadField { field, found }) }
        };
        let word = |word: &AtomicU64| word.load(Ordering::Relaxed);
        let found = word(&self.size);
        field("size", found, found == size)?;
        let found = word(&self.cdata_begin);
        field("cdata_begin", found, found == HEADER_SIZE as u64)?;
        let found = word(&self.ring.end);
        field("rbuf.end", found, found == size)?;
        let found = word(&self.ring_floor);
        let reserved = found.checked_sub(HEADER_SIZE as u64);
        let geometry = reserved.and_then(|reserved| Geometry::new(size, reserved));
        geometry
            .filter(|geometry| geometry.ring_floor == found)
            .ok_or(HeaderFault::BadField { field: "ring_floor", found })
    }

    /// Enters `token` among those that let one attach succeed, in entry `index` modulo [`TOKEN_COUNT`]; an older one
    /// that stood there is void. Called by the creator alone.
    pub fn issue_token(&self, index: usize, token: Token) {
        self.tokens.issue(index, token);
    }

    /// Whether `token` would let an attach succeed. Writes nothing.
    pub fn knows_token(&self, token: Token) -> bool {
        self.tokens.knows(token)
    }

    /// Spends `token`: true for exactly one caller, and never again for the same token.
    pub fn spend_token(&self, token: Token) -> bool {
        self.tokens.spend(token)
    }

    /// Writes who took `slot`, for people who inspect the segment.
    pub fn record_slot(&self, slot: Slot, pid: u32, identity: Identity) {
        self.slots.record(slot, pid, identity);
    }

    /// Pid and uid that the process in `slot` recorded of itself, for people. Any attached process can change them.
    pub fn recorded(&self, slot: Slot) -> (u32, u32) {
        self.slots.recorded(slot)
    }

    /// The words that the C interface shows, each loaded once.
    pub fn words(&self) -> HeaderWords {
        let word = |word: &AtomicU64| word.load(Ordering::Relaxed);
        HeaderWords {
            size: word(&self.size),
            cdata_begin: word(&self.cdata_begin),
            cdata_end: word(&self.cdata_end),
            ring_begin: word(&self.ring.begin),
            ring_end: word(&self.ring.end),
            ring_head: word(&self.ring.head),
            ring_tail: word(&self.ring.tail),
        }
    }

    /// Counts an attach that has succeeded. Called by the peer, after which it needs the object's name no more.
    pub fn count_attach(&self) {
        // Release: pairs with the Acquire in `attaches`.
        self.attached.fetch_add(1, Ordering::Release);
    }

    /// How many attaches have succeeded so far, as the peers say.
    pub fn attaches(&self) -> u32 {
        // Acquire: pairs with the Release in `count_attach`.
        self.attached.load(Ordering::Acquire)
    }

    /// The words of the ring, which `monshm-rbuf` knows.
    pub const fn ring(&self) -> &RingWords {
        &self.ring
    }

    /// The word of a word lock: the first four bytes of the lock area. Any attached process may change it at any time.
    #[inline]
    pub const fn lock_word(&self) -> &AtomicU32 {
        // SAFETY: the first four bytes of the area, which has 64, at a multiple of 8, valid while self is borrowed;
        // every process uses them as this atomic alone, and concurrent writers are what an atomic is for.
        unsafe { AtomicU32::from_ptr(self.lock_area.as_ptr().cast_mut().cast()) }
    }

    /// The 64 bytes that belong to the lock, at a multiple of 64: a futex word, a `pthread_mutex_t`, or an owner word
    /// and a `sem_t`.
    #[inline]
    pub fn lock_area(&self) -> NonNull<u8> {
        NonNull::from(&self.lock_area).cast()
    }

    /// The tag of the slot that a lock without an owner word marks: a SysV semaphore while it is held, a pthread mutex
    /// while what a dead holder left is not repaired. 0 for none.
    #[inline]
    pub const fn dirty(&self) -> &AtomicU32 {
        &self.dirty
    }

    /// Bit N: the waiter of a lock word in slot N is asleep, or about to be.
    #[inline]
    pub const fn sleepers(&self) -> &AtomicU32 {
        &self.sleepers
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::boxed::Box;

    const SIZE: u64 = 65536;

    fn zeroed() -> Box<Header> {
        // SAFETY: Header holds atomics only, for which zero bytes are a valid value.
        Box::new(unsafe { core::mem::zeroed() })
    }

    fn ready() -> (Box<Header>, Geometry) {
        let header = zeroed();
        let geometry = Geometry::new(SIZE, 100).unwrap();
        header.initialize(&geometry, LockKind::Futex);
        header.publish();
        (header, geometry)
    }

    #[test]
    fn a_published_header_gives_its_geometry_back() {
        let (header, geometry) = ready();
        assert_eq!(header.check(SIZE, LockKind::Futex), Ok(geometry));
        assert_eq!(geometry.ring_floor, 2048 + 128);
    }

    #[test]
    fn every_state_but_the_published_one_is_refused() {
        let header = zeroed();
        assert_eq!(header.check(SIZE, LockKind::Futex), Err(HeaderFault::NotReady));
        let (header, geometry) = ready();
        assert!(matches!(header.check(SIZE, LockKind::SysvSem), Err(HeaderFault::OtherLayout { .. })));
        assert!(matches!(header.check(SIZE * 2, LockKind::Futex), Err(HeaderFault::BadField { field: "size", .. })));
        let fields = [&header.cdata_begin, &header.ring.end, &header.ring_floor, &header.size];
        for word in fields {
            let good = word.load(Ordering::Relaxed);
            for bad in [0, good ^ 1, good ^ 128, u64::MAX, good.wrapping_neg(), 1 << 63] {
                word.store(bad, Ordering::Relaxed);
                let found = header.check(SIZE, LockKind::Futex);
                let reserved_otherwise = core::ptr::eq(word, &raw const header.ring_floor) && bad == good ^ 128;
                assert_eq!(found.is_ok(), reserved_otherwise, "{bad:#x}");
            }
            word.store(good, Ordering::Relaxed);
        }
        header.magic.store(1, Ordering::Relaxed);
        assert_eq!(header.check(SIZE, LockKind::Futex), Err(HeaderFault::Foreign));
        assert_eq!(Geometry::new(SIZE, 100), Some(geometry));
    }
}
