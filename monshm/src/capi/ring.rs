//! The ring under the lock: `mon_shm_rbuf_append` and its kin.
//!
//! Bounds and capacity come from the entry that the address leads to, never from the words at the address.

use std::ffi::{c_int, c_void};

use monshm_core::layout::RingWords;

use super::arena::{self, Entry};
use super::endpoints::initialized;
use super::fault::{Fault, Outcome, invalid, or_errno};

/// Where `rbuf` stands in every segment, in bytes from the base.
const RING_AT: usize = monshm_core::layout::offset::RING;

/// The segment that `rbuf` is the ring of.
#[inline(always)]
fn of_ring(rbuf: *const RingWords) -> Outcome<&'static Entry> {
    arena::of_base(rbuf.addr().wrapping_sub(RING_AT))
}

/// The segment that `rbuf` is the ring of and `shmaddr` the base of.
#[inline(always)]
fn of_both(rbuf: *const RingWords, shmaddr: *const c_void) -> Outcome<&'static Entry> {
    if rbuf.addr().wrapping_sub(RING_AT) != shmaddr.addr() {
        return invalid("rbuf is not the ring of the segment at shmaddr; pass &desc->header->rbuf, desc->header");
    }
    arena::of_base(shmaddr.addr())
}

/// More bytes than any object has.
#[cold]
fn beyond<T>(missing: c_int, requested: usize, entry: &'static Entry) -> Outcome<T> {
    Err(Fault::Amount(missing, monshm_rbuf::Error::TooLong { requested, limit: entry.segment().size() }))
}

/// `mon_shm_rbuf_append`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_rbuf_append(
    rbuf: *mut RingWords,
    shmaddr: *mut c_void,
    src: *mut c_void,
    srclen: usize,
) {
    or_errno((), || {
        let entry = of_both(rbuf, shmaddr)?;
        if srclen == 0 {
            return Ok(());
        }
        if src.is_null() {
            return invalid("src is NULL");
        }
        if srclen > isize::MAX as usize {
            return beyond(libc::ENOSPC, srclen, entry);
        }
        // SAFETY: not NULL, and srclen bytes of the program's own memory by CALLER.
        let src = unsafe { std::slice::from_raw_parts(src.cast::<u8>(), srclen) };
        entry.with_ring(libc::ENOSPC, |ring| ring.append(src))
    });
}

/// `mon_shm_rbuf_read`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_rbuf_read(
    rbuf: *mut RingWords,
    shmaddr: *mut c_void,
    dst: *mut c_void,
    dstlen: usize,
) {
    or_errno((), || {
        let entry = of_both(rbuf, shmaddr)?;
        if dstlen == 0 {
            return Ok(());
        }
        if dst.is_null() {
            return invalid("dst is NULL");
        }
        if dstlen > isize::MAX as usize {
            return beyond(libc::EAGAIN, dstlen, entry);
        }
        // SAFETY: not NULL, and dstlen bytes of the program's own memory by CALLER; `initialized` makes them bytes of a
        // value.
        let dst = unsafe { std::slice::from_raw_parts_mut(initialized(dst.cast(), dstlen), dstlen) };
        entry.with_ring(libc::EAGAIN, |ring| ring.read(dst))
    });
}

/// `mon_shm_rbuf_skip`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_rbuf_skip(rbuf: *mut RingWords, datalen: usize) {
    or_errno((), || of_ring(rbuf)?.with_ring(libc::EAGAIN, |ring| ring.skip(datalen)));
}

/// `mon_shm_rbuf_avail`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_rbuf_avail(rbuf: *mut RingWords) -> usize {
    or_errno(0, || of_ring(rbuf)?.with_ring(libc::EAGAIN, |ring| ring.avail()))
}

/// `mon_shm_rbuf_len`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_rbuf_len(rbuf: *mut RingWords) -> usize {
    or_errno(0, || of_ring(rbuf)?.with_ring(libc::EAGAIN, |ring| ring.len()))
}
