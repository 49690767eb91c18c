//! Creating, attaching, sharing bytes, excluding each other.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use monshm_core::{
    Access, Backend, Descriptor, ErrorKind, Identity, LockKind, MemoryKind, Name, Object, Peer, PreviousHolder,
    Request, SLOT_COUNT, Slot,
};
use monshm_sysv::Sysv;

use crate::helper::{Helper, Ids, PLACE, SIZE, attach, create, descriptor, in_time, kinds};
use crate::raw;

#[test]
fn both_handles_see_the_same_bytes_and_one_lock() {
    for &kind in kinds() {
        let (creator, ids) = create(kind);
        let peer = attach(ids, kind).unwrap();
        assert_eq!((creator.attachment.slot(), peer.attachment.slot().index()), (Slot::CREATOR, 1));
        assert_eq!(peer.attachment.region().len() as u64, SIZE);
        let (ours, theirs) = (creator.attachment.region(), peer.attachment.region());
        assert!((0..SIZE / 8).all(|n| theirs.atomic_u64(n * 8).unwrap().load(Ordering::Relaxed) == 0));
        ours.atomic_u64(PLACE).unwrap().store(42, Ordering::Relaxed);
        assert_eq!(theirs.atomic_u64(PLACE).unwrap().load(Ordering::Relaxed), 42);

        assert_eq!((creator.lock.kind(), peer.lock.kind()), (kind, kind));
        assert_eq!(creator.lock.acquire_now().unwrap(), Some(PreviousHolder::Released));
        assert_eq!(peer.lock.acquire_now().unwrap(), None);
        assert_eq!(peer.lock.try_acquire().unwrap(), None);
        creator.lock.release().unwrap();
        assert_eq!(peer.lock.acquire(in_time()).unwrap(), PreviousHolder::Released);
        peer.lock.release().unwrap();
    }
}

#[test]
fn the_memory_is_there_and_the_id_is_removed_when_create_returns() {
    let (_creator, ids) = create(LockKind::SysvSem);
    assert_eq!(raw::segment_column(ids.segment, "rss"), SIZE);
    assert_eq!(raw::segment_column(ids.segment, "perms"), 1600, "SHM_DEST and mode 0600");
}

/// The kernel shows all threads that look for free addresses at one time the same ones.
#[test]
fn threads_that_attach_at_one_time_are_not_in_each_others_way() {
    let (_creator, ids) = create(LockKind::SysvSem);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..200).for_each(|_| drop(attach(ids, LockKind::SysvSem).unwrap())));
        }
    });
}

#[test]
fn no_count_is_lost_between_processes() {
    for &kind in kinds() {
        let creator = Helper::start();
        let ids = creator.create(harness::users::own(), kind);
        let mut peers = [Helper::start(), Helper::start()];
        for (peer, slot) in peers.iter_mut().zip(["slot 1", "slot 2"]) {
            assert_eq!(peer.attach(ids, kind), slot);
        }
        creator.say("count 5000");
        peers.iter_mut().for_each(|peer| peer.say("count 5000"));
        assert_eq!(creator.hear(), "done");
        peers.iter_mut().for_each(|peer| assert_eq!(peer.hear(), "done"));
        assert_eq!(creator.ask("read"), "15000");
    }
}

#[test]
fn slots_run_out_and_come_back() {
    let (_creator, ids) = create(LockKind::SysvSem);
    let mut peers: Vec<_> = (1..SLOT_COUNT).map(|_| attach(ids, LockKind::SysvSem).unwrap()).collect();
    let taken: Vec<u32> = peers.iter().map(|peer| peer.attachment.slot().index()).collect();
    assert_eq!(taken, (1..SLOT_COUNT).collect::<Vec<_>>());
    assert_eq!(attach(ids, LockKind::SysvSem).err().map(|error| error.kind()), Some(ErrorKind::SlotsTaken));
    drop(peers.remove(6));
    assert!(!peers[0].attachment.liveness().is_alive(Slot::new(7).unwrap()));
    assert_eq!(attach(ids, LockKind::SysvSem).unwrap().attachment.slot().index(), 7);
}

#[test]
fn what_belongs_to_another_backend_is_refused() {
    let (creator, ids) = create(LockKind::SysvSem);
    for lock in [LockKind::PthreadMutex, LockKind::Semaphore] {
        let found = creator.attachment.create_lock(lock).err().map(|error| error.kind());
        assert_eq!(found, Some(ErrorKind::LockNotBuilt { lock }));
        let found = creator.attachment.open_lock(lock).err().map(|error| error.kind());
        assert_eq!(found, Some(ErrorKind::LockNotBuilt { lock }));
    }
    let refused = |descriptor: &Descriptor, handle| Sysv.attach(descriptor, &mut { handle }).unwrap_err().kind();
    let handle = OwnedFd::from(File::open("/dev/null").unwrap());
    assert_eq!(refused(&descriptor(ids, SIZE), Some(handle)), ErrorKind::HandleUnexpected);
    let object = Object::Named { name: Name::from_random(1), inode: 1 };
    let named = Descriptor { object, ..descriptor(ids, SIZE) };
    assert!(matches!(refused(&named, None), ErrorKind::MemoryNotOfBackend { .. }));
}

#[test]
fn impossible_sizes_are_refused_and_leave_nothing() {
    let request = |size| {
        let peer = Identity { uid: harness::users::own(), gid: 0 };
        Request {
            size,
            memory: MemoryKind::SysvShm,
            peer,
            access: Access::Shared,
            reachable_by_bytes: true,
            process: Peer::AnyOfItsUser,
        }
    };
    let kind = |size| Sysv.create(&request(size)).unwrap_err().kind();
    // More than any machine has; a 32-bit process cannot ask for it.
    #[cfg(target_pointer_width = "64")]
    assert!(matches!(kind(1 << 39), ErrorKind::NoSpace { asked, .. } if asked == 1 << 39));
    assert!(matches!(kind(0), ErrorKind::SizeOverLimit { .. }));
}

#[test]
fn a_creator_can_share_again_and_a_peer_takes_its_slot_once() {
    let (creator, ids) = create(LockKind::SysvSem);
    let again = creator.attachment.share().unwrap();
    assert_eq!(again.object, Object::Sysv { shm_id: ids.segment, sem_id: ids.set });
    assert!(again.handle.is_none());
    let mut peer = attach(Ids { ..ids }, LockKind::SysvSem).unwrap();
    assert_eq!(peer.attachment.take_slot().unwrap().index(), 1);
    creator.attachment.remove_name();
    creator.attachment.remove_name();
    assert_eq!(attach(ids, LockKind::SysvSem).unwrap().attachment.slot().index(), 2);
}
