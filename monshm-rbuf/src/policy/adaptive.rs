//! The policy that finds out by trial what makes a stream faster: a delay before polls, and flushing what was read.
//!
//! Private numbers only; it neither spins nor polls nor flushes, the consumer does. By at most 1,024 spins it changes
//! when a poll takes place, and nothing else. Whether a delay pays, and whether flushing does, is found by two
//! tuners, one of which is on trial at a time.
//!
//! # Why to delay polls
//! A consumer that has caught up sees each message as soon as it is published, so that each publication moves the
//! index line and the data line between the cores, and both sides run at the speed of that. When some hundred lines
//! gather first, both run at the speed of the memory. Only the first poll after one that found something is delayed:
//! an empty ring is polled again at once. In an exchange of messages a delay brings just the one message that would
//! have come anyway; a trial ends with the first such poll.
//!
//! A producer has no delay. One that finds the ring full has a whole ring between itself and the consumer, and
//! nothing but the index line moves.
//!
//! # Why to flush
//! A line that the consumer has read is held by both cores' caches, and before the producer can write it again the
//! other copy must be invalidated, one line after the other. A line that the consumer has flushed is written without
//! that. Where the memory is slower than the caches of both, the trial finds that too.

use core::ops::Range;

use crate::bounds::{Bounds, LINE};
use crate::policy::backoff::Backoff;
use crate::policy::tuner::{Config, Success, Tuner};
use crate::policy::{Burst, Policy, SHORT};

/// Bytes that come by before anything is learnt from them, outside of trials.
const GRAIN: u64 = 4096;
/// The same, where messages come singly that are known to be short: to learn is a call that keeps an answer waiting,
/// and it pollutes the branch predictor.
const GRAIN_OF_SINGLES: u64 = 65536;

/// The largest batch that a delay aims at, bytes.
const BATCH_MAX: u64 = 65536;

/// Bytes whose lines are flushed together, a power of two: one by one, the flushes hold up short messages.
const FLUSHED_AT_ONCE: u64 = 8 * LINE;

/// More than any position differs from another by.
const NEVER: u64 = u64::MAX;

/// Where the line begins in which `position` lies. Inside the bounds if that is: rings begin at multiples of 128.
const fn line_of(position: u64) -> u64 {
    position & !(LINE - 1)
}

/// The default policy: polls at once or after a delay, and flushes what it has read or leaves it, whichever is faster
/// here and now.
///
/// It reads the CPU's clock once in some thousand bytes, by RDTSC on x86-64: a process in which that instruction is
/// forbidden (`PR_SET_TSC`) takes [`Plain`](crate::Plain).
///
/// # Examples
/// ```
/// # use core::num::NonZeroU32;
/// use monshm_rbuf::{Adaptive, Consumer, StaticRing};
/// let ring = StaticRing::<64>::new();
/// let consumer = Consumer::claim_with(ring.memory(), NonZeroU32::MIN, Adaptive::default())?;
/// // The same in short, dropped first: the role is claimed once.
/// drop(consumer);
/// let consumer = Consumer::claim(ring.memory(), NonZeroU32::MIN)?;
/// # Ok::<(), monshm_rbuf::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Adaptive {
    bounds: Option<Bounds>,
    /// Spins to take before the next poll.
    spins_due: u32,
    /// The `tail` up to which the finds of polls were reported.
    reported: u64,
    /// Bytes reported that nothing was learnt from yet, fewer than the grain.
    unlearnt: u64,
    grain: u64,
    /// Whether each poll is to be reported.
    each_poll: bool,
    backoff: Backoff,
    /// The default is to flush; the alternative is not to.
    flush: Tuner,
    /// Whether a stream, or a long message, is flushed once it is read: what `flush` says.
    flushes: bool,
    /// Up to which line what was read was flushed: inside the bounds, a multiple of [`LINE`], at or before `head` in
    /// the order of reading.
    flushed: u64,
    /// How far from there `head` is when more is to be flushed, bytes: `NEVER`, and nothing is.
    flush_distance: u64,
}

impl Default for Adaptive {
    fn default() -> Self {
        Adaptive::for_size(0)
    }
}

impl Adaptive {
    fn for_size(size: u64) -> Self {
        let eighth = (size / 8).max(1);
        Adaptive {
            bounds: None,
            spins_due: 0,
            reported: 0,
            unlearnt: 0,
            grain: GRAIN,
            each_poll: false,
            backoff: Backoff::new((size / 2).min(BATCH_MAX)),
            // It takes a lap to show. The baseline is a part of the pause between trials.
            flush: Tuner::new(Config {
                sample: eighth,
                baseline: 8,
                warm_up: 8,
                trial: 8,
                cool_down: (16, 2040),
                grace_bytes: eighth,
                success: Success::Swap,
            }),
            flushes: true,
            flushed: 0,
            flush_distance: NEVER,
        }
    }

    /// Learns from polls that found `gained` more bytes since it was called the last time; `last` is what the last of
    /// them found.
    fn report(&mut self, gained: u64, last: Burst, clock: impl FnOnce() -> Option<u64>) {
        self.unlearnt += gained;
        if self.each_poll || self.unlearnt >= self.grain {
            self.learn(last, clock);
        }
    }

    fn learn(&mut self, last: Burst, clock: impl FnOnce() -> Option<u64>) {
        let gained = core::mem::take(&mut self.unlearnt);
        let mut time = None;
        let mut clock = Some(clock);
        let mut now = || *time.get_or_insert_with(|| clock.take().and_then(|clock| clock()));
        // One trial at a time: while one is under way, what the other would measure is not its own.
        if self.flush.is_on_trial() {
            self.backoff.interrupt();
        } else {
            self.backoff.observe(gained, last.message, &mut now);
        }
        if self.backoff.is_trying() {
            self.flush.interrupt();
        } else {
            let adopted = self.flush.has_adopted();
            self.flush.observe(gained, gained, last.is_stream(), &mut now);
            if self.flush.has_adopted() != adopted {
                self.backoff.start_over();
            }
        }
        self.grain = if last.is_stream() || last.message >= SHORT { GRAIN } else { GRAIN_OF_SINGLES };
        self.each_poll = self.flush.is_on_trial() || self.backoff.wants_each_poll();
        self.spins_due = self.backoff.spins();
        self.flushes = !self.flush.uses_alternative();
    }
}

impl Policy for Adaptive {
    const DELAYS_LOADS: bool = true;

    fn start(&mut self, bounds: Bounds, head: u64, tail: u64) {
        *self = Adaptive::for_size(bounds.size());
        (self.bounds, self.reported, self.flushed) = (Some(bounds), tail, line_of(head));
    }

    #[inline]
    fn take_spins(&mut self) -> u32 {
        core::mem::take(&mut self.spins_due)
    }

    fn polled(&mut self, head: u64, tail: u64, found: Burst, clock: impl FnOnce() -> Option<u64>) {
        let reported = core::mem::replace(&mut self.reported, tail);
        let gained = self.bounds.map_or(0, |bounds| bounds.distance(reported, tail));
        self.report(gained, found, clock);
        self.found(head, found);
    }

    /// 0 asks for a poll in full.
    #[inline]
    fn horizon(&self) -> u64 {
        if self.spins_due > 0 || self.each_poll { 0 } else { self.grain - self.unlearnt }
    }

    #[inline(always)]
    fn found(&mut self, head: u64, found: Burst) {
        if !found.is_stream() || !self.flushes {
            self.flush_distance = NEVER;
        } else if self.flush_distance == NEVER {
            // What was read before stays where it is.
            self.flushed = line_of(head);
            self.flush_distance = FLUSHED_AT_ONCE;
        }
    }

    #[inline(always)]
    fn is_flush_due(&self, head: u64) -> bool {
        head ^ self.flushed >= self.flush_distance
    }

    fn take_flush(&mut self, head: u64) -> [Range<u64>; 2] {
        let to = line_of(head);
        let from = core::mem::replace(&mut self.flushed, to);
        match self.bounds {
            Some(bounds) if to < from => [from..bounds.end(), bounds.begin()..to],
            _ => [from..to, 0..0],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    fn adaptive(size: u64) -> Adaptive {
        Adaptive::for_size(size)
    }

    const MESSAGE: u64 = 64;

    /// A consumer as the policy sees it: finds add up until the horizon says that the policy wants to be asked.
    struct Consumer {
        policy: Adaptive,
        unreported: u64,
        now: Cell<u64>,
        reports: u32,
    }

    impl Consumer {
        fn new(size: u64) -> Self {
            Consumer { policy: adaptive(size), unreported: 0, now: Cell::new(0), reports: 0 }
        }

        /// A poll after the spins that are due: `find(spins)` gives what it finds, and the ticks it takes. Gives the
        /// spins.
        fn poll(&mut self, find: impl FnOnce(u64) -> (u64, u64)) -> u64 {
            let spins = if self.policy.horizon() == 0 { u64::from(self.policy.take_spins()) } else { 0 };
            let (gained, ticks) = find(spins);
            self.now.set(self.now.get() + ticks);
            self.unreported += gained;
            if self.unreported >= self.policy.horizon() {
                let unreported = core::mem::take(&mut self.unreported);
                self.policy.report(unreported, Burst { gained, message: MESSAGE }, || Some(self.now.get()));
                self.reports += 1;
            }
            spins
        }
    }

    #[test]
    fn a_poll_that_found_nothing_is_repeated_at_once() {
        let mut consumer = Consumer::new(1 << 20);
        // A stream, for which a delay pays.
        let waited = (0..5000).map(|_| consumer.poll(|spins| (65 + 64 * spins, 1000 + spins))).last();
        assert!(waited > Some(0));
        assert!(consumer.policy.take_spins() > 0);
        assert_eq!(consumer.policy.take_spins(), 0, "that poll found nothing");
        consumer.poll(|_| (4096, 1));
        assert!(consumer.policy.take_spins() > 0);
    }

    #[test]
    fn where_flushing_costs_time_it_ends() {
        let mut consumer = Consumer::new(1 << 20);
        assert!(consumer.policy.flushes);
        for _ in 0..10_000 {
            let ticks = if consumer.policy.flushes { 9000 } else { 3000 };
            consumer.poll(|_| (8192, ticks));
        }
        assert!(!consumer.policy.flushes);
        // As slow as flushing was: that alone is no reason to flush again.
        let flushing = |consumer: &mut Consumer| {
            consumer.poll(|_| (8192, 9000));
            consumer.policy.flushes
        };
        assert!((0..10_000).filter(|_| flushing(&mut consumer)).count() < 2000);
    }

    #[test]
    fn single_messages_are_not_disturbed() {
        let mut consumer = Consumer::new(1 << 16);
        let mut waits = 0;
        for _ in 0..100_000 {
            waits += consumer.poll(|spins| (64, 100 + 64 * spins));
            assert!(!consumer.policy.flush.is_on_trial(), "they stay in the caches either way");
        }
        assert!(waits > 0 && waits < 1000 && consumer.reports < 1000, "{waits} spins, {} reports", consumer.reports);
    }

    #[test]
    fn single_messages_teach_less_often_than_a_stream() {
        let reports = |len: u64| {
            let mut consumer = Consumer::new(1 << 20);
            // A delay brings nothing that would not have come.
            (0..100_000).for_each(|_| _ = consumer.poll(|spins| (len, 100 + 64 * spins)));
            consumer.reports
        };
        let (single, pairs) = (reports(64), reports(128));
        assert!(single > 50 && pairs > 20 * single, "{single}, {pairs}");
    }

    #[test]
    fn a_delay_that_pays_outlasts_a_trial_of_flushing() {
        let mut consumer = Consumer::new(1 << 16);
        let (mut trials, mut waited) = (0, 0);
        for count in 0..200_000 {
            // Twice as fast with a long delay, and half as fast again with flushing.
            let slow = if consumer.policy.flushes { 2 } else { 3 };
            trials += u32::from(!consumer.policy.flushes);
            let spins = consumer.poll(|spins| (96 + 2 * spins, (100 + spins) * slow));
            waited += u32::from(count >= 10_000 && spins > 0);
        }
        assert!(trials > 0 && waited == 190_000, "{trials} {waited}");
    }

    #[test]
    fn one_thing_is_tried_at_a_time() {
        let mut consumer = Consumer::new(1 << 16);
        let (mut delays, mut flushes) = (0, 0);
        for _ in 0..1_000_000 {
            consumer.poll(|spins| (100 + 64 * spins, 100 + 64 * spins));
            let (delay, flush) = (consumer.policy.backoff.is_trying(), consumer.policy.flush.is_on_trial());
            assert!(!(delay && flush));
            delays += u32::from(delay);
            flushes += u32::from(flush);
        }
        assert!(delays > 0 && flushes > 0, "{delays} {flushes}");
        // Even where a trial of flushing is always due.
        let (sample, once) = (1, (1, 1));
        let config = Config {
            sample,
            baseline: 1,
            warm_up: 1,
            trial: 1,
            cool_down: once,
            grace_bytes: 0,
            success: Success::Swap,
        };
        let mut consumer = Consumer::new(1 << 16);
        consumer.policy.flush = Tuner::new(config);
        for _ in 0..10_000 {
            consumer.poll(|spins| (100 + 64 * spins, 100 + 64 * spins));
            assert!(!(consumer.policy.backoff.is_trying() && consumer.policy.flush.is_on_trial()));
        }
    }

    #[test]
    fn the_smallest_rings_have_a_policy_too() {
        for size in [8, 16, 64] {
            let mut consumer = Consumer::new(size);
            (0..100_000).for_each(|_| _ = consumer.poll(|_| (size - 1, 10)));
        }
    }

    #[test]
    fn streams_are_flushed_by_eight_lines_over_the_end_and_single_messages_never() {
        let bounds = Bounds::new(128, 128 + 4096, 8192).unwrap();
        let mut policy = Adaptive::default();
        policy.start(bounds, 128 + 100, 128 + 100);
        let (single, stream) = (Burst { gained: 64, message: 64 }, Burst { gained: 65, message: 64 });
        policy.found(128 + 100, single);
        assert!(!(128..bounds.end()).any(|head| policy.is_flush_due(head)));
        policy.found(128 + 100, stream);
        let due = (128 + 100..bounds.end()).find(|head| policy.is_flush_due(*head));
        assert_eq!(due, Some(128 + 512 - 128), "the end of eight lines by address");
        assert_eq!(policy.take_flush(128 + 700), [128 + 64..128 + 640, 0..0]);
        assert!(!policy.is_flush_due(128 + 703));
        policy.take_flush(bounds.end() - 32);
        assert_eq!(policy.take_flush(128 + 200), [bounds.end() - 64..bounds.end(), 128..128 + 192], "over the end");
        // A message that is long by itself is a stream.
        policy.found(128 + 200, Burst { gained: 512, message: 512 });
        assert!(policy.is_flush_due(128 + 1024));
        policy.found(128 + 200, single);
        assert!(!policy.is_flush_due(128 + 1024));
        policy.found(128 + 2000, stream);
        assert!(!policy.is_flush_due(128 + 2000), "what was read before stays where it is");
    }
}
