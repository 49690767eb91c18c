//! Processes that run beside each other, each pinned to its core, watched: one that fails ends all, nothing outlasts a
//! deadline, and an interrupt ends them before it ends the benchmark.
//!
//! It does not know what the sides do. Results come back over a page that all share.

use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Failure;
use crate::machine::{self, Pages};

/// How long a pair may take. A measurement takes a tenth of a second.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Bytes of a text that a side leaves.
const TEXT_LEN: usize = 1000;

/// What `complaint` on the board says.
const BEING_WRITTEN: u32 = 1;
const SKIPPED: u32 = 2;
const FAILED: u32 = 3;

/// A side's work.
pub(crate) type Work<'a> = &'a (dyn Fn(&Board) -> Result<(), Failure> + Sync);

/// The page between the sides and the one who watches them.
#[repr(C)]
#[derive(Debug)]
struct Shared {
    /// How often a side came to a meeting.
    arrivals: AtomicU32,
    /// 0, or the kind of the first failure that a side left.
    complaint: AtomicU32,
    /// Bytes of its text.
    text_len: AtomicU32,
    padding: u32,
    result: AtomicU64,
    text: [AtomicU64; TEXT_LEN / 8],
}

/// What both sides see: where they meet, and where they leave what they found.
#[derive(Debug)]
pub(crate) struct Board {
    pages: Pages,
    samples: usize,
}

// SAFETY: the pages are reached through atomics only, and unmapped when no borrow is left.
unsafe impl Sync for Board {}

impl Board {
    fn new(samples: usize) -> Self {
        Self { pages: Pages::new(size_of::<Shared>() + samples * size_of::<AtomicU64>()), samples }
    }

    fn shared(&self) -> &Shared {
        // SAFETY: the pages hold a `Shared` at their start, aligned to a page, zero at first: atomics only.
        unsafe { self.pages.base.cast().as_ref() }
    }

    /// A place for each sample, 0 at first.
    pub(crate) fn samples(&self) -> &[AtomicU64] {
        // SAFETY: so many words lie behind the `Shared`, whose size is a multiple of 8; atomics, zero at first.
        unsafe {
            let first = self.pages.base.add(size_of::<Shared>()).cast::<AtomicU64>();
            std::slice::from_raw_parts(first.as_ptr(), self.samples)
        }
    }

    /// Leaves a result.
    pub(crate) fn leave(&self, result: u64) {
        self.shared().result.store(result, Ordering::Release);
    }

    fn result(&self) -> u64 {
        self.shared().result.load(Ordering::Acquire)
    }

    /// Waits until both sides have come here as often as this one; `turn` counts from 1.
    pub(crate) fn meet(&self, turn: u32) {
        // AcqRel and Acquire: what either did before the meeting is seen by the other after it.
        self.shared().arrivals.fetch_add(1, Ordering::AcqRel);
        while self.shared().arrivals.load(Ordering::Acquire) < 2 * turn {
            std::thread::yield_now();
        }
    }

    /// Leaves why there is no result, unless the other side did so before.
    fn complain(&self, failure: &Failure) {
        let shared = self.shared();
        let (text, kind) = match failure {
            Failure::Skipped(text) => (text, SKIPPED),
            Failure::Failed(text) => (text, FAILED),
        };
        let bytes = &text.as_bytes()[..text.len().min(TEXT_LEN)];
        if shared.complaint.compare_exchange(0, BEING_WRITTEN, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        for (word, chunk) in shared.text.iter().zip(bytes.chunks(8)) {
            let mut value = [0; 8];
            value[..chunk.len()].copy_from_slice(chunk);
            word.store(u64::from_ne_bytes(value), Ordering::Relaxed);
        }
        shared.text_len.store(bytes.len() as u32, Ordering::Relaxed);
        // Release: pairs with the Acquire in `complaint`.
        shared.complaint.store(kind, Ordering::Release);
    }

    fn complaint(&self) -> Option<Failure> {
        let shared = self.shared();
        let failure = match shared.complaint.load(Ordering::Acquire) {
            SKIPPED => Failure::Skipped,
            FAILED => Failure::Failed,
            _ => return None,
        };
        let words = shared.text.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes());
        let bytes: Vec<u8> = words.take(shared.text_len.load(Ordering::Relaxed) as usize).collect();
        Some(failure(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// Runs a process for each work, pinned to its core, and gives the result that one left, and the samples.
///
/// Once the processes are over, whatever way, `sweep` removes what they may have left.
///
/// # Errors
/// What the first side that failed said; or that a side died, or that the deadline passed.
pub(crate) fn run(
    samples: usize,
    deadline: Duration,
    processes: &[(usize, Work<'_>)],
    sweep: fn(),
) -> Result<(u64, Vec<u64>), Failure> {
    let board = Board::new(samples);
    let watch = Watch::begin();
    let children = processes.iter().map(|(core, work)| child(&watch, &board, || side(&board, *core, *work)));
    let outcome = watch.wait(children.collect(), deadline);
    sweep();
    match outcome {
        Outcome::Done => {
            Ok((board.result(), board.samples().iter().map(|sample| sample.load(Ordering::Acquire)).collect()))
        }
        Outcome::Failed(how) => Err(board.complaint().unwrap_or(Failure::Failed(how))),
        Outcome::Interrupted(signal) => {
            drop(board);
            watch.die_of(signal)
        }
    }
}

/// Pins the calling thread and works; a failure ends the process, and with it any other thread, at once.
pub(crate) fn side(board: &Board, core: usize, work: impl FnOnce(&Board) -> Result<(), Failure>) {
    let worked = catch_unwind(AssertUnwindSafe(|| {
        machine::pin(core);
        work(board)
    }));
    let failure = match worked {
        Ok(Ok(())) => return,
        Ok(Err(failure)) => failure,
        Err(panic) => Failure::Failed(match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
            (Some(text), _) => text.clone(),
            (None, Some(text)) => (*text).to_owned(),
            (None, None) => "a panic without a text".to_owned(),
        }),
    };
    board.complain(&failure);
    // SAFETY: ends the process at once; no destructor has to run in it.
    unsafe { libc::_exit(1) };
}

/// Forks; the child does its work and exits with 0.
fn child(watch: &Watch, board: &Board, work: impl FnOnce()) -> libc::pid_t {
    // SAFETY: the benchmark has one thread here, so that the child inherits no lock that a lost thread holds.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "no second process");
    if pid != 0 {
        return pid;
    }
    // SAFETY: plain system calls about the child itself.
    unsafe {
        // A benchmark that is killed takes its children with it.
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
    }
    watch.restore();
    // The text of a panic goes onto the board, and nowhere else.
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        // SAFETY: two descriptors of our own.
        unsafe { libc::dup2(null.as_raw_fd(), libc::STDERR_FILENO) };
    }
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        board.complain(&Failure::Failed("a panic outside of the work".into()));
        // SAFETY: as below.
        unsafe { libc::_exit(1) };
    }
    // SAFETY: ends the child without running the parent's exit handlers.
    unsafe { libc::_exit(0) };
}

enum Outcome {
    Done,
    Failed(String),
    Interrupted(libc::c_int),
}

/// Signals that this process takes by asking, as long as the value lives: of its children, and to end.
struct Watch {
    before: libc::sigset_t,
    taken: libc::sigset_t,
}

impl Watch {
    fn begin() -> Self {
        let mut taken = MaybeUninit::uninit();
        let mut before = MaybeUninit::uninit();
        // SAFETY: sets and actions are initialised by the calls that are given them.
        unsafe {
            libc::sigemptyset(taken.as_mut_ptr());
            for signal in [libc::SIGCHLD, libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
                // What is ignored, as under nohup(1), stays so.
                let mut action = MaybeUninit::<libc::sigaction>::uninit();
                libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr());
                if action.assume_init().sa_sigaction != libc::SIG_IGN {
                    libc::sigaddset(taken.as_mut_ptr(), signal);
                }
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, taken.as_ptr(), before.as_mut_ptr());
            Self { before: before.assume_init(), taken: taken.assume_init() }
        }
    }

    fn restore(&self) {
        // SAFETY: an initialised set; the old one is not asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, std::ptr::null_mut()) };
    }

    /// Waits for all children; kills the others once one failed, at the deadline, and when this process is to end.
    fn wait(&self, mut children: Vec<libc::pid_t>, deadline: Duration) -> Outcome {
        let end = Instant::now() + deadline;
        let mut outcome = Outcome::Done;
        while !children.is_empty() {
            children.retain(|&pid| match reaped(pid) {
                None => true,
                Some(Ok(())) => false,
                Some(Err(how)) => {
                    if matches!(outcome, Outcome::Done) {
                        outcome = Outcome::Failed(how);
                    }
                    false
                }
            });
            if children.is_empty() {
                break;
            }
            if !matches!(outcome, Outcome::Done) {
                kill(&children);
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.next_signal(left.min(Duration::from_millis(200))) {
                Some(signal) if signal != libc::SIGCHLD => {
                    outcome = Outcome::Interrupted(signal);
                    kill(&children);
                }
                _ if left.is_zero() && matches!(outcome, Outcome::Done) => {
                    outcome = Outcome::Failed(format!("nothing came to an end within {deadline:?}"));
                    kill(&children);
                }
                _ => {}
            }
        }
        outcome
    }

    fn next_signal(&self, timeout: Duration) -> Option<libc::c_int> {
        let timeout = libc::timespec {
            tv_sec: timeout.as_secs() as libc::time_t,
            tv_nsec: libc::c_long::from(timeout.subsec_nanos() as i32),
        };
        // SAFETY: initialised set and time; what else the signal brings is not asked for.
        let signal = unsafe { libc::sigtimedwait(&self.taken, std::ptr::null_mut(), &timeout) };
        (signal > 0).then_some(signal)
    }

    /// Ends this process as the signal would have.
    fn die_of(self, signal: libc::c_int) -> ! {
        drop(self);
        // SAFETY: plain system calls; the signal's action is the one of before this value, which ends the process.
        unsafe {
            libc::raise(signal);
            libc::_exit(128 + signal)
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.restore();
    }
}

fn kill(children: &[libc::pid_t]) {
    for &pid in children {
        // SAFETY: a child of ours that was not waited for, so that the number is its own still.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
}

/// How a child ended, if it has.
fn reaped(pid: libc::pid_t) -> Option<Result<(), String>> {
    let mut status = 0;
    // SAFETY: our own child; `status` is valid for the write.
    if unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG) } != pid {
        return None;
    }
    Some(match status {
        0 => Ok(()),
        _ if libc::WIFSIGNALED(status) => Err(format!("a side was ended by signal {}", libc::WTERMSIG(status))),
        _ => Err(format!("a side exited with {}", libc::WEXITSTATUS(status))),
    })
}
