//! Who may open an object: given to the creator's and the peer's uid when it is made, checked when it is attached.
//!
//! Three ways, the first that fits: one and the same uid (mode 0600); the object given to the peer (`fchown`, by a
//! privileged creator of a named object); an access control list with one extra user, acl(5). Never a group, never
//! everybody. What passes a descriptor on is not checked here.

use std::os::fd::AsFd;

use monshm_core::descriptor::Identity;
use monshm_core::error::{Error, ErrorKind, Operation, Result};
use rustix::io::Errno;

use crate::sys::{self, Answer, Status};

const ACL_NAME: &str = "system.posix_acl_access";
const ACL_VERSION: u32 = 2;
/// Version, and five entries of tag u16, permission u16 and id u32, all little-endian.
const ACL_LEN: usize = 4 + 5 * 8;
/// The id of the second entry.
const USER_ID: std::ops::Range<usize> = 4 + 8 + 4..4 + 8 + 8;
const READ_WRITE: u16 = 6;
const NOBODY: u32 = u32::MAX;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// Gives a memfd to us and to `peer`.
pub(crate) fn grant_memfd(file: impl AsFd, peer: Identity) -> Result<()> {
    let file = file.as_fd();
    if peer.uid == sys::own_uid() {
        return own_only(file);
    }
    sys::set_attribute(file, ACL_NAME, &one_user(peer.uid)).map_err(|errno| no_access(peer, errno))
}

/// Gives a named object to us and to `peer`.
pub(crate) fn grant_named(file: impl AsFd, peer: Identity) -> Result<()> {
    let file = file.as_fd();
    own_only(file)?;
    if peer.uid == NOBODY {
        // To chown(2) this number means "leave it as it is".
        return Err(no_access(peer, Errno::INVAL));
    }
    if peer.uid == sys::own_uid() || sys::set_owner(file, peer.uid).is_ok() {
        // As its owner the peer can also remove the name from a sticky directory.
        return Ok(());
    }
    sys::set_attribute(file, ACL_NAME, &one_user(peer.uid)).map_err(|errno| no_access(peer, errno))
}

/// Checks that an object belongs to `owner` and that nobody but its owner and we can open it.
///
/// # Errors
/// `WrongOwner`, `OpenToOthers`, `NoAccess` when it was made for another user, `System`.
pub(crate) fn check(file: impl AsFd, status: &Status, owner: Identity) -> Result<()> {
    let refuse = |kind| Err(Error::new(Operation::Attach, kind).on("posix"));
    let own_uid = sys::own_uid();
    if status.uid != owner.uid {
        return refuse(ErrorKind::WrongOwner { expected: owner.uid, found: status.uid });
    }
    let mode = status.mode & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    // The group bits of a file with a list are the list's mask.
    let admitted = if mode & 0o007 == 0 { admitted_by_list(file)? } else { None };
    match admitted {
        Some(uid) if uid == own_uid => Ok(()),
        Some(_) if owner.uid != own_uid => refuse(ErrorKind::NoAccess { uid: own_uid }),
        _ => refuse(ErrorKind::OpenToOthers { mode }),
    }
}

fn own_only(file: impl AsFd) -> Result<()> {
    sys::set_mode(file, 0o600).map_err(|errno| sys::fault(Operation::Create, "fchmod", errno))
}

#[cold]
fn no_access(peer: Identity, errno: Errno) -> Error {
    Error::new(Operation::Create, ErrorKind::NoAccessForPeer { uid: peer.uid })
        .on("posix")
        .with_os_error(errno.raw_os_error())
}

/// The list that lets in the owner and `uid`.
fn one_user(uid: u32) -> [u8; ACL_LEN] {
    let entries = [
        (USER_OBJ, READ_WRITE, NOBODY),
        (USER, READ_WRITE, uid),
        (GROUP_OBJ, 0, NOBODY),
        (MASK, READ_WRITE, NOBODY),
        (OTHER, 0, NOBODY),
    ];
    let mut bytes = [0; ACL_LEN];
    let (version, rest) = bytes.split_at_mut(4);
    version.copy_from_slice(&ACL_VERSION.to_le_bytes());
    for (place, (tag, permission, id)) in rest.chunks_exact_mut(8).zip(entries) {
        place[..2].copy_from_slice(&tag.to_le_bytes());
        place[2..4].copy_from_slice(&permission.to_le_bytes());
        place[4..].copy_from_slice(&id.to_le_bytes());
    }
    bytes
}

/// The user whom the file's list lets in beside the owner, if it has one of exactly the form that [`one_user`] makes.
/// The kernel keeps the entries in this order.
fn admitted_by_list(file: impl AsFd) -> Result<Option<u32>> {
    let mut found = [0; ACL_LEN];
    let answer: Answer<usize> = sys::attribute(file, ACL_NAME, &mut found);
    match answer {
        Ok(len) => {
            let uid = <[u8; 4]>::try_from(&found[USER_ID]).map_or(NOBODY, u32::from_le_bytes);
            Ok((len == ACL_LEN && found == one_user(uid)).then_some(uid))
        }
        // No list, a longer one, or a file system that has none.
        Err(Errno::NODATA | Errno::RANGE | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(sys::fault(Operation::Attach, "reading the access control list", errno)),
    }
}
