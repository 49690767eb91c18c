//! Lets a process under test run from its first mark to its second, sees every system call on the way, and lets one of
//! them fail: ptrace(2), on the tracer of the harness.
//!
//! A call that shall fail is not made: its number is replaced on the way in, its answer on the way out. close(2) alone
//! is made all the same, since Linux frees the number whatever it answers. What fails, and how, is decided above.

use harness::trace::Stride;
use harness::{Child, Stop};
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A system call under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) number: i64,
    pub(crate) arguments: [u64; 6],
}

/// Which call shall fail, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Injection {
    /// The call, as it was seen when nothing failed.
    pub(crate) call: Call,
    /// Which of the calls of its sort it is, from 0.
    pub(crate) occurrence: u64,
    /// What is answered.
    pub(crate) errno: i32,
    /// Whether all later ones of the sort fail too.
    pub(crate) for_good: bool,
}

/// How far the process under test is, for its counterpart, which waits with its own part until the fault has happened.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    calls: AtomicU64,
    done: OnceLock<Instant>,
}

/// What was seen between the marks.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    pub(crate) calls: Vec<Call>,
    /// Whether the call that should fail came.
    pub(crate) hit: bool,
    /// How it ended, if not at its second mark.
    pub(crate) end: Option<Stop>,
}

/// After how many calls a wait has shown all that it does.
const ENOUGH: u64 = 16;

impl Progress {
    /// Whether the counterpart may do what the process under test waits for.
    pub(crate) fn is_over(&self) -> bool {
        self.done.get().is_some() || self.calls.load(Ordering::Acquire) >= ENOUGH
    }

    /// For how long that has been so.
    pub(crate) fn over_for(&self) -> Option<Duration> {
        self.done.get().map(Instant::elapsed)
    }

    /// Says that nothing more is to be waited for.
    pub(crate) fn finish(&self) {
        // The first time counts.
        let _ = self.done.set(Instant::now());
    }
}

/// The stop at a call, as `PTRACE_O_TRACESYSGOOD` tells it from a mark.
const AT_CALL: i32 = libc::SIGTRAP | 0x80;

/// Follows a process that stands at its first mark up to its second, and then lets it run free.
pub(crate) fn follow(child: &Child, injection: Option<&Injection>, progress: &Progress) -> io::Result<Followed> {
    let mut followed = Followed::default();
    let mut seen = 0;
    loop {
        match next(child)? {
            Stop::Signal(AT_CALL) => {}
            Stop::Signal(libc::SIGTRAP) => break,
            end => {
                followed.end = Some(end);
                return Ok(followed);
            }
        }
        let call = registers::call(child)?;
        followed.calls.push(call);
        progress.calls.fetch_add(1, Ordering::Release);
        let mut errno = None;
        if let Some(injection) = injection.filter(|injection| call.is_like(&injection.call)) {
            if seen == injection.occurrence || (injection.for_good && seen > injection.occurrence) {
                errno = Some(injection.errno);
                if !matches!(call.number, libc::SYS_close) {
                    registers::skip(child)?;
                }
            }
            seen += 1;
        }
        match next(child)? {
            Stop::Signal(AT_CALL) => {}
            end => {
                followed.end = Some(end);
                return Ok(followed);
            }
        }
        if let Some(errno) = errno {
            registers::answer(child, -i64::from(errno))?;
            followed.hit = true;
            if injection.is_some_and(|injection| !injection.for_good) {
                progress.finish();
            }
        }
    }
    progress.finish();
    child.detach()?;
    Ok(followed)
}

/// Lets a stopped process go on to its next stop that means something.
fn next(child: &Child) -> io::Result<Stop> {
    loop {
        child.go_on(Stride::Call)?;
        match child.wait()? {
            // A campaign may be stopped for a while, with all its processes.
            Stop::Signal(libc::SIGCONT | libc::SIGSTOP | libc::SIGTSTP) => {}
            stop => return Ok(stop),
        }
    }
}

/// The registers by which a call is made and answered.
mod registers {
    use super::{Call, Child, io};

    /// Gets the registers, lets `edit` change them, and sets them again.
    fn with(child: &Child, edit: impl FnOnce(&mut libc::user_regs_struct)) -> io::Result<()> {
        let mut registers = get(child)?;
        edit(&mut registers);
        // SAFETY: the child is stopped and ours; the kernel reads one user_regs_struct from the pointer.
        let answer = unsafe { libc::ptrace(libc::PTRACE_SETREGS, child.pid(), 0, &raw const registers) };
        if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn get(child: &Child) -> io::Result<libc::user_regs_struct> {
        let mut registers = std::mem::MaybeUninit::<libc::user_regs_struct>::zeroed();
        // SAFETY: the child is stopped and ours; the kernel writes one user_regs_struct to the pointer.
        let answer = unsafe { libc::ptrace(libc::PTRACE_GETREGS, child.pid(), 0, registers.as_mut_ptr()) };
        if answer < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: plain integers, zero or what the kernel wrote.
        Ok(unsafe { registers.assume_init() })
    }

    pub(super) fn call(child: &Child) -> io::Result<Call> {
        let r = get(child)?;
        Ok(Call { number: r.orig_rax as i64, arguments: [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9] })
    }

    /// No call has this number: the kernel answers ENOSYS and does nothing.
    pub(super) fn skip(child: &Child) -> io::Result<()> {
        with(child, |registers| registers.orig_rax = u64::MAX)
    }

    pub(super) fn answer(child: &Child, value: i64) -> io::Result<()> {
        with(child, |registers| registers.rax = value as u64)
    }
}
