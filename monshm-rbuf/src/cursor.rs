//! A side's own place in the ring, and how far it may go from there before it has to look at the other side.
//!
//! Private numbers only, and all of them checked: no memory, no atomics. One comparison tells whether the next bytes lie
//! in one piece before anything that is not this side's; all else is for the calls that come to the end of the piece.

use crate::position::Bounds;

/// **Invariant (inside):** `at` and the goal are inside the bounds. Where the goal lies at or after `at`, `stop` is the byte
/// after the goal. Where it lies before, the cursor is `wrapped`, `stop` is the end of the ring, and `goal` is the goal. A
/// cursor that has ended is wrapped, with `stop` 0 and `goal` where it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    bounds: Bounds,
    at: u64,
    /// The first place that cannot be gone to in one piece.
    stop: u64,
    /// The first place to which `extend` does not take the goal: `reach`, or 0 where it is wrapped.
    limit: u64,
    reach: u64,
    goal: u64,
    wrapped: bool,
}

/// What [`Cursor::extend`] found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Extended {
    /// So many bytes, at least 1.
    By(u64),
    /// The goal as it is.
    Not,
    /// A goal that takes more to tell what it means.
    Unclear,
}

impl Cursor {
    /// At a place inside the bounds, with nothing to pass over.
    pub(crate) fn new(bounds: Bounds, at: u64) -> Self {
        debug_assert!(bounds.contains(at));
        let end = bounds.end();
        Cursor { bounds, at, stop: at + 1, limit: end, reach: end, goal: at, wrapped: false }
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
        if self.wrapped { self.goal } else { self.stop - 1 }
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

    /// Whether the bytes up to `place`, which is at or after the cursor, may be passed over and lie in one piece.
    #[inline(always)]
    pub(crate) fn allows(&self, place: u64) -> bool {
        place < self.stop
    }

    /// Whether the next `count` bytes, allowed or not, neither end at the end of the ring nor reach over it. `count` is at
    /// most `isize::MAX`.
    #[inline(always)]
    pub(crate) fn has_in_one_piece(&self, count: u64) -> bool {
        self.at + count < self.bounds.end()
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
        self.wrapped = goal < self.at;
        self.goal = goal;
        (self.stop, self.limit) = if self.wrapped { (self.bounds.end(), 0) } else { (goal + 1, self.reach) };
    }

    /// Says how far `extend` may take the goal, all in all: by fewer than `bytes`.
    pub(crate) fn set_reach(&mut self, bytes: u64) {
        self.reach = self.goal().saturating_add(bytes).min(self.bounds.end());
        self.limit = if self.wrapped { 0 } else { self.reach };
    }

    /// Takes the goal further, to a place that nobody has checked yet, if that is all there is to it: forward from the goal
    /// as it is, within reach, and without the end of the ring in between.
    #[inline(always)]
    pub(crate) fn extend(&mut self, goal: u64) -> Extended {
        if goal >= self.limit {
            Extended::Unclear
        } else if goal >= self.stop {
            let gained = goal - self.stop + 1;
            self.stop = goal + 1;
            Extended::By(gained)
        } else if goal + 1 == self.stop {
            Extended::Not
        } else {
            Extended::Unclear
        }
    }

    /// Stays where it is, by way of `path`, which gives a place back as it is.
    #[inline(always)]
    pub(crate) fn stay(&mut self, path: impl FnOnce(u64) -> u64) {
        self.at = path(self.at);
    }

    /// Ends here: nothing may be passed over any more, not even nothing.
    pub(crate) fn end(&mut self) {
        (self.stop, self.limit, self.goal, self.wrapped) = (0, 0, self.at, true);
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
                    assert_eq!(cursor.ahead(count), fits.then_some(at + count), "{count} from {at}, to {goal}");
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
    fn a_goal_is_extended_forward_alone_and_within_reach() {
        let bounds = Bounds::new(128, 128 + 24, 4096).unwrap();
        for (at, before) in (128..152).flat_map(|at| (128..152).map(move |before| (at, before))) {
            for reach in [None, Some(0), Some(1), Some(7), Some(u64::MAX)] {
                for after in 120..160 {
                    let mut cursor = Cursor::new(bounds, at);
                    cursor.set_goal(before);
                    if let Some(bytes) = reach {
                        cursor.set_reach(bytes);
                    }
                    let within =
                        bounds.contains(after) && reach.is_none_or(|bytes| after < before.saturating_add(bytes));
                    let plain = before >= at && within;
                    let found = cursor.extend(after);
                    if plain && after > before {
                        assert_eq!(found, Extended::By(after - before));
                    } else if plain && after == before {
                        assert_eq!(found, Extended::Not);
                    } else {
                        assert_eq!(found, Extended::Unclear, "{at}: {before} to {after}, within {reach:?}");
                    }
                    assert_eq!(cursor.goal(), if plain { after.max(before) } else { before });
                    assert_eq!(cursor.left(), bounds.distance(at, cursor.goal()));
                    assert_eq!(cursor.has_in_one_piece(7), at + 7 < bounds.end());
                }
            }
        }
    }

    #[test]
    fn a_reach_holds_when_the_cursor_comes_over_the_end() {
        let bounds = Bounds::new(128, 128 + 24, 4096).unwrap();
        let mut cursor = Cursor::new(bounds, 150);
        cursor.set_goal(130);
        for (reach, goal) in [(3, 131), (3, 151), (100, 151)] {
            cursor.set_reach(reach);
            assert_eq!(cursor.extend(goal), Extended::Unclear, "the goal lies beyond the end");
        }
        cursor.set_reach(3);
        cursor.pass(2);
        assert_eq!(cursor.extend(133), Extended::Unclear);
        assert_eq!(cursor.extend(132), Extended::By(2));
    }

    #[test]
    fn a_cursor_that_has_ended_goes_nowhere() {
        for (begin, at) in [(128, 140), (0, 0)] {
            let mut cursor = Cursor::new(Bounds::new(begin, 256, 4096).unwrap(), at);
            cursor.set_goal(150);
            cursor.end();
            cursor.set_reach(100);
            assert_eq!(cursor.left(), 0);
            assert_eq!((cursor.ahead(1), cursor.ahead(0)), (None, None));
            for goal in [0, at, 150] {
                assert_eq!(cursor.extend(goal), Extended::Unclear);
            }
        }
    }
}
