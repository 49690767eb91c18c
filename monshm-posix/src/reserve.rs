//! Memory that is there when it is written: limits checked first, then every page reserved.
//!
//! Without it a full file system shows by SIGBUS at the first touch, a file size limit by SIGXFSZ, and a request
//! beyond the machine's memory by the out-of-memory killer: a memfd is reserved page by page, and the kernel refuses
//! none of them before it is out of them. Nothing is mapped here.

use std::cell::RefCell;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use monshm_core::error::{Error, ErrorKind, Operation, Result};
use monshm_core::groups::GroupLimits;
use rustix::io::Errno;

use crate::sys::{self, Answer};

/// From this many bytes on, the memory that is available is asked for before it is taken. Below, the question costs
/// more than it tells.
const ASK_FROM: u64 = 64 << 20;

/// What is left of a reservation after signals came in between is taken in pieces no smaller than this, in bytes.
const LEAST_PIECE: u64 = 64 << 10;

/// Looks at what would kill or starve somebody if it were tried: `RLIMIT_FSIZE`, the limits of control groups, and for
/// large requests the memory.
///
/// # Errors
/// `LimitReached`, `NoSpace`.
pub(crate) fn check_limits(size: u64) -> Result<()> {
    if size > sys::file_size_limit() {
        let what = "the size of a file (RLIMIT_FSIZE)";
        return Err(Error::new(Operation::Create, ErrorKind::LimitReached { what }).on("posix"));
    }
    if let Some(free) = group_room(size) {
        return Err(no_space(size, free, "the memory limit of the control group"));
    }
    if size >= ASK_FROM {
        let free = available_memory();
        if size > free.unwrap_or(u64::MAX) {
            return Err(no_space(size, free.unwrap_or(0), "memory"));
        }
    }
    Ok(())
}

/// Reserves all bytes of a new file, which gives it its size.
///
/// # Errors
/// `NoSpace` with what `free` answers in `place`; `Unsupported` where the file system cannot; `System`.
pub(crate) fn reserve(
    file: impl AsFd,
    size: u64,
    place: &'static str,
    free: impl FnOnce() -> Option<u64>,
) -> Result<()> {
    let file = file.as_fd();
    match in_pieces(size, |offset, len| sys::fallocate(file, offset, len)) {
        Ok(()) => Ok(()),
        Err(errno @ (Errno::NOSPC | Errno::NOMEM | Errno::DQUOT)) => {
            Err(no_space(size, free().unwrap_or(0), place).with_os_error(errno.raw_os_error()))
        }
        Err(errno @ (Errno::OPNOTSUPP | Errno::NOSYS)) => {
            let kind = ErrorKind::Unsupported { what: "fallocate on shared memory" };
            Err(Error::new(Operation::Create, kind).on("posix").with_os_error(errno.raw_os_error()))
        }
        Err(errno) => Err(sys::fault(Operation::Create, "fallocate", errno)),
    }
}

/// Takes `size` bytes whole, and in smaller and smaller pieces once signals come in between: older kernels undo a
/// reservation that any signal interrupts (newer ones look for deadly signals only), so that one which lasts longer
/// than the time between two signals would never come to its end.
fn in_pieces(size: u64, mut take: impl FnMut(u64, u64) -> Answer<()>) -> Answer<()> {
    let (mut offset, mut piece) = (0, size);
    while offset < size {
        piece = piece.min(size - offset);
        match take(offset, piece) {
            Ok(()) => offset += piece,
            Err(Errno::INTR) => piece = (piece / 2).max(LEAST_PIECE),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Bytes that shared memory could take now without anything being killed, as far as the system tells: what the
/// kernel counts as available, and swap.
pub(crate) fn available_memory() -> Option<u64> {
    let text = sys::read_text("/proc/meminfo")?;
    let kib = |name: &str| field(&text, name)?.checked_mul(1024);
    Some(kib("MemAvailable:")?.saturating_add(kib("SwapFree:").unwrap_or(0)))
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
                *limits = Some((now, GroupLimits::find(sys::read_text)));
            }
            limits.as_ref()?.1.check(asked, sys::read_text).err()
        })
        .ok()?
}

/// The number behind `name` at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn no_space(asked: u64, free: u64, place: &'static str) -> Error {
    Error::new(Operation::Create, ErrorKind::NoSpace { asked, free, place }).on("posix")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_at_the_start_of_a_line() {
        let text = "MemTotal: 5 kB\nMemAvailable:     17 kB\n";
        assert_eq!(field(text, "MemAvailable:"), Some(17));
        assert_eq!(field(text, "Available:"), None);
    }

    #[test]
    fn a_reservation_that_signals_interrupt_comes_to_its_end() {
        // A kernel that gets through no more than 1 MiB between two signals.
        for size in [4096, 1 << 20, (7 << 20) + 4096, 1 << 30] {
            let (mut end, mut calls) = (0, 0);
            let answer = in_pieces(size, |offset, len| {
                calls += 1;
                assert!(calls < 10_000 && offset == end && len > 0, "{offset} {len}");
                if len > 1 << 20 {
                    return Err(Errno::INTR);
                }
                end += len;
                Ok(())
            });
            assert_eq!((answer, end), (Ok(()), size));
        }
        assert_eq!(in_pieces(1, |_, _| Err(Errno::NOSPC)), Err(Errno::NOSPC));
    }

    #[test]
    fn more_than_the_machine_has_is_refused_before_it_is_tried() {
        let error = check_limits(1 << 50).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NoSpace { free, .. } if free > 0), "{error}");
        assert!(check_limits(64 << 10).is_ok());
    }
}
