//! The lock-free writing side: bytes, whole or in part; drop and count; close.
//!
//! Grants, batches and records build on it in files of their own. It never waits, and it never reads the
//! ring's bytes.

use core::num::NonZeroU32;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::cursor::Cursor;
use crate::error::{Corruption, Error};
use crate::memory::{Field64, Memory, put};
use crate::position::LINE;
use crate::record::{HEADER_LEN, PAYLOAD_MAX};
use crate::seat::{AsProducer, Seat};

/// The one writer of a ring.
///
/// Claimed exclusively; dropping it closes its side and releases the claim. The consumer, or a hostile peer
/// in its place, may change every shared byte at any time; what does not hold is [`Error::Corrupt`], from
/// then on and for ever.
///
/// It may store zeros to free bytes ahead of what it writes, see `SPEED.md`.
#[derive(Debug)]
pub struct Producer<M: Memory> {
    pub(crate) seat: Seat<M, AsProducer>,
    /// The first byte that was not written yet; the goal is the byte before the last `head` that was seen. The consumer
    /// can only take it further; looked at when a call needs more.
    pub(crate) cursor: Cursor,
    /// The longest record, header included and padding to 8 not, bytes.
    pub(crate) longest: u64,
    /// Messages dropped, and their bytes: the truth of the two shared counters.
    drops: (u64, u64),
    /// The number of the next checked record; wraps. `None`: none was written by this handle.
    pub(crate) sequence: Option<u32>,
    poison: Option<Corruption>,
}

/// The most lines that are fetched after one publication: those of a message of 4 KiB. A part of the lines of a longer one
/// would not help it.
const FETCHED_AT_ONCE: u64 = 64;

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
        let drops =
            (seat.memory.load64(Field64::DroppedRecords, Relaxed), seat.memory.load64(Field64::DroppedBytes, Relaxed));
        let longest = bounds.record_limit().min((HEADER_LEN + PAYLOAD_MAX) as u64);
        let mut producer =
            Producer { seat, cursor: Cursor::new(bounds, tail), longest, drops, sequence: None, poison: None };
        producer.refresh(tail)?;
        Ok(producer)
    }

    /// Writes all of `src`, visible to the consumer when the call returns.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::TooLong`], and nothing was written; [`Error::Corrupt`].
    #[inline(always)]
    pub fn write(&mut self, src: &[u8]) -> Result<(), Error> {
        let from = self.cursor.at();
        self.stage(src, from)?;
        self.publish(from);
        Ok(())
    }

    /// Writes as much of `src` as fits now, and gives the count; 0 when the ring is full.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn write_partial(&mut self, src: &[u8]) -> Result<usize, Error> {
        if src.len() as u64 > self.cursor.left() {
            self.refresh(self.cursor.at())?;
        }
        let count = self.cursor.left().min(src.len() as u64) as usize;
        self.write(&src[..count])?;
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
        self.refresh(self.cursor.at())?;
        Ok(self.cursor.left() as usize)
    }

    /// The most bytes that the ring can hold.
    pub fn capacity(&self) -> usize {
        self.cursor.bounds().capacity()
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
    /// [`assume_membarrier`](crate::Shared::assume_membarrier); a caller that never sleeps on the other side
    /// need not ask.
    pub fn take_peer_wait(&self) -> bool {
        self.seat.take_peer_wait()
    }

    /// The memory it was claimed on.
    pub fn memory(&self) -> &M {
        &self.seat.memory
    }

    /// Copies `src` behind what was written, not yet visible; what was written from `from` on is not either.
    #[inline(always)]
    pub(crate) fn stage(&mut self, src: &[u8], from: u64) -> Result<(), Error> {
        let Some(after) = self.cursor.ahead(src.len() as u64) else { return self.stage_far(src, from) };
        // SAFETY: [at, after) is inside the bounds, which are the memory's own (`Cursor::ahead`).
        unsafe { self.seat.memory.copy_in(self.cursor.at(), src) };
        self.cursor.step_to(after);
        self.kept()
    }

    /// The same, where room must be looked for, or the end of the ring is reached.
    #[inline(never)]
    fn stage_far(&mut self, src: &[u8], from: u64) -> Result<(), Error> {
        let len = src.len() as u64;
        self.make_room(len, from)?;
        // SAFETY: bounds are the memory's own and contain the cursor; len ≤ left < size.
        unsafe { put(&self.seat.memory, self.cursor.bounds(), self.cursor.at(), src) };
        self.cursor.pass(len);
        self.kept()
    }

    /// Makes all that was written, from `from` on, visible.
    #[inline(always)]
    pub(crate) fn publish(&mut self, from: u64) {
        let tail = self.cursor.at();
        // Release pairs with the consumer's Acquire of tail: the bytes before it are seen.
        self.seat.memory.store64(Field64::Tail, tail, Release);
        if (from ^ tail) >= LINE {
            // After the end of the ring it is a large number.
            let lines = (tail / LINE).wrapping_sub(from / LINE);
            self.fetch_next_lines(if lines > FETCHED_AT_ONCE { 1 } else { lines });
        }
    }

    /// Brings the next `count` lines that will be written into this side's cache, for writing: by a store to
    /// each, for nothing less does. An exchange of messages has the time for that while it waits for the answer, not when
    /// it writes.
    #[inline(always)]
    fn fetch_next_lines(&mut self, count: u64) {
        let mut line = self.cursor.at().next_multiple_of(LINE);
        for _ in 0..count {
            // The cursor stands at or before the line.
            if !self.cursor.allows(line + 8) {
                break;
            }
            // SAFETY: free, and so inside the bounds; a multiple of 8.
            unsafe { self.seat.memory.store_header(line, 0) };
            line += LINE;
        }
    }

    /// Sees to it that there are `need` bytes of room, or says why there are not; what was written from `from` on is not
    /// published.
    pub(crate) fn make_room(&mut self, need: u64, from: u64) -> Result<(), Error> {
        if need <= self.cursor.left() && self.poison.is_none() {
            return Ok(());
        }
        self.refresh(from)?;
        if need > self.capacity() as u64 {
            return Err(Error::TooLong { requested: need as usize, limit: self.capacity() });
        }
        let free = self.cursor.left();
        if need > free {
            return Err(Error::Full { requested: need as usize, available: free as usize });
        }
        Ok(())
    }

    /// Loads the consumer's index, checks it, and takes the room it gives.
    ///
    /// `from` is what the shared `tail` says; of a batch that was forgotten, see the consumer.
    pub(crate) fn refresh(&mut self, from: u64) -> Result<(), Error> {
        if let Some(what) = self.poison {
            return Err(Error::Corrupt(what));
        }
        let bounds = self.cursor.bounds();
        // Acquire pairs with the consumer's Release of head: its reads of the bytes that it releases came
        // before our writes over them.
        let head = self.seat.memory.load64(Field64::Head, Acquire);
        if !bounds.contains(head) {
            return Err(self.poison(Corruption::HeadOutOfRange));
        }
        let tail = self.cursor.at();
        let used = bounds.distance(head, tail);
        if used < bounds.distance(from, tail) {
            return Err(self.poison(Corruption::HeadPassedTail));
        }
        if bounds.size() - 1 - used < self.cursor.left() {
            return Err(self.poison(Corruption::HeadWentBack));
        }
        self.cursor.set_goal(bounds.before(head));
        Ok(())
    }

    /// Whether the memory that was just used is still the ring's.
    #[inline(always)]
    pub(crate) fn kept(&mut self) -> Result<(), Error> {
        if self.seat.memory.is_truncated() { Err(self.poison(Corruption::MemoryLost)) } else { Ok(()) }
    }

    /// Stops the handle for good: each later call comes to `refresh` and is refused there.
    #[cold]
    pub(crate) fn poison(&mut self, what: Corruption) -> Error {
        self.poison = Some(what);
        self.cursor.end();
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

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;
    use crate::{Consumer, StaticRing};

    const SIZE: usize = 16384;
    const HALF: usize = SIZE / 2;
    const MARK: u64 = 0xABAB_ABAB_ABAB_ABAB;

    /// Where a producer writes besides a message of `len` bytes, behind `held` that the consumer has not read: bytes from
    /// the begin of the ring on, each of a word, which is zero then. All are multiples of 8; the first begins in the middle.
    fn touched(held: usize, len: usize) -> Vec<usize> {
        let ring = StaticRing::<SIZE>::new();
        let me = NonZeroU32::MIN;
        let (mut producer, mut consumer) =
            (Producer::claim(ring.memory(), me).unwrap(), Consumer::claim(ring.memory(), me).unwrap());
        let bytes = [7; SIZE];
        producer.write(&bytes[..HALF]).unwrap();
        consumer.skip(HALF).unwrap();
        producer.write(&bytes[..held]).unwrap();
        let (memory, begin) = (ring.memory(), ring.memory().bounds().begin());
        let words = || (0..SIZE).step_by(8);
        // SAFETY: words of the ring.
        words().for_each(|word| unsafe { memory.store_header(begin + word as u64, MARK) });
        producer.write(&bytes[..len]).unwrap();
        let own = (HALF + held) % SIZE..(HALF + held) % SIZE + len;
        // SAFETY: words of the ring.
        let value = |word: usize| unsafe { memory.load_header(begin + word as u64) };
        let touched: Vec<_> = words().filter(|word| !own.contains(word) && value(*word) != MARK).collect();
        assert!(touched.iter().all(|word| value(*word) == 0));
        touched
    }

    /// The words at the begin of `count` lines from `first` on.
    fn lines(first: usize, count: usize) -> Vec<usize> {
        (0..count).map(|line| first + 64 * line).collect()
    }

    #[test]
    fn a_write_touches_the_next_free_lines_and_nothing_else() {
        assert_eq!(touched(0, 56), [], "within a line");
        assert_eq!(touched(0, 64), [HALF + 64], "to the end of a line");
        assert_eq!(touched(8, 56), [HALF + 64], "to the end of a line");
        assert_eq!(touched(8, 64), [HALF + 128], "into the next line");
        assert_eq!(touched(8, 128), lines(HALF + 192, 2), "into the line after that");
        assert_eq!(touched(0, 640), lines(HALF + 640, 10), "through ten lines");
        assert_eq!(touched(HALF - 72, 72), [0], "over the end of the ring: the next line alone");
        assert_eq!(touched(HALF, 640), lines(640, 10), "at the begin of the ring");
        assert_eq!(touched(0, 4096), lines(HALF + 4096, 64), "through as many lines as are fetched at once");
        assert_eq!(touched(0, 4160), [HALF + 4160], "through one more: those are too many to fetch");
    }

    #[test]
    fn no_line_is_touched_that_is_not_free() {
        assert_eq!(touched(0, HALF - 64), [SIZE - 64], "the last line of the ring");
        assert_eq!(touched(SIZE - 320, 192), lines(HALF - 128, 2), "the last lines before unread bytes");
        assert_eq!(touched(SIZE - 128, 64), [HALF - 64], "a line of which 63 bytes are free");
        assert_eq!(touched(SIZE - 72, 64), [], "a line of which 7 bytes are free");
        assert_eq!(touched(SIZE - 80, 72), [], "the last free line is written");
    }
}
