//! What must not follow a forked child: the descriptors that keep a slot alive. Also counts the fork in `monshm-core`.
//!
//! An OFD lock belongs to an open file description, and a child shares its parent's: were it to keep the descriptor,
//! the parent's slot would outlive the parent. So a handler of `pthread_atfork` closes those descriptors in the child.
//! Mappings and other descriptors are left to the handles that own them.

use std::cell::UnsafeCell;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use monshm_core::error::{Operation, Result};
use monshm_core::fork;
use rustix::io::Errno;

use crate::sys::{self, Answer, ForkLock};

/// The descriptors to close in a child. Touched only with the lock held; the handlers hold it across the fork, so the
/// child finds the list whole, and no descriptor is open but not listed, or listed but not open.
struct Watched {
    lock: ForkLock,
    list: UnsafeCell<Vec<RawFd>>,
}

// SAFETY: `list` is reached by `with_list` and by the child handler alone, both with `lock` held.
unsafe impl Sync for Watched {}

static WATCHED: Watched = Watched { lock: ForkLock::new(), list: UnsafeCell::new(Vec::new()) };

/// A descriptor that no forked child keeps.
#[derive(Debug)]
pub(crate) struct WatchedFd {
    fd: ManuallyDrop<OwnedFd>,
    generation: u32,
}

impl WatchedFd {
    /// Opens a descriptor such that no fork comes between its opening and its listing.
    pub(crate) fn open(open: impl FnOnce() -> Answer<OwnedFd>) -> Answer<Self> {
        register_handlers()?;
        with_list(|list| {
            list.try_reserve(1).map_err(|_| Errno::NOMEM)?;
            let fd = open()?;
            list.push(fd.as_raw_fd());
            Ok(Self { fd: ManuallyDrop::new(fd), generation: fork::generation() })
        })
    }

    /// Whether this process opened it. In a forked child the number may stand for anything.
    pub(crate) fn is_ours(&self) -> bool {
        self.generation == fork::generation()
    }

    /// The descriptor, in the process that opened it.
    pub(crate) fn get(&self) -> Option<BorrowedFd<'_>> {
        self.is_ours().then(|| self.fd.as_fd())
    }
}

impl Drop for WatchedFd {
    fn drop(&mut self) {
        if !self.is_ours() {
            return;
        }
        with_list(|list| {
            list.retain(|&fd| fd != self.fd.as_raw_fd());
            // SAFETY: this is drop, the field is not used again. Closing under the lock keeps list and table equal.
            unsafe { ManuallyDrop::drop(&mut self.fd) };
        });
    }
}

/// Sees to it that forks are noticed. To be called before a handle remembers its generation.
///
/// # Errors
/// `LimitReached` when libc has no memory for the handlers.
pub(crate) fn register(operation: Operation) -> Result<()> {
    register_handlers().map_err(|errno| sys::fault(operation, "pthread_atfork", errno))
}

fn register_handlers() -> Answer<()> {
    static REGISTERED: OnceLock<Answer<()>> = OnceLock::new();
    *REGISTERED.get_or_init(|| sys::at_fork(prepare, parent, child))
}

/// What another file does in a forked child.
static CHILD_HOOK: OnceLock<fn()> = OnceLock::new();

/// Has `hook` run in every forked child from now on. It must be async-signal-safe. One hook: the first one stays.
pub(crate) fn run_in_child(hook: fn()) {
    CHILD_HOOK.get_or_init(|| hook);
}

/// Runs `work` such that no fork comes between its beginning and its end, and one thread at a time.
pub(crate) fn undisturbed<T>(work: impl FnOnce() -> T) -> T {
    with_list(|_| work())
}

fn with_list<T>(change: impl FnOnce(&mut Vec<RawFd>) -> T) -> T {
    struct Unlock;
    impl Drop for Unlock {
        fn drop(&mut self) {
            // SAFETY: `with_list` took it in this thread.
            unsafe { WATCHED.lock.unlock() };
        }
    }
    WATCHED.lock.lock();
    let _unlock = Unlock;
    // SAFETY: the lock is held until `_unlock` drops, and nothing that `change` calls comes back here or forks, so this
    // is the only reference.
    change(unsafe { &mut *WATCHED.list.get() })
}

extern "C" fn prepare() {
    WATCHED.lock.lock();
}

extern "C" fn parent() {
    // SAFETY: `prepare` took it in this thread.
    unsafe { WATCHED.lock.unlock() };
}

extern "C" fn child() {
    // SAFETY: `prepare` took the lock in the thread that this one is the copy of, so nobody else was in the list at
    // the fork, and this process has one thread.
    let list = unsafe { &mut *WATCHED.list.get() };
    for &fd in list.iter() {
        // SAFETY: listed means open, see `Watched`; its WatchedFd sees another generation from here on and leaves it.
        unsafe { sys::close_in_child(fd) };
    }
    // Numbers need no drop, and the memory stays: nothing is given back to an allocator here.
    list.clear();
    if let Some(hook) = CHILD_HOOK.get() {
        hook();
    }
    fork::entered_child();
    // SAFETY: as above.
    unsafe { WATCHED.lock.unlock() };
}
