//! Every call to the operating system: files, memory, file locks, futex, clock, fork handlers, and SIGBUS in a file of
//! its own. Thin, retried on EINTR.
//!
//! No policy here: which object, which access and what an error means to the caller is said above. The one exception
//! is [`fault`], the conversion of an errno value that means the same everywhere.

#[cfg(feature = "pthread-mutex")]
pub(crate) mod mutex;
pub(crate) mod process;
#[cfg(feature = "semaphore")]
pub(crate) mod semaphore;
pub(crate) mod signal;

use std::cell::UnsafeCell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::OnceLock;
#[cfg(feature = "futex")]
use std::sync::atomic::AtomicU32;
use std::sync::atomic::{AtomicBool, Ordering};

use monshm_core::error::{Error, ErrorKind, Operation};
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, MemfdFlags, Mode, OFlags, SealFlags, Stat, StatxFlags, XattrFlags, makedev,
};
use rustix::io::{Errno, retry_on_intr};
use rustix::mm::{MapFlags, ProtFlags};
use rustix::process::Resource;

/// What the operating system answered.
pub(crate) type Answer<T> = Result<T, Errno>;

/// The error for an errno value whose meaning does not depend on the call.
#[cold]
pub(crate) fn fault(operation: Operation, what: &'static str, errno: Errno) -> Error {
    let kind = match errno {
        Errno::MFILE => ErrorKind::LimitReached { what: "open files of this process (RLIMIT_NOFILE)" },
        Errno::NFILE => ErrorKind::LimitReached { what: "open files of the system (fs.file-max)" },
        Errno::NOLCK => ErrorKind::LimitReached { what: "file locks of the system" },
        Errno::NOMEM => ErrorKind::LimitReached { what: "memory, address space or mappings" },
        // Of mmap(2) alone: no call that waits gets here.
        Errno::AGAIN if what == "mmap" => ErrorKind::LimitReached { what: "locked memory (RLIMIT_MEMLOCK, mlockall)" },
        Errno::NOSYS => ErrorKind::Unsupported { what },
        _ => ErrorKind::System { what },
    };
    Error::new(operation, kind).on("posix").with_os_error(errno.raw_os_error())
}

/// Makes a memfd that can be sealed, never executable where the kernel can promise that.
pub(crate) fn memfd_create() -> Answer<OwnedFd> {
    // Linux 6.3 brought the flag; whether this kernel has it is learned once. Relaxed: a hint, nothing hangs on it.
    static KNOWS_NOEXEC: AtomicBool = AtomicBool::new(true);
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    if KNOWS_NOEXEC.load(Ordering::Relaxed) {
        match rustix::fs::memfd_create(c"monshm", flags | MemfdFlags::NOEXEC_SEAL) {
            Err(Errno::INVAL) => KNOWS_NOEXEC.store(false, Ordering::Relaxed),
            answer => return answer.and_then(above_stdio),
        }
    }
    rustix::fs::memfd_create(c"monshm", flags).and_then(above_stdio)
}

/// The device of every memfd of this kernel: one mount that no user can make another of.
pub(crate) fn memfd_device() -> Answer<u64> {
    static DEVICE: OnceLock<u64> = OnceLock::new();
    if let Some(device) = DEVICE.get() {
        return Ok(*device);
    }
    let device = status(memfd_create()?)?.device;
    Ok(*DEVICE.get_or_init(|| device))
}

/// Moves a descriptor away from the numbers of standard input, output and error: a program that closed them may open
/// others there, or write to them. The new one is closed on exec.
fn above_stdio(fd: OwnedFd) -> Answer<OwnedFd> {
    if fd.as_raw_fd() >= ABOVE_STDIO { Ok(fd) } else { rustix::io::fcntl_dupfd_cloexec(fd, ABOVE_STDIO) }
}

/// The lowest number that a descriptor of ours may have.
const ABOVE_STDIO: RawFd = 3;

/// Opens `path` for reading and writing; `extra` are further flags, `mode` is for `O_CREAT`.
pub(crate) fn open(path: &str, extra: OFlags, mode: Mode) -> Answer<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK | extra;
    retry_on_intr(|| rustix::fs::open(path, flags, mode)).and_then(above_stdio)
}

/// Takes hold of what `path` leads to without opening it: no driver is asked, nothing blocks. `extra` are further
/// flags.
pub(crate) fn open_path(path: &str, extra: OFlags) -> Answer<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | extra;
    retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty())).and_then(above_stdio)
}

/// Opens the file behind `file` anew: another open file description of the same inode.
pub(crate) fn reopen(file: impl AsFd) -> Answer<OwnedFd> {
    // Of this thread, not of the process: the process's main thread may have ended, and its entry is empty then.
    open(&format!("/proc/thread-self/fd/{}", file.as_fd().as_raw_fd()), OFlags::empty(), Mode::empty())
}

/// Answers well when `/proc` is there.
pub(crate) fn find_proc() -> Answer<()> {
    status_of_path("/proc/thread-self").map(drop)
}

/// Another number for the same open file description, closed on exec.
pub(crate) fn duplicate(file: impl AsFd) -> Answer<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(file, ABOVE_STDIO)
}

/// Whether a descriptor can be read and written through.
pub(crate) fn is_read_write(file: impl AsFd) -> Answer<bool> {
    let flags = rustix::fs::fcntl_getfl(file)?;
    Ok(flags & (OFlags::RWMODE | OFlags::PATH) == OFlags::RDWR)
}

/// Reserves `len` bytes from `offset`. One try: `INTR` is answered, because how far it came is not known.
pub(crate) fn fallocate(file: impl AsFd, offset: u64, len: u64) -> Answer<()> {
    rustix::fs::fallocate(file, FallocateFlags::empty(), offset, len)
}

/// Adds seals to a memfd.
pub(crate) fn add_seals(file: impl AsFd, seals: SealFlags) -> Answer<()> {
    rustix::fs::fcntl_add_seals(file, seals)
}

/// The seals of a memfd; `INVAL` for a file that has none.
pub(crate) fn seals(file: impl AsFd) -> Answer<SealFlags> {
    rustix::fs::fcntl_get_seals(file)
}

/// What the kernel knows of a file. Device and inode together tell it from every other one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Status {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    /// When the inode was changed last, in seconds since 1970.
    pub(crate) changed_s: i64,
}

impl Status {
    pub(crate) fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.mode as _)
    }

    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

impl From<Stat> for Status {
    #[allow(clippy::unnecessary_cast, reason = "32-bit systems have other types")]
    fn from(stat: Stat) -> Self {
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            mode: stat.st_mode as u32,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            changed_s: stat.st_ctime as i64,
        }
    }
}

/// What the kernel knows of a file by itself: whoever serves the file's file system is not asked, and cannot delay it.
pub(crate) fn status(file: impl AsFd) -> Answer<Status> {
    known(file.as_fd(), "", AtFlags::EMPTY_PATH).unwrap_or_else(|()| rustix::fs::fstat(file).map(Status::from))
}

/// The same of what a path leads to; a link is not followed.
pub(crate) fn status_of_path(path: &str) -> Answer<Status> {
    known(CWD, path, AtFlags::SYMLINK_NOFOLLOW).unwrap_or_else(|()| rustix::fs::lstat(path).map(Status::from))
}

/// statx(2); the outer error where it is not to be had, as before Linux 4.11 and in some containers.
fn known(folder: BorrowedFd<'_>, path: &str, flags: AtFlags) -> Result<Answer<Status>, ()> {
    let found = rustix::fs::statx(folder, path, flags | AtFlags::STATX_DONT_SYNC, StatxFlags::BASIC_STATS);
    match found {
        Err(Errno::NOSYS | Errno::PERM) => Err(()),
        answer => Ok(answer.map(|found| Status {
            device: makedev(found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
            mode: found.stx_mode.into(),
            uid: found.stx_uid,
            gid: found.stx_gid,
            size: found.stx_size,
            changed_s: found.stx_ctime.tv_sec,
        })),
    }
}

/// The file system that holds a file: its magic number, and the bytes that are free there.
pub(crate) fn file_system(file: impl AsFd) -> Answer<(u64, u64)> {
    let found = retry_on_intr(|| rustix::fs::fstatfs(file.as_fd()))?;
    let free = (found.f_bavail as u64).saturating_mul(found.f_bsize as u64);
    Ok((found.f_type as u64 & 0xffff_ffff, free))
}

/// Sets the permission bits.
pub(crate) fn set_mode(file: impl AsFd, mode: u32) -> Answer<()> {
    rustix::fs::fchmod(file, Mode::from_raw_mode(mode))
}

/// Gives the file to another user, the group unchanged.
pub(crate) fn set_owner(file: impl AsFd, uid: u32) -> Answer<()> {
    rustix::fs::fchown(file, Some(rustix::fs::Uid::from_raw(uid)), None)
}

/// Sets an extended attribute.
pub(crate) fn set_attribute(file: impl AsFd, name: &str, value: &[u8]) -> Answer<()> {
    rustix::fs::fsetxattr(file, name, value, XattrFlags::empty())
}

/// Reads an extended attribute; the answer is how many bytes of `value` it fills, `RANGE` when it is longer.
pub(crate) fn attribute(file: impl AsFd, name: &str, value: &mut [u8]) -> Answer<usize> {
    rustix::fs::fgetxattr(file, name, value)
}

/// Removes a name.
pub(crate) fn unlink(path: &str) -> Answer<()> {
    rustix::fs::unlink(path)
}

/// 128 random bits of the kernel's generator.
pub(crate) fn random_bits() -> Answer<u128> {
    let mut bytes = [0; 16];
    // Up to 256 bytes come whole or not at all.
    let got = retry_on_intr(|| rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()))?;
    if got == bytes.len() { Ok(u128::from_ne_bytes(bytes)) } else { Err(Errno::IO) }
}

/// The largest file that this process may make, in bytes; `u64::MAX` when there is no limit.
pub(crate) fn file_size_limit() -> u64 {
    rustix::process::getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX)
}

/// The effective user id.
pub(crate) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// A small file of `/proc` or `/sys` as text; `None` when it cannot be read.
pub(crate) fn read_text(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The entries of a folder.
pub(crate) fn read_folder(path: &str) -> std::io::Result<std::fs::ReadDir> {
    loop {
        match std::fs::read_dir(path) {
            // Unlike its reads, the standard library does not open again after a signal.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
}

/// Maps `len` bytes of `file`, shared, for reading and writing.
pub(crate) fn map(file: impl AsFd, len: usize) -> Answer<NonNull<u8>> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a null hint lets the kernel choose unused addresses, so no memory in use is replaced.
    let base = unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, protection, MapFlags::SHARED, file, 0)? };
    NonNull::new(base.cast()).ok_or(Errno::NOMEM)
}

/// Maps `len` bytes of `file`, shared, for reading alone.
pub(crate) fn map_readable(file: impl AsFd, len: usize) -> Answer<NonNull<u8>> {
    // SAFETY: as in `map`.
    let base = unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, ProtFlags::READ, MapFlags::SHARED, file, 0)? };
    NonNull::new(base.cast()).ok_or(Errno::NOMEM)
}

/// Unmaps.
///
/// # Safety
/// `base` and `len` came from one call of [`map`] or [`map_readable`] that was not unmapped before, and nothing uses
/// the bytes any more.
pub(crate) unsafe fn unmap(base: NonNull<u8>, len: usize) {
    // SAFETY: whole mapping, unused, by the contract above. It can fail only for ranges that are no mapping.
    let _ = unsafe { rustix::mm::munmap(base.as_ptr().cast(), len) };
}

/// Asks that every [`heavy_fence`] reach this process too. Whether it does: not where the kernel has none.
#[cfg(any(feature = "futex", feature = "semaphore"))]
pub(crate) fn register_for_fences() -> bool {
    // Once for the process: the kernel keeps it with the address space.
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    *REGISTERED.get_or_init(|| membarrier(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED))
}

/// A full fence on every core that runs a process which registered for it, and on this one; where the kernel has none,
/// on this one alone.
#[cfg(any(feature = "futex", feature = "semaphore"))]
pub(crate) fn heavy_fence() {
    if !membarrier(libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED) {
        // Pairs with the fence of a holder that is not registered.
        std::sync::atomic::fence(Ordering::SeqCst);
    }
}

/// membarrier(2), Linux 4.16 for these commands.
#[cfg(any(feature = "futex", feature = "semaphore"))]
fn membarrier(command: libc::c_int) -> bool {
    // SAFETY: the call takes three integers and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}

/// Nanoseconds of CLOCK_MONOTONIC.
#[cfg(any(feature = "futex", feature = "pthread-mutex", feature = "semaphore"))]
pub(crate) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (now.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(now.tv_nsec as u64)
}

/// A point on CLOCK_MONOTONIC as libc takes it.
#[cfg(all(target_env = "gnu", any(feature = "pthread-mutex", feature = "semaphore")))]
fn timespec(at_ns: u64) -> libc::timespec {
    // SAFETY: the structure holds integers only (and padding, on some targets), for which zero is a value.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    time.tv_sec = (at_ns / 1_000_000_000) as _;
    time.tv_nsec = (at_ns % 1_000_000_000) as _;
    time
}

/// How long is slept at a time where nobody can be woken.
#[cfg(feature = "futex")]
const NAP: std::time::Duration = std::time::Duration::from_millis(1);

/// Sleeps while `word` is `expected`, until a wake-up, a signal, or `until_ns` of CLOCK_MONOTONIC.
#[cfg(feature = "futex")]
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, until_ns: u64) {
    use rustix::thread::{Timespec, futex};
    let until = Timespec { tv_sec: (until_ns / 1_000_000_000) as _, tv_nsec: (until_ns % 1_000_000_000) as _ };
    // Without FUTEX_PRIVATE_FLAG: the other side is another process. Every way to return means "check again".
    let any = std::num::NonZeroU32::MAX;
    let answer = futex::wait_bitset(word, futex::Flags::empty(), expected, Some(&until), any);
    if matches!(answer, Err(Errno::NOSYS | Errno::PERM)) {
        // A container that forbids it: without a sleep the caller would check again at once, and so without end.
        let left = std::time::Duration::from_nanos(until_ns.saturating_sub(now_ns()));
        std::thread::sleep(left.min(NAP));
    }
}

/// Wakes up to `count` sleepers.
#[cfg(feature = "futex")]
pub(crate) fn futex_wake(word: &AtomicU32, count: u32) {
    // Fails only where the word is not mapped, which a reference excludes.
    let _ = rustix::thread::futex::wake(word, rustix::thread::futex::Flags::empty(), count);
}

/// Whether futex(2) is there: libc's locks sleep by it, and libc ends the process when it is refused.
#[cfg(any(feature = "pthread-mutex", feature = "semaphore"))]
pub(crate) fn has_futex() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        let word = std::sync::atomic::AtomicU32::new(0);
        // SAFETY: waking reads nothing, and nobody sleeps on a word of our own stack.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 0) >= 0 }
    })
}

/// `flock` is what `fcntl` takes; a 32-bit libc turns it into the kernel's `flock64` itself.
fn byte_lock(kind: libc::c_int, byte: u32) -> libc::flock {
    // SAFETY: the structure holds integers only, for which zero is a value; the kernel demands l_pid == 0.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as _;
    lock.l_whence = libc::SEEK_SET as _;
    // A slot: far below 2^31, and an off_t has 32 or 64 bits.
    lock.l_start = (byte as i32).into();
    lock.l_len = 1;
    lock
}

fn control_lock(file: BorrowedFd<'_>, command: libc::c_int, lock: &mut libc::flock) -> Answer<()> {
    retry_on_intr(|| {
        // SAFETY: the commands passed here take a pointer to the structure that `lock` is, valid for the call.
        let answer = unsafe { libc::fcntl(file.as_raw_fd(), command, std::ptr::from_mut(lock)) };
        if answer == -1 { Err(last_errno()) } else { Ok(()) }
    })
}

/// Locks one byte for the open file description of `file`. False when another description holds it.
pub(crate) fn lock_byte(file: BorrowedFd<'_>, byte: u32) -> Answer<bool> {
    match control_lock(file, libc::F_OFD_SETLK, &mut byte_lock(libc::F_WRLCK as _, byte)) {
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        answer => answer.map(|()| true),
    }
}

/// Releases one byte.
pub(crate) fn unlock_byte(file: BorrowedFd<'_>, byte: u32) -> Answer<()> {
    control_lock(file, libc::F_OFD_SETLK, &mut byte_lock(libc::F_UNLCK as _, byte))
}

/// Whether an open file description other than that of `file` holds a byte.
pub(crate) fn is_byte_locked(file: BorrowedFd<'_>, byte: u32) -> Answer<bool> {
    let mut lock = byte_lock(libc::F_WRLCK as _, byte);
    control_lock(file, libc::F_OFD_GETLK, &mut lock)?;
    Ok(libc::c_int::from(lock.l_type) != libc::F_UNLCK as libc::c_int)
}

fn last_errno() -> Errno {
    // An errno that does not fit is none that Linux has.
    std::io::Error::last_os_error().raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}

/// Closes a descriptor in a forked child. Async-signal-safe.
///
/// # Safety
/// `fd` is open in this process and no value that will be used owns it.
pub(crate) unsafe fn close_in_child(fd: RawFd) {
    // SAFETY: the contract above. What close(2) answers changes nothing: the number is free in any case.
    unsafe { libc::close(fd) };
}

/// Registers what runs around every fork of this process.
pub(crate) fn at_fork(prepare: extern "C" fn(), parent: extern "C" fn(), child: extern "C" fn()) -> Answer<()> {
    // SAFETY: three functions of the type that is asked for; they live as long as the program.
    match unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) } {
        0 => Ok(()),
        errno => Err(Errno::from_raw_os_error(errno)),
    }
}

/// A lock that the handlers around a fork can hold across it: taken by one thread in the parent, released by that
/// thread's copy in the child. `std::sync::Mutex` cannot be released without its guard, which no handler can keep.
#[derive(Debug)]
pub(crate) struct ForkLock(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: a pthread mutex is made to be used by many threads through one address; a static's address does not change.
unsafe impl Sync for ForkLock {}

impl ForkLock {
    pub(crate) const fn new() -> Self {
        Self(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER))
    }

    /// Takes the lock; not for a thread that has it.
    pub(crate) fn lock(&'static self) {
        // SAFETY: an initialised mutex at a fixed address. A normal mutex has no error to answer.
        unsafe { libc::pthread_mutex_lock(self.0.get()) };
    }

    /// Releases the lock.
    ///
    /// # Safety
    /// This thread, or the thread that it is the forked copy of, has the lock.
    pub(crate) unsafe fn unlock(&'static self) {
        // SAFETY: held by this thread, by the contract above.
        unsafe { libc::pthread_mutex_unlock(self.0.get()) };
    }
}
