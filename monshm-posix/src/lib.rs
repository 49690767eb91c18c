//! The POSIX backend of monshm: memfd or a named object in `/dev/shm`, and three locks.
//!
//! | file | its job |
//! |------|---------|
//! | `attachment` | what an attachment has, the order of its parts, and its end |
//! | `mapping`  | the mapped bytes and their slots, which an attachment and its locks share |
//! | `segment/` | makes, or opens and checks, the memory object |
//! | `slots`    | attach slots as file locks, and the question who lives |
//! | `reserve`  | limits, and memory that is there when it is written |
//! | `access`   | who may open an object, given and checked |
//! | `reach`    | whether bytes alone lead a peer to our memfd |
//! | `lock/`    | futex word, robust pthread mutex, `sem_t` |
//! | `scan/`    | lists the names, removes those that killed processes left, and lists what is mapped without one |
//! | `fork`     | what must not follow a child |
//! | `sigbus`   | keeps the process alive when a peer truncates memory that cannot be sealed |
//! | `sys`      | every call to the operating system |
//!
//! What it does not do: it chooses nothing (the facade's `select` does), writes no header, trusts no word in the
//! segment, and queues no threads. Linux for now: memfd, futex(2) and open-file-description locks are Linux's.
//!
//! Limits that follow from the platform, not from this code:
//! - A named object cannot be sealed: a peer that shrinks it makes the other side's next access a SIGBUS. The first
//!   mapping of one installs a handler for that signal in this process, which puts zeros there, and the handle answers
//!   `MemoryLost` from then on. What that asks of a program stands at the top of `sigbus.rs`; the facade can
//!   refuse such memory instead.
//! - `/proc` must be mounted: an open file description of one's own is had in no other way.
//! - A child made by a raw `clone`, past the handlers of `pthread_atfork`, keeps its parent's slot alive until it execs
//!   or ends.

mod access;
mod attachment;
mod fork;
mod lock;
mod mapping;
mod reach;
mod reserve;
mod scan;
mod segment;
mod sigbus;
mod slots;
mod sys;

use std::os::fd::OwnedFd;

use monshm_core::attachment::{Attachment, ReadAttachment};
use monshm_core::backend::{Backend, Request};
use monshm_core::descriptor::Descriptor;
use monshm_core::error::Result;
use monshm_core::kind::{BackendKind, LockKind, MemoryKind};
use monshm_core::scan::{Cleanup, ScanEntry, ScanObject};

/// The POSIX backend, as the facade's table names it. Everything is reached through [`Backend`].
#[derive(Debug, Clone, Copy)]
pub struct Posix;

impl Backend for Posix {
    type Handle = OwnedFd;

    fn kind(&self) -> BackendKind {
        BackendKind::Posix
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

    fn attach_reader(&self, descriptor: &Descriptor, handle: &mut Option<OwnedFd>) -> Result<Box<dyn ReadAttachment>> {
        Ok(Box::new(attachment::attach_reader(descriptor, handle)?))
    }

    fn scan(&self, cleanup: Cleanup) -> Result<Vec<ScanEntry>> {
        scan::scan(cleanup)
    }

    fn mapped_object(&self, path: &str, inode: u64) -> Option<ScanObject> {
        scan::mapped_object(path, inode)
    }
}
