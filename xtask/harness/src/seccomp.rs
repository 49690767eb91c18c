//! Lets system calls fail, for this process and what it starts, for good: seccomp(2).
//!
//! One call at one moment is ptrace(2)'s business, see `xtask/faults`.

use std::io;

/// Waits and wakes of futex(2): 32-bit systems have a second call for them, whose time is wider.
#[cfg(target_pointer_width = "64")]
pub const FUTEX: &[libc::c_long] = &[libc::SYS_futex];
/// Waits and wakes of futex(2), by both of its numbers.
#[cfg(target_pointer_width = "32")]
pub const FUTEX: &[libc::c_long] = &[libc::SYS_futex, FUTEX_TIME64];
/// `futex_time64`, the same number on every 32-bit system; libc does not name it for all of them.
#[cfg(target_pointer_width = "32")]
const FUTEX_TIME64: libc::c_long = 422;

/// Has each of `calls` answer `errno`; with 0 it kills the process instead, as SIGKILL would. With `third`, only calls
/// with this third argument. Filters add up.
pub fn refuse(calls: &[libc::c_long], third: Option<u32>, errno: i32) -> io::Result<()> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    // Where the number of the call and the low half of its third argument stand in what the filter sees.
    const NUMBER: u32 = 0;
    const THIRD: u32 = 32;
    let op = |code, unless, k| libc::sock_filter { code, jt: 0, jf: unless, k };
    let answer = match errno {
        0 => libc::SECCOMP_RET_KILL_PROCESS,
        errno => libc::SECCOMP_RET_ERRNO | errno as u32,
    };
    let mut program = Vec::new();
    for call in calls {
        program.push(op(LOAD, 0, NUMBER));
        match third {
            None => program.push(op(EQUAL, 1, *call as u32)),
            Some(third) => program.extend([op(EQUAL, 3, *call as u32), op(LOAD, 0, THIRD), op(EQUAL, 1, third)]),
        }
        program.push(op(RETURN, 0, answer));
    }
    program.push(op(RETURN, 0, libc::SECCOMP_RET_ALLOW));
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the first call takes plain numbers; in the second the kernel reads the program and its instructions,
    // which live through it.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use crate::{Stop, child::fork};

    #[test]
    fn a_call_is_refused_by_its_number_and_its_third_argument() {
        let child = fork(|| {
            super::refuse(&[libc::SYS_getppid], None, libc::EXDEV).unwrap();
            super::refuse(&[libc::SYS_lseek], Some(7), libc::EMLINK).unwrap();
            // SAFETY: plain numbers; there is no descriptor -1.
            let answers = unsafe { [libc::syscall(libc::SYS_getppid), libc::syscall(libc::SYS_lseek, -1, 0, 0)] };
            let seek = std::io::Error::last_os_error().raw_os_error();
            // SAFETY: as above.
            unsafe { libc::syscall(libc::SYS_lseek, -1, 0, 7) };
            let refused = std::io::Error::last_os_error().raw_os_error();
            i32::from((answers, seek, refused) != ([-1; 2], Some(libc::EBADF), Some(libc::EMLINK)))
        });
        assert_eq!(child.unwrap().wait_for_end().unwrap(), Stop::Exited(0));
        let child = fork(|| {
            super::refuse(&[libc::SYS_getppid], None, 0).map_or(1, |()| {
                // SAFETY: takes nothing.
                unsafe { libc::syscall(libc::SYS_getppid) as i32 }
            })
        });
        assert_eq!(child.unwrap().wait_for_end().unwrap(), Stop::Killed(libc::SIGSYS));
    }
}
