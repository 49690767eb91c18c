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

/// Looks before a wait is tried: at first, and at most.
const REST: (u32, u32) = (64, 1 << 20);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Looks at once, and takes no time.
    Rest,
    /// Looks at once, and takes the time.
    Plain,
    /// Waits, for the first time; takes no time.
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
    /// Looks until the phase ends, or its time is taken again.
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

    /// Learns from a look that found `gained` more bytes, where `need` were wanted.
    #[inline(always)]
    pub(crate) fn after_look(&mut self, gained: u64, need: u64, clock: impl FnOnce() -> Option<u64>) {
        self.left -= 1;
        if self.phase == Phase::Rest && self.left > 0 {
            return;
        }
        self.after_counted_look(gained, need, clock);
    }

    #[inline(never)]
    fn after_counted_look(&mut self, gained: u64, need: u64, clock: impl FnOnce() -> Option<u64>) {
        self.bytes += gained;
        if self.wait > 0 && gained <= need {
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
        if self.left > 0 {
            return;
        }
        let Some(now) = clock() else {
            self.left = REST.1;
            return;
        };
        let cost = (now.saturating_sub(self.began) << 10) / self.bytes;
        match self.phase {
            Phase::Rest => (self.phase, self.left) = (Phase::Plain, PLAIN),
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

    /// Waits no more.
    fn look_at_once(&mut self) {
        if self.phase != Phase::Waits {
            self.rest = (self.rest * 4).min(REST.1);
        }
        (self.phase, self.left, self.wait) = (Phase::Rest, self.rest, 0);
    }
}
