//! What can go wrong, as one small enum to `match` on.
//!
//! It does not allocate, does not name objects of the OS, and carries only numbers that the caller can act
//! on. The layer above adds the name of the segment.

use core::fmt;
use core::num::NonZeroU32;

/// Why a call did nothing.
///
/// Classed by what the caller does next:
///
/// * wait and retry: [`Full`](Self::Full), [`Empty`](Self::Empty);
/// * mend the call: [`TooLong`](Self::TooLong), [`TooSmall`](Self::TooSmall), [`OutOfGrant`](Self::OutOfGrant),
///   [`Unaligned`](Self::Unaligned), [`Bounds`](Self::Bounds);
/// * ask which claimant is alive: [`Claimed`](Self::Claimed), [`NotClaimed`](Self::NotClaimed);
/// * give up this peer: [`Corrupt`](Self::Corrupt).
///
/// All counts are bytes.
///
/// # Examples
/// ```
/// use monshm_rbuf::{Error, Ring, StaticRing};
/// let memory = StaticRing::<16>::new();
/// let ring = Ring::new(memory.memory());
/// ring.append(b"ten bytes!")?;
/// assert_eq!(ring.append(b"ten more..").unwrap_err(), Error::Full { requested: 10, available: 5 });
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// `requested` bytes do not fit now; `available` would.
    Full {
        /// Bytes the call needs, headers and padding included.
        requested: usize,
        /// Bytes that are free.
        available: usize,
    },
    /// `requested` bytes are not there now; `available` are.
    Empty {
        /// Bytes the call needs.
        requested: usize,
        /// Bytes that can be read.
        available: usize,
    },
    /// `requested` bytes can never pass through this ring in one piece; `limit` can.
    TooLong {
        /// Bytes the call needs.
        requested: usize,
        /// The most that any call may ask for.
        limit: usize,
    },
    /// The caller's buffer is shorter than the record; nothing was consumed.
    TooSmall {
        /// Payload bytes of the record.
        requested: usize,
        /// Bytes of the buffer.
        available: usize,
    },
    /// A position and length inside a grant go past its end.
    OutOfGrant {
        /// First byte past what was asked for, counted from the start of the grant (saturating).
        requested: usize,
        /// Bytes of the grant.
        available: usize,
    },
    /// A record call on a ring whose own cursor is not at a multiple of 8: bytes and records were
    /// mixed.
    Unaligned,
    /// The role is claimed already.
    Claimed {
        /// The claimant that holds it.
        by: NonZeroU32,
    },
    /// A role was to be taken over from a claimant, but nobody holds it: claim it.
    NotClaimed,
    /// The bounds of the ring are not ones that a ring can have.
    Bounds(BoundsFault),
    /// The peer, or a stray write, has made the shared state impossible. A handle that answered this answers
    /// it for ever.
    Corrupt(Corruption),
}

/// Which rule a pair of bounds breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BoundsFault {
    /// `begin` is not a multiple of 128.
    BeginUnaligned,
    /// `end` is not a multiple of 8.
    EndUnaligned,
    /// `begin` is not below `end`.
    Reversed,
    /// `end` is past the end of the segment, or past what an address can hold.
    PastSegment,
}

/// Which rule the shared state broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Corruption {
    /// `head` is outside `[begin, end)`.
    HeadOutOfRange,
    /// `tail` is outside `[begin, end)`.
    TailOutOfRange,
    /// The consumer's index claims less than it had released already.
    HeadWentBack,
    /// The producer's index claims less than it had published already.
    TailWentBack,
    /// The consumer's index claims bytes that were never published.
    HeadPassedTail,
    /// In a ring of records, `head` is not at a multiple of 8.
    HeadMisaligned,
    /// In a ring of records, `tail` is not at a multiple of 8.
    TailMisaligned,
    /// A word where a record must start is not a record header (all zero included).
    HeaderInvalid,
    /// A record claims more bytes than are published.
    RecordBeyondTail,
    /// A record reaches over the end of the ring.
    RecordOverWrap,
    /// A padding record does not end at the end of the ring.
    PaddingMisplaced,
    /// A checked record has another CRC-32C than its bytes.
    Checksum,
    /// A checked record has another sequence number than the next one.
    Sequence,
    /// The memory was truncated during the call or before it, see
    /// [`Shared::with_truncation_mark`](crate::Shared::with_truncation_mark): what was copied may be zeros.
    MemoryLost,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::Full { requested, available } => {
                write!(f, "the ring is full: {requested} bytes are needed, {available} are free")
            }
            Error::Empty { requested, available } => {
                write!(f, "the ring has too little: {requested} bytes are wanted, {available} are there")
            }
            Error::TooLong { requested, limit } => {
                write!(f, "{requested} bytes never fit in this ring; the limit is {limit}")
            }
            Error::TooSmall { requested, available } => {
                write!(f, "the record has {requested} bytes, the buffer {available}")
            }
            Error::OutOfGrant { requested, available } => {
                write!(f, "byte {requested} of a grant of {available} bytes")
            }
            Error::Unaligned => f.write_str("bytes and records were mixed: the cursor is not a multiple of 8"),
            Error::Claimed { by } => write!(f, "the role is claimed by {by}"),
            Error::NotClaimed => f.write_str("nobody holds the role that was to be taken over"),
            Error::Bounds(fault) => write!(f, "not the bounds of a ring: {fault}"),
            Error::Corrupt(what) => write!(f, "the ring is corrupt: {what}"),
        }
    }
}

impl fmt::Display for BoundsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BoundsFault::BeginUnaligned => "begin is not a multiple of 128",
            BoundsFault::EndUnaligned => "end is not a multiple of 8",
            BoundsFault::Reversed => "begin is not below end",
            BoundsFault::PastSegment => "end is past the end of the segment",
        })
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Corruption::HeadOutOfRange => "head is outside the ring",
            Corruption::TailOutOfRange => "tail is outside the ring",
            Corruption::HeadWentBack => "head went back",
            Corruption::TailWentBack => "tail went back",
            Corruption::HeadPassedTail => "head passed tail",
            Corruption::HeadMisaligned => "head is not a multiple of 8",
            Corruption::TailMisaligned => "tail is not a multiple of 8",
            Corruption::HeaderInvalid => "a record header is invalid",
            Corruption::RecordBeyondTail => "a record reaches past tail",
            Corruption::RecordOverWrap => "a record reaches over the end of the ring",
            Corruption::PaddingMisplaced => "a padding record is out of place",
            Corruption::Checksum => "a checked record has the wrong checksum",
            Corruption::Sequence => "a checked record is out of sequence",
            Corruption::MemoryLost => "its memory was truncated",
        })
    }
}

impl core::error::Error for Error {}
