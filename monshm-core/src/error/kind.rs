//! What can go wrong, to `match` on, and what the caller can do about it.
//!
//! During which operation, to which object and with which answer of the system is `Error`'s to say.

use core::fmt;

use super::errno::Errno;
use crate::descriptor::DescriptorFault;
use crate::kind::{BackendKind, LockKind, MemoryKind};
use crate::layout::HeaderFault;
use crate::layout::SLOT_COUNT;
use crate::region::OutOfBounds;

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
    /// The memory cannot be made one-way.
    #[error("{memory} memory cannot be made such that the peer only reads; a memfd can")]
    NotOneWay {
        /// The memory.
        memory: MemoryKind,
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
    #[error("uid {uid} cannot be given access to this object alone; hand the segment over a socket, or use sysv")]
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
    /// Every backend refused; [`crate::Error::refusals`] tells why.
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
    #[error("the limit on {what} is reached; raise it, or release some")]
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
    #[error("the object has {found} bytes, its descriptor promises {promised}; the sender is broken or hostile")]
    ObjectSize {
        /// The size in the descriptor.
        promised: u64,
        /// The size that the kernel tells.
        found: u64,
    },
    /// The object is not owned by whom the descriptor or the socket names.
    #[error("the object is owned by uid {found}, expected was uid {expected}; the sender is broken or hostile")]
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
    #[error("the memfd is sealed against writing: it is one-way, and can be attached to by a reader alone")]
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
    /// Bytes alone do not lead the peer to the memory: on the creator's side when it is known beforehand, on the peer's
    /// when it is tried. See [Bytes alone](https://docs.rs/monshm/latest/monshm/#bytes-alone).
    #[error(
        "bytes alone do not lead to the memory: {why}; hand the segment over a socket, or pass the file descriptor, or \
         make it of another memory (shm_open, System V)"
    )]
    Unreachable {
        /// Why not.
        why: &'static str,
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
    /// The memory was truncated, and zeros stand in its place: the peer truncated the object, or punched a hole
    /// into it and left no room to fill it again. Nothing that this handle shows since then is the segment's.
    #[error(
        "the memory of the segment was taken away: its object was truncated, or could not be filled again; give up \
         this peer, and detach"
    )]
    MemoryLost,
    /// The memory is of a kind that a peer can truncate, and the caller refuses such memory.
    #[error(
        "{memory} memory can be truncated by a peer, which this side refuses; use memfd or sysv-shm, or allow it and \
         have SIGBUS handled"
    )]
    Truncatable {
        /// The kind of memory.
        memory: MemoryKind,
    },
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
    /// Bytes and records were mixed on one ring.
    #[error("bytes and records were mixed on this ring; use one or the other, or whole multiples of 8 bytes")]
    MixedRing,
    /// Producer or consumer of the ring is claimed already.
    #[error("the {role} of this ring is claimed by {}; there is one at a time", Claimant(*by, *pid))]
    Claimed {
        /// "producer" or "consumer".
        role: &'static str,
        /// Who has it: the number of the attach slot plus one.
        by: u32,
        /// The process that took that slot, in its own PID namespace, as it recorded itself; 0 where nothing is
        /// recorded.
        pid: u32,
    },
    /// The other end of the ring has closed it.
    #[error("the other end of the ring has closed it")]
    Closed,
    /// The deadline passed.
    #[error("the time is up: {what}")]
    TimedOut {
        /// What did not happen.
        what: &'static str,
    },
    /// This thread holds the lock already.
    #[error("this thread holds the lock already; drop its guard first")]
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
    #[error("the peer could not attach (it answered {}); see the peer's own message", Errno(*errno as i32))]
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
    /// The socket is not one that a segment can be handed over.
    #[error("the socket is {found}; a segment goes over a connected Unix stream socket (SOCK_STREAM)")]
    SocketType {
        /// What it is.
        found: &'static str,
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

impl ErrorKind {
    /// What to do about an error of this kind.
    pub const fn next_step(&self) -> NextStep {
        match self {
            Self::TimedOut { .. } | Self::NoData { .. } | Self::SlotsTaken | Self::LimitReached { .. } => {
                NextStep::Retry
            }
            Self::Disabled
            | Self::BackendNotBuilt { .. }
            | Self::LockNotBuilt { .. }
            | Self::LockNotOfBackend { .. }
            | Self::MemoryNotOfBackend { .. }
            | Self::NotOneWay { .. }
            | Self::LockNotTrusted { .. }
            | Self::NoAccessForPeer { .. }
            | Self::Unreachable { .. }
            | Self::NoBackend
            | Self::NoSpace { .. }
            | Self::NoRoom { .. }
            | Self::Truncatable { .. }
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
            | Self::MemoryLost
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
            | Self::MixedRing
            | Self::SocketType { .. }
            | Self::Claimed { .. }
            | Self::Deadlock
            | Self::NotHolder
            | Self::NotCreator
            | Self::Forked => NextStep::MendCall,
        }
    }
}

/// Who claimed an endpoint, by tag and pid, for a message.
struct Claimant(u32, u32);

impl fmt::Display for Claimant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let &Self(tag, pid) = self;
        if pid != 0 {
            write!(f, "process {pid}, in ")?;
        }
        write!(f, "attach slot {}", tag.wrapping_sub(1))
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
