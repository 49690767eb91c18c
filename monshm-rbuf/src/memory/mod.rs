//! What the engine asks of memory: the words of the control block and copies of the ring's bytes.
//!
//! The production memory ([`Shared`], [`StaticRing`]) and the model checker's memory, in the tests, implement the same
//! two traits, so that one monomorphised engine runs on both. [`Memory`] is unsafe to implement: safety rests on it.
//! [`Hints`] is safe: none rests on it. Neither knows the rules of the ring. The orderings are the engine's: each call
//! names the one it needs.

mod hints;
mod shared;
mod static_ring;

use core::sync::atomic::Ordering;

use crate::bounds::Bounds;
use crate::error::{Corruption, Error};

pub use hints::Hints;
pub use shared::Shared;
pub use static_ring::StaticRing;

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
/// Every word and byte may be changed by a peer at any time; an implementation must bear that without undefined
/// behaviour, and must not let the compiler read a byte of the ring twice for one call. [`Shared`] is the
/// implementation for real memory; a checker of models writes another.
///
/// # Safety
/// * `bounds` gives the same answer for the life of the value, and of all values for the same ring.
/// * The memory stays valid while the value lives, wherever the value is moved to.
/// * An access stays inside what its arguments name: `copy_in` and `copy_out` touch `[offset, offset + len)` and
///   nothing else of the segment; the word calls touch 8 bytes.
pub unsafe trait Memory: Hints {
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

    /// The light side of an asymmetric fence: between a publication and the load of the other side's waiting flag. It
    /// may be a fence for the compiler alone where a side that is about to sleep executes the heavy one on all cores.
    #[inline(always)]
    fn light_fence(&self) {
        self.fence();
    }

    /// Whether the memory was truncated before the last access, and reads as zeros since. Asked after bytes were
    /// copied, so that zeros are never taken for data. Memory that cannot be truncated never is.
    #[inline(always)]
    fn is_truncated(&self) -> bool {
        false
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

    /// Stores one aligned word of the ring's bytes: a record header, a check word, or a zero to a free word. No reader
    /// sees half of it.
    ///
    /// # Safety
    /// `[offset, offset + 8)` lies inside `bounds()`, and `offset` is a multiple of 8.
    unsafe fn store_word(&self, offset: u64, value: u64);

    /// Loads one aligned word of the ring's bytes, once.
    ///
    /// # Safety
    /// `[offset, offset + 8)` lies inside `bounds()`, and `offset` is a multiple of 8.
    unsafe fn load_word(&self, offset: u64) -> u64;
}

/// Whether what was just copied was the ring's, and not the zeros of a truncated file.
#[inline(always)]
pub(crate) fn check_memory<M: Memory>(memory: &M) -> Result<(), Error> {
    if memory.is_truncated() { Err(Error::Corrupt(Corruption::MemoryLost)) } else { Ok(()) }
}

/// Copies `src` into the ring from `position` on, over the wrap if need be, and gives the position after.
///
/// # Safety
/// `bounds` is `memory.bounds()`, which contains `position`; `src.len()` is at most `bounds.size()`.
#[inline(always)]
pub(crate) unsafe fn copy_in_wrapping<M: Memory>(memory: &M, bounds: Bounds, position: u64, src: &[u8]) -> u64 {
    let len = src.len() as u64;
    let until_end = bounds.end() - position;
    if len < until_end {
        // SAFETY: position + len < end, and position ≥ begin by the contract.
        unsafe { memory.copy_in(position, src) };
        return position + len;
    }
    let (first, second) = src.split_at(until_end as usize);
    // SAFETY: the first part ends exactly at `end`; the second is at most position - begin bytes from `begin` on,
    // because src.len() ≤ size.
    unsafe {
        memory.copy_in(position, first);
        memory.copy_in(bounds.begin(), second);
    }
    bounds.begin() + second.len() as u64
}

/// Copies bytes of the ring from `position` on to `dst`, over the wrap if need be, and gives the position after.
///
/// # Safety
/// `bounds` is `memory.bounds()`, which contains `position`; `dst.len()` is at most `bounds.size()`.
#[inline(always)]
pub(crate) unsafe fn copy_out_wrapping<M: Memory>(memory: &M, bounds: Bounds, position: u64, dst: &mut [u8]) -> u64 {
    let len = dst.len() as u64;
    let until_end = bounds.end() - position;
    if len < until_end {
        // SAFETY: position + len < end, and position ≥ begin by the contract.
        unsafe { memory.copy_out(position, dst) };
        return position + len;
    }
    let (first, second) = dst.split_at_mut(until_end as usize);
    // SAFETY: the first part ends exactly at `end`; the second is at most position - begin bytes from `begin` on,
    // because dst.len() ≤ size.
    unsafe {
        memory.copy_out(position, first);
        memory.copy_out(bounds.begin(), second);
    }
    bounds.begin() + second.len() as u64
}
