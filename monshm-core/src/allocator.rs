//! Room for common data: a bump allocator between the header and the ring.
//!
//! Every function here is for the holder of the segment's lock. Nothing is ever given back: the room lives as long as
//! the segment. An allocation is committed by one store, of `cdata_end`; the ring's words follow it and are derived
//! from it again by [`repair`] when a holder died in between.

use core::alloc::Layout;
use core::sync::atomic::Ordering;

use crate::error::ErrorKind;
use crate::layout::{Geometry, Header, MIN_RING_SIZE, RING_ALIGN};
use crate::region::MappedBytes;

/// Takes room for `layout` and gives its offset in bytes from the base of the segment.
///
/// The room comes from `[cdata_end, rbuf.begin)`. While the ring was never used `rbuf.begin` moves up to make more;
/// then what was reserved at creation is all there is.
///
/// # Errors
/// `ZeroSize`; `Misaligned` for more than 4096; `NoRoom` with both numbers; `Corrupt` when the header's words cannot
/// be.
pub fn allocate(header: &Header, geometry: &Geometry, layout: Layout) -> Result<u64, ErrorKind> {
    let (len, align) = (layout.size() as u64, layout.align() as u64);
    if len == 0 {
        return Err(ErrorKind::ZeroSize);
    }
    if align > MappedBytes::ALIGN {
        return Err(ErrorKind::Misaligned { align, limit: MappedBytes::ALIGN });
    }
    let frozen = is_frozen(header);
    let cdata_end = load_cdata_end(header, geometry)?;
    let begin = if frozen { load_begin(header, geometry)? } else { ring_begin(geometry, cdata_end) };
    let limit = if frozen { begin } else { geometry.ring_end - MIN_RING_SIZE };
    let offset = cdata_end.checked_next_multiple_of(align);
    let end = offset.and_then(|offset| offset.checked_add(len));
    let (Some(offset), Some(end)) = (offset, end.filter(|end| *end <= limit)) else {
        let available = limit.saturating_sub(offset.unwrap_or(limit));
        return Err(ErrorKind::NoRoom { needed: len, available });
    };
    // Release: an attached reader that finds the new end with Acquire finds the ring's words of before or after.
    header.cdata_end.store(end, Ordering::Release);
    if !frozen {
        place_ring(header, geometry, ring_begin(geometry, end));
    }
    Ok(offset)
}

/// Declares the ring in use, so that its bounds are final, and gives them: `begin` and `end` in bytes from the base.
///
/// # Errors
/// `Corrupt` when the header's words cannot be.
pub fn freeze_ring(header: &Header, geometry: &Geometry) -> Result<(u64, u64), ErrorKind> {
    if !is_frozen(header) {
        repair(header, geometry)?;
        // Release: pairs with the Acquire in `is_frozen`; a process that sees the mark sees the final words.
        header.ring_frozen.store(1, Ordering::Release);
    }
    Ok((load_begin(header, geometry)?, geometry.ring_end))
}

/// Whether the ring was used, so that its bounds are final. May be asked without the lock.
pub fn is_frozen(header: &Header) -> bool {
    // Acquire: pairs with the Release in `freeze_ring`.
    header.ring_frozen.load(Ordering::Acquire) != 0
}

/// Brings the words back to the last committed allocation, after a holder died inside.
///
/// # Errors
/// `Corrupt` when no honest process can have left the words so.
pub fn repair(header: &Header, geometry: &Geometry) -> Result<(), ErrorKind> {
    let cdata_end = load_cdata_end(header, geometry)?;
    if !is_frozen(header) {
        place_ring(header, geometry, ring_begin(geometry, cdata_end));
    } else if load_begin(header, geometry)? < cdata_end {
        return Err(ErrorKind::Corrupt { what: "the ring begins inside the common data" });
    }
    Ok(())
}

/// Where a ring that was never used begins, given the end of the common data: a function of committed words alone.
fn ring_begin(geometry: &Geometry, cdata_end: u64) -> u64 {
    // No overflow: cdata_end was checked to lie below the end of the segment, at most MAX_SEGMENT_SIZE.
    cdata_end.next_multiple_of(RING_ALIGN).max(geometry.ring_floor)
}

fn place_ring(header: &Header, geometry: &Geometry, begin: u64) {
    // Relaxed: only holders of the lock read a ring that was never used; the lock orders them.
    header.ring.begin.store(begin, Ordering::Relaxed);
    header.ring.end.store(geometry.ring_end, Ordering::Relaxed);
    header.ring.head.store(begin, Ordering::Relaxed);
    header.ring.tail.store(begin, Ordering::Relaxed);
}

fn load_cdata_end(header: &Header, geometry: &Geometry) -> Result<u64, ErrorKind> {
    let cdata_end = header.cdata_end.load(Ordering::Acquire);
    if cdata_end < geometry.cdata_begin || cdata_end > geometry.ring_end - MIN_RING_SIZE {
        return Err(ErrorKind::Corrupt { what: "the end of the common data lies outside it" });
    }
    Ok(cdata_end)
}

fn load_begin(header: &Header, geometry: &Geometry) -> Result<u64, ErrorKind> {
    let begin = header.ring.begin.load(Ordering::Relaxed);
    let last = geometry.ring_end - MIN_RING_SIZE;
    if begin % RING_ALIGN != 0 || begin < geometry.ring_floor || begin > last {
        return Err(ErrorKind::Corrupt { what: "the beginning of the ring lies outside its room" });
    }
    Ok(begin)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::kind::LockKind;
    use proptest::prelude::*;
    use std::boxed::Box;
    use std::vec::Vec;

    const SIZE: u64 = 65536;

    fn segment(common_data: u64) -> (Box<Header>, Geometry) {
        // SAFETY: Header holds atomics only, for which zero bytes are a valid value.
        let header: Box<Header> = Box::new(unsafe { core::mem::zeroed() });
        let geometry = Geometry::new(SIZE, common_data).unwrap();
        header.initialize(&geometry, LockKind::Futex);
        (header, geometry)
    }

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn an_unused_ring_makes_room_and_a_used_one_does_not() {
        let (header, geometry) = segment(256);
        let first = allocate(&header, &geometry, layout(1000, 8)).unwrap();
        assert_eq!(first, 2048);
        assert_eq!(header.ring.begin.load(Ordering::Relaxed), 2048 + 1024);
        assert_eq!(freeze_ring(&header, &geometry), Ok((3072, SIZE)));
        assert_eq!(allocate(&header, &geometry, layout(25, 1)), Err(ErrorKind::NoRoom { needed: 25, available: 24 }));
        assert_eq!(allocate(&header, &geometry, layout(24, 1)), Ok(3048));
        assert_eq!(header.ring.begin.load(Ordering::Relaxed), 3072);
    }

    #[test]
    fn the_least_ring_stays() {
        let (header, geometry) = segment(0);
        let room = SIZE - 2048 - MIN_RING_SIZE;
        let refused = allocate(&header, &geometry, layout(room as usize + 1, 1));
        assert_eq!(refused, Err(ErrorKind::NoRoom { needed: room + 1, available: room }));
        assert_eq!(allocate(&header, &geometry, layout(room as usize, 1)), Ok(2048));
        assert_eq!(freeze_ring(&header, &geometry), Ok((SIZE - 128, SIZE)));
    }

    #[test]
    fn a_holder_killed_behind_the_commit_leaves_a_ring_that_repair_puts_right() {
        let (header, geometry) = segment(0);
        header.cdata_end.store(5000, Ordering::Relaxed); // committed, and killed before the ring's words moved
        repair(&header, &geometry).unwrap();
        for word in [&header.ring.begin, &header.ring.head, &header.ring.tail] {
            assert_eq!(word.load(Ordering::Relaxed), 5120);
        }
    }

    #[test]
    fn bad_requests_are_distinguished() {
        let (header, geometry) = segment(0);
        assert_eq!(allocate(&header, &geometry, layout(0, 1)), Err(ErrorKind::ZeroSize));
        assert_eq!(
            allocate(&header, &geometry, layout(8, 8192)),
            Err(ErrorKind::Misaligned { align: 8192, limit: 4096 })
        );
    }

    proptest! {
        #[test]
        fn allocations_lie_apart_and_before_the_ring(
            requests in prop::collection::vec((1usize..3000, 0u32..8), 1..40)
        ) {
            let (header, geometry) = segment(512);
            let mut taken: Vec<(u64, u64)> = Vec::new();
            for (len, shift) in requests {
                let Ok(offset) = allocate(&header, &geometry, layout(len, 1 << shift)) else { continue };
                let end = offset + len as u64;
                assert_eq!(offset % (1 << shift), 0);
                assert!(taken.iter().all(|(from, to)| end <= *from || *to <= offset));
                assert!(end <= header.ring.begin.load(Ordering::Relaxed));
                taken.push((offset, end));
            }
        }

        #[test]
        fn hostile_words_never_lead_outside(
            cdata_end in any::<u64>(),
            begin in any::<u64>(),
            frozen in any::<u32>(),
            len in 1usize..100_000,
        ) {
            let (header, geometry) = segment(512);
            header.cdata_end.store(cdata_end, Ordering::Relaxed);
            header.ring.begin.store(begin, Ordering::Relaxed);
            header.ring_frozen.store(frozen, Ordering::Relaxed);
            if let Ok(offset) = allocate(&header, &geometry, layout(len, 16)) {
                assert!(offset >= geometry.cdata_begin && offset + len as u64 <= SIZE);
            }
            if let Ok((begin, end)) = freeze_ring(&header, &geometry) {
                assert!(begin >= geometry.ring_floor && begin + MIN_RING_SIZE <= end && end == SIZE);
            }
        }
    }
}
