//! Makes limits for the process that calls: mounts, limits, kernel parameters, and calls that a filter refuses.
//!
//! To be called with one thread. What is done here cannot be undone; the process is used for one case.

use harness::users;
use std::ffi::CString;
use std::fs;
use std::io::{self, Write};

fn done(answer: libc::c_int) -> io::Result<()> {
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A view of the mounts that nobody else has.
fn own_mounts() -> io::Result<()> {
    // SAFETY: takes no pointers.
    done(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: a terminated literal; null is allowed where the call needs no value.
    done(unsafe { libc::mount(std::ptr::null(), c"/".as_ptr(), std::ptr::null(), private, std::ptr::null()) })
}

fn tmpfs(place: &str, options: &str) -> io::Result<()> {
    let flags = if options == "ro" { libc::MS_RDONLY } else { 0 };
    let options = if options == "ro" { "" } else { options };
    let (place, options) = (CString::new(place)?, CString::new(format!("mode=1777,{options}"))?);
    let kind = c"tmpfs".as_ptr();
    // SAFETY: terminated strings that live through the call.
    done(unsafe { libc::mount(kind, place.as_ptr(), kind, flags, options.as_ptr().cast()) })
}

/// Another `/dev/shm`.
pub(crate) fn shm(options: &str) -> io::Result<()> {
    own_mounts()?;
    tmpfs("/dev/shm", options)
}

/// A `/dev/shm` that is full.
pub(crate) fn full_shm() -> io::Result<()> {
    shm("size=1m")?;
    let mut file = fs::File::create("/dev/shm/full")?;
    let page = [1; 4096];
    while file.write_all(&page).is_ok() {}
    Ok(())
}

/// No `/dev/shm`, and nothing else in `/dev`.
pub(crate) fn no_shm() -> io::Result<()> {
    own_mounts()?;
    tmpfs("/dev", "size=1m")
}

/// No `/proc`.
pub(crate) fn no_proc() -> io::Result<()> {
    own_mounts()?;
    let mut unmounted = Err(io::ErrorKind::NotFound.into());
    // One may be mounted over another.
    // SAFETY: a terminated literal.
    while unsafe { libc::umount2(c"/proc".as_ptr(), libc::MNT_DETACH) } == 0 {
        unmounted = Ok(());
    }
    unmounted
}

/// A limit of this process on a `RLIMIT_…`.
pub(crate) fn limit(resource: libc::__rlimit_resource_t, to: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: to, rlim_max: to };
    // SAFETY: the kernel reads one rlimit from the pointer.
    done(unsafe { libc::setrlimit(resource, &raw const limit) })
}

/// Room for so many file descriptors more: lower numbers that are free are taken first.
pub(crate) fn room_for_files(count: u64) -> io::Result<()> {
    // SAFETY: a terminated literal. The descriptor stays open for good: it fills a number.
    let open = || unsafe { libc::open(c"/proc/self".as_ptr(), libc::O_PATH | libc::O_CLOEXEC) };
    let (mut highest, first) = (0, open());
    if first < 0 {
        return Err(io::Error::last_os_error());
    }
    for entry in fs::read_dir("/proc/self/fd")?.flatten() {
        highest = highest.max(entry.file_name().to_string_lossy().parse().unwrap_or(0));
    }
    let mut last = first;
    while last < highest {
        last = open();
    }
    limit(libc::RLIMIT_NOFILE, last as u64 + 1 + count)
}

/// Room for so many bytes of address space more.
pub(crate) fn room_for_maps(bytes: u64) -> io::Result<()> {
    let text = fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
    limit(libc::RLIMIT_AS, pages * 4096 + bytes)
}

/// A parameter of System V, in tables of our own.
pub(crate) fn ipc(name: &str, value: &str) -> io::Result<()> {
    users::isolate_ipc()?;
    fs::write(format!("/proc/sys/kernel/{name}"), value)
}

/// Has a filter answer `errno` to all `calls`, for this process and what it starts, for good: seccomp(2).
pub(crate) fn refuse(calls: &[i64], errno: i32) -> io::Result<()> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let op = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    // The number of the call stands first in what the filter sees.
    let mut program = vec![op(LOAD, 0, 0, 0)];
    for call in calls {
        program.push(op(EQUAL, 0, 1, *call as u32));
        program.push(op(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32));
    }
    program.push(op(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: takes numbers only.
    done(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    // SAFETY: the kernel reads the program and its instructions, which live through the call.
    done(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, std::ptr::from_ref(&program)) })
}
