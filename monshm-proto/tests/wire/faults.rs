//! Every fault is told, and told apart from the others.

use monshm_core::{Descriptor, DescriptorFault as Fault, Identity, LockKind, MAX_SEGMENT_SIZE, Name, Object, Token};
use monshm_proto::{MAGIC, MAX_LEN, VERSION, decode, encode};

use crate::support::{crc32c, seal};

fn descriptor(lock: LockKind, object: Object) -> Descriptor {
    let owner = Identity { uid: 1000, gid: u32::MAX };
    Descriptor { lock, size: 1 << 20, layout: 7, token: Token([9; 16]), owner, object }
}

fn memfd() -> Object {
    Object::Memfd { pid: 4711, fd: 5, inode: 99 }
}

fn sysv() -> Object {
    Object::Sysv { shm_id: 1, sem_id: 2 }
}

fn named(name: &str) -> Object {
    Object::Named { name: Name::new(name).expect("a name"), inode: 99 }
}

/// Decodes a good descriptor in which one word was replaced and the checksum made right again.
fn with_word(descriptor: Descriptor, offset: usize, word: u32) -> Result<Descriptor, Fault> {
    let mut bytes = encode(&descriptor).to_vec();
    bytes[offset..offset + 4].copy_from_slice(&word.to_be_bytes());
    seal(&mut bytes);
    decode(&bytes)
}

#[test]
fn magic_and_version_come_before_everything() {
    let mut bytes = encode(&descriptor(LockKind::Futex, memfd())).to_vec();
    bytes[7] = 2;
    assert_eq!(decode(&bytes[..8]), Err(Fault::UnknownVersion { found: 2, known: VERSION }));
    assert_eq!(decode(&bytes), Err(Fault::UnknownVersion { found: 2, known: VERSION }));
    bytes[3] = b'X';
    assert_eq!(decode(&bytes[..4]), Err(Fault::Foreign { found: 0x4D53_4858 }));
    assert_eq!(decode(b"GET / HTTP/1.1\r\n\r\n"), Err(Fault::Foreign { found: 0x4745_5420 }));
    assert_eq!(decode(&MAGIC.to_be_bytes()), Err(Fault::Truncated { need: 68, have: 4 }));
    assert_eq!(decode(b""), Err(Fault::Truncated { need: 68, have: 0 }));
}

#[test]
fn unknown_kinds_are_told_by_field() {
    let good = descriptor(LockKind::Futex, memfd());
    for (offset, field, numbers) in [(8, "backend", [3, u32::MAX - 1]), (12, "lock", [0, 5]), (52, "memory", [0, 4])] {
        for found in numbers {
            assert_eq!(with_word(good, offset, found), Err(Fault::UnknownKind { field, found }));
        }
    }
}

#[test]
fn kinds_that_do_not_go_together_are_a_mismatch() {
    let good = descriptor(LockKind::Futex, memfd());
    for backend in [-1, 0, 2] {
        let fault = Fault::Mismatch { field: "memory", found: 1, backend };
        assert_eq!(with_word(good, 8, backend as u32), Err(fault));
    }
    let fault = Fault::Mismatch { field: "memory", found: 3, backend: 1 };
    assert_eq!(with_word(descriptor(LockKind::Futex, sysv()), 8, 1), Err(fault));
}

#[test]
fn each_backend_has_its_own_locks() {
    for lock in LockKind::ALL {
        for (object, backend, has) in [
            (memfd(), 1, lock != LockKind::SysvSem),
            (named("/a"), 1, lock != LockKind::SysvSem),
            (sysv(), 2, matches!(lock, LockKind::SysvSem | LockKind::Futex)),
        ] {
            let built = descriptor(lock, object);
            let fault = Fault::Mismatch { field: "lock", found: lock.wire(), backend };
            let expected = if has { Ok(built) } else { Err(fault) };
            assert_eq!(decode(&encode(&built)), expected, "{lock} with {object}");
        }
    }
}

#[test]
fn sizes_that_no_segment_has_are_refused() {
    let good = descriptor(LockKind::SysvSem, sysv());
    for found in [0, 1, 4095, 4097, MAX_SEGMENT_SIZE + 1, MAX_SEGMENT_SIZE + 4096, u64::MAX, 1 << 63] {
        assert_eq!(decode(&encode(&Descriptor { size: found, ..good })), Err(Fault::BadSize { found }));
    }
    for size in [4096, 8192, MAX_SEGMENT_SIZE] {
        let built = Descriptor { size, ..good };
        assert_eq!(decode(&encode(&built)), Ok(built));
    }
}

#[test]
fn names_that_are_none_are_refused() {
    let good = descriptor(LockKind::Futex, named("/abcd"));
    let bad = Err(Fault::BadField { field: "name" });
    // Length 5 stands at 56, the name at 60, three zeros behind it.
    for (offset, word, what) in [
        (56, 32, "longer than any name"),
        (56, u32::MAX, "longer than any memory"),
        (56, 3, "shorter, so that a letter stands in the padding"),
        (60, u32::from_be_bytes(*b"abcd"), "no slash"),
        (60, u32::from_be_bytes(*b"/../"), "a path"),
        (60, u32::from_be_bytes(*b"/a\0c"), "a zero inside"),
        (60, u32::from_be_bytes(*b"/a\xff\xff"), "not text"),
        (64, u32::from_be_bytes(*b"d\0\0\x01"), "padding that is not zero"),
        (64, u32::from_be_bytes(*b"d\x01\0\0"), "padding that is not zero"),
    ] {
        assert_eq!(with_word(good, offset, word), bad, "{what}");
    }
    assert_eq!(with_word(good, 56, 6), bad, "a zero taken into the name");
    let mut empty = [&encode(&good)[..56], &[0; 16]].concat();
    seal(&mut empty);
    assert_eq!(decode(&empty), bad, "no name at all");
}

#[test]
fn damage_is_told_before_a_value_is_judged() {
    let mut bytes = encode(&descriptor(LockKind::Futex, memfd())).to_vec();
    let found = crc32c(&bytes[..72]);
    bytes[15] = 77; // a lock that is not known
    let computed = crc32c(&bytes[..72]);
    assert_eq!(decode(&bytes), Err(Fault::Checksum { found, computed }));
}

#[test]
fn the_longest_and_the_shortest_are_as_long_as_promised() {
    let longest = descriptor(LockKind::Futex, Object::Named { name: Name::from_random(u128::MAX), inode: u64::MAX });
    assert_eq!(encode(&longest).len(), MAX_LEN);
    assert_eq!(decode(&encode(&longest)), Ok(longest));
    assert_eq!(encode(&descriptor(LockKind::Futex, sysv())).len(), monshm_proto::MIN_LEN);
    assert_eq!(encode(&descriptor(LockKind::Futex, memfd())).len(), 76);
    for (name, len) in [("/a", 76), ("/abc", 76), ("/abcd", 80)] {
        assert_eq!(encode(&descriptor(LockKind::Futex, named(name))).len(), len);
    }
}

#[test]
fn the_bytes_do_not_print_the_token() {
    let encoded = encode(&descriptor(LockKind::Futex, memfd()));
    assert_eq!(format!("{encoded:?}"), "Encoded { len: 76, .. }");
}
