//! How a handle learns that the memory behind its mapping was taken away.
//!
//! A backend whose memory can vanish under a mapping (a file that a peer truncates) sets a mark and puts zeros in its
//! place; whoever has just used the memory looks at the mark before it believes what it saw. How a backend notices, and
//! what it does then, is not here.

use core::sync::atomic::{AtomicBool, Ordering, fence};

/// Whether the memory of one mapping was taken away. Never taken back: zeros are not the segment.
#[derive(Debug, Clone, Copy)]
pub struct Loss(Option<&'static AtomicBool>);

impl Loss {
    /// Of memory that cannot be taken away.
    pub const NEVER: Self = Self(None);

    /// Told by a mark that the backend sets **before** it puts other memory in the place of the one that was lost.
    pub const fn told_by(mark: &'static AtomicBool) -> Self {
        Self(Some(mark))
    }

    /// The mark, for code that does not know this type; `None` for memory that cannot be taken away.
    pub const fn mark(self) -> Option<&'static AtomicBool> {
        self.0
    }

    /// Whether the memory was lost before the last access to it by this thread. To be asked after an access, and costs
    /// nothing for memory that cannot be lost.
    #[inline]
    pub fn happened(self) -> bool {
        self.0.is_some_and(|mark| {
            // Keeps the look at the mark behind the accesses that it judges: the backend sets the mark, then changes
            // the mapping, so that who saw the new memory sees the mark.
            fence(Ordering::Acquire);
            mark.load(Ordering::Relaxed)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_mark_tells() {
        static MARK: AtomicBool = AtomicBool::new(false);
        assert!(!Loss::NEVER.happened() && Loss::NEVER.mark().is_none());
        assert!(!Loss::told_by(&MARK).happened());
        MARK.store(true, Ordering::Relaxed);
        assert!(Loss::told_by(&MARK).happened());
    }
}
