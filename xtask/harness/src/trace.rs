//! Stops a child at its marks, and lets it go on by one instruction or to the next system call: ptrace(2).
//!
//! The product has no hooks: the kernel stops it wherever it stands. A child is traced by the thread that started it.
//! On machines whose atomics are load-exclusive and store-exclusive pairs, single steps never get past one (each stop
//! clears the reservation); there the steps end at the limit that the caller sets.

use crate::child::Child;
use std::io;

/// Until where a stopped child goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stride {
    /// One instruction.
    Instruction,
    /// The next system call's beginning or end.
    Call,
}

/// Lets the parent stop us. Called by the child.
pub fn be_traced() {
    // SAFETY: takes no pointers.
    unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
}

/// Stops here, for the parent. Called by the child, which is traced.
#[inline(always)]
pub fn mark() {
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

impl Child {
    /// Sees to it that the child dies with us, and that its system calls differ from its marks. It is stopped.
    pub fn prepare(&self) -> io::Result<()> {
        let options = libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACESYSGOOD;
        // SAFETY: the child is stopped and ours; options is a number.
        answered(unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, self.pid(), 0, options) })
    }

    /// Lets a stopped child go on.
    pub fn go_on(&self, stride: Stride) -> io::Result<()> {
        let request = match stride {
            Stride::Instruction => libc::PTRACE_SINGLESTEP,
            Stride::Call => libc::PTRACE_SYSCALL,
        };
        // SAFETY: the child is stopped and ours; no signal is passed on.
        answered(unsafe { libc::ptrace(request, self.pid(), 0, 0) })
    }

    /// Lets a stopped child run free from here on.
    pub fn detach(&self) -> io::Result<()> {
        // SAFETY: the child is stopped and ours; no signal is passed on.
        answered(unsafe { libc::ptrace(libc::PTRACE_DETACH, self.pid(), 0, 0) })
    }
}

fn answered(answer: libc::c_long) -> io::Result<()> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::{Stop, fork};

    #[test]
    fn a_child_stops_at_its_marks_and_between_them_at_each_call() {
        let child = fork(|| {
            be_traced();
            mark();
            // SAFETY: no preconditions.
            unsafe { libc::syscall(libc::SYS_getppid) };
            mark();
            0
        })
        .unwrap();
        assert_eq!(child.wait().unwrap(), Stop::Signal(libc::SIGTRAP));
        child.prepare().unwrap();
        let stops = [(); 3].map(|()| {
            child.go_on(Stride::Call).unwrap();
            child.wait().unwrap()
        });
        let call = Stop::Signal(libc::SIGTRAP | 0x80);
        assert_eq!(stops, [call, call, Stop::Signal(libc::SIGTRAP)]);
        child.detach().unwrap();
        assert_eq!(child.wait_for_end().unwrap(), Stop::Exited(0));
    }
}
