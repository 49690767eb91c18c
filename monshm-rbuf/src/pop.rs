//! Reading records: by copy, by grant, many at a time.
//!
//! Everything a header says is checked against what is published and where the ring ends, on the private copy
//! of the header. A call passes over at most one padding record: a second one can never fit.

use crate::consumer::{Consumer, Glance};
use crate::error::{Corruption, Error};
use crate::grant::inside;
use crate::memory::Memory;
use crate::pace::SHORT;
use crate::position::LINE;
use crate::push::checksum;
use crate::record::{HEADER_LEN, Header, Record};

/// A record that can be copied out, and stays until [`release`](Self::release).
///
/// The producer may be hostile and change the payload between two copies: decide on what was copied.
#[derive(Debug)]
pub struct RecordReadGrant<'a, M: Memory> {
    consumer: &'a mut Consumer<M>,
    header: Header,
}

impl<M: Memory> Consumer<M> {
    /// Reads the next record into `dst`, of which the first `len` bytes are then its payload, and releases it.
    ///
    /// # Errors
    /// [`Error::Empty`]; [`Error::TooSmall`], and the record stays; [`Error::Unaligned`] when bytes were read
    /// in between; [`Error::Corrupt`].
    #[inline(always)]
    pub fn pop(&mut self, dst: &mut [u8]) -> Result<Record, Error> {
        match self.take_plain(dst, self.cursor.at()) {
            Glance::Found(header) => {
                self.release_all();
                Ok(header.to_record())
            }
            Glance::Nothing => Err(self.empty(HEADER_LEN as u64)),
            Glance::Unclear => self.pop_far(dst),
        }
    }

    #[inline(never)]
    fn pop_far(&mut self, dst: &mut [u8]) -> Result<Record, Error> {
        let record = self.take_record_far(dst, self.cursor.at())?;
        self.release_all();
        Ok(record)
    }

    /// Looks at the next record.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::Unaligned`], [`Error::Corrupt`].
    #[inline]
    pub fn peek_record(&mut self) -> Result<RecordReadGrant<'_, M>, Error> {
        let header = self.next_header(self.cursor.at())?;
        Ok(RecordReadGrant { consumer: self, header })
    }

    /// Reads up to `most` records, each into `buffer`, gives each to `each`, and releases all of them with
    /// one store at the end; tells how many there were.
    ///
    /// The work is bounded by `most`, whatever the producer does meanwhile. If `each` panics, what was read
    /// is released with the next release.
    ///
    /// # Errors
    /// [`Error::TooSmall`], [`Error::Unaligned`], [`Error::Corrupt`]; the records before were given and are
    /// released. That there is no (further) record is not an error.
    #[inline]
    pub fn for_each(
        &mut self,
        most: usize,
        buffer: &mut [u8],
        mut each: impl FnMut(Record, &[u8]),
    ) -> Result<usize, Error> {
        let from = self.cursor.at();
        let mut count = 0;
        let mut outcome = Ok(());
        while count < most {
            match self.take_record(buffer, from) {
                Ok(record) => {
                    count += 1;
                    each(record, &buffer[..record.len()]);
                }
                Err(Error::Empty { .. }) => break,
                Err(refusal) => {
                    outcome = Err(refusal);
                    break;
                }
            }
        }
        self.release_all();
        outcome.map(|()| count)
    }

    /// Copies the next record out, not yet released; what was read from `from` on is not either.
    #[inline(always)]
    pub(crate) fn take_record(&mut self, dst: &mut [u8], from: u64) -> Result<Record, Error> {
        match self.take_plain(dst, from) {
            Glance::Found(header) => Ok(header.to_record()),
            Glance::Nothing => Err(self.empty(HEADER_LEN as u64)),
            Glance::Unclear => self.take_record_far(dst, from),
        }
    }

    /// The same, if it is a plain one. Otherwise nothing was consumed.
    ///
    /// Callers make their answer of the header itself, so that it need not pass through memory.
    #[inline(always)]
    pub(crate) fn take_plain(&mut self, dst: &mut [u8], from: u64) -> Glance<Header> {
        if self.cursor.at() & 7 != 0 {
            return Glance::Unclear;
        }
        if self.cursor.ahead(HEADER_LEN as u64).is_none() {
            let found = self.glance(HEADER_LEN as u64, SHORT, from);
            if self.cursor.goal() & 7 != 0 {
                return Glance::Unclear;
            }
            match found {
                Glance::Found(_) => self.fetch_second_line(),
                Glance::Nothing => return Glance::Nothing,
                Glance::Unclear => return Glance::Unclear,
            }
        }
        // SAFETY: head is inside the bounds and a multiple of 8, as end is: 8 bytes are there.
        let header = Header { word: unsafe { self.seat.memory.load_header(self.cursor.at()) } };
        // What is not plain is left for a second look, at a header that is loaded anew.
        let Some(len) = header.plain_len(dst.len()) else { return Glance::Unclear };
        let Some(after) = self.cursor.ahead(Header::plain_extent(len)) else { return Glance::Unclear };
        // SAFETY: [at, after) is inside the bounds (`Cursor::ahead`), and the payload in it (`plain_extent`).
        unsafe { self.seat.memory.copy_out(self.cursor.at() + HEADER_LEN as u64, &mut dst[..len]) };
        if self.kept().is_err() {
            return Glance::Unclear;
        }
        self.cursor.step_to(after);
        Glance::Found(header)
    }

    /// Brings the line after that of head into this side's cache, if the known data reaches into it: where a record lies in
    /// more than one line, its header must be there before the copy of its payload can begin.
    #[inline(always)]
    fn fetch_second_line(&mut self) {
        let second = self.cursor.at() + LINE;
        if second < self.cursor.goal() {
            // SAFETY: between head and goal, in one piece (a short look found it so).
            unsafe { self.seat.memory.fetch(second) };
        }
    }

    /// What [`take_record`](Self::take_record) does, for every record.
    #[inline(never)]
    pub(crate) fn take_record_far(&mut self, dst: &mut [u8], from: u64) -> Result<Record, Error> {
        let header = self.next_header(from)?;
        self.copy_record(header, dst)?;
        self.pass_record(header);
        Ok(header.to_record())
    }

    /// The header of the next record, checked; padding before it is passed over.
    ///
    /// After `Ok(header)`: head is a multiple of 8, and `[head, head + header.extent())` is published and
    /// inside the bounds.
    #[inline(always)]
    fn next_header(&mut self, from: u64) -> Result<Header, Error> {
        let header = self.header_at_head(from)?;
        if !header.is_padding() {
            return Ok(header);
        }
        self.pass_record(header);
        // Padding moved head to begin, where padding would have to be as long as the whole ring, more than
        // can be published: the second header is a record or corrupt.
        match self.header_at_head(from) {
            Ok(header) => Ok(header),
            Err(Error::Empty { requested, available }) => {
                // Nothing behind the padding yet: give its room back now.
                self.release_all();
                Err(Error::Empty { requested, available })
            }
            refusal => refusal,
        }
    }

    #[inline(always)]
    fn header_at_head(&mut self, from: u64) -> Result<Header, Error> {
        let head = self.cursor.at();
        if head & 7 != 0 {
            return Err(Error::Unaligned);
        }
        if self.cursor.ahead(1).is_none() {
            self.look_for(8, SHORT, from)?;
        }
        if self.cursor.goal() & 7 != 0 {
            return Err(self.poison(Corruption::TailMisaligned));
        }
        // SAFETY: head is inside the bounds and a multiple of 8, as end is: 8 bytes are there.
        let word = unsafe { self.seat.memory.load_header(head) };
        let header = match Header::from_word(word) {
            Ok(header) => header,
            Err(_) => return Err(self.poison(Corruption::HeaderInvalid)),
        };
        let extent = header.extent();
        let until_end = self.cursor.bounds().end() - head;
        if extent > until_end {
            return Err(self.poison(Corruption::RecordOverWrap));
        }
        if extent > self.cursor.left() {
            return Err(self.poison(Corruption::RecordBeyondTail));
        }
        if header.is_padding() && extent != until_end {
            return Err(self.poison(Corruption::PaddingMisplaced));
        }
        Ok(header)
    }

    /// Copies the payload of the record at head, and verifies it if it is a checked one.
    #[inline(always)]
    fn copy_record(&mut self, header: Header, dst: &mut [u8]) -> Result<(), Error> {
        self.not_poisoned()?;
        let len = header.payload_len();
        let Some(dst) = dst.get_mut(..len) else {
            return Err(Error::TooSmall { requested: len, available: dst.len() });
        };
        // SAFETY: the extent of the record, payload included, is inside the bounds (`next_header`).
        unsafe { self.seat.memory.copy_out(self.cursor.at() + header.overhead(), dst) };
        self.kept()?;
        if header.is_checked() {
            self.verify(header, dst)?;
        }
        Ok(())
    }

    /// Compares the private copy of a payload with the check word.
    #[cold]
    #[inline(never)]
    fn verify(&mut self, header: Header, payload: &[u8]) -> Result<(), Error> {
        // SAFETY: the check word is the second word of the extent, inside the bounds and aligned to 8.
        let word = unsafe { self.seat.memory.load_header(self.cursor.at() + 8) };
        let (sum, sequence) = ((word >> 32) as u32, word as u32);
        if checksum(header, sequence, payload) != sum {
            return Err(self.poison(Corruption::Checksum));
        }
        if !header.is_first() && self.sequence.is_some_and(|expected| expected != sequence) {
            return Err(self.poison(Corruption::Sequence));
        }
        self.verified = Some(sequence.wrapping_add(1));
        Ok(())
    }

    /// Moves the cursor behind the record at head.
    #[inline(always)]
    fn pass_record(&mut self, header: Header) {
        if header.is_checked() {
            // What was verified on the private copy; a record that was passed over unread tells nothing.
            self.sequence = self.verified.take();
        }
        self.cursor.pass(header.extent());
    }
}

impl<M: Memory> RecordReadGrant<'_, M> {
    /// What the header says.
    pub fn record(&self) -> Record {
        self.header.to_record()
    }

    /// Copies the whole payload to the start of `dst`; a checked record is verified on that copy.
    ///
    /// # Errors
    /// [`Error::TooSmall`]; [`Error::Corrupt`] when a checked record does not verify.
    #[inline]
    pub fn read(&mut self, dst: &mut [u8]) -> Result<(), Error> {
        self.consumer.copy_record(self.header, dst)
    }

    /// Copies payload bytes from `offset` on to `dst`. A checked record is not verified by this.
    ///
    /// # Errors
    /// [`Error::OutOfGrant`], and nothing was copied.
    #[inline]
    pub fn read_at(&self, offset: usize, dst: &mut [u8]) -> Result<(), Error> {
        inside(offset, dst.len(), self.header.payload_len())?;
        let at = self.consumer.cursor.at() + self.header.overhead() + offset as u64;
        // SAFETY: the extent of the record is inside the bounds (`next_header`); offset + dst.len() ≤ payload.
        unsafe { self.consumer.seat.memory.copy_out(at, dst) };
        self.consumer.still_there()
    }

    /// Gives the record's room back to the producer; nothing after [`Error::Corrupt`].
    #[inline]
    pub fn release(self) {
        if self.consumer.not_poisoned().is_err() {
            return;
        }
        self.consumer.pass_record(self.header);
        self.consumer.release_all();
    }
}
