//! What the memory itself allows: one core writes a region while the other reads it, and a raw ping-pong.
//!
//! No ring here: halves of a region change hands by one flag, and a payload by one sequence number.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Load;
use crate::machine::{self, Pages};

fn word(pages: &Pages, at: usize) -> &AtomicU64 {
    // SAFETY: `at` is a multiple of 8 inside the pages at each call below.
    unsafe { pages.base.add(at).cast::<AtomicU64>().as_ref() }
}

fn wait_for(word: &AtomicU64, at_least: u64) {
    while word.load(Ordering::Acquire) < at_least {
        std::hint::spin_loop();
    }
}

/// Writes a region of the ring's size, round and round, while the other process reads it: sixteen parts change
/// hands by one flag each way. The time that the messages of the load would take at that rate.
///
/// The copies are the C library's, not ours: the limit must not depend on what is measured against it.
pub(crate) fn write_beside_read(load: Load) -> u64 {
    const PARTS: u64 = 16;
    let part = load.ring_len / PARTS as usize;
    let pages = Pages::new(load.ring_len + 256);
    let (written, read) = (word(&pages, load.ring_len), word(&pages, load.ring_len + 128));
    let (warm, turns) = (2 * PARTS, (192 << 20) / part as u64);
    let place = |turn: u64| {
        // SAFETY: inside the region.
        unsafe { pages.base.add((turn % PARTS) as usize * part).as_ptr() }
    };
    let reader = || {
        let mut private = vec![0_u8; part];
        for turn in 0..turns {
            wait_for(written, turn + 1);
            // SAFETY: `part` bytes inside the region, handed over by `written`.
            unsafe { std::ptr::copy_nonoverlapping(place(turn), private.as_mut_ptr(), part) };
            assert!(private[0] == turn as u8 && private[part - 1] == turn as u8, "part {turn} is damaged");
            read.store(turn + 1, Ordering::Release);
        }
    };
    let ns = machine::beside(load.cores, reader, || {
        let mut private = vec![0x5A_u8; part];
        let mut start = 0;
        for turn in 0..turns {
            if turn == warm {
                start = machine::now_ns();
            }
            private[0] = turn as u8;
            private[part - 1] = turn as u8;
            wait_for(read, (turn + 1).saturating_sub(PARTS));
            // SAFETY: `part` bytes inside the region, handed over by `read`.
            unsafe { std::ptr::copy_nonoverlapping(private.as_ptr(), place(turn), part) };
            written.store(turn + 1, Ordering::Release);
        }
        wait_for(read, turns);
        machine::now_ns() - start
    });
    // The suite divides the load's messages by this time: scale it to their bytes.
    let bytes = (turns - warm) as f64 * part as f64;
    let messages = (load.total - load.warm) as f64;
    let message_len = (2 * load.ring_len) as f64 / (load.warm - 16) as f64;
    (ns as f64 * messages * message_len / bytes) as u64
}

/// A 64-byte payload there and back, each way behind one sequence number on a line of its own, ns.
pub(super) fn ping_pong(cores: (usize, usize)) -> f64 {
    const TRIPS: u64 = 20_000;
    let pages = Pages::new(4096);
    let (there, back) = (word(&pages, 0), word(&pages, 256));
    let (there_payload, back_payload) = (128, 384);
    let copy_in = |at: usize, message: &[u8; 64]| {
        // SAFETY: inside the page; the sequence number says whose turn it is.
        unsafe { monshm_rbuf::copy::write_to(pages.base.add(at).as_ptr(), message) };
    };
    let copy_out = |at: usize, message: &mut [u8; 64]| {
        // SAFETY: as above.
        unsafe { monshm_rbuf::copy::read_from(pages.base.add(at).as_ptr(), message) };
    };
    let answer = || {
        let mut message = [0; 64];
        for trip in 1..=TRIPS {
            wait_for(there, trip);
            copy_out(there_payload, &mut message);
            copy_in(back_payload, &message);
            back.store(trip, Ordering::Release);
        }
    };
    let ns = machine::beside(cores, answer, || {
        let mut message = [0; 64];
        let mut start = 0;
        for trip in 1..=TRIPS {
            if trip == TRIPS / 10 + 1 {
                start = machine::now_ns();
            }
            message[..8].copy_from_slice(&trip.to_ne_bytes());
            copy_in(there_payload, &message);
            there.store(trip, Ordering::Release);
            wait_for(back, trip);
            copy_out(back_payload, &mut message);
            assert_eq!(message[..8], trip.to_ne_bytes());
        }
        machine::now_ns() - start
    });
    ns as f64 / (TRIPS - TRIPS / 10) as f64
}
