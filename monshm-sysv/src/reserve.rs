//! Reserves a segment's memory at creation, so that a lack of it is an error then and never a kill later.
//!
//! System V has no `fallocate`. Populating the mapping takes the pages now, but where there are too few the kernel does
//! not answer: it wakes the OOM killer. So requests are compared with what the limits of control groups leave, and
//! large ones with what is free. That is an estimate, and two creators at the same time can both pass.

use std::cell::RefCell;
use std::fs;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use monshm_core::ErrorKind;
use monshm_core::groups::GroupLimits;
use rustix::io::Errno;

use crate::sys;

/// From this size on, in bytes, the system is asked first how much is free.
const ASK_FIRST: u64 = 64 << 20;

/// Refuses what is larger than the free memory of the system and of our control groups.
///
/// # Errors
/// `NoSpace`.
pub(crate) fn check_limits(asked: u64) -> Result<(), ErrorKind> {
    if let Some(free) = group_room(asked) {
        return Err(ErrorKind::NoSpace { asked, free, place: "the memory limit of the control group" });
    }
    if asked < ASK_FIRST {
        return Ok(());
    }
    match read("/proc/meminfo").and_then(|text| available(&text)) {
        Some(free) if free < asked => Err(ErrorKind::NoSpace { asked, free, place: "memory" }),
        _ => Ok(()),
    }
}

/// Has the kernel give all pages of a new mapping.
///
/// # Errors
/// `NoSpace`, `System`, with the errno value.
///
/// # Safety
/// `base..base + len` is a shared mapping of zeros that nobody else uses yet.
pub(crate) unsafe fn populate(base: NonNull<u8>, len: usize) -> Result<(), (ErrorKind, Errno)> {
    loop {
        // SAFETY: the caller's promise.
        let Err(errno) = (unsafe { sys::populate(base, len) }) else { return Ok(()) };
        let kind = match errno {
            Errno::INTR => continue,
            Errno::INVAL | Errno::NOSYS => {
                // A kernel before 5.14. SAFETY: the caller's promise.
                unsafe { touch(base, len) };
                return Ok(());
            }
            Errno::NOMEM | Errno::FAULT | Errno::AGAIN => {
                ErrorKind::NoSpace { asked: len as u64, free: 0, place: "memory" }
            }
            _ => ErrorKind::System { what: "madvise" },
        };
        return Err((kind, errno));
    }
}

/// Writes a zero into every page of memory that is zero.
///
/// # Safety
/// As for [`populate`].
unsafe fn touch(base: NonNull<u8>, len: usize) {
    for offset in (0..len).step_by(sys::page_size()) {
        // SAFETY: offset < len lies in the mapping of the caller's promise, which nobody else uses; a u8 is always
        // aligned. Volatile, since the compiler may leave out a plain write, and an atomic one that changes nothing.
        unsafe { base.as_ptr().add(offset).write_volatile(0) };
    }
}

/// `MemAvailable` of /proc/meminfo, in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kib.checked_mul(1024)
}

/// How long what was found about control groups is believed: their limits, and whose they are.
const BELIEVED: Duration = Duration::from_secs(1);

/// How many bytes our control groups have, if that is less than asked for. At every size: what passes a limit is no
/// error of the kernel's but a SIGKILL.
fn group_room(asked: u64) -> Option<u64> {
    thread_local! {
        static LIMITS: RefCell<Option<(Instant, GroupLimits)>> = const { RefCell::new(None) };
    }
    LIMITS
        .try_with(|limits| {
            let mut limits = limits.try_borrow_mut().ok()?;
            let now = Instant::now();
            if limits.as_ref().is_none_or(|(found, _)| now.duration_since(*found) > BELIEVED) {
                *limits = Some((now, GroupLimits::find(read)));
            }
            limits.as_ref()?.1.check(asked, read).err()
        })
        .ok()?
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_free_is_read_in_bytes() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:    1024 kB\n"), Some(1 << 20));
        assert_eq!(available("MemTotal: 9 kB\n"), None);
        assert_eq!(available("MemAvailable: many kB\n"), None);
    }

    #[test]
    fn small_requests_pass_and_impossible_ones_do_not() {
        assert_eq!(check_limits(4096), Ok(()));
        assert!(
            matches!(check_limits(1 << 50), Err(ErrorKind::NoSpace { asked, free, .. }) if asked == 1 << 50 && free > 0)
        );
    }
}
