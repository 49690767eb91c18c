//! What the engine asks of memory: the trait that the production memory and the model checker's memory both
//! implement, so that one monomorphised engine runs on both.
//!
//! It does not know the rules of the ring. The orderings are the engine's: each call names the one it needs.
//! The production memory is in [`Shared`]; the one for loom is in the tests, on loom's own cells.

use core::sync::atomic::Ordering;

use crate::position::Bounds;

pub use crate::shared::{Shared, StaticRing};

/// The 64-bit words of the control block that the engine uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field64 {
    /// Offset of the first data byte; the consumer's.
    Head,
    /// Offset of the first free byte; the producer's.
    Tail,
    /// How many messages the producer dropped; the producer's.
    DroppedRecords,
    /// How many bytes the producer dropped; the producer's.
    DroppedBytes,
}

/// The 32-bit words of the control block that the engine uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field32 {
    /// 0, or the claimant that is the producer.
    ProducerClaim,
    /// 0, or the claimant that is the consumer.
    ConsumerClaim,
    /// Not 0: the producer writes no more.
    ProducerClosed,
    /// Not 0: the consumer reads no more.
    ConsumerClosed,
    /// Not 0: the producer sleeps, or is about to.
    ProducerWaiting,
    /// Not 0: the consumer sleeps, or is about to.
    ConsumerWaiting,
}

/// A control block and the bytes of a ring.
///
/// Every word and byte may be changed by a peer at any time; an implementation must stand that without
/// undefined behaviour, and must not let the compiler read a byte of the ring twice for one call.
///
/// # Safety
/// * `bounds` gives the same answer for the life of the value, and of all values that stand for the same ring.
/// * The memory stays valid while the value lives, wherever the value is moved to.
/// * An access stays inside what its arguments name: `copy_in` and `copy_out` touch `[offset, offset + len)`
///   and nothing else of the segment; the header calls touch 8 bytes.
/// * `late` gives back the position that it was given: what is found there is accessed without another check.
pub unsafe trait Memory {
    /// Where the ring lies; the same answer each time.
    fn bounds(&self) -> Bounds;

    /// Loads a 64-bit word of the control block.
    fn load64(&self, field: Field64, order: Ordering) -> u64;

    /// Stores a 64-bit word of the control block.
    fn store64(&self, field: Field64, value: u64, order: Ordering);

    /// Loads a 32-bit word of the control block.
    fn load32(&self, field: Field32, order: Ordering) -> u32;

    /// Stores a 32-bit word of the control block.
    fn store32(&self, field: Field32, value: u32, order: Ordering);

    /// Replaces `current` by `new` in a 32-bit word; a failure is Relaxed and gives what stood there.
    ///
    /// # Errors
    /// The value found, when it is not `current`. Never fails spuriously.
    fn compare_exchange32(&self, field: Field32, current: u32, new: u32, order: Ordering) -> Result<u32, u32>;

    /// A sequentially consistent fence.
    fn fence(&self);

    /// The fence between a publication and the look whether the other side sleeps. It may be one for the compiler alone
    /// where whoever is about to sleep passes a barrier for all cores.
    #[inline(always)]
    fn wake_fence(&self) {
        self.fence();
    }

    /// Whether the memory was taken away before the last access, and reads as zeros since: asked after bytes were
    /// copied, so that zeros are never taken for data. Memory that cannot be taken away never is.
    #[inline(always)]
    fn is_truncated(&self) -> bool {
        false
    }

    /// Lets some cycles pass without touching shared memory.
    fn pause(&self) {
        core::hint::spin_loop();
    }

    /// Brings the line of the ring's byte at `offset` into this side's cache, for reading. A hint.
    ///
    /// # Safety
    /// `offset` lies inside `bounds()`.
    #[inline(always)]
    unsafe fn fetch(&self, _offset: u64) {}

    /// Takes the ring's bytes in `[offset, offset + len)` out of the caches, as far as they fill whole lines: this side
    /// has read them and will not again. A hint; it changes nothing but time.
    ///
    /// # Safety
    /// `[offset, offset + len)` lies inside `bounds()`.
    #[inline(always)]
    unsafe fn evict(&self, _offset: u64, _len: u64) {}

    /// Gives `position` back a few cycles later, so that what is loaded from there is not loaded any sooner.
    ///
    /// A CPU that waits for a word in a loop guesses that it has come, and goes on to the data at `position`. If the word has
    /// not changed, that is known at once, and the guess taken back; by then the line of the data must not be on its way
    /// here, from the side that is about to write it. If the word is being fetched, the data should be fetched meanwhile.
    /// So a delay is wanted, between the one time and the other, that does not hang on the word.
    #[inline(always)]
    fn late(&self, position: u64) -> u64 {
        position
    }

    /// A clock that runs at a steady rate, to compare ways with; `None` where there is none.
    #[inline(always)]
    fn ticks(&self) -> Option<u64> {
        None
    }

    /// Copies `src` to the ring's bytes at `offset`.
    ///
    /// # Safety
    /// `[offset, offset + src.len())` lies inside `bounds()`.
    unsafe fn copy_in(&self, offset: u64, src: &[u8]);

    /// Copies the ring's bytes at `offset` to `dst`.
    ///
    /// # Safety
    /// `[offset, offset + dst.len())` lies inside `bounds()`.
    unsafe fn copy_out(&self, offset: u64, dst: &mut [u8]);

    /// Stores one aligned word of the ring's bytes (a record header, or a free word for the sake of its line); no reader
    /// sees half of it.
    ///
    /// # Safety
    /// `[offset, offset + 8)` lies inside `bounds()`, and `offset` is a multiple of 8.
    unsafe fn store_header(&self, offset: u64, value: u64);

    /// Loads one aligned word of the ring's bytes (a record header), once.
    ///
    /// # Safety
    /// `[offset, offset + 8)` lies inside `bounds()`, and `offset` is a multiple of 8.
    unsafe fn load_header(&self, offset: u64) -> u64;
}

/// Copies `src` into the ring from position `at` on, over the wrap if need be, and gives the position after.
///
/// # Safety
/// `bounds` is `memory.bounds()`, which contains `at`; `src.len()` is at most `bounds.size()`.
#[inline(always)]
pub(crate) unsafe fn put<M: Memory>(memory: &M, bounds: Bounds, at: u64, src: &[u8]) -> u64 {
    let len = src.len() as u64;
    let until_end = bounds.end() - at;
    if len < until_end {
        // SAFETY: at + len < end, and at ≥ begin by the contract.
        unsafe { memory.copy_in(at, src) };
        return at + len;
    }
    let (first, second) = src.split_at(until_end as usize);
    // SAFETY: the first part ends exactly at `end`; the second is at most at - begin bytes from `begin` on,
    // because src.len() ≤ size.
    unsafe {
        memory.copy_in(at, first);
        memory.copy_in(bounds.begin(), second);
    }
    bounds.begin() + second.len() as u64
}

/// Copies bytes of the ring from position `at` on to `dst`, over the wrap if need be; gives the position after.
///
/// # Safety
/// `bounds` is `memory.bounds()`, which contains `at`; `dst.len()` is at most `bounds.size()`.
#[inline(always)]
pub(crate) unsafe fn get<M: Memory>(memory: &M, bounds: Bounds, at: u64, dst: &mut [u8]) -> u64 {
    let len = dst.len() as u64;
    let until_end = bounds.end() - at;
    if len < until_end {
        // SAFETY: at + len < end, and at ≥ begin by the contract.
        unsafe { memory.copy_out(at, dst) };
        return at + len;
    }
    let (first, second) = dst.split_at_mut(until_end as usize);
    // SAFETY: the first part ends exactly at `end`; the second is at most at - begin bytes from `begin` on,
    // because dst.len() ≤ size.
    unsafe {
        memory.copy_out(at, first);
        memory.copy_out(bounds.begin(), second);
    }
    bounds.begin() + second.len() as u64
}
