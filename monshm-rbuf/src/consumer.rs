//! The reading endpoint: bytes, whole or in part; skip; what the producer dropped.
//!
//! The plain ring comes first: `head`, the cached `tail`, copy out, release. Then the polls, where the policy is
//! asked. Grants, batches and records build on it in files of their own. It never waits for the other side, and it
//! never writes the ring's bytes.

use core::num::NonZeroU32;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::claim::{Claim, ConsumerRole, endpoint};
use crate::cursor::{Cursor, Polled};
use crate::error::{Corruption, Error};
use crate::memory::{Field64, Memory, copy_out_wrapping};
use crate::policy::{Adaptive, Burst, Policy, SHORT};

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
/// Claimed exclusively; dropping it closes its side and releases the claim. The producer, or a hostile peer in its
/// place, may change every shared byte at any time; what cannot be is [`Error::Corrupt`], from then on and for ever.
///
/// `P` decides when it polls: [`Adaptive`] finds out what is fast, [`Plain`](crate::Plain) polls at once.
///
/// # Examples
/// ```
/// # use core::num::NonZeroU32;
/// use monshm_rbuf::{Consumer, Error, Producer, StaticRing};
/// let ring = StaticRing::<64>::new();
/// let mut producer = Producer::claim(ring.memory(), NonZeroU32::MIN)?;
/// let mut consumer = Consumer::claim(ring.memory(), NonZeroU32::MIN)?;
/// producer.write(b"abcdef")?;
/// let mut bytes = [0; 4];
/// consumer.read(&mut bytes)?;
/// assert_eq!(&bytes, b"abcd");
/// assert_eq!(consumer.read(&mut bytes), Err(Error::Empty { requested: 4, available: 2 }));
/// assert_eq!(consumer.read_partial(&mut bytes)?, 2);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Consumer<M: Memory, P: Policy = Adaptive> {
    pub(crate) claim: Claim<M, ConsumerRole>,
    /// `head` and the cached `tail`: see [`Consumer::head`] and [`Consumer::cached_tail`].
    pub(crate) cursor: Cursor,
    /// The number of the next checked record. `None`: not known yet.
    pub(crate) sequence: Option<u32>,
    /// The number after that of the checked record at `head`, once its copy was verified.
    pub(crate) verified: Option<u32>,
    /// The drop counters as they stood when they were last asked for.
    drops_seen: Drops,
    poison: Option<Corruption>,
    policy: P,
}

endpoint!(Consumer, P: Policy);

impl<M: Memory> Consumer<M> {
    /// Claims the consumer's role for `claimant`, and continues at `head`.
    ///
    /// # Errors
    /// [`Error::Claimed`] when somebody holds the role; [`Error::Corrupt`] when an index is out of range.
    pub fn claim(memory: M, claimant: NonZeroU32) -> Result<Self, Error> {
        Self::claim_with(memory, claimant, Adaptive::default())
    }

    /// Claims the role in the place of `dead`, of which the caller knows that it does not run any more.
    ///
    /// What `dead` had read and not released is read again.
    ///
    /// # Errors
    /// [`Error::Claimed`] when somebody else holds the role by now, [`Error::NotClaimed`] when nobody does;
    /// [`Error::Corrupt`] when an index is out of range.
    ///
    /// # Examples
    /// ```
    /// # use core::num::NonZeroU32;
    /// # use monshm_rbuf::{Consumer, StaticRing};
    /// # let ring = StaticRing::<64>::new();
    /// # let (dead, me) = (NonZeroU32::new(1).unwrap(), NonZeroU32::new(2).unwrap());
    /// # core::mem::forget(Consumer::claim(ring.memory(), dead)?);
    /// assert!(Consumer::claim(ring.memory(), me).is_err());
    /// let consumer = Consumer::take_over(ring.memory(), dead, me)?;
    /// assert_eq!(consumer.claimant(), me);
    /// # Ok::<(), monshm_rbuf::Error>(())
    /// ```
    pub fn take_over(memory: M, dead: NonZeroU32, claimant: NonZeroU32) -> Result<Self, Error> {
        Self::take_over_with(memory, dead, claimant, Adaptive::default())
    }
}

impl<M: Memory, P: Policy> Consumer<M, P> {
    /// As [`claim`](Consumer::claim), with a policy.
    ///
    /// # Errors
    /// As for [`claim`](Consumer::claim).
    pub fn claim_with(memory: M, claimant: NonZeroU32, policy: P) -> Result<Self, Error> {
        Self::start(Claim::new(memory, claimant)?, policy)
    }

    /// As [`take_over`](Consumer::take_over), with a policy.
    ///
    /// # Errors
    /// As for [`take_over`](Consumer::take_over).
    pub fn take_over_with(memory: M, dead: NonZeroU32, claimant: NonZeroU32, policy: P) -> Result<Self, Error> {
        Self::start(Claim::take_over(memory, dead, claimant)?, policy)
    }

    fn start(claim: Claim<M, ConsumerRole>, policy: P) -> Result<Self, Error> {
        let bounds = claim.memory.bounds();
        // Relaxed: the claim ordered it.
        let head = claim.memory.load64(Field64::Head, Relaxed);
        if !bounds.contains(head) {
            return Err(Error::Corrupt(Corruption::HeadOutOfRange));
        }
        let mut consumer = Consumer {
            claim,
            cursor: Cursor::new(bounds, head),
            sequence: None,
            verified: None,
            drops_seen: Drops::default(),
            poison: None,
            policy,
        };
        consumer.reload_tail(head)?;
        consumer.policy.start(bounds, head, consumer.cached_tail());
        Ok(consumer)
    }

    /// `head`: the first byte that was not read. Nobody else changes it, so this is exact; the shared word of that name
    /// follows when the bytes before it are released, and is never loaded again.
    #[inline(always)]
    pub(crate) fn head(&self) -> u64 {
        self.cursor.position()
    }

    /// The cached `tail`: the first byte that was not written when the shared word was loaded last. The producer may
    /// have written more since, never less; it is loaded again when the cached one does not suffice.
    #[inline(always)]
    pub(crate) fn cached_tail(&self) -> u64 {
        self.cursor.limit()
    }

    /// Reads `dst.len()` bytes and releases them, or none.
    ///
    /// # Errors
    /// [`Error::Empty`] or [`Error::TooLong`], and nothing was read; [`Error::Corrupt`].
    #[inline(always)]
    pub fn read(&mut self, dst: &mut [u8]) -> Result<(), Error> {
        self.take(dst, self.head())?;
        self.release();
        Ok(())
    }

    /// Copies the next `dst.len()` bytes out, not yet released. `released`: where the shared `head` is.
    #[inline(always)]
    pub(crate) fn take(&mut self, dst: &mut [u8], released: u64) -> Result<(), Error> {
        let len = dst.len() as u64;
        let after = match self.cursor.contiguous(len) {
            Some(after) => after,
            None => match self.try_poll(len, len, released) {
                Polled::Found(after) => after,
                Polled::Nothing => return Err(self.empty(len)),
                Polled::Unclear => return self.take_wrapping(dst, released),
            },
        };
        // SAFETY: [head, after) is inside the bounds, which are the memory's own (`Cursor::contiguous`).
        unsafe { self.claim.memory.copy_out(self.head(), dst) };
        self.check_memory()?;
        self.cursor.advance_to(after);
        Ok(())
    }

    /// The same, where a poll in full is needed, or the end of the ring is reached.
    #[inline(never)]
    fn take_wrapping(&mut self, dst: &mut [u8], released: u64) -> Result<(), Error> {
        let len = dst.len() as u64;
        self.ensure_readable(len, len, released)?;
        // SAFETY: the bounds are the memory's own and contain head; len ≤ remaining < size.
        unsafe { copy_out_wrapping(&self.claim.memory, self.cursor.bounds(), self.head(), dst) };
        self.check_memory()?;
        self.cursor.advance(len);
        Ok(())
    }

    /// Gives all that was read back to the producer.
    #[inline(always)]
    pub(crate) fn release(&mut self) {
        let head = self.head();
        if self.policy.is_flush_due(head) {
            self.flush();
        }
        // Release pairs with the producer's Acquire of head: our reads of the bytes come before it writes over them.
        self.claim.memory.store64(Field64::Head, head, Release);
    }

    /// Makes sure that `need` bytes can be read, or says why they cannot. `message`: bytes of one message;
    /// `released`: where the shared `head` is.
    pub(crate) fn ensure_readable(&mut self, need: u64, message: u64, released: u64) -> Result<(), Error> {
        if need <= self.cursor.remaining() && self.poison.is_none() {
            return Ok(());
        }
        self.poll(message, released)?;
        if need > self.capacity() as u64 {
            return Err(Error::TooLong { requested: need as usize, limit: self.capacity() });
        }
        if need > self.cursor.remaining() {
            return Err(self.empty(need));
        }
        Ok(())
    }

    /// Loads the producer's index, checks it, and takes the data it gives.
    ///
    /// `released` is what the shared `head` says. After a batch that was forgotten, so that the shared word says
    /// less, a `tail` that goes back into what that batch read passes for new data, inside the ring as ever.
    pub(crate) fn reload_tail(&mut self, released: u64) -> Result<(), Error> {
        self.check_poison()?;
        let bounds = self.cursor.bounds();
        // Acquire pairs with the producer's Release of tail: the bytes before it are seen.
        let tail = self.claim.memory.load64(Field64::Tail, Acquire);
        if !bounds.contains(tail) {
            return Err(self.poison(Corruption::TailOutOfRange));
        }
        let known = bounds.distance(released, self.head()) + self.cursor.remaining();
        if bounds.distance(released, tail) < known {
            return Err(self.poison(Corruption::TailWentBack));
        }
        self.cursor.set_limit(tail);
        Ok(())
    }

    /// Polls once for the next `len` bytes in one piece, by one load; what takes more to judge is left for
    /// [`poll`](Self::poll). `message`: bytes of one message; `released`: where the shared `head` is.
    #[inline(always)]
    pub(crate) fn try_poll(&mut self, len: u64, message: u64, released: u64) -> Polled<u64> {
        if released > self.head() {
            return Polled::Unclear;
        }
        // Acquire: as in `reload_tail`.
        let tail = self.claim.memory.load64(Field64::Tail, Acquire);
        match self.cursor.extend(tail) {
            Polled::Found(gained) => {
                self.policy.found(self.cursor.position(), Burst { gained, message });
                if P::DELAYS_LOADS {
                    self.cursor.delay_position();
                }
                self.cursor.contiguous(len).map_or(Polled::Unclear, Polled::Found)
            }
            Polled::Nothing if self.cursor.ends_before_wrap(len) => Polled::Nothing,
            _ => Polled::Unclear,
        }
    }

    /// Polls in full: when the policy says, and with each check.
    fn poll(&mut self, message: u64, released: u64) -> Result<(), Error> {
        for _ in 0..self.policy.take_spins() {
            self.claim.memory.pause();
        }
        let before = self.cursor.remaining();
        self.reload_tail(released)?;
        let gained = self.cursor.remaining() - before;
        if gained > 0 {
            let (head, tail, memory) = (self.head(), self.cached_tail(), &self.claim.memory);
            self.policy.polled(head, tail, Burst { gained, message }, || memory.clock());
        }
        self.cursor.set_horizon(self.policy.horizon());
        Ok(())
    }

    /// Flushes the lines that were read, before they are released.
    ///
    /// Not inline: the instruction between the copies holds them up.
    #[inline(never)]
    fn flush(&mut self) {
        let [first, second] = self.policy.take_flush(self.cursor.position());
        self.claim.memory.flush(first);
        self.claim.memory.flush(second);
    }

    /// The error that the next `need` bytes are not there.
    #[inline(always)]
    pub(crate) fn empty(&self, need: u64) -> Error {
        Error::Empty { requested: need as usize, available: self.cursor.remaining() as usize }
    }

    /// Reads what is there, up to `dst.len()` bytes, and gives the count; 0 when the ring is empty.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn read_partial(&mut self, dst: &mut [u8]) -> Result<usize, Error> {
        if dst.len() as u64 > self.cursor.remaining() {
            self.poll((dst.len() as u64).min(SHORT), self.head())?;
        }
        let count = self.cursor.remaining().min(dst.len() as u64) as usize;
        self.read(&mut dst[..count])?;
        Ok(count)
    }

    /// Discards `count` bytes, or none.
    ///
    /// # Errors
    /// [`Error::Empty`] or [`Error::TooLong`], and nothing was discarded; [`Error::Corrupt`].
    ///
    /// # Examples
    /// ```
    /// # let ring = monshm_rbuf::StaticRing::<64>::new();
    /// # let (memory, me) = (ring.memory(), core::num::NonZeroU32::MIN);
    /// # let mut producer = monshm_rbuf::Producer::claim(memory, me)?;
    /// # let mut consumer = monshm_rbuf::Consumer::claim(memory, me)?;
    /// producer.write(b"abcdef")?;
    /// consumer.skip(4)?;
    /// assert_eq!(consumer.available()?, 2);
    /// # Ok::<(), monshm_rbuf::Error>(())
    /// ```
    pub fn skip(&mut self, count: usize) -> Result<(), Error> {
        self.pass(count)?;
        self.release();
        Ok(())
    }

    /// Passes the next `count` bytes, not yet released.
    #[inline]
    pub(crate) fn pass(&mut self, count: usize) -> Result<(), Error> {
        self.ensure_readable(count as u64, count as u64, self.head())?;
        self.cursor.advance(count as u64);
        Ok(())
    }

    /// Bytes that can be read now. The producer can only add to them.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn available(&mut self) -> Result<usize, Error> {
        self.reload_tail(self.head())?;
        Ok(self.cursor.remaining() as usize)
    }

    /// All that was ever dropped on this ring, as the producer says.
    ///
    /// The two numbers are not one snapshot. A caller that has read a message which was written after a drop sees the
    /// drop.
    pub fn drops(&self) -> Drops {
        // Relaxed: plain numbers; the Acquire of tail orders them for messages already read.
        Drops {
            records: self.claim.memory.load64(Field64::DroppedRecords, Relaxed),
            bytes: self.claim.memory.load64(Field64::DroppedBytes, Relaxed),
        }
    }

    /// What was dropped since the last call of this function, or since the ring was made.
    ///
    /// # Examples
    /// ```
    /// # let ring = monshm_rbuf::StaticRing::<8>::new();
    /// # let (memory, me) = (ring.memory(), core::num::NonZeroU32::MIN);
    /// # let mut producer = monshm_rbuf::Producer::claim(memory, me)?;
    /// # let mut consumer = monshm_rbuf::Consumer::claim(memory, me)?;
    /// assert!(producer.write_or_drop(b"fits")?);
    /// assert!(!producer.write_or_drop(b"no room")?);
    /// assert_eq!(consumer.take_drops().bytes, 7);
    /// assert_eq!(consumer.take_drops().bytes, 0);
    /// # Ok::<(), monshm_rbuf::Error>(())
    /// ```
    pub fn take_drops(&mut self) -> Drops {
        let now = self.drops();
        let before = core::mem::replace(&mut self.drops_seen, now);
        Drops { records: now.records.wrapping_sub(before.records), bytes: now.bytes.wrapping_sub(before.bytes) }
    }

    /// Whether the memory that was just read is still the ring's; poisons the handle if not.
    #[inline(always)]
    pub(crate) fn check_memory(&mut self) -> Result<(), Error> {
        if self.claim.memory.is_truncated() { Err(self.poison(Corruption::MemoryLost)) } else { Ok(()) }
    }

    /// Whether the handle has not found corruption yet.
    #[inline(always)]
    pub(crate) fn check_poison(&self) -> Result<(), Error> {
        match self.poison {
            Some(what) => Err(Error::Corrupt(what)),
            None => Ok(()),
        }
    }

    /// Stops the handle for good: each later call comes to `reload_tail` and is refused there.
    #[cold]
    pub(crate) fn poison(&mut self, what: Corruption) -> Error {
        self.poison = Some(what);
        self.cursor.exhaust();
        Error::Corrupt(what)
    }
}
