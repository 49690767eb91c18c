//! What a SIGBUS handler needs of the operating system. All but [`action`] and [`set_action`]'s first use are called
//! inside the handler, and are async-signal-safe.
//!
//! Which faults are ours, and what is done about them, is not decided here.

use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use libc::{c_int, c_void, sigaction as Action, siginfo_t};
use rustix::mm::{MapFlags, ProtFlags};

use super::{Answer, last_errno};

/// A handler as `SA_SIGINFO` has it.
pub(crate) type Handler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

/// The action that is in force for `signal`.
pub(crate) fn action(signal: c_int) -> Answer<Action> {
    let mut found = MaybeUninit::<Action>::zeroed();
    // SAFETY: sigaction(2) writes one structure to the pointer, which is valid for that, and reads none.
    if unsafe { libc::sigaction(signal, ptr::null(), found.as_mut_ptr()) } != 0 {
        return Err(last_errno());
    }
    // SAFETY: numbers and pointers, zero or what the kernel wrote.
    Ok(unsafe { found.assume_init() })
}

/// Puts `handler` in force for `signal`, blocking nothing meanwhile, and gives what was before.
pub(crate) fn set_handler(signal: c_int, handler: Handler, flags: c_int) -> Answer<Action> {
    // SAFETY: numbers and pointers, for which zero is a value: an empty mask.
    let mut new: Action = unsafe { MaybeUninit::zeroed().assume_init() };
    new.sa_sigaction = handler as usize;
    new.sa_flags = flags | libc::SA_SIGINFO;
    set_action(signal, &new)
}

/// Puts the default action in force.
pub(crate) fn set_default(signal: c_int) {
    // SAFETY: as in `set_handler`; SIG_DFL is zero.
    let new: Action = unsafe { MaybeUninit::zeroed().assume_init() };
    // It fails for numbers that are no signal's.
    let _ = set_action(signal, &new);
}

fn set_action(signal: c_int, new: &Action) -> Answer<Action> {
    let mut before = MaybeUninit::<Action>::zeroed();
    // SAFETY: both pointers are valid for one structure; the handler in it has the type that its flags promise.
    if unsafe { libc::sigaction(signal, new, before.as_mut_ptr()) } != 0 {
        return Err(last_errno());
    }
    // SAFETY: numbers and pointers, zero or what the kernel wrote.
    Ok(unsafe { before.assume_init() })
}

/// Whether the calling thread blocks `signal`.
pub(crate) fn is_blocked(signal: c_int) -> bool {
    let mut mask = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: with no new set the call only writes the current one to `mask`, which is valid for that; sigismember
    // reads it.
    unsafe {
        libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), mask.as_mut_ptr());
        libc::sigismember(mask.as_ptr(), signal) == 1
    }
}

/// Runs `work` while the thread blocks the signals of `mask`, and `also` if that is one.
pub(crate) fn with_blocked(mask: &libc::sigset_t, also: Option<c_int>, work: impl FnOnce()) {
    let mut mask = *mask;
    let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: both sets are ours and valid; the second is written before it is read.
    unsafe {
        if let Some(signal) = also {
            libc::sigaddset(&raw mut mask, signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const mask, before.as_mut_ptr());
        work();
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut());
    }
}

/// Sends `info`'s signal to the calling thread again, with all that it says.
///
/// # Safety
/// `info` points to what the kernel gave a handler.
pub(crate) unsafe fn send_again(info: *mut siginfo_t) {
    // SAFETY: the call reads one siginfo_t, valid by the contract; the other arguments are numbers.
    unsafe {
        let (process, thread) = (libc::getpid(), libc::gettid());
        libc::syscall(libc::SYS_rt_tgsigqueueinfo, process, thread, (*info).si_signo, info);
    }
}

/// Puts private zeros in the place of a mapping, all at once. Whether that was possible.
///
/// # Safety
/// `base` and `len` are those of one mapping of shared memory that stays one until the call returns, to whose bytes no
/// Rust reference but to atomics exists.
pub(crate) unsafe fn map_zeros(base: NonNull<u8>, len: usize) -> bool {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // Without a reservation: a process that detaches soon touches little of it.
    let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
    // SAFETY: the range is one mapping of ours, by the contract, and stays mapped for reading and writing; that its
    // bytes change is what shared memory does at any time.
    let map = || unsafe { rustix::mm::mmap_anonymous(base.as_ptr().cast(), len, protection, flags).is_ok() };
    // Under mlockall(MCL_FUTURE) the kernel counts the new mapping against RLIMIT_MEMLOCK beside the old one.
    // SAFETY: the range is as above, and that its pages may be paged out changes no byte.
    map() || unsafe { rustix::mm::munlock(base.as_ptr().cast(), len) }.is_ok() && map()
}

/// Runs the work of a handler, and leaves errno as it was.
pub(crate) fn with_saved_errno(work: impl FnOnce()) {
    // SAFETY: the address of the calling thread's own errno, which lives as long as the thread.
    let errno = unsafe { &mut *libc::__errno_location() };
    let before = *errno;
    work();
    *errno = before;
}
