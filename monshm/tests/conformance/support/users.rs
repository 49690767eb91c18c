//! Other users: ids that nobody has, and becoming one of them for good.
//!
//! Only a privileged process can; a test that cannot is skipped, aloud.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

/// Why a test that needs other users is skipped.
pub(crate) const NOT_ROOT: &str = "needs root, to run as other users";

/// Whether this process can become another user.
pub(crate) fn can_be_others() -> bool {
    // SAFETY: geteuid has no preconditions.
    unsafe { libc::geteuid() == 0 }
}

/// A user id that no other test has, as long as process ids do not come round within one test.
pub(crate) fn fresh_uid() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    assert!(next < 1 << 10);
    0x1000_0000 + ((std::process::id() & 0xf_ffff) << 10) + next
}

/// Makes this process one of `uid`, with a group of the same number and no other, for good and in all its threads.
pub(crate) fn become_user(uid: u32) {
    let done = |outcome: libc::c_int| assert_eq!(outcome, 0, "{}", io::Error::last_os_error());
    // SAFETY: a null list of no groups; the other calls take plain numbers.
    unsafe {
        done(libc::setgroups(0, std::ptr::null()));
        done(libc::setresgid(uid, uid, uid));
        done(libc::setresuid(uid, uid, uid));
        // A process that changed its user hides its /proc folder from its new self; one that was started by that user
        // would not.
        done(libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0));
    }
}
