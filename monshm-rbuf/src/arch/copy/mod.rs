//! The copy primitive between private and shared memory.
//!
//! Two properties that `ptr::copy_nonoverlapping` does not have: another process may change the shared bytes
//! while they are copied (no data race in the sense of the language), and the compiler cannot see where the
//! bytes of a private copy came from. So "copy, check, use" uses what was checked: the compiler has no way to
//! fetch the shared bytes a second time. It does not check bounds; that is its callers' one choke point.
//!
//! Each shared byte is accessed at least once and, in the overlap of two accesses of one call, twice; what
//! the private copy holds after the call no longer changes.
//!
//! On x86-64 and aarch64 the accesses to shared memory are inline assembly, one instruction each, with the
//! private side in registers, so that a small copy of known length costs what a move costs. Elsewhere, and
//! under Miri, they are relaxed atomic words and bytes.

#[cfg(all(target_arch = "aarch64", target_endian = "little", not(miri)))]
#[path = "aarch64.rs"]
mod cpu;
#[cfg(not(any(
    all(target_arch = "x86_64", not(miri)),
    all(target_arch = "aarch64", target_endian = "little", not(miri))
)))]
#[path = "portable.rs"]
mod cpu;
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[path = "x86_64.rs"]
mod cpu;

/// Copies `dst.len()` shared bytes at `src` to private memory.
///
/// The bytes may change during the call; `dst` then holds a mixture, and keeps it.
///
/// # Examples
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
/// let shared = AtomicU64::new(7);
/// let mut private = [0; 8];
/// // SAFETY: eight bytes of an atomic; `private` is other memory.
/// unsafe { monshm_rbuf::copy::read_from(shared.as_ptr().cast(), &mut private) };
/// assert_eq!(u64::from_ne_bytes(private), shared.load(Relaxed));
/// ```
///
/// # Safety
/// `[src, src + dst.len())` is valid for reads for the whole call and does not overlap `dst`. Other threads
/// and processes may write it.
#[inline(always)]
pub unsafe fn read_from(src: *const u8, dst: &mut [u8]) {
    // SAFETY: src by the caller; dst is a slice of that length, and apart from src by the caller.
    unsafe { cpu::read(src, dst.as_mut_ptr(), dst.len()) };
}

/// Copies private bytes to `src.len()` shared bytes at `dst`.
///
/// # Examples
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
/// let shared = AtomicU64::new(0);
/// // SAFETY: eight bytes of an atomic; the source is other memory.
/// unsafe { monshm_rbuf::copy::write_to(shared.as_ptr().cast(), &7_u64.to_ne_bytes()) };
/// assert_eq!(shared.load(Relaxed), 7);
/// ```
///
/// # Safety
/// `[dst, dst + src.len())` is valid for writes for the whole call and does not overlap `src`. Other threads
/// and processes may read and write it.
#[inline(always)]
pub unsafe fn write_to(dst: *mut u8, src: &[u8]) {
    // SAFETY: dst by the caller; src is a slice of that length, and apart from dst by the caller.
    unsafe { cpu::write(src.as_ptr(), dst, src.len()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every length to 300 at every alignment of both ends, and some around the large-copy thresholds.
    #[test]
    fn copies_exactly_the_bytes_asked_for() {
        let lengths = (0..300).chain([511, 512, 513, 1023, 1024, 1025, 2047, 2048, 2049, 4095, 4096, 4097]);
        for len in lengths {
            let step = if cfg!(miri) { 5 } else { 1 };
            for shift in (0..16).step_by(step) {
                let mut private = [0_u8; 4200];
                for (i, byte) in private.iter_mut().enumerate() {
                    *byte = (i * 7 + len) as u8 | 1;
                }
                let mut shared = [0_u8; 4200];
                let back_shift = (shift * 5) % 16;
                // SAFETY: shift + len ≤ 15 + 4097 bytes of `shared` are valid; it is another array.
                unsafe { write_to(shared.as_mut_ptr().add(shift), &private[..len]) };
                assert_eq!(shared[shift..shift + len], private[..len], "write of {len} at {shift}");
                assert!(shared[..shift].iter().all(|byte| *byte == 0), "write of {len} at {shift}: below");
                assert!(shared[shift + len..].iter().all(|byte| *byte == 0), "write of {len}: above");

                let mut back = [0_u8; 4200];
                // SAFETY: as above, with `shared` as the source.
                unsafe { read_from(shared.as_ptr().add(shift), &mut back[back_shift..back_shift + len]) };
                assert_eq!(back[back_shift..back_shift + len], private[..len], "read of {len} at {shift}");
                assert!(back[..back_shift].iter().all(|byte| *byte == 0), "read of {len}: below");
                assert!(back[back_shift + len..].iter().all(|byte| *byte == 0), "read of {len}: above");
            }
        }
    }
}
