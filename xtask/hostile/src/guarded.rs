//! Private memory that shows when it was touched: buffers between pages without access, and blocks full of a pattern.
//!
//! It says nothing about shared memory.

use std::io;
use std::ptr::NonNull;

/// What stands where nothing may be written.
const CANARY: u8 = 0xc5;

/// A buffer that ends at a page without access and begins behind a canary, behind another such page.
#[derive(Debug)]
pub(crate) struct Guarded {
    map: NonNull<u8>,
    map_len: usize,
    len: usize,
}

impl Guarded {
    /// A zeroed buffer of `len` bytes.
    pub(crate) fn new(len: usize) -> io::Result<Self> {
        let page = page_len();
        let inside = len.next_multiple_of(page) + page;
        let map_len = inside + 2 * page;
        let (none, flags) = (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a null hint: no memory in use is replaced.
        let map = unsafe { libc::mmap(std::ptr::null_mut(), map_len, none, flags, -1, 0) };
        if map == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let map = NonNull::new(map.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let made = Self { map, map_len, len };
        // SAFETY: the pages between the first and the last of the mapping that was just made.
        let opened =
            unsafe { libc::mprotect(map.as_ptr().add(page).cast(), inside, libc::PROT_READ | libc::PROT_WRITE) };
        if opened != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: these bytes are mapped for writing and nobody else's.
        unsafe { map.as_ptr().add(page).write_bytes(CANARY, inside - len) };
        Ok(made)
    }

    /// The buffer.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        let begin = self.map_len - page_len() - self.len;
        // SAFETY: the last `len` bytes before the closing page: mapped, initialised (zero from the kernel), borrowed
        // from self alone.
        unsafe { std::slice::from_raw_parts_mut(self.map.as_ptr().add(begin), self.len) }
    }

    /// Whether what stands before the buffer is as it was.
    pub(crate) fn is_whole(&self) -> bool {
        let page = page_len();
        let len = self.map_len - 2 * page - self.len;
        // SAFETY: the bytes that `new` filled.
        let before = unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(page), len) };
        before.iter().all(|byte| *byte == CANARY)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the whole mapping, made by `new`, used by nobody any more.
        unsafe { libc::munmap(self.map.as_ptr().cast(), self.map_len) };
    }
}

/// Blocks of private memory of many sizes, full of a pattern.
#[derive(Debug)]
pub(crate) struct Canaries(Vec<Box<[u8]>>);

impl Canaries {
    pub(crate) fn new() -> Self {
        let block = |shift: usize| vec![CANARY ^ shift as u8; 16 << (shift % 12)].into_boxed_slice();
        Self((0..96).map(block).collect())
    }

    /// Whether every byte is as it was.
    pub(crate) fn are_whole(&self) -> bool {
        self.0
            .iter()
            .enumerate()
            .all(|(shift, block)| block.iter().all(|byte| std::hint::black_box(*byte) == CANARY ^ shift as u8))
    }
}

fn page_len() -> usize {
    // SAFETY: no preconditions. The page size always fits.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}
