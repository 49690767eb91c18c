//! The backends of this build, as one table. To add one is to add a line here.

use std::os::fd::OwnedFd;

use monshm_core::backend::Reading;
use monshm_core::{Attachment, Backend, BackendKind, Descriptor, Found, LockKind, MemoryKind, Request, Result};

/// One mapped segment of any backend.
pub(crate) type AnyAttachment = Box<dyn Attachment<Handle = OwnedFd>>;

/// One mapped segment of any backend, for reading.
pub(crate) type AnyReading = Box<dyn Reading>;

/// A backend as a value.
pub(crate) struct Entry {
    pub(crate) kind: BackendKind,
    pub(crate) locks: &'static [LockKind],
    pub(crate) memories: &'static [MemoryKind],
    pub(crate) create: fn(&Request) -> Result<AnyAttachment>,
    pub(crate) attach: fn(&Descriptor, Option<OwnedFd>) -> Result<AnyAttachment>,
    pub(crate) one_way: &'static [MemoryKind],
    pub(crate) create_one_way: fn(&Request) -> Result<AnyAttachment>,
    pub(crate) attach_reader: fn(&Descriptor, Option<OwnedFd>) -> Result<AnyReading>,
    pub(crate) survey: fn(bool) -> Result<Vec<Found>>,
    pub(crate) mapped: fn() -> Vec<Found>,
}

/// In the order in which `Auto` prefers them.
pub(crate) const BACKENDS: &[Entry] = &[
    #[cfg(feature = "posix")]
    entry::<monshm_posix::Posix>(),
    #[cfg(feature = "sysv")]
    entry::<monshm_sysv::Sysv>(),
];

/// The backend of this kind, if this build has it.
pub(crate) fn find(kind: BackendKind) -> Option<&'static Entry> {
    BACKENDS.iter().find(|entry| entry.kind == kind)
}

#[cfg(any(feature = "posix", feature = "sysv"))]
const fn entry<B: Backend<Handle = OwnedFd>>() -> Entry {
    Entry {
        kind: B::KIND,
        locks: B::LOCKS,
        memories: B::MEMORIES,
        create: B::create,
        attach: B::attach,
        one_way: B::ONE_WAY,
        create_one_way: B::create_one_way,
        attach_reader: B::attach_reader,
        survey: B::survey,
        mapped: B::mapped,
    }
}
#[cfg(not(any(feature = "posix", feature = "sysv")))]
const _: () = {
    // Keeps the contract in use where no backend is built.
    fn _contract<B: Backend>() {}
};
