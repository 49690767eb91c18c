//! Reserves a segment's memory at creation, so that a lack of it is an error then and never a kill later.
//!
//! System V has no `fallocate`. Populating the mapping takes the pages now, but where there are too few the kernel does
//! not answer: it wakes the OOM killer. So large requests are compared with what is free first. That is an estimate,
//! and two creators at the same time can both pass; small requests are not worth the reading.

use std::fs;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use monshm_core::ErrorKind;
use rustix::io::Errno;

use crate::sys;

/// From this size on, in bytes, the system is asked first how much is free.
const ASK_FIRST: u64 = 64 << 20;

/// Refuses what is larger than the free memory of the system and of our control groups.
///
/// # Errors
/// `NoSpace`.
pub(crate) fn check_limits(asked: u64) -> Result<(), ErrorKind> {
    if asked < ASK_FIRST {
        return Ok(());
    }
    let system = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| group_room(&text, Path::new(GROUPS)));
    for (free, place) in [(system, "memory"), (groups, "the memory limit of the control group")] {
        if let Some(free) = free.filter(|free| *free < asked) {
            return Err(ErrorKind::NoSpace { asked, free, place });
        }
    }
    Ok(())
}

/// Has the kernel give all pages of a new mapping.
///
/// # Errors
/// `NoSpace`, `System`, with the errno value.
///
/// # Safety
/// `base..base + len` is a shared mapping of zeros that nobody else uses yet.
pub(crate) unsafe fn populate(base: NonNull<u8>, len: usize) -> Result<(), (ErrorKind, Errno)> {
    loop {
        // SAFETY: the caller's promise.
        let Err(errno) = (unsafe { sys::populate(base, len) }) else { return Ok(()) };
        let kind = match errno {
            Errno::INTR => continue,
            Errno::INVAL | Errno::NOSYS => {
                // A kernel before 5.14. SAFETY: the caller's promise.
                unsafe { touch(base, len) };
                return Ok(());
            }
            Errno::NOMEM | Errno::FAULT | Errno::AGAIN => {
                ErrorKind::NoSpace { asked: len as u64, free: 0, place: "memory" }
            }
            _ => ErrorKind::System { what: "madvise" },
        };
        return Err((kind, errno));
    }
}

/// Writes a zero into every page of memory that is zero.
///
/// # Safety
/// As for [`populate`].
unsafe fn touch(base: NonNull<u8>, len: usize) {
    for offset in (0..len).step_by(sys::page_size()) {
        // SAFETY: offset < len lies in the mapping of the caller's promise, which nobody else uses; a u8 is always
        // aligned. Volatile, since the compiler may leave out a plain write, and an atomic one that changes nothing.
        unsafe { base.as_ptr().add(offset).write_volatile(0) };
    }
}

/// `MemAvailable` of /proc/meminfo, in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kib.checked_mul(1024)
}

const GROUPS: &str = "/sys/fs/cgroup";

/// The least that any control group (version 2) between ours and the root has left, in bytes; `None` where no limit is
/// set or none can be read. File pages that are not in active use count as free, since the kernel drops them first.
fn group_room(cgroup: &str, root: &Path) -> Option<u64> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mut group: PathBuf = root.join(path);
    let mut least = None;
    while group.starts_with(root) && group != root {
        let room = room_of(&group);
        least = match (least, room) {
            (Some(least), Some(room)) => Some(u64::min(least, room)),
            (least, room) => least.or(room),
        };
        group.pop();
    }
    least
}

fn room_of(group: &Path) -> Option<u64> {
    let number = |file: &str| fs::read_to_string(group.join(file)).ok()?.trim().parse::<u64>().ok();
    // "max", which does not parse, is no limit.
    let limit = number("memory.max")?;
    let used = number("memory.current")?;
    let idle = fs::read_to_string(group.join("memory.stat"))
        .ok()
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("inactive_file "))?.trim().parse::<u64>().ok());
    Some(limit.saturating_sub(used.saturating_sub(idle.unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_free_is_read_in_bytes() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:    1024 kB\n"), Some(1 << 20));
        assert_eq!(available("MemTotal: 9 kB\n"), None);
        assert_eq!(available("MemAvailable: many kB\n"), None);
    }

    #[test]
    fn small_requests_pass_and_impossible_ones_do_not() {
        assert_eq!(check_limits(4096), Ok(()));
        assert!(
            matches!(check_limits(1 << 50), Err(ErrorKind::NoSpace { asked, free, .. }) if asked == 1 << 50 && free > 0)
        );
    }

    #[test]
    fn the_tightest_group_on_the_way_up_decides() {
        let root = std::env::temp_dir().join(format!("monshm-sysv-groups-{}", std::process::id()));
        let inner = root.join("outer/inner");
        fs::create_dir_all(&inner).unwrap();
        let write = |group: &Path, max: &str, current: &str, stat: &str| {
            fs::write(group.join("memory.max"), max).unwrap();
            fs::write(group.join("memory.current"), current).unwrap();
            fs::write(group.join("memory.stat"), stat).unwrap();
        };
        write(&inner, "max\n", "5\n", "inactive_file 1\n");
        let ask = || group_room("1:memory:/x\n0::/outer/inner\n", &root);
        assert_eq!(ask(), None, "no limit is set");
        write(&root.join("outer"), "1000\n", "900\n", "anon 1\ninactive_file 50\n");
        assert_eq!(ask(), Some(150));
        write(&inner, "400\n", "390\n", "anon 1\n");
        assert_eq!(ask(), Some(10));
        assert_eq!(group_room("0::/\n", &root), None);
        assert_eq!(group_room("4:memory:/x\n", &root), None);
        fs::remove_dir_all(&root).unwrap();
    }
}
