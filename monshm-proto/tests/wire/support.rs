//! What the other files share: random descriptors, a second CRC-32C, and the fields as text.
//!
//! Takes nothing from the crate under test, so that a mistake in it cannot cancel itself out.

use std::fmt::Write;

use monshm_core::{Descriptor, Identity, LockKind, MAX_SEGMENT_SIZE, Name, Object, Token};
use proptest::prelude::*;
use proptest::sample::select;

/// A descriptor that some segment could have.
pub(crate) fn descriptor() -> impl Strategy<Value = Descriptor> {
    let size =
        prop_oneof![Just(1), Just(MAX_SEGMENT_SIZE / 4096), 1..=MAX_SEGMENT_SIZE / 4096].prop_map(|pages| pages * 4096);
    (size, any::<u32>(), any::<[u8; 16]>(), any::<(u32, u32)>(), object_and_lock()).prop_map(
        |(size, layout, token, (uid, gid), (object, lock))| Descriptor {
            lock,
            size,
            layout,
            token: Token(token),
            owner: Identity { uid, gid },
            object,
        },
    )
}

/// A descriptor that a caller can build, whether or not a segment could have it.
pub(crate) fn any_descriptor() -> impl Strategy<Value = Descriptor> {
    (descriptor(), any::<u64>(), select(LockKind::ALL.to_vec())).prop_map(|(descriptor, size, lock)| Descriptor {
        size,
        lock,
        ..descriptor
    })
}

fn object_and_lock() -> impl Strategy<Value = (Object, LockKind)> {
    let posix = select(vec![LockKind::Futex, LockKind::PthreadMutex, LockKind::Semaphore]);
    let sysv = select(vec![LockKind::SysvSem, LockKind::Futex]);
    let memfd = any::<(u32, u32, u64)>().prop_map(|(pid, fd, inode)| Object::Memfd { pid, fd, inode });
    let named = ("/[a-z0-9-]{1,30}", any::<u64>()).prop_map(|(name, inode)| Object::Named {
        name: Name::new(&name).expect("the pattern is that of names"),
        inode,
    });
    let ids = any::<(i32, i32)>().prop_map(|(shm_id, sem_id)| Object::Sysv { shm_id, sem_id });
    prop_oneof![(memfd, posix.clone()), (named, posix), (ids, sysv)]
}

/// CRC-32C by the definition, most significant bit first: bytes mirrored on the way in, the rest on the way out.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    let mut rest = u32::MAX;
    for byte in bytes {
        rest ^= u32::from(byte.reverse_bits()) << 24;
        for _ in 0..8 {
            rest = if rest & 0x8000_0000 == 0 { rest << 1 } else { (rest << 1) ^ 0x1EDC_6F41 };
        }
    }
    !rest.reverse_bits()
}

/// Puts the right checksum into the last four bytes.
pub(crate) fn seal(bytes: &mut [u8]) {
    let (body, checksum) = bytes.split_last_chunk_mut::<4>().expect("a descriptor is longer");
    *checksum = crc32c(body).to_be_bytes();
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").expect("a string takes everything");
        out
    })
}

/// What a reader of `monshm.x` must find, one `field=value` each, in wire order. Enums by their label.
pub(crate) fn fields(descriptor: &Descriptor, checksum: u32) -> Vec<String> {
    let Descriptor { lock, size, layout, token, owner, object } = descriptor;
    let backend = match object {
        Object::Sysv { .. } => "SYSV",
        Object::Memfd { .. } | Object::Named { .. } => "POSIX",
    };
    let lock = match lock {
        LockKind::Futex => "FUTEX",
        LockKind::PthreadMutex => "PTHREAD_MUTEX",
        LockKind::Semaphore => "SEMAPHORE",
        LockKind::SysvSem => "SYSV_SEM",
        _ => panic!("a lock kind that monshm.x does not know"),
    };
    let mut out = vec![
        format!("magic={}", 0x4D53_4844),
        "wire_version=1".to_owned(),
        format!("backend=MON_SHM_IMPL_{backend}"),
        format!("lock=MON_SHM_LOCK_{lock}"),
        format!("size={size}"),
        format!("layout={layout}"),
        format!("token={}", hex(&token.0)),
        format!("uid={}", owner.uid),
        format!("gid={}", owner.gid),
    ];
    match object {
        Object::Memfd { pid, fd, inode } => out.extend([
            "object.memory=MON_SHM_MEMORY_MEMFD".to_owned(),
            format!("object.memfd.pid={pid}"),
            format!("object.memfd.fd={fd}"),
            format!("object.memfd.inode={inode}"),
        ]),
        Object::Named { name, inode } => out.extend([
            "object.memory=MON_SHM_MEMORY_NAMED".to_owned(),
            format!("object.named.name={name}"),
            format!("object.named.inode={inode}"),
        ]),
        Object::Sysv { shm_id, sem_id } => out.extend([
            "object.memory=MON_SHM_MEMORY_SYSV".to_owned(),
            format!("object.sysv.shm_id={shm_id}"),
            format!("object.sysv.sem_id={sem_id}"),
        ]),
    }
    out.push(format!("checksum={checksum}"));
    out
}
