//! The backends of this build, as one table. To add one is to add a line here.

use std::os::fd::OwnedFd;

use monshm_core::{Attachment, Backend, BackendKind};

/// One mapped segment of any backend.
pub(crate) type AnyAttachment = Box<dyn Attachment<Handle = OwnedFd>>;

/// A backend of any kind.
pub(crate) type AnyBackend = dyn Backend<Handle = OwnedFd>;

/// In the order in which `Auto` prefers them.
pub(crate) const BACKENDS: &[&AnyBackend] = &[
    #[cfg(feature = "posix")]
    &monshm_posix::Posix,
    #[cfg(feature = "sysv")]
    &monshm_sysv::Sysv,
];

/// The backend of this kind, if this build has it.
pub(crate) fn find(kind: BackendKind) -> Option<&'static AnyBackend> {
    BACKENDS.iter().copied().find(|backend| backend.kind() == kind)
}
