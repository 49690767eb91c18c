//! Attaching by a descriptor: bytes alone, with the file descriptor, in this and in another process; and everything
//! that a descriptor can be but good.
//!
//! The socket is `handover`'s; other users are `access`'s.

use std::fs::File;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use monshm::{DescriptorFault, ErrorKind, LockKind, Segment};
use monshm_core::{Descriptor, Identity, Object, Token};

use super::Sut;
use crate::support::helper::Helper;
use crate::support::{Cell, SIZE, to_hex};

/// The descriptor of a segment, changed, with its checksum put right: what a hostile sender makes.
fn forged(segment: &Segment, change: impl FnOnce(&mut Descriptor)) -> (Vec<u8>, Option<OwnedFd>) {
    let encoded = segment.encode().unwrap();
    let mut descriptor = monshm_proto::decode(&encoded.bytes).unwrap();
    change(&mut descriptor);
    (monshm_proto::encode(&descriptor).to_vec(), encoded.fd)
}

fn memfd(size: usize, seals: i32) -> OwnedFd {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: a name that ends with 0; what is answered is a new descriptor, taken as owned at once.
    let fd = unsafe { OwnedFd::from_raw_fd(libc::memfd_create(c"test".as_ptr(), flags)) };
    let raw = std::os::fd::AsRawFd::as_raw_fd(&fd);
    // SAFETY: plain numbers; the descriptor is open.
    unsafe {
        assert_eq!(libc::ftruncate(raw, size as libc::off_t), 0);
        // Open to nobody else, like one of monshm's.
        assert_eq!(libc::fchmod(raw, 0o600), 0);
        assert_eq!(libc::fcntl(raw, libc::F_ADD_SEALS, seals), 0);
    }
    fd
}

const ALL_SEALS: i32 = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

#[test]
fn both_handles_see_one_memory() {
    let (creator, peer) = Sut::pair();
    assert_eq!(peer.size(), creator.size());
    assert_eq!((peer.selection().backend(), peer.memory_kind(), peer.lock_kind()), {
        (creator.selection().backend(), creator.memory_kind(), creator.lock_kind())
    });
    peer.region(5000, 4).unwrap().copy_from(b"here").unwrap();
    let mut found = [0; 4];
    creator.region(5000, 4).unwrap().copy_to(&mut found).unwrap();
    assert_eq!(&found, b"here");
}

#[test]
fn bytes_alone_reach_another_process_of_the_same_user() {
    let segment = Sut::segment();
    segment.region(5000, 4).unwrap().copy_from(b"here").unwrap();
    let helper = Helper::new();
    helper.decode(&segment.encode().unwrap().bytes, None, SIZE, false).unwrap();
    assert_eq!(helper.ask("get 5000 4").unwrap(), to_hex(b"here"));
    helper.ask(format!("put 6000 {}", to_hex(b"there"))).unwrap();
    let mut found = [0; 5];
    segment.region(6000, 5).unwrap().copy_to(&mut found).unwrap();
    assert_eq!(&found, b"there");
}

#[test]
fn bytes_and_file_descriptor_reach_another_process() {
    let segment = Sut::segment();
    let encoded = segment.encode().unwrap();
    let Some(fd) = encoded.fd else { harness::skip!("System V segments travel without a file descriptor") };
    let helper = Helper::new();
    helper.decode(&encoded.bytes, Some(fd.as_fd()), SIZE, false).unwrap();
    helper.ask(format!("append {}", to_hex(b"hello"))).unwrap();
    assert_eq!(segment.lock().unwrap().ring().unwrap().len().unwrap(), 5);
}

#[test]
fn a_descriptor_is_good_for_one_attach() {
    let segment = Sut::segment();
    let encoded = segment.encode().unwrap();
    let again = encoded.fd.as_ref().map(|fd| fd.try_clone().unwrap());
    let _peer = Segment::decode(&encoded.bytes, encoded.fd, SIZE).unwrap();
    let error = refused!(Segment::decode(&encoded.bytes, again, SIZE), ErrorKind::TokenSpent);
    assert!(error.to_string().contains("ask the creator to encode a new one"), "{error}");
    let helper = Helper::new();
    let refused = helper.decode(&encoded.bytes, None, SIZE, false).unwrap_err();
    // A name has gone by then.
    assert!(refused.is(if Sut::NAMED { "Gone" } else { "TokenSpent" }), "{refused:?}");
}

#[test]
fn of_many_who_race_with_one_descriptor_one_gets_in() {
    let segment = Sut::segment();
    for _ in 0..10 {
        let encoded = segment.encode().unwrap();
        let barrier = std::sync::Barrier::new(4);
        let attached = std::thread::scope(|scope| {
            let race = || {
                let fd = encoded.fd.as_ref().map(|fd| fd.try_clone().unwrap());
                barrier.wait();
                Segment::decode(&encoded.bytes, fd, SIZE)
            };
            let racers: Vec<_> = (0..4).map(|_| scope.spawn(race)).collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(attached.iter().filter(|attached| attached.is_ok()).count(), 1);
        for attached in attached {
            if attached.is_err() {
                refused!(attached, ErrorKind::TokenSpent);
            }
        }
    }
}

#[test]
fn the_expected_size_is_compared_as_it_is_rounded() {
    let segment = Sut::builder(100_000).create().unwrap();
    let decode = |size| {
        let encoded = segment.encode().unwrap();
        Segment::decode(encoded.bytes, encoded.fd, size)
    };
    assert_eq!(decode(100_000).unwrap().size(), segment.size());
    assert!(decode(segment.size()).is_ok());
    let error = refused!(decode(SIZE), ErrorKind::SizeMismatch { .. });
    for number in [SIZE, segment.size()] {
        assert!(error.to_string().contains(&number.to_string()), "{error}");
    }
    refused!(decode(segment.size() + 1), ErrorKind::SizeMismatch { .. });
    refused!(decode(0), ErrorKind::ZeroSize);
    refused!(decode(usize::MAX), ErrorKind::SizeOverflow { .. });
}

#[test]
fn every_cut_and_every_flipped_bit_is_an_error() {
    let segment = Sut::segment();
    let encoded = segment.encode().unwrap();
    let fd = || encoded.fd.as_ref().map(|fd| fd.try_clone().unwrap());
    for len in 0..encoded.bytes.len() {
        let error = refused!(
            Segment::decode(&encoded.bytes[..len], fd(), SIZE),
            ErrorKind::Descriptor(DescriptorFault::Truncated { .. })
        );
        assert!(error.to_string().contains(&format!("after {len} of")), "{error}");
    }
    for bit in 0..8 * encoded.bytes.len() {
        let mut bytes = encoded.bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        refused!(Segment::decode(&bytes, fd(), SIZE), ErrorKind::Descriptor(_));
    }
    let mut longer = encoded.bytes.clone();
    longer.extend_from_slice(&[0; 4]);
    refused!(Segment::decode(&longer, fd(), SIZE), ErrorKind::Descriptor(DescriptorFault::TrailingBytes { count: 4 }));
    Segment::decode(&encoded.bytes, fd(), SIZE).expect("the good one was not spent by the bad ones");
}

#[test]
fn foreign_bytes_and_another_version_are_told_apart() {
    let mut bytes = Sut::segment().encode().unwrap().bytes;
    bytes[7] = 99;
    let unknown = DescriptorFault::UnknownVersion { found: 99, known: 1 };
    let error = refused!(Segment::decode(&bytes, None, SIZE), ErrorKind::Descriptor(_));
    assert_eq!(error.kind(), ErrorKind::Descriptor(unknown));
    bytes[..4].copy_from_slice(b"\x7fELF");
    refused!(
        Segment::decode(&bytes, None, SIZE),
        ErrorKind::Descriptor(DescriptorFault::Foreign { found: 0x7f45_4c46 })
    );
}

#[test]
fn a_token_that_was_never_given_lets_nobody_in() {
    let segment = Sut::segment();
    let (bytes, fd) = forged(&segment, |descriptor| descriptor.token = Token([9; 16]));
    refused!(Segment::decode(bytes, fd, SIZE), ErrorKind::TokenSpent);
    let (bytes, fd) = forged(&segment, |descriptor| descriptor.token = Token([0; 16]));
    refused!(Segment::decode(bytes, fd, SIZE), ErrorKind::TokenSpent);
}

#[test]
fn an_owner_that_is_not_the_objects_is_refused() {
    let segment = Sut::segment();
    let stranger = Identity { uid: 0x7654_3210, gid: 0 };
    let (bytes, fd) = forged(&segment, |descriptor| descriptor.owner = stranger);
    // A lock that needs trust is refused first, in the stranger's name.
    let error = Sut::attach().decode(bytes, fd).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WrongOwner { expected: 0x7654_3210, .. }), "{error}");
}

#[test]
fn an_object_of_another_size_is_refused() {
    let segment = Sut::segment();
    for size in [SIZE / 2, 2 * SIZE] {
        let (bytes, fd) = forged(&segment, |descriptor| descriptor.size = size as u64);
        let error = refused!(Segment::decode(bytes, fd, size), ErrorKind::ObjectSize { .. });
        for number in [SIZE, size] {
            assert!(error.to_string().contains(&number.to_string()), "{error}");
        }
    }
}

#[test]
fn another_object_is_refused() {
    let segment = Sut::segment();
    let (bytes, fd) = forged(&segment, |descriptor| match &mut descriptor.object {
        Object::Memfd { inode, .. } | Object::Named { inode, .. } => *inode += 1,
        Object::Sysv { shm_id, .. } => *shm_id += 1 << 20,
    });
    let error = Segment::decode(bytes, fd, SIZE).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::HandleType { .. } | ErrorKind::Gone { .. }), "{error}");
}

#[test]
fn a_lock_that_is_not_the_segments_is_refused() {
    let segment = Sut::segment();
    for lock in LockKind::ALL.into_iter().filter(|lock| *lock != segment.lock_kind()) {
        let (bytes, fd) = forged(&segment, |descriptor| descriptor.lock = lock);
        let error = Segment::decode(bytes, fd, SIZE).unwrap_err();
        // Reported from the bytes, by this build's parts, or by the header.
        let expected = matches!(
            error.kind(),
            ErrorKind::Descriptor(DescriptorFault::Mismatch { .. })
                | ErrorKind::LockNotBuilt { .. }
                | ErrorKind::Header(_)
        );
        assert!(expected, "{error}");
    }
}

#[test]
fn an_object_without_a_segment_is_refused() {
    if Sut::SYSV {
        harness::skip!("the bytes of a System V segment cannot be put in place of another's");
    }
    let segment = Sut::segment();
    let mut header = vec![0; 2048];
    segment.region(0, 2048).unwrap().copy_to(&mut header).unwrap();
    let refuse = |with: &[u8]| {
        let encoded = segment.encode().unwrap();
        segment.region(0, with.len()).unwrap().copy_from(with).unwrap();
        let error = refused!(Segment::decode(&encoded.bytes, encoded.fd, SIZE), ErrorKind::Header(_));
        segment.region(0, 640).unwrap().copy_from(&header[..640]).unwrap();
        error.to_string()
    };
    assert!(refuse(&[0; 2048]).contains("the header is empty"));
    assert!(refuse(b"\x7fELF\0\0\0\0").contains("does not hold a monshm segment"));
    let mut size = header[..24].to_vec();
    size[16] ^= 0xff;
    assert!(refuse(&size).contains("size"));
}

#[test]
fn a_file_descriptor_is_missing_or_does_not_belong() {
    let segment = Sut::segment();
    let encoded = segment.encode().unwrap();
    if Sut::SYSV {
        let fd = OwnedFd::from(File::open("/dev/null").unwrap());
        let error = refused!(Segment::decode(encoded.bytes, Some(fd), SIZE), ErrorKind::HandleUnexpected);
        assert!(error.to_string().contains("pass none"), "{error}");
        return;
    }
    // A name and a memfd of our own user are found without; `access` has those of others.
    Segment::decode(encoded.bytes, None, SIZE).unwrap();
}

#[test]
fn a_file_descriptor_of_another_type_is_refused() {
    if Sut::SYSV {
        harness::skip!("System V segments travel without a file descriptor");
    }
    let segment = Sut::segment();
    let decode = |fd: OwnedFd| Segment::decode(segment.encode().unwrap().bytes, Some(fd), SIZE);
    let file = tempfile_of(SIZE);
    refused!(decode(file), ErrorKind::HandleType { .. });
    refused!(decode(OwnedFd::from(File::open("/dev/null").unwrap())), ErrorKind::HandleType { .. });
    refused!(decode(OwnedFd::from(File::open("/").unwrap())), ErrorKind::HandleType { .. });
    let (pipe, _other_end) = rustix::pipe::pipe().unwrap();
    refused!(decode(pipe), ErrorKind::HandleType { .. });
    let (socket, _other_end) = std::os::unix::net::UnixStream::pair().unwrap();
    let error = refused!(decode(OwnedFd::from(socket)), ErrorKind::HandleType { .. });
    assert!(error.to_string().contains("a socket"), "{error}");
    // A memfd in all but its identity.
    refused!(decode(memfd(SIZE, ALL_SEALS)), ErrorKind::HandleType { .. });
}

/// A file on disk where there is one to be had; `/tmp` may be memory too, but is not the named object.
fn tempfile_of(size: usize) -> OwnedFd {
    let path = std::env::temp_dir().join(format!("{}-{:?}", std::process::id(), std::thread::current().id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    file.set_len(size as u64).unwrap();
    file.into()
}

#[test]
fn a_memfd_that_can_change_its_size_or_be_sealed_on_is_refused() {
    if !Sut::MEMFD {
        harness::skip!("seals are a memfd's");
    }
    let segment = Sut::segment();
    for (missing, what) in
        [(libc::F_SEAL_SHRINK, "shrinking"), (libc::F_SEAL_GROW, "growing"), (libc::F_SEAL_SEAL, "further seals")]
    {
        let fd = memfd(SIZE, ALL_SEALS & !missing);
        let bytes = segment.encode().unwrap().bytes;
        let error = refused!(Segment::decode(bytes, Some(fd), SIZE), ErrorKind::Unsealed { .. });
        assert!(error.to_string().contains(what), "{error}");
    }
    let fd = memfd(SIZE, ALL_SEALS | libc::F_SEAL_FUTURE_WRITE);
    let bytes = segment.encode().unwrap().bytes;
    refused!(Segment::decode(bytes, Some(fd), SIZE), ErrorKind::SealedAgainstWriting);
}

/// The descriptor itself promises the size, so that only an object of the sender's own can be too small.
#[test]
fn a_memfd_that_is_too_small_is_refused() {
    use std::os::unix::fs::MetadataExt;
    if !Sut::MEMFD {
        harness::skip!("only a memfd is made by the sender and passed on");
    }
    let segment = Sut::segment();
    let small = memfd(SIZE / 2, ALL_SEALS);
    let meta = File::from(small.try_clone().unwrap()).metadata().unwrap();
    let (bytes, _) = forged(&segment, |descriptor| {
        descriptor.object = Object::Memfd { pid: 1, fd: 0, inode: meta.ino() };
    });
    refused!(Segment::decode(bytes, Some(small), SIZE), ErrorKind::ObjectSize { .. });
}

#[test]
fn a_segment_has_room_for_31_peers_and_a_place_that_was_left_is_taken_again() {
    let segment = Sut::segment();
    let attach = || {
        let encoded = segment.encode().unwrap();
        Segment::decode(encoded.bytes, encoded.fd, SIZE)
    };
    let mut peers: Vec<_> = (0..31).map(|_| attach().unwrap()).collect();
    let error = refused!(attach(), ErrorKind::SlotsTaken);
    assert!(error.to_string().contains("32"), "{error}");
    drop(peers.swap_remove(7));
    peers.push(attach().unwrap());
    refused!(attach(), ErrorKind::SlotsTaken);
}
