//! A side's own place in the ring, and how far it may go from there before it has to look at the other side.
//!
//! Private numbers only, and all of them checked: no memory, no atomics. One comparison tells whether the next bytes lie
//! in one piece before anything that is not this side's; all else is for the calls that come to the end of the piece.

use crate::position::Bounds;

/// **Invariant (inside):** `at` and the goal are inside the bounds. Where the goal lies at or after `at`, `stop` is the byte
/// after the goal, and `limit` the end of the ring. Where it lies before, `stop` is the end of the ring, `limit` is 0,
/// and `goal` is the goal. Of a cursor that has ended, `stop` and `limit` are 0, and `goal` is `at`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    bounds: Bounds,
    at: u64,
    /// The first place that cannot be gone to in one piece.
    stop: u64,
    limit: u64,
    goal: u64,
}

impl Cursor {
    /// At a place inside the bounds, with nothing to pass over.
    pub(crate) fn new(bounds: Bounds, at: u64) -> Self {
        debug_assert!(bounds.contains(at));
        Cursor { bounds, at, stop: at + 1, limit: bounds.end(), goal: at }
    }

    #[inline(always)]
    pub(crate) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// The place: the first byte that was not passed over.
    #[inline(always)]
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// The place that may be gone to, and not beyond.
    #[inline(always)]
    pub(crate) fn goal(&self) -> u64 {
        if self.limit == 0 { self.goal } else { self.stop - 1 }
    }

    /// Whether all up to the goal lies in one piece.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        self.limit != 0
    }

    /// Bytes that may be passed over.
    #[inline(always)]
    pub(crate) fn left(&self) -> u64 {
        self.bounds.distance(self.at, self.goal())
    }

    /// The place after the next `count` bytes, if these may be passed over and neither end at the end of the ring nor
    /// reach over it. `count` is at most `isize::MAX`.
    #[inline(always)]
    pub(crate) fn ahead(&self, count: u64) -> Option<u64> {
        let after = self.at + count;
        if after < self.stop { Some(after) } else { None }
    }

    /// Goes to a place that [`ahead`](Self::ahead) gave.
    #[inline(always)]
    pub(crate) fn step_to(&mut self, after: u64) {
        debug_assert!(after >= self.at && after < self.stop);
        self.at = after;
    }

    /// Passes over `count` bytes, at most [`left`](Self::left), over the end of the ring if need be.
    #[inline]
    pub(crate) fn pass(&mut self, count: u64) {
        debug_assert!(count <= self.left());
        let goal = self.goal();
        self.at = self.bounds.advance(self.at, count);
        self.set_goal(goal);
    }

    /// Says how far to go: a place inside the bounds.
    #[inline]
    pub(crate) fn set_goal(&mut self, goal: u64) {
        debug_assert!(self.bounds.contains(goal));
        if goal >= self.at {
            (self.stop, self.limit) = (goal + 1, self.bounds.end());
        } else {
            (self.stop, self.limit, self.goal) = (self.bounds.end(), 0, goal);
        }
    }

    /// Takes the goal further, to a place that nobody has checked yet, if that is all there is to it: forward from the goal
    /// as it is, without the end of the ring in between. Gives by how many bytes, at least 1.
    #[inline(always)]
    pub(crate) fn extend(&mut self, goal: u64) -> Option<u64> {
        if goal < self.stop || goal >= self.limit {
            return None;
        }
        let gained = goal - self.stop + 1;
        self.stop = goal + 1;
        Some(gained)
    }

    /// Ends here: nothing may be passed over any more, not even nothing.
    pub(crate) fn end(&mut self) {
        (self.stop, self.limit, self.goal) = (0, 0, self.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_ahead_is_in_one_piece_and_allowed() {
        let bounds = Bounds::new(128, 128 + 24, 4096).unwrap();
        for at in 128..152 {
            for goal in 128..152 {
                let mut cursor = Cursor::new(bounds, at);
                cursor.set_goal(goal);
                assert_eq!(cursor.left(), bounds.distance(at, goal));
                for count in 0..40 {
                    let fits = count <= cursor.left() && at + count < bounds.end();
                    assert_eq!(
                        cursor.ahead(count),
                        fits.then_some(at + count),
                        "{count} from {at}, to {goal}"
                    );
                }
                for count in 0..=cursor.left() {
                    let mut cursor = cursor;
                    cursor.pass(count);
                    assert_eq!(cursor.at(), bounds.advance(at, count));
                    assert_eq!(cursor.left(), bounds.distance(at, goal) - count);
                    assert_eq!(cursor.ahead(0), Some(cursor.at()));
                }
            }
        }
    }

    #[test]
    fn a_goal_is_extended_forward_alone() {
        let bounds = Bounds::new(128, 128 + 24, 4096).unwrap();
        for at in 128..152 {
            for before in 128..152 {
                for after in 120..160 {
                    let mut cursor = Cursor::new(bounds, at);
                    cursor.set_goal(before);
                    let plain = before >= at && after > before && bounds.contains(after);
                    assert_eq!(cursor.extend(after), plain.then(|| after - before));
                    assert_eq!(cursor.goal(), if plain { after } else { before });
                    assert_eq!(cursor.left(), bounds.distance(at, cursor.goal()));
                }
            }
        }
    }

    #[test]
    fn a_cursor_that_has_ended_goes_nowhere() {
        for (begin, at) in [(128, 140), (0, 0)] {
            let mut cursor = Cursor::new(Bounds::new(begin, 256, 4096).unwrap(), at);
            cursor.set_goal(150);
            cursor.end();
            assert_eq!((cursor.left(), cursor.is_plain()), (0, false));
            assert_eq!((cursor.ahead(1), cursor.ahead(0), cursor.extend(150)), (None, None, None));
        }
    }
}
