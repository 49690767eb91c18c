//! Stops a victim at its mark, and lets it go on by one instruction or to the next system call: ptrace(2).
//!
//! The product has no hooks: the kernel stops it wherever it stands. A victim is traced by the thread that started it.
//! On machines whose atomics are load-exclusive and store-exclusive pairs, single steps never get past one (each stop
//! clears the reservation); there the steps end at the limit that the caller sets.

use std::io;

/// A victim, by its process id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pid(pub(crate) libc::pid_t);

/// How a wait for a victim ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// By a signal of this number, SIGTRAP for steps and marks.
    Signal(i32),
    /// It exited with this code.
    Exited(i32),
    /// A signal of this number ended it.
    Killed(i32),
}

/// Until where a stopped victim goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "the campaigns here make whole calls only")]
pub(crate) enum Stride {
    /// One instruction.
    Instruction,
    /// The next system call's beginning or end.
    Call,
}

/// Lets the parent stop us. Called by the victim.
pub(crate) fn be_traced() {
    // SAFETY: takes no pointers.
    unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
}

/// Stops here, for the parent. Called by the victim, which is traced.
#[inline(always)]
pub(crate) fn mark() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a breakpoint; the tracer takes the signal, and the next instruction follows.
    unsafe {
        std::arch::asm!("int3");
    };
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: takes no pointers; the tracer takes the signal.
    unsafe {
        libc::raise(libc::SIGTRAP)
    };
}

impl Pid {
    /// Waits for the next stop or the end.
    pub(crate) fn wait(self) -> io::Result<Stop> {
        let mut status = 0;
        loop {
            // SAFETY: status is valid for the write.
            if unsafe { libc::waitpid(self.0, &raw mut status, 0) } >= 0 {
                break;
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        Ok(if libc::WIFSTOPPED(status) {
            Stop::Signal(libc::WSTOPSIG(status))
        } else if libc::WIFSIGNALED(status) {
            Stop::Killed(libc::WTERMSIG(status))
        } else {
            Stop::Exited(libc::WEXITSTATUS(status))
        })
    }

    /// Sees to it that the victim dies with us, and that its system calls are told from its marks. It is stopped.
    pub(crate) fn prepare(self) -> io::Result<()> {
        let options = libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACESYSGOOD;
        // SAFETY: the victim is stopped and ours; options is a number.
        answered(unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, self.0, 0, options) })
    }

    /// Lets a stopped victim go on.
    pub(crate) fn go_on(self, stride: Stride) -> io::Result<()> {
        let request = match stride {
            Stride::Instruction => libc::PTRACE_SINGLESTEP,
            Stride::Call => libc::PTRACE_SYSCALL,
        };
        // SAFETY: the victim is stopped and ours; no signal is passed on.
        answered(unsafe { libc::ptrace(request, self.0, 0, 0) })
    }

    /// Lets a stopped victim run free from here on.
    pub(crate) fn let_go(self) -> io::Result<()> {
        // SAFETY: the victim is stopped and ours; no signal is passed on.
        answered(unsafe { libc::ptrace(libc::PTRACE_DETACH, self.0, 0, 0) })
    }

    /// Ends it.
    pub(crate) fn kill(self) {
        // SAFETY: takes no pointers; the process is our child and was not waited for yet, so that the number is its.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
    }
}

fn answered(answer: libc::c_long) -> io::Result<()> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
