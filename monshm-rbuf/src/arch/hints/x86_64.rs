//! The hints of an x86-64.

use core::arch::asm;
use core::arch::x86_64::_rdtsc;

use crate::arch::features::has_clflushopt;

/// Bytes of a cache line, on every x86-64.
const LINE: usize = 64;

#[inline(always)]
pub(super) fn prefetch(at: *const u8) {
    // SAFETY: PREFETCHT0 never faults and changes no byte. No stack, no flags.
    unsafe { asm!("prefetcht0 byte ptr [{at}]", at = in(reg) at, options(nostack, preserves_flags)) };
}

/// # Safety
/// `[at, at + len)` is valid for reads.
#[inline(always)]
pub(super) unsafe fn flush(at: *const u8, len: usize) {
    if !has_clflushopt() {
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

/// By two multiplications by one, three cycles each.
#[inline(always)]
pub(super) fn speculation_delay(mut value: u64) -> u64 {
    // SAFETY: no memory, no stack; changes the register that is declared. Not `pure`, so that the compiler does not
    // move it before the load whose outcome it waits for.
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
#[allow(unused_unsafe, reason = "RDTSC is a safe function in later versions of Rust")]
pub(super) fn clock() -> Option<u64> {
    // SAFETY: every x86-64 has RDTSC.
    Some(unsafe { _rdtsc() })
}
