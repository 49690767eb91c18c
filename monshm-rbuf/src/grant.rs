//! Grants over bytes: room to fill in any order and then commit, data to look at and then release.
//!
//! A grant is a view, never a slice: bytes are copied in and out of it. Dropping one changes nothing. Grants
//! over records are beside the record calls.

use crate::consumer::Consumer;
use crate::error::Error;
use crate::memory::{Memory, get, put};
use crate::producer::Producer;

/// Room for up to [`len`](Self::len) bytes behind what was written; invisible until
/// [`commit`](Self::commit). Dropping it aborts.
///
/// Bytes that are committed without having been written may hold anything.
#[derive(Debug)]
#[must_use = "a grant that is not committed is aborted"]
pub struct WriteGrant<'a, M: Memory> {
    producer: &'a mut Producer<M>,
    len: usize,
}

impl<M: Memory> Producer<M> {
    /// Reserves room for `len` bytes.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::TooLong`], [`Error::Corrupt`].
    #[inline]
    pub fn reserve(&mut self, len: usize) -> Result<WriteGrant<'_, M>, Error> {
        self.make_room(len as u64, self.cursor.at())?;
        Ok(WriteGrant { producer: self, len })
    }
}

impl<M: Memory> WriteGrant<'_, M> {
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
        inside(offset, src.len(), self.len)?;
        let producer = &*self.producer;
        let bounds = producer.cursor.bounds();
        let at = bounds.advance(producer.cursor.at(), offset as u64);
        // SAFETY: advance keeps inside the bounds; offset + src.len() ≤ len ≤ left < size.
        unsafe { put(&producer.seat.memory, bounds, at, src) };
        Ok(())
    }

    /// Publishes the first `count` bytes; 0 aborts.
    ///
    /// # Errors
    /// [`Error::OutOfGrant`] when `count` is more than the grant has; nothing is published then.
    #[inline]
    pub fn commit(self, count: usize) -> Result<(), Error> {
        inside(0, count, self.len)?;
        let producer = self.producer;
        let from = producer.cursor.at();
        producer.cursor.pass(count as u64);
        producer.publish(from);
        producer.kept()
    }
}

/// Up to [`len`](Self::len) bytes that can be copied out, and stay until [`release`](Self::release).
///
/// The producer may be hostile and change them between two copies: decide on what was copied.
#[derive(Debug)]
pub struct ReadGrant<'a, M: Memory> {
    consumer: &'a mut Consumer<M>,
    len: usize,
}

impl<M: Memory> Consumer<M> {
    /// Looks at all that is there now; the grant may be empty.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    #[inline]
    pub fn peek(&mut self) -> Result<ReadGrant<'_, M>, Error> {
        self.refresh(self.cursor.at())?;
        let len = self.cursor.left() as usize;
        Ok(ReadGrant { consumer: self, len })
    }
}

impl<M: Memory> ReadGrant<'_, M> {
    /// Bytes that may be read and released.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies bytes from `offset` of the grant on to `dst`.
    ///
    /// # Errors
    /// [`Error::OutOfGrant`], and nothing was copied.
    #[inline]
    pub fn read_at(&self, offset: usize, dst: &mut [u8]) -> Result<(), Error> {
        inside(offset, dst.len(), self.len)?;
        let consumer = &*self.consumer;
        let bounds = consumer.cursor.bounds();
        let at = bounds.advance(consumer.cursor.at(), offset as u64);
        // SAFETY: advance keeps inside the bounds; offset + dst.len() ≤ len ≤ left < size.
        unsafe { get(&consumer.seat.memory, bounds, at, dst) };
        consumer.still_there()
    }

    /// Gives the first `count` bytes back to the producer.
    ///
    /// # Errors
    /// [`Error::OutOfGrant`] when `count` is more than the grant has; nothing is released then.
    #[inline]
    pub fn release(self, count: usize) -> Result<(), Error> {
        inside(0, count, self.len)?;
        self.consumer.pass(count)?;
        self.consumer.release_all();
        Ok(())
    }
}

/// Whether `[offset, offset + len)` lies in a grant of `available` bytes.
#[inline(always)]
pub(crate) fn inside(offset: usize, len: usize, available: usize) -> Result<(), Error> {
    match offset.checked_add(len) {
        Some(end) if end <= available => Ok(()),
        end => Err(Error::OutOfGrant { requested: end.unwrap_or(usize::MAX), available }),
    }
}
