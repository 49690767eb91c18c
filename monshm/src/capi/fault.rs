//! How failures reach C: errno values, the last failure of a thread as a sentence, and panics that stop here.
//!
//! Which errno stands for which error is `crate::errno`'s word.

use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

use monshm_core::Error;

use crate::errno::errno;

/// Why a function of the C interface could not do its work.
#[derive(Debug)]
pub(super) enum Fault {
    /// The facade said no.
    Refused(Error),
    /// The facade said no, and the header gives this error another errno value.
    As(c_int, Error),
    /// The ring does not hold that much, or has no room for it. As the engine says it, without an allocation: callers
    /// come often.
    Amount(c_int, monshm_rbuf::Error),
    /// The arguments are wrong, or something that only C can get wrong.
    Plain(c_int, &'static str),
}

/// The outcome of everything here that can fail.
pub(super) type Outcome<T> = Result<T, Fault>;

impl From<Error> for Fault {
    #[cold]
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// A failure because of an argument.
#[cold]
pub(super) fn invalid<T>(what: &'static str) -> Outcome<T> {
    Err(Fault::Plain(libc::EINVAL, what))
}

/// There is no descriptor behind the pointer.
pub(super) const NO_DESCRIPTOR: &str = "this is not a descriptor, or it is gone; \
     descriptors come from mon_shm_new, mon_shm_decode and mon_shm_recv and go with the last mon_shm_done";

/// The last failure of a thread. The sentence is made when it is asked for: most failures are "not now".
struct Last {
    fault: Option<Fault>,
    sentence: Option<CString>,
}

thread_local! {
    static LAST: RefCell<Last> = const { RefCell::new(Last { fault: None, sentence: None }) };
}

impl Fault {
    /// Keeps the failure for `mon_shm_strerror`, and gives its errno value.
    #[cold]
    #[inline(never)]
    pub(super) fn keep(self) -> c_int {
        let code = match &self {
            Self::Refused(error) => errno(error),
            Self::As(code, _) | Self::Amount(code, _) | Self::Plain(code, _) => *code,
        };
        // A thread that is ending may have no place for it any more: then nobody will ask.
        let _ = LAST.try_with(|last| {
            let before = last.try_borrow_mut().map(|mut last| last.fault.replace(self));
            drop(before);
        });
        code
    }

    fn sentence(&self) -> String {
        match self {
            Self::Refused(error) | Self::As(_, error) => error.to_string(),
            Self::Amount(_, error) => format!("ring: {error}"),
            Self::Plain(_, what) => (*what).to_owned(),
        }
    }
}

/// Runs the body of a function of the C interface. A failure is kept, and its errno value answered; so is a panic,
/// which goes no further: the hook has printed what it was.
#[inline(always)]
pub(super) fn guarded<T>(work: impl FnOnce() -> Outcome<T>) -> Result<T, c_int> {
    // Unwind safety: what a panic may leave half done are entries and segments whose state words say so, and the error
    // tells the caller that the library is not to be trusted any more.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(fault)) => Err(fault.keep()),
        Err(payload) => {
            // Dropping it could panic again.
            std::mem::forget(payload);
            Err(Fault::Plain(libc::ENOTRECOVERABLE, "a defect of monshm: it panicked, see stderr").keep())
        }
    }
}

/// A body for functions that return 0 or an errno value.
#[inline(always)]
pub(super) fn coded(work: impl FnOnce() -> Outcome<()>) -> c_int {
    match guarded(work) {
        Ok(()) => 0,
        Err(code) => code,
    }
}

/// A body for functions that return `failed` and set errno when they could not do their work.
#[inline(always)]
pub(super) fn or_errno<T>(failed: T, work: impl FnOnce() -> Outcome<T>) -> T {
    match guarded(work) {
        Ok(value) => value,
        Err(code) => {
            set_errno(code);
            failed
        }
    }
}

/// As [`coded`], for a function that reaches a cancellation point of libc.
pub(super) fn coded_uncancelled(work: impl FnOnce() -> Outcome<()>) -> c_int {
    uncancelled(|| coded(work))
}

/// As [`or_errno`], for a function that reaches a cancellation point of libc.
pub(super) fn or_errno_uncancelled<T>(failed: T, work: impl FnOnce() -> Outcome<T>) -> T {
    uncancelled(|| or_errno(failed, work))
}

/// Does `work` while the thread cannot be cancelled (pthread_cancel(3)). A thread that is cancelled in close(2) or in
/// another cancellation point is unwound through frames of Rust, which ends the process. A cancellation that comes
/// meanwhile acts in the program's next cancellation point.
///
/// Calls that come often do not go through here: they reach no cancellation point, and futex(2), semop(2) and the
/// locks of libc are none. Where such a call waits in one, the backend does the same.
fn uncancelled<T>(work: impl FnOnce() -> T) -> T {
    let mut before = 0;
    // SAFETY: the call changes a mark of the calling thread, and writes one integer.
    unsafe { pthread_setcancelstate(CANCEL_DISABLE, &raw mut before) };
    let outcome = work();
    // SAFETY: as above; null is for a caller that does not ask.
    unsafe { pthread_setcancelstate(before, std::ptr::null_mut()) };
    outcome
}

/// `PTHREAD_CANCEL_DISABLE` of glibc and musl.
const CANCEL_DISABLE: c_int = 1;

unsafe extern "C" {
    // POSIX; the libc crate does not declare it for Linux.
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
}

/// The calling thread's errno.
pub(super) fn get_errno() -> c_int {
    // SAFETY: `errno_location` points to the calling thread's own errno, which lives as long as the thread.
    unsafe { *errno_location() }
}

/// Sets the calling thread's errno.
#[cold]
pub(super) fn set_errno(code: c_int) {
    // SAFETY: as in `get_errno`; nobody else refers to it.
    unsafe { *errno_location() = code };
}

fn errno_location() -> *mut c_int {
    // SAFETY: these functions have no precondition.
    #[cfg(any(target_os = "linux", target_os = "emscripten", target_os = "redox"))]
    return unsafe { libc::__errno_location() };
    // SAFETY: as above.
    #[cfg(any(target_vendor = "apple", target_os = "freebsd", target_os = "dragonfly"))]
    return unsafe { libc::__error() };
    // SAFETY: as above.
    #[cfg(any(target_os = "android", target_os = "netbsd", target_os = "openbsd"))]
    return unsafe { libc::__errno() };
    // SAFETY: as above.
    #[cfg(any(target_os = "solaris", target_os = "illumos"))]
    return unsafe { libc::___errno() };
}

/// The last failure of this thread as a sentence; valid until the next call of any function of the interface here.
#[unsafe(no_mangle)]
pub extern "C" fn mon_shm_strerror() -> *const c_char {
    const NONE: *const c_char = c"nothing went wrong in this thread so far".as_ptr();
    let sentence = uncancelled(|| {
        guarded(|| {
            Ok(LAST.try_with(|last| {
                let mut last = last.borrow_mut();
                let Some(fault) = &last.fault else { return NONE };
                // An object's name comes from a peer and may hold what a C string cannot.
                let sentence = fault.sentence().replace('\0', "?");
                let sentence = CString::new(sentence).unwrap_or_default();
                last.sentence.insert(sentence).as_ptr()
            }))
        })
    });
    sentence.ok().and_then(Result::ok).unwrap_or(NONE)
}
