//! A ring whose bytes lie exactly between two inaccessible pages, and its words for a hostile hand.
//!
//! For tests on Unix. It knows no rule of the ring.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use monshm_rbuf::layout::CONTROL_LEN;
use monshm_rbuf::{Bounds, Shared};

/// The page size that the layout below counts on; checked when memory is mapped.
pub(crate) const PAGE: usize = 4096;

/// ```text
/// page 0            inaccessible
/// page 1            control block at its end
/// page 2            inaccessible
/// page 3 …          the ring
/// the page behind   inaccessible
/// ```
pub(crate) struct Guarded {
    base: NonNull<u8>,
    len: usize,
    ring_len: usize,
}

impl Guarded {
    /// A formatted ring of `ring_len` bytes, a multiple of a page.
    pub(crate) fn new(ring_len: usize) -> Self {
        let len = 4 * PAGE + ring_len;
        // SAFETY: a new private mapping, placed by the kernel; the protections are set inside it.
        let base = unsafe {
            assert_eq!(libc::sysconf(libc::_SC_PAGESIZE), PAGE as libc::c_long);
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let base = libc::mmap(std::ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(base, libc::MAP_FAILED);
            let open = libc::PROT_READ | libc::PROT_WRITE;
            assert_eq!(libc::mprotect(base.byte_add(PAGE), PAGE, open), 0);
            assert_eq!(libc::mprotect(base.byte_add(3 * PAGE), ring_len, open), 0);
            NonNull::new(base.cast::<u8>()).unwrap()
        };
        let ring = Guarded { base, len, ring_len };
        ring.memory().format();
        ring
    }

    /// Offset of the first byte of the ring.
    pub(crate) fn begin(&self) -> u64 {
        3 * PAGE as u64
    }

    /// Offset of the first byte after the ring.
    pub(crate) fn end(&self) -> u64 {
        self.begin() + self.ring_len as u64
    }

    /// The ring; the caller keeps `self` as long as it is used.
    pub(crate) fn memory(&self) -> Shared {
        let bounds = Bounds::new(self.begin(), self.end(), self.len).unwrap();
        // SAFETY: block and ring are mapped, open and aligned to 128; the tests drop handles before `self`.
        unsafe { Shared::new(self.control().cast(), self.base, bounds, ()) }
    }

    /// The first byte of the ring.
    pub(crate) fn memory_start(&self) -> *mut u8 {
        self.base.as_ptr().wrapping_add(3 * PAGE)
    }

    /// Writes a word of the control block.
    pub(crate) fn set(&self, offset: usize, value: u64) {
        self.word(self.control(), offset).store(value, Relaxed);
    }

    /// Reads a word of the control block.
    pub(crate) fn get(&self, offset: usize) -> u64 {
        self.word(self.control(), offset).load(Relaxed)
    }

    /// Writes a word of the ring.
    pub(crate) fn set_data(&self, at: usize, value: u64) {
        self.word(NonNull::new(self.memory_start()).unwrap(), at).store(value, Relaxed);
    }

    /// Reads a word of the ring.
    pub(crate) fn get_data(&self, at: usize) -> u64 {
        self.word(NonNull::new(self.memory_start()).unwrap(), at).load(Relaxed)
    }

    fn control(&self) -> NonNull<u8> {
        // SAFETY: inside page 1.
        unsafe { self.base.add(2 * PAGE - CONTROL_LEN) }
    }

    fn word(&self, start: NonNull<u8>, at: usize) -> &AtomicU64 {
        assert_eq!(at % 8, 0);
        // SAFETY: the tests name aligned words of the block or of the ring.
        unsafe { start.add(at).cast::<AtomicU64>().as_ref() }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}
