//! The machine under a measurement: pinned cores, fresh shared pages, a second process, a clock that both
//! processes share.
//!
//! It measures nothing. All OS calls of the benchmarks are here.

use std::ptr::NonNull;

/// Pins the calling thread to one core.
pub(crate) fn pin(core: usize) {
    // SAFETY: an all-zero cpu_set_t is an empty set; the call reads `size_of` bytes of it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        let outcome = libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
        assert_eq!(outcome, 0, "core {core} cannot be used");
    }
}

/// CLOCK_MONOTONIC, nanoseconds: the same for all processes.
pub(crate) fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for the write.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Processor time of this process and of its children that have ended, user and system, seconds.
pub(crate) fn own_seconds() -> f64 {
    let used = |who| {
        // SAFETY: an all-zero rusage is valid, and so is the place for the write.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(who, &mut usage);
            usage
        };
        let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
        seconds(usage.ru_utime) + seconds(usage.ru_stime)
    };
    used(libc::RUSAGE_SELF) + used(libc::RUSAGE_CHILDREN)
}

/// The C library's name and version.
pub(crate) fn libc_version() -> Option<String> {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: gives a static, terminated string.
        let version = unsafe { std::ffi::CStr::from_ptr(libc::gnu_get_libc_version()) };
        version.to_str().ok().map(|version| format!("glibc {version}"))
    }
    #[cfg(not(target_env = "gnu"))]
    None
}

/// New pages of a memfd, shared with every child; unmapped on drop.
#[derive(Debug)]
pub(crate) struct Pages {
    pub(crate) base: NonNull<u8>,
    len: usize,
}

impl Pages {
    pub(crate) fn new(len: usize) -> Self {
        // SAFETY: a new file of our own; the mapping is placed by the kernel.
        let base = unsafe {
            let fd = libc::memfd_create(c"bench".as_ptr(), libc::MFD_CLOEXEC);
            assert!(fd >= 0 && libc::ftruncate(fd, len as libc::off_t) == 0, "no memfd of {len} bytes");
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
            let base = libc::mmap(std::ptr::null_mut(), len, protection, flags, fd, 0);
            assert_ne!(base, libc::MAP_FAILED, "no mapping of {len} bytes");
            libc::close(fd);
            base
        };
        Pages { base: NonNull::new(base.cast()).expect("mmap gives no null"), len }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nothing refers to it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// Runs `child` in a new process on one core and `parent` here on another; the child's panic is ours.
pub(crate) fn beside<T>(cores: (usize, usize), child: impl FnOnce(), parent: impl FnOnce() -> T) -> T {
    // SAFETY: this process has one thread at this point (the thread cases have joined theirs).
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "no second process");
    if pid == 0 {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            pin(cores.1);
            child();
        }));
        // SAFETY: ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(i32::from(outcome.is_err())) };
    }
    pin(cores.0);
    let value = parent();
    let mut status = 0;
    // SAFETY: waits for our own child; `status` is valid for the write.
    unsafe { libc::waitpid(pid, &mut status, 0) };
    assert_eq!(status, 0, "the second process failed");
    value
}
