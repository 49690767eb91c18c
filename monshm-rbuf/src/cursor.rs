//! One side's own index, and how far it may go from there before it must load the other side's.
//!
//! Private numbers only, all of them checked: no memory, no atomics. One comparison tells whether the next bytes lie
//! in one piece; all else is for the calls that come to the end of the piece.

use crate::arch::hints;
use crate::bounds::Bounds;

/// What a poll found that is one load and a few comparisons.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Polled<T> {
    Found(T),
    /// That the other side has not moved.
    Nothing,
    /// What takes a poll in full to judge.
    Unclear,
}

/// The own index and the cached limit that the other side's index sets.
///
/// | | consumer | producer |
/// |---|---|---|
/// | `position` | `head` | `tail` |
/// | `limit` | the cached `tail` | one byte before the cached `head` |
///
/// **Invariant (inside):** `position` and the limit are inside the bounds. Where the limit lies at or after `position`,
/// `contiguous_end` is the byte after it. Where it lies before, the cursor is `wrapped`, `contiguous_end` is the end
/// of the ring, and `wrapped_limit` is the limit. An exhausted cursor is wrapped, with `contiguous_end` 0 and the
/// limit at `position`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    bounds: Bounds,
    /// The next byte that this side passes. Only this side changes it, so it is exact.
    position: u64,
    /// The first position that the next bytes in one piece may not reach.
    contiguous_end: u64,
    /// The first limit that `extend` does not take: `horizon`, or 0 while wrapped.
    extend_end: u64,
    /// How far `extend` may take the limit before the caller polls in full, as a position.
    horizon: u64,
    wrapped_limit: u64,
    wrapped: bool,
}

impl Cursor {
    /// At a position inside the bounds, with nothing to pass.
    pub(crate) fn new(bounds: Bounds, position: u64) -> Self {
        debug_assert!(bounds.contains(position));
        let end = bounds.end();
        let contiguous_end = position + 1;
        Cursor {
            bounds,
            position,
            contiguous_end,
            extend_end: end,
            horizon: end,
            wrapped_limit: position,
            wrapped: false,
        }
    }

    #[inline(always)]
    pub(crate) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// The first byte that was not passed.
    #[inline(always)]
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The position that may be reached, and not passed.
    #[inline(always)]
    pub(crate) fn limit(&self) -> u64 {
        if self.wrapped { self.wrapped_limit } else { self.contiguous_end - 1 }
    }

    /// Bytes that may be passed.
    #[inline(always)]
    pub(crate) fn remaining(&self) -> u64 {
        self.bounds.distance(self.position, self.limit())
    }

    /// The position after the next `count` bytes, if they may be passed and neither end at the end of the ring nor
    /// reach over it. `count` is at most `isize::MAX`.
    #[inline(always)]
    pub(crate) fn contiguous(&self, count: u64) -> Option<u64> {
        let after = self.position + count;
        if after < self.contiguous_end { Some(after) } else { None }
    }

    /// Whether the bytes up to `place`, which is at or after the position, may be passed and lie in one piece.
    #[inline(always)]
    pub(crate) fn is_contiguous_to(&self, place: u64) -> bool {
        place < self.contiguous_end
    }

    /// Whether the next `count` bytes, there or not, end before the end of the ring. `count` is at most `isize::MAX`.
    #[inline(always)]
    pub(crate) fn ends_before_wrap(&self, count: u64) -> bool {
        self.position + count < self.bounds.end()
    }

    /// Goes to a position that [`contiguous`](Self::contiguous) gave.
    #[inline(always)]
    pub(crate) fn advance_to(&mut self, after: u64) {
        debug_assert!(after >= self.position && after < self.contiguous_end);
        self.position = after;
    }

    /// Passes `count` bytes, at most [`remaining`](Self::remaining), over the end of the ring if need be.
    #[inline]
    pub(crate) fn advance(&mut self, count: u64) {
        debug_assert!(count <= self.remaining());
        let limit = self.limit();
        self.position = self.bounds.advance(self.position, count);
        self.set_limit(limit);
    }

    /// Says how far to go: a position inside the bounds.
    #[inline]
    pub(crate) fn set_limit(&mut self, limit: u64) {
        debug_assert!(self.bounds.contains(limit));
        self.wrapped = limit < self.position;
        self.wrapped_limit = limit;
        (self.contiguous_end, self.extend_end) =
            if self.wrapped { (self.bounds.end(), 0) } else { (limit + 1, self.horizon) };
    }

    /// Says how far `extend` may take the limit, all in all: by fewer than `bytes`.
    pub(crate) fn set_horizon(&mut self, bytes: u64) {
        self.horizon = self.limit().saturating_add(bytes).min(self.bounds.end());
        self.extend_end = if self.wrapped { 0 } else { self.horizon };
    }

    /// Takes the limit further, to an index that nobody has checked yet, if one comparison with each end is enough to
    /// know that it is sound: forward, below the horizon, and without the end of the ring in between. Tells by how
    /// much.
    #[inline(always)]
    pub(crate) fn extend(&mut self, limit: u64) -> Polled<u64> {
        if limit >= self.extend_end {
            Polled::Unclear
        } else if limit >= self.contiguous_end {
            let gained = limit - self.contiguous_end + 1;
            self.contiguous_end = limit + 1;
            Polled::Found(gained)
        } else if limit + 1 == self.contiguous_end {
            Polled::Nothing
        } else {
            Polled::Unclear
        }
    }

    /// Stays where it is, but lets loads from the position issue a little later: see [`hints::speculation_delay`].
    #[inline(always)]
    pub(crate) fn delay_position(&mut self) {
        self.position = hints::speculation_delay(self.position);
    }

    /// Ends here: nothing may be passed any more, not even nothing.
    pub(crate) fn exhaust(&mut self) {
        (self.contiguous_end, self.extend_end, self.wrapped_limit, self.wrapped) = (0, 0, self.position, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contiguous_bytes_are_in_one_piece_and_allowed() {
        let bounds = Bounds::new(128, 128 + 24, 4096).unwrap();
        for position in 128..152 {
            for limit in 128..152 {
                let mut cursor = Cursor::new(bounds, position);
                cursor.set_limit(limit);
                assert_eq!(cursor.remaining(), bounds.distance(position, limit));
                for count in 0..40 {
                    let fits = count <= cursor.remaining() && position + count < bounds.end();
                    let after = fits.then_some(position + count);
                    assert_eq!(cursor.contiguous(count), after, "{count} from {position}, to {limit}");
                }
                for count in 0..=cursor.remaining() {
                    let mut cursor = cursor;
                    cursor.advance(count);
                    assert_eq!(cursor.position(), bounds.advance(position, count));
                    assert_eq!(cursor.remaining(), bounds.distance(position, limit) - count);
                    assert_eq!(cursor.contiguous(0), Some(cursor.position()));
                }
            }
        }
    }

    #[test]
    fn a_limit_is_extended_forward_alone_and_below_the_horizon() {
        let bounds = Bounds::new(128, 128 + 24, 4096).unwrap();
        for (position, before) in (128..152).flat_map(|position| (128..152).map(move |before| (position, before))) {
            for horizon in [None, Some(0), Some(1), Some(7), Some(u64::MAX)] {
                for after in 120..160 {
                    let mut cursor = Cursor::new(bounds, position);
                    cursor.set_limit(before);
                    if let Some(bytes) = horizon {
                        cursor.set_horizon(bytes);
                    }
                    let below = horizon.is_none_or(|bytes| after < before.saturating_add(bytes));
                    let plain = before >= position && below && bounds.contains(after);
                    let found = cursor.extend(after);
                    if plain && after > before {
                        assert_eq!(found, Polled::Found(after - before));
                    } else if plain && after == before {
                        assert_eq!(found, Polled::Nothing);
                    } else {
                        assert_eq!(found, Polled::Unclear, "{position}: {before} to {after}, below {horizon:?}");
                    }
                    assert_eq!(cursor.limit(), if plain { after.max(before) } else { before });
                    assert_eq!(cursor.remaining(), bounds.distance(position, cursor.limit()));
                    assert_eq!(cursor.ends_before_wrap(7), position + 7 < bounds.end());
                }
            }
        }
    }

    #[test]
    fn a_horizon_holds_when_the_cursor_comes_over_the_end() {
        let bounds = Bounds::new(128, 128 + 24, 4096).unwrap();
        let mut cursor = Cursor::new(bounds, 150);
        cursor.set_limit(130);
        for (horizon, limit) in [(3, 131), (3, 151), (100, 151)] {
            cursor.set_horizon(horizon);
            assert_eq!(cursor.extend(limit), Polled::Unclear, "the limit lies beyond the end");
        }
        cursor.set_horizon(3);
        cursor.advance(2);
        assert_eq!(cursor.extend(133), Polled::Unclear);
        assert_eq!(cursor.extend(132), Polled::Found(2));
    }

    #[test]
    fn an_exhausted_cursor_goes_nowhere() {
        for (begin, position) in [(128, 140), (0, 0)] {
            let mut cursor = Cursor::new(Bounds::new(begin, 256, 4096).unwrap(), position);
            cursor.set_limit(150);
            cursor.exhaust();
            cursor.set_horizon(100);
            assert_eq!(cursor.remaining(), 0);
            assert_eq!((cursor.contiguous(1), cursor.contiguous(0)), (None, None));
            for limit in [0, position, 150] {
                assert_eq!(cursor.extend(limit), Polled::Unclear);
            }
        }
    }

    #[test]
    fn a_delayed_position_is_the_same_one() {
        let bounds = Bounds::new(128, 128 + 24, 4096).unwrap();
        for position in 128..152 {
            let mut cursor = Cursor::new(bounds, position);
            cursor.delay_position();
            assert_eq!(cursor.position(), position);
        }
    }
}
