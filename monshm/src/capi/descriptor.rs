//! Segments: made, attached to, handed over, counted, ended; addresses and common data.
//!
//! Locking and the ring are in files of their own.

use std::alloc::Layout;
use std::cell::Cell;
use std::ffi::{c_int, c_uint, c_void};
use std::io::Write;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicI32, Ordering};

use monshm_core::{BackendKind, Error, ErrorKind, LockKind, Operation};

use super::arena::{self, find};
use super::buffer::Buffer;
use super::fault::{Fault, NO_DESCRIPTOR, Outcome, coded_uncancelled, invalid, or_errno_uncancelled, set_errno};
use super::lock::{mon_shm_lock, mon_shm_trylock, mon_shm_unlock};
use super::message::borrow;
use super::types::{MonBuffer, MonIpcCreds, MonShmDesc};
use crate::attach::AttachOptions;
use crate::segment::Segment;
use crate::sys::DEFAULT_TIMEOUT;

/// What `mon_shm_data_alloc` aligns to, in bytes.
const DATA_ALIGN: usize = 16;

thread_local! {
    /// The lock of the segments that this thread makes; `None`: the default.
    static LOCK_KIND: Cell<Option<LockKind>> = const { Cell::new(None) };
}

/// `mon_shm_new`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_new(size: usize, peer: *mut MonIpcCreds, implementation: c_int) -> *mut MonShmDesc {
    or_errno_uncancelled(std::ptr::null_mut(), || {
        let Some(backend) = BackendKind::from_wire(implementation) else {
            return invalid("impl is none of the values of mon_shm_impl");
        };
        let mut builder = Segment::builder(size).backend(backend).reachable_by_bytes(true);
        // SAFETY: NULL or valid, by CALLER.
        if let Some(peer) = unsafe { peer.as_ref() } {
            builder = builder.peer((*peer).into());
        }
        if let Some(lock) = LOCK_KIND.get() {
            builder = builder.lock(lock);
        }
        describe(builder.create()?)
    })
}

/// `mon_shm_set_lock_kind`.
#[unsafe(no_mangle)]
pub extern "C" fn mon_shm_set_lock_kind(kind: c_uint) -> c_int {
    coded_uncancelled(|| {
        let chosen = LockKind::from_wire(kind);
        if chosen.is_none() && kind != 0 {
            return invalid("kind is none of the values of mon_shm_lock_kind");
        }
        LOCK_KIND.set(chosen);
        Ok(())
    })
}

/// `mon_shm_done`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_done(desc: *mut MonShmDesc) {
    or_errno_uncancelled((), || {
        let entry = find(desc)?;
        // AcqRel: what the other references' users did comes before the end.
        match entry.references().fetch_sub(1, Ordering::AcqRel) {
            1 => entry.end(),
            2.. => Ok(()),
            // The program wrote into the count, or another thread is ending the descriptor.
            _ => {
                entry.references().fetch_add(1, Ordering::Relaxed);
                invalid(NO_DESCRIPTOR)
            }
        }
    });
}

/// `mon_shm_desc.destroy`: what the last `mon_shm_done` does.
///
/// # Safety
/// CALLER; no other reference is used any more.
unsafe extern "C" fn destroy(desc: *mut MonShmDesc) {
    or_errno_uncancelled((), || find(desc)?.end());
}

/// `mon_shm_ref`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_ref(desc: *mut MonShmDesc) {
    or_errno_uncancelled((), || {
        // Relaxed: a thread that counts up holds a reference, so that nothing is ended beside it.
        let before = find(desc)?.references().fetch_add(1, Ordering::Relaxed);
        if (1..c_int::MAX).contains(&before) {
            return Ok(());
        }
        find(desc)?.references().fetch_sub(1, Ordering::Relaxed);
        Err(Fault::Plain(libc::EOVERFLOW, "the count of references is full, or the program wrote into it"))
    });
}

/// `mon_shm_encode`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_encode(desc: *mut MonShmDesc, buf: *mut MonBuffer) -> c_int {
    coded_uncancelled(|| {
        let segment = find(desc)?.segment();
        // SAFETY: CALLER.
        let mut buffer = unsafe { Buffer::of(buf) }?;
        buffer.append(&segment.encode()?.bytes)
    })
}

/// `mon_shm_decode`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_decode(buf: *mut MonBuffer, size: usize) -> *mut MonShmDesc {
    or_errno_uncancelled(std::ptr::null_mut(), || {
        // SAFETY: CALLER.
        let mut buffer = unsafe { Buffer::of(buf) }?;
        let (descriptor, used) = monshm_proto::decode_prefix(buffer.bytes())
            .map_err(|fault| Error::new(Operation::Decode, ErrorKind::Descriptor(fault)))?;
        let attached = AttachOptions::new(size).attach(&descriptor, None, None);
        let desc = describe(attached.inspect_err(complain_of_size)?)?;
        buffer.consume(used);
        Ok(desc)
    })
}

/// `mon_shm_send`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_send(desc: *mut MonShmDesc, fd: c_int) -> c_int {
    coded_uncancelled(|| {
        let segment = find(desc)?.segment();
        // SAFETY: CALLER: nobody closes fd during the call.
        let socket: BorrowedFd<'_> = unsafe { borrow(fd) }?;
        Ok(segment.send(socket, DEFAULT_TIMEOUT)?)
    })
}

/// `mon_shm_recv`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_recv(fd: c_int, size: usize) -> *mut MonShmDesc {
    or_errno_uncancelled(std::ptr::null_mut(), || {
        // SAFETY: as in `mon_shm_send`.
        let socket: BorrowedFd<'_> = unsafe { borrow(fd) }?;
        describe(Segment::receive(socket, size, DEFAULT_TIMEOUT)?)
    })
}

/// `mon_shm_addr`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_addr(desc: *mut MonShmDesc, offset: usize) -> *mut c_void {
    // No guard: nothing here can panic.
    let address = find(desc).and_then(|entry| Ok(entry.segment().address(offset as u64)?));
    match address {
        Ok(address) => address.as_ptr().cast(),
        Err(fault) => {
            set_errno(fault.keep());
            std::ptr::null_mut()
        }
    }
}

/// `mon_shm_data_alloc`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_data_alloc(desc: *mut MonShmDesc, size: usize, ptr: *mut *mut c_void) -> c_int {
    coded_uncancelled(|| {
        let segment = find(desc)?.segment();
        if ptr.is_null() {
            return invalid("ptr is NULL");
        }
        let Ok(layout) = Layout::from_size_align(size, DATA_ALIGN) else {
            let available = segment.size() as u64;
            let kind = ErrorKind::NoRoom { needed: size as u64, available };
            return Err(Error::new(Operation::Allocate, kind).into());
        };
        let address = segment.address(segment.alloc(layout)?)?;
        // SAFETY: not NULL, and valid for writing by CALLER.
        unsafe { *ptr = address.as_ptr().cast() };
        Ok(())
    })
}

/// Makes the descriptor of a segment.
fn describe(segment: Segment) -> Outcome<*mut MonShmDesc> {
    arena::insert(segment, |segment, entry| MonShmDesc {
        header: segment.inner().attachment.region().base().as_ptr().cast(),
        implementation: segment.selection().backend().wire(),
        orig_size: segment.size(),
        private: entry.cast(),
        is_master: segment.is_creator().into(),
        destroy: Some(destroy),
        lock: Some(mon_shm_lock),
        unlock: Some(mon_shm_unlock),
        trylock: Some(mon_shm_trylock),
        encode: Some(mon_shm_encode),
        refcnt: AtomicI32::new(1),
        lock_kind: segment.lock_kind().wire(),
    })
}

/// Prints the line that the reference promises when the size is not the one that was asked for.
fn complain_of_size(error: &Error) {
    let impossible =
        matches!(error.kind(), ErrorKind::ZeroSize | ErrorKind::SizeOverflow { .. } | ErrorKind::SizeOverLimit { .. });
    if impossible || matches!(error.kind(), ErrorKind::SizeMismatch { .. }) {
        // One write; a stderr that is closed is no reason to fail otherwise than by errno.
        let _ = std::io::stderr().write_all(format!("mon_shm_decode: {error}\n").as_bytes());
    }
}
