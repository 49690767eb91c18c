//! The one error of monshm: what was being done, what went wrong, to which object, and what to do next.
//!
//! Mapping to the errno values of the C interface is done there.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::descriptor::DescriptorFault;
use crate::header::HeaderFault;
use crate::kind::{BackendKind, LockKind, MemoryKind};
use crate::liveness::SLOT_COUNT;
use crate::region::OutOfBounds;

/// The result of everything in monshm that can fail.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// What was being done when an error came up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Making a segment.
    Create,
    /// Making a descriptor.
    Encode,
    /// Handing a segment over a socket.
    Send,
    /// Taking a segment from a socket.
    Receive,
    /// Reading a descriptor.
    Decode,
    /// Attaching to a segment.
    Attach,
    /// Taking the lock.
    Lock,
    /// Letting go of the lock.
    Unlock,
    /// Taking room for common data.
    Allocate,
    /// Turning an offset into an address.
    Address,
    /// Using the ring.
    Ring,
    /// Removing a segment.
    Remove,
}

/// What went wrong, to `match` on. The numbers are bytes unless they say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A size of 0 was asked for.
    #[error("a size of 0 bytes makes no sense; ask for at least 1")]
    ZeroSize,
    /// The size is beyond what monshm maps.
    #[error("{asked} bytes are over the limit of {limit} bytes; ask for less")]
    SizeOverLimit {
        /// The size asked for.
        asked: u64,
        /// The largest size.
        limit: u64,
    },
    /// The size overflows when it is rounded up to pages.
    #[error("{asked} bytes overflow when rounded up to whole pages; ask for less")]
    SizeOverflow {
        /// The size asked for.
        asked: u64,
    },
    /// The common data that was asked for does not fit in the segment beside the header and the least ring.
    #[error("{asked} bytes of common data do not fit in a segment of {size} bytes; ask for a larger segment")]
    CommonDataOverSize {
        /// The common data asked for.
        asked: u64,
        /// The size of the segment.
        size: u64,
    },
    /// [`BackendKind::None`] was asked for.
    #[error("shared memory is switched off (backend none); choose auto, posix or sysv")]
    Disabled,
    /// The backend is not part of this build.
    #[error("the backend {backend} is not in this build; enable the feature of that name")]
    BackendNotBuilt {
        /// The backend asked for.
        backend: BackendKind,
    },
    /// The lock kind is not part of this build.
    #[error("the lock {lock} is not in this build; enable its feature")]
    LockNotBuilt {
        /// The lock asked for.
        lock: LockKind,
    },
    /// The backend has no such lock.
    #[error("the backend {backend} has no lock {lock}; it has: {choices}")]
    LockNotOfBackend {
        /// The lock asked for.
        lock: LockKind,
        /// The backend.
        backend: BackendKind,
        /// The locks that it has.
        choices: Choices<LockKind>,
    },
    /// The backend has no such memory.
    #[error("the backend {backend} has no {memory} memory; it has: {choices}")]
    MemoryNotOfBackend {
        /// The memory asked for.
        memory: MemoryKind,
        /// The backend.
        backend: BackendKind,
        /// The kinds of memory that it has.
        choices: Choices<MemoryKind>,
    },
    /// The lock must not be shared with a peer that is not trusted.
    #[error(
        "the lock {lock} must not be shared with uid {peer_uid}, which is not trusted: by editing the lock's words it \
         could crash this process or write into it; use futex or sysv-sem, or declare the peer trusted"
    )]
    LockNotTrusted {
        /// The lock asked for.
        lock: LockKind,
        /// The peer's user id.
        peer_uid: u32,
    },
    /// There is no way to let the peer in and nobody else.
    #[error(
        "uid {uid} cannot be given access to this object alone; hand the segment over a socket, or use sysv"
    )]
    NoAccessForPeer {
        /// The peer's user id.
        uid: u32,
    },
    /// The object exists, but this user has no access to it.
    #[error("uid {uid} has no access to the object; the creator must name this uid as its peer")]
    NoAccess {
        /// Our user id.
        uid: u32,
    },
    /// Every backend refused; [`Error::refusals`] tells why.
    #[error("no backend could make the segment")]
    NoBackend,
    /// There is not enough memory of this kind.
    #[error("{asked} bytes do not fit in {place} ({free} bytes free); try another backend or a smaller size")]
    NoSpace {
        /// The size asked for.
        asked: u64,
        /// What is free, 0 when the system does not tell.
        free: u64,
        /// Where.
        place: &'static str,
    },
    /// A limit of the process or of the system is reached.
    #[error("the limit on {what} is reached; raise it, or let go of some")]
    LimitReached {
        /// On what.
        what: &'static str,
    },
    /// The system lacks something.
    #[error("this system lacks {what}")]
    Unsupported {
        /// What it lacks.
        what: &'static str,
    },
    /// The bytes are no descriptor that can be used.
    #[error("{0}")]
    Descriptor(DescriptorFault),
    /// The segment does not have the size that was expected.
    #[error("the segment has {found} bytes, expected were {expected}; both sides must name the same size")]
    SizeMismatch {
        /// The size expected, as it was asked for.
        expected: u64,
        /// The size of the segment.
        found: u64,
    },
    /// The object is smaller or larger than its descriptor promises.
    #[error(
        "the object has {found} bytes, its descriptor promises {promised}; the sender is broken or hostile"
    )]
    ObjectSize {
        /// The size in the descriptor.
        promised: u64,
        /// The size that the kernel tells.
        found: u64,
    },
    /// The object is not owned by whom the descriptor or the socket names.
    #[error(
        "the object is owned by uid {found}, expected was uid {expected}; the sender is broken or hostile"
    )]
    WrongOwner {
        /// The owner expected.
        expected: u32,
        /// The owner that the kernel tells.
        found: u32,
    },
    /// More than the creator and the peer can reach the object.
    #[error("the object is open to others (mode {mode:o}); refuse the sender")]
    OpenToOthers {
        /// Its permission bits.
        mode: u32,
    },
    /// The descriptor needs a file descriptor that did not come.
    #[error("the file descriptor that belongs to this segment did not come; pass the one that `encode` gave")]
    HandleMissing,
    /// A file descriptor came that this kind of segment does not use.
    #[error("a file descriptor came that this segment does not use; pass none")]
    HandleUnexpected,
    /// The object, or the file descriptor that came for it, is not of the right type.
    #[error("the object is {found}, not {expected}; the sender is broken or hostile")]
    HandleType {
        /// What it is.
        found: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The memory object could still shrink or grow under us.
    #[error("the memfd is not sealed against {missing}; the sender is broken or hostile")]
    Unsealed {
        /// Which seals are missing.
        missing: &'static str,
    },
    /// The memory object is sealed so that it cannot be used.
    #[error("the memfd is sealed against writing, so the segment cannot be used by both sides")]
    SealedAgainstWriting,
    /// The token in the descriptor was used, replaced or never given.
    #[error("the descriptor was used already, or is too old; ask the creator to encode a new one")]
    TokenSpent,
    /// The object does not exist any more, or its creator has gone.
    #[error("the segment is gone: {what}; ask the creator for a new one")]
    Gone {
        /// How that shows.
        what: &'static str,
    },
    /// The object holds no segment that this build can use.
    #[error("{0}")]
    Header(HeaderFault),
    /// A shared word holds what no honest process writes.
    #[error("the segment is corrupt: {what}; detach from it")]
    Corrupt {
        /// Which word, and how.
        what: &'static str,
    },
    /// Corruption was found before, through this handle.
    #[error("the segment was found corrupt before; detach from it")]
    Poisoned,
    /// All attach slots are taken.
    #[error("all {SLOT_COUNT} attach slots are taken; detach somewhere first")]
    SlotsTaken,
    /// The offset does not lie in the segment.
    #[error("{0}")]
    OutOfBounds(OutOfBounds),
    /// The alignment is beyond what a segment gives.
    #[error("an alignment of {align} is over the limit of {limit}")]
    Misaligned {
        /// The alignment asked for.
        align: u64,
        /// The largest alignment.
        limit: u64,
    },
    /// There is no room for that much: of common data, or in the ring.
    #[error("{needed} bytes do not fit: there is room for {available}")]
    NoRoom {
        /// Bytes needed.
        needed: u64,
        /// Bytes that there is room for.
        available: u64,
    },
    /// The ring does not hold that much.
    #[error("{asked} bytes were asked for: the ring holds {available}")]
    NoData {
        /// Bytes asked for.
        asked: u64,
        /// Bytes in the ring.
        available: u64,
    },
    /// Producer or consumer of the ring is claimed already.
    #[error("the {role} of this ring is claimed by {by}; there is one at a time")]
    Claimed {
        /// "producer" or "consumer".
        role: &'static str,
        /// Who has it: a slot's tag.
        by: u32,
    },
    /// The other end of the ring has closed it.
    #[error("the other end of the ring has closed it")]
    Closed,
    /// Somebody holds the lock; `try_lock` does not wait.
    #[error("the lock is held; try again, or wait for it with lock or lock_timeout")]
    WouldBlock,
    /// The deadline passed.
    #[error("the time is up: {what}")]
    TimedOut {
        /// What did not happen.
        what: &'static str,
    },
    /// This thread holds the lock already.
    #[error("this thread holds the lock already; let go of its guard first")]
    Deadlock,
    /// This thread does not hold the lock.
    #[error("this thread does not hold the lock; only who locked can unlock")]
    NotHolder,
    /// Only the creator of a segment can do this.
    #[error("only the creator of the segment can make descriptors of it")]
    NotCreator,
    /// The handle was inherited across fork(2).
    #[error("this handle belongs to the parent process; a forked child attaches by a descriptor of its own")]
    Forked,
    /// The process at the other end of the socket is not the peer.
    #[error("the other end of the socket is uid {found}, the segment is for uid {expected}")]
    WrongPeer {
        /// The user id that the segment was made for.
        expected: u32,
        /// The user id at the other end.
        found: u32,
    },
    /// The other side answered that it could not attach.
    #[error("the peer could not attach (its errno {errno}); see the peer's own message")]
    PeerRefused {
        /// What the peer's call would set errno to.
        errno: u32,
    },
    /// The other side closed the socket.
    #[error("the peer closed the socket before {what}")]
    PeerGone {
        /// Before what.
        what: &'static str,
    },
    /// The message on the socket is not one of monshm's.
    #[error("the message is not a handover of monshm: {what}")]
    Protocol {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The operating system refused something that has no kind of its own.
    #[error("{what} failed")]
    System {
        /// Which call.
        what: &'static str,
    },
}

/// What the caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NextStep {
    /// The same call may succeed later.
    Retry,
    /// Another backend, lock or size may succeed.
    ChooseAnother,
    /// The peer, or the segment it shares, is not to be used any more.
    GiveUpPeer,
    /// The call itself is wrong.
    MendCall,
}

/// The names of a few choices, for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choices<T: 'static>(pub &'static [T]);

/// Why one backend did not make the segment that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The backend.
    pub backend: BackendKind,
    /// Its error.
    pub error: Error,
}

/// An error of monshm. As small as a pointer, so that the fast paths stay fast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<Detail>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Detail {
    operation: Operation,
    kind: ErrorKind,
    object: Option<Cow<'static, str>>,
    os_error: Option<i32>,
    refusals: Vec<Refusal>,
}

impl Error {
    /// An error of `kind` during `operation`.
    #[cold]
    pub fn new(operation: Operation, kind: ErrorKind) -> Self {
        Self(Box::new(Detail { operation, kind, object: None, os_error: None, refusals: Vec::new() }))
    }

    /// Names the object that it happened to.
    #[must_use]
    pub fn on(mut self, object: impl Into<Cow<'static, str>>) -> Self {
        self.0.object = Some(object.into());
        self
    }

    /// Adds what the operating system answered: a positive errno value.
    #[must_use]
    pub fn with_os_error(mut self, errno: i32) -> Self {
        self.0.os_error = Some(errno);
        self
    }

    /// Adds why each backend refused.
    #[must_use]
    pub fn with_refusals(mut self, refusals: Vec<Refusal>) -> Self {
        self.0.refusals = refusals;
        self
    }

    /// The same error, seen during another operation.
    #[must_use]
    pub fn during(mut self, operation: Operation) -> Self {
        self.0.operation = operation;
        self
    }

    /// What was being done.
    pub fn operation(&self) -> Operation {
        self.0.operation
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The object that it happened to, as the message names it.
    pub fn object(&self) -> Option<&str> {
        self.0.object.as_deref()
    }

    /// The errno value that the operating system answered, if it was asked.
    pub fn os_error(&self) -> Option<i32> {
        self.0.os_error
    }

    /// Why each backend refused, where the kind is [`ErrorKind::NoBackend`].
    pub fn refusals(&self) -> &[Refusal] {
        &self.0.refusals
    }

    /// What to do about it.
    pub fn next_step(&self) -> NextStep {
        self.0.kind.next_step()
    }
}

impl ErrorKind {
    /// What to do about an error of this kind.
    pub const fn next_step(&self) -> NextStep {
        match self {
            Self::WouldBlock
            | Self::TimedOut { .. }
            | Self::NoData { .. }
            | Self::SlotsTaken
            | Self::LimitReached { .. } => NextStep::Retry,
            Self::Disabled
            | Self::BackendNotBuilt { .. }
            | Self::LockNotBuilt { .. }
            | Self::LockNotOfBackend { .. }
            | Self::MemoryNotOfBackend { .. }
            | Self::LockNotTrusted { .. }
            | Self::NoAccessForPeer { .. }
            | Self::NoBackend
            | Self::NoSpace { .. }
            | Self::NoRoom { .. }
            | Self::Unsupported { .. }
            | Self::System { .. } => NextStep::ChooseAnother,
            Self::Descriptor(_)
            | Self::ObjectSize { .. }
            | Self::WrongOwner { .. }
            | Self::OpenToOthers { .. }
            | Self::HandleType { .. }
            | Self::Unsealed { .. }
            | Self::SealedAgainstWriting
            | Self::NoAccess { .. }
            | Self::TokenSpent
            | Self::Gone { .. }
            | Self::Header(_)
            | Self::Corrupt { .. }
            | Self::Poisoned
            | Self::Closed
            | Self::WrongPeer { .. }
            | Self::PeerRefused { .. }
            | Self::PeerGone { .. }
            | Self::Protocol { .. } => NextStep::GiveUpPeer,
            Self::ZeroSize
            | Self::SizeOverLimit { .. }
            | Self::SizeOverflow { .. }
            | Self::CommonDataOverSize { .. }
            | Self::SizeMismatch { .. }
            | Self::HandleMissing
            | Self::HandleUnexpected
            | Self::OutOfBounds(_)
            | Self::Misaligned { .. }
            | Self::Claimed { .. }
            | Self::Deadlock
            | Self::NotHolder
            | Self::NotCreator
            | Self::Forked => NextStep::MendCall,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Encode => "encode",
            Self::Send => "send",
            Self::Receive => "receive",
            Self::Decode => "decode",
            Self::Attach => "attach",
            Self::Lock => "lock",
            Self::Unlock => "unlock",
            Self::Allocate => "allocate",
            Self::Address => "address",
            Self::Ring => "ring",
            Self::Remove => "remove",
        })
    }
}

impl<T: fmt::Display> fmt::Display for Choices<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, choice) in self.0.iter().enumerate() {
            write!(f, "{}{choice}", if position == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.0.operation)?;
        if let Some(object) = &self.0.object {
            write!(f, "{object}: ")?;
        }
        write!(f, "{}", self.0.kind)?;
        if let Some(errno) = self.0.os_error {
            write!(f, " (errno {errno})")?;
        }
        for refusal in &self.0.refusals {
            write!(f, "; {}: {}", refusal.backend, refusal.error.0.kind)?;
        }
        Ok(())
    }
}

impl core::error::Error for Error {}

impl From<(Operation, ErrorKind)> for Error {
    fn from((operation, kind): (Operation, ErrorKind)) -> Self {
        Self::new(operation, kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    #[test]
    fn a_message_names_operation_object_limit_and_way_out() {
        let kind = ErrorKind::NoSpace { asked: 67_108_864, free: 12_582_912, place: "/dev/shm" };
        let error = Error::new(Operation::Create, kind).on("posix").with_os_error(28);
        assert_eq!(
            error.to_string(),
            "create: posix: 67108864 bytes do not fit in /dev/shm (12582912 bytes free); \
             try another backend or a smaller size (errno 28)"
        );
        assert_eq!(error.next_step(), NextStep::ChooseAnother);
    }

    #[test]
    fn every_refusal_is_told() {
        let refusal = |backend, kind| Refusal { backend, error: Error::new(Operation::Create, kind) };
        let error = Error::new(Operation::Create, ErrorKind::NoBackend).with_refusals(vec![
            refusal(BackendKind::Posix, ErrorKind::NoAccessForPeer { uid: 7 }),
            refusal(BackendKind::Sysv, ErrorKind::LimitReached { what: "SysV segments" }),
        ]);
        let text = error.to_string();
        assert!(text.contains("posix: uid 7") && text.contains("sysv: the limit on SysV segments"), "{text}");
    }

    #[test]
    fn an_error_is_as_small_as_a_pointer() {
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }
}
