//! CRC-32C (Castagnoli), as RFC 3720 section B.4 and RFC 9260 appendix A use it: tells damage on the way.
//!
//! Tells no forgery: whoever can write the bytes can write the checksum. Against forgery stand the checks of the
//! object itself when it is attached.

/// The polynomial 0x1EDC6F41 with its bits reversed.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// The checksum of the bytes. Bit by bit, without a table: a descriptor has at most a hundred bytes.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..u8::BITS).fold(crc ^ u32::from(*byte), |crc, _| {
            let carried = 0_u32.wrapping_sub(crc & 1);
            (crc >> 1) ^ (POLYNOMIAL & carried)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    #[test]
    fn the_published_vectors_come_out() {
        let rising: [u8; 32] = core::array::from_fn(|index| index as u8);
        let falling: [u8; 32] = core::array::from_fn(|index| 31 - index as u8);
        assert_eq!(crc32c(b""), 0);
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
        assert_eq!(crc32c(&rising), 0x46DD_794E);
        assert_eq!(crc32c(&falling), 0x113F_DB5C);
    }
}
