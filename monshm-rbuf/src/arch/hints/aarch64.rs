//! The hints of an aarch64.

use core::arch::asm;

#[inline(always)]
pub(super) fn prefetch(at: *const u8) {
    // SAFETY: PRFM never faults and changes no byte. No stack, no flags.
    unsafe { asm!("prfm pldl1keep, [{at}]", at = in(reg) at, options(nostack, preserves_flags)) };
}

/// Does nothing: lines are left to the caches.
///
/// # Safety
/// None is asked for.
#[inline]
pub(super) unsafe fn flush(_at: *const u8, _len: usize) {}

/// By two multiplications by one, as on x86-64.
#[inline(always)]
pub(super) fn speculation_delay(mut value: u64) -> u64 {
    // SAFETY: no memory, no stack, no flags; changes the register that is declared. Not `pure`, so that the compiler
    // does not move it before the load whose outcome it waits for.
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

/// The virtual counter, which every kernel that runs programs on this architecture lets them read.
#[inline]
pub(super) fn clock() -> Option<u64> {
    let count: u64;
    // SAFETY: reads a register; no memory, no stack, no flags.
    unsafe { asm!("mrs {count}, cntvct_el0", count = out(reg) count, options(nomem, nostack, preserves_flags)) };
    Some(count)
}
