//! Where things lie in a segment, as one handle keeps it in private memory.
//!
//! It reads no shared word: the header's check makes one of what it found, and compares.

/// The size of the header in bytes; the common data begins behind it.
pub const HEADER_SIZE: usize = 2048;

/// The largest segment, in bytes: 1 TiB where a pointer has 64 bits, 1 GiB where it has 32.
pub const MAX_SEGMENT_SIZE: u64 = if usize::BITS == 64 { 1 << 40 } else { 1 << 30 };

/// The least room that stays for the ring, in bytes: one line.
pub const MIN_RING_SIZE: u64 = 128;

/// What `begin` of the ring is aligned to, in bytes.
pub const RING_ALIGN: u64 = 128;

/// Where things lie in a segment: the private truth of one handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Geometry {
    /// Size of the segment in bytes, whole pages.
    pub size: u64,
    /// First byte of the common data.
    pub cdata_begin: u64,
    /// First byte behind the room reserved for common data; the ring never begins before it.
    pub ring_floor: u64,
    /// First byte behind the ring.
    pub ring_end: u64,
}

impl Geometry {
    /// The geometry of a new segment of `size` bytes that reserves `common_data` bytes; `None` when they do not fit
    /// beside the header and the least ring.
    pub const fn new(size: u64, common_data: u64) -> Option<Self> {
        let Some(used) = (HEADER_SIZE as u64).checked_add(common_data) else { return None };
        let Some(ring_floor) = used.checked_next_multiple_of(RING_ALIGN) else { return None };
        let Some(least) = ring_floor.checked_add(MIN_RING_SIZE) else { return None };
        if size > MAX_SEGMENT_SIZE || size % RING_ALIGN != 0 || least > size {
            return None;
        }
        Some(Self { size, cdata_begin: HEADER_SIZE as u64, ring_floor, ring_end: size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometry_refuses_what_does_not_fit() {
        assert_eq!(Geometry::new(4096, u64::MAX), None);
        assert_eq!(Geometry::new(4096, 2048), None, "no room for the least ring");
        assert!(Geometry::new(4096, 1920).is_some());
        assert_eq!(Geometry::new(4097, 0), None);
        assert_eq!(Geometry::new(MAX_SEGMENT_SIZE + 4096, 0), None);
    }
}
