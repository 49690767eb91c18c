//! Checked addresses: pieces of the segment that bytes are copied into and out of.
//!
//! No slice and no plain reference is lent; other processes write the bytes at any time. What is read may be torn
//! unless the lock is held by all who write.

use std::alloc::Layout;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use monshm_core::{Error, ErrorKind, Operation, OutOfBounds, Result, Truncation, allocator};
use monshm_rbuf::copy;

use crate::health::check_memory;
use crate::segment::Segment;

/// A piece of a segment, checked to lie inside it.
///
/// # Examples
/// ```
/// # #[cfg(any(feature = "posix", feature = "sysv"))] {
/// # let segment = monshm::Segment::builder(1 << 16).create()?;
/// let region = segment.region(4096, 16)?;
/// region.copy_from(b"sixteen bytes ok")?;
/// let mut bytes = [0; 5];
/// region.subregion(8, 5)?.copy_to(&mut bytes)?;
/// assert_eq!(&bytes, b"bytes");
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Region<'a> {
    segment: monshm_core::MappedBytes,
    truncation: Truncation,
    offset: u64,
    len: usize,
    _mapped: PhantomData<&'a Segment>,
}

impl Segment {
    /// Takes room for common data and gives its offset in bytes from the base of the segment. Takes the lock itself,
    /// unless this thread holds it. Room is never given back.
    ///
    /// # Errors
    /// `ZeroSize`; `Misaligned` over 4096; `NoRoom` with both numbers; `Corrupt`; else as [`Segment::lock`].
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// use std::alloc::Layout;
    ///
    /// let segment = monshm::Segment::builder(1 << 16).common_data(4096).create()?;
    /// let offset = segment.alloc(Layout::new::<[u64; 4]>())?;
    /// segment.region(offset, 32)?.copy_from(&[7; 32])?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn alloc(&self, layout: Layout) -> Result<u64> {
        self.locked(Operation::Allocate, || {
            let inner = self.inner();
            let region = inner.attachment.region();
            let offset = allocator::allocate(region.header(), &inner.geometry, layout);
            let offset = offset.map_err(|kind| inner.health.record(Error::new(Operation::Allocate, kind)))?;
            inner.health.check_memory(Operation::Allocate)?;
            Ok(offset)
        })
    }

    /// The `len` bytes at `offset`, both in bytes from the base of the segment.
    ///
    /// # Errors
    /// `OutOfBounds` when they do not lie in the segment; `MemoryLost`, `Poisoned`, `Forked`.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// assert_eq!(segment.region(4096, 16)?.len(), 16);
    /// assert!(segment.region(1 << 16, 1).is_err());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn region(&self, offset: u64, len: usize) -> Result<Region<'_>> {
        self.inner().check_usable(Operation::Address)?;
        self.inner().health.check_memory(Operation::Address)?;
        let segment = self.inner().attachment.region();
        segment.at(offset, len as u64, 1).map_err(outside)?;
        Ok(Region { segment, truncation: self.inner().health.truncation(), offset, len, _mapped: PhantomData })
    }

    /// The address of the byte at `offset` in this process (`mon_shm_addr`). It is valid while a handle to the segment
    /// lives; whoever uses it must expect other processes to write there at any time.
    ///
    /// # Errors
    /// `OutOfBounds` unless `offset` is below the size.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// let (first, second) = (segment.address(0)?, segment.address(4096)?);
    /// assert_eq!(second.addr().get() - first.addr().get(), 4096);
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn address(&self, offset: u64) -> Result<NonNull<u8>> {
        self.inner().attachment.region().at(offset, 1, 1).map_err(outside)
    }
}

impl<'a> Region<'a> {
    /// Where it begins, in bytes from the base of the segment.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies `dst.len()` bytes from its start to `dst`. Each byte is read once.
    ///
    /// # Errors
    /// `OutOfBounds` when `dst` is longer than the region; nothing is copied. `MemoryLost`: `dst` may hold zeros.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// let mut bytes = [1; 4];
    /// segment.region(4096, 16)?.copy_to(&mut bytes)?;
    /// assert_eq!(bytes, [0; 4]);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn copy_to(&self, dst: &mut [u8]) -> Result<()> {
        let from = self.inside(0, dst.len(), 1)?;
        // SAFETY: `inside` gave dst.len() mapped bytes, which stay mapped while 'a borrows the segment; dst is private
        // memory and cannot overlap them.
        unsafe { copy::read_from(from.as_ptr(), dst) };
        check_memory(self.truncation, Operation::Address)
    }

    /// Copies all of `src` to its start.
    ///
    /// # Errors
    /// `OutOfBounds` when `src` is longer than the region; nothing is copied. `MemoryLost`: nobody will see it.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// let region = segment.region(4096, 4)?;
    /// region.copy_from(b"four")?;
    /// assert!(region.copy_from(b"fives").is_err());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn copy_from(&self, src: &[u8]) -> Result<()> {
        let to = self.inside(0, src.len(), 1)?;
        // SAFETY: as in `copy_to`, for writing.
        unsafe { copy::write_to(to.as_ptr(), src) };
        check_memory(self.truncation, Operation::Address)
    }

    /// The piece of `len` bytes at `offset` bytes from its start.
    ///
    /// # Errors
    /// `OutOfBounds` when that does not lie in the region.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// let region = segment.region(4096, 16)?;
    /// assert_eq!(region.subregion(8, 8)?.offset(), 4104);
    /// assert!(region.subregion(8, 9).is_err());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn subregion(&self, offset: usize, len: usize) -> Result<Region<'a>> {
        self.inside(offset, len, 1)?;
        Ok(Region { offset: self.offset + offset as u64, len, ..*self })
    }

    /// The 32-bit word at `offset` bytes from its start. Other processes may change it at any time. Once the memory was
    /// taken away ([Truncation](crate#truncation)) it reads as 0; [`Segment::check`] tells.
    ///
    /// # Errors
    /// `OutOfBounds` when it does not lie in the region, or not at a multiple of 4 of the segment.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// use std::sync::atomic::Ordering;
    ///
    /// let word = segment.region(4096, 16)?.atomic_u32(4)?;
    /// assert_eq!(word.fetch_add(1, Ordering::Relaxed), 0);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn atomic_u32(&self, offset: usize) -> Result<&'a AtomicU32> {
        let word = self.inside(offset, 4, 4)?;
        // SAFETY: `inside` gave four mapped bytes at a multiple of 4, which stay mapped while 'a borrows the segment.
        Ok(unsafe { AtomicU32::from_ptr(word.as_ptr().cast()) })
    }

    /// The 64-bit word at `offset` bytes from its start; as [`Region::atomic_u32`].
    ///
    /// # Errors
    /// `OutOfBounds` when it does not lie in the region, or not at a multiple of 8 of the segment.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// use std::sync::atomic::Ordering;
    ///
    /// let word = segment.region(4096, 16)?.atomic_u64(8)?;
    /// assert_eq!(word.swap(7, Ordering::AcqRel), 0);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn atomic_u64(&self, offset: usize) -> Result<&'a AtomicU64> {
        let word = self.inside(offset, 8, 8)?;
        // SAFETY: as in `atomic_u32`, with eight bytes.
        Ok(unsafe { AtomicU64::from_ptr(word.as_ptr().cast()) })
    }

    /// The address of `len` bytes at `offset` from its start, if they lie inside.
    fn inside(&self, offset: usize, len: usize, align: u64) -> Result<NonNull<u8>> {
        // The region lies in the segment, so that its own offset plus one inside it cannot overflow.
        let absolute = self.offset.saturating_add(offset as u64);
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            let (len, size) = (len as u64, self.offset + self.len as u64);
            return Err(outside(OutOfBounds { offset: absolute, len, align, size }));
        }
        self.segment.at(absolute, len as u64, align).map_err(outside)
    }
}

impl fmt::Debug for Region<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region").field("offset", &self.offset).field("len", &self.len).finish_non_exhaustive()
    }
}

fn outside(fault: OutOfBounds) -> Error {
    Error::new(Operation::Address, ErrorKind::OutOfBounds(fault))
}
