//! Keeps this process alive when a peer truncates memory that cannot be sealed, and tells the handles that it happened.
//!
//! An access to a page behind the new end of a file is a SIGBUS. So the range of every mapping of an unsealed object is
//! entered in a table, and a handler, installed when the first one is, looks the faulting address up there. If it finds
//! it, it sets the mapping's mark and puts private zeros in the place of **the whole mapping**, with one mmap(2): a
//! part would leave other parts shared with an enemy, fault again, and cost mappings. The access is then made again by
//! the processor, reads zero or writes to nobody, and the code that made it checks the mark ([`Truncation`]) before it
//! believes what it read. All unsealed objects are guarded, also those of trusted peers: a bug truncates as well as an
//! enemy does.
//!
//! Case by case:
//! - Any other SIGBUS goes to the handler that was there before, with its mask and flags (`SA_NODEFER`, `SA_RESETHAND`,
//!   `SA_RESTART`; it runs on the alternate stack where the thread has one); or to the default action; or is ignored
//!   where only a sender could have meant it.
//! - A hole punched into the object: zeros, no signal. If there is no memory to fill it again: the same SIGBUS, and the
//!   same answer to it.
//! - Several threads fault at once: each puts zeros there; nothing in them counts.
//! - A fault in another handler of the program is answered as any other, unless that handler blocks SIGBUS.
//! - A thread that blocks SIGBUS: the kernel kills the process; so making and attaching is refused there.
//! - Detaching while a handler of another thread is at work waits for that handler, so that zeros never cover the next
//!   mapping at that address.
//! - A forked child has table, handler and ranges of its own; a fault is answered there and not in the parent.
//! - exec(2): mappings and handlers go together.
//! - A handler that the program installs over ours later must pass on what is not its own, as ours does; else the guard
//!   is off. One that was reset to the default is replaced by ours at the next mapping.
//!
//! It does not undo anything, ask whose object it is, or touch memory that is sealed. What it cannot do: put zeros
//! there when the system has no mapping or address space left, or counts private memory beforehand
//! (`vm.overcommit_memory` 2) and has no more; the signal then goes on as any other. Nor can it help libc, which takes
//! a robust mutex or a `sem_t` that turns to zero between two of its instructions for a broken one and may abort: those
//! locks are for peers that are trusted.

use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use libc::{c_int, c_void, siginfo_t};
use monshm_core::error::{Error, ErrorKind, Operation, Result};
use monshm_core::truncation::Truncation;

use crate::fork;
use crate::sys::{self, Answer, signal};

/// How many mappings can be guarded at a time.
const CAPACITY: usize = 4096;

/// How long a detach waits for a handler of another thread, which needs a few microseconds once it runs.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The life of an entry.
mod state {
    pub(super) const FREE: u32 = 0;
    /// Taken; its range is being written.
    pub(super) const FILLING: u32 = 1;
    /// The range is mapped, and may be replaced.
    pub(super) const ACTIVE: u32 = 2;
    /// The range is about to be unmapped.
    pub(super) const CLOSING: u32 = 3;
}

/// One guarded mapping. Atomics only, since a handler reads it between any two instructions.
///
/// *Invariant STABLE*: while `state` is ACTIVE, and while `handlers` is not 0 after a load that found it ACTIVE, base
/// and len do not change and name a mapping that is there.
struct Entry {
    state: AtomicU32,
    /// How many handlers are at work on it.
    handlers: AtomicU32,
    base: AtomicUsize,
    len: AtomicUsize,
    /// The mark.
    is_truncated: AtomicBool,
}

static TABLE: [Entry; CAPACITY] = [const { Entry::new() }; CAPACITY];

/// How many entries from the first on were ever used: where a handler stops its search.
static USED: AtomicUsize = AtomicUsize::new(0);

/// The action that was in force before ours; null where that was the default. What it points to is never freed.
static PREVIOUS: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());

/// The guard of one mapping.
#[derive(Debug)]
pub(crate) struct Shield {
    entry: &'static Entry,
}

impl Shield {
    /// Guards `len` bytes from `base`, which were just mapped and are not used yet.
    ///
    /// # Errors
    /// `LimitReached` when the table is full, `Unsupported` in a thread that blocks SIGBUS, `System`.
    pub(crate) fn new(operation: Operation, base: NonNull<u8>, len: usize) -> Result<Self> {
        if signal::is_blocked(libc::SIGBUS) {
            let what = "a thread that lets SIGBUS through (this one blocks it, and would be killed when a peer \
                        truncates the memory; unblock it, or use memory that cannot be truncated)";
            return Err(Error::new(operation, ErrorKind::Unsupported { what }).on("posix"));
        }
        fork::undisturbed(install).map_err(|errno| sys::fault(operation, "sigaction", errno))?;
        let taken = TABLE.iter().enumerate().find(|(_, entry)| {
            // Acquire: pairs with the Release that set it free.
            let taken = (state::FREE, state::FILLING);
            entry.state.compare_exchange(taken.0, taken.1, Ordering::Acquire, Ordering::Relaxed).is_ok()
        });
        let Some((index, entry)) = taken else {
            let what = "mappings of memory that can be truncated (4096)";
            return Err(Error::new(operation, ErrorKind::LimitReached { what }).on("posix"));
        };
        entry.is_truncated.store(false, Ordering::Relaxed);
        entry.base.store(base.as_ptr().expose_provenance(), Ordering::Relaxed);
        entry.len.store(len, Ordering::Relaxed);
        USED.fetch_max(index + 1, Ordering::Relaxed);
        // SeqCst: see `Shield::close`. It also publishes what was stored before it.
        entry.state.store(state::ACTIVE, Ordering::SeqCst);
        Ok(Self { entry })
    }

    /// The mark of this mapping.
    pub(crate) fn truncation(&self) -> Truncation {
        Truncation::marked_by(&self.entry.is_truncated)
    }

    /// Ends the guard, before the mapping is unmapped. Whether it may be: not while a handler is stuck in it.
    pub(crate) fn close(&self) -> bool {
        // SeqCst with the SeqCst of `Entry::map_zeros`: either the handler sees CLOSING and leaves the range alone, or
        // its count is seen here and waited for.
        self.entry.state.store(state::CLOSING, Ordering::SeqCst);
        let mut until = None;
        while self.entry.handlers.load(Ordering::SeqCst) != 0 {
            if Instant::now() > *until.get_or_insert_with(|| Instant::now() + CLOSE_TIMEOUT) {
                return false;
            }
            std::thread::yield_now();
        }
        self.entry.state.store(state::FREE, Ordering::Release);
        true
    }
}

impl Entry {
    const fn new() -> Self {
        Self {
            state: AtomicU32::new(state::FREE),
            handlers: AtomicU32::new(0),
            base: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            is_truncated: AtomicBool::new(false),
        }
    }

    /// Whether the entry guards this address now.
    fn covers(&self, address: usize, order: Ordering) -> bool {
        self.state.load(order) == state::ACTIVE
            && address.wrapping_sub(self.base.load(Ordering::Relaxed)) < self.len.load(Ordering::Relaxed)
    }

    /// Replaces the mapping by zeros if it covers `address`; whether it did. Async-signal-safe.
    fn map_zeros(&self, address: usize) -> bool {
        // A first check, so that the entries of others are not counted up and down.
        if !self.covers(address, Ordering::Acquire) {
            return false;
        }
        // SeqCst: see `Shield::close`.
        self.handlers.fetch_add(1, Ordering::SeqCst);
        let replaced = self.covers(address, Ordering::SeqCst) && {
            // Before the mapping changes: a thread that sees zeros must see the mark.
            self.is_truncated.store(true, Ordering::SeqCst);
            let base = NonNull::new(ptr::with_exposed_provenance_mut(self.base.load(Ordering::Relaxed)));
            // SAFETY: STABLE: base and length are those of one mapping that stays, since `close` waits for `handlers`;
            // and of `Mapping`, whose bytes are reached as atomics and by opaque copies alone.
            base.is_some_and(|base| unsafe { signal::map_zeros(base, self.len.load(Ordering::Relaxed)) })
        };
        self.handlers.fetch_sub(1, Ordering::SeqCst);
        replaced
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("is_truncated", &self.is_truncated).finish_non_exhaustive()
    }
}

/// What is done in a forked child. Async-signal-safe.
fn entered_child() {
    for entry in used() {
        // A handler that was at work in another thread of the parent is not here to end.
        entry.handlers.store(0, Ordering::Relaxed);
    }
}

fn used() -> &'static [Entry] {
    TABLE.get(..USED.load(Ordering::Acquire)).unwrap_or(&TABLE)
}

/// Puts our handler in force, if it never was or the default has come back since.
fn install() -> Answer<()> {
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    fork::run_in_child(entered_child);
    let current = signal::action(libc::SIGBUS)?;
    let is_handler = ![libc::SIG_DFL, libc::SIG_IGN].contains(&current.sa_sigaction);
    // Relaxed: `undisturbed` lets one thread at a time in here.
    if is_handler && INSTALLED.load(Ordering::Relaxed) {
        // Ours, or one that the program put over ours: putting ours over that would make a circle of the two.
        return Ok(());
    }
    // What has no handler is not interrupted: calls go on as they did before.
    let restart = if is_handler { current.sa_flags & libc::SA_RESTART } else { libc::SA_RESTART };
    remember(current);
    let flags = libc::SA_NODEFER | libc::SA_ONSTACK | restart;
    let replaced = signal::set_handler(libc::SIGBUS, on_sigbus, flags)?;
    if replaced.sa_sigaction != current.sa_sigaction {
        // Another thread of the program was faster.
        remember(replaced);
    }
    INSTALLED.store(true, Ordering::Relaxed);
    Ok(())
}

/// Release: pairs with the Acquire in `pass_on`. The memory is never given back: a handler may be reading it.
fn remember(action: libc::sigaction) {
    PREVIOUS.store(Box::into_raw(Box::new(action)), Ordering::Release);
}

/// The handler. It touches no shared memory, takes no lock and allocates nothing.
extern "C" fn on_sigbus(number: c_int, info: *mut siginfo_t, context: *mut c_void) {
    signal::with_saved_errno(|| {
        // SAFETY: with SA_SIGINFO the kernel, or a handler that passes the signal on, gives a valid siginfo_t; for a
        // fault its address is set, and for other codes it is not asked for.
        let address =
            unsafe { if (*info).si_code == libc::BUS_ADRERR { Some((*info).si_addr().addr()) } else { None } };
        let ours = address.is_some_and(|address| used().iter().any(|entry| entry.map_zeros(address)));
        if !ours {
            pass_on(number, info, context);
        }
    });
}

/// Does what would have happened without us.
fn pass_on(number: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let previous = PREVIOUS.load(Ordering::Acquire);
    // SAFETY: null, or from `remember`, never freed and never written again.
    let Some(action) = (unsafe { previous.as_ref() }) else { return by_default(number, info) };
    match action.sa_sigaction {
        libc::SIG_DFL => by_default(number, info),
        // A fault cannot be ignored: the kernel would kill.
        libc::SIG_IGN if is_fault(info) => by_default(number, info),
        libc::SIG_IGN => {}
        handler => {
            if action.sa_flags & libc::SA_RESETHAND != 0 {
                let _ = PREVIOUS.compare_exchange(previous, ptr::null_mut(), Ordering::Relaxed, Ordering::Relaxed);
            }
            let also = (action.sa_flags & libc::SA_NODEFER == 0).then_some(number);
            signal::with_blocked(&action.sa_mask, also, || {
                if action.sa_flags & libc::SA_SIGINFO == 0 {
                    // SAFETY: neither SIG_DFL nor SIG_IGN: a function of this type, by sigaction(2).
                    let handler: extern "C" fn(c_int) = unsafe { std::mem::transmute(handler) };
                    handler(number);
                } else {
                    // SAFETY: as above, with SA_SIGINFO.
                    let handler: signal::Handler = unsafe { std::mem::transmute(handler) };
                    handler(number, info, context);
                }
            });
        }
    }
}

/// The default action: death, with the signal as it came.
fn by_default(number: c_int, info: *mut siginfo_t) {
    signal::set_default(number);
    if !is_fault(info) {
        // Nothing would send it again. A fault comes again by itself, at the instruction that made it.
        // SAFETY: what the kernel gave our handler.
        unsafe { signal::send_again(info) };
    }
}

/// Whether the signal came of an instruction that will be made again, and not from a sender.
fn is_fault(info: *mut siginfo_t) -> bool {
    // SAFETY: what the kernel gave our handler.
    let code = unsafe { (*info).si_code };
    code > 0 && code != libc::BUS_MCEERR_AO
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A range that no mapping of a test touches.
    fn shield() -> Shield {
        let base = NonNull::new(ptr::without_provenance_mut(4096)).unwrap();
        Shield::new(Operation::Attach, base, 4096).unwrap()
    }

    // One test: a child's reset is for a process in which no handler runs.
    #[test]
    fn a_range_is_given_back_when_no_handler_is_at_it() {
        let waiting = shield();
        waiting.entry.handlers.fetch_add(1, Ordering::SeqCst);
        std::thread::scope(|scope| {
            let closed = scope.spawn(|| waiting.close());
            std::thread::sleep(Duration::from_millis(50));
            assert!(!closed.is_finished(), "a handler is still at it");
            waiting.entry.handlers.fetch_sub(1, Ordering::SeqCst);
            assert!(closed.join().unwrap());
        });
        let stuck = shield();
        stuck.entry.handlers.fetch_add(1, Ordering::SeqCst);
        assert!(!stuck.close());
        assert!(!stuck.entry.covers(4096, Ordering::SeqCst), "no further handler goes there");
        // A handler that was at work in another thread of the parent is not in the child.
        entered_child();
        assert!(stuck.close());
    }
}
