//! A page that survivor and victim share besides the segment, so that the survivor knows how far a victim came.
//!
//! It is anonymous memory of its own (a memfd that the victim is sent), made without monshm. The victim writes it
//! right after a call has returned; so it says what was surely done, never too much.

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The most bytes of a descriptor that fit.
pub(crate) const BYTES_LEN: usize = 1024;

/// How far a victim is.
pub(crate) mod phase {
    /// Started, not attached.
    pub(crate) const STARTED: u32 = 0;
    /// Attached; its operation begins, or its loop.
    pub(crate) const READY: u32 = 1;
    /// Its operation has returned.
    pub(crate) const DONE: u32 = 2;
}

/// The words. The survivor sets those of the first group before it starts a victim.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Words {
    /// Index of the cell.
    pub(crate) cell: AtomicU64,
    /// Offset of the pattern in the segment, in bytes.
    pub(crate) pattern: AtomicU64,
    /// Length of a record, in bytes.
    pub(crate) record_len: AtomicU64,
    /// Number of the next record to append or to read.
    pub(crate) next: AtomicU64,
    /// How long a holder stays inside, in nanoseconds.
    pub(crate) hold_ns: AtomicU64,
    /// How long a victim sleeps between two operations of its loop, in nanoseconds.
    pub(crate) pause_ns: AtomicU64,

    /// One of [`phase`].
    pub(crate) phase: AtomicU32,
    _pad: AtomicU32,
    /// Number behind the last record whose append or read was begun.
    pub(crate) begun: AtomicU64,
    /// Number behind the last record whose append or read has returned.
    pub(crate) done: AtomicU64,
    /// Offset that an allocation returned; 0 for none.
    pub(crate) allocated: AtomicU64,
    /// Records that a reader found damaged, or out of order.
    pub(crate) corrupted: AtomicU64,

    /// Descriptor bytes: length, and the bytes.
    pub(crate) bytes_len: AtomicU64,
    bytes: [AtomicU64; BYTES_LEN / 8],
}

const PAGE: usize = 4096;
const _: () = assert!(size_of::<Words>() <= PAGE);

/// The page, mapped.
#[derive(Debug)]
pub(crate) struct Progress {
    words: NonNull<Words>,
    file: OwnedFd,
}

// SAFETY: the pointer leads to atomics that stay mapped as long as the value lives.
unsafe impl Send for Progress {}
// SAFETY: as for Send.
unsafe impl Sync for Progress {}

impl Progress {
    /// Makes a page to share with victims.
    pub(crate) fn new() -> io::Result<Self> {
        let file = memfd_create("chaos-progress", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, PAGE as u64)?;
        Self::map(file)
    }

    /// Maps the page that another process made.
    pub(crate) fn map(file: OwnedFd) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, wherever the kernel likes; file is open and a page long.
        let base = unsafe { mmap(std::ptr::null_mut(), PAGE, access, MapFlags::SHARED, &file, 0)? };
        let words = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { words, file })
    }

    /// What a victim is sent of it.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The words.
    pub(crate) fn words(&self) -> &Words {
        // SAFETY: a page that holds at least the words, at a page boundary, mapped until drop; all of them atomics.
        unsafe { self.words.as_ref() }
    }

    /// Clears what a victim writes.
    pub(crate) fn clear(&self) {
        let words = self.words();
        words.phase.store(phase::STARTED, Ordering::Release);
        for word in [&words.allocated, &words.corrupted] {
            word.store(0, Ordering::Release);
        }
        let next = words.next.load(Ordering::Relaxed);
        words.begun.store(next, Ordering::Release);
        words.done.store(next, Ordering::Release);
    }

    /// Writes a descriptor.
    pub(crate) fn set_bytes(&self, bytes: &[u8]) {
        for (word, part) in self.words().bytes.iter().zip(bytes.chunks(8)) {
            let mut whole = [0; 8];
            whole[..part.len()].copy_from_slice(part);
            word.store(u64::from_ne_bytes(whole), Ordering::Relaxed);
        }
        // Release: pairs with the Acquire in `bytes`.
        self.words().bytes_len.store(bytes.len().min(BYTES_LEN) as u64, Ordering::Release);
    }

    /// The descriptor written last.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let words = self.words();
        // Acquire: pairs with the Release in `set_bytes`.
        let len = words.bytes_len.load(Ordering::Acquire) as usize;
        let mut bytes: Vec<u8> =
            words.bytes.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
        bytes.truncate(len);
        bytes
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, a page long, and no reference into it outlives self.
        let _ = unsafe { munmap(self.words.as_ptr().cast(), PAGE) };
    }
}
