//! Finds and removes the names in `/dev/shm` that processes which were killed have left behind. Never a living one's.
//!
//! A name stays when its creator dies before a peer has attached, or when the peer may not remove it and the creator is
//! killed. Memfds leave nothing. It judges only what its user owns, unless it runs as root.

use std::os::fd::AsFd;
use std::time::{SystemTime, UNIX_EPOCH};

use monshm_core::descriptor::Name;
use monshm_core::error::{Error, ErrorKind, Operation, Result};
use monshm_core::liveness::Slot;
use rustix::fs::{FileType, Mode, OFlags};

use crate::segment::{PLACE, TMPFS_MAGIC};
use crate::sys;

/// How long a creator may take between making the name and locking its slot, in seconds.
const CREATION: i64 = 10;

/// A name that was left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Removed {
    /// The name, as `shm_unlink` takes it.
    pub name: Name,
    /// The size of the object in bytes.
    pub size: u64,
    /// Who owns it.
    pub owner_uid: u32,
}

/// Removes the names that belong to nobody alive; with `dry_run`, only lists them.
///
/// A name goes if it has the form that monshm gives names, leads to a file of a tmpfs that its owner's group and others
/// cannot open (but for one user on its access list), is older than ten seconds, and no process holds a slot in the
/// object: the kernel lets go of a slot when its process ends. A creator holds its slot from the moment that the name
/// exists, but for those ten seconds.
///
/// # Examples
/// ```
/// for object in monshm_posix::clean(true)? {
///     println!("would remove {}", object.name);
/// }
/// # Ok::<(), monshm_core::Error>(())
/// ```
///
/// # Errors
/// `Unsupported` where there is no `/dev/shm` to be read. An object that vanishes or refuses meanwhile is left out.
pub fn clean(dry_run: bool) -> Result<Vec<Removed>> {
    let entries = std::fs::read_dir(PLACE).map_err(|error| {
        Error::new(Operation::Remove, ErrorKind::Unsupported { what: "a /dev/shm that can be read" })
            .on("posix")
            .with_os_error(error.raw_os_error().unwrap_or(0))
    })?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
    let names = entries.flatten().filter_map(|entry| Name::new(&format!("/{}", entry.file_name().to_str()?)));
    Ok(names.filter_map(|name| judge(name, now, dry_run)).collect())
}

/// Whether a name was left behind; unless told not to, it is then removed.
fn judge(name: Name, now: i64, dry_run: bool) -> Option<Removed> {
    if name.as_str().len() != Name::MAX_LEN || !name.as_str().starts_with(Name::PREFIX) {
        return None;
    }
    let path = format!("{PLACE}{name}");
    // What is no file is not opened: a pipe or a device could notice.
    let looks_right = FileType::from_raw_mode(sys::stat_path(&path).ok()?.st_mode) == FileType::RegularFile;
    let file = looks_right.then(|| sys::open(&path, OFlags::NOFOLLOW, Mode::empty()).ok()).flatten()?;
    let stat = sys::stat(&file).ok()?;
    let us = sys::own_uid();
    let ours = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && sys::file_system(&file).ok()?.0 == TMPFS_MAGIC
        && stat.st_mode & 0o007 == 0
        && (stat.st_uid == us || us == 0);
    let old = now.saturating_sub(stat.st_ctime as i64) >= CREATION;
    // Where the kernel does not answer, somebody may live.
    let slots = || std::iter::once(Slot::CREATOR).chain(Slot::peers());
    let in_use = || slots().any(|slot| sys::is_byte_locked(file.as_fd(), slot.index()).unwrap_or(true));
    if !ours || !old || in_use() {
        return None;
    }
    if !dry_run {
        // Nobody makes this name again: it is random. But it may have been removed, and put there by an enemy.
        let same = sys::stat_path(&path).is_ok_and(|found| found.st_ino == stat.st_ino);
        if !same || sys::unlink(&path).is_err() {
            return None;
        }
    }
    Some(Removed { name, size: u64::try_from(stat.st_size).unwrap_or(0), owner_uid: stat.st_uid })
}

#[cfg(test)]
mod tests {
    use super::*;
    use monshm_core::backend::{Attachment, Request};
    use monshm_core::descriptor::Identity;
    use monshm_core::kind::MemoryKind;
    use std::os::fd::OwnedFd;

    // Each test judges its own name alone: the others' segments come and go.

    fn later() -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64 + CREATION
    }

    fn exists(name: Name) -> bool {
        sys::stat_path(&format!("{PLACE}{name}")).is_ok()
    }

    fn abandoned(mode: u32) -> (Name, OwnedFd) {
        let name = Name::from_random(sys::random_bits().unwrap());
        let flags = OFlags::CREATE | OFlags::EXCL;
        let file = sys::open(&format!("{PLACE}{name}"), flags, Mode::from_raw_mode(0o600)).unwrap();
        sys::set_mode(&file, mode).unwrap();
        (name, file)
    }

    #[test]
    fn a_name_without_a_living_slot_goes_once_it_is_old() {
        let (name, _file) = abandoned(0o600);
        assert_eq!(judge(name, later() - 2 * CREATION, false), None, "its creator may be at it");
        let found = judge(name, later(), true);
        assert_eq!(found, Some(Removed { name, size: 0, owner_uid: sys::own_uid() }));
        assert!(exists(name), "a dry run");
        assert_eq!(judge(name, later(), false), found);
        assert!(!exists(name));
        assert_eq!(judge(name, later(), false), None);
    }

    #[test]
    fn what_is_open_to_all_is_another_programs() {
        let (name, _file) = abandoned(0o666);
        assert_eq!(judge(name, later(), false), None);
        sys::unlink(&format!("{PLACE}{name}")).unwrap();
        let other = Name::new("/mon-short").unwrap();
        std::fs::write(format!("{PLACE}{other}"), "").unwrap();
        assert_eq!(judge(other, later(), false), None);
        sys::unlink(&format!("{PLACE}{other}")).unwrap();
    }

    #[test]
    fn who_holds_a_slot_lives() {
        let (name, file) = abandoned(0o600);
        let peer = Slot::peers().last().unwrap();
        assert!(sys::lock_byte(file.as_fd(), peer.index()).unwrap());
        assert_eq!(judge(name, later(), false), None);
        drop(file);
        assert!(judge(name, later(), false).is_some());
    }

    #[test]
    fn a_creator_lives_before_anybody_was_told() {
        let peer = Identity { uid: sys::own_uid(), gid: u32::MAX };
        let request = Request { size: 65536, memory: MemoryKind::Named, peer, reachable_by_bytes: true };
        let creator = crate::segment::create(&request).unwrap();
        let base = format!("{:x}-", creator.region().base().as_ptr() as usize);
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let line = maps.lines().find(|line| line.starts_with(&base)).unwrap();
        let name = Name::new(line.split_once(PLACE).unwrap().1).unwrap();
        assert_eq!(judge(name, later(), false), None);
        assert!(exists(name));
    }
}
