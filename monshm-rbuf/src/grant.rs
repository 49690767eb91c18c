//! Grants: room to fill in any order and then commit, data to look at and then release. Over bytes here; what is
//! special to records is in `record/`.
//!
//! A grant is a view, never a slice: bytes are copied in and out of it. Dropping one changes nothing.

use core::fmt::Debug;

use crate::consumer::Consumer;
use crate::error::Error;
use crate::memory::{Memory, check_memory, copy_in_wrapping, copy_out_wrapping};
use crate::policy::{Adaptive, Policy};
use crate::producer::Producer;

/// Room for up to [`len`](Self::len) bytes behind what was written; invisible until it is committed. Dropping it
/// aborts.
///
/// `K` says what is committed: plain bytes, or for a [`RecordWriteGrant`](crate::RecordWriteGrant) a record. Bytes
/// that are committed without having been written may hold anything.
///
/// **Invariant (room):** `[start, start + len)`, over the end of the ring if need be, is free.
#[derive(Debug)]
#[must_use = "a grant that is not committed is aborted"]
pub struct WriteGrant<'a, M: Memory, K: Debug = ()> {
    pub(crate) producer: &'a mut Producer<M>,
    pub(crate) start: u64,
    pub(crate) len: usize,
    pub(crate) kind: K,
}

impl<M: Memory> Producer<M> {
    /// Reserves room for `len` bytes.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::TooLong`], [`Error::Corrupt`].
    ///
    /// # Examples
    /// ```
    /// # let ring = monshm_rbuf::StaticRing::<64>::new();
    /// # let (memory, me) = (ring.memory(), core::num::NonZeroU32::MIN);
    /// # let mut producer = monshm_rbuf::Producer::claim(memory, me)?;
    /// # let mut consumer = monshm_rbuf::Consumer::claim(memory, me)?;
    /// let mut grant = producer.reserve(8)?;
    /// grant.write_at(2, b"cd")?;
    /// grant.write_at(0, b"ab")?;
    /// grant.commit(4)?;
    /// assert_eq!(consumer.available()?, 4);
    /// # Ok::<(), monshm_rbuf::Error>(())
    /// ```
    #[inline]
    pub fn reserve(&mut self, len: usize) -> Result<WriteGrant<'_, M>, Error> {
        self.ensure_writable(len as u64, self.tail())?;
        let start = self.tail();
        Ok(WriteGrant { producer: self, start, len, kind: () })
    }
}

impl<M: Memory, K: Debug> WriteGrant<'_, M, K> {
    /// Bytes that may be written and committed.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the grant has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies `src` to the bytes from `offset` of the grant on. Any order, any number of times.
    ///
    /// # Errors
    /// [`Error::OutOfGrant`], and nothing was written.
    #[inline]
    pub fn write_at(&mut self, offset: usize, src: &[u8]) -> Result<(), Error> {
        check_range(offset, src.len(), self.len)?;
        let bounds = self.producer.cursor.bounds();
        let position = bounds.advance(self.start, offset as u64);
        // SAFETY: advance stays inside the bounds; offset + src.len() ≤ len < size, by invariant (room).
        unsafe { copy_in_wrapping(&self.producer.claim.memory, bounds, position, src) };
        Ok(())
    }
}

impl<M: Memory> WriteGrant<'_, M> {
    /// Publishes the first `count` bytes; 0 aborts.
    ///
    /// # Errors
    /// [`Error::OutOfGrant`] when `count` is more than the grant has; nothing is published then.
    #[inline]
    pub fn commit(self, count: usize) -> Result<(), Error> {
        check_range(0, count, self.len)?;
        self.producer.cursor.advance(count as u64);
        self.producer.publish(self.start);
        self.producer.check_memory()
    }
}

/// Up to [`len`](Self::len) bytes that can be copied out, and stay until they are released.
///
/// `K` says what they are: plain bytes, or for a [`RecordReadGrant`](crate::RecordReadGrant) the payload of a record.
/// The producer may be hostile and change them between two copies: decide on what was copied.
///
/// **Invariant (data):** `[start, start + len)`, over the end of the ring if need be, is published.
#[derive(Debug)]
#[must_use = "a grant that is not released stays in the ring"]
pub struct ReadGrant<'a, M: Memory, P: Policy = Adaptive, K: Debug = ()> {
    pub(crate) consumer: &'a mut Consumer<M, P>,
    pub(crate) start: u64,
    pub(crate) len: usize,
    pub(crate) kind: K,
}

impl<M: Memory, P: Policy> Consumer<M, P> {
    /// Looks at all that is there now; the grant may be empty.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    ///
    /// # Examples
    /// ```
    /// # let ring = monshm_rbuf::StaticRing::<64>::new();
    /// # let (memory, me) = (ring.memory(), core::num::NonZeroU32::MIN);
    /// # let mut producer = monshm_rbuf::Producer::claim(memory, me)?;
    /// # let mut consumer = monshm_rbuf::Consumer::claim(memory, me)?;
    /// producer.write(b"abcdef")?;
    /// let grant = consumer.peek()?;
    /// let mut bytes = [0; 2];
    /// grant.read_at(4, &mut bytes)?;
    /// assert_eq!(&bytes, b"ef");
    /// grant.release(6)?;
    /// # Ok::<(), monshm_rbuf::Error>(())
    /// ```
    #[inline]
    pub fn peek(&mut self) -> Result<ReadGrant<'_, M, P>, Error> {
        self.reload_tail(self.head())?;
        let (start, len) = (self.head(), self.cursor.remaining() as usize);
        Ok(ReadGrant { consumer: self, start, len, kind: () })
    }
}

impl<M: Memory, P: Policy, K: Debug> ReadGrant<'_, M, P, K> {
    /// Bytes that may be read.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies bytes from `offset` of the grant on to `dst`. A checked record is not verified by this.
    ///
    /// # Errors
    /// [`Error::OutOfGrant`], and nothing was copied; [`Error::Corrupt`] when the memory was truncated.
    #[inline]
    pub fn read_at(&self, offset: usize, dst: &mut [u8]) -> Result<(), Error> {
        check_range(offset, dst.len(), self.len)?;
        let bounds = self.consumer.cursor.bounds();
        let position = bounds.advance(self.start, offset as u64);
        // SAFETY: advance stays inside the bounds; offset + dst.len() ≤ len < size, by invariant (data).
        unsafe { copy_out_wrapping(&self.consumer.claim.memory, bounds, position, dst) };
        check_memory(&self.consumer.claim.memory)
    }
}

impl<M: Memory, P: Policy> ReadGrant<'_, M, P> {
    /// Gives the first `count` bytes back to the producer.
    ///
    /// # Errors
    /// [`Error::OutOfGrant`] when `count` is more than the grant has; nothing is released then.
    #[inline]
    pub fn release(self, count: usize) -> Result<(), Error> {
        check_range(0, count, self.len)?;
        self.consumer.pass(count)?;
        self.consumer.release();
        Ok(())
    }
}

/// Whether `[offset, offset + len)` lies in a grant of `available` bytes.
#[inline(always)]
pub(crate) fn check_range(offset: usize, len: usize, available: usize) -> Result<(), Error> {
    match offset.checked_add(len) {
        Some(end) if end <= available => Ok(()),
        end => Err(Error::OutOfGrant { requested: end.unwrap_or(usize::MAX), available }),
    }
}
