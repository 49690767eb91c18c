//! Which processes have which objects mapped, from /proc/PID/maps, in bounded time.
//!
//! To read the mappings of a process, the kernel waits for it to change them, and a hostile one changes them for as
//! long as it likes. So a thread of our own reads, and one that does not come back is left behind, with a limit. Whose
//! object a mapping shows is each backend's to say. This is for people: nothing is judged by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::sys;

/// How long one process may keep its reader waiting, and all of them together.
const ONE: Duration = Duration::from_millis(500);
const ALL: Duration = Duration::from_secs(10);

/// How many readers are left behind at most.
const LEFT_BEHIND: usize = 8;

/// One mapping of a process.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mapped {
    /// The path as the kernel shows it.
    pub(super) path: String,
    pub(super) inode: u64,
    /// In bytes.
    pub(super) size: u64,
}

/// The mappings of one process, and its owner.
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) owner_uid: u32,
    pub(super) mapped: Vec<Mapped>,
}

/// The mapped files of every process that this one may look at; and how many did not answer in time.
pub(super) fn of_all_processes() -> (Vec<Process>, usize) {
    let pids = sys::process_ids();
    read_each(pids, ONE, ALL, |pid| {
        let maps = sys::read_text(&format!("/proc/{pid}/maps"))?;
        let mapped = maps.lines().filter_map(mapping).collect();
        Some(Process { pid, owner_uid: sys::owner_of(&format!("/proc/{pid}")).unwrap_or(0), mapped })
    })
}

/// Calls `read` for each key on other threads. Answers what it answered, and for how many keys it did not in time.
fn read_each<T: Send + 'static>(
    keys: Vec<u32>,
    one: Duration,
    all: Duration,
    read: fn(u32) -> Option<T>,
) -> (Vec<T>, usize) {
    let (until, len) = (Instant::now() + all, keys.len());
    let (keys, next) = (Arc::new(keys), Arc::new(AtomicUsize::new(0)));
    let (sender, answers) = channel();
    let start = |sender: Sender<Option<T>>| {
        let (keys, next) = (Arc::clone(&keys), Arc::clone(&next));
        let work = move || {
            // Relaxed: it only hands each index out once.
            while let Some(key) = keys.get(next.fetch_add(1, Ordering::Relaxed)) {
                if sender.send(read(*key)).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("monshm-list".into()).spawn(work).is_ok()
    };
    let (mut found, mut answered, mut left_behind) = (Vec::new(), 0, 0);
    let mut running = start(sender.clone());
    while running && answered < len {
        match answers.recv_timeout(one.min(until.saturating_duration_since(Instant::now()))) {
            Ok(answer) => {
                answered += 1;
                found.extend(answer);
            }
            Err(RecvTimeoutError::Timeout) => {
                left_behind += 1;
                let is_over = left_behind > LEFT_BEHIND || Instant::now() >= until;
                running = !is_over && next.load(Ordering::Relaxed) < len && start(sender.clone());
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    // Whoever is still at it ends with the next answer.
    next.store(len, Ordering::Relaxed);
    (found, len - answered)
}

/// One line, if it shows a file.
fn mapping(line: &str) -> Option<Mapped> {
    // address perms offset device inode path
    let path = line.get(line.find('/')?..)?.to_owned();
    let mut words = line.split_whitespace();
    let (begin, end) = words.next()?.split_once('-')?;
    let address = |text| u64::from_str_radix(text, 16).ok();
    let size = address(end)?.checked_sub(address(begin)?)?;
    Some(Mapped { path, inode: words.nth(3)?.parse().ok()?, size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_file_and_its_bytes() {
        let found = mapping("7f0000000000-7f0000010000 rw-s 00000000 00:01 4242    /memfd:monshm (deleted)");
        let path = "/memfd:monshm (deleted)".to_owned();
        assert_eq!(found, Some(Mapped { path, inode: 4242, size: 0x10000 }));
        assert_eq!(mapping("7f0000000000-7f0000010000 rw-p 00000000 00:00 0    [heap]"), None);
        assert_eq!(mapping("nonsense /memfd:monshm (deleted)"), None);
    }

    #[test]
    fn processes_that_do_not_answer_cost_bounded_time() {
        fn read(key: u32) -> Option<u32> {
            if key % 10 == 3 {
                thread::sleep(Duration::from_secs(5));
            }
            Some(key)
        }
        let begin = Instant::now();
        let (one, all) = (Duration::from_millis(50), Duration::from_secs(2));
        let (found, unanswered) = read_each((0..40).collect(), one, all, read);
        assert_eq!((found.len(), unanswered), (36, 4));
        let (found, unanswered) = read_each((0..1000).collect(), one, all, read);
        assert!(unanswered > 8 && found.len() < 100, "{unanswered}");
        assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    }
}
