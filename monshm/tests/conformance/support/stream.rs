//! A stream through the lock-free ring whose bytes can be checked at the other end.
//!
//! The chunks of both sides differ, so that every position of the ring is an end of one sometimes.

use std::time::Duration;

use monshm::{Consumer, Error, Producer};

/// How long one call may wait. Nothing is measured by it.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A byte that depends on its place in the stream, with no short period.
fn byte_at(place: u64) -> u8 {
    (place.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// FNV-1a over the bytes so far.
fn checksum(sum: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(sum, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

const START: u64 = 0xcbf2_9ce4_8422_2325;

/// Writes `count` bytes; gives their checksum.
pub(crate) fn produce(producer: &mut Producer, count: u64) -> Result<u64, Error> {
    let mut sum = START;
    let mut place = 0;
    while place < count {
        let len = (1 + place % 997).min(count - place);
        let bytes: Vec<u8> = (place..place + len).map(byte_at).collect();
        write_whole(producer, &bytes, TIMEOUT)?;
        sum = checksum(sum, &bytes);
        place += len;
    }
    Ok(sum)
}

/// Writes all of `bytes`, in parts.
pub(crate) fn write_whole(producer: &mut Producer, bytes: &[u8], timeout: Duration) -> Result<(), Error> {
    let mut done = 0;
    while done < bytes.len() {
        done += producer.write_partial(&bytes[done..], timeout)?;
    }
    Ok(())
}

/// Reads until the other end closes; gives the count and the checksum of what came.
pub(crate) fn consume(consumer: &mut Consumer) -> Result<(u64, u64), Error> {
    let mut sum = START;
    let mut count = 0;
    let mut bytes = [0; 1021];
    loop {
        let len = consumer.read_partial(&mut bytes, TIMEOUT)?;
        if len == 0 {
            return Ok((count, sum));
        }
        sum = checksum(sum, &bytes[..len]);
        count += len as u64;
    }
}
