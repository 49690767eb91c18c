//! How `auto` chooses, and what it says when it cannot have its first choice.
//!
//! Runs where both backends are built. A `/dev/shm` that is full is one of this test's own, in a mount namespace.

use monshm::{BackendKind, ErrorKind, LockKind, MemoryKind, PeerCreds, Segment};

use crate::support::{SIZE, TOO_MUCH};
use harness::test::alone;

fn stranger() -> PeerCreds {
    PeerCreds::of_user(0x7654_3210)
}

/// Puts a `/dev/shm` of one MiB in place of the real one, for this process alone.
fn small_shm() {
    harness::users::isolate_mounts().unwrap();
    harness::users::mount_shm("tmpfs", c"size=1m,mode=1777").unwrap();
}

#[test]
fn the_first_choice_is_a_memfd_with_a_lock_for_everybody() {
    let segment = Segment::builder(SIZE).create().unwrap();
    assert_eq!(
        (segment.selection().backend(), segment.memory_kind(), segment.lock_kind()),
        (BackendKind::Posix, MemoryKind::Memfd, LockKind::Futex)
    );
    assert_eq!(segment.selection().asked(), BackendKind::Auto);
    assert!(segment.selection().to_string().contains("first choice of auto"), "{}", segment.selection());
}

#[test]
fn a_lock_of_one_backend_chooses_the_backend_and_says_why() {
    let segment = Segment::builder(SIZE).lock(LockKind::SysvSem).create().unwrap();
    assert_eq!(segment.selection().backend(), BackendKind::Sysv);
    let refusals = segment.selection().refusals();
    assert!(refusals.iter().all(|refusal| refusal.backend == BackendKind::Posix) && !refusals.is_empty());
    assert!(matches!(refusals[0].error.kind(), ErrorKind::LockNotOfBackend { .. }));
    assert!(segment.selection().to_string().contains("first of auto that could"), "{}", segment.selection());
}

#[test]
fn a_peer_of_another_user_gets_no_lock_that_could_harm_us() {
    harness::needs_other_users!();
    let untrusted = || Segment::builder(SIZE).peer(stranger());
    for builder in [untrusted(), untrusted().backend(BackendKind::Posix), untrusted().backend(BackendKind::Sysv)] {
        let segment = builder.create().unwrap();
        assert!(segment.lock_kind().safe_with_untrusted_peer(), "{}", segment.selection());
    }
    for lock in [LockKind::PthreadMutex, LockKind::Semaphore] {
        let error = untrusted().backend(BackendKind::Posix).lock(lock).create().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LockNotTrusted { lock, peer_uid: stranger().uid });
        assert!(untrusted().lock(lock).trust_peer(true).create().is_ok());
    }
}

#[test]
fn bytes_for_another_user_go_to_sysv_and_to_a_name_only_with_trust() {
    harness::needs_other_users!();
    let by_bytes = || Segment::builder(SIZE).peer(stranger()).reachable_by_bytes(true);
    assert_eq!(by_bytes().create().unwrap().memory_kind(), MemoryKind::SysvShm);
    assert_eq!(by_bytes().trust_peer(true).create().unwrap().memory_kind(), MemoryKind::Named);
    let ours = Segment::builder(SIZE).reachable_by_bytes(true).create().unwrap();
    assert_eq!(ours.memory_kind(), MemoryKind::Memfd, "our own user finds a memfd through /proc");
}

#[test]
fn a_full_place_is_told_with_its_numbers_and_auto_moves_on() {
    harness::needs_other_users!();
    alone(|| {
        small_shm();
        let size = 16 << 20;
        let named = |size| Segment::builder(size).backend(BackendKind::Posix).memory(MemoryKind::Named);
        let error = refused!(named(size).create(), ErrorKind::NoSpace { .. });
        let ErrorKind::NoSpace { asked, free, place } = error.kind() else { unreachable!() };
        assert_eq!((asked, free, place), (size as u64, 1 << 20, "/dev/shm"));
        let text = error.to_string();
        assert!(text.contains("posix: 16777216 bytes do not fit in /dev/shm (1048576 bytes free)"), "{text}");
        assert_eq!(std::fs::read_dir("/dev/shm").unwrap().count(), 0, "no name is left");
        assert!(named(512 << 10).create().is_ok(), "it is asked at the requested size");

        let by_bytes = Segment::builder(size).peer(stranger()).trust_peer(true).reachable_by_bytes(true);
        let segment = by_bytes.create().unwrap();
        assert_eq!(segment.selection().backend(), BackendKind::Sysv);
        let why = segment.selection().to_string();
        assert!(why.contains("sysv") && why.contains("do not fit in /dev/shm"), "{why}");
        assert_eq!(std::fs::read_dir("/dev/shm").unwrap().count(), 0, "no name is left");
    });
}

#[test]
fn what_nobody_can_make_is_refused_by_all_and_each_says_why() {
    let error = refused!(Segment::builder(TOO_MUCH).create(), ErrorKind::NoBackend);
    let backends: Vec<_> = error.refusals().iter().map(|refusal| refusal.backend).collect();
    assert_eq!(backends, [BackendKind::Posix, BackendKind::Posix, BackendKind::Sysv]);
    for refusal in error.refusals() {
        let kind = refusal.error.kind();
        assert!(matches!(kind, ErrorKind::NoSpace { .. } | ErrorKind::LimitReached { .. }), "{}", refusal.error);
    }
    assert!(error.to_string().contains("posix: ") && error.to_string().contains("sysv: "), "{error}");
}
