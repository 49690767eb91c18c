//! Every call of this crate into the operating system, one function each, and the errno of each failure.
//!
//! Nothing here decides, and nothing waits but the functions that take a timeout. `GETALL` is missing on purpose: the
//! kernel writes as many values as the set of that id has *now*, and a hostile peer that owns a set can remove it and
//! create larger ones until the id comes round.

use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};
#[cfg(feature = "futex")]
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use libc::{c_int, c_void};
use rustix::io::{Errno, retry_on_intr};
use rustix::mm::{Advice, MapFlags, ProtFlags};
use rustix::process::{Pid, test_kill_process};

/// What the operating system answered.
pub(crate) type Answer<T> = Result<T, Errno>;

/// Owner, creator and mode of a System V object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Permissions {
    /// Effective uid of the process that created it; cannot be changed.
    pub(crate) creator_uid: u32,
    /// Owner; both it and the creator have the owner's permissions.
    pub(crate) owner_uid: u32,
    /// The nine permission bits.
    pub(crate) mode: u32,
}

/// What `IPC_STAT` tells of a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShmStatus {
    pub(crate) permissions: Permissions,
    /// The size as it was asked for, in bytes.
    pub(crate) size: u64,
    /// The key with which it was made, 0 once it was removed; its owner cannot change it.
    pub(crate) key: i32,
    /// How many mappings it has.
    pub(crate) mappings: u64,
    /// The process that created it, 0 for one that cannot be seen from here.
    pub(crate) creator_pid: i32,
}

/// What `IPC_STAT` tells of a semaphore set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SemStatus {
    pub(crate) permissions: Permissions,
    /// The key with which it was made; its owner cannot change it.
    pub(crate) key: i32,
    pub(crate) count: u64,
    /// Whether a `semop` ever succeeded on it.
    pub(crate) used: bool,
}

/// One operation of a `semop` array.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct SemOp(libc::sembuf);

impl SemOp {
    /// Adds `delta` to semaphore `number`, or waits until it is 0 where `delta` is; `flags` of semop(2).
    #[inline]
    pub(crate) const fn new(number: u16, delta: i16, flags: c_int) -> Self {
        Self(libc::sembuf { sem_num: number, sem_op: delta, sem_flg: flags as i16 })
    }
}

/// `struct semid_ds` of the kernel, which the libc crate has for glibc alone.
#[repr(C)]
struct SemidDs {
    perm: libc::ipc_perm,
    otime: libc::c_long,
    #[cfg(any(target_arch = "x86", target_arch = "x86_64", target_pointer_width = "32"))]
    _otime_high: libc::c_ulong,
    _ctime: libc::c_long,
    #[cfg(any(target_arch = "x86", target_arch = "x86_64", target_pointer_width = "32"))]
    _ctime_high: libc::c_ulong,
    nsems: libc::c_ulong,
    _reserved: [libc::c_ulong; 2],
}

/// The fourth argument of semctl(2), which C has every program declare for itself.
#[repr(C)]
union Semun {
    buf: *mut SemidDs,
    array: *const u16,
}

unsafe extern "C" {
    // glibc and musl both have it; the libc crate does not declare it for Linux.
    fn semtimedop(semid: c_int, sops: *mut libc::sembuf, nsops: usize, timeout: *const libc::timespec) -> c_int;
}

fn last_errno() -> Errno {
    // An errno that does not fit is none that Linux has.
    std::io::Error::last_os_error().raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}

#[inline]
fn answer(result: c_int) -> Answer<c_int> {
    if result < 0 { Err(last_errno()) } else { Ok(result) }
}

/// The same, of a call that does not wait: one that a signal interrupted all the same is made again.
#[inline]
fn retry(mut request: impl FnMut() -> c_int) -> Answer<c_int> {
    retry_on_intr(|| answer(request()))
}

fn permissions(perm: &libc::ipc_perm) -> Permissions {
    Permissions { creator_uid: perm.cuid, owner_uid: perm.uid, mode: u32::from(perm.mode) & 0o777 }
}

/// `shmget` of a new segment that only this user can reach.
pub(crate) fn shm_create(key: i32, size: usize) -> Result<i32, Errno> {
    // SAFETY: takes and keeps no pointer.
    retry(|| unsafe { libc::shmget(key, size, libc::IPC_CREAT | libc::IPC_EXCL | 0o600) })
}

/// `shmat` at `hint`, or where the kernel likes. Never over an existing mapping.
pub(crate) fn shm_attach(id: i32, hint: Option<NonNull<u8>>) -> Result<NonNull<u8>, Errno> {
    let hint = hint.map_or(ptr::null(), |hint| hint.as_ptr().cast::<c_void>().cast_const());
    // SAFETY: without SHM_REMAP the kernel takes only addresses at which nothing is mapped, so no memory that Rust
    // knows of changes.
    let base = unsafe { libc::shmat(id, hint, 0) };
    if base.addr() == usize::MAX { Err(last_errno()) } else { NonNull::new(base.cast()).ok_or(Errno::INVAL) }
}

/// `shmdt`.
///
/// # Safety
/// `base` came from [`shm_attach`], was not detached since, and nobody uses the mapping any more.
pub(crate) unsafe fn shm_detach(base: NonNull<u8>) {
    // SAFETY: the caller's promise. An error can only say that nothing is attached there, which leaves nothing to do.
    unsafe { libc::shmdt(base.as_ptr().cast()) };
}

/// `IPC_STAT` of a segment.
pub(crate) fn shm_status(id: i32) -> Result<ShmStatus, Errno> {
    let mut status = MaybeUninit::<libc::shmid_ds>::zeroed();
    // SAFETY: IPC_STAT writes one shmid_ds to the pointer, which is valid for that.
    retry(|| unsafe { libc::shmctl(id, libc::IPC_STAT, status.as_mut_ptr()) })?;
    // SAFETY: plain integers, zero or what the kernel wrote.
    let status = unsafe { status.assume_init() };
    #[allow(clippy::useless_conversion, reason = "shmatt_t has 32 bits on some targets")]
    let mappings = u64::from(status.shm_nattch);
    Ok(ShmStatus {
        permissions: permissions(&status.shm_perm),
        size: status.shm_segsz as u64,
        key: status.shm_perm.__key,
        mappings,
        creator_pid: status.shm_cpid,
    })
}

/// `IPC_SET` of a segment: `uid` becomes the owner, mode 0600.
pub(crate) fn shm_give(id: i32, uid: u32) -> Result<(), Errno> {
    // SAFETY: plain integers, for which zero is valid.
    let mut status: libc::shmid_ds = unsafe { MaybeUninit::zeroed().assume_init() };
    (status.shm_perm.uid, status.shm_perm.gid, status.shm_perm.mode) = (uid, own_gid(), 0o600);
    // SAFETY: IPC_SET reads one shmid_ds from the pointer.
    retry(|| unsafe { libc::shmctl(id, libc::IPC_SET, &raw mut status) }).map(drop)
}

/// `IPC_RMID` of a segment.
pub(crate) fn shm_remove(id: i32) -> Result<(), Errno> {
    // SAFETY: IPC_RMID does not use the pointer.
    retry(|| unsafe { libc::shmctl(id, libc::IPC_RMID, ptr::null_mut()) }).map(drop)
}

/// How many segments there are, and how many there may be, where the system tells.
#[cfg(target_os = "linux")]
pub(crate) fn shm_usage() -> Option<(u64, u64)> {
    /// `struct shm_info` of shmctl(2).
    #[repr(C)]
    struct ShmInfo {
        used_ids: c_int,
        _pages: [libc::c_ulong; 5],
    }
    const SHM_INFO: c_int = 14;
    let mut info = ShmInfo { used_ids: 0, _pages: [0; 5] };
    // SAFETY: SHM_INFO writes one shm_info, whatever the id is.
    retry(|| unsafe { libc::shmctl(0, SHM_INFO, (&raw mut info).cast()) }).ok()?;
    let most = std::fs::read_to_string("/proc/sys/kernel/shmmni").ok()?.trim().parse().ok()?;
    Some((u64::try_from(info.used_ids).ok()?, most))
}

/// How many segments there are: not known here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn shm_usage() -> Option<(u64, u64)> {
    None
}

/// `semget` of a new set that only this user can reach. Its values are not initialised.
pub(crate) fn sem_create(key: i32, count: u16) -> Result<i32, Errno> {
    // SAFETY: takes and keeps no pointer.
    retry(|| unsafe { libc::semget(key, c_int::from(count), libc::IPC_CREAT | libc::IPC_EXCL | 0o600) })
}

/// `IPC_STAT` of a set.
pub(crate) fn sem_status(id: i32) -> Result<SemStatus, Errno> {
    sem_stat(id, libc::IPC_STAT).map(|(_, status)| status)
}

/// The same of a set that may be closed to us, where the system tells it: Linux 4.17.
#[cfg(target_os = "linux")]
pub(crate) fn sem_status_of_any(id: i32) -> Result<SemStatus, Errno> {
    const SEM_STAT_ANY: c_int = 20;
    // It looks at the index in the id, and answers the id of the set that is there.
    match sem_stat(id, SEM_STAT_ANY)? {
        (found, status) if found == id => Ok(status),
        _ => Err(Errno::IDRM),
    }
}

/// The same: not known here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn sem_status_of_any(_id: i32) -> Result<SemStatus, Errno> {
    Err(Errno::ACCESS)
}

fn sem_stat(id: i32, command: c_int) -> Result<(i32, SemStatus), Errno> {
    let mut status = MaybeUninit::<SemidDs>::zeroed();
    // SAFETY: the commands of this kind write one semid_ds to the pointer, which is valid for that.
    let answer = retry(|| unsafe { libc::semctl(id, 0, command, Semun { buf: status.as_mut_ptr() }) })?;
    // SAFETY: plain integers, zero or what the kernel wrote.
    let status = unsafe { status.assume_init() };
    #[allow(clippy::useless_conversion, reason = "c_ulong has 32 bits on some targets")]
    let count = u64::from(status.nsems);
    let (permissions, key) = (permissions(&status.perm), status.perm.__key);
    Ok((answer, SemStatus { permissions, key, count, used: status.otime != 0 }))
}

/// `SETALL` of a set that this process has just created with `values.len()` semaphores.
pub(crate) fn sem_set_all(id: i32, values: &[u16]) -> Result<(), Errno> {
    // SAFETY: the kernel reads as many values as the set has. Only our own user could have put a larger set in its
    // place since `semget`, and it could read our memory anyway.
    retry(|| unsafe { libc::semctl(id, 0, libc::SETALL, Semun { array: values.as_ptr() }) }).map(drop)
}

/// `GETVAL`.
pub(crate) fn sem_value(id: i32, number: u16) -> Result<u32, Errno> {
    // SAFETY: GETVAL uses no fourth argument.
    retry(|| unsafe { libc::semctl(id, c_int::from(number), libc::GETVAL) }).map(|value| value as u32)
}

/// `GETPID`: the process that changed the semaphore last; 0 when it is not in our PID namespace or there was none.
pub(crate) fn sem_last_pid(id: i32, number: u16) -> Result<i32, Errno> {
    // SAFETY: GETPID uses no fourth argument.
    retry(|| unsafe { libc::semctl(id, c_int::from(number), libc::GETPID) })
}

/// `IPC_SET` of a set: `uid` becomes the owner, mode 0600.
pub(crate) fn sem_give(id: i32, uid: u32) -> Result<(), Errno> {
    // SAFETY: plain integers, for which zero is valid.
    let mut status: SemidDs = unsafe { MaybeUninit::zeroed().assume_init() };
    (status.perm.uid, status.perm.gid, status.perm.mode) = (uid, own_gid(), 0o600);
    // SAFETY: IPC_SET reads one semid_ds from the pointer.
    retry(|| unsafe { libc::semctl(id, 0, libc::IPC_SET, Semun { buf: &raw mut status }) }).map(drop)
}

/// `IPC_RMID` of a set.
pub(crate) fn sem_remove(id: i32) -> Result<(), Errno> {
    // SAFETY: IPC_RMID uses no fourth argument.
    retry(|| unsafe { libc::semctl(id, 0, libc::IPC_RMID) }).map(drop)
}

/// One operation that does not wait: `IPC_NOWAIT` is among its flags.
#[inline]
pub(crate) fn sem_op(id: i32, mut operation: SemOp) -> Result<(), Errno> {
    // SAFETY: the kernel reads one sembuf from the pointer.
    retry(|| unsafe { libc::semop(id, &raw mut operation.0, 1) }).map(drop)
}

/// All of `operations` at once, or none.
pub(crate) fn sem_ops(id: i32, operations: &[SemOp]) -> Result<(), Errno> {
    // SAFETY: SemOp is a transparent sembuf (asserted below), and the kernel reads `len` of them and writes none.
    retry(|| unsafe { libc::semop(id, operations.as_ptr().cast_mut().cast(), operations.len()) }).map(drop)
}

const _: () = assert!(size_of::<SemOp>() == size_of::<libc::sembuf>());

/// One operation that waits at most for `timeout`; EAGAIN when that has passed.
pub(crate) fn sem_op_timeout(id: i32, mut operation: SemOp, timeout: Duration) -> Result<(), Errno> {
    let timeout = timespec(timeout);
    // SAFETY: the kernel reads one sembuf and one timespec.
    answer(unsafe { semtimedop(id, &raw mut operation.0, 1, &raw const timeout) }).map(drop)
}

fn timespec(duration: Duration) -> libc::timespec {
    // SAFETY: plain integers, for which zero is valid; some targets have padding fields here.
    let mut value: libc::timespec = unsafe { MaybeUninit::zeroed().assume_init() };
    value.tv_sec = libc::time_t::try_from(duration.as_secs()).unwrap_or(libc::time_t::MAX);
    // Below 2^30; a c_long, of 32 or 64 bits.
    value.tv_nsec = (duration.subsec_nanos() as i32).into();
    value
}

/// Has the kernel give every page of a new mapping now. `INVAL` where it does not know how.
///
/// # Safety
/// `base..base + len` is a shared mapping.
pub(crate) unsafe fn populate(base: NonNull<u8>, len: usize) -> Answer<()> {
    // SAFETY: populating changes no byte; the range is the caller's promise.
    unsafe { rustix::mm::madvise(base.as_ptr().cast(), len, Advice::LinuxPopulateWrite) }
}

/// The address at which `len` bytes could be mapped at this moment.
pub(crate) fn free_range(len: usize) -> Answer<NonNull<u8>> {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: an anonymous mapping at an address of the kernel's choice touches no memory that Rust knows of; what is
    // unmapped is exactly that mapping, which nobody else knows.
    let base = unsafe {
        let base = rustix::mm::mmap_anonymous(ptr::null_mut(), len, ProtFlags::empty(), flags)?;
        rustix::mm::munmap(base, len)?;
        base
    };
    NonNull::new(base.cast()).ok_or(Errno::NOMEM)
}

/// The size of a page in bytes.
pub(crate) fn page_size() -> usize {
    rustix::param::page_size()
}

/// Nanoseconds of CLOCK_MONOTONIC.
pub(crate) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (now.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(now.tv_nsec as u64)
}

/// Fills `bytes` at random; what cannot be filled keeps the clock's lowest bits.
pub(crate) fn random(bytes: &mut [u8; 4]) {
    *bytes = (now_ns() as u32).to_ne_bytes();
    // It gives nothing where the kernel's generator is not ready yet.
    let _ = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::NONBLOCK);
}

/// The effective user id, which System V checks.
pub(crate) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The effective group id.
pub(crate) fn own_gid() -> u32 {
    rustix::process::getegid().as_raw()
}

/// The process id.
pub(crate) fn own_pid() -> i32 {
    // SAFETY: takes no pointer and cannot fail.
    unsafe { libc::getpid() }
}

/// Has `handler` run when the process ends by exit(3) or by the return of its main function.
pub(crate) fn at_exit(handler: extern "C" fn()) {
    // SAFETY: the handler is a function of this program, which is never unloaded (the C library says so to the linker).
    // Where there is no memory for it, `clean` finds what stays.
    unsafe { libc::atexit(handler) };
}

/// Whether a process with this pid exists, also one that we may not signal. Pids below 1 count as existing.
pub(crate) fn process_exists(pid: i32) -> bool {
    let pid = if pid < 1 { None } else { Pid::from_raw(pid) };
    pid.is_none_or(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

/// Has `handler` run in every forked child.
pub(crate) fn at_fork_in_child(handler: unsafe extern "C" fn()) -> Result<(), Errno> {
    // SAFETY: the handler is a function of this program and is never unloaded while its handles live.
    match unsafe { libc::pthread_atfork(None, None, Some(handler)) } {
        0 => Ok(()),
        errno => Err(Errno::from_raw_os_error(errno)),
    }
}

/// How long is slept at a time where nobody can be woken.
#[cfg(feature = "futex")]
const NAP: Duration = Duration::from_millis(1);

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
        let left = Duration::from_nanos(until_ns.saturating_sub(now_ns()));
        std::thread::sleep(left.min(NAP));
    }
}

/// Wakes up to `count` sleepers.
#[cfg(feature = "futex")]
pub(crate) fn futex_wake(word: &AtomicU32, count: u32) {
    // Fails only where the word is not mapped, which a reference excludes.
    let _ = rustix::thread::futex::wake(word, rustix::thread::futex::Flags::empty(), count);
}

/// Asks that every [`heavy_fence`] reach this process too. Whether it does: not where the kernel has none.
#[cfg(feature = "futex")]
pub(crate) fn register_for_fences() -> bool {
    // Once for the process: the kernel keeps it with the address space.
    static REGISTERED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *REGISTERED.get_or_init(|| membarrier(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED))
}

/// A full fence on every core that runs a process which registered for it, and on this one; where the kernel has none,
/// on this one alone.
#[cfg(feature = "futex")]
pub(crate) fn heavy_fence() {
    if !membarrier(libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED) {
        // Pairs with the fence of a holder that is not registered.
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    }
}

/// membarrier(2), Linux 4.16 for these commands.
#[cfg(feature = "futex")]
fn membarrier(command: libc::c_int) -> bool {
    // SAFETY: the call takes three integers and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}
