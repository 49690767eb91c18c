//! Counts what is there: names in `/dev/shm`, System V ids, and what this process has open and mapped.
//!
//! It also gives the campaigns a `/dev/shm` and System V tables of their own, where it may, so that other programs'
//! objects are not counted. It removes nothing.

use std::fs;
use std::io;

/// What there is at one time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Census {
    /// Names in `/dev/shm` that begin as monshm's do, and System V ids with the table that they are in.
    pub(crate) objects: Vec<String>,
    /// This process's file descriptors.
    pub(crate) fds: usize,
    /// This process's mappings of shared memory.
    pub(crate) mappings: usize,
}

impl Census {
    /// Counts now.
    pub(crate) fn take() -> Self {
        let mut objects = Vec::new();
        for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("mon-") {
                objects.push(format!("/dev/shm/{name}"));
            }
        }
        for table in ["shm", "sem"] {
            let text = fs::read_to_string(format!("/proc/sysvipc/{table}")).unwrap_or_default();
            let ids = text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1));
            objects.extend(ids.map(|id| format!("{table} {id}")));
        }
        objects.sort();
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let shared = |line: &&str| ["/memfd:", "/dev/shm/", "/SYSV"].iter().any(|place| line.contains(place));
        Self {
            objects,
            fds: fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
            mappings: maps.lines().filter(shared).count(),
        }
    }

    /// The objects that are here and were not in `before`.
    pub(crate) fn since(&self, before: &Self) -> Vec<String> {
        self.objects.iter().filter(|object| !before.objects.contains(object)).cloned().collect()
    }
}

/// Gives this process a `/dev/shm` and System V tables of its own. To be called with one thread.
///
/// # Errors
/// What the kernel answers to somebody who may not: then other programs' objects are counted too.
pub(crate) fn isolate() -> io::Result<()> {
    let done = |answer: libc::c_int| if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: takes no pointers.
    done(unsafe { libc::unshare(libc::CLONE_NEWIPC | libc::CLONE_NEWNS) })?;
    let none = std::ptr::null();
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: the strings are terminated literals; null is allowed where the kind of mount needs no value.
    done(unsafe { libc::mount(none, c"/".as_ptr(), none, private, std::ptr::null()) })?;
    let (tmpfs, place) = (c"tmpfs".as_ptr(), c"/dev/shm".as_ptr());
    // SAFETY: as above.
    done(unsafe { libc::mount(tmpfs, place, tmpfs, libc::MS_NOSUID | libc::MS_NODEV, std::ptr::null()) })
}
