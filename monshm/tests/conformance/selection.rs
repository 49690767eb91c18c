//! How `auto` chooses, and what it says when it cannot have its first choice.
//!
//! Runs where both backends are built. A `/dev/shm` that is full is one of this test's own, in a mount namespace.

use monshm::{BackendKind, ErrorKind, LockKind, MemoryKind, PeerCreds, Segment};

use crate::support::helper::{Helper, Refused};
use crate::support::{SIZE, TOO_MUCH};
use harness::test::alone;
use harness::users::{become_user, fresh};

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

/// What of this process its own user's processes may open.
fn set_dumpable(dumpable: bool) {
    // SAFETY: takes numbers alone.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(dumpable), 0, 0, 0) }, 0);
}

/// Makes a segment by bytes for `peer`, which must not be a memfd for a reason with these words, and has it attached
/// to.
fn reaches_by_name(helper: &Helper, peer: Option<PeerCreds>, why: &str) {
    let builder = || {
        let builder = Segment::builder(SIZE).reachable_by_bytes(true);
        if let Some(peer) = peer { builder.peer(peer) } else { builder }
    };
    let segment = builder().create().unwrap();
    let text = segment.selection().to_string();
    assert_eq!(segment.memory_kind(), MemoryKind::Named, "{text}");
    assert!(text.contains("first of auto that could; not memfd: ") && text.contains(why), "{text}");
    helper.decode(&segment.encode().unwrap().bytes, None, SIZE, false).unwrap();
    helper.ask("detach").unwrap();
    // A memory that was asked for by name is refused with the same reason, a backend takes what works.
    let posix = || builder().backend(BackendKind::Posix);
    let error = refused!(posix().memory(MemoryKind::Memfd).create(), ErrorKind::Unreachable { .. });
    assert!(error.to_string().contains(why), "{error}");
    assert_eq!(posix().create().unwrap().memory_kind(), MemoryKind::Named);
}

/// Has a memfd's bytes alone tried by `helper`, and answers how that was refused.
fn refusal_of_a_memfd(helper: &Helper) -> Refused {
    let memfd = Segment::builder(SIZE).memory(MemoryKind::Memfd).create().unwrap();
    let encoded = memfd.encode().unwrap();
    let refused = helper.decode(&encoded.bytes, None, SIZE, false).unwrap_err();
    assert!(refused.is("Unreachable") && !refused.says("the segment is gone"), "{refused:?}");
    assert!(refused.says("hand the segment over a socket"), "{refused:?}");
    let fd = encoded.fd.as_ref().map(std::os::fd::AsFd::as_fd);
    helper.decode(&encoded.bytes, fd, SIZE, false).unwrap();
    helper.ask("detach").unwrap();
    refused
}

#[test]
fn a_process_that_is_not_dumpable_makes_no_memfd_for_bytes_alone() {
    harness::needs_other_users!();
    alone(|| {
        let uid = fresh();
        let helper = Helper::of_user(uid);
        become_user(uid).unwrap();
        let open = Segment::builder(SIZE).reachable_by_bytes(true).create().unwrap();
        assert_eq!(open.memory_kind(), MemoryKind::Memfd, "{}", open.selection());
        helper.decode(&open.encode().unwrap().bytes, None, SIZE, false).unwrap();
        helper.ask("detach").unwrap();
        set_dumpable(false);
        reaches_by_name(&helper, None, "not dumpable");
        assert!(refusal_of_a_memfd(&helper).says("not dumpable"));
    });
}

#[test]
fn a_process_with_a_capability_makes_no_memfd_for_bytes_alone() {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    harness::needs_other_users!();
    alone(|| {
        let uid = fresh();
        let helper = Helper::of_user(uid);
        // Each thread has capabilities of its own, and /proc shows those of the first: here the only one.
        let child = harness::child::fork(|| {
            // SAFETY: takes numbers alone.
            assert_eq!(unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) }, 0);
            become_user(uid).unwrap();
            let (one, none) = (CapabilitySet::NET_BIND_SERVICE, CapabilitySet::empty());
            set_capabilities(None, CapabilitySets { permitted: one, effective: none, inheritable: none }).unwrap();
            set_dumpable(true);
            reaches_by_name(&helper, None, "capabilities that the peer lacks");
            assert!(refusal_of_a_memfd(&helper).says("capabilities"));
            0
        });
        assert_eq!(child.unwrap().wait_for_end().unwrap(), harness::Stop::Exited(0));
    });
}

#[test]
fn a_peer_in_another_pid_namespace_gets_no_memfd_for_bytes_alone() {
    harness::needs_other_users!();
    alone(|| {
        // SAFETY: takes a number alone; what this process starts from now on lives in a namespace of its own.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWPID) }, 0);
        let helper = Helper::new();
        helper.ask("mount_proc proc").unwrap();
        let pid = helper.pid() as i32;
        let mut peer = PeerCreds::ours();
        peer.pid = pid;
        reaches_by_name(&helper, Some(peer), "another PID namespace");
        peer.pid = PeerCreds::PID_UNKNOWN;
        reaches_by_name(&helper, Some(peer), "outside our PID namespace");
        assert!(refusal_of_a_memfd(&helper).says("another PID namespace"));
    });
}

/// Where there is no /proc, POSIX memory cannot tell who lives: System V can.
#[test]
fn without_proc_auto_takes_system_v_and_says_why() {
    harness::needs_other_users!();
    alone(|| {
        let helper = Helper::new();
        helper.ask("mount_proc tmpfs").unwrap();
        let memfd = Segment::builder(SIZE).create().unwrap().encode().unwrap();
        let fd = memfd.fd.as_ref().map(std::os::fd::AsFd::as_fd);
        let refused = helper.decode(&memfd.bytes, fd, SIZE, false).unwrap_err();
        assert!(refused.is("Unsupported") && refused.says("/proc"), "{refused:?}");
        let sysv = Segment::builder(SIZE).backend(BackendKind::Sysv).create().unwrap();
        helper.decode(&sysv.encode().unwrap().bytes, None, SIZE, false).unwrap();
        helper.ask("detach").unwrap();
        let order = format!("create auto {SIZE} {} false true", PeerCreds::ours().uid);
        helper.ask(order).unwrap();
        let (bytes, fd) = helper.encode();
        let segment = Segment::decode(bytes, fd, SIZE).unwrap();
        assert_eq!(segment.memory_kind(), MemoryKind::SysvShm);
    });
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
    let text = error.to_string();
    assert!(["posix memfd: ", "posix shm_open: ", "sysv shmget: "].iter().all(|name| text.contains(name)), "{text}");
}
