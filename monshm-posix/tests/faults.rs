//! What the system refuses: descriptors, file size, address space, room, no `/proc`. Each refusal is
//! an error of its kind, kills nobody, and leaves nothing behind.
//!
//! Each test runs in a process of its own, whose limits it lowers.

mod support;

use harness::test::alone;
use harness::users::{isolate_mounts, mount_shm};
use monshm_core::backend::Backend;
use monshm_core::descriptor::{Descriptor, Token};
use monshm_core::error::{ErrorKind, Result};
use monshm_core::kind::{LockKind, MemoryKind};
use monshm_posix::Posix;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{MEMORIES, SIZE, attach, create, own_uid, request, share};

fn lower(resource: Resource, to: u64) {
    setrlimit(resource, Rlimit { current: Some(to), ..getrlimit(resource) }).expect("setrlimit");
}

/// What a process can leave behind in itself. Names show among the open files and mappings while they are in use.
fn traces() -> (Vec<String>, usize) {
    (support::open_files(), support::shared_mappings())
}

/// A whole life up to the attach, that may fail at any step.
fn live(memory: MemoryKind, size: u64) -> Result<()> {
    let segment = Posix.create(&request(memory, size, own_uid()))?;
    let shared = segment.share()?;
    let (lock, layout, token) = (LockKind::Futex, 0, Token([1; 16]));
    let (owner, object) = (shared.owner, shared.object);
    attach(&Descriptor { lock, size, layout, token, owner, object }, shared.handle).map(drop)
}

#[test]
fn a_full_descriptor_table_is_reported_at_every_step() {
    alone(|| {
        let limit = getrlimit(Resource::Nofile);
        let before = traces();
        for &memory in MEMORIES {
            let mut outcomes = Vec::new();
            for room in 0..8 {
                // All numbers below the limit but `room` are in use.
                let first = std::fs::File::open("/dev/null").unwrap();
                let top = std::os::fd::AsRawFd::as_raw_fd(&first) as u64;
                lower(Resource::Nofile, top + 64);
                let mut fillers = vec![first];
                while let Ok(file) = std::fs::File::open("/dev/null") {
                    fillers.push(file);
                }
                fillers.truncate(fillers.len() - room);
                let outcome = live(memory, SIZE);
                drop(fillers);
                setrlimit(Resource::Nofile, limit).unwrap();
                if let Err(error) = &outcome {
                    assert!(matches!(error.kind(), ErrorKind::LimitReached { .. }), "{memory}: {error}");
                    assert_eq!(error.os_error(), Some(libc::EMFILE));
                }
                outcomes.push(outcome.is_ok());
                assert_eq!(traces(), before, "{memory}, room for {room}");
            }
            assert_eq!(outcomes, [false, false, false, false, true, true, true, true], "{memory}");
        }
    });
}

#[test]
fn a_file_size_limit_is_an_error_and_no_signal() {
    alone(|| {
        let before = traces();
        lower(Resource::Fsize, SIZE - 1);
        for &memory in MEMORIES {
            let error = live(memory, SIZE).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::LimitReached { .. }), "{error}");
            live(memory, SIZE / 2).expect("what is allowed works");
        }
        assert_eq!(traces(), before);
    });
}

#[test]
fn too_little_address_space_is_an_error() {
    alone(|| {
        let before = traces();
        let pages: u64 =
            std::fs::read_to_string("/proc/self/statm").unwrap().split(' ').next().unwrap().parse().unwrap();
        lower(Resource::As, pages * 4096 + (16 << 20));
        for &memory in MEMORIES {
            let error = live(memory, 32 << 20).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::LimitReached { .. }), "{error}");
            assert_eq!(error.os_error(), Some(libc::ENOMEM));
        }
        assert_eq!(traces(), before);
    });
}

/// Skips the test that it is used in where it may have no mount table of its own.
macro_rules! needs_mounts {
    () => {
        harness::needs_other_users!();
        let may = harness::child::fork(|| i32::from(isolate_mounts().is_err()));
        if may.unwrap().wait_for_end().unwrap() != harness::Stop::Exited(0) {
            harness::skip!("mount namespaces are not allowed here");
        }
    };
}

#[test]
fn a_full_file_system_is_reported_with_what_is_free() {
    needs_mounts!();
    alone(|| {
        isolate_mounts().unwrap();
        mount_shm("tmpfs", c"size=1m,nr_inodes=8,mode=1777").unwrap();
        let before = traces();
        let error = live(MemoryKind::Named, 16 << 20).unwrap_err();
        let expected = ErrorKind::NoSpace { asked: 16 << 20, free: 1 << 20, place: "/dev/shm" };
        assert_eq!((error.kind(), error.os_error()), (expected, Some(libc::ENOSPC)));
        assert!(support::no_names());
        assert_eq!(traces(), before);
        live(MemoryKind::Memfd, 16 << 20).expect("a memfd does not live there");
        live(MemoryKind::Named, 512 << 10).expect("what fits works");
        let kept: Vec<_> =
            (0..7).map_while(|_| Posix.create(&request(MemoryKind::Named, 4096, own_uid())).ok()).collect();
        let error = live(MemoryKind::Named, 4096).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::LimitReached { what: "inodes of /dev/shm" }), "{error}");
        drop(kept);
        assert!(support::no_names());
        // A disk, where pages would come and go by other rules. Where the test binary lies on none, ramfs must do.
        let disk = std::env::current_exe().unwrap().parent().unwrap().to_owned();
        rustix::mount::mount_bind(disk, "/dev/shm").unwrap();
        let before = std::fs::read_dir("/dev/shm").unwrap().count();
        if rustix::fs::statfs("/dev/shm").unwrap().f_type as u64 == 0x0102_1994 {
            harness::test::skipped(harness::this_test!(), "a part: the test binary lies on a tmpfs");
        } else {
            let error = live(MemoryKind::Named, 4096).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported { what: "a tmpfs on /dev/shm" });
            assert_eq!(std::fs::read_dir("/dev/shm").unwrap().count(), before);
        }
        // No place that can reserve, and none that can be written to.
        for (kind, options) in [("ramfs", c"mode=1777"), ("proc", c"")] {
            mount_shm(kind, options).unwrap();
            let error = live(MemoryKind::Named, 4096).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error}");
            assert!(support::no_names());
        }
    });
}

#[test]
fn without_proc_the_error_says_so() {
    needs_mounts!();
    alone(|| {
        let segment = create(MemoryKind::Memfd);
        let (descriptor, handle) = share(&segment, LockKind::Futex);
        isolate_mounts().unwrap();
        // There may be another one below.
        while rustix::mount::unmount("/proc", rustix::mount::UnmountFlags::DETACH).is_ok() {}
        let errors = [
            // At once, when another backend can still be taken; not when the segment is to be shared.
            Posix.create(&request(MemoryKind::Memfd, SIZE, own_uid())).map(drop).unwrap_err(),
            Posix.create(&request(MemoryKind::Named, SIZE, own_uid())).map(drop).unwrap_err(),
            attach(&descriptor, Some(handle)).map(drop).unwrap_err(),
            attach(&descriptor, None).map(drop).unwrap_err(),
        ];
        for error in errors {
            assert!(error.to_string().contains("/proc (it must be mounted"), "{error}");
        }
    });
}

#[test]
#[cfg(all(feature = "futex", feature = "pthread-mutex", feature = "semaphore"))]
fn where_futex_is_forbidden_waits_sleep_all_the_same_and_the_locks_of_libc_are_refused() {
    alone(|| {
        let used = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let ms = |time: rustix::time::Timespec| time.tv_sec * 1000 + time.tv_nsec / 1_000_000;
        let creator = create(MemoryKind::Memfd);
        let lock = creator.create_lock(LockKind::Futex).unwrap();
        let (descriptor, handle) = share(&creator, LockKind::Futex);
        let peer = attach(&descriptor, Some(handle)).unwrap();
        let waiting = peer.open_lock(LockKind::Futex).unwrap();
        harness::seccomp::refuse(harness::seccomp::FUTEX, None, libc::EPERM).unwrap();
        assert!(lock.acquire_now().unwrap().is_some());
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let now_ns = (now.tv_sec * 1_000_000_000 + now.tv_nsec) as u64;
        let before = ms(used());
        let wait = monshm_core::Deadline::after(now_ns, std::time::Duration::from_millis(400));
        let error = waiting.acquire(wait).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::TimedOut { .. }), "{error}");
        let busy = ms(used()) - before;
        assert!(busy < 200, "a wait of 400 ms kept the processor busy for {busy} ms");
        lock.release().unwrap();
        // libc would end the process at the first wait.
        for kind in [LockKind::PthreadMutex, LockKind::Semaphore] {
            let segment = create(MemoryKind::Memfd);
            let error = segment.create_lock(kind).map(drop).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error}");
            assert!(error.to_string().contains("futex(2)"), "{error}");
            assert!(peer.open_lock(kind).is_err(), "{kind}");
        }
    });
}

#[test]
fn a_peer_that_cannot_be_named_is_reported() {
    for &memory in MEMORIES {
        // No list can hold the number that means nobody, and no file can be given to it.
        let error = Posix.create(&request(memory, SIZE, u32::MAX)).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoAccessForPeer { uid: u32::MAX }, "{memory}");
    }
}
