//! A peer truncates memory that cannot be sealed: nobody dies of it, the mark tells, and every other SIGBUS goes where
//! it went before.
//!
//! Handlers belong to a process, so each test has one of its own. What the handles of the facade answer is tested
//! there.

mod support;

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};

use harness::Stop;
use harness::test::{alone, alone_as};
use libc::{c_int, c_void, siginfo_t};
use monshm_core::backend::Backend;
use monshm_core::error::ErrorKind;
use monshm_core::kind::{LockKind, MemoryKind};
use monshm_posix::Posix;
use rustix::fs::{FallocateFlags, fallocate, ftruncate};
use support::{SIZE, Segment, attach, create, own_uid, request, share, word};

/// A segment, and the file behind it.
fn named() -> (Segment, OwnedFd) {
    let segment = create(MemoryKind::Named);
    let (_, file) = share(&segment, LockKind::Futex);
    (segment, file)
}

/// The action for SIGBUS.
fn action() -> libc::sigaction {
    // SAFETY: numbers and pointers, for which zero is a value; the call writes one structure.
    unsafe {
        let mut found: libc::sigaction = std::mem::zeroed();
        assert_eq!(libc::sigaction(libc::SIGBUS, std::ptr::null(), &raw mut found), 0);
        found
    }
}

/// Sets the action for SIGBUS; `mask` is one signal to block meanwhile, or 0. Gives the one before.
fn set_action(handler: usize, flags: c_int, mask: c_int) -> libc::sigaction {
    // SAFETY: as in `action`; each handler of this file has the type that the flags beside it promise.
    unsafe {
        let (mut new, mut before): (libc::sigaction, libc::sigaction) = std::mem::zeroed();
        (new.sa_sigaction, new.sa_flags) = (handler, flags);
        if mask != 0 {
            libc::sigaddset(&raw mut new.sa_mask, mask);
        }
        assert_eq!(libc::sigaction(libc::SIGBUS, &raw const new, &raw mut before), 0);
        before
    }
}

/// What the handlers of this file noted: how often they ran, the last address, and which signals were blocked.
static RAN: AtomicU32 = AtomicU32::new(0);
static ADDRESS: AtomicUsize = AtomicUsize::new(0);
static BLOCKED: AtomicI32 = AtomicI32::new(0);

/// Bit 0 of `BLOCKED` for SIGBUS, bit 1 for SIGUSR2.
fn note() {
    RAN.fetch_add(1, Ordering::Relaxed);
    // SAFETY: reads the mask of this thread into a set of ours.
    let blocked = unsafe {
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut mask);
        libc::sigismember(&raw const mask, libc::SIGBUS) | libc::sigismember(&raw const mask, libc::SIGUSR2) << 1
    };
    BLOCKED.store(blocked, Ordering::Relaxed);
}

extern "C" fn with_info(_: c_int, info: *mut siginfo_t, _: *mut c_void) {
    note();
    // SAFETY: what the kernel gave; for a fault it has an address.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr().addr()) };
    if code > 0 {
        ADDRESS.store(address, Ordering::Relaxed);
        repair(address);
    }
}

extern "C" fn without_info(_: c_int) {
    note();
}

/// Makes a fault of this file's own go away: the page is put there.
fn repair(address: usize) {
    let page = (address & !4095) as *mut c_void;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    // SAFETY: the page of a mapping that this file made and whose file is empty.
    let mapped = unsafe { libc::mmap(page, 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    assert_eq!(mapped, page);
}

/// A page whose file is empty: no segment of ours.
fn strange_page() -> *mut u32 {
    let file = rustix::fs::memfd_create(c"strange", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let (protection, flags) =
        (rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE, rustix::mm::MapFlags::SHARED);
    // SAFETY: the kernel chooses an address that is free.
    unsafe { rustix::mm::mmap(std::ptr::null_mut(), 4096, protection, flags, &file, 0).unwrap().cast() }
}

/// A fault that is not ours.
fn fault() -> *mut u32 {
    let page = strange_page();
    // SAFETY: mapped; that it faults is the point.
    unsafe { page.read_volatile() };
    page
}

/// Sends the signal to this thread, as another process would.
fn kill_ourselves() {
    // SAFETY: plain numbers.
    unsafe { libc::raise(libc::SIGBUS) };
}

#[test]
fn an_access_behind_the_new_end_reads_zeros_and_is_reported() {
    alone(|| {
        for left in [0, 4096] {
            let (segment, file) = named();
            let (descriptor, handle) = share(&segment, LockKind::Futex);
            let peer = attach(&descriptor, Some(handle)).unwrap();
            word(&peer).store(7, Ordering::Relaxed);
            assert!(!segment.truncation().happened() && !peer.truncation().happened());
            ftruncate(&file, left).unwrap();
            assert_eq!(word(&peer).load(Ordering::Relaxed), 0, "{left} bytes left");
            assert!(peer.truncation().happened() && !segment.truncation().happened(), "each mapping has its own mark");
            // The whole mapping is private now: what one side writes, the other does not see.
            peer.region().header().sleepers().store(3, Ordering::Relaxed);
            word(&peer).fetch_add(1, Ordering::Relaxed);
            assert_ne!(segment.region().header().sleepers().load(Ordering::Relaxed), 3);
            assert_eq!(word(&segment).swap(9, Ordering::Relaxed), 0);
            assert!(segment.truncation().happened());
        }
        // The marks of mappings that ended are not those of the next ones.
        let (segment, _file) = named();
        word(&segment).store(7, Ordering::Relaxed);
        assert!(!segment.truncation().happened());
    });
}

/// As a program does that must not be paged out; not as root, for whom the limit does not count.
#[test]
fn a_truncation_under_locked_memory_is_told() {
    harness::needs_other_users!();
    alone(|| {
        harness::users::become_user(harness::users::fresh()).unwrap();
        let (segment, file) = named();
        word(&segment).store(7, Ordering::Relaxed);
        // SAFETY: plain numbers; locking changes no byte. The limit has room for the segment once, and for stacks.
        unsafe {
            libc::mlock(segment.region().base().as_ptr().cast(), SIZE as usize);
            let limit = libc::rlimit { rlim_cur: SIZE + SIZE / 2, rlim_max: SIZE + SIZE / 2 };
            assert_eq!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit), 0);
            assert_eq!(libc::mlockall(libc::MCL_FUTURE), 0);
        }
        ftruncate(&file, 0).unwrap();
        assert_eq!(word(&segment).load(Ordering::Relaxed), 0);
        assert!(segment.truncation().happened());
    });
}

#[test]
fn a_hole_that_cannot_be_filled_again_is_reported() {
    harness::needs_other_users!();
    alone(|| {
        if harness::users::isolate_mounts().is_err() {
            harness::skip!("mount namespaces are not allowed here");
        }
        harness::users::mount_shm("tmpfs", c"size=1m,mode=1777").unwrap();
        let (segment, file) = named();
        word(&segment).store(7, Ordering::Relaxed);
        fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, SIZE).unwrap();
        assert_eq!(word(&segment).load(Ordering::Relaxed), 0);
        assert!(!segment.truncation().happened(), "there was memory for the hole: the bytes are the object's");
        fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, SIZE).unwrap();
        std::fs::write("/dev/shm/full", vec![1; 2 << 20]).unwrap_err();
        word(&segment).store(7, Ordering::Relaxed);
        assert!(segment.truncation().happened());
    });
}

#[test]
fn sealed_memory_installs_no_handler() {
    alone(|| {
        set_action(libc::SIG_DFL, 0, 0);
        let segment = create(MemoryKind::Memfd);
        assert!(segment.truncation().mark().is_none());
        assert_eq!(action().sa_sigaction, libc::SIG_DFL);
        let (segment, _file) = named();
        assert!(segment.truncation().mark().is_some());
        assert_ne!(action().sa_sigaction, libc::SIG_DFL);
    });
}

#[test]
fn other_faults_kill_as_they_did() {
    for case in ["default", "default-sent", "ignored", "reset", "outside", "detached"] {
        if let Some(end) = alone_as(case, || meet_other_fault(case)) {
            assert_eq!(end, Stop::Killed(libc::SIGBUS), "{case}");
        }
    }
}

fn meet_other_fault(case: &str) {
    let disposition = match case {
        "ignored" => libc::SIG_IGN,
        "reset" => without_info as *const () as usize,
        _ => libc::SIG_DFL,
    };
    set_action(disposition, if case == "reset" { libc::SA_RESETHAND } else { 0 }, 0);
    let (segment, file) = named();
    // This process ends by a signal, and nobody else will remove the name.
    segment.remove_name();
    match case {
        "default-sent" => kill_ourselves(),
        "reset" => {
            kill_ourselves();
            assert_eq!(RAN.load(Ordering::Relaxed), 1);
            kill_ourselves();
        }
        // A signal that somebody sends while the memory is lost, and one for a range that is guarded no more.
        "outside" => {
            ftruncate(&file, 0).unwrap();
            word(&segment).load(Ordering::Relaxed);
            kill_ourselves();
        }
        "detached" => {
            let base = segment.region().base();
            drop(segment);
            let (again, len) = (base.as_ptr().cast(), 4096);
            let flags = libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE;
            let strange = rustix::fs::memfd_create(c"strange", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
            let fd = std::os::fd::AsRawFd::as_raw_fd(&strange);
            // SAFETY: a range that nothing lies in any more, else the call fails.
            let page = unsafe { libc::mmap(again, len, libc::PROT_READ, flags, fd, 0) };
            assert_eq!(page, again);
            // SAFETY: mapped; that it faults is the point.
            unsafe { page.cast::<u32>().read_volatile() };
        }
        _ => {
            fault();
        }
    }
}

#[test]
fn what_was_ignored_is_ignored() {
    alone(|| {
        set_action(libc::SIG_IGN, 0, 0);
        let (segment, file) = named();
        kill_ourselves();
        ftruncate(&file, 0).unwrap();
        word(&segment).load(Ordering::Relaxed);
        assert!(segment.truncation().happened());
        kill_ourselves();
    });
}

#[test]
fn the_handler_that_was_there_sees_what_is_not_ours() {
    // Flags, a signal of its mask, and what it must find blocked.
    let cases = [
        ("info", libc::SA_SIGINFO, 0, 1),
        ("mask", libc::SA_SIGINFO, libc::SIGUSR2, 3),
        ("nodefer", libc::SA_SIGINFO | libc::SA_NODEFER, libc::SIGUSR2, 2),
        ("plain", 0, 0, 1),
        ("restart", libc::SA_RESTART, 0, 1),
    ];
    for (case, flags, mask, blocked) in cases {
        if let Some(end) = alone_as(case, || stay_under_ours(flags, mask, blocked)) {
            assert_eq!(end, Stop::Exited(0), "{case}");
        }
    }
}

fn stay_under_ours(flags: c_int, mask: c_int, blocked: i32) {
    let has_info = flags & libc::SA_SIGINFO != 0;
    let handler = if has_info { with_info as *const () } else { without_info as *const () };
    set_action(handler as usize, flags, mask);
    let (segment, file) = named();
    ftruncate(&file, 0).unwrap();
    word(&segment).load(Ordering::Relaxed);
    assert!(segment.truncation().happened());
    assert_eq!(RAN.load(Ordering::Relaxed), 0, "ours is not its business");
    assert_eq!(action().sa_flags & libc::SA_RESTART, flags & libc::SA_RESTART);
    kill_ourselves();
    assert_eq!((RAN.load(Ordering::Relaxed), BLOCKED.load(Ordering::Relaxed)), (1, blocked));
    if has_info {
        let page = fault();
        assert_eq!(RAN.load(Ordering::Relaxed), 2);
        assert_eq!(ADDRESS.load(Ordering::Relaxed), page.addr());
    }
    // Nothing stays blocked.
    note();
    assert_eq!(BLOCKED.load(Ordering::Relaxed), 0);
}

/// The handler that [`over_ours`] passes on to.
static UNDER: AtomicUsize = AtomicUsize::new(0);

/// A handler that is installed later, and passes on what is not its own, which is everything.
extern "C" fn over_ours(number: c_int, info: *mut siginfo_t, context: *mut c_void) {
    RAN.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the action that was in force before, with SA_SIGINFO.
    let under: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
        unsafe { std::mem::transmute(UNDER.load(Ordering::Relaxed)) };
    under(number, info, context);
}

#[test]
fn a_handler_over_ours_that_passes_on_keeps_the_guard() {
    alone(|| {
        let (first, file) = named();
        let before = set_action(over_ours as *const () as usize, libc::SA_SIGINFO, 0);
        UNDER.store(before.sa_sigaction, Ordering::Relaxed);
        ftruncate(&file, 0).unwrap();
        word(&first).load(Ordering::Relaxed);
        assert!(first.truncation().happened());
        // Another mapping does not put ours over it: the two would call each other for ever.
        let (second, file) = named();
        assert_eq!(action().sa_sigaction, over_ours as *const () as usize);
        ftruncate(&file, 0).unwrap();
        word(&second).load(Ordering::Relaxed);
        assert!(second.truncation().happened());
        assert_eq!(RAN.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn a_handler_over_ours_that_does_not_pass_on_takes_all() {
    alone(|| {
        let (segment, file) = named();
        set_action(with_info as *const () as usize, libc::SA_SIGINFO, 0);
        ftruncate(&file, 0).unwrap();
        word(&segment).load(Ordering::Relaxed);
        assert_eq!(RAN.load(Ordering::Relaxed), 1);
        assert!(!segment.truncation().happened());
    });
}

#[test]
fn a_default_that_came_back_is_replaced_at_the_next_mapping() {
    alone(|| {
        let (first, file) = named();
        set_action(libc::SIG_DFL, 0, 0);
        let (_second, _) = named();
        ftruncate(&file, 0).unwrap();
        word(&first).load(Ordering::Relaxed);
        assert!(first.truncation().happened());
    });
}

#[test]
fn a_thread_that_blocks_the_signal_is_refused() {
    alone(|| {
        let (segment, _file) = named();
        let (descriptor, handle) = share(&segment, LockKind::Futex);
        // SAFETY: changes the mask of this thread alone.
        unsafe {
            let mut mask: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut mask);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const mask, std::ptr::null_mut());
        }
        let made = Posix.create(&request(MemoryKind::Named, SIZE, own_uid())).map(drop);
        let attached = attach(&descriptor, Some(handle)).map(drop);
        for error in [made.unwrap_err(), attached.unwrap_err()] {
            assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error}");
            assert!(error.to_string().contains("SIGBUS"), "{error}");
        }
        assert_eq!(support::shared_mappings(), 1);
        create(MemoryKind::Memfd);
    });
}

#[test]
fn a_full_table_is_reported_and_comes_free_again() {
    alone(|| {
        let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
        if most.is_some_and(|most| most < 10_000) {
            harness::test::skipped(harness::this_test!(), "needs 10,000 descriptors");
            return;
        }
        let limit = rustix::process::Rlimit { current: most, maximum: most };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
        let make = || Posix.create(&request(MemoryKind::Named, 4096, own_uid()));
        let mut kept: Vec<Segment> = (0..4096).map(|_| make().unwrap()).collect();
        let error = make().map(drop).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::LimitReached { .. }), "{error}");
        assert_eq!(support::shared_mappings(), 4096);
        kept.truncate(4095);
        kept.push(make().unwrap());
        // The last one is found as well as the first one.
        let last = kept.last().unwrap();
        let (_, file) = share(last, LockKind::Futex);
        ftruncate(&file, 0).unwrap();
        last.region().header().sleepers().load(Ordering::Relaxed);
        assert!(last.truncation().happened());
        assert_eq!(kept.iter().filter(|segment| segment.truncation().happened()).count(), 1);
    });
}

#[test]
fn threads_that_fault_together_all_go_on() {
    alone(|| {
        for _ in 0..200 {
            let (segment, file) = named();
            let start = std::sync::Barrier::new(5);
            std::thread::scope(|scope| {
                for thread in 0..4_u32 {
                    let (segment, start) = (&segment, &start);
                    scope.spawn(move || {
                        start.wait();
                        // Until it sees the loss; each access may be the one that faults.
                        while !segment.truncation().happened() {
                            word(segment).fetch_add(thread + 1, Ordering::Relaxed);
                            segment.region().header().sleepers().fetch_or(1, Ordering::Relaxed);
                        }
                    });
                }
                start.wait();
                ftruncate(&file, 0).unwrap();
            });
        }
        assert_eq!(support::shared_mappings(), 0);
    });
}

#[test]
fn mappings_come_and_go_while_others_are_lost() {
    alone(|| {
        // Ranges are used again at once, by mappings whose bytes must stay what they are.
        let work = |seed: u32| {
            for round in 0..300 {
                let (segment, file) = named();
                word(&segment).store(seed + round, Ordering::Relaxed);
                if round % 2 == 0 {
                    ftruncate(&file, 0).unwrap();
                    word(&segment).load(Ordering::Relaxed);
                    assert!(segment.truncation().happened());
                } else {
                    std::thread::yield_now();
                    assert_eq!(word(&segment).load(Ordering::Relaxed), seed + round);
                    assert!(!segment.truncation().happened());
                }
            }
        };
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || work(thread * 1000));
            }
        });
    });
}

#[test]
fn a_forked_child_loses_its_own_mapping_alone() {
    alone(|| {
        let (segment, file) = named();
        // SAFETY: the child touches the segment and leaves by `_exit`.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let kept = ftruncate(&file, 0).is_ok() && word(&segment).load(Ordering::Relaxed) == 0;
            let reported = segment.truncation().happened();
            // SAFETY: ends the child without the destructors that are the parent's to run.
            unsafe { libc::_exit(i32::from(!(kept && reported))) };
        }
        let mut status = 0;
        // SAFETY: waits for that child.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(status, 0);
        assert!(!segment.truncation().happened(), "the parent has touched nothing yet");
        assert_eq!(word(&segment).load(Ordering::Relaxed), 0);
        assert!(segment.truncation().happened());
    });
}
