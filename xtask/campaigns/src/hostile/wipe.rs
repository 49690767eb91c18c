//! The objects of a user that are left in the system after a play; and, where the tables are our own, their removal.
//!
//! What an attacker leaves of its own making is its own affair; what the victim made must be gone.

use std::fs;
use std::os::unix::fs::MetadataExt;

/// Names in `/dev/shm` owned by `uid`, and System V objects that `uid` created.
pub(crate) fn objects_of(uid: u32) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        if entry.metadata().is_ok_and(|meta| meta.uid() == uid) {
            found.push(entry.path().display().to_string());
        }
    }
    for table in ["shm", "sem"] {
        let own = |(_, creator): &(i32, u32)| *creator == uid;
        found.extend(rows(table).into_iter().filter(own).map(|(id, _)| format!("{table} {id}")));
    }
    found
}

/// Removes by the library's own means what dead processes have left. Answers an exit code.
pub(crate) fn clean() -> i32 {
    i32::from(!monshm::clean(false).is_ok_and(|report| report.unseen().is_empty()))
}

/// Removes every name and every System V object. Only for tables that are nobody else's.
pub(crate) fn everything() {
    for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        // What cannot be removed is found again by the next look.
        let path = entry.path();
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
    }
    for (id, _) in rows("shm") {
        // SAFETY: the command takes no structure.
        unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
    }
    for (id, _) in rows("sem") {
        // SAFETY: as above.
        unsafe { libc::semctl(id, 0, libc::IPC_RMID) };
    }
}

/// Id and creator of each object in a System V table.
fn rows(table: &str) -> Vec<(i32, u32)> {
    let text = fs::read_to_string(format!("/proc/sysvipc/{table}")).unwrap_or_default();
    let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let names = lines.next().unwrap_or_default();
    let Some(creator) = names.iter().position(|name| *name == "cuid") else { return Vec::new() };
    lines.filter_map(|row| Some((row.get(1)?.parse().ok()?, row.get(creator)?.parse().ok()?))).collect()
}
