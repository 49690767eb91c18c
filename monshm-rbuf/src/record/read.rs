//! Reading records: by copy, by grant, many at a time.
//!
//! Everything that a header says is checked against what is published and where the ring ends, on the private copy of
//! the header. A call passes at most one padding record: a second one can never fit. It does not know how bytes are
//! polled for.

use crate::bounds::LINE;
use crate::consumer::Consumer;
use crate::cursor::Polled;
use crate::error::{Corruption, Error};
use crate::grant::ReadGrant;
use crate::memory::Memory;
use crate::policy::{Adaptive, Policy, SHORT};
use crate::record::checksum;
use crate::record::header::{HEADER_LEN, Header, Record};

/// A record that can be copied out, and stays until it is released.
///
/// The producer may be hostile and change the payload between two copies: decide on what was copied.
pub type RecordReadGrant<'a, M, P = Adaptive> = ReadGrant<'a, M, P, OneRecord>;

/// The header of the record that a [`RecordReadGrant`] lends, as it was checked.
#[derive(Clone, Copy, Debug)]
pub struct OneRecord(Header);

impl<M: Memory, P: Policy> Consumer<M, P> {
    /// Reads the next record into `dst`, of which the first `len` bytes are then its payload, and releases it.
    ///
    /// # Errors
    /// [`Error::Empty`]; [`Error::TooSmall`], and the record stays; [`Error::Unaligned`] when bytes were read
    /// in between; [`Error::Corrupt`].
    ///
    /// # Examples
    /// ```
    /// # use monshm_rbuf::{Consumer, Label, Producer, StaticRing};
    /// # let ring = StaticRing::<128>::new();
    /// # let (memory, me) = (ring.memory(), core::num::NonZeroU32::MIN);
    /// # let mut producer = Producer::claim(memory, me)?;
    /// # let mut consumer = Consumer::claim(memory, me)?;
    /// producer.push(Label::kind(7), b"payload")?;
    /// let mut buffer = [0; 16];
    /// let record = consumer.pop(&mut buffer)?;
    /// assert_eq!((record.label().kind, &buffer[..record.len()]), (7, &b"payload"[..]));
    /// # Ok::<(), monshm_rbuf::Error>(())
    /// ```
    #[inline(always)]
    pub fn pop(&mut self, dst: &mut [u8]) -> Result<Record, Error> {
        match self.take_plain_record(dst, self.head()) {
            Polled::Found(header) => {
                self.release();
                Ok(header.to_record())
            }
            Polled::Nothing => Err(self.empty(HEADER_LEN as u64)),
            Polled::Unclear => self.pop_any(dst),
        }
    }

    #[inline(never)]
    fn pop_any(&mut self, dst: &mut [u8]) -> Result<Record, Error> {
        let record = self.take_any_record(dst, self.head())?;
        self.release();
        Ok(record)
    }

    /// Looks at the next record.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::Unaligned`], [`Error::Corrupt`].
    ///
    /// # Examples
    /// ```
    /// # use monshm_rbuf::{Consumer, Label, Producer, StaticRing};
    /// # let ring = StaticRing::<128>::new();
    /// # let (memory, me) = (ring.memory(), core::num::NonZeroU32::MIN);
    /// # let mut producer = Producer::claim(memory, me)?;
    /// # let mut consumer = Consumer::claim(memory, me)?;
    /// producer.push(Label::kind(7), b"payload")?;
    /// let grant = consumer.peek_record()?;
    /// let mut first = [0; 3];
    /// grant.read_at(0, &mut first)?;
    /// assert_eq!((&first, grant.record().len()), (b"pay", 7));
    /// grant.release();
    /// # Ok::<(), monshm_rbuf::Error>(())
    /// ```
    #[inline]
    pub fn peek_record(&mut self) -> Result<RecordReadGrant<'_, M, P>, Error> {
        let header = self.next_header(self.head())?;
        // Over the end of the ring where a record without payload ends there: no byte is ever accessed then.
        let start = self.head() + header.overhead();
        Ok(ReadGrant { consumer: self, start, len: header.payload_len(), kind: OneRecord(header) })
    }

    /// Reads up to `most` records, each into `buffer`, gives each to `each`, and releases all of them with
    /// one store at the end; tells how many there were.
    ///
    /// The work is bounded by `most`, whatever the producer does meanwhile. If `each` panics, what was read is released
    /// with the next release.
    ///
    /// # Errors
    /// [`Error::TooSmall`], [`Error::Unaligned`], [`Error::Corrupt`]; the records before were given and are
    /// released. That there is no (further) record is not an error.
    ///
    /// # Examples
    /// ```
    /// # use monshm_rbuf::{Consumer, Label, Producer, StaticRing};
    /// # let ring = StaticRing::<128>::new();
    /// # let (memory, me) = (ring.memory(), core::num::NonZeroU32::MIN);
    /// # let mut producer = Producer::claim(memory, me)?;
    /// # let mut consumer = Consumer::claim(memory, me)?;
    /// producer.push(Label::kind(1), b"one")?;
    /// producer.push(Label::kind(1), b"three")?;
    /// let (mut buffer, mut bytes) = ([0; 16], 0);
    /// let count = consumer.for_each(10, &mut buffer, |_, payload| bytes += payload.len())?;
    /// assert_eq!((count, bytes), (2, 8));
    /// # Ok::<(), monshm_rbuf::Error>(())
    /// ```
    #[inline]
    pub fn for_each(
        &mut self,
        most: usize,
        buffer: &mut [u8],
        mut each: impl FnMut(Record, &[u8]),
    ) -> Result<usize, Error> {
        let released = self.head();
        let mut count = 0;
        let mut outcome = Ok(());
        while count < most {
            match self.take_record(buffer, released) {
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
        self.release();
        outcome.map(|()| count)
    }

    /// Copies the next record out, not yet released. `released`: where the shared `head` is.
    #[inline(always)]
    pub(crate) fn take_record(&mut self, dst: &mut [u8], released: u64) -> Result<Record, Error> {
        match self.take_plain_record(dst, released) {
            Polled::Found(header) => Ok(header.to_record()),
            Polled::Nothing => Err(self.empty(HEADER_LEN as u64)),
            Polled::Unclear => self.take_any_record(dst, released),
        }
    }

    /// The same, if it is a plain one. Otherwise nothing was consumed.
    ///
    /// Callers make their answer of the header itself, so that it passes through registers.
    #[inline(always)]
    pub(crate) fn take_plain_record(&mut self, dst: &mut [u8], released: u64) -> Polled<Header> {
        if self.head() & 7 != 0 {
            return Polled::Unclear;
        }
        if self.cursor.contiguous(HEADER_LEN as u64).is_none() {
            let found = self.try_poll(HEADER_LEN as u64, SHORT, released);
            if self.cached_tail() & 7 != 0 {
                return Polled::Unclear;
            }
            match found {
                Polled::Found(_) => self.prefetch_second_line(),
                Polled::Nothing => return Polled::Nothing,
                Polled::Unclear => return Polled::Unclear,
            }
        }
        // SAFETY: head is inside the bounds and a multiple of 8, as end is: 8 bytes are there.
        let header = Header { word: unsafe { self.claim.memory.load_word(self.head()) } };
        // What is not plain is left for `take_any_record`, which loads the header anew.
        let Some(len) = header.plain_len(dst.len()) else { return Polled::Unclear };
        let Some(after) = self.cursor.contiguous(Header::plain_extent(len)) else { return Polled::Unclear };
        // SAFETY: [at, after) is inside the bounds (`Cursor::contiguous`), and the payload in it (`plain_extent`).
        unsafe { self.claim.memory.copy_out(self.head() + HEADER_LEN as u64, &mut dst[..len]) };
        if self.check_memory().is_err() {
            return Polled::Unclear;
        }
        self.cursor.advance_to(after);
        Polled::Found(header)
    }

    /// Brings the line after that of head into this side's cache, if the known data reaches into it: where a record
    /// lies in more than one line, its header must be there before the copy of its payload can begin.
    #[inline(always)]
    fn prefetch_second_line(&self) {
        let second = self.head() + LINE;
        if second < self.cached_tail() {
            self.claim.memory.prefetch(second);
        }
    }

    /// What [`take_record`](Self::take_record) does, for every record, checked ones and those at the wrap too.
    #[inline(never)]
    pub(crate) fn take_any_record(&mut self, dst: &mut [u8], released: u64) -> Result<Record, Error> {
        let header = self.next_header(released)?;
        self.copy_record(header, dst)?;
        self.pass_record(header);
        Ok(header.to_record())
    }

    /// The header of the next record, checked; padding before it is passed over.
    ///
    /// After `Ok(header)`: head is a multiple of 8, and `[head, head + header.extent())` is published and
    /// inside the bounds.
    #[inline(always)]
    fn next_header(&mut self, released: u64) -> Result<Header, Error> {
        let header = self.header_at_head(released)?;
        if !header.is_padding() {
            return Ok(header);
        }
        self.pass_record(header);
        // Padding moved head to begin, where padding would have to be as long as the whole ring, more than
        // can be published: the second header is a record or corrupt.
        match self.header_at_head(released) {
            Ok(header) => Ok(header),
            Err(Error::Empty { requested, available }) => {
                // Nothing behind the padding yet: give its room back now.
                self.release();
                Err(Error::Empty { requested, available })
            }
            refusal => refusal,
        }
    }

    #[inline(always)]
    fn header_at_head(&mut self, released: u64) -> Result<Header, Error> {
        let head = self.head();
        if head & 7 != 0 {
            return Err(Error::Unaligned);
        }
        if self.cursor.contiguous(1).is_none() {
            self.ensure_readable(8, SHORT, released)?;
        }
        if self.cached_tail() & 7 != 0 {
            return Err(self.poison(Corruption::TailMisaligned));
        }
        // SAFETY: head is inside the bounds and a multiple of 8, as end is: 8 bytes are there.
        let word = unsafe { self.claim.memory.load_word(head) };
        let header = match Header::from_word(word) {
            Ok(header) => header,
            Err(_) => return Err(self.poison(Corruption::HeaderInvalid)),
        };
        let extent = header.extent();
        let until_end = self.cursor.bounds().end() - head;
        if extent > until_end {
            return Err(self.poison(Corruption::RecordOverWrap));
        }
        if extent > self.cursor.remaining() {
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
        self.check_poison()?;
        let len = header.payload_len();
        let Some(dst) = dst.get_mut(..len) else {
            return Err(Error::TooSmall { requested: len, available: dst.len() });
        };
        // SAFETY: the extent of the record, payload included, is inside the bounds (`next_header`).
        unsafe { self.claim.memory.copy_out(self.head() + header.overhead(), dst) };
        self.check_memory()?;
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
        let word = unsafe { self.claim.memory.load_word(self.head() + 8) };
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

    /// Passes the record at head.
    #[inline(always)]
    fn pass_record(&mut self, header: Header) {
        if header.is_checked() {
            // What was verified on the private copy; a record that was passed unread says nothing.
            self.sequence = self.verified.take();
        }
        self.cursor.advance(header.extent());
    }
}

impl<M: Memory, P: Policy> RecordReadGrant<'_, M, P> {
    /// What the header says.
    pub fn record(&self) -> Record {
        self.kind.0.to_record()
    }

    /// Copies the whole payload to the start of `dst`; a checked record is verified on that copy.
    ///
    /// # Errors
    /// [`Error::TooSmall`]; [`Error::Corrupt`] when a checked record does not verify.
    #[inline]
    pub fn read(&mut self, dst: &mut [u8]) -> Result<(), Error> {
        self.consumer.copy_record(self.kind.0, dst)
    }

    /// Gives the record's room back to the producer; nothing after [`Error::Corrupt`].
    #[inline]
    pub fn release(self) {
        if self.consumer.check_poison().is_err() {
            return;
        }
        self.consumer.pass_record(self.kind.0);
        self.consumer.release();
    }
}
