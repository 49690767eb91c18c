//! The machine under a measurement: pinned cores, fresh shared pages, a second process, a clock that both
//! processes share.
//!
//! It measures nothing. All OS calls of the benchmarks are here.

use std::ptr::NonNull;

use rustix::process::{Resource, Rlimit};

/// Pins the calling thread to one core.
pub(crate) fn pin(core: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    rustix::thread::sched_setaffinity(None, &set).unwrap_or_else(|fault| panic!("core {core} cannot be used: {fault}"));
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

/// What a process holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Footprint {
    /// Open file descriptors.
    pub(crate) fds: u64,
    /// Bytes of the heap that are in use, by the C library's books; 0 where it keeps none.
    pub(crate) heap_bytes: u64,
}

impl Footprint {
    pub(crate) fn read() -> Self {
        #[cfg(target_env = "gnu")]
        // SAFETY: reads the allocator's own books; one thread allocates here.
        let heap_bytes = unsafe { libc::mallinfo2() }.uordblks as u64;
        #[cfg(not(target_env = "gnu"))]
        let heap_bytes = 0;
        let fds = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count) as u64;
        Footprint { fds, heap_bytes }
    }

    /// What came since; nothing where it became less.
    pub(crate) fn since(self, before: Self) -> Self {
        Footprint {
            fds: self.fds.saturating_sub(before.fds),
            heap_bytes: self.heap_bytes.saturating_sub(before.heap_bytes),
        }
    }
}

/// Lets this process, and those it starts, have as many file descriptors as it may.
pub(crate) fn raise_fd_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    // Refused, the suites run out of descriptors and say so.
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
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

/// How long one case may take, seconds; none takes a tenth of it on a machine that nobody else uses.
const TIMEOUT_SECONDS: libc::c_uint = 180;

/// Ends the run when a case hangs, such as when one of its sides waits for the other, which has gone.
pub(crate) fn watch_for_a_hang() {
    extern "C" fn give_up(_: libc::c_int) {
        let text = b"error: a case took more than three minutes: one side waits for the other in vain\n";
        // SAFETY: both calls may be made in a signal handler.
        unsafe {
            libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len());
            libc::_exit(3);
        }
    }
    // SAFETY: the handler makes calls alone that a handler may make.
    unsafe {
        libc::signal(libc::SIGALRM, give_up as *const () as libc::sighandler_t);
        libc::alarm(TIMEOUT_SECONDS);
    }
}

/// A child that goes when its parent does, and that is not left running when the parent's part panics.
struct Child(libc::pid_t);

impl Child {
    /// Whether it ended well.
    fn join(self) -> bool {
        let mut status = 0;
        // SAFETY: waits for our own child; `status` is valid for the write.
        let waited = unsafe { libc::waitpid(self.0, &mut status, 0) };
        let is_well = waited == self.0 && status == 0;
        std::mem::forget(self);
        is_well
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: our own child, not yet waited for, so that its pid is nobody else's.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, std::ptr::null_mut(), 0);
        }
    }
}

/// Runs `child` in a new process on one core and `parent` here on another; the child's panic is ours.
pub(crate) fn beside<T>(cores: (usize, usize), child: impl FnOnce(), parent: impl FnOnce() -> T) -> T {
    // SAFETY: this process has one thread at this point (the thread cases have joined theirs).
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "no second process");
    if pid == 0 {
        // SAFETY: a plain system call.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            pin(cores.1);
            child();
        }));
        // SAFETY: ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(i32::from(outcome.is_err())) };
    }
    let second = Child(pid);
    pin(cores.0);
    let value = parent();
    assert!(second.join(), "the second process failed");
    value
}
