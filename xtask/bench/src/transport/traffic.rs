//! The traffic over a transport: a stream one way, and messages there and back; and the check of each message.
//!
//! A message carries its number in its first word, the complement in its last, and between them a byte that changes
//! with each 256 messages. Words are checked in each message, all bytes in each 256th. The same code for every
//! transport.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Receiver, Sender};
use crate::machine;

/// How many messages go one way; the first are warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) warm: u64,
    pub(crate) total: u64,
}

/// How many messages go there and back, and how long the asking side lets pass before each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trips {
    pub(crate) count: usize,
    pub(crate) pause_ns: u64,
}

/// How often all bytes are checked, and written anew.
const WHOLE_EVERY: u64 = 256;

/// The byte between the words of message `number`.
fn filler(number: u64) -> u8 {
    // Not 0, as fresh memory is, and never that of the block before.
    (number / WHOLE_EVERY % 255 + 1) as u8
}

/// Makes `message` the one of this number; the one before it was made in the same place.
#[inline(always)]
fn stamp<const N: usize>(message: &mut [u8; N], number: u64) {
    if number % WHOLE_EVERY == 0 {
        message.fill(filler(number));
    }
    message[..8].copy_from_slice(&number.to_ne_bytes());
    if N >= 16 {
        message[N - 8..].copy_from_slice(&(!number).to_ne_bytes());
    }
}

/// Whether `message` is the one of this number, whole.
///
/// # Panics
/// It is not: lost, doubled, out of order, or damaged.
#[inline(always)]
fn check<const N: usize>(message: &[u8; N], number: u64) {
    let word = |at: usize| u64::from_ne_bytes(message[at..at + 8].try_into().expect("8 bytes"));
    let first = word(0);
    let last = if N >= 16 { !word(N - 8) } else { first };
    if first != number || last != number {
        wrong_number(number, first, last);
    }
    if N > 16 && number % WHOLE_EVERY == 0 {
        check_whole(&message[8..N - 8], number);
    }
}

#[cold]
#[inline(never)]
fn wrong_number(number: u64, first: u64, last: u64) -> ! {
    panic!("message {number} arrived with the number {first} at its start and {last} at its end");
}

#[inline(never)]
fn check_whole(middle: &[u8], number: u64) {
    let filler = filler(number);
    if let Some(at) = middle.iter().position(|byte| *byte != filler) {
        panic!("message {number} is damaged: byte {} is {:#04x}, not {filler:#04x}", at + 8, middle[at]);
    }
}

/// Sends all messages of a load.
#[inline(never)]
pub(super) fn send_all<const N: usize>(sender: &mut impl Sender<N>, load: Load) {
    let mut message = [0; N];
    for number in 0..load.total {
        stamp(&mut message, number);
        while !sender.send(&message) {
            sender.flush();
            std::hint::spin_loop();
        }
    }
    sender.flush();
}

/// Receives and checks all messages of a load; nanoseconds of those after the warm-up.
#[inline(never)]
pub(super) fn receive_all<const N: usize>(receiver: &mut impl Receiver<N>, load: Load) -> u64 {
    let mut message = [0; N];
    let mut start = machine::now_ns();
    for number in 0..load.total {
        if number == load.warm {
            start = machine::now_ns();
        }
        while !receiver.receive(&mut message) {
            std::hint::spin_loop();
        }
        check(&message, number);
    }
    machine::now_ns() - start
}

/// Sends a message and waits for it to come back, once for each place in `samples`: nanoseconds, one reading of the
/// clock included (some 20 ns).
#[inline(never)]
pub(super) fn ask<const N: usize>(
    sender: &mut impl Sender<N>,
    receiver: &mut impl Receiver<N>,
    load: Trips,
    samples: &[AtomicU64],
) {
    let (mut message, mut answer) = ([0; N], [0; N]);
    let mut before = machine::now_ns();
    for (number, sample) in (0..).zip(samples) {
        stamp(&mut message, number);
        if load.pause_ns != 0 {
            let end = before + load.pause_ns;
            while before < end {
                std::hint::spin_loop();
                before = machine::now_ns();
            }
        }
        pass(sender, &message);
        while !receiver.receive(&mut answer) {
            std::hint::spin_loop();
        }
        check(&answer, number);
        let now = machine::now_ns();
        sample.store(now - before, Ordering::Relaxed);
        before = now;
    }
}

/// Checks and returns `trips` messages.
#[inline(never)]
pub(super) fn answer<const N: usize>(sender: &mut impl Sender<N>, receiver: &mut impl Receiver<N>, trips: u64) {
    let mut message = [0; N];
    for number in 0..trips {
        while !receiver.receive(&mut message) {
            std::hint::spin_loop();
        }
        check(&message, number);
        pass(sender, &message);
    }
}

#[inline(always)]
fn pass<const N: usize>(sender: &mut impl Sender<N>, message: &[u8; N]) {
    while !sender.send(message) {
        sender.flush();
        std::hint::spin_loop();
    }
    sender.flush();
}
