//! Writing records: whole, by grant, checked, or dropped and counted.
//!
//! The header's bits are in `record`; what makes room and publishes is in `producer`.

use crate::crc::Crc32c;
use crate::error::{Corruption, Error};
use crate::grant::inside;
use crate::memory::Memory;
use crate::producer::Producer;
use crate::record::{Header, Label, PAYLOAD_MAX};

/// A record being written, invisible until [`commit`](Self::commit). Dropping it aborts.
///
/// Payload bytes that are committed without having been written hold whatever stood there before.
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
    #[inline]
    pub fn push(&mut self, label: Label, payload: &[u8]) -> Result<(), Error> {
        self.stage_record(label, payload)?;
        self.publish();
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
        let place = self.place(header.extent())?;
        let sum = checksum(header, sequence, payload);
        // SAFETY: `place` found room for the whole extent from place.at on, contiguous and aligned to 8; the
        // check word follows the header, the payload the check word.
        unsafe {
            self.seat.memory.store_header(place.at + 8, u64::from(sum) << 32 | u64::from(sequence));
            self.seat.memory.copy_in(place.at + header.overhead(), payload);
        }
        self.finish(place, header);
        self.sequence = Some(sequence.wrapping_add(1));
        self.publish();
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
        let place = self.place(Header::record(label, len).extent())?;
        Ok(RecordWriteGrant { producer: self, label, len, place })
    }

    /// The longest payload of a record, bytes: about half the ring, since a record is contiguous.
    pub fn record_limit(&self) -> usize {
        (self.bounds.record_limit() as usize).saturating_sub(8).min(PAYLOAD_MAX)
    }

    /// Writes a record, not yet visible.
    #[inline(always)]
    pub(crate) fn stage_record(&mut self, label: Label, payload: &[u8]) -> Result<(), Error> {
        self.check_len(payload.len(), Header::record(label, 0).overhead())?;
        let header = Header::record(label, payload.len());
        let place = self.place(header.extent())?;
        // SAFETY: `place` found room for the whole extent from place.at on, contiguous; the payload follows
        // the header in it.
        unsafe { self.seat.memory.copy_in(place.at + header.overhead(), payload) };
        self.finish(place, header);
        self.kept()
    }

    #[inline(always)]
    fn check_len(&self, payload_len: usize, overhead: u64) -> Result<(), Error> {
        let limit = (self.bounds.record_limit() as usize).saturating_sub(overhead as usize).min(PAYLOAD_MAX);
        let fits = self.bounds.record_limit() >= overhead && payload_len <= limit;
        if fits { Ok(()) } else { Err(Error::TooLong { requested: payload_len, limit }) }
    }

    /// Finds room for `extent` contiguous bytes, a multiple of 8, at most the record limit.
    ///
    /// After `Ok(place)`: `place.at` is a multiple of 8, `[place.at, place.at + extent)` is inside the bounds,
    /// and `place.padding + extent` bytes are free.
    #[inline(always)]
    fn place(&mut self, extent: u64) -> Result<Place, Error> {
        if self.tail & 7 != 0 {
            return Err(Error::Unaligned);
        }
        let until_end = self.bounds.end() - self.tail;
        let (at, padding) =
            if extent <= until_end { (self.tail, 0) } else { (self.bounds.begin(), until_end) };
        if padding + extent > self.free {
            self.make_room(padding + extent)?;
        }
        // With tail and head both at multiples of 8, what is free is 1 short of one.
        if (self.free + 1) & 7 != 0 {
            return Err(self.poison(Corruption::HeadMisaligned));
        }
        Ok(Place { at, padding })
    }

    /// Writes the headers of a placed record and moves the cursor behind it.
    #[inline(always)]
    fn finish(&mut self, place: Place, header: Header) {
        // SAFETY: padding, where there is any, begins at tail, a multiple of 8 below end; place.at is a
        // multiple of 8 with room for the record (`place`).
        unsafe {
            if place.padding != 0 {
                self.seat.memory.store_header(self.tail, Header::padding(place.padding).word);
            }
            self.seat.memory.store_header(place.at, header.word);
        }
        self.tail = self.bounds.advance(place.at, header.extent());
        self.free -= place.padding + header.extent();
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
        self.producer.finish(self.place, Header::record(self.label, count));
        self.producer.publish();
        self.producer.kept()
    }
}

/// The CRC-32C of a checked record: header word, sequence number, payload.
pub(crate) fn checksum(header: Header, sequence: u32, payload: &[u8]) -> u32 {
    Crc32c::new().update(&header.word.to_ne_bytes()).update(&sequence.to_ne_bytes()).update(payload).finish()
}
