//! What the CPU is told of the lines of the ring, and what it is asked: hints that change no byte, and a clock.
//!
//! Where a CPU knows no such thing, nothing is done.

#[cfg(all(target_arch = "aarch64", target_endian = "little", not(miri)))]
#[path = "cpu/aarch64.rs"]
mod arch;
#[cfg(not(any(
    all(target_arch = "x86_64", not(miri)),
    all(target_arch = "aarch64", target_endian = "little", not(miri))
)))]
#[path = "cpu/portable.rs"]
mod arch;
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[path = "cpu/x86_64.rs"]
mod arch;

#[cfg(all(target_arch = "x86_64", not(miri)))]
pub(crate) use arch::{AVX, features};

/// Brings the cache line of `at` into this CPU's cache, for reading.
///
/// # Safety
/// `at` is valid for reads. Other threads and processes may read and write it.
#[inline(always)]
pub(crate) unsafe fn fetch(at: *const u8) {
    // SAFETY: passed on unchanged.
    unsafe { arch::fetch(at) };
}

/// Takes the cache lines that lie wholly inside `[at, at + len)` out of all caches, where the CPU can.
///
/// # Safety
/// `[at, at + len)` is valid for reads. Other threads and processes may read and write it.
#[inline(always)]
pub(crate) unsafe fn evict(at: *const u8, len: usize) {
    // SAFETY: passed on unchanged.
    unsafe { arch::evict(at, len) };
}

/// Gives `value` back some cycles later, where the CPU runs ahead: see [`Memory::late`](crate::memory::Memory::late).
#[inline(always)]
pub(crate) fn late(value: u64) -> u64 {
    arch::late(value)
}

/// A clock that runs at a steady rate, where the CPU has one.
#[inline(always)]
pub(crate) fn ticks() -> Option<u64> {
    arch::ticks()
}
