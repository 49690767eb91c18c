//! A segment from creation to removal: in one process, between two, by handle and by bytes, and nothing left behind.
//!
//! Refusals, other users, locks and deaths stand in files of their own.

mod support;

use std::sync::atomic::Ordering;

use harness::test::alone;
use monshm_core::backend::Backend;
use monshm_core::descriptor::Object;
use monshm_core::error::ErrorKind;
use monshm_core::kind::{LockKind, MemoryKind};
use monshm_core::layout::{SLOT_COUNT, Slot};
use monshm_posix::Posix;
use support::{Helper, MEMORIES, SIZE, Segment, attach, attach_given, create, own_uid, request, share, word};

harness::roles! { "peer" => peer }

/// A peer: changes a word from what the test wrote.
fn peer(link: &harness::Link) -> harness::process::Outcome {
    let (_, peer) = attach_given(link);
    link.say(word(&peer?).swap(23, Ordering::AcqRel))?;
    Ok(())
}

#[test]
fn bytes_are_zero_and_shared_within_one_process() {
    for &memory in MEMORIES {
        let segment = create(memory);
        assert_eq!((segment.memory(), segment.region().len() as u64), (memory, SIZE));
        let region = segment.region();
        assert!((0..SIZE / 8).all(|n| region.atomic_u64(8 * n).unwrap().load(Ordering::Relaxed) == 0));
        let (descriptor, handle) = share(&segment, LockKind::Futex);
        let peer = attach(&descriptor, Some(handle)).expect("attach");
        word(&segment).store(7, Ordering::Relaxed);
        assert_eq!(word(&peer).load(Ordering::Relaxed), 7);
        assert_ne!(peer.region().base(), segment.region().base());
        assert_eq!((segment.slot(), peer.slot().index()), (Slot::CREATOR, 1));
    }
}

#[test]
fn every_byte_is_reserved_and_a_memfd_is_sealed() {
    for &memory in MEMORIES {
        let segment = create(memory);
        let (_, handle) = share(&segment, LockKind::Futex);
        let stat = rustix::fs::fstat(&handle).unwrap();
        assert_eq!(stat.st_blocks as u64 * 512, SIZE, "{memory}");
        assert_eq!(stat.st_mode & 0o7777, 0o600, "{memory}");
        let flags = rustix::io::fcntl_getfd(&handle).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        let cut = rustix::fs::ftruncate(&handle, 4096);
        assert_eq!(cut.is_err(), memory == MemoryKind::Memfd, "only a memfd can be sealed");
    }
}

#[test]
fn another_process_attaches_by_handle_and_by_bytes() {
    for &memory in MEMORIES {
        for with_handle in [true, false] {
            let segment = create(memory);
            let (descriptor, handle) = share(&segment, LockKind::Futex);
            word(&segment).store(42, Ordering::Release);
            let handle = with_handle.then_some(&handle);
            assert_eq!(Helper::start("peer", own_uid(), Some(&descriptor), handle).answer(), "42");
            assert_eq!(word(&segment).load(Ordering::Acquire), 23, "{memory}, handle: {with_handle}");
        }
    }
}

#[test]
fn a_name_is_removed_once_and_the_handle_still_attaches() {
    let segment = create(MemoryKind::Named);
    let (descriptor, handle) = share(&segment, LockKind::Futex);
    let Object::Named { name, .. } = descriptor.object else { panic!("not named: {descriptor:?}") };
    let path = format!("/dev/shm{name}");
    assert!(std::fs::exists(&path).unwrap());
    let peer = attach(&descriptor, None).expect("attach by name");
    drop(peer);
    assert!(std::fs::exists(&path).unwrap(), "a peer that goes leaves the name to its creator");
    segment.remove_name();
    assert!(!std::fs::exists(&path).unwrap());
    let error = attach(&descriptor, None).map(drop).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Gone { .. }), "{error}");
    assert_eq!(error.os_error(), Some(libc::ENOENT));
    attach(&descriptor, Some(handle)).expect("attach by handle");
}

#[test]
fn whoever_has_the_name_meanwhile_keeps_it() {
    let segment = create(MemoryKind::Named);
    let Object::Named { name, .. } = segment.share().unwrap().object else { panic!("not named") };
    let path = format!("/dev/shm{name}");
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "a stranger's").unwrap();
    segment.remove_name();
    drop(segment);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a stranger's");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn the_creator_takes_its_name_along() {
    let segment = create(MemoryKind::Named);
    let Object::Named { name, .. } = segment.share().unwrap().object else { panic!("not named") };
    drop(segment);
    assert!(!std::fs::exists(format!("/dev/shm{name}")).unwrap());
}

#[test]
fn slots_are_given_out_once_and_come_back() {
    for &memory in MEMORIES {
        let segment = create(memory);
        let (descriptor, handle) = share(&segment, LockKind::Futex);
        let again = || handle.try_clone().unwrap();
        let mut peers: Vec<Segment> = Slot::peers().map(|_| attach(&descriptor, Some(again())).unwrap()).collect();
        let taken: Vec<u32> = peers.iter().map(|peer| peer.slot().index()).collect();
        assert_eq!(taken, (1..SLOT_COUNT).collect::<Vec<_>>());
        let error = attach(&descriptor, Some(again())).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SlotsTaken);
        let sees = |slot| segment.liveness().is_alive(Slot::new(slot).unwrap());
        assert!((0..SLOT_COUNT).all(sees));
        drop(peers.remove(4));
        assert!(!sees(5) && sees(4) && sees(6));
        assert_eq!(attach(&descriptor, Some(again())).unwrap().slot().index(), 5);
        assert_eq!(peers[4].take_slot().unwrap().index(), 6, "the same slot again, though a lower one is free");
        assert!(peers[0].liveness().is_alive(Slot::CREATOR));
        drop(segment);
        assert!(!peers[0].liveness().is_alive(Slot::CREATOR));
    }
}

#[test]
fn only_the_creator_shares() {
    let segment = create(MemoryKind::Memfd);
    let (descriptor, handle) = share(&segment, LockKind::Futex);
    let peer = attach(&descriptor, Some(handle)).unwrap();
    assert!(matches!(peer.share().unwrap_err().kind(), ErrorKind::Unsupported { .. }));
}

#[test]
fn threads_may_share_at_once() {
    for _ in 0..200 {
        let segment = create(MemoryKind::Memfd);
        let start = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    start.wait();
                    segment.share().expect("share")
                });
            }
        });
    }
}

#[test]
fn nothing_is_left_of_a_whole_life() {
    alone(|| {
        let before = (support::open_files(), support::shared_mappings());
        let mut seen = Vec::new();
        for &memory in MEMORIES {
            for &lock in Posix.locks() {
                let segment = create(memory);
                let held = segment.create_lock(lock).unwrap();
                let (descriptor, handle) = share(&segment, lock);
                let peer = attach(&descriptor, Some(handle)).unwrap();
                let theirs = peer.open_lock(lock).unwrap();
                assert!(support::open_files().len() > before.0.len() && support::shared_mappings() == 2);
                if let Object::Named { name, .. } = descriptor.object {
                    seen.push(name.to_string());
                }
                // The attachment goes first: a lock keeps its mapping.
                drop((peer, segment));
                assert_eq!(support::shared_mappings(), 2);
                drop((held, theirs));
                assert_eq!((support::open_files(), support::shared_mappings()), before, "{memory} {lock}");
            }
        }
        assert!(seen.iter().all(|name| !std::fs::exists(format!("/dev/shm{name}")).unwrap()));
        assert_eq!(seen.len(), Posix.locks().len());
    });
}

#[test]
fn locks_of_others_are_refused_by_name() {
    let segment = Posix.create(&request(MemoryKind::Memfd, SIZE, own_uid())).unwrap();
    let error = segment.create_lock(LockKind::SysvSem).map(drop).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::LockNotOfBackend { lock: LockKind::SysvSem, .. }), "{error}");
    for kind in [LockKind::Futex, LockKind::PthreadMutex, LockKind::Semaphore] {
        let made = create(MemoryKind::Memfd).create_lock(kind).map(|lock| lock.kind());
        if Posix.locks().contains(&kind) {
            assert_eq!(made.unwrap(), kind);
        } else {
            assert_eq!(made.unwrap_err().kind(), ErrorKind::LockNotBuilt { lock: kind });
        }
    }
}
