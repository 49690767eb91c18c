//! What an aarch64 is told.

use core::arch::asm;

/// Brings the line of `at` into the cache.
///
/// # Safety
/// `at` is valid for reads.
#[inline(always)]
pub(super) unsafe fn fetch(at: *const u8) {
    // SAFETY: a hint; it changes no byte, and is a read to the rules of access. No stack, no flags.
    unsafe { asm!("prfm pldl1keep, [{at}]", at = in(reg) at, options(nostack, preserves_flags)) };
}

/// Gives `value` back some 6 cycles later, by multiplications by one, as on x86-64. Not measured.
#[inline(always)]
pub(super) fn late(mut value: u64) -> u64 {
    // SAFETY: no memory, no stack, no flags; changes the register that is declared. Not `pure`, so that it is not done
    // earlier.
    unsafe {
        asm!(
            "mul {value}, {value}, {one}",
            "mul {value}, {value}, {one}",
            value = inout(reg) value,
            one = in(reg) 1_u64,
            options(nomem, nostack, preserves_flags),
        );
    }
    value
}

/// Does nothing: lines are left to the caches.
///
/// # Safety
/// None is asked for.
#[inline]
pub(super) unsafe fn evict(_at: *const u8, _len: usize) {}

/// The virtual counter, which every kernel that runs programs on this architecture lets them read.
#[inline]
pub(super) fn ticks() -> Option<u64> {
    let count: u64;
    // SAFETY: reads a register; no memory, no stack, no flags.
    unsafe { asm!("mrs {count}, cntvct_el0", count = out(reg) count, options(nomem, nostack, preserves_flags)) };
    Some(count)
}
