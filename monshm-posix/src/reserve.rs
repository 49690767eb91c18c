//! Memory that is there when it is written: limits checked first, then every page reserved.
//!
//! Without it a full file system shows by SIGBUS at the first touch, a file size limit by SIGXFSZ, and a request
//! beyond the machine's memory by the out-of-memory killer: a memfd is reserved page by page, and the kernel refuses
//! none of them before it is out of them. Nothing is mapped here.

use std::os::fd::AsFd;

use monshm_core::error::{Error, ErrorKind, Operation, Result};
use rustix::io::Errno;

use crate::sys::{self, Answer};

/// From this many bytes on, the memory that is available is asked for before it is taken. Below, the question costs
/// more than it tells.
const ASK_FROM: u64 = 64 << 20;

/// What is left of a reservation after signals came in between is taken in pieces no smaller than this, in bytes.
const LEAST_PIECE: u64 = 64 << 10;

/// Looks at what would kill or starve somebody if it were tried: `RLIMIT_FSIZE`, and for large requests the memory.
///
/// # Errors
/// `LimitReached`, `NoSpace`.
pub(crate) fn check_limits(size: u64) -> Result<()> {
    if size > sys::file_size_limit() {
        let what = "the size of a file (RLIMIT_FSIZE)";
        return Err(Error::new(Operation::Create, ErrorKind::LimitReached { what }).on("posix"));
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
/// kernel counts as available, and swap; less where a control group allows less.
pub(crate) fn available_memory() -> Option<u64> {
    let text = sys::read_text("/proc/meminfo")?;
    let kib = |name: &str| field(&text, name)?.checked_mul(1024);
    let machine = kib("MemAvailable:")?.saturating_add(kib("SwapFree:").unwrap_or(0));
    let group = sys::read_text("/proc/self/cgroup").as_deref().and_then(group_path).and_then(group_room);
    Some(group.map_or(machine, |group| machine.min(group)))
}

/// The path of our control group (version 2) below its mount point.
fn group_path(text: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

/// What the tightest of our control group and its ancestors leaves; `None` when none sets a limit.
fn group_room(path: String) -> Option<u64> {
    std::path::Path::new(&path).ancestors().filter_map(room_in).min()
}

/// What one control group leaves.
fn room_in(group: &std::path::Path) -> Option<u64> {
    let read = |file: &str| sys::read_text(&format!("/sys/fs/cgroup{}/{file}", group.display()));
    let number = |file: &str| read(file)?.trim().parse::<u64>().ok();
    // "max" is no number and no limit.
    let (limit, used) = (number("memory.max")?, number("memory.current")?);
    // Files in the cache count as used, and are dropped when room is needed.
    let cached = read("memory.stat").and_then(|text| field(&text, "inactive_file ")).unwrap_or_default();
    Some(limit.saturating_sub(used.saturating_sub(cached)))
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
        let text = "MemTotal: 5 kB\nMemAvailable:     17 kB\ninactive_file 23\n";
        assert_eq!(field(text, "MemAvailable:"), Some(17));
        assert_eq!(field(text, "inactive_file "), Some(23));
        assert_eq!(field(text, "Available:"), None);
        assert_eq!(group_path("1:name=systemd:/a\n0::/b/c\n").as_deref(), Some("/b/c"));
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
