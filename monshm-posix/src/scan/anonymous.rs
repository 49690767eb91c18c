//! Lists memory of monshm's that living processes have mapped and that no name leads to: memfds, and objects whose name
//! was removed once the peer was attached.
//!
//! It reads /proc/PID/maps of every process that this one may look at, for people; it judges and removes nothing: the
//! kernel removes these with their last mapping. Another program can give its memfd the same name.

use std::collections::BTreeMap;

use monshm_core::descriptor::Name;
use monshm_core::scan::{ScanEntry, ScanObject, ScanState};

use crate::segment::SHM_FOLDER;
use crate::sys;

/// What /proc shows behind the path of a file without a name.
const NAMELESS: &str = " (deleted)";

/// All that is mapped, by object.
pub(crate) fn list_anonymous() -> Vec<ScanEntry> {
    let mut objects: BTreeMap<u64, ScanEntry> = BTreeMap::new();
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for pid in pids {
        let Some(maps) = sys::read_text(&format!("/proc/{pid}/maps")) else { continue };
        let owner = sys::stat_path(&format!("/proc/{pid}")).map(|stat| stat.st_uid);
        for (inode, object, size) in maps.lines().filter_map(mapping) {
            let found = objects.entry(inode).or_insert_with(|| {
                let state = ScanState::InUse { holders: 0 };
                // The owner of the process that maps it: the object itself shows its own only to those who can open it.
                ScanEntry::new(object, size, owner.unwrap_or(0), Vec::new(), state)
            });
            if found.pids.last() != Some(&pid) {
                found.pids.push(pid);
                found.state = ScanState::InUse { holders: found.pids.len() as u32 };
            }
        }
    }
    objects.into_values().collect()
}

/// Inode, object and size of one line, if it shows memory of ours without a name.
fn mapping(line: &str) -> Option<(u64, ScanObject, u64)> {
    // address perms offset device inode path
    let path = line.get(line.find('/')?..)?.strip_suffix(NAMELESS)?;
    let mut words = line.split_whitespace();
    let (begin, end) = words.next()?.split_once('-')?;
    let address = |text| u64::from_str_radix(text, 16).ok();
    let size = address(end)?.checked_sub(address(begin)?)?;
    let inode = words.nth(3)?.parse().ok()?;
    let object = if path == "/memfd:monshm" {
        ScanObject::Memfd { inode }
    } else {
        let name = Name::new(path.strip_prefix(SHM_FOLDER)?)?;
        if name.as_str().len() != Name::MAX_LEN || !name.as_str().starts_with(Name::PREFIX) {
            return None;
        }
        ScanObject::Name(name)
    };
    Some((inode, object, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_ours_by_its_path_alone() {
        let line = |path: &str| format!("7f0000000000-7f0000010000 rw-s 00000000 00:01 4242    {path}");
        let found = |path: &str| mapping(&line(path)).map(|(inode, object, size)| (inode, object.kind(), size));
        assert_eq!(found("/memfd:monshm (deleted)"), Some((4242, "memfd", 0x10000)));
        let name = "/dev/shm/mon-abcdefghijklmnopqrstuvwxyz";
        assert_eq!(found(&format!("{name} (deleted)")), Some((4242, "shm_open", 0x10000)));
        assert_eq!(found(name), None, "it has its name, and is found by it");
        for other in ["/memfd:monshm2 (deleted)", "/memfd:monshm", "/dev/shm/other (deleted)", "[heap]", ""] {
            assert_eq!(found(other), None, "{other}");
        }
        assert_eq!(mapping("nonsense /memfd:monshm (deleted)"), None);
    }
}
