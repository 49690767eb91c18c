//! The lock-free reading endpoint: bytes and records.
//!
//! What is around each call of the engine is in `endpoint`, waiting in `wait`; batches and grants have files of their
//! own.

use std::time::Duration;

use monshm_core::{ErrorKind, Result};
use monshm_rbuf::{Drops, Error as Refusal, Record};

use super::claim::{ClaimedMemory, Role};
use super::endpoint::Endpoint;
use crate::segment::Segment;
use crate::sys::DEFAULT_TIMEOUT;

/// The engine of the reading endpoint.
type Engine = monshm_rbuf::Consumer<ClaimedMemory>;

/// The one reader of a segment's ring, made by [`Segment::consumer`]. Dropping it closes the ring for reading.
///
/// Every call that releases room wakes a producer that sleeps. A peer may change every shared byte at any time: decide
/// on what was copied. What cannot be is answered as `Corrupt` and poisons all handles of this attachment. A forked
/// child holds a copy of its parent's consumer: each call on it answers `Forked`, and dropping it changes nothing.
///
/// [`std::io::Read`] is there too, with the timeout of [`set_io_timeout`](Self::set_io_timeout).
///
/// # Examples
/// ```
/// # #[cfg(any(feature = "posix", feature = "sysv"))] {
/// # use std::time::Duration;
/// let segment = monshm::Segment::builder(1 << 16).create()?;
/// let mut producer = segment.producer()?;
/// let mut consumer = segment.consumer()?;
///
/// producer.try_write(b"measured: 42")?;
/// let mut bytes = [0; 64];
/// let count = consumer.read_partial(&mut bytes, Duration::from_secs(1))?;
/// assert_eq!(&bytes[..count], b"measured: 42");
///
/// drop(producer);
/// assert_eq!(consumer.read_partial(&mut bytes, Duration::from_secs(1))?, 0, "the end");
/// # }
/// # Ok::<(), monshm::Error>(())
/// ```
#[derive(Debug)]
pub struct Consumer {
    pub(super) endpoint: Endpoint<Engine>,
    pub(super) io_timeout: Duration,
}

impl Segment {
    /// Claims the lock-free reading endpoint. There is one at a time; that of a dead process is taken over.
    ///
    /// # Errors
    /// As [`Segment::producer`].
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// let segment = monshm::Segment::builder(1 << 16).create()?;
    /// let mut consumer = segment.consumer()?;
    /// assert_eq!(consumer.available()?, 0);
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn consumer(&self) -> Result<Consumer> {
        let engine = self.claim_endpoint(Role::Consumer, Engine::claim, Engine::take_over)?;
        Ok(Consumer { endpoint: Endpoint::new(engine), io_timeout: DEFAULT_TIMEOUT })
    }
}

/// `None` when there is too little now.
#[inline(always)]
fn unless_empty<T>(outcome: Result<T, Refusal>) -> Result<Option<T>, Refusal> {
    match outcome {
        Err(Refusal::Empty { .. }) => Ok(None),
        other => other.map(Some),
    }
}

impl Consumer {
    /// Reads `dst.len()` bytes or none, and waits until there are so many.
    ///
    /// # Errors
    /// `SizeOverLimit` when the ring never holds so many; `TimedOut`; `Closed` when the producer has closed or died and
    /// there are fewer, which [`read_partial`](Self::read_partial) still reads; `MemoryLost`, `Corrupt`, `Poisoned`,
    /// `Forked`. Nothing was read.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # use std::time::Duration;
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// producer.try_write(b"one two")?;
    /// let mut bytes = [0; 3];
    /// consumer.read(&mut bytes, Duration::from_secs(1))?;
    /// assert_eq!(&bytes, b"one");
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    #[inline]
    pub fn read(&mut self, dst: &mut [u8], timeout: Duration) -> Result<()> {
        self.endpoint.wait_for(timeout, |engine| unless_empty(engine.read(dst)))
    }

    /// Reads `dst.len()` bytes or none, at once.
    ///
    /// # Errors
    /// `NoData` with both numbers when there are fewer now, which costs an allocation: to poll for data, use
    /// [`try_read_partial`](Self::try_read_partial). `SizeOverLimit`, `MemoryLost`, `Corrupt`, `Poisoned`, `Forked`.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// let mut bytes = [0; 3];
    /// assert!(consumer.try_read(&mut bytes).is_err());
    /// producer.try_write(b"one")?;
    /// consumer.try_read(&mut bytes)?;
    /// assert_eq!(&bytes, b"one");
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    #[inline]
    pub fn try_read(&mut self, dst: &mut [u8]) -> Result<()> {
        self.endpoint.call(|engine| engine.read(dst))
    }

    /// Reads what is there, at most `dst.len()` bytes, and waits while there is nothing. 0 means that the producer has
    /// closed or died and all was read.
    ///
    /// # Errors
    /// `TimedOut`; `MemoryLost`, `Corrupt`, `Poisoned`, `Forked`.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # use std::time::Duration;
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// producer.try_write(b"one")?;
    /// let mut bytes = [0; 64];
    /// assert_eq!(consumer.read_partial(&mut bytes, Duration::from_secs(1))?, 3);
    /// drop(producer);
    /// assert_eq!(consumer.read_partial(&mut bytes, Duration::from_secs(1))?, 0);
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    #[inline]
    pub fn read_partial(&mut self, dst: &mut [u8], timeout: Duration) -> Result<usize> {
        let read = self.endpoint.wait_for(timeout, |engine| {
            let read = engine.read_partial(dst)?;
            Ok((read != 0 || dst.is_empty()).then_some(read))
        });
        match read {
            Err(error) if error.kind() == ErrorKind::Closed => Ok(0),
            other => other,
        }
    }

    /// Reads what is there now, at most `dst.len()` bytes, and gives the count; 0 when the ring is empty.
    ///
    /// # Errors
    /// `MemoryLost`, `Corrupt`, `Poisoned`, `Forked`.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// let mut bytes = [0; 64];
    /// assert_eq!(consumer.try_read_partial(&mut bytes)?, 0);
    /// producer.try_write(b"one")?;
    /// assert_eq!(consumer.try_read_partial(&mut bytes)?, 3);
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    #[inline]
    pub fn try_read_partial(&mut self, dst: &mut [u8]) -> Result<usize> {
        self.endpoint.call(|engine| engine.read_partial(dst))
    }

    /// Discards `count` bytes or none, at once.
    ///
    /// # Errors
    /// As [`try_read`](Self::try_read).
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// producer.try_write(b"one two")?;
    /// consumer.skip(4)?;
    /// let mut bytes = [0; 3];
    /// consumer.try_read(&mut bytes)?;
    /// assert_eq!(&bytes, b"two");
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn skip(&mut self, count: usize) -> Result<()> {
        self.endpoint.call(|engine| engine.skip(count))
    }

    /// Reads the next record into `dst`, of which the first `len` bytes are then its payload, and waits while there is
    /// none.
    ///
    /// # Errors
    /// `NoRoom` when the payload is longer than `dst`, and the record stays; `TimedOut`; `Closed` when no record is
    /// left and the producer has closed or died; `MixedRing` when this consumer read bytes before; `MemoryLost`,
    /// `Corrupt` (also when the producer wrote bytes), `Poisoned`, `Forked`.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # use std::time::Duration;
    /// # use monshm::{ErrorKind, Label};
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// producer.try_push(Label::kind(7), b"payload")?;
    /// drop(producer);
    /// let mut payload = [0; 64];
    /// assert_eq!(consumer.pop(&mut payload, Duration::from_secs(1))?.len(), 7);
    /// assert_eq!(consumer.pop(&mut payload, Duration::from_secs(1)).unwrap_err().kind(), ErrorKind::Closed);
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    #[inline]
    pub fn pop(&mut self, dst: &mut [u8], timeout: Duration) -> Result<Record> {
        self.endpoint.wait_for(timeout, |engine| unless_empty(engine.pop(dst)))
    }

    /// Reads the next record into `dst`, if there is one now.
    ///
    /// # Errors
    /// As [`pop`](Self::pop), without `TimedOut` and `Closed`.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// # use monshm::Label;
    /// let mut payload = [0; 64];
    /// assert_eq!(consumer.try_pop(&mut payload)?, None);
    /// producer.try_push(Label::kind(7), b"payload")?;
    /// assert_eq!(consumer.try_pop(&mut payload)?.map(|record| record.len()), Some(7));
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    #[inline]
    pub fn try_pop(&mut self, dst: &mut [u8]) -> Result<Option<Record>> {
        self.endpoint.attempt(|engine| unless_empty(engine.pop(dst)))
    }

    /// Describes the next record, if there is one now. It stays.
    ///
    /// # Errors
    /// As [`try_pop`](Self::try_pop), without `NoRoom`.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # use monshm::Label;
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// producer.try_push(Label::kind(7), &[0; 1000])?;
    /// if let Some(record) = consumer.peek_record()? {
    ///     let mut payload = vec![0; record.len()];
    ///     consumer.try_pop(&mut payload)?;
    /// }
    /// # assert_eq!(consumer.available()?, 0);
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn peek_record(&mut self) -> Result<Option<Record>> {
        self.endpoint.inspect(|engine| unless_empty(engine.peek_record().map(|next| next.record())))
    }

    /// Discards the next record, if there is one now, and describes it.
    ///
    /// # Errors
    /// As [`try_pop`](Self::try_pop), without `NoRoom`.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # use monshm::Label;
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// producer.try_push(Label::kind(7), &[0; 1000])?;
    /// assert_eq!(consumer.skip_record()?.map(|record| record.len()), Some(1000));
    /// assert_eq!(consumer.skip_record()?, None);
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn skip_record(&mut self) -> Result<Option<Record>> {
        self.endpoint.attempt(|engine| {
            unless_empty(engine.peek_record().map(|next| {
                let record = next.record();
                next.release();
                record
            }))
        })
    }

    /// Bytes that can be read now. The producer can only add to them.
    ///
    /// # Errors
    /// `MemoryLost`, `Corrupt`, `Poisoned`, `Forked`.
    pub fn available(&mut self) -> Result<usize> {
        self.endpoint.inspect(Engine::available)
    }

    /// The most bytes that the ring can hold.
    pub fn capacity(&self) -> usize {
        self.endpoint.engine().capacity()
    }

    /// What was dropped since the last call of this function, or since the ring was made, as the producer says. Whoever
    /// has read a message that was written after a drop sees the drop.
    ///
    /// # Errors
    /// `MemoryLost`, `Poisoned`, `Forked`.
    pub fn take_drops(&mut self) -> Result<Drops> {
        self.endpoint.inspect(|engine| Ok(engine.take_drops()))
    }

    /// Whether the producer has closed, or its process has died: what is in the ring is the last. False while there has
    /// been no producer yet.
    ///
    /// # Errors
    /// `MemoryLost`, `Poisoned`, `Forked`.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// assert!(!consumer.is_closed()?);
    /// drop(producer);
    /// assert!(consumer.is_closed()?);
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn is_closed(&mut self) -> Result<bool> {
        self.endpoint.usable()?;
        Ok(self.endpoint.is_peer_gone())
    }

    /// Sets how long a call of [`std::io::Read`] waits for data. Default: [`DEFAULT_TIMEOUT`]; with [`Duration::MAX`]
    /// it waits as long as the producer lives.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # use std::time::Duration;
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// use std::io::Read;
    ///
    /// consumer.set_io_timeout(Duration::from_millis(1));
    /// assert!(consumer.read_exact(&mut [0; 8]).is_err(), "nothing was written");
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn set_io_timeout(&mut self, timeout: Duration) {
        self.io_timeout = timeout;
    }
}
