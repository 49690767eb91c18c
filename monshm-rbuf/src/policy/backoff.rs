//! How long to leave the producer alone before a poll: the batching delay, and how it finds its length.
//!
//! Private numbers only; whether a delay pays at all is the tuner's to find. It neither spins nor polls, its caller
//! does.

use crate::policy::tuner::{Config, Success, Tuner};

/// The first delay, and the longest, spins.
const FIRST: u32 = 32;
const LONGEST: u32 = 1024;

/// Samples of four polls.
const CONFIG: Config = Config {
    sample: 4,
    baseline: 8,
    warm_up: 3,
    trial: 4,
    cool_down: (1, 1 << 15),
    grace_bytes: 0,
    success: Success::Adopt,
};

const POLLS_OF_BASELINE: u64 = CONFIG.sample * CONFIG.baseline as u64;

/// A delay before polls, on trial or adopted; the default is none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    tuner: Tuner,
    spins: u32,
    target_batch_bytes: u64,
}

impl Backoff {
    /// `target_batch_bytes`: what a poll should find after the delay. Enough not to be caught up with at once, and
    /// little beside the ring.
    pub(crate) const fn new(target_batch_bytes: u64) -> Self {
        Backoff { tuner: Tuner::new(CONFIG), spins: 0, target_batch_bytes }
    }

    /// Spins to take before a poll that follows one that found something.
    #[inline(always)]
    pub(crate) fn spins(&self) -> u32 {
        self.spins
    }

    /// Whether time is being taken that no other trial should disturb.
    #[inline(always)]
    pub(crate) fn is_trying(&self) -> bool {
        !self.tuner.is_cooling_down() && !self.tuner.has_adopted()
    }

    /// Whether each poll counts by itself.
    pub(crate) fn wants_each_poll(&self) -> bool {
        !self.tuner.is_cooling_down()
    }

    /// Learns from polls that found `gained` more bytes; from one, where each counts. A message has `message`.
    pub(crate) fn observe(&mut self, gained: u64, message: u64, clock: impl FnOnce() -> Option<u64>) {
        if self.spins > 0 && gained <= message {
            // One message, which would have come as well without the delay.
            self.tuner.abandon();
        } else {
            if self.spins > 0 && gained < self.target_batch_bytes / 4 {
                self.spins = (self.spins * 2).min(LONGEST);
            } else if self.spins > 0 && gained > self.target_batch_bytes {
                self.spins = (self.spins / 2).max(1);
            }
            self.tuner.observe(1, gained, true, clock);
        }
        if !self.tuner.uses_alternative() {
            self.spins = 0;
        } else if self.spins == 0 {
            if self.tuner.baseline_bytes() >= self.target_batch_bytes / 4 * POLLS_OF_BASELINE {
                // A delay would have nothing to add.
                self.tuner.abandon();
            } else {
                self.spins = FIRST;
            }
        }
    }

    /// Counts nothing of what goes by now.
    pub(crate) fn interrupt(&mut self) {
        self.tuner.interrupt();
    }

    /// Forgets what was learnt.
    pub(crate) fn start_over(&mut self) {
        self.tuner.start_over();
        self.spins = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    const TARGET: u64 = 65536;
    const MESSAGE: u64 = 64;

    /// Lets polls and what they bring follow each other: `poll(spins)` gives the bytes that a poll after that delay
    /// finds, and the ticks until the next. Gives the spins per poll.
    fn polls(backoff: &mut Backoff, count: u32, message: u64, poll: impl Fn(u32) -> (u64, u64)) -> f64 {
        let now = Cell::new(0);
        let mut spins = 0;
        for _ in 0..count {
            let waited = backoff.spins();
            spins += u64::from(waited);
            let (gained, ticks) = poll(waited);
            now.set(now.get() + ticks);
            backoff.observe(gained, message, || Some(now.get()));
        }
        spins as f64 / f64::from(count)
    }

    /// Each poll costs 1000 ticks of both sides' time, a spin 64; the stream flows meanwhile.
    fn gathers(spins: u32) -> (u64, u64) {
        (96 + 500 * u64::from(spins), 1000 + 64 * u64::from(spins))
    }

    /// A message of 64 bytes each 1000 ticks, whenever it is polled for.
    fn takes_its_time(spins: u32) -> (u64, u64) {
        let messages = 1 + 64 * u64::from(spins) / 1000;
        (64 * messages, 1000 * messages)
    }

    #[test]
    fn traffic_that_a_delay_does_not_help_is_hardly_ever_delayed() {
        let exchange = |len| move |spins: u32| (len, 500 + 64 * u64::from(spins));
        let spins =
            |count, message, poll: &dyn Fn(u32) -> (u64, u64)| polls(&mut Backoff::new(TARGET), count, message, poll);
        assert!(spins(200_000, 64, &exchange(64)) < 0.01, "single messages");
        assert!(spins(200_000, 8, &exchange(72)) < 1.0, "a header and a body");
        assert!(spins(200_000, 1, &exchange(4000)) < 1.0, "whatever is there");
        assert!(spins(1_000_000, MESSAGE, &takes_its_time) < 0.5, "a producer that takes its time");
        // More is there at each poll than a delay is to bring.
        let full = |spins: u32| (1 << 19, 100_000 + 6400 * u64::from(spins));
        assert_eq!(spins(20_000, MESSAGE, &full), 0.0, "what has gathered anyway");
    }

    #[test]
    fn a_trial_ends_with_the_first_single_message() {
        let mut backoff = Backoff::new(TARGET);
        let (mut now, mut trials) = (0, 0);
        for _ in 0..100_000 {
            let spins = backoff.spins();
            // So little that its cost alone would not end it.
            now += 500 + u64::from(spins);
            backoff.observe(MESSAGE, MESSAGE, || Some(now));
            if spins > 0 {
                trials += 1;
                assert_eq!(backoff.spins(), 0, "the delay brought what would have come anyway");
            }
        }
        assert!(trials > 2, "{trials}");
    }

    #[test]
    fn a_stream_that_gathers_is_given_time() {
        assert!(polls(&mut Backoff::new(TARGET), 20_000, MESSAGE, gathers) > 16.0);
    }

    #[test]
    fn a_delay_that_takes_twice_the_time_ends_at_once() {
        let (mut backoff, mut now, mut delayed) = (Backoff::new(TARGET), 0, 0);
        for _ in 0..60 {
            delayed += u32::from(backoff.spins() > 0);
            now += 1000 + 64 * u64::from(backoff.spins());
            backoff.observe(1000, MESSAGE, || Some(now));
        }
        assert_eq!(delayed, 1);
    }

    #[test]
    fn a_stream_that_slows_down_is_delayed_no_more() {
        let mut backoff = Backoff::new(TARGET);
        polls(&mut backoff, 1000, MESSAGE, gathers);
        assert!(backoff.spins() > 0);
        polls(&mut backoff, 48, MESSAGE, takes_its_time);
        assert_eq!(backoff.spins(), 0, "several messages each time, and no faster for it");
        polls(&mut backoff, 1000, MESSAGE, gathers);
        assert!(backoff.spins() > 0, "and is soon tried again");
        backoff.observe(MESSAGE, MESSAGE, || None);
        assert_eq!(backoff.spins(), 0, "a single message");
    }

    #[test]
    fn the_delay_finds_its_length() {
        for per_spin in [3, 30, 300, 3000] {
            let mut backoff = Backoff::new(TARGET);
            let poll = |spins: u32| (96 + per_spin * u64::from(spins), 1000 + 3 * u64::from(spins));
            polls(&mut backoff, 2000, MESSAGE, poll);
            let brought = 96 + per_spin * u64::from(backoff.spins());
            let in_range = brought >= TARGET / 4 || backoff.spins() == LONGEST;
            assert!((1..=LONGEST).contains(&backoff.spins()), "{} spins", backoff.spins());
            assert!(in_range && brought <= TARGET, "{} spins bring {brought}", backoff.spins());
        }
    }

    #[test]
    fn without_a_clock_nothing_is_delayed() {
        let mut backoff = Backoff::new(TARGET);
        for _ in 0..100_000 {
            backoff.observe(4096, MESSAGE, || None);
            assert_eq!(backoff.spins(), 0);
        }
    }
}
