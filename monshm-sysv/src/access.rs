//! Who may reach an object: giving it to the peer, and checking that it was given to nobody else.
//!
//! System V lets creator and owner in with the same bits: with the peer as owner and mode 0600, exactly two users get
//! in, and no privilege is needed. The peer, as owner, could open the object further; hence the check at attach.

use monshm_core::{Error, ErrorKind, Identity, Operation};
use rustix::io::Errno;

use crate::sys::{self, Permissions};

/// Makes `peer` the owner by `give`, one of the `IPC_SET` calls. Nothing to do for our own user.
pub(crate) fn give(id: i32, peer: Identity, us: u32, give: fn(i32, u32) -> Result<(), Errno>) -> Result<(), Error> {
    if peer.uid == us {
        return Ok(());
    }
    give(id, peer.uid).map_err(|errno| {
        // EINVAL: a uid that does not exist in this user namespace.
        let kind = match errno {
            Errno::INVAL | Errno::PERM => ErrorKind::NoAccessForPeer { uid: peer.uid },
            Errno::NOMEM => ErrorKind::LimitReached { what: "memory for identities" },
            _ => ErrorKind::System { what: "IPC_SET" },
        };
        Error::new(Operation::Create, kind).with_os_error(errno.raw_os_error())
    })
}

/// Checks that `found` lets in nobody but its creator, who must be `owner`, and us.
///
/// The creator's uid is compared, not the owner's: the owner is the peer, that is us, and the creator is what the
/// kernel keeps for ever and what was authenticated on the socket.
pub(crate) fn check(found: &Permissions, owner: Identity) -> Result<(), ErrorKind> {
    if found.creator_uid != owner.uid {
        return Err(ErrorKind::WrongOwner { expected: owner.uid, found: found.creator_uid });
    }
    let known_owner = found.owner_uid == owner.uid || found.owner_uid == sys::own_uid();
    if found.mode != 0o600 || !known_owner {
        return Err(ErrorKind::OpenToOthers { mode: found.mode });
    }
    Ok(())
}

/// What a refused `IPC_STAT`, `shmat` or `semop` of an attaching process means.
pub(crate) fn refused(errno: Errno, what: &'static str) -> Error {
    let kind = match errno {
        Errno::INVAL | Errno::IDRM => ErrorKind::Gone { what: "no object has this id" },
        Errno::ACCESS | Errno::PERM => ErrorKind::NoAccess { uid: sys::own_uid() },
        Errno::NOMEM | Errno::MFILE | Errno::NOSPC => ErrorKind::LimitReached { what: "mappings or memory" },
        Errno::NOSYS => ErrorKind::Unsupported { what: "System V IPC" },
        _ => ErrorKind::System { what },
    };
    Error::new(Operation::Attach, kind).with_os_error(errno.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_creator_and_we_are_let_in() {
        let us = sys::own_uid();
        let creator = us + 1;
        let owner = Identity { uid: creator, gid: 0 };
        let good = Permissions { creator_uid: creator, owner_uid: us, mode: 0o600 };
        assert_eq!(check(&good, owner), Ok(()));
        assert_eq!(check(&Permissions { owner_uid: creator, ..good }, owner), Ok(()));
        let third = Permissions { owner_uid: us + 2, ..good };
        assert_eq!(check(&third, owner), Err(ErrorKind::OpenToOthers { mode: 0o600 }));
        for mode in (0..0o1000).filter(|mode| *mode != 0o600) {
            assert_eq!(check(&Permissions { mode, ..good }, owner), Err(ErrorKind::OpenToOthers { mode }));
        }
        let foreign = Permissions { creator_uid: us, ..good };
        assert_eq!(check(&foreign, owner), Err(ErrorKind::WrongOwner { expected: creator, found: us }));
    }
}
