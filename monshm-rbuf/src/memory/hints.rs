//! What the engine tells the memory for speed alone.
//!
//! No safety and no outcome of a call rests on an implementation: whatever it does or answers, the engine accesses the
//! same bytes and gives the same answers.

use core::ops::Range;

/// Hints about the bytes of a ring, a pause and a clock. The defaults do nothing.
///
/// # Examples
/// ```
/// /// Memory without caches and without a clock.
/// struct Slow;
/// impl monshm_rbuf::Hints for Slow {}
/// assert_eq!(monshm_rbuf::Hints::clock(&Slow), None);
/// ```
pub trait Hints {
    /// Brings the line of the ring's byte at `offset` into this side's cache, for reading.
    ///
    /// Any offset may come; one that lies outside the ring is ignored.
    #[inline(always)]
    fn prefetch(&self, _offset: u64) {}

    /// Takes the lines that lie wholly inside `range` of the ring out of the caches: this side has read them and will
    /// not read them again.
    ///
    /// Any range may come; what lies outside the ring is ignored.
    #[inline(always)]
    fn flush(&self, _range: Range<u64>) {}

    /// Lets some cycles pass without touching shared memory.
    #[inline(always)]
    fn pause(&self) {
        core::hint::spin_loop();
    }

    /// A counter that runs at a steady rate, in ticks of any length; `None` where there is none. A clock that stops or
    /// goes back costs time, nothing else.
    #[inline(always)]
    fn clock(&self) -> Option<u64> {
        None
    }
}
