//! The users of a play: ids that nobody else has, and becoming one of them for good.
//!
//! Only root can; whoever is not root plays all parts as itself, and attacks between users are skipped.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

/// The users of one play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cast {
    pub(crate) victim: u32,
    pub(crate) attacker: u32,
    pub(crate) third: u32,
}

/// Our effective user id.
pub(crate) fn ours() -> u32 {
    // SAFETY: geteuid has no preconditions.
    unsafe { libc::geteuid() }
}

/// Whether this process can become another user.
pub(crate) fn can_be_others() -> bool {
    ours() == 0
}

/// A user id that no other play of this run has.
pub(crate) fn fresh() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    0x2000_0000 + ((std::process::id() & 0x3fff) << 14) + (NEXT.fetch_add(1, Ordering::Relaxed) & 0x3fff)
}

/// Makes this process one of `uid`, with a group of the same number and no other.
pub(crate) fn become_user(uid: u32) -> io::Result<()> {
    if uid == ours() {
        return Ok(());
    }
    let done = |answer: libc::c_int| if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: a null list of no groups; the other calls take plain numbers.
    unsafe {
        done(libc::setgroups(0, std::ptr::null()))?;
        done(libc::setresgid(uid, uid, uid))?;
        done(libc::setresuid(uid, uid, uid))?;
        // A process that changed its user hides its /proc folder from its new self; one that was started by that user
        // would not.
        done(libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0))
    }
}
