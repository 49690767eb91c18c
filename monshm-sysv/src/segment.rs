//! The `shmget` segment: made and reserved, or checked and mapped; unmapped when dropped.
//!
//! On Linux the id is removed right after the creator's own `shmat`: a peer can still attach by id while anybody is
//! attached, and the kernel frees the memory with the last process. Elsewhere it is removed once the peer is attached.
//! The key only matters between `shmget` and `IPC_RMID`; nothing is ever attached by it.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};

use monshm_core::error::Choices;
use monshm_core::{
    BackendKind, Descriptor, DescriptorFault, Error, ErrorKind, HEADER_SIZE, Identity, MAX_SEGMENT_SIZE, MappedBytes,
    MemoryKind, Object, Operation, Result,
};
use rustix::io::Errno;

use crate::sys;
use crate::turnstile::Turnstile;
use crate::{access, key, reserve};

/// The kinds of memory, the default first.
pub(crate) const MEMORIES: &[MemoryKind] = &[MemoryKind::SysvShm];

/// Whether a segment can be attached to after `IPC_RMID`.
const REMOVE_EARLY: bool = cfg!(target_os = "linux");

/// How often an address is chosen anew when another thread has mapped something there. Threads that attach pass one
/// by one, but others map what they like.
const ADDRESSES: u32 = 64;

/// A mapped segment.
///
/// *Invariant MAPPED*: `base..base + len` is the whole segment `id`, mapped for reading and writing from when this
/// value was made until it is dropped; `HEADER_SIZE <= len <= MAX_SEGMENT_SIZE`.
#[derive(Debug)]
pub(crate) struct Segment {
    id: i32,
    base: NonNull<u8>,
    len: usize,
    /// Whether the id may still have to be removed, by the creator or by a peer.
    has_id: AtomicBool,
    /// Whether this is a creation that has not come to its end.
    half_made: bool,
}

// SAFETY: the pointer is only handed out as a MappedBytes, which is Send and Sync, and freed once, by Drop, which has
// the value for itself.
unsafe impl Send for Segment {}
// SAFETY: as for Send; `&Segment` changes nothing but an atomic.
unsafe impl Sync for Segment {}

impl Segment {
    /// Makes, maps and reserves a segment of `size` bytes, whole pages, that `peer` can reach.
    pub(crate) fn create(size: u64, peer: Identity, us: u32) -> Result<Self> {
        let error = |kind| Error::new(Operation::Create, kind).on("sysv");
        reserve::check_limits(size).map_err(error)?;
        let len = usize::try_from(size)
            .ok()
            .filter(|_| size >= HEADER_SIZE as u64 && size <= MAX_SEGMENT_SIZE)
            .ok_or_else(|| error(ErrorKind::SizeOverLimit { asked: size, limit: MAX_SEGMENT_SIZE }))?;
        let (id, _) = key::with_fresh(|key| sys::shm_create(key, len)).map_err(|errno| not_made(size, errno))?;
        let named = |error: Error| error.on(format!("sysv segment {id}"));
        let base = match sys::shm_attach(id, None) {
            Ok(base) => base,
            Err(errno) => {
                let _ = sys::shm_remove(id);
                return Err(named(not_made(size, errno)));
            }
        };
        let mut segment = Self { id, base, len, has_id: AtomicBool::new(true), half_made: true };
        if REMOVE_EARLY {
            sys::shm_remove(id).map_err(|errno| {
                named(error(ErrorKind::System { what: "shmctl IPC_RMID" }).with_os_error(errno.raw_os_error()))
            })?;
            *segment.has_id.get_mut() = false;
        }
        // SAFETY: MAPPED; nobody else knows the segment yet.
        unsafe { reserve::populate(base, len) }
            .map_err(|(kind, errno)| named(error(kind).with_os_error(errno.raw_os_error())))?;
        access::give(id, peer, us, sys::shm_give).map_err(named)?;
        segment.half_made = false;
        Ok(segment)
    }

    /// Checks and maps the segment that `descriptor` names. Writes nothing.
    pub(crate) fn attach(id: i32, descriptor: &Descriptor) -> Result<Self> {
        let error = |kind| Error::new(Operation::Attach, kind).on(format!("sysv segment {id}"));
        let size = descriptor.size;
        let len = usize::try_from(size)
            .ok()
            .filter(|_| size >= HEADER_SIZE as u64 && size <= MAX_SEGMENT_SIZE)
            .ok_or_else(|| error(ErrorKind::Descriptor(DescriptorFault::BadSize { found: size })))?;
        check(id, descriptor)?;
        let segment =
            Self { id, base: map(id, len, descriptor)?, len, has_id: AtomicBool::new(!REMOVE_EARLY), half_made: false };
        // Between the first check and the mapping, a hostile creator can have put another object under the same id.
        // Now that we are attached the id cannot change hands any more, and what is found is what is mapped.
        check(id, descriptor)?;
        Ok(segment)
    }

    /// The id, as `shmat` takes it.
    pub(crate) fn id(&self) -> i32 {
        self.id
    }

    /// The mapping, valid until this value is dropped.
    pub(crate) fn region(&self) -> MappedBytes {
        // SAFETY: MAPPED; a mapping starts at a page, and no page is smaller than 4096 bytes; MAX_SEGMENT_SIZE is
        // below isize::MAX. Every owner of the MappedBytes keeps this value alive, as `Attachment::region` demands.
        unsafe { MappedBytes::new(self.base, self.len) }
    }

    /// Removes the id, where that was not done early. Once: afterwards it can be another object's.
    pub(crate) fn remove(&self) {
        // Relaxed: the flag orders nothing, it only lets one caller through.
        if self.has_id.swap(false, Ordering::Relaxed) {
            let _ = sys::shm_remove(self.id);
        }
    }
}

impl Drop for Segment {
    /// Unmaps. The id is removed here only if the creation failed; else that is [`Segment::remove`]'s, which a forked
    /// child does not call.
    fn drop(&mut self) {
        if self.half_made {
            self.remove();
        }
        // SAFETY: MAPPED ends here: the value is gone, and with it, by the contract of `region`, every use.
        unsafe { sys::shm_detach(self.base) };
    }
}

/// The ids of the objects that `descriptor` names, as `shmat` and `semop` take them.
pub(crate) fn ids(descriptor: &Descriptor) -> Result<(i32, i32)> {
    match descriptor.object {
        Object::Sysv { shm_id, sem_id } => Ok((shm_id, sem_id)),
        object => Err(not_ours(Operation::Attach, object.memory())),
    }
}

#[cold]
fn not_ours(operation: Operation, memory: MemoryKind) -> Error {
    let (backend, choices) = (BackendKind::Sysv, Choices(MEMORIES));
    Error::new(operation, ErrorKind::MemoryNotOfBackend { memory, backend, choices }).on("sysv")
}

/// Compares the object with its descriptor.
fn check(id: i32, descriptor: &Descriptor) -> Result<()> {
    let name = || format!("sysv segment {id}");
    let status = sys::shm_status(id).map_err(|errno| access::refused(errno, "shmctl IPC_STAT").on(name()))?;
    let error = |kind| Error::new(Operation::Attach, kind).on(name());
    access::check(&status.permissions, descriptor.owner).map_err(error)?;
    if status.size != descriptor.size {
        return Err(error(ErrorKind::ObjectSize { promised: descriptor.size, found: status.size }));
    }
    Ok(())
}

/// Maps the segment at an address that no huge page can have.
///
/// A hostile creator can pass a `SHM_HUGETLB` segment, whose pages can be taken away so that touching them is SIGBUS,
/// and `IPC_STAT` does not tell. But the kernel refuses to map huge pages where they are not aligned: here, at an odd
/// multiple of four ordinary pages (four, since some machines demand that of every `shmat`).
fn map(id: i32, len: usize, descriptor: &Descriptor) -> Result<NonNull<u8>> {
    let name = || format!("sysv segment {id}");
    let unit = 4 * sys::page_size();
    let _turnstile = Turnstile::enter();
    for _ in 0..ADDRESSES {
        let free = sys::free_range(len + 4 * unit).map_err(|errno| access::refused(errno, "mmap").on(name()))?;
        let address = (free.addr().get().div_ceil(unit) | 1) * unit;
        let hint = free.map_addr(|free| address.try_into().unwrap_or(free));
        match sys::shm_attach(id, Some(hint)) {
            Ok(base) => return Ok(base),
            // Gone, or another thread was faster to map here, or huge pages.
            Err(Errno::INVAL) => {
                check(id, descriptor)?;
                std::thread::yield_now();
            }
            Err(errno) => return Err(access::refused(errno, "shmat").on(name())),
        }
    }
    let kind = ErrorKind::HandleType { found: "a segment of huge pages", expected: "one of ordinary pages" };
    Err(Error::new(Operation::Attach, kind).on(name()).with_os_error(Errno::INVAL.raw_os_error()))
}

/// What a refused `shmget` or `shmat` of a creator means.
fn not_made(size: u64, errno: Errno) -> Error {
    let no_space = |free, place| ErrorKind::NoSpace { asked: size, free, place };
    let kind = match errno {
        Errno::INVAL => no_space(0, "one System V segment (SHMMAX)"),
        Errno::NOSPC if sys::shm_usage().is_none_or(|(used, most)| used >= most) => {
            ErrorKind::LimitReached { what: "System V segments (SHMMNI)" }
        }
        Errno::NOSPC => no_space(0, "all System V segments (SHMALL)"),
        Errno::NOMEM => no_space(0, "memory"),
        Errno::MFILE => ErrorKind::LimitReached { what: "attached System V segments (SHMSEG)" },
        Errno::NFILE => ErrorKind::LimitReached { what: "open files of the system (fs.file-max)" },
        Errno::EXIST => ErrorKind::LimitReached { what: "System V keys" },
        Errno::NOSYS => ErrorKind::Unsupported { what: "System V shared memory" },
        _ => ErrorKind::System { what: "shmget or shmat" },
    };
    Error::new(Operation::Create, kind).on("sysv").with_os_error(errno.raw_os_error())
}
