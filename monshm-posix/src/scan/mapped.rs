//! Tells our memory in the mappings of a process: memfds, and named objects, with their name or after its removal.
//!
//! It reads no mappings, the facade does.

use monshm_core::descriptor::Name;
use monshm_core::scan::ScanObject;

use crate::segment::SHM_FOLDER;

/// What /proc shows behind the path of a file without a name.
const NAMELESS: &str = " (deleted)";

/// The object that a mapping with this path shows.
pub(crate) fn mapped_object(path: &str, inode: u64) -> Option<ScanObject> {
    let stripped = path.strip_suffix(NAMELESS);
    if stripped == Some("/memfd:monshm") {
        return Some(ScanObject::Memfd { inode });
    }
    let name = Name::new(stripped.unwrap_or(path).strip_prefix(SHM_FOLDER)?)?;
    name.is_random().then_some(ScanObject::Name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_ours_by_its_path_alone() {
        let found = |path: &str| mapped_object(path, 4242).map(|object| object.to_string());
        assert_eq!(found("/memfd:monshm (deleted)").as_deref(), Some("4242"));
        let name = "/dev/shm/mon-abcdefghijklmnopqrstuvwxyz";
        for path in [name.to_owned(), format!("{name} (deleted)")] {
            assert_eq!(found(&path).as_deref(), Some("/mon-abcdefghijklmnopqrstuvwxyz"));
        }
        for other in ["/memfd:monshm2 (deleted)", "/memfd:monshm", "/dev/shm/other (deleted)", "[heap]", ""] {
            assert_eq!(found(other), None, "{other}");
        }
    }
}
