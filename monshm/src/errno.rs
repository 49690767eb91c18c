//! The errno value of each kind of error: what the C interface returns and what travels in a refused handover.

use monshm_core::{Error, ErrorKind};
use rustix::io::Errno;

/// The positive errno value that says most of `error`. Where the operating system was asked and no kind of our own says
/// more, it is the system's answer.
pub fn errno(error: &Error) -> i32 {
    let errno = match error.kind() {
        ErrorKind::ZeroSize
        | ErrorKind::SizeOverflow { .. }
        | ErrorKind::SizeOverLimit { .. }
        | ErrorKind::CommonDataOverSize { .. }
        | ErrorKind::OutOfBounds(_)
        | ErrorKind::Misaligned { .. }
        | ErrorKind::MixedRing
        | ErrorKind::HandleMissing
        | ErrorKind::HandleUnexpected
        | ErrorKind::NotCreator => Errno::INVAL,
        ErrorKind::Disabled
        | ErrorKind::BackendNotBuilt { .. }
        | ErrorKind::LockNotBuilt { .. }
        | ErrorKind::LockNotOfBackend { .. }
        | ErrorKind::MemoryNotOfBackend { .. }
        | ErrorKind::Truncatable { .. }
        | ErrorKind::NotOneWay { .. }
        | ErrorKind::Unsupported { .. } => Errno::NOTSUP,
        ErrorKind::LockNotTrusted { .. }
        | ErrorKind::NoAccessForPeer { .. }
        | ErrorKind::NoAccess { .. }
        | ErrorKind::WrongOwner { .. }
        | ErrorKind::OpenToOthers { .. }
        | ErrorKind::WrongPeer { .. }
        | ErrorKind::NotHolder
        | ErrorKind::Forked => Errno::PERM,
        ErrorKind::NoSpace { .. } | ErrorKind::NoRoom { .. } => Errno::NOSPC,
        ErrorKind::LimitReached { .. } => system(error).unwrap_or(Errno::MFILE),
        ErrorKind::Descriptor(_)
        | ErrorKind::ObjectSize { .. }
        | ErrorKind::HandleType { .. }
        | ErrorKind::Unsealed { .. }
        | ErrorKind::SealedAgainstWriting
        | ErrorKind::Header(_)
        | ErrorKind::Corrupt { .. }
        | ErrorKind::Poisoned
        | ErrorKind::MemoryLost
        | ErrorKind::Protocol { .. } => Errno::PROTO,
        ErrorKind::SizeMismatch { .. } => Errno::MSGSIZE,
        ErrorKind::SocketType { .. } => Errno::PROTOTYPE,
        ErrorKind::TokenSpent => Errno::STALE,
        ErrorKind::Gone { .. } | ErrorKind::Unreachable { .. } => system(error).unwrap_or(Errno::NOENT),
        ErrorKind::SlotsTaken | ErrorKind::Claimed { .. } => Errno::BUSY,
        ErrorKind::NoData { .. } => Errno::AGAIN,
        ErrorKind::Closed | ErrorKind::PeerGone { .. } => Errno::PIPE,
        ErrorKind::TimedOut { .. } => Errno::TIMEDOUT,
        ErrorKind::Deadlock => Errno::DEADLK,
        ErrorKind::PeerRefused { errno } => {
            return i32::try_from(errno).unwrap_or(Errno::PROTO.raw_os_error());
        }
        // `Auto` speaks through its last candidate: the one it would have liked least to do without.
        ErrorKind::NoBackend => {
            return error.refusals().last().map_or(Errno::NOTSUP.raw_os_error(), |last| self::errno(&last.error));
        }
        _ => system(error).unwrap_or(Errno::IO),
    };
    errno.raw_os_error()
}

fn system(error: &Error) -> Option<Errno> {
    error.os_error().map(Errno::from_raw_os_error)
}
