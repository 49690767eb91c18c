//! The ring under the segment's lock, as in the reference.

use monshm_core::{Error, Operation, Result};
use monshm_rbuf::Shared;

use crate::lock::{Guard, OwnedGuard};
use crate::segment::Segment;

/// The ring, for whoever holds the segment's lock; made by [`Guard::ring`].
///
/// Each call takes effect with one store, so that a process that dies inside leaves the state of before or after. A
/// peer that does not keep to the lock can make bytes be lost or mixed up, and nothing worse.
///
/// # Examples
/// ```
/// # #[cfg(any(feature = "posix", feature = "sysv"))] {
/// let segment = monshm::Segment::builder(1 << 16).create()?;
/// let guard = segment.lock()?;
/// let ring = guard.ring()?;
/// ring.append(b"one measurement")?;
/// let mut bytes = [0; 3];
/// ring.read(&mut bytes)?;
/// assert_eq!((&bytes, ring.len()?), (b"one", 12));
/// # }
/// # Ok::<(), monshm::Error>(())
/// ```
#[derive(Debug)]
pub struct Ring<'a>(monshm_rbuf::Ring<Shared<&'a Segment>>);

impl Guard<'_> {
    /// The ring, for use while the lock is held. The first use fixes its bounds.
    ///
    /// # Errors
    /// `Corrupt` when its bounds cannot be; `MemoryLost`, `Poisoned`, `Forked`.
    pub fn ring(&self) -> Result<Ring<'_>> {
        self.segment().unguarded_ring()
    }
}

impl OwnedGuard {
    /// As [`Guard::ring`].
    ///
    /// # Errors
    /// As [`Guard::ring`].
    pub fn ring(&self) -> Result<Ring<'_>> {
        self.segment().unguarded_ring()
    }
}

impl Segment {
    /// The ring without a [`Guard`], as the C interface has it: C programs lock with calls of their own, and a program
    /// that does not lock must find bytes lost or mixed up, and nothing worse. Hidden from users, who have
    /// [`Guard::ring`]; it is reachable because the campaigns and the tests' helper process check that promise. The
    /// first use fixes the bounds and takes the lock for that, unless this thread holds it.
    ///
    /// # Errors
    /// As [`Guard::ring`]; else as [`Segment::lock_timeout`].
    #[doc(hidden)]
    pub fn unguarded_ring(&self) -> Result<Ring<'_>> {
        self.inner().check_usable(Operation::Ring)?;
        // SAFETY: the memory keeps the borrow of the segment.
        Ok(Ring(monshm_rbuf::Ring::new(unsafe { self.ring_memory(self) }?)))
    }
}

impl<'a> Ring<'a> {
    /// Appends all of `src`.
    ///
    /// # Errors
    /// `NoRoom` with both numbers when it does not fit now, `SizeOverLimit` when it never can, and `Claimed` while a
    /// lock-free producer has the ring; nothing is changed. `Corrupt` when the indices cannot be, which poisons the
    /// handle.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let guard = segment.lock()?;
    /// # let ring = guard.ring()?;
    /// ring.append(b"one measurement")?;
    /// assert_eq!(ring.len()?, 15);
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn append(&self, src: &[u8]) -> Result<()> {
        self.usable()?.append(src).map_err(|error| self.failed(error))
    }

    /// Reads `dst.len()` bytes and removes them.
    ///
    /// # Errors
    /// `NoData` with both numbers when there are fewer, `Claimed` while a lock-free consumer has the ring; nothing is
    /// changed, and `dst` is as it was. `Corrupt`.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let guard = segment.lock()?;
    /// # let ring = guard.ring()?;
    /// ring.append(b"one two")?;
    /// let mut bytes = [0; 3];
    /// ring.read(&mut bytes)?;
    /// assert_eq!(&bytes, b"one");
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn read(&self, dst: &mut [u8]) -> Result<()> {
        self.usable()?.read(dst).map_err(|error| self.failed(error))
    }

    /// Removes `count` bytes.
    ///
    /// # Errors
    /// As [`Ring::read`].
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let guard = segment.lock()?;
    /// # let ring = guard.ring()?;
    /// ring.append(b"one two")?;
    /// ring.skip(4)?;
    /// assert_eq!(ring.len()?, 3);
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn skip(&self, count: usize) -> Result<()> {
        self.usable()?.skip(count).map_err(|error| self.failed(error))
    }

    /// Bytes that can be appended now.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn avail(&self) -> Result<usize> {
        self.usable()?.avail().map_err(|error| self.failed(error))
    }

    /// Bytes in the ring.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn len(&self) -> Result<usize> {
        self.usable()?.len().map_err(|error| self.failed(error))
    }

    /// Whether the ring holds nothing.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// The most bytes it can hold: one less than its size.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// First byte of the ring, in bytes from the base of the segment.
    pub fn begin(&self) -> u64 {
        self.0.begin()
    }

    /// First byte behind the ring.
    pub fn end(&self) -> u64 {
        self.0.end()
    }

    /// First byte of data.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn head(&self) -> Result<u64> {
        self.usable()?.head().map_err(|error| self.failed(error))
    }

    /// First free byte.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn tail(&self) -> Result<u64> {
        self.usable()?.tail().map_err(|error| self.failed(error))
    }

    #[inline]
    pub(crate) fn usable(&self) -> Result<&monshm_rbuf::Ring<Shared<&'a Segment>>> {
        self.0.memory().keep().inner().check_usable(Operation::Ring)?;
        Ok(&self.0)
    }

    #[cold]
    pub(crate) fn failed(&self, error: monshm_rbuf::Error) -> Error {
        self.0.memory().keep().ring_error("lock-free endpoint", error)
    }
}
