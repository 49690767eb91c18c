//! Finds and removes the names in `/dev/shm` that processes which were killed have left behind. Never a living one's.
//!
//! A name stays when its creator dies before a peer has attached, or when the peer may not remove it and the creator is
//! killed. Memfds leave nothing. It judges only what its user owns, unless it runs as root.

use std::os::fd::AsFd;
use std::time::{SystemTime, UNIX_EPOCH};

use monshm_core::descriptor::Name;
use monshm_core::error::{Error, ErrorKind, Operation, Result};
use monshm_core::liveness::Slot;
use monshm_core::survey::{Found, FoundObject, FoundState};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

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
    Ok(survey(!dry_run)?.into_iter().filter_map(left).collect())
}

/// All names that have monshm's form, judged; with `remove`, those that nobody alive has are removed.
pub(crate) fn survey(remove: bool) -> Result<Vec<Found>> {
    let entries = sys::read_folder(PLACE).map_err(|error| {
        Error::new(Operation::Remove, ErrorKind::Unsupported { what: "a /dev/shm that can be read" })
            .on("posix")
            .with_os_error(error.raw_os_error().unwrap_or(0))
    })?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
    let names = entries.flatten().filter_map(|entry| Name::new(&format!("/{}", entry.file_name().to_str()?)));
    Ok(names.filter_map(|name| judge(name, now, remove)).collect())
}

fn left(found: Found) -> Option<Removed> {
    match (found.is_left(), found.object) {
        (true, FoundObject::Name(name)) => Some(Removed { name, size: found.size, owner_uid: found.owner_uid }),
        _ => None,
    }
}

/// Who has what this name leads to; `None` when that is not monshm's, or has gone.
fn judge(name: Name, now: i64, remove: bool) -> Option<Found> {
    if name.as_str().len() != Name::MAX_LEN || !name.as_str().starts_with(Name::PREFIX) {
        return None;
    }
    let path = format!("{PLACE}{name}");
    let first = sys::stat_path(&path).ok()?;
    // What is no file is not opened: a pipe or a device could notice. Nor is what is open to all: another program's.
    if FileType::from_raw_mode(first.st_mode) != FileType::RegularFile || first.st_mode & 0o007 != 0 {
        return None;
    }
    let found = |state| {
        let (object, size) = (FoundObject::Name(name), u64::try_from(first.st_size).unwrap_or(0));
        Some(Found { object, size, owner_uid: first.st_uid, pids: Vec::new(), state })
    };
    let us = sys::own_uid();
    if first.st_uid != us && us != 0 {
        return found(FoundState::OtherUser);
    }
    let file = match sys::open(&path, OFlags::NOFOLLOW, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return None,
        Err(errno) => return found(FoundState::Failed { errno: errno.raw_os_error() }),
    };
    let stat = sys::stat(&file).ok()?;
    if stat.st_ino != first.st_ino || sys::file_system(&file).ok()?.0 != TMPFS_MAGIC {
        return None;
    }
    let mut holders = 0;
    for slot in Slot::all() {
        match sys::is_byte_locked(file.as_fd(), slot.index()) {
            Ok(held) => holders += u32::from(held),
            // Where the kernel does not answer, somebody may live.
            Err(errno) => return found(FoundState::Failed { errno: errno.raw_os_error() }),
        }
    }
    let age = now.saturating_sub(stat.st_ctime as i64);
    if holders > 0 {
        return found(FoundState::InUse { holders });
    }
    if age < CREATION {
        let age_s = u64::try_from(age).unwrap_or(0);
        return found(FoundState::Young { age_s, limit_s: CREATION.unsigned_abs() });
    }
    if !remove {
        return found(FoundState::Left);
    }
    // Nobody makes this name again: it is random. But it may have been removed, and put there by an enemy.
    match sys::stat_path(&path) {
        Ok(again) if again.st_ino == stat.st_ino => {}
        _ => return None,
    }
    match sys::unlink(&path) {
        Ok(()) => found(FoundState::Removed),
        Err(Errno::NOENT) => None,
        Err(errno) => found(FoundState::Failed { errno: errno.raw_os_error() }),
    }
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

    fn judge(name: Name, now: i64, dry_run: bool) -> Option<Removed> {
        super::judge(name, now, !dry_run).and_then(left)
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
    fn each_state_is_told() {
        let (name, file) = abandoned(0o600);
        let state = |now| super::judge(name, now, false).map(|found| found.state);
        let age_s = 3;
        let now = later() - CREATION + 3;
        assert!(
            matches!(state(now), Some(FoundState::Young { age_s: found, limit_s: 10 }) if found >= age_s - 1),
            "{:?}",
            state(now)
        );
        assert_eq!(state(later()), Some(FoundState::Left));
        assert!(sys::lock_byte(file.as_fd(), 0).unwrap() && sys::lock_byte(file.as_fd(), 31).unwrap());
        assert_eq!(state(later()), Some(FoundState::InUse { holders: 2 }));
        drop(file);
        let removed = super::judge(name, later(), true).map(|found| found.state);
        assert_eq!((removed, state(later())), (Some(FoundState::Removed), None));
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
