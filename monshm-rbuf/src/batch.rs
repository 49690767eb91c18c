//! Batches: many writes under one publication, many reads under one release.
//!
//! A write in a batch that answered `Ok` is never lost: dropping the batch publishes. A grant is the means for what
//! must be all or nothing.

use crate::consumer::Consumer;
use crate::cursor::Polled;
use crate::error::Error;
use crate::memory::Memory;
use crate::policy::{Adaptive, Policy};
use crate::producer::Producer;
use crate::record::{Label, Record};

/// Writes that become visible together, when the batch is dropped or [`publish`](Self::publish)ed.
///
/// When the ring is full, what was written is published before the call answers [`Error::Full`], so that a
/// wait for room inside a batch cannot wait for itself.
#[derive(Debug)]
#[must_use = "a batch that is not bound to a name publishes at once"]
pub struct WriteBatch<'a, M: Memory> {
    producer: &'a mut Producer<M>,
    /// Where the shared `tail` is.
    published: u64,
}

impl<M: Memory> Producer<M> {
    /// Begins a batch.
    ///
    /// # Examples
    /// ```
    /// # let ring = monshm_rbuf::StaticRing::<64>::new();
    /// # let (memory, me) = (ring.memory(), core::num::NonZeroU32::MIN);
    /// # let mut producer = monshm_rbuf::Producer::claim(memory, me)?;
    /// # let mut consumer = monshm_rbuf::Consumer::claim(memory, me)?;
    /// let mut batch = producer.batch();
    /// batch.write(b"ab")?;
    /// batch.write(b"cd")?;
    /// assert_eq!(consumer.available()?, 0);
    /// batch.publish();
    /// assert_eq!(consumer.available()?, 4);
    /// # Ok::<(), monshm_rbuf::Error>(())
    /// ```
    pub fn batch(&mut self) -> WriteBatch<'_, M> {
        let published = self.tail();
        WriteBatch { producer: self, published }
    }
}

impl<M: Memory> WriteBatch<'_, M> {
    /// Writes all of `src`, visible with the batch.
    ///
    /// # Errors
    /// As for [`Producer::write`].
    #[inline]
    pub fn write(&mut self, src: &[u8]) -> Result<(), Error> {
        match self.producer.stage(src, self.published) {
            Ok(()) => Ok(()),
            refusal => self.flush(refusal),
        }
    }

    /// Writes a record, visible with the batch.
    ///
    /// # Errors
    /// As for [`Producer::push`].
    #[inline]
    pub fn push(&mut self, label: Label, payload: &[u8]) -> Result<(), Error> {
        match self.producer.stage_record(label, payload, self.published) {
            Ok(()) => Ok(()),
            refusal => self.flush(refusal),
        }
    }

    /// Makes all that was written so far visible.
    #[inline]
    pub fn publish(&mut self) {
        self.producer.publish(self.published);
        self.published = self.producer.tail();
    }

    /// The producer whose batch it is.
    #[inline]
    pub fn producer(&self) -> &Producer<M> {
        self.producer
    }

    #[cold]
    fn flush(&mut self, refusal: Result<(), Error>) -> Result<(), Error> {
        self.publish();
        refusal
    }
}

impl<M: Memory> Drop for WriteBatch<'_, M> {
    #[inline]
    fn drop(&mut self) {
        self.publish();
    }
}

/// Reads whose room goes back to the producer together, when the batch is dropped or
/// [`release`](Self::release)d.
///
/// When the ring is empty, what was read is released before the call answers [`Error::Empty`].
#[derive(Debug)]
#[must_use = "a batch that is not bound to a name releases at once"]
pub struct ReadBatch<'a, M: Memory, P: Policy = Adaptive> {
    consumer: &'a mut Consumer<M, P>,
    /// Where the shared `head` is.
    released: u64,
}

impl<M: Memory, P: Policy> Consumer<M, P> {
    /// Begins a batch.
    ///
    /// # Examples
    /// ```
    /// # let ring = monshm_rbuf::StaticRing::<8>::new();
    /// # let (memory, me) = (ring.memory(), core::num::NonZeroU32::MIN);
    /// # let mut producer = monshm_rbuf::Producer::claim(memory, me)?;
    /// # let mut consumer = monshm_rbuf::Consumer::claim(memory, me)?;
    /// producer.write(b"abcdefg")?;
    /// let mut batch = consumer.batch();
    /// batch.read(&mut [0; 4])?;
    /// assert_eq!(producer.available()?, 0);
    /// batch.release();
    /// assert_eq!(producer.available()?, 4);
    /// # Ok::<(), monshm_rbuf::Error>(())
    /// ```
    pub fn batch(&mut self) -> ReadBatch<'_, M, P> {
        let released = self.head();
        ReadBatch { consumer: self, released }
    }
}

impl<M: Memory, P: Policy> ReadBatch<'_, M, P> {
    /// Reads `dst.len()` bytes, released with the batch.
    ///
    /// # Errors
    /// As for [`Consumer::read`].
    #[inline]
    pub fn read(&mut self, dst: &mut [u8]) -> Result<(), Error> {
        match self.consumer.take(dst, self.released) {
            Ok(()) => Ok(()),
            Err(refusal) => Err(self.flush(refusal)),
        }
    }

    /// Reads a record, released with the batch.
    ///
    /// # Errors
    /// As for [`Consumer::pop`].
    #[inline]
    pub fn pop(&mut self, dst: &mut [u8]) -> Result<Record, Error> {
        match self.consumer.take_plain_record(dst, self.released) {
            Polled::Found(header) => Ok(header.to_record()),
            Polled::Nothing | Polled::Unclear => self.pop_any(dst),
        }
    }

    #[inline(never)]
    fn pop_any(&mut self, dst: &mut [u8]) -> Result<Record, Error> {
        match self.consumer.take_any_record(dst, self.released) {
            Ok(record) => Ok(record),
            Err(refusal) => Err(self.flush(refusal)),
        }
    }

    /// Gives back what was read so far.
    #[inline]
    pub fn release(&mut self) {
        self.consumer.release();
        self.released = self.consumer.head();
    }

    /// The consumer whose batch it is.
    #[inline]
    pub fn consumer(&self) -> &Consumer<M, P> {
        self.consumer
    }

    #[cold]
    fn flush(&mut self, refusal: Error) -> Error {
        self.release();
        refusal
    }
}

impl<M: Memory, P: Policy> Drop for ReadBatch<'_, M, P> {
    #[inline]
    fn drop(&mut self) {
        self.release();
    }
}
