//! What a backend must do. `monshm-posix` and `monshm-sysv` implement it; the facade alone calls it.
//!
//! The life of a segment, and who does what:
//!
//! 1. [`Backend::create`] makes a kernel object of exactly the size asked for, **reserves its memory**, gives the
//!    peer's uid access and nobody else, and maps it. Bytes are zero. If any step fails, all steps before it are undone
//!    and the first error is answered.
//! 2. The facade writes the header; [`Attachment::create_lock`] sets up the lock; the facade publishes the header.
//! 3. [`Attachment::share`] makes the object reachable: from now on the creator's slot shows that it lives.
//! 4. In the peer, [`Backend::attach`] opens the object that a descriptor names, checks type, owner, access and size
//!    **before** it maps, and maps. It writes nothing. The facade checks header and token, then
//!    [`Attachment::take_slot`] takes a slot, and only then is the first byte written.
//! 5. [`Attachment::remove_name`] removes the object's name as soon as the peer is attached, where there is one and
//!    the platform allows it.
//! 6. Dropping an attachment unmaps and gives the slot back. The creator's drop also removes the name; the last one
//!    removes what the kernel does not. In a forked child ([`crate::fork`]) dropping only unmaps.
//!
//! A backend never trusts a word in the segment; what it knows it keeps in private memory.

use core::fmt::Debug;

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::attachment::{Attachment, ReadAttachment};
use crate::descriptor::{Descriptor, Identity};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::kind::{BackendKind, LockKind, MemoryKind};
use crate::scan::{Cleanup, ScanEntry, ScanObject};

/// What a segment shall be. Checked by the facade before a backend sees it: `size` is a positive number of whole pages
/// not over the limit, `memory` one of the backend's.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// Size in bytes, whole pages.
    pub size: u64,
    /// The kind of memory.
    pub memory: MemoryKind,
    /// Who gets access besides our own user.
    pub peer: Identity,
    /// Which process of that user, as far as it is known.
    pub process: Peer,
    /// What that access allows.
    pub access: Access,
    /// Whether the peer's own descriptor bytes must suffice to attach, with no file descriptor passed.
    pub reachable_by_bytes: bool,
}

/// Which process the peer is. Access is given by user; what this decides is how the peer can reach the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    /// Any process of the user, in namespaces like ours.
    AnyOfItsUser,
    /// The one with this number in our PID namespace.
    Process(u32),
    /// One that our PID namespace does not show, or that was not named.
    NotSeen,
}

/// What a peer may do with the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Read and write.
    Shared,
    /// Read only: from before the memory is shared on, nobody but the creator's own mapping can write to it.
    OneWay,
}

/// One way to share memory. Object-safe: the facade keeps a table of references.
pub trait Backend: Debug + Send + Sync {
    /// What travels beside the descriptor's bytes: an owned file descriptor, where there is one.
    type Handle;

    /// Which choice of the caller it answers to.
    fn kind(&self) -> BackendKind;

    /// The lock kinds that this build of it has; the first is the default.
    fn locks(&self) -> &'static [LockKind];

    /// The kinds of memory that it has; the first is the default.
    fn memories(&self) -> &'static [MemoryKind];

    /// Makes a segment, see the steps above.
    ///
    /// # Errors
    /// `NoSpace`, `LimitReached`, `NoAccessForPeer`, `NotOneWay` where [`Access::OneWay`] cannot be had, `Unsupported`,
    /// `System`; nothing is left behind.
    fn create(&self, request: &Request) -> Result<Box<dyn Attachment<Handle = Self::Handle>>>;

    /// Opens, checks and maps the object that `descriptor` names. `handle` is what came with it: it is taken once it is
    /// known to be the object, and left to the caller to close else, since closing what a peer chose can block.
    ///
    /// # Errors
    /// `HandleMissing`, `HandleUnexpected`, `HandleType`, `Unsealed`, `WrongOwner`, `OpenToOthers`, `ObjectSize`,
    /// `Gone`, `LimitReached`, `System`; nothing is left mapped.
    fn attach(
        &self,
        descriptor: &Descriptor,
        handle: &mut Option<Self::Handle>,
    ) -> Result<Box<dyn Attachment<Handle = Self::Handle>>>;

    /// Opens, checks and maps for reading the object that `descriptor` names, which must be one-way. Takes no slot and
    /// writes nothing.
    ///
    /// # Errors
    /// `Unsealed` when its creator is not the only one that can write; `NotOneWay`; else as [`Backend::attach`].
    fn attach_reader(
        &self,
        descriptor: &Descriptor,
        _handle: &mut Option<Self::Handle>,
    ) -> Result<Box<dyn ReadAttachment>> {
        Err(Error::new(Operation::Attach, ErrorKind::NotOneWay { memory: descriptor.object.memory() }))
    }

    /// Lists the objects of this backend that a name or an id leads to, and judges who holds them. With
    /// [`Cleanup::Remove`] it removes those that nobody alive holds: what two SIGKILLs leave. Never one that a living
    /// process uses or is making, and never another user's, unless we are root.
    ///
    /// # Errors
    /// `Unsupported` where the system does not list its objects. What vanishes meanwhile is left out.
    fn scan(&self, cleanup: Cleanup) -> Result<Vec<ScanEntry>>;

    /// Which object of this backend a mapping of a process shows, by its path and inode number as /proc/PID/maps has
    /// them. For people: another program can give its memory the same name.
    fn mapped_object(&self, path: &str, inode: u64) -> Option<ScanObject>;
}
