//! Copies by relaxed atomics: words where the shared side is aligned, bytes at its ends.
//!
//! The base for every target that has no file of its own, and for Miri. It does not try to be fast for short
//! copies.

use core::mem::size_of;
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};

const WORD: usize = size_of::<usize>();

/// Copies `len` shared bytes at `src` to private `dst`.
///
/// # Safety
/// `src` is valid for reads (others may write it), `dst` for writes, `len` bytes each; they do not overlap.
#[inline]
pub(super) unsafe fn read(src: *const u8, dst: *mut u8, len: usize) {
    let mut done = 0;
    while done < len {
        // SAFETY: done < len, so both pointers stay inside their ranges.
        let (from, to) = unsafe { (src.add(done).cast_mut(), dst.add(done)) };
        if from.addr() % WORD == 0 && len - done >= WORD {
            // SAFETY: WORD bytes are left on both sides; `from` is aligned for AtomicUsize.
            unsafe {
                let word = AtomicUsize::from_ptr(from.cast::<usize>()).load(Relaxed);
                to.cast::<usize>().write_unaligned(word);
            }
            done += WORD;
        } else {
            // SAFETY: one byte is left on both sides.
            unsafe { to.write(AtomicU8::from_ptr(from).load(Relaxed)) };
            done += 1;
        }
    }
}

/// Copies `len` private bytes at `src` to shared `dst`.
///
/// # Safety
/// `src` is valid for reads, `dst` for writes (others may read and write it), `len` bytes each; they do not
/// overlap.
#[inline]
pub(super) unsafe fn write(src: *const u8, dst: *mut u8, len: usize) {
    let mut done = 0;
    while done < len {
        // SAFETY: done < len, so both pointers stay inside their ranges.
        let (from, to) = unsafe { (src.add(done), dst.add(done)) };
        if to.addr() % WORD == 0 && len - done >= WORD {
            // SAFETY: WORD bytes are left on both sides; `to` is aligned for AtomicUsize.
            unsafe {
                let word = from.cast::<usize>().read_unaligned();
                AtomicUsize::from_ptr(to.cast::<usize>()).store(word, Relaxed);
            }
            done += WORD;
        } else {
            // SAFETY: one byte is left on both sides.
            unsafe { AtomicU8::from_ptr(to).store(from.read(), Relaxed) };
            done += 1;
        }
    }
}
