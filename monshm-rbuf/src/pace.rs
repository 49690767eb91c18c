//! How a consumer moves on in a stream: how long it leaves the producer alone before it looks again, and whether what
//! it has read leaves the caches.
//!
//! Private numbers only; it neither pauses nor looks nor evicts, its caller does. It changes no outcome of any call,
//! only when a look takes place, and by at most 256 pauses (about 6 µs where a pause takes 25 ns). Whether a wait
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

/// Bytes of a message that had better leave the caches by itself.
const LONG: u64 = 512;

/// Bytes that come by before the tuner is told, outside of trials.
const GRAIN: u64 = 2048;

/// What a consumer has learnt about the rhythm of the producer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    patience: Patience,
    /// Setting 0 is to evict.
    eviction: Tuner<2>,
    /// Bytes found that the tuner has not been told of.
    gained: u64,
    /// Whether the last look found something.
    found: bool,
}

impl Pace {
    /// For a ring of `size` bytes.
    pub(crate) const fn new(size: u64) -> Self {
        let eighth = if size / 8 == 0 { 1 } else { size / 8 };
        Pace {
            patience: Patience::new(if size / 2 < 65536 { size / 2 } else { 65536 }),
            // It takes a lap to show.
            eviction: Tuner::new(Habit { piece: eighth, settle: 8, measure: 8, rest: (24, 2048) }),
            gained: 0,
            found: false,
        }
    }

    /// Pauses to take before the look that comes now.
    #[inline(always)]
    pub(crate) fn before_look(&mut self) -> u32 {
        if core::mem::take(&mut self.found) { self.patience.pauses() } else { 0 }
    }

    /// Learns from a look after `waited` pauses that found `gained` more bytes, where `need` were wanted.
    ///
    /// Tells whether what is read of them had better leave the caches.
    #[inline(always)]
    pub(crate) fn after_look(
        &mut self,
        waited: u32,
        gained: u64,
        need: u64,
        clock: impl Fn() -> Option<u64>,
    ) -> bool {
        if gained == 0 {
            return false;
        }
        self.found = true;
        // One trial at a time: while one is under way, what the other would measure is not its own.
        if !self.eviction.is_trying() {
            self.patience.after_look(gained, need, &clock);
        }
        self.gained += gained;
        if self.gained >= GRAIN || self.eviction.is_trying() {
            self.count(clock);
        }
        self.eviction.setting() == 0 && (waited > 0 || gained > need || gained >= LONG)
    }

    /// Tells the tuner of bytes that came by.
    #[inline(never)]
    fn count(&mut self, clock: impl Fn() -> Option<u64>) {
        let gained = core::mem::take(&mut self.gained);
        if self.patience.is_trying() {
            self.eviction.interrupt();
        } else {
            self.eviction.count(gained, clock);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    const RING: u64 = 1 << 20;

    /// Lets looks and what they bring follow each other: `look(waited)` gives the bytes that a look after that wait
    /// finds, and the ticks until the next. Gives the pauses per look.
    fn looks(pace: &mut Pace, count: u32, need: u64, look: impl Fn(u32) -> (u64, u64)) -> f64 {
        let now = Cell::new(0);
        let mut pauses = 0;
        for _ in 0..count {
            let waited = pace.before_look();
            pauses += waited;
            let (gained, ticks) = look(waited);
            now.set(now.get() + ticks);
            pace.after_look(waited, gained, need, || Some(now.get()));
        }
        f64::from(pauses) / f64::from(count)
    }

    #[test]
    fn exchanges_are_hardly_ever_waited_for() {
        let exchange = |len| move |waited: u32| (len, 500 + 64 * u64::from(waited));
        assert!(looks(&mut Pace::new(RING), 200_000, 64, exchange(64)) < 0.1, "single messages");
        assert!(looks(&mut Pace::new(RING), 200_000, 8, exchange(72)) < 0.5, "a header and a body");
        assert!(looks(&mut Pace::new(RING), 200_000, 1, exchange(4000)) < 0.5, "whatever is there");
    }

    #[test]
    fn a_trial_ends_with_the_first_single_message() {
        let mut pace = Pace::new(RING);
        let (mut now, mut trials) = (0, 0);
        for _ in 0..100_000 {
            let waited = pace.before_look();
            now += 500 + 64 * u64::from(waited);
            pace.after_look(waited, 64, 64, || Some(now));
            if waited > 0 {
                trials += 1;
                assert_eq!(pace.before_look(), 0, "the wait brought what would have come anyway");
                pace.after_look(0, 64, 64, || Some(now));
            }
        }
        assert!(trials > 2, "{trials}");
    }

    #[test]
    fn an_empty_look_is_followed_at_once() {
        let mut pace = Pace::new(RING);
        // A stream, for which a wait pays.
        looks(&mut pace, 10_000, 64, |waited| (64 + 64 * u64::from(waited), 1000 + u64::from(waited)));
        assert!(pace.before_look() > 0);
        pace.after_look(32, 0, 64, || Some(0));
        assert_eq!(pace.before_look(), 0);
    }

    #[test]
    fn a_stream_that_gathers_is_given_time_and_one_that_does_not_is_not() {
        // Each look costs 1000 ticks of both sides' time, a pause 64; the stream flows meanwhile.
        let pays = |waited: u32| (64 + 32 * u64::from(waited), 1000 + 64 * u64::from(waited));
        assert!(looks(&mut Pace::new(RING), 20_000, 64, pays) > 16.0);
        // More is there at each look than anybody waits for.
        let full = |waited: u32| (1 << 19, 100_000 + 6400 * u64::from(waited));
        assert!(looks(&mut Pace::new(RING), 20_000, 64, full) < 2.0);
    }

    #[test]
    fn single_messages_stay_in_the_caches_and_a_stream_leaves_them() {
        let mut pace = Pace::new(RING);
        assert!(!pace.after_look(0, 64, 64, || Some(1)));
        assert!(pace.after_look(0, 640, 64, || Some(2)));
        assert!(pace.after_look(32, 64, 64, || Some(3)));
    }

    #[test]
    fn where_eviction_costs_time_it_ends() {
        let mut pace = Pace::new(RING);
        let now = Cell::new(0);
        let mut evicted = true;
        for _ in 0..10_000 {
            let waited = pace.before_look();
            now.set(now.get() + if evicted { 9000 } else { 3000 });
            evicted = pace.after_look(waited, 8192, 64, || Some(now.get()));
        }
        assert!(!evicted);
    }

    #[test]
    fn the_smallest_rings_have_a_pace_too() {
        for size in [8, 16, 64] {
            looks(&mut Pace::new(size), 1000, 1, |_| (size - 1, 10));
        }
    }
}
