//! Other users: ids that nobody has, becoming one of them for good; and namespaces of one's own.
//!
//! Only a privileged process can do any of it; a caller that cannot skips, aloud.

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use std::ffi::CStr;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

/// Why a test that needs other users is skipped.
pub const NOT_ROOT: &str = "needs root, to run as other users";

/// Our effective user id.
pub fn own() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whether this process can become another user.
pub fn can_change() -> bool {
    own() == 0
}

/// A user id that nobody else has, as long as process ids do not come round within one test.
pub fn fresh() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const PER_PROCESS_BITS: u32 = 14;
    const MASK: u32 = (1 << PER_PROCESS_BITS) - 1;
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    0x1000_0000 + ((std::process::id() & MASK) << PER_PROCESS_BITS) + (next & MASK)
}

/// Makes this process one of `uid`, with a group of the same number and no other, for good and in all its threads.
pub fn become_user(uid: u32) -> io::Result<()> {
    if uid == own() {
        return Ok(());
    }
    // SAFETY: a null list of no groups; the other calls take plain numbers.
    unsafe {
        done(libc::setgroups(0, std::ptr::null()))?;
        done(libc::setresgid(uid, uid, uid))?;
        done(libc::setresuid(uid, uid, uid))?;
        // The kernel hides the /proc folder of a process that changed its user from the new user; that of a process
        // which this user had started would be open.
        done(libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0))
    }
}

/// Gives this thread, and the processes that it starts, System V tables of their own.
pub fn isolate_ipc() -> io::Result<()> {
    // SAFETY: takes no pointer; a caller that has System V memory attached keeps it.
    done(unsafe { libc::unshare(libc::CLONE_NEWIPC) })
}

/// Gives this thread, and the processes that it starts, a mount table of their own.
pub fn isolate_mounts() -> io::Result<()> {
    // SAFETY: takes no pointer; no open directory of this process depends on the old mount table.
    done(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    Ok(mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?)
}

/// Mounts a file system of this kind over `/dev/shm`, for a mount table of one's own.
pub fn mount_shm(kind: &str, options: &CStr) -> io::Result<()> {
    Ok(mount(kind, "/dev/shm", kind, MountFlags::NOSUID | MountFlags::NODEV, options)?)
}

/// Mounts over `/proc`, for a mount table of one's own: `proc` shows the processes of one's own PID namespace, `tmpfs`
/// nothing, as in a chroot without it.
pub fn mount_proc(kind: &str) -> io::Result<()> {
    Ok(mount(kind, "/proc", kind, MountFlags::NOSUID | MountFlags::NODEV, None)?)
}

/// Gives this process a `/dev/shm` and System V tables of its own. To be called with one thread.
pub fn isolate() -> io::Result<()> {
    isolate_ipc()?;
    isolate_mounts()?;
    mount_shm("tmpfs", c"mode=1777")
}

fn done(answer: libc::c_int) -> io::Result<()> {
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use crate::child::fork;
    use crate::{Stop, users};

    #[test]
    fn a_fresh_user_is_new_each_time() {
        assert_ne!(users::fresh(), users::fresh());
    }

    #[test]
    fn a_child_becomes_another_user_for_good() {
        crate::needs_other_users!();
        let uid = users::fresh();
        let child = fork(|| {
            let became = users::become_user(uid).is_ok() && users::own() == uid;
            i32::from(!became || users::become_user(0).is_ok())
        });
        assert_eq!(child.unwrap().wait_for_end().unwrap(), Stop::Exited(0));
    }
}
