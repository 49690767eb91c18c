//! Descriptor bytes from the input, as they are and with the right checksum put behind them: whatever decodes has one
//! form and comes back as it was.
//!
//! Does not look at which fault is told; the tests of the crate do.

/// Decodes `input`.
pub fn run(input: &[u8]) {
    check(input);
    if let Some((body, _)) = input.split_last_chunk::<4>() {
        check(&[body, &crc32c(body).to_be_bytes()].concat());
    }
}

fn check(bytes: &[u8]) {
    let whole = monshm_proto::decode(bytes);
    match monshm_proto::decode_prefix(bytes) {
        Ok((descriptor, len)) => {
            assert_eq!(*monshm_proto::encode(&descriptor), bytes[..len]);
            assert_eq!(whole.is_ok(), len == bytes.len());
            assert!(len <= monshm_proto::MAX_LEN);
        }
        Err(fault) => assert_eq!(whole, Err(fault)),
    }
}

/// CRC-32C. Without it no changed input would get past the checksum, and nothing behind it would be reached.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    let mut rest = u32::MAX;
    for byte in bytes {
        rest ^= u32::from(*byte);
        for _ in 0..8 {
            rest = if rest & 1 == 0 { rest >> 1 } else { (rest >> 1) ^ 0x82F6_3B78 };
        }
    }
    !rest
}
