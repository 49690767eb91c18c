//! Pure arithmetic on positions of a ring: no memory, no atomics, no copying.
//!
//! A position is a byte offset from the base of the segment. Positions wrap by comparison, never by `%`, so
//! that a ring need not be a power of two. Nothing here trusts shared memory: callers pass checked values.

use crate::error::{BoundsFault, Error};

/// Bytes of a cache line; where lines are longer or shorter, only time is lost.
pub(crate) const LINE: u64 = 64;

/// Where the bytes of a ring lie: the offsets `[begin, end)` from the base of the segment.
///
/// Checked once, at construction, and held in private memory from then on. The shared `begin` and `end` are for other
/// programs; this crate never loads them.
///
/// **Invariant (bounds):** `begin < end`, `begin` is a multiple of 128, `end` of 8, and `end` is at most the
/// length of the segment and at most `isize::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    begin: u64,
    end: u64,
}

impl Bounds {
    /// Checks a pair of offsets against the length of the segment, in bytes.
    ///
    /// # Examples
    /// ```
    /// use monshm_rbuf::{Bounds, BoundsFault, Error};
    /// assert_eq!(Bounds::new(128, 1152, 4096)?.capacity(), 1023);
    /// assert_eq!(Bounds::new(64, 1152, 4096), Err(Error::Bounds(BoundsFault::BeginUnaligned)));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Bounds`] with the first rule that is broken, see [`BoundsFault`].
    pub const fn new(begin: u64, end: u64, segment_len: usize) -> Result<Self, Error> {
        if begin & 127 != 0 {
            return Err(Error::Bounds(BoundsFault::BeginUnaligned));
        }
        if end & 7 != 0 {
            return Err(Error::Bounds(BoundsFault::EndUnaligned));
        }
        if begin >= end {
            return Err(Error::Bounds(BoundsFault::Reversed));
        }
        if end > segment_len as u64 || end > isize::MAX as u64 {
            return Err(Error::Bounds(BoundsFault::PastSegment));
        }
        Ok(Bounds { begin, end })
    }

    /// The offset of the first byte of the ring.
    #[inline]
    pub const fn begin(&self) -> u64 {
        self.begin
    }

    /// The offset of the first byte after the ring.
    #[inline]
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// The number of bytes of the ring, one more than it can hold.
    #[inline]
    pub const fn size(&self) -> u64 {
        self.end - self.begin
    }

    /// The most bytes that the ring can hold: `size() - 1`.
    #[inline]
    pub const fn capacity(&self) -> usize {
        (self.size() - 1) as usize
    }

    /// The longest record, header and padding to 8 included, that fits an empty ring at every position.
    ///
    /// A record is contiguous. One of S bytes that does not fit before `end` is preceded by padding of less
    /// than S bytes, so 2 S − 8 bytes must be free, and at most `size() - 8` are: S ≤ `size() / 2`.
    #[inline]
    pub(crate) const fn record_limit(&self) -> u64 {
        (self.size() / 2) & !7
    }

    /// Whether `position` is one that an index may have.
    #[inline]
    pub(crate) const fn contains(&self, position: u64) -> bool {
        position >= self.begin && position < self.end
    }

    /// Bytes from `from` forward to `to`, 0 to `size() - 1`. Both must be inside.
    #[inline]
    pub(crate) const fn distance(&self, from: u64, to: u64) -> u64 {
        if to >= from { to - from } else { to + self.size() - from }
    }

    /// The position one byte before `position`.
    #[inline]
    pub(crate) const fn before(&self, position: u64) -> u64 {
        if position == self.begin { self.end - 1 } else { position - 1 }
    }

    /// The position `count` bytes after `position`; `count` is at most `size()`.
    #[inline]
    pub(crate) const fn advance(&self, position: u64, count: u64) -> u64 {
        let until_end = self.end - position;
        if count < until_end { position + count } else { self.begin + (count - until_end) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_of_bounds_is_named() {
        let fault = |begin, end, len| match Bounds::new(begin, end, len) {
            Err(Error::Bounds(fault)) => fault,
            other => panic!("{other:?}"),
        };
        assert_eq!(fault(64, 1024, 4096), BoundsFault::BeginUnaligned);
        assert_eq!(fault(128, 1028, 4096), BoundsFault::EndUnaligned);
        assert_eq!(fault(128, 128, 4096), BoundsFault::Reversed);
        assert_eq!(fault(256, 128, 4096), BoundsFault::Reversed);
        assert_eq!(fault(128, 4104, 4096), BoundsFault::PastSegment);
        assert_eq!(fault(128, 1 << 63, usize::MAX), BoundsFault::PastSegment);
        assert!(Bounds::new(128, 4096, 4096).is_ok());
    }

    #[test]
    fn distance_and_advance_are_inverse_everywhere() {
        let bounds = Bounds::new(128, 128 + 24, 4096).unwrap();
        for from in 128..152 {
            for count in 0..24 {
                let to = bounds.advance(from, count);
                assert!(bounds.contains(to));
                assert_eq!(bounds.distance(from, to), count);
                assert_eq!(bounds.before(bounds.advance(from, count + 1)), to);
            }
            assert_eq!(bounds.advance(from, 24), from);
        }
        assert!(!bounds.contains(127) && !bounds.contains(152));
    }

    #[test]
    fn the_record_limit_fits_at_every_position() {
        for words in 1..40_u64 {
            let bounds = Bounds::new(128, 128 + 8 * words, 4096).unwrap();
            let limit = bounds.record_limit();
            for at in (128..128 + 8 * words).step_by(8) {
                let until_end = bounds.end() - at;
                let need = if limit <= until_end { limit } else { until_end + limit };
                assert!(limit == 0 || need < bounds.size(), "{words} words, at {at}");
            }
        }
    }
}
