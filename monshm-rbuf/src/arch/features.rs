//! What an x86-64 can do, asked of the CPU once. It does not know what the answers are used for.

use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Set in every answer.
const ASKED: u8 = 1;
/// The CPU has AVX, and the OS keeps its registers.
const AVX: u8 = 2;
/// The CPU has CLFLUSHOPT.
const CLFLUSHOPT: u8 = 4;
/// The CPU has SSE4.2, and so an instruction for CRC-32C.
const SSE42: u8 = 8;

/// Whether AVX can be used.
#[inline]
pub(super) fn has_avx() -> bool {
    features() & AVX != 0
}

/// Whether CLFLUSHOPT can be used.
#[inline]
pub(super) fn has_clflushopt() -> bool {
    features() & CLFLUSHOPT != 0
}

/// Whether SSE4.2 can be used.
#[inline]
pub(crate) fn has_sse42() -> bool {
    features() & SSE42 != 0
}

#[inline]
fn features() -> u8 {
    static ANSWER: AtomicU8 = AtomicU8::new(0);
    // Relaxed: every thread finds the same answer, and no other data depends on it.
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
    if leaf_1.ecx & 1 << 20 != 0 {
        found |= SSE42;
    }
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
            found |= CLFLUSHOPT;
        }
    }
    found
}
