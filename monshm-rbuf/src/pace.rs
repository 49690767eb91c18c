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

/// Bytes that come by before anything is learnt from them, outside of trials.
const GRAIN: u64 = 512;

/// What a consumer has learnt about the rhythm of the producer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Pauses to take before the next look.
    due: u32,
    /// Bytes found that `patience` and `eviction` have not been told of, and how many they want to be told of at once.
    gained: u64,
    grain: u64,
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
            patience: Patience::new(if size / 2 < 65536 { size / 2 } else { 65536 }),
            // It takes a lap to show.
            eviction: Tuner::new(Habit { piece: eighth, settle: 8, measure: 8, rest: (24, 2048) }),
        }
    }

    /// Pauses to take before the look that comes now.
    #[inline(always)]
    pub(crate) fn due(&self) -> u32 {
        self.due
    }

    /// Learns from a look that found nothing.
    #[inline(always)]
    pub(crate) fn after_nothing(&mut self) {
        self.due = 0;
    }

    /// Learns from a look, after the pauses that were due, that found `gained` more bytes, where a message has
    /// `message`.
    #[inline(always)]
    pub(crate) fn after_look(&mut self, gained: u64, message: u64, clock: impl FnOnce() -> Option<u64>) {
        self.gained += gained;
        if self.gained >= self.grain {
            self.learn(message, clock);
        }
        self.due = self.patience.pauses();
    }

    /// Whether what comes in numbers, or is long, had better leave the caches once it is read.
    #[inline(always)]
    pub(crate) fn evicts(&self) -> bool {
        !self.eviction.is_second()
    }

    #[cold]
    #[inline(never)]
    fn learn(&mut self, message: u64, clock: impl FnOnce() -> Option<u64>) {
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
        } else if self.eviction.count(gained, &mut now) {
            self.patience.start_over();
        }
        let each_look = self.eviction.is_trying() || self.patience.wants_each_look();
        self.grain = if each_look { 0 } else { GRAIN };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    #[test]
    fn an_empty_look_is_followed_at_once() {
        let mut pace = Pace::new(1 << 20);
        let now = Cell::new(0);
        // A stream, for which a wait pays.
        for _ in 0..1000 {
            now.set(now.get() + 1000 + u64::from(pace.due()));
            let gained = 65 + 64 * u64::from(pace.due());
            pace.after_look(gained, 64, || Some(now.get()));
        }
        assert!(pace.due() > 0);
        pace.after_nothing();
        assert_eq!(pace.due(), 0);
        pace.after_look(4096, 64, || Some(now.get()));
        assert!(pace.due() > 0);
    }

    #[test]
    fn where_eviction_costs_time_it_ends() {
        let (mut pace, now) = (Pace::new(1 << 20), Cell::new(0));
        assert!(pace.evicts());
        for _ in 0..10_000 {
            now.set(now.get() + if pace.evicts() { 9000 } else { 3000 });
            pace.after_look(8192, 64, || Some(now.get()));
        }
        assert!(!pace.evicts());
    }

    #[test]
    fn a_wait_that_pays_outlasts_a_trial_of_eviction() {
        let (mut pace, now) = (Pace::new(1 << 16), Cell::new(0));
        let (mut trials, mut waited) = (0, 0);
        for look in 0..200_000 {
            // Twice as fast with a long wait, and half as fast again with eviction.
            let ticks = (100 + u64::from(pace.due())) * if pace.evicts() { 2 } else { 3 };
            now.set(now.get() + ticks);
            pace.after_look(96 + 2 * u64::from(pace.due()), 64, || Some(now.get()));
            trials += u32::from(!pace.evicts());
            waited += u32::from(look >= 2000 && pace.due() > 0);
        }
        assert!(trials > 0 && waited == 198_000, "{trials} {waited}");
    }

    #[test]
    fn one_thing_is_tried_at_a_time() {
        let (mut pace, now) = (Pace::new(1 << 16), Cell::new(0));
        let (mut waits, mut evictions) = (0, 0);
        for _ in 0..1_000_000 {
            now.set(now.get() + 100 + 64 * u64::from(pace.due()));
            pace.after_look(100 + 64 * u64::from(pace.due()), 64, || Some(now.get()));
            assert!(!(pace.patience.is_trying() && pace.eviction.is_trying()));
            waits += u32::from(pace.patience.is_trying());
            evictions += u32::from(pace.eviction.is_trying());
        }
        assert!(waits > 0 && evictions > 0, "{waits} {evictions}");
    }

    #[test]
    fn the_smallest_rings_have_a_pace_too() {
        for size in [8, 16, 64] {
            let (mut pace, now) = (Pace::new(size), Cell::new(0));
            for _ in 0..100_000 {
                now.set(now.get() + 10);
                pace.after_look(size - 1, 1, || Some(now.get()));
            }
        }
    }
}
