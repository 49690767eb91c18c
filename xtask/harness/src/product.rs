//! Cells as the product's kinds and builders, for the campaigns.
//!
//! The tests of a product crate convert the names themselves: they may not depend on a build of the facade.

use crate::cell::Cell;
use monshm::{BackendKind, Builder, LockKind, MemoryKind, Segment};

/// The size of every segment of a campaign, in bytes: small, so that rings wrap and creation is cheap.
pub const SIZE: usize = 64 << 10;

impl Cell {
    /// The product's kind of backend.
    pub fn backend_kind(self) -> BackendKind {
        known(self.backend)
    }

    /// The product's kind of memory.
    pub fn memory_kind(self) -> MemoryKind {
        known(self.memory)
    }

    /// The product's kind of lock.
    pub fn lock_kind(self) -> LockKind {
        known(self.lock)
    }

    /// Whether its lock may be shared with a peer that is not trusted.
    pub fn is_for_untrusted(self) -> bool {
        self.lock_kind().safe_with_untrusted_peer()
    }

    /// A builder of a segment of [`SIZE`] for a process of our own user.
    pub fn builder(self) -> Builder {
        self.builder_of(SIZE)
    }

    /// A builder of a segment of `size` bytes for a process of our own user.
    pub fn builder_of(self, size: usize) -> Builder {
        Segment::builder(size).backend(self.backend_kind()).memory(self.memory_kind()).lock(self.lock_kind())
    }
}

/// The kind of a name that stands in `CELLS`.
fn known<T: std::str::FromStr<Err: std::fmt::Debug>>(name: &str) -> T {
    name.parse().unwrap_or_else(|error| panic!("{name}: {error:?}"))
}

#[cfg(test)]
mod tests {
    use crate::cell::CELLS;

    #[test]
    fn every_name_is_one_of_the_product() {
        for cell in CELLS {
            assert_eq!(cell.memory_kind().backend(), cell.backend_kind());
            let kinds = (cell.memory_kind().name(), cell.lock_kind().name());
            assert_eq!(kinds, (cell.memory, cell.lock));
        }
    }
}
