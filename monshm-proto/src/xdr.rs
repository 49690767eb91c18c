//! The units of XDR (RFC 4506) that a descriptor is made of: big-endian words, fixed opaque data, strings.
//!
//! Knows nothing of descriptors, allocates nothing, and copies nothing but the bytes it writes.

use core::fmt;
use core::ops::Deref;

use monshm_core::DescriptorFault as Fault;

/// Every item takes a whole number of these (RFC 4506, section 3).
pub(crate) const UNIT: usize = 4;

/// The bytes that `len` bytes of a string take with their padding, without the length in front.
pub(crate) const fn padded(len: usize) -> usize {
    len.next_multiple_of(UNIT)
}

/// The bytes of one descriptor, owned, on the stack.
///
/// Dereferences to the bytes in use, of which there are at most [`MAX_LEN`](crate::MAX_LEN).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Encoded {
    /// Zero behind `len`, so that equality of the array is equality of the bytes in use.
    bytes: [u8; crate::MAX_LEN],
    /// How many bytes are in use; changed by `push` alone, never beyond the array.
    len: usize,
}

impl Encoded {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; crate::MAX_LEN], len: 0 }
    }

    /// The bytes to send.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.push(&value.to_be_bytes());
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.push(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.push(&value.to_be_bytes());
    }

    /// Opaque data of fixed length. The length is a whole number of units, so that no padding follows.
    pub(crate) fn opaque<const LEN: usize>(&mut self, bytes: &[u8; LEN]) {
        const { assert!(LEN % UNIT == 0) };
        self.push(bytes);
    }

    /// A string: its length, its bytes, zeros up to the next unit.
    pub(crate) fn string(&mut self, text: &str) {
        self.u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.push(text.as_bytes());
        let padding = padded(text.len()).saturating_sub(text.len());
        self.push([0; UNIT].get(..padding).unwrap_or_default());
    }

    /// Appends. What `encode` writes always fits: the const asserts beside `MAX_LEN` add up the longest form.
    fn push(&mut self, bytes: &[u8]) {
        for (slot, byte) in self.bytes.iter_mut().skip(self.len).zip(bytes) {
            *slot = *byte;
            self.len = self.len.saturating_add(1);
        }
    }
}

impl Deref for Encoded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl AsRef<[u8]> for Encoded {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Debug for Encoded {
    /// Does not print the bytes: the token is among them, and whoever reads a log shall not be able to attach.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoded").field("len", &self.len).finish_non_exhaustive()
    }
}

/// Takes items from the front of some bytes.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    /// How many bytes were taken; at most `bytes.len()`.
    position: usize,
    /// What any complete input has at least, for the message of a truncation.
    least: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8], least: usize) -> Self {
        Self { bytes, position: 0, least }
    }

    /// What was taken so far.
    pub(crate) fn taken(&self) -> &'a [u8] {
        self.bytes.get(..self.position).unwrap_or_default()
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Fault> {
        self.opaque().map(u32::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Fault> {
        self.opaque().map(i32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Fault> {
        self.opaque().map(u64::from_be_bytes)
    }

    /// Opaque data of fixed length, a whole number of units.
    pub(crate) fn opaque<const LEN: usize>(&mut self) -> Result<[u8; LEN], Fault> {
        const { assert!(LEN % UNIT == 0) };
        let mut out = [0; LEN];
        out.copy_from_slice(self.take(LEN)?);
        Ok(out)
    }

    /// A string of at most `max` bytes. The length is judged before it is used, so that a huge one is a bad field
    /// and not a truncation. Padding that is not zero is a bad field too: each value has one form.
    pub(crate) fn string(&mut self, field: &'static str, max: usize) -> Result<&'a str, Fault> {
        let len = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        if len > max {
            return Err(Fault::BadField { field });
        }
        let (text, padding) = self.take(padded(len))?.split_at_checked(len).ok_or(Fault::BadField { field })?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(Fault::BadField { field });
        }
        core::str::from_utf8(text).map_err(|_| Fault::BadField { field })
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let end = self.position.saturating_add(count);
        let Some(taken) = self.bytes.get(self.position..end) else {
            return Err(Fault::Truncated { need: end.max(self.least), have: self.bytes.len() });
        };
        self.position = end;
        Ok(taken)
    }
}
