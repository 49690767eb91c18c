//! The System V backend of monshm: `shmget` for the memory, one `semget` set for the lock and the slots.
//!
//! What System V gives: no file, no mount, no size of `/dev/shm`; access for exactly two users by `IPC_SET`; a lock
//! whose state is in the kernel. What it lacks: the kernel does not remove a semaphore set whose users have died.
//! The last process out removes it, also one that ends by exit(3) without a drop of its handles, and
//! [`Backend::scan`] finds what two SIGKILLs leave.
//!
//! | file | its job |
//! |------|---------|
//! | `attachment` | what an attachment has, the order of its parts, and its end |
//! | `mapping`  | the mapped bytes and their slots, which an attachment and its locks share |
//! | `segment`  | makes, or opens and checks, the memory object |
//! | `slots`    | attach slots as semaphores, and the question who lives |
//! | `reserve`  | limits, and memory that is there when it is written |
//! | `identity` | which set an id names, since ids are given again |
//! | `key`      | keys by which a stale object can be found |
//! | `turnstile` | one thread at a time looks for a free range of addresses |
//! | `access`   | who may reach an object, given and checked |
//! | `lock/`    | semaphore with a dirty word, futex word |
//! | `fork`     | that a forked child is noticed |
//! | `scan`     | lists the objects, and removes those that killed processes left |
//! | `sys`      | every call to the operating system |
//!
//! # The semaphore set
//!
//! | semaphore | value |
//! |-----------|-------|
//! | 0         | the lock: 1 free, 0 held; taken and given with `SEM_UNDO` |
//! | 1 … 32    | one for each attach slot: 1 while its process lives, raised with `SEM_UNDO`; 0 else |
//! | 33        | the mark: [`SET_MARK`] once the set is initialised, 0 before |
//!
//! # What it does not do
//! It does not decide who may be a peer, write the segment's header or check its token: the facade does. It does not
//! survive a `fork(2)`: in a child, dropping only unmaps. An `execve(2)` unmaps, but slot and lock stay with the
//! process until it ends, since the kernel keeps `SEM_UNDO` across it.
//!
//! Linux for now. Another Unix differs where `cfg` stands, and in `sys`: `getrandom`, `semtimedop`, futex(2) and the
//! populating `madvise` are Linux's.
//!
//! # What a hostile peer can do
//! It owns the objects as much as we do: it can remove the set, close it to us, or set any semaphore. Then locks
//! answer `Gone`, `Corrupt` or `TimedOut`, or exclusion breaks; calls keep their deadlines and nothing is leaked here.
//! It can also have the id of a removed set given to another set of ours: that one is not removed, changed or asked in
//! place of the first, since id, key and creator are compared (`identity`). A handle that found its set gone answers
//! `Gone` from then on, whatever has the id. The memory's id cannot change hands while we are attached to it.

mod access;
mod attachment;
mod fork;
mod identity;
mod key;
mod lock;
mod mapping;
mod reserve;
mod scan;
mod segment;
mod slots;
mod sys;
mod turnstile;

use std::os::fd::OwnedFd;

use monshm_core::attachment::Attachment;
use monshm_core::backend::{Backend, Request};
use monshm_core::descriptor::Descriptor;
use monshm_core::error::Result;
use monshm_core::kind::{BackendKind, LockKind, MemoryKind};
use monshm_core::scan::{Cleanup, ScanEntry, ScanObject};

pub use key::KEY_PREFIX;
pub use slots::SET_MARK;

/// The System V backend, as the facade's table names it. Everything is reached through [`Backend`].
#[derive(Debug, Clone, Copy)]
pub struct Sysv;

impl Backend for Sysv {
    /// Ids suffice; nothing travels beside the bytes.
    type Handle = OwnedFd;

    fn kind(&self) -> BackendKind {
        BackendKind::Sysv
    }

    fn locks(&self) -> &'static [LockKind] {
        lock::KINDS
    }

    fn memories(&self) -> &'static [MemoryKind] {
        segment::MEMORIES
    }

    fn create(&self, request: &Request) -> Result<Box<dyn Attachment<Handle = OwnedFd>>> {
        Ok(Box::new(attachment::create(request)?))
    }

    fn attach(
        &self,
        descriptor: &Descriptor,
        handle: &mut Option<OwnedFd>,
    ) -> Result<Box<dyn Attachment<Handle = OwnedFd>>> {
        Ok(Box::new(attachment::attach(descriptor, handle)?))
    }

    fn scan(&self, cleanup: Cleanup) -> Result<Vec<ScanEntry>> {
        scan::scan(cleanup)
    }

    fn mapped_object(&self, path: &str, inode: u64) -> Option<ScanObject> {
        scan::mapped_object(path, inode)
    }
}
