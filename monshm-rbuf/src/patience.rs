//! How long to leave the producer alone after a look that found something.
//!
//! Pure arithmetic on private numbers and on a clock that its caller reads; without a clock it never waits.
//!
//! What is compared is the rate at which bytes come by, whoever is the slower side: first looking at once, then with a wait.
//! A wait that does not make it a tenth faster is given up, and tried ever more seldom: so the messages of an
//! exchange, or of a producer that takes its time, are hardly ever kept waiting. A wait that pays is kept for as long as
//! the rate stays above what it was without. It is not tried without again while that holds: what gathered during
//! the waits would make that look fast for a while, whatever comes after.

/// The first wait, and the longest, pauses.
const FIRST: u32 = 32;
const LONGEST: u32 = 1024;

/// Looks over which the time is taken, without a wait and with one; and those before, in which the wait finds its length.
const PLAIN: u32 = 32;
const WAITED: u32 = 16;
const SETTLE: u32 = 12;

/// How often the caller tells of looks before a wait is tried: at first, and at most.
const REST: (u32, u32) = (4, 1 << 17);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Looks at once, and takes no time.
    Rest,
    /// Looks at once, and takes the time.
    Plain,
    /// Waits, for the first time, and finds out how long.
    Settle,
    /// Waits, and takes the time: whether it pays.
    Trial,
    /// Waits.
    Waits,
}

/// What has been learnt, and what is being tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    phase: Phase,
    /// Looks until the phase ends, or its time is taken again; at rest, how often the caller tells of some.
    left: u32,
    /// How long to rest the next time.
    rest: u32,
    wait: u32,
    /// What a wait should bring, bytes.
    heap: u64,
    /// Ticks per KiB without a wait.
    cost: u64,
    began: u64,
    bytes: u64,
}

impl Patience {
    /// `heap`: what a wait should bring, bytes. Enough not to be caught up with at once, and little beside the ring.
    pub(crate) const fn new(heap: u64) -> Self {
        Patience { phase: Phase::Rest, left: REST.0, rest: REST.0, wait: 0, heap, cost: 0, began: 0, bytes: 0 }
    }

    /// Pauses to take before a look that follows one that found something.
    #[inline(always)]
    pub(crate) fn pauses(&self) -> u32 {
        self.wait
    }

    /// Whether time is being taken that should not be disturbed.
    #[inline(always)]
    pub(crate) fn is_trying(&self) -> bool {
        matches!(self.phase, Phase::Plain | Phase::Settle | Phase::Trial)
    }

    /// Whether each look counts by itself.
    pub(crate) fn wants_each_look(&self) -> bool {
        self.phase != Phase::Rest
    }

    /// Learns from looks that found `gained` more bytes; from one, where each counts. A message has `message`.
    pub(crate) fn after_looks(&mut self, gained: u64, message: u64, clock: impl FnOnce() -> Option<u64>) {
        self.left -= 1;
        self.bytes += gained;
        if self.wait > 0 && gained <= message {
            // One message, which would have come as well without the wait.
            return self.look_at_once();
        }
        if self.wait > 0 {
            // Longer for too little, shorter for too much.
            if gained < self.heap / 4 {
                self.wait = (self.wait * 2).min(LONGEST);
            } else if gained > self.heap {
                self.wait = (self.wait / 2).max(1);
            }
        }
        let in_trial = matches!(self.phase, Phase::Settle | Phase::Trial);
        if self.left > 0 && !in_trial {
            return;
        }
        let Some(now) = clock() else {
            self.left = REST.1;
            return;
        };
        let cost = (now.saturating_sub(self.began) << 10) / self.bytes.max(1);
        if in_trial && cost > self.cost.saturating_mul(2) {
            // Twice the time: that is seen at once.
            return self.look_at_once();
        }
        if self.left > 0 {
            return;
        }
        match self.phase {
            Phase::Rest => (self.phase, self.left) = (Phase::Plain, PLAIN),
            // A wait would have nothing to add.
            Phase::Plain if self.bytes >= self.heap / 4 * u64::from(PLAIN) => return self.look_at_once(),
            Phase::Plain => {
                self.cost = cost;
                (self.phase, self.left, self.wait) = (Phase::Settle, SETTLE, FIRST);
            }
            Phase::Settle => (self.phase, self.left) = (Phase::Trial, WAITED),
            Phase::Trial | Phase::Waits => {
                if cost.saturating_mul(10) >= self.cost.saturating_mul(9) {
                    return self.look_at_once();
                }
                (self.phase, self.left, self.rest) = (Phase::Waits, WAITED, REST.0);
            }
        }
        (self.began, self.bytes) = (now, 0);
    }

    /// What goes by now is not to be counted.
    pub(crate) fn interrupt(&mut self, clock: impl FnOnce() -> Option<u64>) {
        if self.phase == Phase::Waits {
            if let Some(now) = clock() {
                (self.left, self.began, self.bytes) = (WAITED, now, 0);
            }
        }
    }

    /// Forgets what was learnt: it was learnt under other circumstances.
    pub(crate) fn start_over(&mut self) {
        *self = Patience::new(self.heap);
    }

    /// Waits no more.
    fn look_at_once(&mut self) {
        if self.phase != Phase::Waits {
            self.rest = (self.rest * 4).min(REST.1);
        }
        (self.phase, self.left, self.wait) = (Phase::Rest, self.rest, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    const HEAP: u64 = 65536;

    /// Lets looks and what they bring follow each other: `look(waited)` gives the bytes that a look after that wait
    /// finds, and the ticks until the next. Gives the pauses per look.
    fn looks(patience: &mut Patience, count: u32, need: u64, look: impl Fn(u32) -> (u64, u64)) -> f64 {
        let now = Cell::new(0);
        let mut pauses = 0;
        for _ in 0..count {
            let waited = patience.pauses();
            pauses += u64::from(waited);
            let (gained, ticks) = look(waited);
            now.set(now.get() + ticks);
            patience.after_looks(gained, need, || Some(now.get()));
        }
        pauses as f64 / f64::from(count)
    }

    /// Each look costs 1000 ticks of both sides' time, a pause 64; the stream flows meanwhile.
    fn gathers(waited: u32) -> (u64, u64) {
        (96 + 500 * u64::from(waited), 1000 + 64 * u64::from(waited))
    }

    /// A message of 64 bytes each 1000 ticks, whoever looks when.
    fn takes_its_time(waited: u32) -> (u64, u64) {
        let messages = 1 + 64 * u64::from(waited) / 1000;
        (64 * messages, 1000 * messages)
    }

    #[test]
    fn exchanges_are_hardly_ever_waited_for() {
        let exchange = |len| move |waited: u32| (len, 500 + 64 * u64::from(waited));
        assert!(looks(&mut Patience::new(HEAP), 200_000, 64, exchange(64)) < 0.01, "single messages");
        assert!(looks(&mut Patience::new(HEAP), 200_000, 8, exchange(72)) < 1.0, "a header and a body");
        assert!(looks(&mut Patience::new(HEAP), 200_000, 1, exchange(4000)) < 1.0, "whatever is there");
    }

    #[test]
    fn a_trial_ends_with_the_first_single_message() {
        let mut patience = Patience::new(HEAP);
        let (mut now, mut trials) = (0, 0);
        for _ in 0..100_000 {
            let waited = patience.pauses();
            now += 500 + 64 * u64::from(waited);
            patience.after_looks(64, 64, || Some(now));
            if waited > 0 {
                trials += 1;
                assert_eq!(patience.pauses(), 0, "the wait brought what would have come anyway");
            }
        }
        assert!(trials > 2, "{trials}");
    }

    #[test]
    fn a_stream_that_gathers_is_given_time() {
        assert!(looks(&mut Patience::new(HEAP), 20_000, 64, gathers) > 16.0);
    }

    #[test]
    fn a_producer_that_takes_its_time_is_not_waited_for() {
        assert!(looks(&mut Patience::new(HEAP), 1_000_000, 64, takes_its_time) < 0.5);
    }

    #[test]
    fn what_has_gathered_anyway_is_not_waited_for() {
        // More is there at each look than anybody waits for.
        let full = |waited: u32| (1 << 19, 100_000 + 6400 * u64::from(waited));
        assert!(looks(&mut Patience::new(HEAP), 20_000, 64, full) < 1.0);
    }

    #[test]
    fn a_wait_that_takes_twice_the_time_ends_at_once() {
        let (mut patience, mut now, mut waits) = (Patience::new(HEAP), 0, 0);
        for _ in 0..REST.0 + PLAIN + REST.0 * 4 {
            waits += u32::from(patience.pauses() > 0);
            now += 1000 + 64 * u64::from(patience.pauses());
            patience.after_looks(1000, 64, || Some(now));
        }
        assert_eq!(waits, 1);
    }

    #[test]
    fn a_stream_that_slows_down_is_waited_for_no_more() {
        let mut patience = Patience::new(HEAP);
        looks(&mut patience, 1000, 64, gathers);
        assert!(patience.pauses() > 0);
        looks(&mut patience, WAITED + REST.0 + PLAIN, 64, takes_its_time);
        assert_eq!(patience.pauses(), 0, "several messages each time, and no faster for it");
        looks(&mut patience, 1000, 64, gathers);
        assert!(patience.pauses() > 0, "and is soon tried again");
        patience.after_looks(64, 64, || None);
        assert_eq!(patience.pauses(), 0, "a single message");
    }

    #[test]
    fn the_wait_finds_its_length() {
        for per_pause in [30, 300, 3000] {
            let mut patience = Patience::new(HEAP);
            looks(&mut patience, 2000, 64, |waited| (96 + per_pause * u64::from(waited), 1000 + 3 * u64::from(waited)));
            let brought = 96 + per_pause * u64::from(patience.pauses());
            let in_range = brought >= HEAP / 4 || patience.pauses() == LONGEST;
            assert!(in_range && brought <= HEAP, "{} pauses bring {brought}", patience.pauses());
        }
    }

    #[test]
    fn without_a_clock_nobody_waits() {
        let mut patience = Patience::new(HEAP);
        for _ in 0..100_000 {
            patience.after_looks(4096, 64, || None);
            assert_eq!(patience.pauses(), 0);
        }
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_does_no_harm() {
        let (mut patience, mut now) = (Patience::new(HEAP), u64::MAX);
        for step in 0..100_000_u64 {
            now = if step % 3 == 0 { now } else { now.wrapping_sub(step << 50) };
            patience.after_looks(step % 7 * 64, 64, || Some(now));
        }
    }
}
