//! Four descriptors and their exact bytes: the wire does not drift by accident.
//!
//! The bytes were made by hand-written packing outside this crate, by the diagram in its documentation.

use monshm_core::{Descriptor, Identity, LockKind, Name, Object, Token};
use monshm_proto::{decode, encode};

use crate::support::hex;

const RISING: Token = Token([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);

fn check(descriptor: Descriptor, expected: &[&str]) {
    let encoded = encode(&descriptor);
    assert_eq!(hex(&encoded), expected.concat().replace(" ", ""));
    assert_eq!(decode(&encoded), Ok(descriptor));
}

#[test]
fn memfd_with_futex() {
    let descriptor = Descriptor {
        lock: LockKind::Futex,
        size: 1 << 20,
        layout: 0x0102_0304,
        token: RISING,
        owner: Identity { uid: 1000, gid: 100 },
        object: Object::Memfd { pid: 4711, fd: 5, inode: 0x1122_3344_5566_7788 },
    };
    check(
        descriptor,
        &[
            "4d534844 00000001 00000001 00000001",
            "00000000 00100000 01020304",
            "00010203 04050607 08090a0b 0c0d0e0f",
            "000003e8 00000064 00000001",
            "00001267 00000005 11223344 55667788",
            "1deca490",
        ],
    );
}

#[test]
fn longest_name_with_pthread_mutex() {
    let descriptor = Descriptor {
        lock: LockKind::PthreadMutex,
        size: 4096,
        layout: 0,
        token: Token([255; 16]),
        owner: Identity { uid: 0, gid: 0 },
        object: Object::Named { name: name("/mon-abcdefghijklmnopqrstuvwxyz"), inode: 42 },
    };
    check(
        descriptor,
        &[
            "4d534844 00000001 00000001 00000002",
            "00000000 00001000 00000000",
            "ffffffff ffffffff ffffffff ffffffff",
            "00000000 00000000 00000002",
            "0000001f 2f6d6f6e 2d616263 64656667",
            "68696a6b 6c6d6e6f 70717273 74757677 78797a00",
            "00000000 0000002a",
            "fad0a5bc",
        ],
    );
}

#[test]
fn shortest_name_with_semaphore() {
    let descriptor = Descriptor {
        lock: LockKind::Semaphore,
        size: 8192,
        layout: 0xDEAD_BEEF,
        token: RISING,
        owner: Identity { uid: 65534, gid: u32::MAX },
        object: Object::Named { name: name("/a"), inode: u64::MAX },
    };
    check(
        descriptor,
        &[
            "4d534844 00000001 00000001 00000003",
            "00000000 00002000 deadbeef",
            "00010203 04050607 08090a0b 0c0d0e0f",
            "0000fffe ffffffff 00000002",
            "00000002 2f610000 ffffffff ffffffff",
            "6f3d168b",
        ],
    );
}

#[test]
fn sysv_with_its_own_semaphore() {
    let descriptor = Descriptor {
        lock: LockKind::SysvSem,
        size: 1 << 30,
        layout: 7,
        token: RISING,
        owner: Identity { uid: 1000, gid: 1000 },
        object: Object::Sysv { shm_id: 32769, sem_id: 0 },
    };
    check(
        descriptor,
        &[
            "4d534844 00000001 00000002 00000004",
            "00000000 40000000 00000007",
            "00010203 04050607 08090a0b 0c0d0e0f",
            "000003e8 000003e8 00000003",
            "00008001 00000000",
            "50dba9ec",
        ],
    );
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}
