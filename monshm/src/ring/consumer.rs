//! The lock-free reading endpoint: bytes, records, batches and grants.
//!
//! What is around each call of the engine is in `endpoint`, waiting in `wait`.

use std::mem::ManuallyDrop;
use std::time::Duration;

use monshm_core::{Error, ErrorKind, Operation, Result};
use monshm_rbuf::{Drops, Error as Refusal, Record};

use super::claim::{ClaimedMemory, Role};
use super::endpoint::{Endpoint, is_forked, wake_peer};
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
    endpoint: Endpoint<Engine>,
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
    #[inline]
    pub fn read(&mut self, dst: &mut [u8], timeout: Duration) -> Result<()> {
        self.endpoint.wait_for(timeout, |engine| unless_empty(engine.read(dst)))
    }

    /// Reads `dst.len()` bytes or none, at once.
    ///
    /// # Errors
    /// `NoData` with both numbers when there are fewer now, which costs an allocation: to poll for data, use
    /// [`try_read_partial`](Self::try_read_partial). `SizeOverLimit`, `MemoryLost`, `Corrupt`, `Poisoned`, `Forked`.
    #[inline]
    pub fn try_read(&mut self, dst: &mut [u8]) -> Result<()> {
        self.endpoint.call(|engine| engine.read(dst))
    }

    /// Reads what is there, at most `dst.len()` bytes, and waits while there is nothing. 0 means that the producer has
    /// closed or died and all was read.
    ///
    /// # Errors
    /// `TimedOut`; `MemoryLost`, `Corrupt`, `Poisoned`, `Forked`.
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
        let len = self.endpoint.inspect(Engine::available)?;
        Ok(ReadGrant { consumer: self, len })
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
    pub fn is_closed(&mut self) -> Result<bool> {
        self.endpoint.usable()?;
        Ok(self.endpoint.is_peer_gone())
    }

    /// Sets how long a call of [`std::io::Read`] waits for data. Default: [`DEFAULT_TIMEOUT`]; with [`Duration::MAX`]
    /// it waits as long as the producer lives.
    pub fn set_io_timeout(&mut self, timeout: Duration) {
        self.io_timeout = timeout;
    }
}

/// Reads whose room goes back to the producer together, with [`release`](Self::release) or when the batch is dropped.
///
/// When there is nothing more, what was read is released before the call says so. A forked child that drops its copy of
/// a batch releases nothing.
#[derive(Debug)]
#[must_use = "a batch that is dropped at once reads nothing"]
pub struct ReadBatch<'a>(ManuallyDrop<monshm_rbuf::ReadBatch<'a, ClaimedMemory>>);

impl ReadBatch<'_> {
    /// Reads `dst.len()` bytes or none, at once; released with the batch.
    ///
    /// # Errors
    /// As [`Consumer::try_read`].
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

/// Up to [`len`](Self::len) bytes that can be copied out, and stay until [`release`](Self::release).
///
/// The producer may be hostile and change them between two copies: decide on what was copied.
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
    pub fn read_at(&mut self, offset: usize, dst: &mut [u8]) -> Result<()> {
        self.check(offset, dst.len())?;
        self.consumer.endpoint.inspect(|engine| engine.peek()?.read_at(offset, dst))
    }

    /// Gives the room of the first `count` bytes back to the producer.
    ///
    /// # Errors
    /// `SizeOverLimit` when `count` is more than the grant has, and nothing is released; `MemoryLost`, `Poisoned`,
    /// `Forked`.
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
