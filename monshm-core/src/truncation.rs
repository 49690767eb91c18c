//! How a handle learns that the memory behind its mapping was truncated.
//!
//! A backend whose memory can vanish under a mapping (a file that a peer truncates) sets a mark and maps zeros in its
//! place; code that has just used the memory checks the mark before it believes what it read. How a backend notices,
//! and what it does then, is not here.

use core::sync::atomic::{AtomicBool, Ordering, fence};

/// Whether the memory of one mapping was truncated. Final: zeros are not the segment.
#[derive(Debug, Clone, Copy)]
pub struct Truncation(Option<&'static AtomicBool>);

impl Truncation {
    /// Of memory that cannot be truncated.
    pub const NEVER: Self = Self(None);

    /// Shown by a mark that the backend sets **before** it maps other memory in the place of the truncated one.
    pub const fn marked_by(mark: &'static AtomicBool) -> Self {
        Self(Some(mark))
    }

    /// The mark, for code that does not know this type; `None` for memory that cannot be truncated.
    pub const fn mark(self) -> Option<&'static AtomicBool> {
        self.0
    }

    /// Whether the memory was truncated before the last access to it by this thread. To be asked after an access; costs
    /// nothing for memory that cannot be truncated.
    #[inline]
    pub fn happened(self) -> bool {
        self.0.is_some_and(|mark| {
            // Keeps this load behind the accesses that it judges. The backend sets the mark, then changes the mapping:
            // a thread that saw the new memory sees the mark.
            fence(Ordering::Acquire);
            mark.load(Ordering::Relaxed)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_mark_shows_a_truncation() {
        static MARK: AtomicBool = AtomicBool::new(false);
        assert!(!Truncation::NEVER.happened() && Truncation::NEVER.mark().is_none());
        assert!(!Truncation::marked_by(&MARK).happened());
        MARK.store(true, Ordering::Relaxed);
        assert!(Truncation::marked_by(&MARK).happened());
    }
}
