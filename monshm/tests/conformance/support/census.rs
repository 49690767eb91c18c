//! Counts what a process or a user has: file descriptors, mappings, names, System V ids.
//!
//! It removes nothing.

use std::fs;
use std::os::unix::fs::MetadataExt;

/// What this process has open and mapped. For a process of one test: others would be counted too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    /// Each file descriptor's number and what it leads to.
    pub(crate) fds: Vec<String>,
    /// Each mapping of shared memory: its pages' object, as `/proc/self/maps` names it.
    pub(crate) mappings: Vec<String>,
}

/// Counts now.
pub(crate) fn of_process() -> Process {
    let fd = |entry: fs::DirEntry| {
        let target = fs::read_link(entry.path()).ok()?;
        // The one that reads the folder is there for this alone.
        let own = target.to_string_lossy().ends_with(&format!("/proc/{}/fd", std::process::id()));
        (!own).then(|| format!("{} {}", entry.file_name().to_string_lossy(), target.display()))
    };
    let mut fds: Vec<String> = fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(fd).collect();
    fds.sort();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mappings = maps.lines().filter(|line| is_shared_memory(line)).map(str::to_owned).collect();
    Process { fds, mappings }
}

/// Whether a line of `/proc/self/maps` is of a memfd, a name in `/dev/shm` or a System V segment.
fn is_shared_memory(line: &str) -> bool {
    ["/memfd:", "/dev/shm/", "/SYSV"].iter().any(|place| line.contains(place))
}

/// What a user has left in the system: names in `/dev/shm`, System V segments and semaphore sets that it created or
/// owns.
pub(crate) fn of_user(uid: u32) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/dev/shm").unwrap().flatten() {
        // It may have gone since it was listed: another test's.
        if entry.metadata().is_ok_and(|meta| meta.uid() == uid) {
            found.push(entry.path().display().to_string());
        }
    }
    for table in ["/proc/sysvipc/shm", "/proc/sysvipc/sem"] {
        // Absent where the kernel has no System V IPC.
        let text = fs::read_to_string(table).unwrap_or_default();
        let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let names = lines.next().unwrap_or_default();
        let column = |name: &str| names.iter().position(|found| *found == name).unwrap();
        for row in lines {
            let is = |name: &str| row[column(name)].parse() == Ok(uid);
            if is("uid") || is("cuid") {
                found.push(format!("{table} id {}", row[1]));
            }
        }
    }
    found
}
