//! A mapped piece of shared memory, and the one function that turns an offset into a pointer.
//!
//! No slice and no plain reference into the segment is ever made: other processes write it at any time. What leaves
//! this file is a raw pointer with a checked length, or a reference to an atomic. Copying is the facade's work.

pub mod read;

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64};

use crate::layout::{HEADER_SIZE, Header};

/// Bytes of shared memory: base and length, both private.
///
/// *Invariant MAPPED*: `base..base + len` is mapped for reading and writing for as long as this value or a copy of it
/// is used, `base` is a multiple of 4096, and `len` is at least [`HEADER_SIZE`] and at most `isize::MAX`.
#[derive(Debug, Clone, Copy)]
pub struct MappedBytes {
    base: NonNull<u8>,
    len: usize,
}

/// An offset that does not lie in the segment, or not at the alignment that its use needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{len} bytes at offset {offset}, aligned to {align}, do not lie in a segment of {size} bytes")]
pub struct OutOfBounds {
    /// The offset asked for, in bytes from the base of the segment.
    pub offset: u64,
    /// The length asked for, in bytes.
    pub len: u64,
    /// The alignment asked for, in bytes.
    pub align: u64,
    /// The size of the segment in bytes.
    pub size: u64,
}

// SAFETY: a MappedBytes is a pointer and a length; all access goes through atomics or through raw pointers whose users
// bring their own argument, and no thread owns the memory more than another.
unsafe impl Send for MappedBytes {}
// SAFETY: as for Send: `&MappedBytes` gives out nothing that `MappedBytes` does not.
unsafe impl Sync for MappedBytes {}

impl MappedBytes {
    /// What the base is a multiple of, in bytes: the smallest page of any supported machine.
    pub const ALIGN: u64 = 4096;

    /// Takes a mapping as it is.
    ///
    /// # Safety
    /// The caller must uphold MAPPED: `len` bytes from `base` are mapped for reading and writing until the last use of
    /// the value and of its copies, `base` is a multiple of 4096, and `HEADER_SIZE <= len <= isize::MAX`. Other
    /// processes may write the bytes at any time; nobody may hold a Rust reference to non-atomic data in them.
    pub const unsafe fn new(base: NonNull<u8>, len: usize) -> Self {
        Self { base, len }
    }

    /// The address of the first byte in this process.
    pub const fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The length in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a region holds at least a header")]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// **The one choke point**: the address of `len` bytes at `offset`, if they lie in the segment and `offset` is a
    /// multiple of `align` (a power of two up to 4096).
    ///
    /// # Errors
    /// [`OutOfBounds`] when the range overflows, ends behind the segment, or is not aligned.
    #[inline]
    pub const fn at(&self, offset: u64, len: u64, align: u64) -> Result<NonNull<u8>, OutOfBounds> {
        let fault = OutOfBounds { offset, len, align, size: self.len as u64 };
        let Some(end) = offset.checked_add(len) else { return Err(fault) };
        if end > self.len as u64 || !align.is_power_of_two() || align > Self::ALIGN || offset & (align - 1) != 0 {
            return Err(fault);
        }
        // SAFETY: offset <= end <= self.len, so the result is in or one past the mapping of MAPPED, and the offset
        // fits isize because self.len does. The base is a multiple of ALIGN, so the address has the offset's alignment.
        Ok(unsafe { self.base.add(offset as usize) })
    }

    /// The 32-bit word at `offset`, a multiple of 4.
    ///
    /// # Errors
    /// [`OutOfBounds`], as for [`MappedBytes::at`].
    pub fn atomic_u32(&self, offset: u64) -> Result<&AtomicU32, OutOfBounds> {
        let pointer = self.at(offset, 4, 4)?;
        // SAFETY: `at` gave four mapped bytes (MAPPED) at a multiple of 4; the borrow of self ends before the mapping
        // does; concurrent writers of other processes are what an atomic is for.
        Ok(unsafe { AtomicU32::from_ptr(pointer.as_ptr().cast()) })
    }

    /// The 64-bit word at `offset`, a multiple of 8.
    ///
    /// # Errors
    /// [`OutOfBounds`], as for [`MappedBytes::at`].
    pub fn atomic_u64(&self, offset: u64) -> Result<&AtomicU64, OutOfBounds> {
        let pointer = self.at(offset, 8, 8)?;
        // SAFETY: as for `atomic_u32`, with eight bytes at a multiple of 8.
        Ok(unsafe { AtomicU64::from_ptr(pointer.as_ptr().cast()) })
    }

    /// The header at the start of the segment.
    #[inline]
    pub const fn header(&self) -> &Header {
        const { assert!(size_of::<Header>() == HEADER_SIZE && align_of::<Header>() == 128) };
        // SAFETY: MAPPED gives HEADER_SIZE mapped bytes at a multiple of 4096, and Header holds nothing but atomics,
        // for which every bit pattern is valid and concurrent writers are allowed.
        unsafe { self.base.cast().as_ref() }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;

    #[repr(C, align(4096))]
    struct Page([u8; 8192]);

    fn with_region(test: impl FnOnce(&MappedBytes)) {
        let mut page = std::boxed::Box::new(Page([0; 8192]));
        let base = NonNull::from(&mut page.0).cast();
        // SAFETY: the box lives until the end of this function, is aligned to 4096 and longer than a header.
        test(&unsafe { MappedBytes::new(base, 8192) });
    }

    #[test]
    fn the_ends_are_exact() {
        with_region(|region| {
            assert!(region.at(8192, 0, 1).is_ok());
            assert!(region.at(8191, 1, 1).is_ok());
            assert!(region.at(8192, 1, 1).is_err());
            assert!(region.at(u64::MAX, 1, 1).is_err());
            assert!(region.at(u64::MAX, u64::MAX, 1).is_err());
            assert!(region.at(1, u64::MAX, 1).is_err());
            assert!(region.atomic_u64(8184).is_ok());
            assert!(region.atomic_u64(8188).is_err());
            assert!(region.atomic_u32(8188).is_ok());
            assert!(region.atomic_u32(2).is_err());
            assert!(region.at(0, 1, 0).is_err());
            assert!(region.at(0, 1, 3).is_err());
        });
    }

    proptest! {
        #[test]
        fn what_is_accepted_lies_inside(offset in any::<u64>(), len in any::<u64>(), shift in 0u32..15) {
            with_region(|region| {
                for (offset, len) in [(offset, len), (offset % 9000, len % 9000)] {
                    let align = 1u64 << shift;
                    let inside = u128::from(offset) + u128::from(len) <= 8192 && offset % align == 0 && align <= 4096;
                    let found = region.at(offset, len, align);
                    assert_eq!(found.is_ok(), inside);
                    if let Ok(pointer) = found {
                        assert_eq!(pointer.as_ptr() as usize - region.base().as_ptr() as usize, offset as usize);
                    }
                }
            });
        }
    }
}
