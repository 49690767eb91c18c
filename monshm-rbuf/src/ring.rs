//! The reference's locked use: `append`, `read`, `skip`, `avail`, `len` by a caller that holds the lock.
//!
//! The lock belongs to the layer above. Without it two callers may overwrite each other's bytes; never more than
//! that. A role that a [`Producer`](crate::Producer) or [`Consumer`](crate::Consumer) claims is refused here, so that
//! both uses can go on at once: many locked writers and one lock-free reader, for instance.

use core::num::NonZeroU32;
use core::sync::atomic::Ordering::{Acquire, Release};

use crate::bounds::Bounds;
use crate::error::{Corruption, Error};
use crate::memory::{Field32, Field64, Memory, check_memory, copy_in_wrapping, copy_out_wrapping};

/// A ring for use under a lock. Holds no state of its own besides the bounds.
///
/// # Examples
/// ```
/// use monshm_rbuf::{Ring, StaticRing};
/// let memory = StaticRing::<64>::new();
/// let ring = Ring::new(memory.memory());
/// ring.append(b"abcdef")?;
/// let mut bytes = [0; 4];
/// ring.read(&mut bytes)?;
/// ring.skip(1)?;
/// assert_eq!((&bytes, ring.len()?, ring.avail()?), (b"abcd", 1, 62));
/// # Ok::<(), monshm_rbuf::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Ring<M: Memory> {
    memory: M,
    bounds: Bounds,
}

impl<M: Memory> Ring<M> {
    /// Uses the ring in `memory`.
    pub fn new(memory: M) -> Self {
        let bounds = memory.bounds();
        Ring { memory, bounds }
    }

    /// Appends all of `src`, or nothing. One store of `tail`, after the bytes, makes it take effect.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::TooLong`]; [`Error::Claimed`] while a producer claims the ring;
    /// [`Error::Corrupt`].
    pub fn append(&self, src: &[u8]) -> Result<(), Error> {
        self.refuse_claimed(Field32::ProducerClaim)?;
        let (head, tail) = self.indices()?;
        let available = self.bounds.capacity() - self.bounds.distance(head, tail) as usize;
        if src.len() > available {
            return Err(self.refusal(src.len(), Error::Full { requested: src.len(), available }));
        }
        // SAFETY: bounds are the memory's own and contain tail (checked in `indices`); src.len() ≤ capacity.
        let after = unsafe { copy_in_wrapping(&self.memory, self.bounds, tail, src) };
        // Release pairs with the Acquire of tail in `indices` and in the consumer: the bytes are seen first.
        self.memory.store64(Field64::Tail, after, Release);
        check_memory(&self.memory)
    }

    /// Reads `dst.len()` bytes, or none. One store of `head`, after the copy, makes it take effect.
    ///
    /// # Errors
    /// [`Error::Empty`] or [`Error::TooLong`]; [`Error::Claimed`] while a consumer claims the ring;
    /// [`Error::Corrupt`].
    pub fn read(&self, dst: &mut [u8]) -> Result<(), Error> {
        let head = self.data(dst.len())?;
        // SAFETY: bounds are the memory's own and contain head (checked in `data`); dst.len() ≤ capacity.
        let after = unsafe { copy_out_wrapping(&self.memory, self.bounds, head, dst) };
        check_memory(&self.memory)?;
        self.release(after);
        Ok(())
    }

    /// Discards `count` bytes, or none.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn skip(&self, count: usize) -> Result<(), Error> {
        let head = self.data(count)?;
        self.release(self.bounds.advance(head, count as u64));
        Ok(())
    }

    /// Bytes that are free.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn avail(&self) -> Result<usize, Error> {
        Ok(self.bounds.capacity() - self.len()?)
    }

    /// Bytes of data.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn len(&self) -> Result<usize, Error> {
        let (head, tail) = self.indices()?;
        Ok(self.bounds.distance(head, tail) as usize)
    }

    /// Whether there is no data.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len()? == 0)
    }

    /// The most bytes that the ring can hold: its size less 1.
    pub fn capacity(&self) -> usize {
        self.bounds.capacity()
    }

    /// The offset of the first byte of the ring: the private truth, not the shared word.
    pub fn begin(&self) -> u64 {
        self.bounds.begin()
    }

    /// The offset of the first byte after the ring: the private truth, not the shared word.
    pub fn end(&self) -> u64 {
        self.bounds.end()
    }

    /// The offset of the first data byte, as the shared word says now.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it is out of range.
    pub fn head(&self) -> Result<u64, Error> {
        Ok(self.indices()?.0)
    }

    /// The offset of the first free byte, as the shared word says now.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it is out of range.
    pub fn tail(&self) -> Result<u64, Error> {
        Ok(self.indices()?.1)
    }

    /// The memory it uses.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// Both indices, loaded once each and checked.
    fn indices(&self) -> Result<(u64, u64), Error> {
        // Acquire pairs with the Release of head by a reader: its copy is done before we write over it.
        let head = self.memory.load64(Field64::Head, Acquire);
        if !self.bounds.contains(head) {
            return Err(Error::Corrupt(Corruption::HeadOutOfRange));
        }
        // Acquire pairs with the Release of tail by a writer: the bytes before it are seen.
        let tail = self.memory.load64(Field64::Tail, Acquire);
        if !self.bounds.contains(tail) {
            return Err(Error::Corrupt(Corruption::TailOutOfRange));
        }
        Ok((head, tail))
    }

    /// Where `need` bytes of data begin, or why there are none.
    fn data(&self, need: usize) -> Result<u64, Error> {
        self.refuse_claimed(Field32::ConsumerClaim)?;
        let (head, tail) = self.indices()?;
        let available = self.bounds.distance(head, tail) as usize;
        if need > available {
            return Err(self.refusal(need, Error::Empty { requested: need, available }));
        }
        Ok(head)
    }

    fn release(&self, head: u64) {
        // Release pairs with the Acquire of head in `indices` and in the producer: our copy is done first.
        self.memory.store64(Field64::Head, head, Release);
    }

    fn refusal(&self, requested: usize, for_now: Error) -> Error {
        let limit = self.bounds.capacity();
        if requested > limit { Error::TooLong { requested, limit } } else { for_now }
    }

    fn refuse_claimed(&self, role: Field32) -> Result<(), Error> {
        // Acquire pairs with the release of the claim: its last index is seen.
        match NonZeroU32::new(self.memory.load32(role, Acquire)) {
            Some(by) => Err(Error::Claimed { by }),
            None => Ok(()),
        }
    }
}
