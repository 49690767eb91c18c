//! Records as the campaigns write them into a ring: number, bytes that follow from it, checksum over both.
//!
//! All records of a round have one length, so that a reader finds them without trusting the ring.

/// The shortest record, in bytes: number and checksum.
pub(crate) const MIN_LEN: usize = 16;

/// The longest record, in bytes.
pub(crate) const MAX_LEN: usize = 256;

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    /// The checksum does not fit the bytes.
    Checksum,
    /// The bytes are not those of this number.
    Content,
}

/// Writes record `number` over all of `record`.
pub(crate) fn write(record: &mut [u8], number: u64) {
    let content_end = record.len() - 8;
    record[..8].copy_from_slice(&number.to_le_bytes());
    for (place, byte) in record[8..content_end].iter_mut().enumerate() {
        *byte = content(number, place);
    }
    let sum = checksum(&record[..content_end]);
    record[content_end..].copy_from_slice(&sum.to_le_bytes());
}

/// The number of a record.
///
/// # Errors
/// [`Damage`], when it is not a record that [`write`] made.
pub(crate) fn read(record: &[u8]) -> Result<u64, Damage> {
    let (body, sum) = record.split_at(record.len() - 8);
    if checksum(body).to_le_bytes() != *sum {
        return Err(Damage::Checksum);
    }
    let number = body[..8].try_into().map(u64::from_le_bytes).map_err(|_| Damage::Content)?;
    let right = body[8..].iter().enumerate().all(|(place, byte)| *byte == content(number, place));
    if right { Ok(number) } else { Err(Damage::Content) }
}

fn content(number: u64, place: usize) -> u8 {
    (number.wrapping_add(place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// FNV-1a, 64 bits.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_is_found() {
        let mut record = [0; 40];
        write(&mut record, 7);
        assert_eq!(read(&record), Ok(7));
        for place in 0..record.len() {
            let mut damaged = record;
            damaged[place] ^= 1;
            assert!(read(&damaged).is_err(), "byte {place}");
        }
    }
}
