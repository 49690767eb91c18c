//! Writing records: whole, by grant, checked, or dropped and counted.
//!
//! The header's bits are in `header`; what makes room and publishes is in `producer`.

use crate::error::{Corruption, Error};
use crate::grant::{WriteGrant, check_range};
use crate::memory::Memory;
use crate::producer::Producer;
use crate::record::checksum;
use crate::record::header::{HEADER_LEN, Header, Label};

/// A record being written, invisible until it is committed. Dropping it aborts.
///
/// Payload bytes that are committed without having been written may hold anything.
pub type RecordWriteGrant<'a, M> = WriteGrant<'a, M, ReservedRecord>;

/// The label of the record that a [`RecordWriteGrant`] reserves, and where its header goes.
#[derive(Clone, Copy, Debug)]
pub struct ReservedRecord {
    label: Label,
    place: Place,
}

/// Where a record goes: behind `padding` bytes, which are 0 or reach to the end of the ring.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: u64,
    padding: u64,
}

impl<M: Memory> Producer<M> {
    /// Writes a record, visible when the call returns.
    ///
    /// # Errors
    /// [`Error::Full`]; [`Error::TooLong`] beyond [`record_limit`](Self::record_limit);
    /// [`Error::Unaligned`] when bytes were written in between; [`Error::Corrupt`].
    ///
    /// # Examples
    /// ```
    /// # use monshm_rbuf::{Consumer, Label, Producer, StaticRing};
    /// # let ring = StaticRing::<128>::new();
    /// # let (memory, me) = (ring.memory(), core::num::NonZeroU32::MIN);
    /// # let mut producer = Producer::claim(memory, me)?;
    /// # let mut consumer = Consumer::claim(memory, me)?;
    /// producer.push(Label { kind: 7, flags: 0, tag: 1 }, b"payload")?;
    /// assert_eq!(consumer.peek_record()?.record().label().tag, 1);
    /// # Ok::<(), monshm_rbuf::Error>(())
    /// ```
    #[inline(always)]
    pub fn push(&mut self, label: Label, payload: &[u8]) -> Result<(), Error> {
        let published = self.tail();
        self.stage_record(label, payload, published)?;
        self.publish(published);
        Ok(())
    }

    /// Writes a record with a sequence number and a CRC-32C, which the consumer verifies.
    ///
    /// # Errors
    /// As for [`push`](Self::push); the longest payload is 8 bytes less.
    ///
    /// # Examples
    /// ```
    /// # use monshm_rbuf::{Consumer, Label, Producer, StaticRing};
    /// # let ring = StaticRing::<128>::new();
    /// # let (memory, me) = (ring.memory(), core::num::NonZeroU32::MIN);
    /// # let mut producer = Producer::claim(memory, me)?;
    /// # let mut consumer = Consumer::claim(memory, me)?;
    /// producer.push_checked(Label::kind(7), b"payload")?;
    /// assert!(consumer.pop(&mut [0; 16])?.is_checked());
    /// # Ok::<(), monshm_rbuf::Error>(())
    /// ```
    pub fn push_checked(&mut self, label: Label, payload: &[u8]) -> Result<(), Error> {
        // The length must be known to fit before it goes into a header.
        self.check_len(payload.len(), Header::record(label, 0).checked(false).overhead())?;
        let header = Header::record(label, payload.len()).checked(self.sequence.is_none());
        let sequence = self.sequence.unwrap_or(0);
        let published = self.tail();
        let place = self.place(header.extent(), published)?;
        let sum = checksum(header, sequence, payload);
        // SAFETY: `place` found room for the whole extent from place.at on, contiguous and aligned to 8; the
        // check word follows the header, the payload the check word.
        unsafe {
            self.claim.memory.store_word(place.at + 8, u64::from(sum) << 32 | u64::from(sequence));
            self.claim.memory.copy_in(place.at + header.overhead(), payload);
        }
        self.finish(place, header);
        self.sequence = Some(sequence.wrapping_add(1));
        self.publish(published);
        self.check_memory()
    }

    /// Writes a record, or drops and counts it when the ring is full; tells whether it was written.
    ///
    /// # Errors
    /// As for [`push`](Self::push), without [`Error::Full`].
    ///
    /// # Examples
    /// ```
    /// # use monshm_rbuf::{Consumer, Label, Producer, StaticRing};
    /// # let ring = StaticRing::<128>::new();
    /// # let (memory, me) = (ring.memory(), core::num::NonZeroU32::MIN);
    /// # let mut producer = Producer::claim(memory, me)?;
    /// # let mut consumer = Consumer::claim(memory, me)?;
    /// assert!(producer.push_or_drop(Label::kind(7), &[1; 56])?);
    /// assert!(producer.push_or_drop(Label::kind(7), &[2; 40])?);
    /// assert!(!producer.push_or_drop(Label::kind(7), &[3; 40])?);
    /// assert_eq!(consumer.drops().bytes, 40);
    /// # Ok::<(), monshm_rbuf::Error>(())
    /// ```
    pub fn push_or_drop(&mut self, label: Label, payload: &[u8]) -> Result<bool, Error> {
        match self.push(label, payload) {
            Err(Error::Full { .. }) => {
                self.count_drop(payload.len());
                Ok(false)
            }
            other => other.map(|()| true),
        }
    }

    /// Reserves a record of up to `len` payload bytes.
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    ///
    /// # Examples
    /// ```
    /// # use monshm_rbuf::{Consumer, Label, Producer, StaticRing};
    /// # let ring = StaticRing::<128>::new();
    /// # let (memory, me) = (ring.memory(), core::num::NonZeroU32::MIN);
    /// # let mut producer = Producer::claim(memory, me)?;
    /// # let mut consumer = Consumer::claim(memory, me)?;
    /// let mut grant = producer.reserve_record(Label::kind(7), 16)?;
    /// grant.write_at(0, b"payload")?;
    /// grant.commit(7)?;
    /// assert_eq!(consumer.pop(&mut [0; 16])?.len(), 7);
    /// # Ok::<(), monshm_rbuf::Error>(())
    /// ```
    pub fn reserve_record(&mut self, label: Label, len: usize) -> Result<RecordWriteGrant<'_, M>, Error> {
        self.check_len(len, Header::record(label, 0).overhead())?;
        let place = self.place(Header::record(label, len).extent(), self.tail())?;
        let start = place.at + HEADER_LEN as u64;
        Ok(WriteGrant { producer: self, start, len, kind: ReservedRecord { label, place } })
    }

    /// The longest payload of a record, bytes: about half the ring, since a record is contiguous.
    pub fn record_limit(&self) -> usize {
        (self.longest as usize).saturating_sub(HEADER_LEN)
    }

    /// Writes a record, not yet visible. `published`: where the shared `tail` is.
    #[inline(always)]
    pub(crate) fn stage_record(&mut self, label: Label, payload: &[u8], published: u64) -> Result<(), Error> {
        self.check_len(payload.len(), HEADER_LEN as u64)?;
        let header = Header::record(label, payload.len());
        let at = self.tail();
        match self.cursor.contiguous(header.extent()) {
            Some(after) if at & 7 == 0 => {
                // SAFETY: [at, after) is inside the bounds (`Cursor::contiguous`), and the payload follows the header
                // in it; at is a multiple of 8.
                unsafe {
                    self.claim.memory.store_word(at, header.word);
                    self.claim.memory.copy_in(at + HEADER_LEN as u64, payload);
                }
                self.cursor.advance_to(after);
                self.check_memory()
            }
            _ => self.stage_record_wrapping(header, payload, published),
        }
    }

    /// The same, where the cached `head` does not suffice, or the end of the ring is reached.
    #[inline(never)]
    fn stage_record_wrapping(&mut self, header: Header, payload: &[u8], published: u64) -> Result<(), Error> {
        let place = self.place(header.extent(), published)?;
        // SAFETY: `place` found room for the whole extent from place.at on, contiguous; the payload follows
        // the header in it.
        unsafe { self.claim.memory.copy_in(place.at + header.overhead(), payload) };
        self.finish(place, header);
        self.check_memory()
    }

    /// Whether a payload can be in a record of this ring at all.
    #[inline(always)]
    fn check_len(&self, payload_len: usize, overhead: u64) -> Result<(), Error> {
        if (payload_len as u64).checked_add(overhead).is_some_and(|extent| extent <= self.longest) {
            return Ok(());
        }
        let limit = (self.longest as usize).saturating_sub(overhead as usize);
        Err(Error::TooLong { requested: payload_len, limit })
    }

    /// Finds room for `extent` contiguous bytes, a multiple of 8, at most the record limit.
    ///
    /// After `Ok(place)`: `place.at` is a multiple of 8, `[place.at, place.at + extent)` is inside the bounds,
    /// and `place.padding + extent` bytes are free.
    #[inline(always)]
    fn place(&mut self, extent: u64, published: u64) -> Result<Place, Error> {
        let at = self.tail();
        if at & 7 != 0 {
            return Err(Error::Unaligned);
        }
        match self.cursor.contiguous(extent) {
            Some(_) => Ok(Place { at, padding: 0 }),
            None => self.place_wrapping(extent, published),
        }
    }

    /// The same, where the cached `head` does not suffice, or the end of the ring is reached.
    #[inline(never)]
    fn place_wrapping(&mut self, extent: u64, published: u64) -> Result<Place, Error> {
        let (at, bounds) = (self.tail(), self.cursor.bounds());
        let until_end = bounds.end() - at;
        let place = if extent <= until_end {
            Place { at, padding: 0 }
        } else {
            Place { at: bounds.begin(), padding: until_end }
        };
        let room = self.ensure_writable(place.padding + extent, published);
        // The limit is the byte before `head`.
        if self.cursor.limit() & 7 != 7 && !matches!(room, Err(Error::Corrupt(_))) {
            return Err(self.poison(Corruption::HeadMisaligned));
        }
        room.map(|()| place)
    }

    /// Writes the headers of a placed record and passes it.
    #[inline(always)]
    fn finish(&mut self, place: Place, header: Header) {
        let extent = header.extent();
        // SAFETY: place.at is a multiple of 8 with room for the record (`place`).
        unsafe { self.claim.memory.store_word(place.at, header.word) };
        match self.cursor.contiguous(extent) {
            Some(after) if place.padding == 0 => self.cursor.advance_to(after),
            _ => self.finish_wrapping(place.padding, extent),
        }
    }

    /// The same, where the end of the ring is reached.
    #[inline(never)]
    fn finish_wrapping(&mut self, padding: u64, extent: u64) {
        if padding != 0 {
            // SAFETY: padding begins at the cursor, a multiple of 8 below end.
            unsafe { self.claim.memory.store_word(self.tail(), Header::padding(padding).word) };
        }
        self.cursor.advance(padding + extent);
    }
}

impl<M: Memory> RecordWriteGrant<'_, M> {
    /// Publishes the record with the first `count` bytes as its payload.
    ///
    /// # Errors
    /// [`Error::OutOfGrant`] when `count` is more than was reserved; the record is aborted then.
    #[inline]
    pub fn commit(self, count: usize) -> Result<(), Error> {
        check_range(0, count, self.len)?;
        let published = self.producer.tail();
        self.producer.finish(self.kind.place, Header::record(self.kind.label, count));
        self.producer.publish(published);
        self.producer.check_memory()
    }
}
