//! Counts what is there: names in `/dev/shm`, System V ids, and what this process has open and mapped.
//!
//! It says what was found; what may stay is the caller's to judge.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// How the names in `/dev/shm` begin that monshm makes.
const PREFIX: &str = "mon-";

/// What there is at one time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Census {
    /// Names in `/dev/shm` that begin as monshm's do, and all System V objects.
    pub objects: Vec<Object>,
    /// Each file descriptor of this process, and what it leads to.
    pub fds: Vec<String>,
    /// Each mapping of shared memory of this process, as `/proc/self/maps` has it.
    pub mappings: Vec<String>,
}

impl Census {
    /// Counts now.
    pub fn take() -> Self {
        let ours = |object: &Object| object.kind != Kind::Name || object.is_monshms();
        let objects = objects().into_iter().filter(ours).collect();
        Self { objects, ..Self::of_process() }
    }

    /// The same without objects. For a process of one test: what other threads have is counted too.
    pub fn of_process() -> Self {
        let fd = |entry: fs::DirEntry| {
            let target = fs::read_link(entry.path()).ok()?;
            // The one that reads the folder is there for this alone.
            let own = target.to_string_lossy().ends_with(&format!("/proc/{}/fd", std::process::id()));
            (!own).then(|| format!("{} {}", entry.file_name().to_string_lossy(), target.display()))
        };
        let mut fds: Vec<String> = entries("/proc/self/fd").filter_map(fd).collect();
        fds.sort();
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let is_shared = |line: &&str| ["/memfd:", "/dev/shm/", "/SYSV"].iter().any(|place| line.contains(place));
        let mappings = maps.lines().filter(is_shared).map(str::to_owned).collect();
        Self { objects: Vec::new(), fds, mappings }
    }

    /// The objects that are here and were not in `before`.
    pub fn since(&self, before: &Self) -> Vec<Object> {
        self.objects.iter().filter(|object| !before.objects.contains(object)).cloned().collect()
    }

    /// How many objects, descriptors and mappings: what must be equal where each of them may be a new one.
    pub fn counts(&self) -> [usize; 3] {
        [self.objects.len(), self.fds.len(), self.mappings.len()]
    }
}

/// What a kernel object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A name in `/dev/shm`.
    Name,
    /// A System V segment.
    Segment,
    /// A System V semaphore set.
    Semaphores,
}

/// A kernel object that outlives its processes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// The path, or the id.
    pub name: String,
    /// Whose it is.
    pub owner: u32,
    /// Who made it; of a name that is the owner, as far as is known.
    pub creator: u32,
}

impl Object {
    /// Whether it is a name as monshm makes them.
    pub fn is_monshms(&self) -> bool {
        self.kind == Kind::Name && self.name.rsplit('/').next().is_some_and(|name| name.starts_with(PREFIX))
    }

    /// Removes it, by its path or id alone: only for tables that are nobody else's. What cannot be removed stays.
    pub fn remove(&self) {
        let id = self.name.parse().unwrap_or(-1);
        match self.kind {
            Kind::Name => drop(fs::remove_file(&self.name).or_else(|_| fs::remove_dir_all(&self.name))),
            // SAFETY: the command takes no structure.
            Kind::Segment => drop(unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) }),
            // SAFETY: the command uses no fourth argument.
            Kind::Semaphores => drop(unsafe { libc::semctl(id, 0, libc::IPC_RMID) }),
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Name => f.write_str(&self.name),
            Kind::Segment => write!(f, "shm {}", self.name),
            Kind::Semaphores => write!(f, "sem {}", self.name),
        }
    }
}

/// Objects in one line of text.
pub fn list(objects: &[Object]) -> String {
    objects.iter().map(Object::to_string).collect::<Vec<_>>().join(", ")
}

/// Every name in `/dev/shm` and every System V object, sorted.
pub fn objects() -> Vec<Object> {
    let name = |entry: fs::DirEntry| {
        // It may have gone since it was listed.
        let owner = entry.metadata().ok()?.uid();
        Some(Object { kind: Kind::Name, name: entry.path().display().to_string(), owner, creator: owner })
    };
    let mut found: Vec<Object> = entries("/dev/shm").filter_map(name).collect();
    found.extend(table("shm", Kind::Segment));
    found.extend(table("sem", Kind::Semaphores));
    found.sort();
    found
}

/// The objects that a user has made or owns.
pub fn objects_of(uid: u32) -> Vec<Object> {
    objects().into_iter().filter(|object| object.owner == uid || object.creator == uid).collect()
}

/// [`objects_of`] in one line of text.
pub fn of_user(uid: u32) -> String {
    list(&objects_of(uid))
}

/// A System V table; empty where the kernel has none.
fn table(name: &str, kind: Kind) -> Vec<Object> {
    let text = fs::read_to_string(format!("/proc/sysvipc/{name}")).unwrap_or_default();
    let mut rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let names = rows.next().unwrap_or_default();
    let column = |name: &str| names.iter().position(|found| *found == name);
    let (Some(owner), Some(creator)) = (column("uid"), column("cuid")) else { return Vec::new() };
    let object = |row: Vec<&str>| {
        let (owner, creator) = (row.get(owner)?.parse().ok()?, row.get(creator)?.parse().ok()?);
        Some(Object { kind, name: (*row.get(1)?).to_owned(), owner, creator })
    };
    rows.filter_map(object).collect()
}

fn entries(folder: &str) -> impl Iterator<Item = fs::DirEntry> {
    fs::read_dir(folder).into_iter().flatten().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::alone;

    #[test]
    fn what_is_made_is_counted_and_what_is_removed_is_not() {
        alone(|| {
            let before = Census::take();
            let path = format!("/dev/shm/{PREFIX}harness-{}", std::process::id());
            let file = fs::File::create(&path).unwrap();
            // SAFETY: takes no pointer.
            let id = unsafe { libc::shmget(libc::IPC_PRIVATE, 4096, libc::IPC_CREAT | 0o600) };
            let made = Census::take();
            let mut found = made.since(&before);
            // Objects of other programs may come meanwhile.
            found.retain(|object| object.name == path || object.name == id.to_string() && object.kind == Kind::Segment);
            assert_eq!(found.len(), 2, "{}", list(&found));
            assert_eq!(made.fds.len(), before.fds.len() + 1);
            assert!(found.iter().all(|object| object.creator == crate::users::own()));
            drop(file);
            found.iter().for_each(Object::remove);
            let after = Census::take();
            assert!(found.iter().all(|object| !after.objects.contains(object)));
            assert_eq!((after.fds, after.mappings), (before.fds, before.mappings));
        });
    }
}
