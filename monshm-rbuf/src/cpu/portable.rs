//! Nothing is told to a CPU that is not known, nor under Miri.

/// Does nothing: lines are left to the caches.
///
/// # Safety
/// None is asked for.
#[inline]
pub(super) unsafe fn fetch(_at: *const u8) {}

/// Gives `value` back at once.
#[inline]
pub(super) fn late(value: u64) -> u64 {
    value
}

/// Does nothing: lines are left to the caches.
///
/// # Safety
/// None is asked for.
#[inline]
pub(super) unsafe fn evict(_at: *const u8, _len: usize) {}

/// No clock is known here.
#[inline]
pub(super) fn ticks() -> Option<u64> {
    None
}
