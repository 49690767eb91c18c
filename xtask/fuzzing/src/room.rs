//! Memory of an exact size: it begins right behind an inaccessible page, or ends right before one, and the bytes of its
//! page that are not part of it must stay as they are.
//!
//! The address sanitizer does not see an access from `asm!` or from the kernel; a page that is not there does.

use std::cell::RefCell;
use std::ptr::NonNull;

/// The unit of protection.
pub(crate) const PAGE: usize = 4096;

/// What is in the bytes that nobody may write.
const CANARY: u8 = 0xC5;

thread_local! {
    /// Rooms that nobody uses now, and how long they are: making one costs more than most inputs do.
    static SPARE: RefCell<Vec<(NonNull<u8>, usize)>> = const { RefCell::new(Vec::new()) };
}

/// Pages between two inaccessible ones, of which the last `len` bytes are in use.
///
/// **Invariant OPEN:** `pages..pages + open` is mapped for reading and writing, for good; nobody else has it before the
/// drop; and `len <= open`.
#[derive(Debug)]
pub(crate) struct Room {
    pages: NonNull<u8>,
    open: usize,
    len: usize,
}

impl Room {
    /// Room for up to `most` bytes, rounded up to pages; all of it in use, with bytes of any kind.
    pub(crate) fn new(most: usize) -> Self {
        let open = most.next_multiple_of(PAGE);
        let spare = SPARE.with_borrow_mut(|spare| {
            let found = spare.iter().position(|(_, length)| *length == open)?;
            Some(spare.swap_remove(found).0)
        });
        Self { pages: spare.unwrap_or_else(|| Self::map(open)), open, len: open }
    }

    /// Maps `open` bytes, whole pages, between two pages that are not there.
    fn map(open: usize) -> NonNull<u8> {
        // SAFETY: a new private mapping, placed by the kernel; the protection is set inside it.
        unsafe {
            assert_eq!(libc::sysconf(libc::_SC_PAGESIZE), PAGE as libc::c_long);
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let base = libc::mmap(std::ptr::null_mut(), open + 2 * PAGE, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(base, libc::MAP_FAILED);
            let pages = base.byte_add(PAGE);
            assert_eq!(libc::mprotect(pages, open, libc::PROT_READ | libc::PROT_WRITE), 0);
            NonNull::new_unchecked(pages.cast::<u8>())
        }
    }

    /// Uses the last `len` bytes from now on, filled with `fill`; the others hold canaries.
    pub(crate) fn reset(&mut self, len: usize, fill: u8) {
        assert!(len <= self.open);
        self.len = len;
        // SAFETY: OPEN.
        unsafe {
            self.pages.write_bytes(CANARY, self.open - len);
            self.start().write_bytes(fill, len);
        }
    }

    /// The first byte in use.
    pub(crate) fn start(&self) -> NonNull<u8> {
        // SAFETY: OPEN: len <= open.
        unsafe { self.pages.add(self.open - self.len) }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// A copy of the bytes in use. For memory that nobody else writes now.
    pub(crate) fn copy(&self) -> Vec<u8> {
        // SAFETY: OPEN; no reference into it lives, and this one ends here.
        unsafe { std::slice::from_raw_parts(self.start().as_ptr(), self.len) }.to_vec()
    }

    /// The bytes in use, as private memory of a caller.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: OPEN; the borrow of self keeps others away.
        unsafe { std::slice::from_raw_parts_mut(self.start().as_ptr(), self.len) }
    }

    /// Writes `bytes` at `at`, cut off where the room ends.
    pub(crate) fn write(&self, at: usize, bytes: &[u8]) {
        let len = bytes.len().min(self.len.saturating_sub(at));
        // SAFETY: OPEN; [at, at + len) is in use, and `bytes` is other memory.
        unsafe { self.start().add(at).copy_from_nonoverlapping(NonNull::from(bytes).cast(), len) };
    }

    /// The word at `at`.
    pub(crate) fn word(&self, at: usize) -> u64 {
        assert!(at + 8 <= self.len);
        // SAFETY: OPEN; eight bytes in use.
        unsafe { self.start().add(at).cast::<u64>().read_unaligned() }
    }

    /// Panics when a byte beside those in use was written.
    pub(crate) fn check(&self) {
        // SAFETY: OPEN; the reference ends here.
        let beside = unsafe { std::slice::from_raw_parts(self.pages.as_ptr(), self.open - self.len) };
        assert!(beside.iter().all(|byte| *byte == CANARY), "a byte in front of the memory was written");
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        SPARE.with_borrow_mut(|spare| spare.push((self.pages, self.open)));
    }
}
