//! Batches: many writes under one publication, many reads under one release.
//!
//! A write in a batch that answered `Ok` is never lost: dropping the batch publishes. What must be all or
//! nothing is a grant.

use crate::consumer::{Consumer, Glance};
use crate::error::Error;
use crate::memory::Memory;
use crate::producer::Producer;
use crate::record::{Label, Record};

/// Writes that become visible together, when the batch is dropped or [`publish`](Self::publish)ed.
///
/// When the ring is full, what was written is published before the call answers [`Error::Full`], so that a
/// wait for room inside a batch cannot wait for itself.
#[derive(Debug)]
pub struct WriteBatch<'a, M: Memory> {
    producer: &'a mut Producer<M>,
    /// Where what was not published begins.
    from: u64,
}

impl<M: Memory> Producer<M> {
    /// Begins a batch.
    pub fn batch(&mut self) -> WriteBatch<'_, M> {
        let from = self.cursor.at();
        WriteBatch { producer: self, from }
    }
}

impl<M: Memory> WriteBatch<'_, M> {
    /// Writes all of `src`, visible with the batch.
    ///
    /// # Errors
    /// As for [`Producer::write`].
    #[inline]
    pub fn write(&mut self, src: &[u8]) -> Result<(), Error> {
        match self.producer.stage(src, self.from) {
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
        match self.producer.stage_record(label, payload, self.from) {
            Ok(()) => Ok(()),
            refusal => self.flush(refusal),
        }
    }

    /// Makes all that was written so far visible.
    #[inline]
    pub fn publish(&mut self) {
        self.producer.publish(self.from);
        self.from = self.producer.cursor.at();
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
pub struct ReadBatch<'a, M: Memory> {
    consumer: &'a mut Consumer<M>,
    /// Where what was not released begins.
    from: u64,
}

impl<M: Memory> Consumer<M> {
    /// Begins a batch.
    pub fn batch(&mut self) -> ReadBatch<'_, M> {
        let from = self.cursor.at();
        ReadBatch { consumer: self, from }
    }
}

impl<M: Memory> ReadBatch<'_, M> {
    /// Reads `dst.len()` bytes, released with the batch.
    ///
    /// # Errors
    /// As for [`Consumer::read`].
    #[inline]
    pub fn read(&mut self, dst: &mut [u8]) -> Result<(), Error> {
        match self.consumer.take(dst, self.from) {
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
        match self.consumer.take_plain(dst, self.from) {
            Glance::Found(header) => Ok(header.to_record()),
            Glance::Nothing | Glance::Unclear => self.pop_far(dst),
        }
    }

    #[inline(never)]
    fn pop_far(&mut self, dst: &mut [u8]) -> Result<Record, Error> {
        match self.consumer.take_record_far(dst, self.from) {
            Ok(record) => Ok(record),
            Err(refusal) => Err(self.flush(refusal)),
        }
    }

    /// Gives back what was read so far.
    #[inline]
    pub fn release(&mut self) {
        self.consumer.release_all();
        self.from = self.consumer.cursor.at();
    }

    #[cold]
    fn flush(&mut self, refusal: Error) -> Error {
        self.release();
        refusal
    }
}

impl<M: Memory> Drop for ReadBatch<'_, M> {
    #[inline]
    fn drop(&mut self) {
        self.release();
    }
}
