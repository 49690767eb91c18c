//! Makes limits for the process that calls: mounts, limits, kernel parameters, and calls that a filter refuses.
//!
//! To be called with one thread. What is done here cannot be undone; the process is used for one case.

use harness::users;
use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::ffi::CString;
use std::fs;
use std::io::{self, Write};
use std::os::fd::IntoRawFd;

/// Another `/dev/shm`.
pub(crate) fn shm(options: &str) -> io::Result<()> {
    tmpfs("/dev/shm", options)
}

fn tmpfs(path: &str, options: &str) -> io::Result<()> {
    users::isolate_mounts()?;
    let (flags, options) = if options == "ro" { (MountFlags::RDONLY, "") } else { (MountFlags::empty(), options) };
    let options = CString::new(format!("mode=1777,{options}"))?;
    Ok(mount("tmpfs", path, "tmpfs", flags, options.as_c_str())?)
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
    tmpfs("/dev", "size=1m")
}

/// No `/proc`.
pub(crate) fn no_proc() -> io::Result<()> {
    users::isolate_mounts()?;
    unmount("/proc", UnmountFlags::DETACH)?;
    // One may be mounted over another.
    while unmount("/proc", UnmountFlags::DETACH).is_ok() {}
    Ok(())
}

/// A limit of this process.
pub(crate) fn limit(resource: Resource, to: u64) -> io::Result<()> {
    Ok(setrlimit(resource, Rlimit { current: Some(to), maximum: Some(to) })?)
}

/// Room for so many file descriptors more: lower numbers that are free are taken first.
pub(crate) fn room_for_files(count: u64) -> io::Result<()> {
    // Each stays open for good: it fills a number.
    let open = || open("/proc/self", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map(IntoRawFd::into_raw_fd);
    let mut last = open()?;
    let numbers = fs::read_dir("/proc/self/fd")?.flatten();
    let highest = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).max().unwrap_or(0);
    while last < highest {
        last = open()?;
    }
    limit(Resource::Nofile, last as u64 + 1 + count)
}

/// Room for so many bytes of address space more.
pub(crate) fn room_for_maps(bytes: u64) -> io::Result<()> {
    let text = fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
    limit(Resource::As, pages * 4096 + bytes)
}

/// A parameter of System V, in tables of our own.
pub(crate) fn ipc(name: &str, value: &str) -> io::Result<()> {
    users::isolate_ipc()?;
    fs::write(format!("/proc/sys/kernel/{name}"), value)
}

/// Has a filter answer `errno` to all `calls`, for this process and what it starts, for good.
pub(crate) fn refuse(calls: &[i64], errno: i32) -> io::Result<()> {
    harness::seccomp::refuse(calls, None, errno)
}
