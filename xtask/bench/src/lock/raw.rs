//! What monshm's locks are measured beside: the bare calls, shared by two processes.
//!
//! No death is noticed here, and no peer is distrusted: each is the least that its calls cost.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Lock;
use crate::machine::Pages;

/// A lock that is made before the second process is, and lives in pages that both have.
pub(super) trait Raw: Lock + Sized {
    /// The other process's handle. Called there.
    ///
    /// # Errors
    /// Why the system has none.
    fn other(&self) -> Result<Self, String>;
}

/// What lies in the pages, or is the kernel's, is reached by a copy of the handle.
impl<L: Lock + Clone> Raw for L {
    fn other(&self) -> Result<Self, String> {
        Ok(self.clone())
    }
}

/// The futex lock of the textbook: 0 free, 1 held, 2 held and somebody may wait.
#[derive(Clone)]
pub(super) struct Futex(NonNull<AtomicU32>);

impl Futex {
    pub(super) fn new(pages: &Pages) -> Result<Self, String> {
        Ok(Futex(pages.base.cast()))
    }

    #[cold]
    fn wait(word: &AtomicU32) {
        while word.swap(2, Ordering::Acquire) != 0 {
            // SAFETY: the word is mapped; no timeout.
            unsafe {
                libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, 2, std::ptr::null::<libc::timespec>());
            }
        }
    }
}

impl Lock for Futex {
    #[inline]
    fn with(&mut self, work: impl FnOnce()) {
        // SAFETY: the start of pages that outlive this handle, aligned; all sides use it by atomics alone.
        let word = unsafe { self.0.as_ref() };
        if word.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            Self::wait(word);
        }
        work();
        if word.swap(0, Ordering::Release) == 2 {
            // SAFETY: as in `wait`.
            unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
        }
    }
}

/// libc's mutex, shared between processes.
#[derive(Clone)]
pub(super) struct Pthread(*mut libc::pthread_mutex_t);

impl Pthread {
    pub(super) fn new(pages: &Pages, robust: bool) -> Result<Self, String> {
        let mutex = pages.base.cast::<libc::pthread_mutex_t>().as_ptr();
        // SAFETY: zeroed attributes are initialised by the first call; the mutex lies at the start of pages of our
        // own, and is initialised before it is used.
        let outcome = unsafe {
            let mut attributes: libc::pthread_mutexattr_t = std::mem::zeroed();
            libc::pthread_mutexattr_init(&mut attributes);
            libc::pthread_mutexattr_setpshared(&mut attributes, libc::PTHREAD_PROCESS_SHARED);
            if robust {
                libc::pthread_mutexattr_setrobust(&mut attributes, libc::PTHREAD_MUTEX_ROBUST);
            }
            libc::pthread_mutex_init(mutex, &attributes)
        };
        if outcome == 0 { Ok(Pthread(mutex)) } else { Err(format!("pthread_mutex_init answers {outcome}")) }
    }
}

impl Lock for Pthread {
    #[inline]
    fn with(&mut self, work: impl FnOnce()) {
        // SAFETY: initialised by `new`; the pages outlive this handle; unlocked by the thread that locked.
        unsafe {
            libc::pthread_mutex_lock(self.0);
            work();
            libc::pthread_mutex_unlock(self.0);
        }
    }
}

/// `sem_t`, raised once.
#[derive(Clone)]
pub(super) struct Semaphore(*mut libc::sem_t);

impl Semaphore {
    pub(super) fn new(pages: &Pages) -> Result<Self, String> {
        let semaphore = pages.base.cast::<libc::sem_t>().as_ptr();
        // SAFETY: the semaphore lies at the start of pages of our own.
        match unsafe { libc::sem_init(semaphore, 1, 1) } {
            0 => Ok(Semaphore(semaphore)),
            _ => Err(last_error("sem_init")),
        }
    }
}

impl Lock for Semaphore {
    #[inline]
    fn with(&mut self, work: impl FnOnce()) {
        // SAFETY: initialised by `new`; the pages outlive this handle.
        unsafe {
            libc::sem_wait(self.0);
            work();
            libc::sem_post(self.0);
        }
    }
}

/// One SysV semaphore. The other process's copy keeps the set alive no longer than this one: it ends by `_exit`.
#[derive(Clone)]
pub(super) struct Semop {
    set: Rc<Set>,
    flags: libc::c_int,
}

/// Removed with its last handle.
struct Set(libc::c_int);

impl Semop {
    pub(super) fn new(flags: libc::c_int) -> Result<Self, String> {
        // SAFETY: plain system calls.
        let set = unsafe { libc::semget(libc::IPC_PRIVATE, 1, 0o600) };
        if set < 0 {
            return Err(last_error("semget"));
        }
        let set = Rc::new(Set(set));
        // Without SEM_UNDO: it starts raised for good.
        Semop { set: Rc::clone(&set), flags: 0 }.by(1);
        Ok(Semop { set, flags })
    }

    fn by(&self, change: libc::c_short) {
        let mut operation = libc::sembuf { sem_num: 0, sem_op: change, sem_flg: self.flags as libc::c_short };
        // SAFETY: the operation is valid for the call.
        while unsafe { libc::semop(self.set.0, &mut operation, 1) } != 0 {}
    }
}

impl Lock for Semop {
    #[inline]
    fn with(&mut self, work: impl FnOnce()) {
        self.by(-1);
        work();
        self.by(1);
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        // SAFETY: a plain system call on a set of our own.
        unsafe { libc::semctl(self.0, 0, libc::IPC_RMID) };
    }
}

/// How a whole file is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileLock {
    Flock,
    /// `F_OFD_SETLKW`: the lock belongs to the open file description.
    Ofd,
}

/// A file in memory, opened by each side for itself: with a description that both share there is no exclusion.
pub(super) struct File {
    fd: OwnedFd,
    how: FileLock,
}

impl File {
    pub(super) fn new(how: FileLock) -> Result<Self, String> {
        // SAFETY: makes a new descriptor of our own.
        let fd = unsafe { libc::memfd_create(c"bench-lock".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(last_error("memfd_create"));
        }
        // SAFETY: nobody else has it.
        Ok(File { fd: unsafe { OwnedFd::from_raw_fd(fd) }, how })
    }

    fn set(&self, operation: libc::c_int, kind: libc::c_int) {
        let fd = self.fd.as_raw_fd();
        loop {
            // SAFETY: the descriptor is open; an all-zero flock is «the whole file, from the start, pid 0».
            let outcome = unsafe {
                match self.how {
                    FileLock::Flock => libc::flock(fd, operation),
                    FileLock::Ofd => {
                        let mut range: libc::flock = std::mem::zeroed();
                        range.l_type = kind as libc::c_short;
                        libc::fcntl(fd, libc::F_OFD_SETLKW, &range)
                    }
                }
            };
            if outcome == 0 {
                return;
            }
        }
    }
}

impl Lock for File {
    #[inline]
    fn with(&mut self, work: impl FnOnce()) {
        self.set(libc::LOCK_EX, libc::F_WRLCK);
        work();
        self.set(libc::LOCK_UN, libc::F_UNLCK);
    }
}

impl Raw for File {
    fn other(&self) -> Result<Self, String> {
        let path = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        let file = std::fs::OpenOptions::new().read(true).write(true).open(&path);
        Ok(File { fd: file.map_err(|fault| format!("{path}: {fault}"))?.into(), how: self.how })
    }
}

impl Lock for &parking_lot::Mutex<()> {
    #[inline]
    fn with(&mut self, work: impl FnOnce()) {
        let guard = self.lock();
        work();
        drop(guard);
    }
}

impl Lock for &std::sync::Mutex<()> {
    #[inline]
    fn with(&mut self, work: impl FnOnce()) {
        let guard = std::sync::Mutex::lock(self).expect("nobody panics inside");
        work();
        drop(guard);
    }
}

fn last_error(call: &str) -> String {
    format!("{call}: {}", std::io::Error::last_os_error())
}
