//! Memory of a segment that this process can read and not write: the reader's side of a one-way segment.
//!
//! Loads and checked addresses only; no reference to anything that can be stored to leaves this file.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::descriptor::Token;
use crate::kind::LockKind;
use crate::layout::{Geometry, HEADER_SIZE, Header, HeaderFault};
use crate::region::{MappedBytes, OutOfBounds};

/// Bytes of shared memory that are mapped for reading alone.
///
/// *Invariant READABLE*: what MAPPED of [`MappedBytes`] says, but for writing: a store to it is a SIGSEGV. The region
/// inside is asked for addresses and nothing else.
#[derive(Debug, Clone, Copy)]
pub struct ReadOnlyBytes(MappedBytes);

impl ReadOnlyBytes {
    /// Takes a mapping as it is.
    ///
    /// # Safety
    /// READABLE: `len` bytes from `base` are mapped for reading until the last use of the value and of its copies,
    /// `base` is a multiple of 4096, and `HEADER_SIZE <= len <= isize::MAX`. Another process may write the bytes at
    /// any time.
    pub const unsafe fn new(base: NonNull<u8>, len: usize) -> Self {
        // SAFETY: as the caller says, but for writing, which no function here does.
        Self(unsafe { MappedBytes::new(base, len) })
    }

    /// The length in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a region holds at least a header")]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// The address of `len` bytes at `offset`, for reading, if they lie in the segment.
    ///
    /// # Errors
    /// [`OutOfBounds`], as [`MappedBytes::at`].
    pub fn at(&self, offset: u64, len: u64) -> Result<*const u8, OutOfBounds> {
        self.0.at(offset, len, 1).map(|address| address.as_ptr().cast_const())
    }

    /// Loads the 64-bit word at `offset`, a multiple of 8, once. The publisher may change it at any time.
    ///
    /// # Errors
    /// [`OutOfBounds`].
    pub fn load64(&self, offset: u64, order: Ordering) -> Result<u64, OutOfBounds> {
        let address = self.0.at(offset, 8, 8)?;
        // SAFETY: `at` gave eight mapped bytes at a multiple of 8 (READABLE); they are only loaded, which memory that
        // is mapped for reading allows; concurrent writers are what an atomic is for.
        Ok(unsafe { AtomicU64::from_ptr(address.as_ptr().cast()) }.load(order))
    }

    /// As [`Header::check`].
    ///
    /// # Errors
    /// [`HeaderFault`].
    pub fn check_header(&self, lock: LockKind) -> Result<Geometry, HeaderFault> {
        self.header().check(self.0.len() as u64, lock)
    }

    /// As [`Header::knows_token`].
    pub fn knows_token(&self, token: Token) -> bool {
        self.header().knows_token(token)
    }

    /// Private, and used for functions that only load.
    fn header(&self) -> &Header {
        const { assert!(size_of::<Header>() == HEADER_SIZE) };
        self.0.header()
    }
}
