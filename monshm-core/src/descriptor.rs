//! What a peer must know to attach: the values of a descriptor. Their bytes on the wire are `monshm-proto`'s work.
//!
//! Nothing here is trusted because it stands in a descriptor: the attaching side checks the object against it.

use core::fmt;

use crate::kind::{BackendKind, LockKind, MemoryKind};

/// User and group to whom access to an object is given. The kernel's access control knows no pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id; `u32::MAX` when it is not known.
    pub gid: u32,
}

/// An unguessable number that lets one attach succeed: 128 random bits, made by `encode`, spent by the attach.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub [u8; 16]);

impl Token {
    /// The two words as they stand in the segment, native byte order. The first is never 0 for a valid token.
    pub const fn words(self) -> [u64; 2] {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = self.0;
        [u64::from_ne_bytes([a, b, c, d, e, f, g, h]), u64::from_ne_bytes([i, j, k, l, m, n, o, p])]
    }
}

impl fmt::Debug for Token {
    /// Does not print the bits: a reader of a log shall not be able to attach.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The name of a `shm_open` object: a slash and 1 to 30 bytes of `[a-z0-9-]`, which every Unix takes (macOS ends
/// names at 31 bytes).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name {
    bytes: [u8; Self::MAX_LEN],
    len: u8,
}

impl Name {
    /// The longest name, slash included, in bytes.
    pub const MAX_LEN: usize = 31;

    /// What every name made by monshm starts with, by which a stale object is known from another program's file.
    pub const PREFIX: &'static str = "/mon-";

    /// Takes a name as it is, if it has the form of one.
    pub fn new(name: &str) -> Option<Self> {
        let valid = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
        let [b'/', rest @ ..] = name.as_bytes() else { return None };
        if rest.is_empty() || name.len() > Self::MAX_LEN || !rest.iter().all(valid) {
            return None;
        }
        let mut bytes = [0; Self::MAX_LEN];
        bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        Some(Self { bytes, len: name.len() as u8 })
    }

    /// The name made from 128 random bits: [`Name::PREFIX`] and 26 digits of base 32.
    pub fn from_random(bits: u128) -> Self {
        const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let mut bytes = [0; Self::MAX_LEN];
        let (prefix, digits) = bytes.split_at_mut(Self::PREFIX.len());
        prefix.copy_from_slice(Self::PREFIX.as_bytes());
        for (position, digit) in digits.iter_mut().enumerate() {
            *digit = DIGITS[(bits >> (5 * position)) as usize % DIGITS.len()];
        }
        Self { bytes, len: Self::MAX_LEN as u8 }
    }

    /// Whether the name has the form that [`Name::from_random`] gives. Only such a name is monshm's to open or remove.
    pub fn is_random(&self) -> bool {
        let digits = self.as_str().strip_prefix(Self::PREFIX).unwrap_or_default();
        let is_digit = |byte: u8| byte.is_ascii_lowercase() || matches!(byte, b'2'..=b'7');
        digits.len() == Self::MAX_LEN - Self::PREFIX.len() && digits.bytes().all(is_digit)
    }

    /// The name with its leading slash.
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        // Only ASCII gets in, so the bytes are always valid.
        core::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which kernel object holds the segment, and how it is reached.
///
/// Exhaustive on purpose: a new kind of object does not compile until it has a wire form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Object {
    /// A memfd. Its descriptor travels over a socket with `SCM_RIGHTS`; a process of the same user in the same PID
    /// namespace can also open `/proc/<pid>/fd/<fd>`.
    Memfd {
        /// The creator, in the creator's PID namespace.
        pid: u32,
        /// The number of the file descriptor in the creator.
        fd: u32,
        /// The inode number that `fstat` must find, so that a reused pid or fd number is noticed.
        inode: u64,
    },
    /// A `shm_open` object.
    Named {
        /// Its name.
        name: Name,
        /// The inode number that `fstat` must find.
        inode: u64,
    },
    /// A System V segment and the semaphore set that stands beside it.
    Sysv {
        /// The id of the segment, as `shmat` takes it.
        shm_id: i32,
        /// The id of the semaphore set, as `semop` takes it.
        sem_id: i32,
    },
}

impl Object {
    /// What kind of object it is.
    pub const fn memory(&self) -> MemoryKind {
        match self {
            Self::Memfd { .. } => MemoryKind::Memfd,
            Self::Named { .. } => MemoryKind::Named,
            Self::Sysv { .. } => MemoryKind::SysvShm,
        }
    }

    /// The backend that can attach it.
    pub const fn backend(&self) -> BackendKind {
        self.memory().backend()
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memfd { pid, fd, inode } => write!(f, "memfd {fd} of process {pid} (inode {inode})"),
            Self::Named { name, .. } => write!(f, "shm_open object {name}"),
            Self::Sysv { shm_id, sem_id } => write!(f, "SysV segment {shm_id}, semaphores {sem_id}"),
        }
    }
}

/// Everything that a peer needs to attach to a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Descriptor {
    /// The lock that the segment uses.
    pub lock: LockKind,
    /// The size of the segment in bytes, whole pages.
    pub size: u64,
    /// The layout that the creator was built with, see [`crate::layout::layout_hash`].
    pub layout: u32,
    /// Lets one attach succeed.
    pub token: Token,
    /// The owner of the kernel object, which the attaching side must find on it.
    pub owner: Identity,
    /// The kernel object.
    pub object: Object,
}

impl Descriptor {
    /// The backend that can attach it.
    pub const fn backend(&self) -> BackendKind {
        self.object.backend()
    }
}

/// What is wrong with the bytes of a descriptor. Each fault has a variant of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptorFault {
    /// The input ends before the descriptor does.
    #[error("the bytes end after {have} of at least {need}")]
    Truncated {
        /// Bytes that the descriptor needs at least, as far as it was read.
        need: usize,
        /// Bytes that there are.
        have: usize,
    },
    /// The first bytes are not those of a monshm descriptor.
    #[error("this is not a monshm descriptor (magic {found:#010x})")]
    Foreign {
        /// What stands in place of the magic number.
        found: u32,
    },
    /// A version that this build does not know.
    #[error("descriptor version {found} is not known here (this build reads version {known})")]
    UnknownVersion {
        /// The version that the bytes name.
        found: u32,
        /// The version that this build reads.
        known: u32,
    },
    /// A backend, memory or lock number without a meaning.
    #[error("the {field} number {found} is not known")]
    UnknownKind {
        /// Which field.
        field: &'static str,
        /// What it holds.
        found: u32,
    },
    /// A memory or lock number that has a meaning, but not with the backend named beside it.
    #[error("the {field} number {found} does not go with backend number {backend}")]
    Mismatch {
        /// Which field.
        field: &'static str,
        /// What it holds.
        found: u32,
        /// The backend that the bytes name.
        backend: i32,
    },
    /// The bytes were damaged on their way: their checksum is not the one that stands behind them.
    #[error("the checksum of the bytes is {computed:#010x}, but {found:#010x} stands behind them")]
    Checksum {
        /// The checksum that the bytes name.
        found: u32,
        /// The checksum that they have.
        computed: u32,
    },
    /// A size of 0, beyond the limit, or not of whole pages.
    #[error("the size {found} is not that of a segment")]
    BadSize {
        /// The size that the bytes name.
        found: u64,
    },
    /// A field holds a value that its type does not allow.
    #[error("the field {field} holds no valid value")]
    BadField {
        /// Which field.
        field: &'static str,
    },
    /// There are bytes behind the descriptor.
    #[error("{count} bytes follow the descriptor")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::collections::HashSet;
    use std::string::ToString;

    #[test]
    fn names_keep_to_the_form() {
        for good in ["/a", "/mon-abc234", "/0123456789-0123456789-01234567"] {
            assert_eq!(Name::new(good).map(|name| name.to_string()).as_deref(), Some(good));
        }
        for bad in ["", "/", "a", "/a/b", "/A", "/..", "/\u{e9}", "/0123456789-0123456789-0123456789"] {
            assert_eq!(Name::new(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn every_bit_of_the_random_number_is_in_the_name() {
        let mut names = HashSet::from([Name::from_random(0)]);
        for bit in 0..128 {
            let name = Name::from_random(1 << bit);
            assert_eq!(Name::new(name.as_str()), Some(name));
            assert!(names.insert(name), "bit {bit} is lost");
            assert!(name.is_random());
        }
    }

    #[test]
    fn a_name_of_another_program_is_told() {
        for other in ["/mon-short", "/mon-abcdefghijklmnopqrstuvwxy1", "/mom-abcdefghijklmnopqrstuvwxyz", "/other"] {
            assert!(!Name::new(other).unwrap().is_random(), "{other}");
        }
    }

    #[test]
    fn a_token_does_not_print_itself() {
        assert_eq!(std::format!("{:?}", Token([7; 16])), "Token(..)");
    }
}
