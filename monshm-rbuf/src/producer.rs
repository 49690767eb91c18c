//! The lock-free writing side: bytes, whole or in part; drop and count; close.
//!
//! Grants, batches and records build on it in files of their own. It never waits, and it never reads the
//! ring's bytes.

use core::num::NonZeroU32;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::error::{Corruption, Error};
use crate::memory::{Field64, Memory, put};
use crate::pace::Pace;
use crate::position::Bounds;
use crate::seat::{AsProducer, Seat};

/// The one writer of a ring.
///
/// Claimed exclusively; dropping it closes its side and releases the claim. The consumer, or a hostile peer
/// in its place, may change every shared byte at any time; what does not hold is [`Error::Corrupt`], from
/// then on and for ever.
#[derive(Debug)]
pub struct Producer<M: Memory> {
    pub(crate) seat: Seat<M, AsProducer>,
    pub(crate) bounds: Bounds,
    /// The first byte that was not written yet. Ours alone; inside the bounds, always.
    pub(crate) tail: u64,
    /// What the shared `tail` says: ours alone to store, so never read back.
    published: u64,
    /// Bytes that are free from `tail` on for certain. The consumer can only add to them; refreshed when a
    /// call needs more. At most capacity less what was written and not published.
    pub(crate) free: u64,
    /// Messages dropped, and their bytes: the truth of the two shared counters.
    drops: (u64, u64),
    /// The number of the next checked record; wraps. `None`: none was written by this handle.
    pub(crate) sequence: Option<u32>,
    /// When to look at `head` again.
    pace: Pace,
    poison: Option<Corruption>,
}

impl<M: Memory> Producer<M> {
    /// Claims the producer's role for `claimant`, and goes on where `tail` stands.
    ///
    /// # Errors
    /// [`Error::Claimed`] when somebody holds the role; [`Error::Corrupt`] when an index is out of range.
    pub fn claim(memory: M, claimant: NonZeroU32) -> Result<Self, Error> {
        Self::start(Seat::claim(memory, claimant)?)
    }

    /// Claims the role in the place of `dead`, of whom the caller knows that it does not run any more.
    ///
    /// What `dead` had written and not published is lost; what it had published stays.
    ///
    /// # Errors
    /// [`Error::Claimed`] when somebody else holds the role by now, [`Error::NotClaimed`] when nobody does;
    /// [`Error::Corrupt`] when an index is out of range.
    pub fn take_over(memory: M, dead: NonZeroU32, claimant: NonZeroU32) -> Result<Self, Error> {
        Self::start(Seat::take_over(memory, dead, claimant)?)
    }

    fn start(seat: Seat<M, AsProducer>) -> Result<Self, Error> {
        let bounds = seat.memory.bounds();
        // Relaxed: the claim ordered it.
        let tail = seat.memory.load64(Field64::Tail, Relaxed);
        if !bounds.contains(tail) {
            return Err(Error::Corrupt(Corruption::TailOutOfRange));
        }
        // Relaxed: counters, ordered by the claim.
        let drops = (
            seat.memory.load64(Field64::DroppedRecords, Relaxed),
            seat.memory.load64(Field64::DroppedBytes, Relaxed),
        );
        let mut producer = Producer {
            seat,
            bounds,
            tail,
            published: tail,
            free: 0,
            drops,
            sequence: None,
            pace: Pace::new(bounds.size()),
            poison: None,
        };
        producer.refresh()?;
        Ok(producer)
    }

    /// Writes all of `src`, visible to the consumer when the call returns.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::TooLong`], and nothing was written; [`Error::Corrupt`].
    #[inline]
    pub fn write(&mut self, src: &[u8]) -> Result<(), Error> {
        self.stage(src)?;
        self.publish();
        Ok(())
    }

    /// Writes as much of `src` as fits now, and gives the count; 0 when the ring is full.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn write_some(&mut self, src: &[u8]) -> Result<usize, Error> {
        if src.len() as u64 > self.free {
            self.look(1)?;
        }
        let count = self.free.min(src.len() as u64) as usize;
        self.stage(&src[..count])?;
        self.publish();
        Ok(count)
    }

    /// Writes all of `src`, or drops and counts it when it does not fit now; tells whether it was written.
    ///
    /// # Errors
    /// [`Error::TooLong`] (not counted: it could never be written); [`Error::Corrupt`].
    pub fn write_or_drop(&mut self, src: &[u8]) -> Result<bool, Error> {
        match self.write(src) {
            Err(Error::Full { .. }) => {
                self.count_drop(src.len());
                Ok(false)
            }
            other => other.map(|()| true),
        }
    }

    /// Bytes that can be written now. The consumer can only add to them.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn available(&mut self) -> Result<usize, Error> {
        self.refresh()?;
        Ok(self.free as usize)
    }

    /// The most bytes that the ring can hold.
    pub fn capacity(&self) -> usize {
        self.bounds.capacity()
    }

    /// Who claimed the role: this handle.
    pub fn claimant(&self) -> NonZeroU32 {
        self.seat.claimant()
    }

    /// Who claims the consumer's role now, as the shared word says.
    pub fn peer(&self) -> Option<NonZeroU32> {
        self.seat.peer()
    }

    /// Tells the consumer that no more will be written. Dropping the handle does the same.
    pub fn close(&mut self) {
        self.seat.close();
    }

    /// Whether the consumer has said that it reads no more (closed or dropped).
    pub fn is_closed(&self) -> bool {
        self.seat.peer_closed()
    }

    /// Whether the consumer has ended and nobody holds its role.
    ///
    /// A consumer that was killed still holds it: ask the layer above whether [`peer`](Self::peer) lives.
    pub fn is_abandoned(&self) -> bool {
        self.seat.peer_closed() && self.seat.peer().is_none()
    }

    /// Announces that this side is about to sleep until there is room.
    ///
    /// Then look for room once more, and sleep only if there is none: a release by the consumer that this
    /// look does not see will find the announcement.
    pub fn begin_wait(&self) {
        self.seat.begin_wait();
    }

    /// Takes the announcement back, after the sleep or instead of it.
    pub fn end_wait(&self) {
        self.seat.end_wait();
    }

    /// After a publication: whether the consumer has announced a sleep, and must be woken. Clears that.
    ///
    /// Costs a full fence, unless the memory was made
    /// [`with_barriers_of_sleepers`](crate::Shared::with_barriers_of_sleepers); a caller that never sleeps on the other side
    /// need not ask.
    pub fn take_peer_wait(&self) -> bool {
        self.seat.take_peer_wait()
    }

    /// The memory it was claimed on.
    pub fn memory(&self) -> &M {
        &self.seat.memory
    }

    /// Copies `src` behind what was written, not yet visible.
    #[inline(always)]
    pub(crate) fn stage(&mut self, src: &[u8]) -> Result<(), Error> {
        let len = src.len() as u64;
        if len > self.free {
            self.make_room(len)?;
        }
        // SAFETY: bounds are the memory's own and contain tail (field invariants); len ≤ free < size.
        self.tail = unsafe { put(&self.seat.memory, self.bounds, self.tail, src) };
        self.free -= len;
        self.kept()
    }

    /// Makes all that was written visible.
    #[inline(always)]
    pub(crate) fn publish(&mut self) {
        // Release pairs with the consumer's Acquire of tail: the bytes before it are seen.
        self.seat.memory.store64(Field64::Tail, self.tail, Release);
        self.published = self.tail;
    }

    /// Looks for `need` bytes of room, or says why there is none.
    #[cold]
    #[inline(never)]
    pub(crate) fn make_room(&mut self, need: u64) -> Result<(), Error> {
        self.look(need)?;
        if need > self.bounds.capacity() as u64 {
            return Err(Error::TooLong { requested: need as usize, limit: self.bounds.capacity() });
        }
        if need > self.free {
            return Err(Error::Full { requested: need as usize, available: self.free as usize });
        }
        Ok(())
    }

    /// Looks at the consumer's index, for `need` bytes, at the pace that pays.
    fn look(&mut self, need: u64) -> Result<(), Error> {
        let pauses = self.pace.before_look();
        for _ in 0..pauses {
            self.seat.memory.pause();
        }
        let before = self.free;
        self.refresh()?;
        let memory = &self.seat.memory;
        self.pace.after_look(pauses, self.free - before, need, || memory.ticks());
        Ok(())
    }

    /// Loads the consumer's index, checks it, and takes the room it gives.
    pub(crate) fn refresh(&mut self) -> Result<(), Error> {
        if let Some(what) = self.poison {
            return Err(Error::Corrupt(what));
        }
        // Acquire pairs with the consumer's Release of head: its reads of the bytes that it releases came
        // before our writes over them.
        let head = self.seat.memory.load64(Field64::Head, Acquire);
        if !self.bounds.contains(head) {
            return Err(self.poison(Corruption::HeadOutOfRange));
        }
        let used = self.bounds.distance(head, self.tail);
        if used < self.bounds.distance(self.published, self.tail) {
            return Err(self.poison(Corruption::HeadPassedTail));
        }
        let free = self.bounds.size() - 1 - used;
        if free < self.free {
            return Err(self.poison(Corruption::HeadWentBack));
        }
        self.free = free;
        Ok(())
    }

    /// Whether the memory that was just used is still the ring's.
    #[inline(always)]
    pub(crate) fn kept(&mut self) -> Result<(), Error> {
        if self.seat.memory.is_lost() { Err(self.poison(Corruption::MemoryLost)) } else { Ok(()) }
    }

    /// Stops the handle for good: without room, each later call comes to `refresh` and is refused there.
    #[cold]
    pub(crate) fn poison(&mut self, what: Corruption) -> Error {
        self.poison = Some(what);
        self.free = 0;
        Error::Corrupt(what)
    }

    /// Counts one message of `len` bytes as dropped.
    #[cold]
    pub(crate) fn count_drop(&mut self, len: usize) {
        self.drops.0 = self.drops.0.wrapping_add(1);
        self.drops.1 = self.drops.1.wrapping_add(len as u64);
        // Relaxed: the next Release store of tail publishes them with what is written after the drop.
        self.seat.memory.store64(Field64::DroppedRecords, self.drops.0, Relaxed);
        self.seat.memory.store64(Field64::DroppedBytes, self.drops.1, Relaxed);
    }
}
