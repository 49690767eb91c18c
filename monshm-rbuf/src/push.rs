//! Writing records: whole, by grant, checked, or dropped and counted.
//!
//! The header's bits are in `record`; what makes room and publishes is in `producer`.

use crate::crc::Crc32c;
use crate::error::{Corruption, Error};
use crate::grant::inside;
use crate::memory::Memory;
use crate::producer::Producer;
use crate::record::{HEADER_LEN, Header, Label};

/// A record being written, invisible until [`commit`](Self::commit). Dropping it aborts.
///
/// Payload bytes that are committed without having been written may hold anything.
#[derive(Debug)]
#[must_use = "a record that is not committed is aborted"]
pub struct RecordWriteGrant<'a, M: Memory> {
    producer: &'a mut Producer<M>,
    label: Label,
    /// Payload bytes reserved.
    len: usize,
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
    #[inline(always)]
    pub fn push(&mut self, label: Label, payload: &[u8]) -> Result<(), Error> {
        let from = self.cursor.at();
        self.stage_record(label, payload, from)?;
        self.publish(from);
        Ok(())
    }

    /// Writes a record with a sequence number and a CRC-32C, which the consumer verifies.
    ///
    /// # Errors
    /// As for [`push`](Self::push); the longest payload is 8 bytes less.
    pub fn push_checked(&mut self, label: Label, payload: &[u8]) -> Result<(), Error> {
        // The length must be known to fit before it goes into a header.
        self.check_len(payload.len(), Header::record(label, 0).checked(false).overhead())?;
        let header = Header::record(label, payload.len()).checked(self.sequence.is_none());
        let sequence = self.sequence.unwrap_or(0);
        let from = self.cursor.at();
        let place = self.place(header.extent(), from)?;
        let sum = checksum(header, sequence, payload);
        // SAFETY: `place` found room for the whole extent from place.at on, contiguous and aligned to 8; the
        // check word follows the header, the payload the check word.
        unsafe {
            self.seat.memory.store_header(place.at + 8, u64::from(sum) << 32 | u64::from(sequence));
            self.seat.memory.copy_in(place.at + header.overhead(), payload);
        }
        self.finish(place, header);
        self.sequence = Some(sequence.wrapping_add(1));
        self.publish(from);
        self.kept()
    }

    /// Writes a record, or drops and counts it when the ring is full; tells whether it was written.
    ///
    /// # Errors
    /// As for [`push`](Self::push), without [`Error::Full`].
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
    pub fn reserve_record(&mut self, label: Label, len: usize) -> Result<RecordWriteGrant<'_, M>, Error> {
        self.check_len(len, Header::record(label, 0).overhead())?;
        let place = self.place(Header::record(label, len).extent(), self.cursor.at())?;
        Ok(RecordWriteGrant { producer: self, label, len, place })
    }

    /// The longest payload of a record, bytes: about half the ring, since a record is contiguous.
    pub fn record_limit(&self) -> usize {
        (self.longest as usize).saturating_sub(HEADER_LEN)
    }

    /// Writes a record, not yet visible; what was written from `from` on is not either.
    #[inline(always)]
    pub(crate) fn stage_record(&mut self, label: Label, payload: &[u8], from: u64) -> Result<(), Error> {
        self.check_len(payload.len(), HEADER_LEN as u64)?;
        let header = Header::record(label, payload.len());
        let at = self.cursor.at();
        match self.cursor.ahead(header.extent()) {
            Some(after) if at & 7 == 0 => {
                // SAFETY: [at, after) is inside the bounds (`Cursor::ahead`), and the payload follows the header in it; at
                // is a multiple of 8.
                unsafe {
                    self.seat.memory.store_header(at, header.word);
                    self.seat.memory.copy_in(at + HEADER_LEN as u64, payload);
                }
                self.cursor.step_to(after);
                self.kept()
            }
            _ => self.stage_record_far(header, payload, from),
        }
    }

    /// The same, where room must be looked for, or the end of the ring is reached.
    #[inline(never)]
    fn stage_record_far(&mut self, header: Header, payload: &[u8], from: u64) -> Result<(), Error> {
        let place = self.place(header.extent(), from)?;
        // SAFETY: `place` found room for the whole extent from place.at on, contiguous; the payload follows
        // the header in it.
        unsafe { self.seat.memory.copy_in(place.at + header.overhead(), payload) };
        self.finish(place, header);
        self.kept()
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
    fn place(&mut self, extent: u64, from: u64) -> Result<Place, Error> {
        let at = self.cursor.at();
        if at & 7 != 0 {
            return Err(Error::Unaligned);
        }
        match self.cursor.ahead(extent) {
            Some(_) => Ok(Place { at, padding: 0 }),
            None => self.place_far(extent, from),
        }
    }

    /// The same, where room must be looked for, or the end of the ring is reached.
    #[inline(never)]
    fn place_far(&mut self, extent: u64, from: u64) -> Result<Place, Error> {
        let (at, bounds) = (self.cursor.at(), self.cursor.bounds());
        let until_end = bounds.end() - at;
        let place = if extent <= until_end {
            Place { at, padding: 0 }
        } else {
            Place { at: bounds.begin(), padding: until_end }
        };
        let room = self.make_room(place.padding + extent, from);
        // The goal is the byte before `head`.
        if self.cursor.goal() & 7 != 7 && !matches!(room, Err(Error::Corrupt(_))) {
            return Err(self.poison(Corruption::HeadMisaligned));
        }
        room.map(|()| place)
    }

    /// Writes the headers of a placed record and moves the cursor behind it.
    #[inline(always)]
    fn finish(&mut self, place: Place, header: Header) {
        let extent = header.extent();
        // SAFETY: place.at is a multiple of 8 with room for the record (`place`).
        unsafe { self.seat.memory.store_header(place.at, header.word) };
        match self.cursor.ahead(extent) {
            Some(after) if place.padding == 0 => self.cursor.step_to(after),
            _ => self.finish_far(place.padding, extent),
        }
    }

    /// The same, where the end of the ring is reached.
    #[inline(never)]
    fn finish_far(&mut self, padding: u64, extent: u64) {
        if padding != 0 {
            // SAFETY: padding begins at the cursor, a multiple of 8 below end.
            unsafe { self.seat.memory.store_header(self.cursor.at(), Header::padding(padding).word) };
        }
        self.cursor.pass(padding + extent);
    }
}

impl<M: Memory> RecordWriteGrant<'_, M> {
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
    /// [`Error::OutOfGrant`], and nothing was written.
    #[inline]
    pub fn write_at(&mut self, offset: usize, src: &[u8]) -> Result<(), Error> {
        inside(offset, src.len(), self.len)?;
        let at = self.place.at + Header::record(self.label, 0).overhead() + offset as u64;
        // SAFETY: `place` found contiguous room for the header and `len` bytes; offset + src.len() ≤ len.
        unsafe { self.producer.seat.memory.copy_in(at, src) };
        Ok(())
    }

    /// Publishes the record with the first `count` bytes as its payload.
    ///
    /// # Errors
    /// [`Error::OutOfGrant`] when `count` is more than was reserved; the record is aborted then.
    #[inline]
    pub fn commit(self, count: usize) -> Result<(), Error> {
        inside(0, count, self.len)?;
        let from = self.producer.cursor.at();
        self.producer.finish(self.place, Header::record(self.label, count));
        self.producer.publish(from);
        self.producer.kept()
    }
}

/// The CRC-32C of a checked record: header word, sequence number, payload.
pub(crate) fn checksum(header: Header, sequence: u32, payload: &[u8]) -> u32 {
    Crc32c::new().update(&header.word.to_ne_bytes()).update(&sequence.to_ne_bytes()).update(payload).finish()
}
