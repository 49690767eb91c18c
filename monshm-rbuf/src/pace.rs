//! How a consumer moves on in a stream: how long it leaves the producer alone before it looks again, and whether what
//! it has read leaves the caches.
//!
//! Private numbers only; it neither pauses nor looks nor evicts, its caller does. It changes no outcome of any call,
//! only when a look takes place, and by at most 1,024 pauses (about 26 µs where a pause takes 25 ns). Whether a wait
//! pays, and whether an eviction does, is found by trying: see `patience` and `tuner`.
//!
//! # Why to wait
//! A consumer that has caught up sees each message as soon as it is published, so that each publication moves the index
//! line and the data line between the cores, and both sides run at the speed of that. Let some hundred lines gather, and
//! both run at the speed of the memory. Only the first look after one that found something waits: an empty ring is looked
//! at again at once. In an exchange of messages a wait brings just the one message that would have come anyway; a trial
//! ends with the first such look.
//!
//! A producer never waits. One that finds the ring full has a whole ring between itself and the consumer, and nothing
//! but the index line moves; a wait there was seen to cost up to three quarters of the rate.
//!
//! # Why to evict
//! A line that the consumer has read is held by both cores' caches, and before the producer can write it again the
//! other copy must be called back, one line after the other. A line that the consumer has put out of the caches is
//! written without that. Where the memory is slower than the caches of both, the trial finds that too. Figures are in
//! `SPEED.md`.

use crate::patience::Patience;
use crate::tuner::{Habit, Tuner};

/// The longest message, bytes, that had better stay in the caches when it comes alone; and what a message is taken for whose
/// length is not known beforehand.
pub(crate) const SHORT: u64 = 511;

/// Bytes that come by before anything is learnt from them, outside of trials.
const GRAIN: u64 = 4096;
/// The same, where messages come singly that are known to be short: in an exchange of them each lesson keeps an answer waiting,
/// and the CPU guesses badly in the exchanges after it.
const GRAIN_OF_SINGLES: u64 = 65536;

/// What a consumer has learnt about the rhythm of the producer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Pauses to take before the next look.
    due: u32,
    /// Bytes found that `patience` and `eviction` have not been told of, fewer than the grain.
    gained: u64,
    /// After how many they are told.
    grain: u64,
    /// Whether they want to be told of each look.
    each_look: bool,
    patience: Patience,
    /// The second way is not to evict.
    eviction: Tuner,
}

impl Pace {
    /// For a ring of `size` bytes.
    pub(crate) const fn new(size: u64) -> Self {
        let eighth = if size / 8 == 0 { 1 } else { size / 8 };
        Pace {
            due: 0,
            gained: 0,
            grain: GRAIN,
            each_look: false,
            patience: Patience::new(if size / 2 < 65536 { size / 2 } else { 65536 }),
            // It takes a lap to show.
            eviction: Tuner::new(Habit { piece: eighth, settle: 8, measure: 8, rest: (24, 2048) }),
        }
    }

    /// Pauses to take before the look that comes now. Once: if that finds nothing, the next follows at once.
    pub(crate) fn take_due(&mut self) -> u32 {
        core::mem::take(&mut self.due)
    }

    /// Bytes that looks may find before it wants to be told of them; 0: it wants to be asked before the next look.
    pub(crate) fn untold(&self) -> u64 {
        if self.due > 0 || self.each_look { 0 } else { self.grain - self.gained }
    }

    /// Learns from looks that found `gained` more bytes since it was told the last time, where a message has `message`.
    /// `in_numbers`: whether the last of them found more than one short message.
    pub(crate) fn after_looks(
        &mut self,
        gained: u64,
        message: u64,
        in_numbers: bool,
        clock: impl FnOnce() -> Option<u64>,
    ) {
        self.gained += gained;
        if self.each_look || self.gained >= self.grain {
            self.learn(message, in_numbers, clock);
        }
    }

    /// Whether what comes in numbers, or is long, had better leave the caches once it is read.
    #[inline(always)]
    pub(crate) fn evicts(&self) -> bool {
        !self.eviction.is_second()
    }

    fn learn(&mut self, message: u64, in_numbers: bool, clock: impl FnOnce() -> Option<u64>) {
        let gained = core::mem::take(&mut self.gained);
        let mut time = None;
        let mut clock = Some(clock);
        let mut now = || *time.get_or_insert_with(|| clock.take().and_then(|clock| clock()));
        // One trial at a time: while one is under way, what the other would measure is not its own.
        if self.eviction.is_trying() {
            self.patience.interrupt(&mut now);
        } else {
            self.patience.after_looks(gained, message, &mut now);
        }
        if self.patience.is_trying() {
            self.eviction.interrupt();
        } else if self.eviction.count(gained, in_numbers, &mut now) {
            self.patience.start_over();
        }
        self.grain = if in_numbers || message >= SHORT { GRAIN } else { GRAIN_OF_SINGLES };
        self.each_look = self.eviction.is_trying() || self.patience.wants_each_look();
        self.due = self.patience.pauses();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    /// A look after the pauses that are due, which takes `ticks` and finds `gained`, as the consumer makes it: the pace is told
    /// when it wants to be. Gives the pauses.
    fn look(pace: &mut Pace, untold: &mut u64, now: &Cell<u64>, found: impl FnOnce(u64) -> (u64, u64)) -> u64 {
        let pauses = if pace.untold() == 0 { u64::from(pace.take_due()) } else { 0 };
        let (gained, ticks) = found(pauses);
        now.set(now.get() + ticks);
        *untold += gained;
        if *untold >= pace.untold() {
            pace.after_looks(core::mem::take(untold), 64, gained > 64, || Some(now.get()));
        }
        pauses
    }

    #[test]
    fn an_empty_look_is_followed_at_once() {
        let (mut pace, mut untold, now) = (Pace::new(1 << 20), 0, Cell::new(0));
        // A stream, for which a wait pays.
        let stream = |pauses| (65 + 64 * pauses, 1000 + pauses);
        let waited = (0..5000).map(|_| look(&mut pace, &mut untold, &now, stream)).last();
        assert!(waited > Some(0));
        assert!(pace.take_due() > 0);
        assert_eq!(pace.take_due(), 0, "that look found nothing");
        pace.after_looks(4096, 64, true, || Some(now.get()));
        assert!(pace.take_due() > 0);
    }

    #[test]
    fn where_eviction_costs_time_it_ends() {
        let (mut pace, mut untold, now) = (Pace::new(1 << 20), 0, Cell::new(0));
        assert!(pace.evicts());
        for _ in 0..10_000 {
            let ticks = if pace.evicts() { 9000 } else { 3000 };
            look(&mut pace, &mut untold, &now, |_| (8192, ticks));
        }
        assert!(!pace.evicts());
    }

    #[test]
    fn single_messages_are_not_disturbed() {
        let (mut pace, mut untold, now) = (Pace::new(1 << 16), 0, Cell::new(0));
        let (mut told, mut waits) = (0, 0);
        for _ in 0..100_000 {
            let before = pace.gained;
            waits += look(&mut pace, &mut untold, &now, |pauses| (64, 100 + 64 * pauses));
            told += u32::from(pace.each_look || pace.gained != before);
            assert!(!pace.eviction.is_trying(), "they stay in the caches either way");
        }
        assert!(waits > 0 && waits < 1000 && told < 1000, "{waits} pauses, told {told} times");
    }

    #[test]
    fn single_messages_teach_less_often_than_a_stream() {
        let told = |len: u64| {
            let (mut pace, mut untold, now) = (Pace::new(1 << 20), 0, Cell::new(0));
            let mut told = 0;
            for _ in 0..100_000 {
                // A wait brings nothing that would not have come.
                look(&mut pace, &mut untold, &now, |pauses| (len, 100 + 64 * pauses));
                told += u32::from(untold == 0);
            }
            told
        };
        let (single, pairs) = (told(64), told(128));
        assert!(single > 50 && pairs > 20 * single, "{single}, {pairs}");
    }

    #[test]
    fn a_wait_that_pays_outlasts_a_trial_of_eviction() {
        let (mut pace, mut untold, now) = (Pace::new(1 << 16), 0, Cell::new(0));
        let (mut trials, mut waited) = (0, 0);
        for count in 0..200_000 {
            // Twice as fast with a long wait, and half as fast again with eviction.
            let slow = if pace.evicts() { 2 } else { 3 };
            trials += u32::from(!pace.evicts());
            let pauses = look(&mut pace, &mut untold, &now, |pauses| (96 + 2 * pauses, (100 + pauses) * slow));
            waited += u32::from(count >= 10_000 && pauses > 0);
        }
        assert!(trials > 0 && waited == 190_000, "{trials} {waited}");
    }

    #[test]
    fn one_thing_is_tried_at_a_time() {
        let (mut pace, mut untold, now) = (Pace::new(1 << 16), 0, Cell::new(0));
        let (mut waits, mut evictions) = (0, 0);
        for _ in 0..1_000_000 {
            look(&mut pace, &mut untold, &now, |pauses| (100 + 64 * pauses, 100 + 64 * pauses));
            assert!(!(pace.patience.is_trying() && pace.eviction.is_trying()));
            waits += u32::from(pace.patience.is_trying());
            evictions += u32::from(pace.eviction.is_trying());
        }
        assert!(waits > 0 && evictions > 0, "{waits} {evictions}");
    }

    #[test]
    fn the_smallest_rings_have_a_pace_too() {
        for size in [8, 16, 64] {
            let (mut pace, mut untold, now) = (Pace::new(size), 0, Cell::new(0));
            for _ in 0..100_000 {
                look(&mut pace, &mut untold, &now, |_| (size - 1, 10));
            }
        }
    }
}
