//! The segment's ring, in its two uses: locked ([`Ring`]), as in the reference, and lock-free ([`Producer`],
//! [`Consumer`]), with calls that wait.
//!
//! The engine is `monshm-rbuf`; here it is bound to a segment: bounds are fixed at the first use, ends are claimed in
//! the name of our attach slot, and a dead claimant's end is taken over.

mod claiming;
mod waiting;

use std::mem::ManuallyDrop;
use std::num::NonZeroU32;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use monshm_core::layout::RingWords;
use monshm_core::{Error, ErrorKind, Operation, Result, allocator};
use monshm_rbuf::layout::{self, Control};
use monshm_rbuf::{Bounds, Label, Record, Shared};

use crate::segment::Segment;
use crate::wait;
pub use claiming::End;
use claiming::Role;
use waiting::{Limit, Waiting, wait_for};

const _: () = {
    use monshm_core::layout::offset;
    assert!(size_of::<RingWords>() == layout::CONTROL_LEN && align_of::<RingWords>() == align_of::<Control>());
    assert!(offset::RING_BEGIN - offset::RING == layout::BEGIN_OFFSET);
    assert!(offset::RING_END - offset::RING == layout::END_OFFSET);
    assert!(offset::RING_HEAD - offset::RING == layout::HEAD_OFFSET);
    assert!(offset::RING_TAIL - offset::RING == layout::TAIL_OFFSET);
};

/// The ring for whoever holds the segment's lock, or is the only reader and the only writer.
///
/// Without that exclusion bytes may be lost or mixed up; nothing worse happens. Each call takes effect with one store,
/// so that a process that dies inside leaves the state of before or after.
#[derive(Debug)]
pub struct Ring<'a> {
    segment: &'a Segment,
    engine: monshm_rbuf::Ring<Shared>,
}

impl Segment {
    /// The ring, for use under the lock. The first use fixes its bounds; it takes the lock for that, unless this thread
    /// holds it.
    ///
    /// # Errors
    /// `Corrupt` when its bounds cannot be; else as [`Segment::lock`].
    pub fn ring(&self) -> Result<Ring<'_>> {
        self.inner().check_usable(Operation::Ring)?;
        // SAFETY of the memory: the borrow of the segment outlives the engine, see `memory`.
        Ok(Ring { segment: self, engine: monshm_rbuf::Ring::new(self.memory_of_ring(())?) })
    }

    /// Claims the lock-free writing end. There is one at a time; a dead process's is taken over.
    ///
    /// # Errors
    /// `Claimed` by a living process or by this one; `Corrupt`; else as [`Segment::ring`].
    pub fn producer(&self) -> Result<Producer> {
        let engine = self.seat(Role::Producer, monshm_rbuf::Producer::claim, monshm_rbuf::Producer::take_over)?;
        Ok(Producer(ManuallyDrop::new(engine)))
    }

    /// Claims the lock-free reading end. There is one at a time; a dead process's is taken over.
    ///
    /// # Errors
    /// As [`Segment::producer`].
    pub fn consumer(&self) -> Result<Consumer> {
        let engine = self.seat(Role::Consumer, monshm_rbuf::Consumer::claim, monshm_rbuf::Consumer::take_over)?;
        Ok(Consumer(ManuallyDrop::new(engine)))
    }

    /// The ring's memory, with what keeps it mapped.
    fn memory_of_ring<K>(&self, keep: K) -> Result<Shared<K>> {
        let inner = self.inner();
        let region = inner.attachment.region();
        let (begin, end) = match inner.ring_bounds.get() {
            Some(bounds) => *bounds,
            None => self.fix_bounds()?,
        };
        let bounds = Bounds::new(begin, end, region.len()).map_err(|error| self.ring_error("ring", error))?;
        let control = NonNull::from(region.header().ring()).cast();
        // SAFETY: control points to the 384 bytes of the header's ring words, aligned to 128, which are atomics (const
        // asserts above); `Bounds::new` checked begin and end against the length of the mapping; the mapping stays as
        // long as the segment, which the caller's `keep` owns or its result borrows; nothing in it is ever covered by
        // a reference but to atomics.
        let memory = unsafe { Shared::new(control, region.base(), bounds, keep) };
        let memory = memory.assume_membarrier(wait::barriers_reach_us());
        Ok(memory.with_truncation_mark(inner.loss.mark()))
    }

    #[cold]
    fn fix_bounds(&self) -> Result<(u64, u64)> {
        let inner = self.inner();
        let region = inner.attachment.region();
        let fix = || {
            let bounds = allocator::freeze_ring(region.header(), &inner.geometry);
            bounds.map_err(|kind| inner.noted(Error::new(Operation::Ring, kind)))
        };
        // Once the ring is in use its bounds move no more, and need no lock.
        let found = if allocator::is_frozen(region.header()) { fix() } else { self.locked(Operation::Ring, fix) }?;
        Ok(*inner.ring_bounds.get_or_init(|| found))
    }

    fn ring_error(&self, role: &'static str, error: monshm_rbuf::Error) -> Error {
        use monshm_rbuf::Error as Engine;
        let kind = match error {
            Engine::Full { requested, available } => {
                ErrorKind::NoRoom { needed: requested as u64, available: available as u64 }
            }
            Engine::Empty { requested, available } => {
                ErrorKind::NoData { asked: requested as u64, available: available as u64 }
            }
            Engine::TooLong { requested, limit } => {
                ErrorKind::SizeOverLimit { asked: requested as u64, limit: limit as u64 }
            }
            Engine::TooSmall { requested, available } => {
                ErrorKind::NoRoom { needed: requested as u64, available: available as u64 }
            }
            Engine::Claimed { by } => ErrorKind::Claimed { role, by: by.get() },
            Engine::Bounds(_) => ErrorKind::Corrupt { what: "the bounds of the ring cannot be" },
            Engine::Corrupt(_) => ErrorKind::Corrupt { what: "an index or a header of the ring cannot be" },
            Engine::Unaligned => ErrorKind::MixedRing,
            _ => ErrorKind::System { what: "the ring's engine" },
        };
        let error_of_kind = Error::new(Operation::Ring, kind);
        match error {
            // Which rule was broken is the engine's to say.
            Engine::Corrupt(_) | Engine::Bounds(_) => self.inner().noted(error_of_kind.on(error.to_string())),
            _ => error_of_kind,
        }
    }
}

impl Ring<'_> {
    /// Appends all of `src`.
    ///
    /// # Errors
    /// `NoRoom` with both numbers when it does not fit now, `SizeOverLimit` when it never can, and `Claimed` while a
    /// lock-free producer has the ring; nothing is changed. `Corrupt` when the indices cannot be, which poisons the handle.
    pub fn append(&self, src: &[u8]) -> Result<()> {
        self.usable()?.engine.append(src).map_err(|error| self.failed(error))
    }

    /// Takes `dst.len()` bytes out.
    ///
    /// # Errors
    /// `NoData` with both numbers when there are fewer, `Claimed` while a lock-free consumer has the ring; nothing is
    /// changed, and `dst` is as it was. `Corrupt`.
    pub fn read(&self, dst: &mut [u8]) -> Result<()> {
        self.usable()?.engine.read(dst).map_err(|error| self.failed(error))
    }

    /// Throws `count` bytes away.
    ///
    /// # Errors
    /// As [`Ring::read`].
    pub fn skip(&self, count: usize) -> Result<()> {
        self.usable()?.engine.skip(count).map_err(|error| self.failed(error))
    }

    /// Bytes that can be appended now.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn avail(&self) -> Result<usize> {
        self.usable()?.engine.avail().map_err(|error| self.failed(error))
    }

    /// Bytes in the ring.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn len(&self) -> Result<usize> {
        self.usable()?.engine.len().map_err(|error| self.failed(error))
    }

    /// Whether the ring holds nothing.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// The most bytes it can hold: one less than its size.
    pub fn capacity(&self) -> usize {
        self.engine.capacity()
    }

    /// First byte of the ring, in bytes from the base of the segment.
    pub fn begin(&self) -> u64 {
        self.engine.begin()
    }

    /// First byte behind the ring.
    pub fn end(&self) -> u64 {
        self.engine.end()
    }

    /// First byte of data.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn head(&self) -> Result<u64> {
        self.usable()?.engine.head().map_err(|error| self.failed(error))
    }

    /// First free byte.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn tail(&self) -> Result<u64> {
        self.usable()?.engine.tail().map_err(|error| self.failed(error))
    }

    fn usable(&self) -> Result<&Self> {
        self.segment.inner().check_usable(Operation::Ring)?;
        Ok(self)
    }

    /// The engine, if the handle may be used. What it refuses is for [`Ring::failed`] to say.
    #[cfg(feature = "capi")]
    #[inline]
    pub(crate) fn engine(&self) -> Result<&monshm_rbuf::Ring<Shared>> {
        Ok(&self.usable()?.engine)
    }

    #[cold]
    pub(crate) fn failed(&self, error: monshm_rbuf::Error) -> Error {
        self.segment.ring_error("lock-free end", error)
    }
}

/// The lock-free writing end, with calls that wait. All of the engine's calls are there by dereference.
///
/// Calls that wait wake the other end; the engine's own calls do not, and an end that sleeps then looks again by itself
/// within 5 ms. Dropping it closes it.
#[derive(Debug)]
pub struct Producer(ManuallyDrop<monshm_rbuf::Producer<Shared<End>>>);

/// The lock-free reading end, with calls that wait. All of the engine's calls are there by dereference.
///
/// As [`Producer`] for waking and dropping.
#[derive(Debug)]
pub struct Consumer(ManuallyDrop<monshm_rbuf::Consumer<Shared<End>>>);

impl Producer {
    /// Writes all of `src`, in parts as room comes free; what is written becomes visible part by part.
    ///
    /// # Errors
    /// `TimedOut`, with the count that was written in the object's name; `Closed` when the consumer has closed or died;
    /// `Corrupt`; `Forked`.
    pub fn write_all(&mut self, src: &[u8], timeout: Duration) -> Result<()> {
        let (done, outcome) = self.write_part(src, timeout);
        outcome.map_err(|error| error.on(format!("{done} of {} bytes written", src.len())))
    }

    /// As [`Producer::write_all`]; also tells how many bytes were written.
    pub(crate) fn write_part(&mut self, src: &[u8], timeout: Duration) -> (usize, Result<()>) {
        let mut limit = Limit::of(timeout);
        let mut done = 0;
        while done < src.len() {
            let written = wait_for(&mut **self, &mut limit, |end| {
                let written = end.write_partial(&src[done..])?;
                Ok((written != 0).then_some(written))
            });
            match written {
                Ok(written) => done += written,
                Err(error) => return (done, Err(error)),
            }
        }
        (done, Ok(()))
    }

    /// Writes all of `src` at once, waiting until it fits.
    ///
    /// # Errors
    /// `SizeOverLimit` when it never does; else as [`Producer::write_all`], with nothing written.
    pub fn write_wait(&mut self, src: &[u8], timeout: Duration) -> Result<()> {
        wait_for(&mut **self, &mut Limit::of(timeout), |end| unless_full(end.write(src)))
    }

    /// Writes a record, waiting until it fits.
    ///
    /// # Errors
    /// `SizeOverLimit` beyond the engine's `record_limit`; `MixedRing` when plain bytes were written in between; else
    /// as [`Producer::write_all`], with nothing written.
    pub fn push_wait(&mut self, label: Label, payload: &[u8], timeout: Duration) -> Result<()> {
        wait_for(&mut **self, &mut Limit::of(timeout), |end| unless_full(end.push(label, payload)))
    }

    /// Writes a record, or drops and counts it when it does not fit now; tells whether it was written. The engine's
    /// `push_or_drop`, but for waking the consumer.
    ///
    /// # Errors
    /// As [`Producer::push_wait`].
    #[cfg(feature = "capi")]
    pub(crate) fn push_or_drop_waking(&mut self, label: Label, payload: &[u8]) -> Result<bool> {
        let mut limit = Limit::of(Duration::ZERO);
        wait_for(&mut **self, &mut limit, |end| end.push_or_drop(label, payload).map(Some))
    }
}

/// `None` when there is no room now.
fn unless_full(written: Result<(), monshm_rbuf::Error>) -> Result<Option<()>, monshm_rbuf::Error> {
    match written {
        Err(monshm_rbuf::Error::Full { .. }) => Ok(None),
        other => other.map(Some),
    }
}

impl Consumer {
    /// Reads what is there, at most `dst.len()` bytes, and waits while there is nothing. 0 means that the producer has
    /// closed, or died, and all was read.
    ///
    /// # Errors
    /// `TimedOut`; `Corrupt`; `Forked`.
    pub fn read_wait(&mut self, dst: &mut [u8], timeout: Duration) -> Result<usize> {
        if dst.is_empty() {
            return Ok(0);
        }
        let read = wait_for(&mut **self, &mut Limit::of(timeout), |end| {
            let read = end.read_partial(dst)?;
            Ok((read != 0).then_some(read))
        });
        match read {
            Err(error) if error.kind() == ErrorKind::Closed => Ok(0),
            other => other,
        }
    }

    /// Reads the next record into `dst`, of which the first `len` bytes are then its payload, and waits while there is
    /// none.
    ///
    /// # Errors
    /// `NoRoom` when the record is longer than `dst`, and it stays; `Closed` when no record is left and the producer has
    /// closed or died; `TimedOut`; `Misaligned` when plain bytes were read in between; `Corrupt`; `Forked`.
    pub fn pop_wait(&mut self, dst: &mut [u8], timeout: Duration) -> Result<Record> {
        wait_for(&mut **self, &mut Limit::of(timeout), |end| match end.pop(dst) {
            Err(monshm_rbuf::Error::Empty { .. }) => Ok(None),
            other => other.map(Some),
        })
    }
}

macro_rules! bind_end {
    ($end:ident) => {
        impl Waiting for monshm_rbuf::$end<Shared<End>> {
            fn end(&self) -> &End {
                self.memory().keep()
            }
            fn word(&self, role: Role) -> &AtomicU32 {
                self.memory().word32(role.waiting_word())
            }
            fn begin_wait(&self) {
                self.begin_wait();
            }
            fn end_wait(&self) {
                self.end_wait();
            }
            fn take_peer_wait(&self) -> bool {
                self.take_peer_wait()
            }
            fn is_closed(&self) -> bool {
                self.is_closed()
            }
            fn peer(&self) -> Option<NonZeroU32> {
                self.peer()
            }
        }

        impl Deref for $end {
            type Target = monshm_rbuf::$end<Shared<End>>;
            fn deref(&self) -> &Self::Target {
                &self.0
            }
        }

        impl DerefMut for $end {
            fn deref_mut(&mut self) -> &mut Self::Target {
                &mut self.0
            }
        }

        impl Drop for $end {
            fn drop(&mut self) {
                // A forked child holds a copy of its parent's end, and must not close it for the parent.
                if self.end().segment.inner().is_forked() {
                    return;
                }
                self.close();
                if self.take_peer_wait() {
                    wait::wake(self.word(self.end().role.other()));
                }
                // SAFETY: dropped once, here; nothing uses it afterwards.
                unsafe { ManuallyDrop::drop(&mut self.0) };
            }
        }
    };
}

bind_end!(Producer);
bind_end!(Consumer);
