//! A lock fought over by two sides for a while: acquisitions per second of both, the share of the side that got less,
//! and the longest time that a side waited from one acquisition to its next.
//!
//! Under the lock, each side raises two plain counters; afterwards both must tell the sum of what the sides counted for
//! themselves. Between two acquisitions a side reads the clock, once, for every lock alike.

use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};

use monshm::{DEFAULT_TIMEOUT, Segment};

use super::Lock;
use super::kinds::{Ours, SIZE};
use super::raw::Raw;
use crate::machine::{self, Pages};
use crate::options::Options;
use crate::rounds::{Case, Sample};

/// How long the sides fight, and where.
#[derive(Clone, Copy, Debug)]
struct Fight {
    length_ns: u64,
    cores: (usize, usize),
}

impl Fight {
    fn new(options: &Options) -> Self {
        Fight { length_ns: if options.quick { 40_000_000 } else { 150_000_000 }, cores: options.cores }
    }
}

/// What both sides see: the counters under the lock, and what each says of itself.
struct Board(Pages);

// SAFETY: every access is one of a whole aligned word, atomic or volatile; the plain ones are ordered by the lock that
// is measured, and `count` says what happens where it does not.
unsafe impl Sync for Board {}

impl Board {
    const READY: usize = 0;
    const COUNTERS: usize = 256;
    /// Acquisitions, and the longest wait; a line for each side.
    const SIDES: [usize; 2] = [512, 768];

    fn new() -> Self {
        Board(Pages::new(4096))
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        // SAFETY: each place above, and the word after it, is inside the page and aligned to 8.
        unsafe { self.0.base.add(at).cast::<AtomicU64>().as_ref() }
    }

    /// Raises both counters, which the lock must protect: no atomic operation is used.
    #[inline]
    fn count(&self) {
        let counters = [Self::COUNTERS, Self::COUNTERS + 8];
        for at in counters {
            let counter = self.word(at).as_ptr();
            // SAFETY: inside the page, aligned. The other side may do this at the same time only where the lock is
            // broken; volatile accesses of one word keep even that to a wrong number, which is then told.
            unsafe { counter.write_volatile(counter.read_volatile().wrapping_add(1)) };
        }
    }

    /// One side's part in the fight.
    fn take_turns(&self, side: usize, fight: Fight, mut lock: impl Lock) {
        self.word(Self::READY).fetch_add(1, Ordering::AcqRel);
        while self.word(Self::READY).load(Ordering::Acquire) < 2 {
            std::hint::spin_loop();
        }
        let began = machine::now_ns();
        let (mut last, mut longest, mut turns) = (began, 0, 0);
        while last - began < fight.length_ns {
            lock.with(|| self.count());
            let now = machine::now_ns();
            longest = longest.max(now - last);
            last = now;
            turns += 1;
        }
        self.word(Self::SIDES[side]).store(turns, Ordering::Release);
        self.word(Self::SIDES[side] + 8).store(longest, Ordering::Release);
    }

    /// What came of it, when both sides are done.
    fn outcome(&self, fight: Fight) -> Sample {
        let load = |at: usize| self.word(at).load(Ordering::Acquire);
        let turns = Self::SIDES.map(load);
        let longest = Self::SIDES.map(|at| load(at + 8)).into_iter().max().unwrap_or(0);
        let sum = turns[0] + turns[1];
        let counters = [Self::COUNTERS, Self::COUNTERS + 8].map(load);
        assert_eq!(counters, [sum; 2], "the lock let both sides in: {sum} turns were counted so");
        let share = turns[0].min(turns[1]) as f64 / sum as f64;
        Sample {
            figure: sum as f64 * 1e3 / fight.length_ns as f64,
            details: vec![
                ("share of the weaker side", "%", share * 100.0),
                ("longest wait", "us", longest as f64 / 1e3),
            ],
            distribution: None,
        }
    }
}

pub(super) fn ours(kind: Ours, options: &Options) -> Case<'static> {
    let fight = Fight::new(options);
    Case::fallible(kind.name(), move || {
        // What is refused is refused here, before there is a second process.
        drop(kind.create()?);
        let board = Board::new();
        let (here, there) = UnixStream::pair().map_err(|fault| fault.to_string())?;
        let attach = || {
            let segment = Segment::receive(&there, SIZE, DEFAULT_TIMEOUT).expect("a segment comes");
            board.take_turns(1, fight, &segment);
        };
        machine::beside(fight.cores, attach, || {
            let segment = kind.create().expect("as a moment ago");
            segment.send(&here, DEFAULT_TIMEOUT).expect("the other side attaches");
            board.take_turns(0, fight, &segment);
        });
        Ok(board.outcome(fight))
    })
}

pub(super) fn raw<L: Raw + 'static>(
    name: &str,
    options: &Options,
    make: impl Fn(&Pages) -> Result<L, String> + 'static,
) -> Case<'static> {
    let fight = Fight::new(options);
    Case::fallible(name, move || {
        let (board, pages) = (Board::new(), Pages::new(4096));
        let lock = make(&pages)?;
        let other = || board.take_turns(1, fight, lock.other().expect("a handle of its own"));
        machine::beside(fight.cores, other, || board.take_turns(0, fight, lock.other().expect("a handle")));
        Ok(board.outcome(fight))
    })
}

pub(super) fn threads<L: Sync>(name: &str, options: &Options, make: impl Fn() -> L + 'static) -> Case<'static>
where
    for<'a> &'a L: Lock,
{
    let fight = Fight::new(options);
    Case::new(name, move || between_threads(&make(), fight))
}

/// Our lock between two threads of one process, through one handle.
pub(super) fn our_threads(kind: Ours, options: &Options) -> Case<'static> {
    let fight = Fight::new(options);
    Case::fallible(kind.name(), move || Ok(between_threads(&kind.create()?, fight)))
}

fn between_threads<L: Sync>(lock: &L, fight: Fight) -> Sample
where
    for<'a> &'a L: Lock,
{
    let board = Board::new();
    let shared = &board;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            machine::pin(fight.cores.1);
            shared.take_turns(1, fight, lock);
        });
        machine::pin(fight.cores.0);
        shared.take_turns(0, fight, lock);
    });
    board.outcome(fight)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lock under which one raise in a hundred is lost, as where two sides are inside at once; which two real sides
    /// would be only now and then on a busy machine.
    struct Lossy(AtomicU64);

    impl Lock for &Lossy {
        fn with(&mut self, work: impl FnOnce()) {
            if self.0.fetch_add(1, Ordering::Relaxed) % 100 != 99 {
                work();
            }
        }
    }

    const FIGHT: Fight = Fight { length_ns: 300_000_000, cores: (0, 1) };

    #[test]
    fn raises_that_were_lost_under_the_lock_are_found_out() {
        let outcome = std::panic::catch_unwind(|| between_threads(&Lossy(AtomicU64::new(0)), FIGHT));
        assert!(outcome.is_err());
    }

    #[test]
    fn both_sides_have_their_share_of_a_lock_that_works() {
        let sample = between_threads(&std::sync::Mutex::new(()), FIGHT);
        assert!(sample.figure > 0.0);
        let share = sample.details[0].2;
        assert!((0.0..=50.0).contains(&share), "{share}");
    }
}
