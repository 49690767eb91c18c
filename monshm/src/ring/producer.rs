//! The lock-free writing endpoint: bytes and records.
//!
//! What is around each call of the engine is in `endpoint`, waiting in `wait`; batches and grants have files of their
//! own.

use std::time::Duration;

use monshm_core::Result;
use monshm_rbuf::{Error as Refusal, Label};

use super::claim::{ClaimedMemory, Role};
use super::endpoint::Endpoint;
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
    pub(super) endpoint: Endpoint<Engine>,
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
pub(super) fn unless_full<T>(outcome: Result<T, Refusal>) -> Result<Option<T>, Refusal> {
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
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # use std::time::Duration;
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// producer.write(b"all of it", Duration::from_millis(10))?;
    /// assert_eq!(consumer.available()?, 9);
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
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
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// while producer.try_write(b"again").is_ok() {}
    /// assert!(consumer.available()? > producer.capacity() - 5);
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
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
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// let written = producer.try_write_partial(&vec![7; 1 << 17])?;
    /// assert_eq!(written, producer.capacity());
    /// assert_eq!(producer.try_write_partial(b"more")?, 0);
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    #[inline]
    pub fn try_write_partial(&mut self, src: &[u8]) -> Result<usize> {
        self.endpoint.call(|engine| engine.write_partial(src))
    }

    /// Writes all of `src`, or drops it and counts the loss when it does not fit now; tells whether it was written. The
    /// consumer reads the counts: [`Consumer::take_drops`](crate::Consumer::take_drops).
    ///
    /// # Errors
    /// As [`try_write`](Self::try_write), without `NoRoom`.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// while producer.write_or_drop(b"a measurement")? {}
    /// assert_eq!(consumer.take_drops()?.bytes, 13);
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
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
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// # use monshm::Label;
    /// producer.try_push(Label::kind(7), b"payload")?;
    /// assert_eq!(consumer.peek_record()?.map(|record| record.len()), Some(7));
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
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
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// drop(consumer);
    /// assert!(producer.is_closed()?);
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn is_closed(&mut self) -> Result<bool> {
        self.endpoint.usable()?;
        Ok(self.endpoint.is_peer_gone())
    }

    /// Sets how long a call of [`std::io::Write`] waits for room. Default: [`DEFAULT_TIMEOUT`]; with [`Duration::MAX`]
    /// it waits as long as the consumer lives.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # use std::time::Duration;
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// # let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
    /// use std::io::Write;
    ///
    /// producer.set_io_timeout(Duration::from_secs(1));
    /// producer.write_all(b"waits for a second where there is no room")?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_io_timeout(&mut self, timeout: Duration) {
        self.io_timeout = timeout;
    }
}
