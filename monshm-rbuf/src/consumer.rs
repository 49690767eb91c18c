//! The lock-free reading side: bytes, whole or in part; skip; what the producer dropped; close.
//!
//! Grants, batches and records build on it in files of their own. It never waits for the other side (it may pause, see
//! `pace`), and it never writes the ring's bytes.

use core::num::NonZeroU32;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::cursor::{Cursor, Extended};
use crate::error::{Corruption, Error};
use crate::memory::{Field64, Memory, get};
use crate::pace::{Pace, SHORT};
use crate::position::LINE;
use crate::seat::{AsConsumer, Seat};

/// What the producer dropped because the ring was full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// Messages or records. Wraps.
    pub records: u64,
    /// Their payload, in bytes. Wraps.
    pub bytes: u64,
}

/// The one reader of a ring.
///
/// Claimed exclusively; dropping it closes its side and releases the claim. The producer, or a hostile peer
/// in its place, may change every shared byte at any time; what does not hold is [`Error::Corrupt`], from
/// then on and for ever.
#[derive(Debug)]
pub struct Consumer<M: Memory> {
    pub(crate) seat: Seat<M, AsConsumer>,
    /// The first byte that was not read yet; the goal is the last `tail` that was seen. The producer can only take it
    /// further; looked at when a call needs more.
    pub(crate) cursor: Cursor,
    /// The number of the next checked record. `None`: not known yet.
    pub(crate) sequence: Option<u32>,
    /// The number after that of the checked record at `head`, once its copy was verified.
    pub(crate) verified: Option<u32>,
    /// The drop counters as they stood when they were last asked for.
    drops_seen: Drops,
    /// When to look at `tail` again, and how to go on; and the goal up to which it was told.
    pace: Pace,
    told: u64,
    /// Up to which line what was read has left the caches: inside the bounds, a multiple of [`LINE`], at or before the
    /// cursor in the order of reading. And how far from there the cursor is when more does, bytes: `STAYS`, and it does not.
    evicted: u64,
    evict_after: u64,
    poison: Option<Corruption>,
}

/// What a short look found.
#[derive(Debug)]
pub(crate) enum Glance<T> {
    Found(T),
    /// That the ring is empty, or has too little.
    Nothing,
    /// That it takes more than a short look.
    Unclear,
}

/// Bytes whose lines are put out of the caches together, a power of two: one by one cost a consumer of short messages a
/// quarter of its rate.
const EVICTED_AT_ONCE: u64 = 8 * LINE;

/// More than any position differs from another by.
const STAYS: u64 = u64::MAX;

/// Where the line begins in which `position` lies. Inside the bounds if that is: rings begin at multiples of 128.
const fn line_of(position: u64) -> u64 {
    position & !(LINE - 1)
}

impl<M: Memory> Consumer<M> {
    /// Claims the consumer's role for `claimant`, and goes on where `head` stands.
    ///
    /// # Errors
    /// [`Error::Claimed`] when somebody holds the role; [`Error::Corrupt`] when an index is out of range.
    pub fn claim(memory: M, claimant: NonZeroU32) -> Result<Self, Error> {
        Self::start(Seat::claim(memory, claimant)?)
    }

    /// Claims the role in the place of `dead`, of whom the caller knows that it does not run any more.
    ///
    /// What `dead` had read and not released is read again.
    ///
    /// # Errors
    /// [`Error::Claimed`] when somebody else holds the role by now, [`Error::NotClaimed`] when nobody does;
    /// [`Error::Corrupt`] when an index is out of range.
    pub fn take_over(memory: M, dead: NonZeroU32, claimant: NonZeroU32) -> Result<Self, Error> {
        Self::start(Seat::take_over(memory, dead, claimant)?)
    }

    fn start(seat: Seat<M, AsConsumer>) -> Result<Self, Error> {
        let bounds = seat.memory.bounds();
        // Relaxed: the claim ordered it.
        let head = seat.memory.load64(Field64::Head, Relaxed);
        if !bounds.contains(head) {
            return Err(Error::Corrupt(Corruption::HeadOutOfRange));
        }
        let mut consumer = Consumer {
            seat,
            cursor: Cursor::new(bounds, head),
            sequence: None,
            verified: None,
            drops_seen: Drops::default(),
            pace: Pace::new(bounds.size()),
            told: head,
            evicted: line_of(head),
            evict_after: STAYS,
            poison: None,
        };
        consumer.refresh(head)?;
        consumer.told = consumer.cursor.goal();
        Ok(consumer)
    }

    /// Reads `dst.len()` bytes and releases them, or none.
    ///
    /// # Errors
    /// [`Error::Empty`] or [`Error::TooLong`], and nothing was read; [`Error::Corrupt`].
    #[inline(always)]
    pub fn read(&mut self, dst: &mut [u8]) -> Result<(), Error> {
        self.take(dst, self.cursor.at())?;
        self.release_all();
        Ok(())
    }

    /// Reads what is there, up to `dst.len()` bytes, and gives the count; 0 when the ring is empty.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn read_partial(&mut self, dst: &mut [u8]) -> Result<usize, Error> {
        if dst.len() as u64 > self.cursor.left() {
            self.look((dst.len() as u64).min(SHORT), self.cursor.at())?;
        }
        let count = self.cursor.left().min(dst.len() as u64) as usize;
        self.read(&mut dst[..count])?;
        Ok(count)
    }

    /// Discards `count` bytes, or none.
    ///
    /// # Errors
    /// [`Error::Empty`] or [`Error::TooLong`], and nothing was discarded; [`Error::Corrupt`].
    pub fn skip(&mut self, count: usize) -> Result<(), Error> {
        self.pass(count)?;
        self.release_all();
        Ok(())
    }

    /// Bytes that can be read now. The producer can only add to them.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn available(&mut self) -> Result<usize, Error> {
        self.refresh(self.cursor.at())?;
        Ok(self.cursor.left() as usize)
    }

    /// The most bytes that the ring can hold.
    pub fn capacity(&self) -> usize {
        self.cursor.bounds().capacity()
    }

    /// All that was ever dropped on this ring, as the producer says.
    ///
    /// The two numbers are not one snapshot. Whoever has read a message that was written after a drop sees
    /// the drop.
    pub fn drops(&self) -> Drops {
        // Relaxed: plain numbers; the Acquire of tail orders them for messages already read.
        Drops {
            records: self.seat.memory.load64(Field64::DroppedRecords, Relaxed),
            bytes: self.seat.memory.load64(Field64::DroppedBytes, Relaxed),
        }
    }

    /// What was dropped since the last call of this function (or since the ring was made).
    pub fn take_drops(&mut self) -> Drops {
        let now = self.drops();
        let before = core::mem::replace(&mut self.drops_seen, now);
        Drops { records: now.records.wrapping_sub(before.records), bytes: now.bytes.wrapping_sub(before.bytes) }
    }

    /// Who claimed the role: this handle.
    pub fn claimant(&self) -> NonZeroU32 {
        self.seat.claimant()
    }

    /// Who claims the producer's role now, as the shared word says.
    pub fn peer(&self) -> Option<NonZeroU32> {
        self.seat.peer()
    }

    /// Tells the producer that no more will be read. Dropping the handle does the same.
    pub fn close(&mut self) {
        self.seat.close();
    }

    /// Whether the producer has said that it writes no more (closed or dropped).
    ///
    /// All that it wrote before can be read once this was seen: ask first, then read until
    /// [`Error::Empty`].
    pub fn is_closed(&self) -> bool {
        self.seat.peer_closed()
    }

    /// Whether the producer has ended and nobody holds its role.
    ///
    /// A producer that was killed still holds it: ask the layer above whether [`peer`](Self::peer) lives.
    pub fn is_abandoned(&self) -> bool {
        self.seat.peer_closed() && self.seat.peer().is_none()
    }

    /// Announces that this side is about to sleep until there is data.
    ///
    /// Then look for data once more, and sleep only if there is none: a publication by the producer that this
    /// look does not see will find the announcement.
    pub fn begin_wait(&self) {
        self.seat.begin_wait();
    }

    /// Takes the announcement back, after the sleep or instead of it.
    pub fn end_wait(&self) {
        self.seat.end_wait();
    }

    /// After a release: whether the producer has announced a sleep, and must be woken. Clears that.
    ///
    /// Costs a full fence, unless the memory was made
    /// [`assume_membarrier`](crate::Shared::assume_membarrier); a caller that never sleeps on the other side
    /// need not ask.
    pub fn take_peer_wait(&self) -> bool {
        self.seat.take_peer_wait()
    }

    /// The memory it was claimed on.
    pub fn memory(&self) -> &M {
        &self.seat.memory
    }

    /// Copies the next `dst.len()` bytes out, not yet released; what was read from `from` on is not either.
    #[inline(always)]
    pub(crate) fn take(&mut self, dst: &mut [u8], from: u64) -> Result<(), Error> {
        let len = dst.len() as u64;
        let after = match self.cursor.ahead(len) {
            Some(after) => after,
            None => match self.glance(len, len, from) {
                Glance::Found(after) => after,
                Glance::Nothing => return Err(self.empty(len)),
                Glance::Unclear => return self.take_far(dst, from),
            },
        };
        // SAFETY: [at, after) is inside the bounds, which are the memory's own (`Cursor::ahead`).
        unsafe { self.seat.memory.copy_out(self.cursor.at(), dst) };
        self.kept()?;
        self.cursor.step_to(after);
        Ok(())
    }

    /// Looks once for the next `len` bytes in one piece. What takes more than a look is left for one that takes its
    /// time. `message`: bytes of a whole one.
    #[inline(always)]
    pub(crate) fn glance(&mut self, len: u64, message: u64, from: u64) -> Glance<u64> {
        if from > self.cursor.at() {
            return Glance::Unclear;
        }
        // Acquire: as in `refresh`.
        let tail = self.seat.memory.load64(Field64::Tail, Acquire);
        match self.cursor.extend(tail) {
            Extended::By(gained) => {
                self.evict_from_here(gained > message.min(SHORT));
                self.cursor.stay(|at| self.seat.memory.late(at));
                self.cursor.ahead(len).map_or(Glance::Unclear, Glance::Found)
            }
            Extended::Not if self.cursor.has_in_one_piece(len) => Glance::Nothing,
            _ => Glance::Unclear,
        }
    }

    /// That the next `need` bytes are not there.
    #[inline(always)]
    pub(crate) fn empty(&self, need: u64) -> Error {
        Error::Empty { requested: need as usize, available: self.cursor.left() as usize }
    }

    /// What [`take`](Self::take) does, where data must be looked for, or the end of the ring is reached.
    #[inline(never)]
    fn take_far(&mut self, dst: &mut [u8], from: u64) -> Result<(), Error> {
        let len = dst.len() as u64;
        self.look_for(len, len, from)?;
        // SAFETY: bounds are the memory's own and contain the cursor; len ≤ left < size.
        unsafe { get(&self.seat.memory, self.cursor.bounds(), self.cursor.at(), dst) };
        self.kept()?;
        self.cursor.pass(len);
        Ok(())
    }

    /// Passes over the next `count` bytes, not yet released.
    #[inline]
    pub(crate) fn pass(&mut self, count: usize) -> Result<(), Error> {
        self.look_for(count as u64, count as u64, self.cursor.at())?;
        self.cursor.pass(count as u64);
        Ok(())
    }

    /// Gives all that was read back to the producer.
    #[inline(always)]
    pub(crate) fn release_all(&mut self) {
        let head = self.cursor.at();
        if head ^ self.evicted >= self.evict_after {
            self.evict();
        }
        // Release pairs with the producer's Acquire of head: our reads of the bytes come before it writes
        // over them.
        self.seat.memory.store64(Field64::Head, head, Release);
    }

    /// Takes the lines that were read out of the caches, before they are given back.
    ///
    /// Not inline: with the instruction between the copies, messages of 16 bytes took nearly twice as long.
    #[inline(never)]
    fn evict(&mut self) {
        let (memory, bounds) = (&self.seat.memory, self.cursor.bounds());
        let (from, to) = (self.evicted, line_of(self.cursor.at()));
        // SAFETY: both are inside the bounds (field invariants), and so is all between them, over the wrap where `to`
        // comes before `from`.
        unsafe {
            if from <= to {
                memory.evict(from, to - from);
            } else {
                memory.evict(from, bounds.end() - from);
                memory.evict(bounds.begin(), to - bounds.begin());
            }
        }
        self.evicted = to;
    }

    /// Sees to it that there are `need` bytes of data, or says why there are not; what was read from `from` on is not
    /// released. `message`: bytes of a whole one.
    pub(crate) fn look_for(&mut self, need: u64, message: u64, from: u64) -> Result<(), Error> {
        if need <= self.cursor.left() && self.poison.is_none() {
            return Ok(());
        }
        self.look(message, from)?;
        if need > self.capacity() as u64 {
            return Err(Error::TooLong { requested: need as usize, limit: self.capacity() });
        }
        if need > self.cursor.left() {
            return Err(self.empty(need));
        }
        Ok(())
    }

    /// Looks at the producer's index, for a message of so many bytes, at the pace that pays.
    fn look(&mut self, message: u64, from: u64) -> Result<(), Error> {
        for _ in 0..self.pace.take_due() {
            self.seat.memory.pause();
        }
        let before = self.cursor.left();
        self.refresh(from)?;
        let gained = self.cursor.left() - before;
        if gained > 0 {
            let in_numbers = gained > message.min(SHORT);
            let goal = self.cursor.goal();
            let told = core::mem::replace(&mut self.told, goal);
            let gained = self.cursor.bounds().distance(told, goal);
            self.pace.after_looks(gained, message, in_numbers, || self.seat.memory.ticks());
            self.evict_from_here(in_numbers);
        }
        self.cursor.set_reach(self.pace.untold());
        Ok(())
    }

    /// Decides whether what is read from here on leaves the caches.
    #[inline(always)]
    fn evict_from_here(&mut self, in_numbers: bool) {
        if !in_numbers || !self.pace.evicts() {
            self.evict_after = STAYS;
        } else if self.evict_after == STAYS {
            // What was read before stays where it is.
            self.evicted = line_of(self.cursor.at());
            self.evict_after = EVICTED_AT_ONCE;
        }
    }

    /// Loads the producer's index, checks it, and takes the data it gives.
    ///
    /// `from` is what the shared `head` says; a batch that was forgotten, so that it says less, is not known here: then a
    /// tail that goes back into what that batch read passes for new data, inside the ring as ever.
    pub(crate) fn refresh(&mut self, from: u64) -> Result<(), Error> {
        self.not_poisoned()?;
        let bounds = self.cursor.bounds();
        // Acquire pairs with the producer's Release of tail: the bytes before it are seen.
        let tail = self.seat.memory.load64(Field64::Tail, Acquire);
        if !bounds.contains(tail) {
            return Err(self.poison(Corruption::TailOutOfRange));
        }
        let known = bounds.distance(from, self.cursor.at()) + self.cursor.left();
        if bounds.distance(from, tail) < known {
            return Err(self.poison(Corruption::TailWentBack));
        }
        self.cursor.set_goal(tail);
        Ok(())
    }

    /// Whether the memory that was just used is still the ring's.
    #[inline(always)]
    pub(crate) fn kept(&mut self) -> Result<(), Error> {
        if self.seat.memory.is_truncated() { Err(self.poison(Corruption::MemoryLost)) } else { Ok(()) }
    }

    /// The same, for a look that may be repeated; the next call that moves poisons the handle.
    #[inline(always)]
    pub(crate) fn still_there(&self) -> Result<(), Error> {
        if self.seat.memory.is_truncated() { Err(Error::Corrupt(Corruption::MemoryLost)) } else { Ok(()) }
    }

    /// Whether the handle has not found corruption yet.
    #[inline(always)]
    pub(crate) fn not_poisoned(&self) -> Result<(), Error> {
        match self.poison {
            Some(what) => Err(Error::Corrupt(what)),
            None => Ok(()),
        }
    }

    /// Stops the handle for good: each later call comes to `refresh` and is refused there.
    #[cold]
    pub(crate) fn poison(&mut self, what: Corruption) -> Error {
        self.poison = Some(what);
        self.cursor.end();
        Error::Corrupt(what)
    }
}
