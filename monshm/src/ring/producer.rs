//! The lock-free writing endpoint: bytes, records, batches and grants.
//!
//! What is around each call of the engine is in `endpoint`, waiting in `wait`.

use std::mem::ManuallyDrop;
use std::time::Duration;

use monshm_core::{Error, Operation, Result};
use monshm_rbuf::{Error as Refusal, Label};

use super::claim::{ClaimedMemory, Role};
use super::endpoint::{Endpoint, is_forked, wake_peer};
use super::wait::Limit;
use crate::segment::Segment;
use crate::sys::DEFAULT_TIMEOUT;

/// The engine of the writing endpoint.
type Engine = monshm_rbuf::Producer<ClaimedMemory>;

/// The one writer of a segment's ring, made by [`Segment::producer`]. Dropping it closes the ring for writing.
///
/// Every call that publishes wakes a consumer that sleeps. A peer may change every shared byte at any time; what cannot
/// be is answered as `Corrupt` and poisons all handles of this attachment. A forked child holds a copy of its parent's
/// producer: each call on it answers `Forked`, and dropping it changes nothing.
///
/// [`std::io::Write`] is there too, with the timeout of [`set_io_timeout`](Self::set_io_timeout).
///
/// # Examples
/// ```
/// # #[cfg(any(feature = "posix", feature = "sysv"))] {
/// # use std::time::Duration;
/// let segment = monshm::Segment::builder(1 << 16).create()?;
/// let mut producer = segment.producer()?;
/// let mut consumer = segment.consumer()?;
///
/// producer.write(b"measured: 42", Duration::from_secs(1))?;
/// let mut bytes = [0; 12];
/// consumer.read(&mut bytes, Duration::from_secs(1))?;
/// assert_eq!(&bytes, b"measured: 42");
/// # }
/// # Ok::<(), monshm::Error>(())
/// ```
#[derive(Debug)]
pub struct Producer {
    endpoint: Endpoint<Engine>,
    pub(super) io_timeout: Duration,
}

impl Segment {
    /// Claims the lock-free writing endpoint. There is one at a time; that of a dead process is taken over.
    ///
    /// # Errors
    /// `Claimed` by a living process or by this one; `Corrupt`; else as [`Segment::lock_timeout`].
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// let segment = monshm::Segment::builder(1 << 16).create()?;
    /// let mut producer = segment.producer()?;
    /// producer.try_write(b"at once")?;
    /// assert!(segment.producer().is_err(), "there is one at a time");
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn producer(&self) -> Result<Producer> {
        let engine = self.claim_endpoint(Role::Producer, Engine::claim, Engine::take_over)?;
        Ok(Producer { endpoint: Endpoint::new(engine), io_timeout: DEFAULT_TIMEOUT })
    }
}

/// `None` when there is no room now.
#[inline(always)]
fn unless_full<T>(outcome: Result<T, Refusal>) -> Result<Option<T>, Refusal> {
    match outcome {
        Err(Refusal::Full { .. }) => Ok(None),
        other => other.map(Some),
    }
}

impl Producer {
    /// Writes all of `src` or nothing, and waits until it fits.
    ///
    /// # Errors
    /// `SizeOverLimit` when it never fits; `TimedOut`; `Closed` when the consumer has closed or died; `MemoryLost`,
    /// `Corrupt`, `Poisoned`, `Forked`. Nothing was written.
    #[inline]
    pub fn write(&mut self, src: &[u8], timeout: Duration) -> Result<()> {
        self.endpoint.wait_for(timeout, |engine| unless_full(engine.write(src)))
    }

    /// Writes all of `src` or nothing, at once.
    ///
    /// # Errors
    /// `NoRoom` with both numbers when it does not fit now, which costs an allocation: to poll for room, use
    /// [`try_write_partial`](Self::try_write_partial). `SizeOverLimit` when it never fits; `MemoryLost`, `Corrupt`,
    /// `Poisoned`, `Forked`.
    #[inline]
    pub fn try_write(&mut self, src: &[u8]) -> Result<()> {
        self.endpoint.call(|engine| engine.write(src))
    }

    /// Writes `src` in parts as room comes free, until all is written or the time is up, and gives the count; what is
    /// written becomes visible part by part.
    ///
    /// # Errors
    /// As [`write`](Self::write), without `SizeOverLimit`, and only when nothing was written.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # use std::time::Duration;
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let mut producer = segment.producer()?;
    /// let written = producer.write_partial(&vec![7; 1 << 17], Duration::from_millis(1))?;
    /// assert_eq!(written, producer.capacity());
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    #[inline]
    pub fn write_partial(&mut self, src: &[u8], timeout: Duration) -> Result<usize> {
        match self.write_parts(src, timeout) {
            (0, Err(error)) => Err(error),
            (written, _) => Ok(written),
        }
    }

    /// As [`write_partial`](Self::write_partial), with the reason why not all was written.
    #[inline]
    pub(crate) fn write_parts(&mut self, src: &[u8], timeout: Duration) -> (usize, Result<()>) {
        let mut limit = Limit::of(timeout);
        let mut done = 0;
        loop {
            let written = self.endpoint.wait_until(&mut limit, |engine| {
                let written = engine.write_partial(&src[done..])?;
                Ok((written != 0 || src.is_empty()).then_some(written))
            });
            match written {
                Ok(written) => done += written,
                Err(error) => return (done, Err(error)),
            }
            if done == src.len() {
                return (done, Ok(()));
            }
        }
    }

    /// Writes as much of `src` as fits now, and gives the count; 0 when the ring is full.
    ///
    /// # Errors
    /// `MemoryLost`, `Corrupt`, `Poisoned`, `Forked`.
    #[inline]
    pub fn try_write_partial(&mut self, src: &[u8]) -> Result<usize> {
        self.endpoint.call(|engine| engine.write_partial(src))
    }

    /// Writes all of `src`, or drops it and counts the loss when it does not fit now; tells whether it was written. The
    /// consumer reads the counts: [`Consumer::take_drops`](crate::Consumer::take_drops).
    ///
    /// # Errors
    /// As [`try_write`](Self::try_write), without `NoRoom`.
    #[inline]
    pub fn write_or_drop(&mut self, src: &[u8]) -> Result<bool> {
        self.endpoint.call(|engine| engine.write_or_drop(src))
    }

    /// Writes a record and waits until it fits. Do not write bytes to the same ring.
    ///
    /// # Errors
    /// `SizeOverLimit` beyond [`record_limit`](Self::record_limit); `MixedRing` when this producer wrote bytes before;
    /// else as [`write`](Self::write). Nothing was written.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # use std::time::Duration;
    /// # use monshm::Label;
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// producer.push(Label::kind(7), b"payload", Duration::from_secs(1))?;
    /// let mut payload = [0; 64];
    /// let record = consumer.pop(&mut payload, Duration::from_secs(1))?;
    /// assert_eq!((record.label().kind, &payload[..record.len()]), (7, &b"payload"[..]));
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    #[inline]
    pub fn push(&mut self, label: Label, payload: &[u8], timeout: Duration) -> Result<()> {
        self.endpoint.wait_for(timeout, |engine| unless_full(engine.push(label, payload)))
    }

    /// Writes a record at once.
    ///
    /// # Errors
    /// `NoRoom` when it does not fit now; `SizeOverLimit`, `MixedRing`, `MemoryLost`, `Corrupt`, `Poisoned`, `Forked`.
    #[inline]
    pub fn try_push(&mut self, label: Label, payload: &[u8]) -> Result<()> {
        self.endpoint.call(|engine| engine.push(label, payload))
    }

    /// Writes a record with a sequence number and a CRC-32C, which the consumer verifies; waits until it fits.
    ///
    /// # Errors
    /// As [`push`](Self::push); the longest payload is 8 bytes less.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # use std::time::Duration;
    /// # use monshm::Label;
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// producer.push_checked(Label::kind(7), b"payload", Duration::ZERO)?;
    /// assert!(consumer.pop(&mut [0; 64], Duration::ZERO)?.is_checked());
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn push_checked(&mut self, label: Label, payload: &[u8], timeout: Duration) -> Result<()> {
        self.endpoint.wait_for(timeout, |engine| unless_full(engine.push_checked(label, payload)))
    }

    /// Writes a record, or drops it and counts the loss when it does not fit now; tells whether it was written. The
    /// consumer reads the counts: [`Consumer::take_drops`](crate::Consumer::take_drops).
    ///
    /// # Errors
    /// As [`try_push`](Self::try_push), without `NoRoom`.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # use monshm::Label;
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// while producer.push_or_drop(Label::kind(1), &[0; 1000])? {}
    /// assert_eq!(consumer.take_drops()?.records, 1);
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    #[inline]
    pub fn push_or_drop(&mut self, label: Label, payload: &[u8]) -> Result<bool> {
        self.endpoint.call(|engine| engine.push_or_drop(label, payload))
    }

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

    /// Bytes that can be written now. The consumer can only add to them.
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

    /// The longest payload of a record, in bytes: about half the ring, since a record is contiguous.
    pub fn record_limit(&self) -> usize {
        self.endpoint.engine().record_limit()
    }

    /// Whether the consumer has closed, or its process has died. False while there has been no consumer yet.
    ///
    /// # Errors
    /// `MemoryLost`, `Poisoned`, `Forked`.
    pub fn is_closed(&mut self) -> Result<bool> {
        self.endpoint.usable()?;
        Ok(self.endpoint.is_peer_gone())
    }

    /// Sets how long a call of [`std::io::Write`] waits for room. Default: [`DEFAULT_TIMEOUT`]; with [`Duration::MAX`]
    /// it waits as long as the consumer lives.
    pub fn set_io_timeout(&mut self, timeout: Duration) {
        self.io_timeout = timeout;
    }
}

/// Writes that become visible together, with [`publish`](Self::publish) or when the batch is dropped.
///
/// When the ring is full, what was written is published before the call answers `NoRoom`. A forked child that drops its
/// copy of a batch publishes nothing.
#[derive(Debug)]
#[must_use = "a batch that is dropped at once publishes nothing"]
pub struct WriteBatch<'a>(ManuallyDrop<monshm_rbuf::WriteBatch<'a, ClaimedMemory>>);

impl WriteBatch<'_> {
    /// Writes all of `src` or nothing, at once; visible with the batch.
    ///
    /// # Errors
    /// As [`Producer::try_write`].
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

/// Room for up to [`len`](Self::len) bytes, invisible until [`commit`](Self::commit). Dropping it aborts.
///
/// Bytes that are committed without having been written may hold anything.
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
    pub fn commit(self, count: usize) -> Result<()> {
        let len = self.len;
        self.producer.endpoint.call(|engine| engine.reserve(len)?.commit(count))
    }
}

/// A record being written, invisible until [`commit`](Self::commit). Dropping it aborts.
///
/// Payload bytes that are committed without having been written may hold anything.
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
    pub fn write_at(&mut self, offset: usize, src: &[u8]) -> Result<()> {
        let (label, len) = (self.label, self.len);
        self.producer.endpoint.inspect(|engine| engine.reserve_record(label, len)?.write_at(offset, src))
    }

    /// Publishes the record with the first `count` bytes as its payload.
    ///
    /// # Errors
    /// As [`WriteGrant::commit`].
    pub fn commit(self, count: usize) -> Result<()> {
        let (label, len) = (self.label, self.len);
        self.producer.endpoint.call(|engine| engine.reserve_record(label, len)?.commit(count))
    }
}
