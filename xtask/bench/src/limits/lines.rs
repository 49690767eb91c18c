//! What it costs to write lines that the other core has read, and that it has put out of its cache since.
//!
//! The two sides work in turn, so that neither disturbs the other; the writer's time alone is told, and the reader's
//! alone. Plain loops: nothing of the ring is here.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::machine::{self, Pages};

const LINE: usize = 64;

/// Whose time is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Writer,
    Reader,
}

fn word(pages: &Pages, at: usize) -> &AtomicU64 {
    // SAFETY: `at` is a multiple of 8 inside the pages at each call below.
    unsafe { pages.base.add(at).cast::<AtomicU64>().as_ref() }
}

fn wait_for(word: &AtomicU64, at_least: u64) {
    while word.load(Ordering::Acquire) < at_least {
        std::hint::spin_loop();
    }
}

/// Puts the line of `word` out of all caches, where this is known how to do.
fn flush(word: &AtomicU64) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a line that is mapped; every CPU with 64-bit code has CLFLUSH.
    unsafe {
        std::arch::x86_64::_mm_clflush(word.as_ptr().cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = word;
}

/// Nanoseconds of one side for each line of a region of `len` bytes that is written, and then read by the other, `laps`
/// times; the reader flushes each line after it has read it, or not.
pub(super) fn in_turn(len: usize, laps: u64, cores: (usize, usize), flushes: bool, side: Side) -> f64 {
    let pages = Pages::new(len + 1024);
    let (written, read, reading_ns) = (word(&pages, len), word(&pages, len + 256), word(&pages, len + 512));
    // The first lap finds the pages new.
    let counts = |lap: u64| lap > 0;
    let reader = || {
        let mut ns = 0;
        for lap in 0..laps {
            wait_for(written, lap + 1);
            let began = machine::now_ns();
            for at in (0..len).step_by(LINE) {
                let line = word(&pages, at);
                assert!(line.load(Ordering::Relaxed) == lap, "a line of another lap");
                if flushes {
                    flush(line);
                }
            }
            ns += if counts(lap) { machine::now_ns() - began } else { 0 };
            read.store(lap + 1, Ordering::Release);
        }
        reading_ns.store(ns, Ordering::Release);
    };
    let writing_ns = machine::beside(cores, reader, || {
        let mut ns = 0;
        for lap in 0..laps {
            wait_for(read, lap);
            let began = machine::now_ns();
            for at in (0..len).step_by(LINE) {
                word(&pages, at).store(lap, Ordering::Relaxed);
            }
            // What is still on its way belongs to the time.
            std::sync::atomic::fence(Ordering::SeqCst);
            ns += if counts(lap) { machine::now_ns() - began } else { 0 };
            written.store(lap + 1, Ordering::Release);
        }
        ns
    });
    let ns = if side == Side::Writer { writing_ns } else { reading_ns.load(Ordering::Acquire) };
    ns as f64 / ((laps - 1) * (len / LINE) as u64) as f64
}
