//! One-way segments: what is published is read whole; the reader's process can write to none of it by any means; a
//! hostile or dead publisher costs the reader its deadline at most.

#![cfg(all(feature = "posix", feature = "futex"))]

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use monshm::{
    AttachOptions, BackendKind, Builder, DEFAULT_TIMEOUT, Encoded, Error, ErrorKind, MemoryKind, PeerCreds, Publisher,
    Reader, Segment,
};

const SIZE: usize = 64 << 10;
const SOON: Duration = Duration::from_millis(100);

/// Where the version stands, and the first place, in bytes from the base: drawn at the top of `one_way.rs`.
const VERSION: usize = 2048;
const FIRST_PLACE: usize = 2048 + 128;

fn builder() -> Builder {
    Segment::builder(SIZE)
}

fn pair() -> (Publisher, Reader) {
    let publisher = builder().create_publisher().unwrap();
    let Encoded { bytes, fd, .. } = publisher.encode().unwrap();
    let reader = AttachOptions::new(SIZE).decode_reader(bytes, fd).unwrap();
    (publisher, reader)
}

fn read(reader: &Reader) -> Result<(u64, Vec<u8>), Error> {
    let mut bytes = vec![9; 3];
    let outcome = reader.read(&mut bytes, SOON);
    assert!(outcome.is_ok() || bytes.is_empty(), "nothing half read is left");
    outcome.map(|version| (version, bytes))
}

fn kind<T>(outcome: Result<T, Error>) -> ErrorKind {
    outcome.map(drop).unwrap_err().kind()
}

/// The mappings of this process with these permissions whose object has this inode: begin and end.
fn mappings(permissions: &str, fd: &OwnedFd) -> Vec<(usize, usize)> {
    let inode = rustix::fs::fstat(fd).unwrap().st_ino.to_string();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let address = |text: &str| usize::from_str_radix(text, 16).unwrap();
    maps.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words[1] == permissions && words[4] == inode)
        .map(|words| words[0].split_once('-').map(|(begin, end)| (address(begin), address(end))).unwrap())
        .collect()
}

/// A word of the publisher's own mapping, as a publisher that keeps to no rule writes it.
fn word(fd: &OwnedFd, offset: usize) -> &'static AtomicU64 {
    let [(begin, _)] = mappings("rw-s", fd)[..] else { panic!("one mapping can be written to") };
    // SAFETY: mapped for reading and writing while the publisher lives, which each test sees to; aligned to 8.
    unsafe { AtomicU64::from_ptr(std::ptr::with_exposed_provenance_mut(begin + offset)) }
}

#[test]
fn what_is_published_is_read() {
    let (mut publisher, reader) = pair();
    assert_eq!(kind(read(&reader)), ErrorKind::NoData { asked: 1, available: 0 });
    assert_eq!(reader.version(), 0);
    for version in 1..=5_u64 {
        let bytes = vec![version as u8; 1000 * version as usize];
        assert_eq!(publisher.publish(&bytes).unwrap(), version);
        assert_eq!(read(&reader).unwrap(), (version, bytes.clone()));
        assert_eq!(read(&reader).unwrap(), (version, bytes), "and again");
    }
    publisher.publish(b"").unwrap();
    assert_eq!(read(&reader).unwrap(), (6, Vec::new()));
    let most = vec![7; publisher.capacity()];
    assert!(most.len() > SIZE * 2 / 5 && publisher.capacity() == reader.capacity());
    publisher.publish(&most).unwrap();
    assert_eq!(read(&reader).unwrap(), (7, most.clone()));
    let over = publisher.publish(&[most, vec![1]].concat());
    assert!(matches!(kind(over), ErrorKind::NoRoom { .. }));
    assert_eq!(reader.version(), 7);
    // The publisher goes; what it published stays.
    assert!(reader.is_publisher_alive());
    drop(publisher);
    assert!(!reader.is_publisher_alive());
    assert_eq!(read(&reader).unwrap().0, 7);
}

#[test]
fn nobody_else_can_write() {
    let (mut publisher, _reader) = pair();
    publisher.publish(b"mine").unwrap();
    let fd = publisher.encode().unwrap().fd.unwrap();
    let errno = |outcome: Result<(), rustix::io::Errno>| outcome.unwrap_err().raw_os_error();
    use rustix::fs::{FallocateFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate};
    assert_eq!(errno(rustix::io::pwrite(&fd, b"theirs", 0).map(drop)), libc::EPERM);
    assert_eq!(errno(ftruncate(&fd, 0)), libc::EPERM);
    assert_eq!(errno(ftruncate(&fd, 2 * SIZE as u64)), libc::EPERM);
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    assert_eq!(errno(fallocate(&fd, hole, 0, SIZE as u64)), libc::EPERM);
    assert_eq!(errno(fcntl_add_seals(&fd, SealFlags::WRITE)), libc::EPERM);
    // SAFETY: the kernel chooses the address, and refuses.
    let mapped = unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(std::ptr::null_mut(), SIZE, protection, libc::MAP_SHARED, fd.as_raw_fd(), 0)
    };
    assert_eq!((mapped, last_errno()), (libc::MAP_FAILED, libc::EPERM));
    // The reader's own mapping cannot be opened for writing either.
    let [(begin, end)] = mappings("r--s", &fd)[..] else { panic!("one mapping is the reader's") };
    let begin = std::ptr::with_exposed_provenance_mut(begin);
    // SAFETY: refused; the mapping stays as it is.
    let opened = unsafe { libc::mprotect(begin, end - begin.addr(), libc::PROT_READ | libc::PROT_WRITE) };
    assert_eq!((opened, last_errno()), (-1, libc::EACCES));
}

fn last_errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap()
}

#[test]
fn the_two_kinds_of_segment_are_not_taken_for_each_other() {
    let publisher = builder().create_publisher().unwrap();
    let Encoded { bytes, fd, .. } = publisher.encode().unwrap();
    assert_eq!(kind(Segment::decode(bytes, fd, SIZE)), ErrorKind::SealedAgainstWriting);
    let segment = builder().backend(BackendKind::Posix).create().unwrap();
    let Encoded { bytes, fd, .. } = segment.encode().unwrap();
    let refused = AttachOptions::new(SIZE).decode_reader(bytes, fd);
    assert!(matches!(kind(refused), ErrorKind::Unsealed { .. }));
    let named = builder().backend(BackendKind::Posix).memory(MemoryKind::Named);
    let Encoded { bytes, fd, .. } = named.clone().create().unwrap().encode().unwrap();
    let memory = MemoryKind::Named;
    assert_eq!(kind(AttachOptions::new(SIZE).decode_reader(bytes, fd)), ErrorKind::NotOneWay { memory });
    assert_eq!(kind(named.create_publisher()), ErrorKind::NotOneWay { memory });
    let sysv = builder().backend(BackendKind::Sysv).create_publisher();
    let expected = if cfg!(feature = "sysv") {
        ErrorKind::NotOneWay { memory: MemoryKind::SysvShm }
    } else {
        ErrorKind::BackendNotBuilt { backend: BackendKind::Sysv }
    };
    assert_eq!(kind(sysv), expected);
    let Encoded { bytes, fd, .. } = publisher.encode().unwrap();
    drop(publisher);
    assert!(matches!(kind(AttachOptions::new(SIZE).decode_reader(bytes, fd)), ErrorKind::Gone { .. }));
}

#[test]
fn no_read_mixes_two_publications() {
    let (mut publisher, reader) = pair();
    publisher.publish(&vec![0; length(1)]).unwrap();
    let stop = AtomicBool::new(false);
    let reads = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut bytes, mut reads, mut last) = (Vec::new(), 0_u64, 0);
            while !stop.load(Ordering::Relaxed) {
                let version = match reader.read(&mut bytes, SOON) {
                    Ok(version) => version,
                    Err(error) => {
                        assert!(matches!(error.kind(), ErrorKind::TimedOut { .. }), "{error}");
                        continue;
                    }
                };
                // The length and each byte follow from the version.
                assert_eq!(bytes.len(), length(version));
                assert!(bytes.iter().all(|byte| *byte == (version - 1) as u8), "version {version}");
                assert!(version >= last);
                (last, reads) = (version, reads + 1);
            }
            reads
        });
        let began = Instant::now();
        let mut bytes = vec![0; 4096];
        while began.elapsed() < Duration::from_millis(1500) {
            for _ in 0..100 {
                let version = publisher_next(&publisher);
                bytes.fill((version - 1) as u8);
                publisher.publish(&bytes[..length(version)]).unwrap();
            }
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(reads > 1000, "{reads}");
}

/// The length that the test gives to a version.
fn length(version: u64) -> usize {
    8 + version as usize * 37 % 4000
}

fn publisher_next(publisher: &Publisher) -> u64 {
    publisher.version() + 1
}

#[test]
fn a_publisher_that_is_killed_in_between_leaves_what_was_before() {
    let (mut publisher, reader) = pair();
    let fd = publisher.encode().unwrap().fd.unwrap();
    publisher.publish(b"whole").unwrap();
    // Version 2 goes to the first place; all of it but its version.
    word(&fd, FIRST_PLACE).store(6, Ordering::Relaxed);
    word(&fd, FIRST_PLACE + 8).store(u64::MAX, Ordering::Relaxed);
    assert_eq!(read(&reader).unwrap(), (1, b"whole".to_vec()));
}

#[test]
fn a_hostile_publisher_costs_the_deadline_and_no_more() {
    let (mut publisher, reader) = pair();
    let fd = publisher.encode().unwrap().fd.unwrap();
    publisher.publish(b"whole").unwrap();
    // A length over its place.
    let second = FIRST_PLACE + (publisher.capacity() + 8);
    for len in [publisher.capacity() as u64 + 1, u64::MAX, 1 << 63] {
        word(&fd, second).store(len, Ordering::Relaxed);
        assert!(matches!(kind(read(&reader)), ErrorKind::Corrupt { .. }), "{len}");
    }
    word(&fd, second).store(5, Ordering::Relaxed);
    assert_eq!(read(&reader).unwrap(), (1, b"whole".to_vec()));
    // A version that never stands still.
    let (version, stop) = (word(&fd, VERSION), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                version.fetch_add(2, Ordering::Relaxed);
            }
        });
        let mut late = 0;
        for _ in 0..20 {
            let began = Instant::now();
            // Not an error when its two looks fell into one moment without a change.
            if let Err(error) = reader.read(&mut Vec::new(), Duration::from_millis(20)) {
                assert!(matches!(error.kind(), ErrorKind::TimedOut { .. }), "{error}");
            }
            late += u32::from(began.elapsed() > Duration::from_millis(70));
        }
        // With no time at all, the first change that it sees ends it. Long data, so that it sees one soon, also where
        // both threads share a processor.
        word(&fd, second).store(publisher.capacity() as u64, Ordering::Relaxed);
        let (began, mut timed_out) = (Instant::now(), false);
        while !timed_out && began.elapsed() < Duration::from_secs(10) {
            timed_out = reader.read(&mut Vec::new(), Duration::ZERO).is_err();
        }
        stop.store(true, Ordering::Relaxed);
        assert!(timed_out, "a change was never seen, or never ended a read");
        // One may be late because this machine was busy.
        assert!(late <= 2, "{late} of 20");
    });
}

#[test]
fn a_descriptor_that_was_handed_over_is_void() {
    let mut publisher = builder().peer(PeerCreds::ours()).create_publisher().unwrap();
    publisher.publish(b"whole").unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let attach = AttachOptions::new(SIZE);
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| publisher.send(&ours, DEFAULT_TIMEOUT));
        // As a peer does that keeps the bytes; the fd is left where it is, since a process of our user needs none.
        let mut length = [0; 4];
        theirs.read_exact(&mut length).unwrap();
        let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
        theirs.read_exact(&mut bytes).unwrap();
        let reader = attach.decode_reader(&bytes, None).unwrap();
        assert_eq!(read(&reader).unwrap(), (1, b"whole".to_vec()));
        theirs.write_all(b"MSHA\0\0\0\0").unwrap();
        sent.join().unwrap().unwrap();
        assert_eq!(kind(attach.decode_reader(&bytes, None)), ErrorKind::TokenSpent);
        assert_eq!(read(&reader).unwrap().0, 1, "who is attached goes on");
    });
    // And the whole of it, as a peer should.
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| publisher.send(&ours, DEFAULT_TIMEOUT));
        let reader = attach.receive_reader(&theirs).unwrap();
        sent.join().unwrap().unwrap();
        assert_eq!(reader.publisher().map(|creds| creds.uid), Some(PeerCreds::ours().uid));
        assert_eq!(read(&reader).unwrap(), (1, b"whole".to_vec()));
    });
}

#[test]
fn a_pair_of_them_lets_each_side_write_its_own_alone() {
    let (mut one, of_one) = pair();
    let (mut other, of_other) = pair();
    one.publish(b"question").unwrap();
    assert_eq!(read(&of_one).unwrap().1, b"question");
    other.publish(b"answer").unwrap();
    assert_eq!(read(&of_other).unwrap().1, b"answer");
}
