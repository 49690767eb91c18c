//! The writing endpoint: bytes, whole or in part; drop and count.
//!
//! `tail`, the cached `head`, copy in, publish; then a prefetch of the lines to be written next. Grants, batches and
//! records build on it in files of their own. It never waits, and it never reads the ring's bytes.

use core::num::NonZeroU32;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::bounds::LINE;
use crate::claim::{Claim, ProducerRole, endpoint};
use crate::cursor::Cursor;
use crate::error::{Corruption, Error};
use crate::memory::{Field64, Memory, copy_in_wrapping};
use crate::record::{HEADER_LEN, PAYLOAD_MAX};

/// The one writer of a ring.
///
/// Claimed exclusively; dropping it closes its side and releases the claim. The consumer, or a hostile peer in its
/// place, may change every shared byte at any time; what cannot be is [`Error::Corrupt`], from then on and for ever.
///
/// After a message that reaches a new line it stores a zero word to free lines ahead, to own them before it writes
/// them.
///
/// # Examples
/// ```
/// # use core::num::NonZeroU32;
/// use monshm_rbuf::{Error, Producer, StaticRing};
/// let ring = StaticRing::<8>::new();
/// let mut producer = Producer::claim(ring.memory(), NonZeroU32::MIN)?;
/// producer.write(b"abcd")?;
/// assert_eq!(producer.write(b"efgh"), Err(Error::Full { requested: 4, available: 3 }));
/// assert_eq!(producer.write_partial(b"efgh")?, 3);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Producer<M: Memory> {
    pub(crate) claim: Claim<M, ProducerRole>,
    /// `tail` and the cached `head`: see [`Producer::tail`] and [`Producer::reload_head`].
    pub(crate) cursor: Cursor,
    /// The longest record, header included and padding to 8 not, bytes.
    pub(crate) longest: u64,
    /// Messages dropped, and their bytes: the truth of the two shared counters.
    drops: (u64, u64),
    /// The number of the next checked record; wraps. `None`: none was written by this handle.
    pub(crate) sequence: Option<u32>,
    poison: Option<Corruption>,
}

endpoint!(Producer);

/// The most lines that are prefetched after one publication: those of a message of 4 KiB. A part of the lines of a
/// longer one would not help it.
const PREFETCHED_AT_ONCE: u64 = 64;

impl<M: Memory> Producer<M> {
    /// Claims the producer's role for `claimant`, and continues at `tail`.
    ///
    /// # Errors
    /// [`Error::Claimed`] when somebody holds the role; [`Error::Corrupt`] when an index is out of range.
    pub fn claim(memory: M, claimant: NonZeroU32) -> Result<Self, Error> {
        Self::start(Claim::new(memory, claimant)?)
    }

    /// Claims the role in the place of `dead`, of which the caller knows that it does not run any more.
    ///
    /// What `dead` had written and not published is lost; what it had published stays.
    ///
    /// # Errors
    /// [`Error::Claimed`] when somebody else holds the role by now, [`Error::NotClaimed`] when nobody does;
    /// [`Error::Corrupt`] when an index is out of range.
    ///
    /// # Examples
    /// ```
    /// # use core::num::NonZeroU32;
    /// # use monshm_rbuf::{Producer, StaticRing};
    /// # let ring = StaticRing::<64>::new();
    /// # let (dead, me) = (NonZeroU32::new(1).unwrap(), NonZeroU32::new(2).unwrap());
    /// # core::mem::forget(Producer::claim(ring.memory(), dead)?);
    /// assert!(Producer::claim(ring.memory(), me).is_err());
    /// let producer = Producer::take_over(ring.memory(), dead, me)?;
    /// assert_eq!(producer.claimant(), me);
    /// # Ok::<(), monshm_rbuf::Error>(())
    /// ```
    pub fn take_over(memory: M, dead: NonZeroU32, claimant: NonZeroU32) -> Result<Self, Error> {
        Self::start(Claim::take_over(memory, dead, claimant)?)
    }

    fn start(claim: Claim<M, ProducerRole>) -> Result<Self, Error> {
        let bounds = claim.memory.bounds();
        // Relaxed: the claim ordered it.
        let tail = claim.memory.load64(Field64::Tail, Relaxed);
        if !bounds.contains(tail) {
            return Err(Error::Corrupt(Corruption::TailOutOfRange));
        }
        // Relaxed: counters, ordered by the claim.
        let drops = (
            claim.memory.load64(Field64::DroppedRecords, Relaxed),
            claim.memory.load64(Field64::DroppedBytes, Relaxed),
        );
        let longest = bounds.record_limit().min((HEADER_LEN + PAYLOAD_MAX) as u64);
        let cursor = Cursor::new(bounds, tail);
        let mut producer = Producer { claim, cursor, longest, drops, sequence: None, poison: None };
        producer.reload_head(tail)?;
        Ok(producer)
    }

    /// `tail`: the first byte that was not written. Nobody else changes it, so this is exact; the shared word of that
    /// name follows when the bytes before it are published, and is never loaded again.
    #[inline(always)]
    pub(crate) fn tail(&self) -> u64 {
        self.cursor.position()
    }

    /// Writes all of `src`, visible to the consumer when the call returns.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::TooLong`], and nothing was written; [`Error::Corrupt`].
    #[inline(always)]
    pub fn write(&mut self, src: &[u8]) -> Result<(), Error> {
        let published = self.tail();
        self.stage(src, published)?;
        self.publish(published);
        Ok(())
    }

    /// Copies `src` behind what was written, not yet visible. `published`: where the shared `tail` is.
    #[inline(always)]
    pub(crate) fn stage(&mut self, src: &[u8], published: u64) -> Result<(), Error> {
        let Some(after) = self.cursor.contiguous(src.len() as u64) else { return self.stage_wrapping(src, published) };
        // SAFETY: [tail, after) is inside the bounds, which are the memory's own (`Cursor::contiguous`).
        unsafe { self.claim.memory.copy_in(self.tail(), src) };
        self.cursor.advance_to(after);
        self.check_memory()
    }

    /// The same, where the cached `head` does not suffice, or the end of the ring is reached.
    #[inline(never)]
    fn stage_wrapping(&mut self, src: &[u8], published: u64) -> Result<(), Error> {
        let len = src.len() as u64;
        self.ensure_writable(len, published)?;
        // SAFETY: the bounds are the memory's own and contain tail; len ≤ remaining < size.
        unsafe { copy_in_wrapping(&self.claim.memory, self.cursor.bounds(), self.tail(), src) };
        self.cursor.advance(len);
        self.check_memory()
    }

    /// Makes all that was written from `published` on visible.
    #[inline(always)]
    pub(crate) fn publish(&mut self, published: u64) {
        let tail = self.tail();
        // Release pairs with the consumer's Acquire of tail: the bytes before it are seen.
        self.claim.memory.store64(Field64::Tail, tail, Release);
        if (published ^ tail) >= LINE {
            // After the end of the ring it is a large number.
            let lines = (tail / LINE).wrapping_sub(published / LINE);
            self.prefetch_for_write(if lines > PREFETCHED_AT_ONCE { 1 } else { lines });
        }
    }

    /// Brings the next `count` lines that will be written into this side's cache, for writing: by a store to
    /// each. In an exchange of messages there is time for that while the answer is awaited, not when it is
    /// written.
    #[inline(always)]
    fn prefetch_for_write(&mut self, count: u64) {
        let mut line = self.tail().next_multiple_of(LINE);
        for _ in 0..count {
            // tail is at or before the line.
            if !self.cursor.is_contiguous_to(line + 8) {
                break;
            }
            // SAFETY: free, and so inside the bounds; a multiple of 8.
            unsafe { self.claim.memory.store_word(line, 0) };
            line += LINE;
        }
    }

    /// Makes sure that there are `need` bytes of room, or says why there are not. `published`: where the shared `tail`
    /// is.
    pub(crate) fn ensure_writable(&mut self, need: u64, published: u64) -> Result<(), Error> {
        if need <= self.cursor.remaining() && self.poison.is_none() {
            return Ok(());
        }
        self.reload_head(published)?;
        if need > self.capacity() as u64 {
            return Err(Error::TooLong { requested: need as usize, limit: self.capacity() });
        }
        let free = self.cursor.remaining();
        if need > free {
            return Err(Error::Full { requested: need as usize, available: free as usize });
        }
        Ok(())
    }

    /// Loads the consumer's index, checks it, and takes the room it gives. The byte before it is the cursor's limit:
    /// the cached `head`. The consumer may have read more since, never less; it is loaded again when the cached one
    /// does not suffice.
    ///
    /// `published` is what the shared `tail` says; for a batch that was forgotten see `Consumer::reload_tail`.
    pub(crate) fn reload_head(&mut self, published: u64) -> Result<(), Error> {
        if let Some(what) = self.poison {
            return Err(Error::Corrupt(what));
        }
        let bounds = self.cursor.bounds();
        // Acquire pairs with the consumer's Release of head: its reads of the bytes that it releases came before our
        // writes over them.
        let head = self.claim.memory.load64(Field64::Head, Acquire);
        if !bounds.contains(head) {
            return Err(self.poison(Corruption::HeadOutOfRange));
        }
        let tail = self.tail();
        let used = bounds.distance(head, tail);
        if used < bounds.distance(published, tail) {
            return Err(self.poison(Corruption::HeadPassedTail));
        }
        if bounds.size() - 1 - used < self.cursor.remaining() {
            return Err(self.poison(Corruption::HeadWentBack));
        }
        self.cursor.set_limit(bounds.before(head));
        Ok(())
    }

    /// Writes as much of `src` as fits now, and gives the count; 0 when the ring is full.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn write_partial(&mut self, src: &[u8]) -> Result<usize, Error> {
        if src.len() as u64 > self.cursor.remaining() {
            self.reload_head(self.tail())?;
        }
        let count = self.cursor.remaining().min(src.len() as u64) as usize;
        self.write(&src[..count])?;
        Ok(count)
    }

    /// Writes all of `src`, or drops and counts it when it does not fit now; tells whether it was written.
    ///
    /// # Errors
    /// [`Error::TooLong`] (not counted: it could never be written); [`Error::Corrupt`].
    ///
    /// # Examples
    /// ```
    /// # let ring = monshm_rbuf::StaticRing::<8>::new();
    /// # let me = core::num::NonZeroU32::MIN;
    /// # let mut producer = monshm_rbuf::Producer::claim(ring.memory(), me)?;
    /// # let consumer = monshm_rbuf::Consumer::claim(ring.memory(), me)?;
    /// assert!(producer.write_or_drop(b"fits")?);
    /// assert!(!producer.write_or_drop(b"no room")?);
    /// assert_eq!(consumer.drops().records, 1);
    /// # Ok::<(), monshm_rbuf::Error>(())
    /// ```
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
        self.reload_head(self.tail())?;
        Ok(self.cursor.remaining() as usize)
    }

    /// Counts one message of `len` bytes as dropped.
    #[cold]
    pub(crate) fn count_drop(&mut self, len: usize) {
        self.drops.0 = self.drops.0.wrapping_add(1);
        self.drops.1 = self.drops.1.wrapping_add(len as u64);
        // Relaxed: the next Release store of tail publishes them with what is written after the drop.
        self.claim.memory.store64(Field64::DroppedRecords, self.drops.0, Relaxed);
        self.claim.memory.store64(Field64::DroppedBytes, self.drops.1, Relaxed);
    }

    /// Whether the memory that was just written is still the ring's; poisons the handle if not.
    #[inline(always)]
    pub(crate) fn check_memory(&mut self) -> Result<(), Error> {
        if self.claim.memory.is_truncated() { Err(self.poison(Corruption::MemoryLost)) } else { Ok(()) }
    }

    /// Stops the handle for good: each later call comes to `reload_head` and is refused there.
    #[cold]
    pub(crate) fn poison(&mut self, what: Corruption) -> Error {
        self.poison = Some(what);
        self.cursor.exhaust();
        Error::Corrupt(what)
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

    /// Where a producer writes besides a message of `len` bytes, behind `held` that the consumer has not read: bytes
    /// from the begin of the ring on, each of a word, which is zero then. All are multiples of 8; the first begins in
    /// the middle.
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
        words().for_each(|word| unsafe { memory.store_word(begin + word as u64, MARK) });
        producer.write(&bytes[..len]).unwrap();
        let own = (HALF + held) % SIZE..(HALF + held) % SIZE + len;
        // SAFETY: words of the ring.
        let value = |word: usize| unsafe { memory.load_word(begin + word as u64) };
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
        assert_eq!(touched(0, 4096), lines(HALF + 4096, 64), "through as many lines as are prefetched at once");
        assert_eq!(touched(0, 4160), [HALF + 4160], "through one more: those are too many");
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
