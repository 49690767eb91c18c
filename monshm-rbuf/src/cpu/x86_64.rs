//! What an x86-64 is asked and told.

use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count, _rdtsc};
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Set in every answer of [`features`].
const ASKED: u8 = 1;
/// The CPU has AVX and the OS keeps its registers.
pub(crate) const AVX: u8 = 2;
/// The CPU has CLFLUSHOPT.
const EVICT: u8 = 4;

/// What the CPU can do; asked of it once.
#[inline]
pub(crate) fn features() -> u8 {
    static ANSWER: AtomicU8 = AtomicU8::new(0);
    // Relaxed: the answer is the same whoever finds it, and nothing hangs on it.
    match ANSWER.load(Relaxed) {
        0 => {
            let found = ask();
            ANSWER.store(found, Relaxed);
            found
        }
        answer => answer,
    }
}

#[cold]
#[allow(unused_unsafe, reason = "CPUID is a safe function from Rust 1.94 on")]
fn ask() -> u8 {
    // SAFETY: every x86-64 has CPUID, and leaves 0 and 1.
    let (last_leaf, leaf_1) = unsafe { (__cpuid(0).eax, __cpuid(1)) };
    let mut found = ASKED;
    let (os_saves, avx) = (leaf_1.ecx & 1 << 27 != 0, leaf_1.ecx & 1 << 28 != 0);
    if os_saves && avx {
        let states: u32;
        // SAFETY: XGETBV exists where the OS has enabled XSAVE; register 0 does always.
        unsafe {
            asm!("xgetbv", in("ecx") 0, out("eax") states, out("edx") _, options(nomem, nostack, preserves_flags));
        }
        // Both halves of the registers: bits 1 (SSE) and 2 (AVX).
        if states & 6 == 6 {
            found |= AVX;
        }
    }
    if last_leaf >= 7 {
        // SAFETY: leaf 7 exists, by the test before.
        let leaf_7 = unsafe { __cpuid_count(7, 0) }.ebx;
        if leaf_7 & 1 << 23 != 0 {
            found |= EVICT;
        }
    }
    found
}

/// Bytes of a cache line, on every x86-64.
const LINE: usize = 64;

/// Brings the line of `at` into the cache.
///
/// # Safety
/// `at` is valid for reads.
#[inline(always)]
pub(super) unsafe fn fetch(at: *const u8) {
    // SAFETY: a hint; it changes no byte, and is a read to the rules of access. No stack, no flags.
    unsafe { asm!("prefetcht0 byte ptr [{at}]", at = in(reg) at, options(nostack, preserves_flags)) };
}

/// Takes the lines that lie wholly inside `[at, at + len)` out of all caches.
///
/// # Safety
/// `[at, at + len)` is valid for reads.
#[inline(always)]
pub(super) unsafe fn evict(at: *const u8, len: usize) {
    if features() & EVICT == 0 {
        return;
    }
    let mut passed = at.addr().wrapping_neg() % LINE;
    while passed + LINE <= len {
        // SAFETY: a line inside the range, on a CPU with the instruction; it changes no byte, and is a read to
        // the rules of access. No stack, no flags.
        unsafe {
            asm!("clflushopt [{at}]", at = in(reg) at.add(passed), options(nostack, preserves_flags));
        }
        passed += LINE;
    }
}

/// Gives `value` back some 6 cycles later, by multiplications by one. With what comes before it in a look that is more than a
/// load that finds its word in the nearest cache takes with the branch that hangs on it, and less than one that does not.
#[inline(always)]
pub(super) fn late(mut value: u64) -> u64 {
    // SAFETY: no memory, no stack; changes the register that is declared. Not `pure`, so that it is not done earlier.
    unsafe {
        asm!(
            "imul {value}, {value}, 1",
            "imul {value}, {value}, 1",
            value = inout(reg) value,
            options(nomem, nostack),
        );
    }
    value
}

/// The time stamp counter.
#[inline]
#[allow(unused_unsafe, reason = "for the same reason as CPUID")]
pub(super) fn ticks() -> Option<u64> {
    // SAFETY: every x86-64 has RDTSC.
    Some(unsafe { _rdtsc() })
}
