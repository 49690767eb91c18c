//! The ring's memory: its words in the header and its bytes, with what keeps them mapped; and the bounds, which the
//! first use fixes.

use std::ptr::NonNull;

use monshm_core::layout::RingWords;
use monshm_core::{Error, Operation, Result, allocator};
use monshm_rbuf::layout::{self, Control};
use monshm_rbuf::{Bounds, Shared};

use crate::segment::Segment;
use crate::sys;

const _: () = {
    use monshm_core::layout::offset;
    assert!(size_of::<RingWords>() == layout::CONTROL_LEN && align_of::<RingWords>() == align_of::<Control>());
    assert!(offset::RING_BEGIN - offset::RING == layout::BEGIN_OFFSET);
    assert!(offset::RING_END - offset::RING == layout::END_OFFSET);
    assert!(offset::RING_HEAD - offset::RING == layout::HEAD_OFFSET);
    assert!(offset::RING_TAIL - offset::RING == layout::TAIL_OFFSET);
};

impl Segment {
    /// The ring's memory. The first use fixes the bounds, under the lock.
    ///
    /// # Safety
    /// `keep` owns a handle to this segment, or borrows one, for as long as it lives: it keeps the memory mapped.
    pub(super) unsafe fn ring_memory<K>(&self, keep: K) -> Result<Shared<K>> {
        let inner = self.inner();
        let region = inner.attachment.region();
        let (begin, end) = match inner.ring_bounds.get() {
            Some(bounds) => *bounds,
            None => self.fix_ring_bounds()?,
        };
        let bounds = Bounds::new(begin, end, region.len()).map_err(|error| self.ring_error("ring", error))?;
        let control = NonNull::from(region.header().ring()).cast();
        // SAFETY: control points to the 384 bytes of the header's ring words, aligned to 128, which are atomics (const
        // asserts above); `Bounds::new` checked begin and end against the length of the mapping; the mapping stays as
        // long as the segment, which `keep` owns or borrows, by our caller's promise; nothing in it is ever covered by
        // a reference but to atomics.
        let memory = unsafe { Shared::new(control, region.base(), bounds, keep) };
        let memory = memory.assume_membarrier(sys::register_for_barriers());
        Ok(memory.with_truncation_mark(inner.health.truncation().mark()))
    }

    #[cold]
    fn fix_ring_bounds(&self) -> Result<(u64, u64)> {
        let inner = self.inner();
        let region = inner.attachment.region();
        let fix = || {
            let bounds = allocator::freeze_ring(region.header(), &inner.geometry);
            bounds.map_err(|kind| inner.health.record(Error::new(Operation::Ring, kind)))
        };
        // Once the ring is in use its bounds move no more, and need no lock.
        let found = if allocator::is_frozen(region.header()) { fix() } else { self.locked(Operation::Ring, fix) }?;
        Ok(*inner.ring_bounds.get_or_init(|| found))
    }
}
