//! No hints: for CPUs without a file of their own, and for Miri.

pub(super) fn prefetch(_at: *const u8) {}

pub(super) unsafe fn flush(_at: *const u8, _len: usize) {}

pub(super) fn speculation_delay(value: u64) -> u64 {
    value
}

pub(super) fn clock() -> Option<u64> {
    None
}
