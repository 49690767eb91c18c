//! CRC-32C (Castagnoli polynomial, reflected, as in RFC 3720 appendix B.4), over private bytes.
//!
//! It knows nothing of records. On x86-64 with SSE4.2 the CPU's instruction is used, elsewhere a table of
//! eight slices.

/// The running state of one checksum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crc32c(u32);

impl Crc32c {
    pub(crate) const fn new() -> Self {
        Crc32c(!0)
    }

    pub(crate) fn update(self, bytes: &[u8]) -> Self {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        if crate::arch::features::has_sse42() {
            // SAFETY: SSE4.2 is present.
            return Crc32c(unsafe { update_by_instruction(self.0, bytes) });
        }
        Crc32c(update_by_table(self.0, bytes))
    }

    pub(crate) const fn finish(self) -> u32 {
        !self.0
    }
}

static TABLE: [[u32; 256]; 8] = table();

const fn table() -> [[u32; 256]; 8] {
    let mut table = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 != 0 { 0x82F6_3B78 } else { 0 };
            bit += 1;
        }
        table[0][byte] = crc;
        byte += 1;
    }
    let mut slice = 1;
    while slice < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = table[slice - 1][byte];
            table[slice][byte] = (before >> 8) ^ table[0][(before & 0xFF) as usize];
            byte += 1;
        }
        slice += 1;
    }
    table
}

fn update_by_table(mut crc: u32, bytes: &[u8]) -> u32 {
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let mut next = 0;
        for (i, byte) in word.iter().enumerate() {
            let byte = if i < 4 { byte ^ (crc >> (8 * i)) as u8 } else { *byte };
            next ^= TABLE[7 - i][byte as usize];
        }
        crc = next;
    }
    for byte in words.remainder() {
        crc = (crc >> 8) ^ TABLE[0][(crc as u8 ^ byte) as usize];
    }
    crc
}

/// By the CPU's own instruction.
///
/// # Safety
/// The CPU has SSE4.2.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "sse4.2")]
#[allow(unused_unsafe, reason = "the intrinsics are safe where the feature is enabled, from Rust 1.87 on")]
unsafe fn update_by_instruction(crc: u32, bytes: &[u8]) -> u32 {
    use core::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u64};

    let mut words = bytes.chunks_exact(8);
    let mut wide = u64::from(crc);
    for word in &mut words {
        let word = word.try_into().map_or(0, u64::from_le_bytes);
        // SAFETY: the CPU has SSE4.2, by the caller.
        wide = unsafe { _mm_crc32_u64(wide, word) };
    }
    let mut crc = wide as u32;
    for byte in words.remainder() {
        // SAFETY: the CPU has SSE4.2, by the caller.
        crc = unsafe { _mm_crc32_u8(crc, *byte) };
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 3720, appendix B.4, and the usual check value.
    #[test]
    fn the_published_examples_come_out() {
        let ascending: [u8; 32] = core::array::from_fn(|i| i as u8);
        let examples: [(&[u8], u32); 4] = [
            (&[0; 32], 0x8A91_36AA),
            (&[0xFF; 32], 0x62A8_AB43),
            (&ascending, 0x46DD_794E),
            (b"123456789", 0xE306_9283),
        ];
        for (bytes, expected) in examples {
            assert_eq!(Crc32c::new().update(bytes).finish(), expected);
            assert_eq!(!update_by_table(!0, bytes), expected);
        }
    }

    #[test]
    fn parts_give_the_same_as_the_whole() {
        let bytes: [u8; 97] = core::array::from_fn(|i| (i * 31) as u8);
        let whole = Crc32c::new().update(&bytes).finish();
        for cut in 0..bytes.len() {
            assert_eq!(Crc32c::new().update(&bytes[..cut]).update(&bytes[cut..]).finish(), whole);
            assert_eq!(!update_by_table(update_by_table(!0, &bytes[..cut]), &bytes[cut..]), whole);
        }
    }
}
