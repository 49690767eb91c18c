//! Hints to the CPU about cache lines and speculation, and its clock. They change no byte.
//!
//! Where a CPU has no such thing, nothing is done.

#[cfg(all(target_arch = "aarch64", target_endian = "little", not(miri)))]
#[path = "aarch64.rs"]
mod cpu;
#[cfg(not(any(
    all(target_arch = "x86_64", not(miri)),
    all(target_arch = "aarch64", target_endian = "little", not(miri))
)))]
#[path = "portable.rs"]
mod cpu;
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[path = "x86_64.rs"]
mod cpu;

/// Brings the cache line of `at` into this CPU's cache, for reading. Any address will do: a prefetch does not fault.
#[inline(always)]
pub(crate) fn prefetch(at: *const u8) {
    cpu::prefetch(at);
}

/// Takes the cache lines that lie wholly inside `[at, at + len)` out of all caches, where the CPU can.
///
/// # Safety
/// `[at, at + len)` is valid for reads. Other threads and processes may read and write it.
#[inline(always)]
pub(crate) unsafe fn flush(at: *const u8, len: usize) {
    // SAFETY: the range is valid for reads by the caller.
    unsafe { cpu::flush(at, len) };
}

/// Returns `value`, some cycles later where the CPU speculates: a dependency chain that the compiler cannot shorten.
///
/// A CPU that polls a word predicts that it has changed, and issues the loads of the data before the word has come.
/// If the word has not changed, the prediction is squashed at once; but by then the data's cache line may be on its
/// way here, away from the side that is about to write it. Loads whose address passes through this function issue
/// later than a poll that finds the old word takes to be squashed, and earlier than a poll that must fetch the new
/// one.
#[inline(always)]
pub(crate) fn speculation_delay(value: u64) -> u64 {
    cpu::speculation_delay(value)
}

/// A counter that runs at a steady rate, where the CPU has one. Ticks of an unknown length.
#[inline(always)]
pub(crate) fn clock() -> Option<u64> {
    cpu::clock()
}
