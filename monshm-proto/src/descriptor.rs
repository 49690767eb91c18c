//! A descriptor to bytes and back: the order of the fields, and what is judged before a value comes out.
//!
//! Does not ask the kernel anything: whether the object exists, and is what the bytes promise, is found by attaching.

use monshm_core::{
    BackendKind, Descriptor, DescriptorFault as Fault, Identity, LockKind, MAX_SEGMENT_SIZE, MemoryKind, Name, Object,
    Token,
};

use crate::checksum::crc32c;
use crate::xdr::{Encoded, Reader};
use crate::{MAGIC, MIN_LEN, PAGE_SIZE, VERSION};

/// Writes a descriptor.
///
/// Every value has a form, so this cannot fail. It judges nothing: a value that no segment has (a size of 0, a lock
/// that is not of the backend) is written as it stands, and [`decode`] refuses it.
pub fn encode(descriptor: &Descriptor) -> Encoded {
    let Descriptor { lock, size, layout, token, owner, object } = descriptor;
    let mut out = Encoded::new();
    out.u32(MAGIC);
    out.u32(VERSION);
    out.i32(object.backend().wire());
    out.u32(lock.wire());
    out.u64(*size);
    out.u32(*layout);
    out.opaque(&token.0);
    out.u32(owner.uid);
    out.u32(owner.gid);
    out.u32(object.memory().wire());
    match object {
        Object::Memfd { pid, fd, inode } => {
            out.u32(*pid);
            out.u32(*fd);
            out.u64(*inode);
        }
        Object::Named { name, inode } => {
            out.string(name.as_str());
            out.u64(*inode);
        }
        Object::Sysv { shm_id, sem_id } => {
            out.i32(*shm_id);
            out.i32(*sem_id);
        }
    }
    let checksum = crc32c(out.as_bytes());
    out.u32(checksum);
    out
}

/// Reads a descriptor that is the whole of the input.
///
/// # Errors
/// Those of [`decode_prefix`], and [`TrailingBytes`](Fault::TrailingBytes) where more bytes follow.
pub fn decode(bytes: &[u8]) -> Result<Descriptor, Fault> {
    let (descriptor, len) = decode_prefix(bytes)?;
    match bytes.len().saturating_sub(len) {
        0 => Ok(descriptor),
        count => Err(Fault::TrailingBytes { count }),
    }
}

/// Reads a descriptor from the front of the input, and says how many bytes it took (a multiple of 4, at most
/// [`MAX_LEN`](crate::MAX_LEN)).
///
/// # Errors
/// In the order in which they are looked for:
/// - [`Truncated`](Fault::Truncated) as soon as a field is not there whole; every cut of a valid descriptor gives it;
/// - [`Foreign`](Fault::Foreign), then [`UnknownVersion`](Fault::UnknownVersion), before anything else is read;
/// - [`UnknownKind`](Fault::UnknownKind) for the memory, [`BadField`](Fault::BadField) for a name that is too long,
///   not text, or followed by padding that is not zero: without these the end of the bytes is not known;
/// - [`Checksum`](Fault::Checksum), before any other value is judged, so that damage is not taken for a peer's mistake;
/// - [`UnknownKind`](Fault::UnknownKind) for the backend or the lock, [`Mismatch`](Fault::Mismatch) for a memory
///   or lock that the backend does not have;
/// - [`BadSize`](Fault::BadSize) for a size of 0, beyond [`MAX_SEGMENT_SIZE`], or not of whole pages of 4096 bytes;
/// - [`BadField`](Fault::BadField) for a name that is not the name of an object.
///
/// Process, file descriptor, inode and SysV ids are not judged: every number may be one, and the kernel answers.
pub fn decode_prefix(bytes: &[u8]) -> Result<(Descriptor, usize), Fault> {
    let mut reader = Reader::new(bytes, MIN_LEN);
    let found = reader.u32()?;
    if found != MAGIC {
        return Err(Fault::Foreign { found });
    }
    let found = reader.u32()?;
    if found != VERSION {
        return Err(Fault::UnknownVersion { found, known: VERSION });
    }
    let fields = Fields::read(&mut reader)?;
    let computed = crc32c(reader.taken());
    let found = reader.u32()?;
    if found != computed {
        return Err(Fault::Checksum { found, computed });
    }
    Ok((fields.judge()?, reader.taken().len()))
}

/// The fields as they stand on the wire, not yet judged.
struct Fields<'a> {
    backend: i32,
    lock: u32,
    size: u64,
    layout: u32,
    token: [u8; 16],
    owner: Identity,
    object: ObjectFields<'a>,
}

/// The arms of the union as they stand on the wire.
enum ObjectFields<'a> {
    Memfd { pid: u32, fd: u32, inode: u64 },
    Named { name: &'a str, inode: u64 },
    Sysv { shm_id: i32, sem_id: i32 },
}

impl<'a> Fields<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        // The fields of a struct expression are evaluated in the order in which they are written.
        Ok(Self {
            backend: reader.i32()?,
            lock: reader.u32()?,
            size: reader.u64()?,
            layout: reader.u32()?,
            token: reader.opaque()?,
            owner: Identity { uid: reader.u32()?, gid: reader.u32()? },
            object: ObjectFields::read(reader)?,
        })
    }

    fn judge(self) -> Result<Descriptor, Fault> {
        let object = self.object.judge()?;
        let backend = BackendKind::from_wire(self.backend)
            .ok_or(Fault::UnknownKind { field: "backend", found: self.backend as u32 })?;
        let lock = LockKind::from_wire(self.lock).ok_or(Fault::UnknownKind { field: "lock", found: self.lock })?;
        if object.backend() != backend {
            let found = object.memory().wire();
            return Err(Fault::Mismatch { field: "memory", found, backend: self.backend });
        }
        if !has_lock(backend, lock) {
            return Err(Fault::Mismatch { field: "lock", found: self.lock, backend: self.backend });
        }
        if self.size == 0 || self.size > MAX_SEGMENT_SIZE || self.size % PAGE_SIZE != 0 {
            return Err(Fault::BadSize { found: self.size });
        }
        let Self { size, layout, token, owner, .. } = self;
        Ok(Descriptor { lock, size, layout, token: Token(token), owner, object })
    }
}

impl<'a> ObjectFields<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let found = reader.u32()?;
        match MemoryKind::from_wire(found) {
            Some(MemoryKind::Memfd) => Ok(Self::Memfd { pid: reader.u32()?, fd: reader.u32()?, inode: reader.u64()? }),
            Some(MemoryKind::Named) => {
                Ok(Self::Named { name: reader.string("name", Name::MAX_LEN)?, inode: reader.u64()? })
            }
            Some(MemoryKind::SysvShm) => Ok(Self::Sysv { shm_id: reader.i32()?, sem_id: reader.i32()? }),
            _ => Err(Fault::UnknownKind { field: "memory", found }),
        }
    }

    fn judge(self) -> Result<Object, Fault> {
        Ok(match self {
            Self::Memfd { pid, fd, inode } => Object::Memfd { pid, fd, inode },
            Self::Named { name, inode } => {
                let name = Name::new(name).ok_or(Fault::BadField { field: "name" })?;
                Object::Named { name, inode }
            }
            Self::Sysv { shm_id, sem_id } => Object::Sysv { shm_id, sem_id },
        })
    }
}

/// Which locks a backend has: the table of the backends in ARCHITECTURE.md.
const fn has_lock(backend: BackendKind, lock: LockKind) -> bool {
    match backend {
        BackendKind::Posix => matches!(lock, LockKind::Futex | LockKind::PthreadMutex | LockKind::Semaphore),
        BackendKind::Sysv => matches!(lock, LockKind::SysvSem | LockKind::Futex),
        _ => false,
    }
}
