//! Batches: many writes under one publication, many reads under one release.
//!
//! What is around each call of the engine is in `endpoint`.

use std::mem::ManuallyDrop;

use monshm_core::{Error, Operation, Result};
use monshm_rbuf::{Error as Refusal, Label, Record};

use super::claim::{ClaimedMemory, Role};
use super::consumer::Consumer;
use super::endpoint::{is_forked, wake_peer};
use super::producer::Producer;

impl Producer {
    /// Begins a batch: writes that become visible together.
    ///
    /// # Errors
    /// `MemoryLost`, `Poisoned`, `Forked`.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// let mut batch = producer.batch()?;
    /// batch.try_write(b"one")?;
    /// batch.try_write(b"two")?;
    /// assert_eq!(consumer.available()?, 0);
    /// batch.publish()?;
    /// assert_eq!(consumer.available()?, 6);
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn batch(&mut self) -> Result<WriteBatch<'_>> {
        Ok(WriteBatch(ManuallyDrop::new(self.endpoint.usable()?.batch())))
    }
}

impl Consumer {
    /// Begins a batch: reads whose room goes back to the producer together.
    ///
    /// # Errors
    /// `MemoryLost`, `Poisoned`, `Forked`.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # use monshm::Label;
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// for payload in [b"one", b"two"] {
    ///     producer.try_push(Label::kind(1), payload)?;
    /// }
    /// let mut batch = consumer.batch()?;
    /// let mut payload = [0; 64];
    /// while let Some(record) = batch.try_pop(&mut payload)? {
    ///     println!("{:?}", &payload[..record.len()]);
    /// }
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn batch(&mut self) -> Result<ReadBatch<'_>> {
        Ok(ReadBatch(ManuallyDrop::new(self.endpoint.usable()?.batch())))
    }
}

/// Writes that become visible together, with [`publish`](Self::publish) or when the batch is dropped.
///
/// When the ring is full, what was written is published before the call answers `NoRoom`. A forked child that drops its
/// copy of a batch publishes nothing.
///
/// # Examples
/// ```
/// # #[cfg(any(feature = "posix", feature = "sysv"))] {
/// # let segment = monshm::Segment::builder(1 << 16).create()?;
/// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
/// let mut batch = producer.batch()?;
/// batch.try_write(b"one ")?;
/// batch.try_write(b"two")?;
/// drop(batch);
/// assert_eq!(consumer.available()?, 7);
/// # }
/// # Ok::<(), monshm::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a batch that is dropped at once publishes nothing"]
pub struct WriteBatch<'a>(ManuallyDrop<monshm_rbuf::WriteBatch<'a, ClaimedMemory>>);

impl WriteBatch<'_> {
    /// Writes all of `src` or nothing, at once; visible with the batch.
    ///
    /// # Errors
    /// As [`Producer::try_write`].
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// let mut batch = producer.batch()?;
    /// batch.try_write(b"one ")?;
    /// batch.try_write(b"two")?;
    /// drop(batch);
    /// assert_eq!(consumer.available()?, 7);
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    #[inline]
    pub fn try_write(&mut self, src: &[u8]) -> Result<()> {
        self.usable()?;
        let outcome = self.0.write(src);
        outcome.map_err(|error| self.failed(error))
    }

    /// Writes a record at once; visible with the batch.
    ///
    /// # Errors
    /// As [`Producer::try_push`].
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// # use monshm::Label;
    /// let mut batch = producer.batch()?;
    /// batch.try_push(Label::kind(7), b"one")?;
    /// batch.try_push(Label::kind(7), b"two")?;
    /// assert_eq!(consumer.peek_record()?, None);
    /// drop(batch);
    /// assert!(consumer.peek_record()?.is_some());
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    #[inline]
    pub fn try_push(&mut self, label: Label, payload: &[u8]) -> Result<()> {
        self.usable()?;
        let outcome = self.0.push(label, payload);
        outcome.map_err(|error| self.failed(error))
    }

    /// Makes all that was written so far visible.
    ///
    /// # Errors
    /// `MemoryLost`, `Poisoned`, `Forked`.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// let mut batch = producer.batch()?;
    /// batch.try_write(b"one")?;
    /// batch.publish()?;
    /// assert_eq!(consumer.available()?, 3);
    /// batch.try_write(b"more of the same batch")?;
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    #[inline]
    pub fn publish(&mut self) -> Result<()> {
        self.usable()?;
        self.0.publish();
        wake_peer(self.0.producer());
        Ok(())
    }

    #[inline(always)]
    fn usable(&self) -> Result<()> {
        self.0.producer().memory().keep().segment.inner().check_usable(Operation::Ring)
    }

    /// A refused write has published what was written before.
    #[cold]
    fn failed(&self, error: Refusal) -> Error {
        wake_peer(self.0.producer());
        self.0.producer().memory().keep().segment.ring_error(Role::Producer.name(), error)
    }
}

impl Drop for WriteBatch<'_> {
    #[inline]
    fn drop(&mut self) {
        // The engine's batch is not dropped: it has nothing to release, and would publish for a parent process.
        if !is_forked(self.0.producer()) {
            self.0.publish();
            wake_peer(self.0.producer());
        }
    }
}

/// Reads whose room goes back to the producer together, with [`release`](Self::release) or when the batch is dropped.
///
/// When there is nothing more, what was read is released before the call says so. A forked child that drops its copy of
/// a batch releases nothing.
///
/// # Examples
/// ```
/// # #[cfg(any(feature = "posix", feature = "sysv"))] {
/// # let segment = monshm::Segment::builder(1 << 16).create()?;
/// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
/// producer.try_write(b"one two")?;
/// let mut batch = consumer.batch()?;
/// batch.try_read(&mut [0; 4])?;
/// batch.try_read(&mut [0; 3])?;
/// drop(batch);
/// assert_eq!(producer.available()?, producer.capacity());
/// # }
/// # Ok::<(), monshm::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a batch that is dropped at once reads nothing"]
pub struct ReadBatch<'a>(ManuallyDrop<monshm_rbuf::ReadBatch<'a, ClaimedMemory>>);

impl ReadBatch<'_> {
    /// Reads `dst.len()` bytes or none, at once; released with the batch.
    ///
    /// # Errors
    /// As [`Consumer::try_read`].
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// producer.try_write(b"one two")?;
    /// let mut batch = consumer.batch()?;
    /// batch.try_read(&mut [0; 4])?;
    /// batch.try_read(&mut [0; 3])?;
    /// assert!(batch.try_read(&mut [0; 1]).is_err(), "there is no more");
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    #[inline]
    pub fn try_read(&mut self, dst: &mut [u8]) -> Result<()> {
        self.usable()?;
        let outcome = self.0.read(dst);
        outcome.map_err(|error| self.failed(error))
    }

    /// Reads the next record, if there is one now; released with the batch.
    ///
    /// # Errors
    /// As [`Consumer::try_pop`].
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// # use monshm::Label;
    /// producer.try_push(Label::kind(7), b"one")?;
    /// let mut batch = consumer.batch()?;
    /// assert_eq!(batch.try_pop(&mut [0; 64])?.map(|record| record.len()), Some(3));
    /// assert_eq!(batch.try_pop(&mut [0; 64])?, None);
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    #[inline]
    pub fn try_pop(&mut self, dst: &mut [u8]) -> Result<Option<Record>> {
        self.usable()?;
        match self.0.pop(dst) {
            Ok(record) => Ok(Some(record)),
            Err(Refusal::Empty { .. }) => {
                wake_peer(self.0.consumer());
                Ok(None)
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Gives the room of what was read so far back to the producer.
    ///
    /// # Errors
    /// `MemoryLost`, `Poisoned`, `Forked`.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// producer.try_write(b"one two")?;
    /// let mut batch = consumer.batch()?;
    /// batch.try_read(&mut [0; 4])?;
    /// batch.try_read(&mut [0; 3])?;
    /// batch.release()?;
    /// assert_eq!(producer.available()?, producer.capacity());
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    #[inline]
    pub fn release(&mut self) -> Result<()> {
        self.usable()?;
        self.0.release();
        wake_peer(self.0.consumer());
        Ok(())
    }

    #[inline(always)]
    fn usable(&self) -> Result<()> {
        self.0.consumer().memory().keep().segment.inner().check_usable(Operation::Ring)
    }

    /// A refused read has released what was read before.
    #[cold]
    fn failed(&self, error: Refusal) -> Error {
        wake_peer(self.0.consumer());
        self.0.consumer().memory().keep().segment.ring_error(Role::Consumer.name(), error)
    }
}

impl Drop for ReadBatch<'_> {
    #[inline]
    fn drop(&mut self) {
        // The engine's batch is not dropped: it has nothing to free, and would release for a parent process.
        if !is_forked(self.0.consumer()) {
            self.0.release();
            wake_peer(self.0.consumer());
        }
    }
}
