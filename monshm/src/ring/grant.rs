//! Grants: room that is filled in place and committed, data that is looked at in place and released.
//!
//! What is around each call of the engine is in `endpoint`, waiting in `wait`.

use std::time::Duration;

use monshm_core::{Error, ErrorKind, Operation, Result};
use monshm_rbuf::Label;

use super::consumer::Consumer;
use super::producer::{Producer, unless_full};

impl Producer {
    /// Reserves room for `len` bytes, which are filled in any order and then committed; waits until there is room.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # use std::time::Duration;
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// let mut grant = producer.reserve(100, Duration::from_secs(1))?;
    /// grant.write_at(6, b"world")?;
    /// grant.write_at(0, b"hello ")?;
    /// grant.commit(11)?;
    /// let mut bytes = [0; 11];
    /// consumer.try_read(&mut bytes)?;
    /// assert_eq!(&bytes, b"hello world");
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn reserve(&mut self, len: usize, timeout: Duration) -> Result<WriteGrant<'_>> {
        self.endpoint.wait_ready(timeout, |engine| unless_full(engine.reserve(len).map(drop)))?;
        Ok(WriteGrant { producer: self, len })
    }

    /// Reserves a record of up to `len` payload bytes; waits until there is room.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # use std::time::Duration;
    /// # use monshm::Label;
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// let mut record = producer.reserve_record(Label::kind(7), 100, Duration::from_secs(1))?;
    /// record.write_at(0, b"payload")?;
    /// record.commit(7)?;
    /// assert_eq!(consumer.peek_record()?.map(|record| record.len()), Some(7));
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn reserve_record(&mut self, label: Label, len: usize, timeout: Duration) -> Result<RecordWriteGrant<'_>> {
        self.endpoint.wait_ready(timeout, |engine| unless_full(engine.reserve_record(label, len).map(drop)))?;
        Ok(RecordWriteGrant { producer: self, label, len })
    }
}

impl Consumer {
    /// A view of all bytes that are there now; it may be empty.
    ///
    /// # Errors
    /// `MemoryLost`, `Corrupt`, `Poisoned`, `Forked`.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// producer.try_write(b"head and the rest")?;
    /// let mut grant = consumer.peek()?;
    /// let mut head = [0; 4];
    /// grant.read_at(0, &mut head)?;
    /// assert_eq!(&head, b"head");
    /// grant.release(5)?;
    /// assert_eq!(consumer.available()?, 12);
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn peek(&mut self) -> Result<ReadGrant<'_>> {
        let len = self.endpoint.inspect(monshm_rbuf::Consumer::available)?;
        Ok(ReadGrant { consumer: self, len })
    }
}

/// Room for up to [`len`](Self::len) bytes, invisible until [`commit`](Self::commit). Dropping it aborts.
///
/// Bytes that are committed without having been written may hold anything.
///
/// # Examples
/// ```
/// # #[cfg(any(feature = "posix", feature = "sysv"))] {
/// # use std::time::Duration;
/// # let segment = monshm::Segment::builder(1 << 16).create()?;
/// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
/// let mut grant = producer.reserve(100, Duration::from_secs(1))?;
/// grant.write_at(3, b"two")?;
/// grant.write_at(0, b"one")?;
/// grant.commit(6)?;
/// assert_eq!(consumer.available()?, 6);
/// # }
/// # Ok::<(), monshm::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a grant that is not committed is aborted"]
pub struct WriteGrant<'a> {
    producer: &'a mut Producer,
    len: usize,
}

impl WriteGrant<'_> {
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
    /// `SizeOverLimit` when that is not in the grant, and nothing was written; `Poisoned`, `Forked`.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # use std::time::Duration;
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// let mut grant = producer.reserve(4, Duration::ZERO)?;
    /// grant.write_at(2, b"ab")?;
    /// assert!(grant.write_at(3, b"ab").is_err(), "behind the end");
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn write_at(&mut self, offset: usize, src: &[u8]) -> Result<()> {
        // The room was found before, and only this producer can take it: reserving it again finds it at once.
        let len = self.len;
        self.producer.endpoint.inspect(|engine| engine.reserve(len)?.write_at(offset, src))
    }

    /// Publishes the first `count` bytes; 0 aborts.
    ///
    /// # Errors
    /// `SizeOverLimit` when `count` is more than the grant has, and nothing is published; `MemoryLost`, `Poisoned`,
    /// `Forked`.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # use std::time::Duration;
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// producer.reserve(100, Duration::ZERO)?.commit(0)?;
    /// assert_eq!(consumer.available()?, 0, "aborted");
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn commit(self, count: usize) -> Result<()> {
        let len = self.len;
        self.producer.endpoint.call(|engine| engine.reserve(len)?.commit(count))
    }
}

/// A record being written, invisible until [`commit`](Self::commit). Dropping it aborts.
///
/// Payload bytes that are committed without having been written may hold anything.
///
/// # Examples
/// ```
/// # #[cfg(any(feature = "posix", feature = "sysv"))] {
/// # use std::time::Duration;
/// # use monshm::Label;
/// # let segment = monshm::Segment::builder(1 << 16).create()?;
/// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
/// let mut record = producer.reserve_record(Label::kind(7), 100, Duration::ZERO)?;
/// record.write_at(0, b"payload")?;
/// record.commit(7)?;
/// assert_eq!(consumer.peek_record()?.map(|record| record.len()), Some(7));
/// # }
/// # Ok::<(), monshm::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a record that is not committed is aborted"]
pub struct RecordWriteGrant<'a> {
    producer: &'a mut Producer,
    label: Label,
    len: usize,
}

impl RecordWriteGrant<'_> {
    /// Payload bytes that may be written and committed.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the payload has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies `src` to the payload from `offset` on. Any order, any number of times.
    ///
    /// # Errors
    /// As [`WriteGrant::write_at`].
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # use std::time::Duration;
    /// # use monshm::Label;
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// let mut record = producer.reserve_record(Label::kind(7), 100, Duration::ZERO)?;
    /// record.write_at(0, b"payload")?;
    /// assert!(record.write_at(98, b"abc").is_err(), "behind the end");
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn write_at(&mut self, offset: usize, src: &[u8]) -> Result<()> {
        let (label, len) = (self.label, self.len);
        self.producer.endpoint.inspect(|engine| engine.reserve_record(label, len)?.write_at(offset, src))
    }

    /// Publishes the record with the first `count` bytes as its payload.
    ///
    /// # Errors
    /// As [`WriteGrant::commit`].
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # use std::time::Duration;
    /// # use monshm::Label;
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// let mut record = producer.reserve_record(Label::kind(7), 100, Duration::ZERO)?;
    /// record.write_at(0, b"payload")?;
    /// record.commit(3)?;
    /// assert_eq!(consumer.peek_record()?.map(|record| record.len()), Some(3));
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn commit(self, count: usize) -> Result<()> {
        let (label, len) = (self.label, self.len);
        self.producer.endpoint.call(|engine| engine.reserve_record(label, len)?.commit(count))
    }
}

/// Up to [`len`](Self::len) bytes that can be copied out, and stay until [`release`](Self::release).
///
/// The producer may be hostile and change them between two copies: decide on what was copied.
///
/// # Examples
/// ```
/// # #[cfg(any(feature = "posix", feature = "sysv"))] {
/// # let segment = monshm::Segment::builder(1 << 16).create()?;
/// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
/// producer.try_write(b"one two")?;
/// let mut grant = consumer.peek()?;
/// let mut bytes = [0; 3];
/// grant.read_at(4, &mut bytes)?;
/// assert_eq!(&bytes, b"two");
/// # }
/// # Ok::<(), monshm::Error>(())
/// ```
#[derive(Debug)]
pub struct ReadGrant<'a> {
    consumer: &'a mut Consumer,
    len: usize,
}

impl ReadGrant<'_> {
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
    /// `SizeOverLimit` when they are not in the grant, and nothing was copied; `MemoryLost`, `Poisoned`, `Forked`.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// producer.try_write(b"one two")?;
    /// let mut grant = consumer.peek()?;
    /// let mut bytes = [0; 3];
    /// grant.read_at(4, &mut bytes)?;
    /// assert_eq!(&bytes, b"two");
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn read_at(&mut self, offset: usize, dst: &mut [u8]) -> Result<()> {
        self.check(offset, dst.len())?;
        self.consumer.endpoint.inspect(|engine| engine.peek()?.read_at(offset, dst))
    }

    /// Gives the room of the first `count` bytes back to the producer.
    ///
    /// # Errors
    /// `SizeOverLimit` when `count` is more than the grant has, and nothing is released; `MemoryLost`, `Poisoned`,
    /// `Forked`.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// producer.try_write(b"one two")?;
    /// consumer.peek()?.release(4)?;
    /// assert_eq!(consumer.available()?, 3);
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn release(self, count: usize) -> Result<()> {
        self.check(0, count)?;
        self.consumer.endpoint.call(|engine| engine.skip(count))
    }

    /// The grant is what was there when it was made, although more may have come since.
    fn check(&self, offset: usize, len: usize) -> Result<()> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => Ok(()),
            end => {
                let asked = end.unwrap_or(usize::MAX) as u64;
                let kind = ErrorKind::SizeOverLimit { asked, limit: self.len as u64 };
                Err(Error::new(Operation::Ring, kind))
            }
        }
    }
}
