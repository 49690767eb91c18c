//! Records: messages with a label, kept apart by the ring, contiguous, optionally checked.
//!
//! `header` is the word before each record, `write` and `read` the calls of producer and consumer, `crc` the checksum
//! of checked records. What a label means is the caller's business.

mod crc;
mod header;
mod read;
mod write;

pub use header::{CHECK_LEN, HEADER_LEN, Label, PAYLOAD_MAX, Record};
pub use read::RecordReadGrant;
pub use write::RecordWriteGrant;

use crc::Crc32c;
use header::Header;

/// The CRC-32C of a checked record: header word, sequence number, payload.
fn checksum(header: Header, sequence: u32, payload: &[u8]) -> u32 {
    Crc32c::new().update(&header.word.to_ne_bytes()).update(&sequence.to_ne_bytes()).update(payload).finish()
}
