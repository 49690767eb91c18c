//! What the handles of a segment answer once a peer has truncated it: `MemoryLost`, from the call that was interrupted
//! on, whichever that was; never zeros for data. And how such memory is refused beforehand.
//!
//! How the process survives is tested in `monshm-posix`.

#![cfg(all(feature = "posix", feature = "futex"))]

use std::alloc::Layout;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use monshm::{AttachOptions, BackendKind, Encoded, Error, ErrorKind, Label, LockKind, MemoryKind, NextStep, Segment};

const SIZE: usize = 64 << 10;
const SECOND: Duration = Duration::from_secs(1);

/// The locks of this build that named memory can have.
const LOCKS: &[LockKind] = &[
    LockKind::Futex,
    #[cfg(feature = "pthread-mutex")]
    LockKind::PthreadMutex,
    #[cfg(feature = "semaphore")]
    LockKind::Semaphore,
];

/// A segment whose memory can be truncated, the file behind it, and a peer's handle.
struct Pair {
    creator: Segment,
    peer: Segment,
    file: OwnedFd,
}

impl Pair {
    fn with_lock(lock: LockKind) -> Self {
        let builder = Segment::builder(SIZE).backend(BackendKind::Posix).memory(MemoryKind::Named);
        let creator = builder.lock(lock).create().unwrap();
        let Encoded { bytes, fd, .. } = creator.encode().unwrap();
        let file = fd.as_ref().unwrap().try_clone().unwrap();
        let peer = Segment::decode(bytes, fd, SIZE).unwrap();
        Self { creator, peer, file }
    }

    fn new() -> Self {
        Self::with_lock(LockKind::Futex)
    }

    fn truncate(&self, len: u64) {
        rustix::fs::ftruncate(&self.file, len).unwrap();
    }
}

fn lost(outcome: Result<(), Error>, call: &str) {
    let error = outcome.expect_err(call);
    assert_eq!(error.kind(), ErrorKind::MemoryLost, "{call}: {error}");
    assert_eq!(error.next_step(), NextStep::GiveUpPeer);
    assert!(error.to_string().contains("truncated"), "{error}");
}

/// A call of a handle, with its name.
type Call = (&'static str, fn(&Segment) -> Result<(), Error>);

/// Every call of a handle.
const CALLS: &[Call] = &[
    ("lock", |segment| segment.lock().map(drop)),
    ("try_lock", |segment| segment.try_lock().map(drop)),
    ("lock_timeout", |segment| segment.lock_timeout(SECOND).map(drop)),
    ("alloc", |segment| segment.alloc(Layout::new::<u64>()).map(drop)),
    ("ring", |segment| segment.lock()?.ring()?.len().map(drop)),
    ("producer", |segment| segment.producer().map(drop)),
    ("consumer", |segment| segment.consumer().map(drop)),
    ("copy_to", |segment| segment.region(8192, 8)?.copy_to(&mut [0; 8])),
    ("copy_from", |segment| segment.region(8192, 8)?.copy_from(&[1; 8])),
    ("check", |segment| {
        let _ = segment.region(8192, 8)?.atomic_u64(0)?.load(std::sync::atomic::Ordering::Relaxed);
        segment.check()
    }),
];

#[test]
fn the_call_that_is_interrupted_and_all_after_it_are_told() {
    for lock in LOCKS {
        for (name, call) in CALLS {
            let pair = Pair::with_lock(*lock);
            pair.truncate(0);
            lost(call(&pair.peer), name);
            for (after, call) in CALLS {
                lost(call(&pair.peer), &format!("{after} after {name}, {lock}"));
            }
            lost(pair.creator.encode().map(drop), "encode");
            lost(pair.creator.lock().map(drop), "the creator's");
        }
    }
}

#[test]
fn a_lock_that_was_held_is_let_go_of_without_harm() {
    for lock in LOCKS {
        let other = Pair::with_lock(*lock);
        let pair = Pair::with_lock(*lock);
        let guard = pair.peer.lock().unwrap();
        pair.truncate(0);
        lost(guard.unlock(), "unlock");
        drop(pair);
        // A robust mutex stays in its thread's list, through which libc writes at the next lock; nothing else may lie
        // where it was.
        drop(other.peer.lock().unwrap());
        let pair = Pair::with_lock(*lock);
        let guard = pair.peer.lock().unwrap();
        pair.truncate(0);
        drop(guard);
        lost(pair.peer.lock().map(drop), "lock");
        drop(pair);
        drop(other.creator.lock().unwrap());
    }
}

#[test]
fn a_waiter_is_told_within_its_time() {
    for lock in LOCKS {
        let pair = Pair::with_lock(*lock);
        let held = pair.creator.lock().unwrap();
        let began = Instant::now();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| pair.peer.lock_timeout(10 * SECOND).map(drop));
            std::thread::sleep(Duration::from_millis(30));
            pair.truncate(0);
            lost(waiter.join().unwrap(), "a waiter");
        });
        assert!(began.elapsed() < 5 * SECOND, "{lock}: {:?}", began.elapsed());
        lost(held.unlock(), "unlock");
    }
}

#[test]
fn bytes_in_pages_that_went_are_not_taken_for_zeros() {
    // The header stays: what is between call and bytes still works.
    let pair = Pair::new();
    pair.peer.region(8192, 20_000).unwrap().copy_from(&[7; 20_000]).unwrap();
    pair.truncate(4096);
    lost(pair.peer.region(8192, 20_000).unwrap().copy_to(&mut [0; 20_000]), "copy_to");

    let pair = Pair::new();
    pair.truncate(4096);
    lost(pair.peer.lock().unwrap().ring().unwrap().append(&[7; 20_000]), "append");

    let pair = Pair::new();
    pair.creator.lock().unwrap().ring().unwrap().append(&[7; 20_000]).unwrap();
    pair.truncate(4096);
    lost(pair.peer.lock().unwrap().ring().unwrap().read(&mut [0; 20_000]), "read");
}

#[test]
fn the_ends_of_the_ring_are_told_whatever_they_knew() {
    const LABEL: Label = Label::kind(1);

    // The consumer knows of more data than it has read, and need not look at the header.
    let pair = Pair::new();
    let mut producer = pair.creator.producer().unwrap();
    let mut consumer = pair.peer.consumer().unwrap();
    producer.try_write(&[7; 30_000]).unwrap();
    consumer.try_read(&mut [0; 64]).unwrap();
    pair.truncate(4096);
    let mut bytes = [1; 20_000];
    lost(consumer.try_read(&mut bytes), "try_read");
    lost(consumer.try_read(&mut bytes[..1]), "from then on");
    lost(consumer.read_partial(&mut bytes, SECOND).map(drop), "read_partial");
    // So does the producer of room.
    lost(producer.try_write(&[7; 20_000]), "try_write");
    lost(producer.write_partial(&[7; 20_000], SECOND).map(drop), "write_partial");

    let pair = Pair::new();
    let mut producer = pair.creator.producer().unwrap();
    let mut consumer = pair.peer.consumer().unwrap();
    for _ in 0..4 {
        producer.try_push(LABEL, &[7; 6000]).unwrap();
    }
    // The header of the first record stays, its payload goes.
    consumer.available().unwrap();
    pair.truncate(4096);
    lost(consumer.try_pop(&mut bytes).map(drop), "try_pop");
    lost(consumer.pop(&mut bytes, SECOND).map(drop), "pop");
    lost(producer.push(LABEL, &[7; 6000], SECOND), "push");

    // A reader that waits for data, and a writer that waits for room.
    let pair = Pair::new();
    let mut consumer = pair.peer.consumer().unwrap();
    let mut producer = pair.creator.producer().unwrap();
    while producer.try_write_partial(&[7; 9000]).unwrap() != 0 {}
    while consumer.try_read_partial(&mut bytes).unwrap() != 0 {}
    producer.try_write_partial(&[7; 60_000]).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| producer.write(&[7; 60_000], 10 * SECOND));
        std::thread::sleep(Duration::from_millis(30));
        pair.truncate(0);
        lost(writer.join().unwrap(), "a writer that waits");
    });
}

#[test]
fn an_object_that_is_cut_before_the_attach_is_refused() {
    let builder = Segment::builder(SIZE).backend(BackendKind::Posix).memory(MemoryKind::Named);
    let creator = builder.create().unwrap();
    let encoded = creator.encode().unwrap();
    rustix::fs::ftruncate(encoded.fd.as_ref().unwrap(), 4096).unwrap();
    let error = Segment::decode(encoded.bytes, encoded.fd, SIZE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ObjectSize { promised: SIZE as u64, found: 4096 });
}

#[test]
fn an_attach_that_is_raced_answers_an_error() {
    for round in 0..300_u32 {
        let builder = Segment::builder(SIZE).backend(BackendKind::Posix).memory(MemoryKind::Named);
        let creator = builder.create().unwrap();
        let encoded = creator.encode().unwrap();
        let file = encoded.fd.as_ref().unwrap().try_clone().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..round * 20 {
                    std::hint::spin_loop();
                }
                rustix::fs::ftruncate(&file, 0).unwrap();
            });
            match Segment::decode(encoded.bytes, encoded.fd, SIZE) {
                // The cut came later, or still comes.
                Ok(_) => {}
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::MemoryLost | ErrorKind::ObjectSize { .. }), "{error}");
                }
            }
        });
    }
}

#[test]
fn memory_that_can_be_truncated_is_refused_where_that_is_asked_for() {
    let posix = || Segment::builder(SIZE).backend(BackendKind::Posix).refuse_truncatable(true);
    let error = posix().memory(MemoryKind::Named).create().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Truncatable { memory: MemoryKind::Named });
    assert_eq!(error.next_step(), NextStep::ChooseAnother);
    assert_eq!(posix().create().unwrap().memory_kind(), MemoryKind::Memfd);

    let creator = Segment::builder(SIZE).backend(BackendKind::Posix).memory(MemoryKind::Named).create();
    let encoded = creator.as_ref().unwrap().encode().unwrap();
    let attach = AttachOptions::new(SIZE).refuse_truncatable(true);
    let error = attach.decode(&encoded.bytes, encoded.fd).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Truncatable { memory: MemoryKind::Named });
    // The token was not spent.
    Segment::decode(encoded.bytes, None, SIZE).unwrap();
}

#[test]
#[cfg(feature = "sysv")]
fn auto_goes_past_memory_that_is_refused() {
    let peer = monshm::PeerCreds::of_user(65_534);
    let builder = Segment::builder(SIZE).peer(peer).trust_peer(true).reachable_by_bytes(true);
    let segment = builder.refuse_truncatable(true).create().unwrap();
    assert_eq!(segment.memory_kind(), MemoryKind::SysvShm);
    assert!(segment.selection().to_string().contains("can be truncated"), "{}", segment.selection());
}

/// All later calls of the handle, also one that touches no byte.
#[test]
fn where_a_copy_found_the_memory_lost_no_region_is_given_any_more() {
    let pair = Pair::new();
    let last = pair.creator.region(SIZE as u64 - 8, 8).unwrap();
    pair.truncate(SIZE as u64 - 4096);
    lost(last.copy_to(&mut [0; 8]), "copy_to");
    lost(pair.creator.region(0, 1).map(drop), "region");
}
