//! When to look at the other side's index again: a little later while a stream flows, at once when it is idle.
//!
//! Pure arithmetic on private numbers; it neither pauses nor looks, its callers do. It changes no outcome
//! of any call, only when a look takes place, and by at most [`PAUSES_MAX`] pauses (about 3 µs where a pause is 25 ns).
//!
//! # Why
//! A side that has caught up sees each message as soon as it is published, so that each publication moves the
//! index line and the data line between the cores, and both sides run at the speed of that. Left alone until
//! some hundred lines have gathered, they run at the speed of the memory. So the first look after one that
//! found something waits a little, as long as waiting is seen to pay: twice the wait must bring about twice
//! the bytes, as only a stream does. In an exchange of messages it does not; then the wait is tried ever more
//! seldom, and only at the moment when the next message cannot be there yet. A look after an empty one never
//! waits.

/// The longest wait before a look, in pauses.
const PAUSES_MAX: u32 = 128;
/// The wait of a trial, in pauses: longer than a line takes from core to core, or a stream has no time to show.
const TRIAL: u32 = 16;
/// Looks between two trials, at first and at most.
const TRIAL_EVERY: (u32, u32) = (4, 512);
/// What is worth waiting for, in bytes.
const WORTH: u64 = 16384;

/// What one side has learnt about the rhythm of the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Pauses before the next first look; 0 while no stream flows.
    patience: u32,
    /// What half that wait brought; 0 where there is nothing to compare with.
    by_half: u64,
    /// First looks until the next trial, and from one trial to the next.
    trial_in: u32,
    trial_every: u32,
    /// Whether the last look found something.
    found: bool,
}

impl Pace {
    pub(crate) const fn new() -> Self {
        Pace { patience: 0, by_half: 0, trial_in: TRIAL_EVERY.0, trial_every: TRIAL_EVERY.0, found: false }
    }

    /// Pauses to take before the look that comes now.
    #[inline]
    pub(crate) fn before_look(&mut self) -> u32 {
        if !core::mem::take(&mut self.found) {
            return 0;
        }
        if self.patience == 0 {
            if self.trial_in > 0 {
                self.trial_in -= 1;
                return 0;
            }
            self.trial_in = self.trial_every;
            return TRIAL;
        }
        self.patience
    }

    /// Learns from a look after `waited` pauses that found `gained` more bytes, where `need` were wanted of a
    /// ring of `size`.
    #[inline]
    pub(crate) fn after_look(&mut self, waited: u32, gained: u64, need: u64, size: u64) {
        self.found = gained > 0;
        if waited == 0 {
            return;
        }
        let worth = WORTH.min(size / 8);
        if gained >= worth {
            self.patience = if gained > 2 * worth { waited * 3 / 4 } else { waited };
            self.by_half = 0;
            self.trial_every = TRIAL_EVERY.0;
        } else if gained < need.saturating_mul(2) || gained * 2 < self.by_half * 3 {
            // What came is one exchange: it would have come as well without the wait.
            self.patience = 0;
            self.by_half = 0;
            self.trial_every = (self.trial_every * 2).min(TRIAL_EVERY.1);
        } else if waited < PAUSES_MAX {
            self.patience = (waited * 2).min(PAUSES_MAX);
            self.by_half = gained;
        } else {
            // As long as it gets. Half of it next, so that the comparison goes on.
            self.patience = PAUSES_MAX / 2;
            self.by_half = 0;
            self.trial_every = TRIAL_EVERY.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pauses for each of many exchanges: `found` bytes come in one go, whatever the wait, then nothing.
    fn exchange(found: u64, need: u64) -> f64 {
        const EXCHANGES: u32 = 100_000;
        let mut pace = Pace::new();
        let mut pauses = 0;
        for _ in 0..EXCHANGES {
            let waited = pace.before_look();
            pauses += waited;
            pace.after_look(waited, found, need, 1 << 20);
            let waited = pace.before_look();
            pauses += waited;
            pace.after_look(waited, 0, need, 1 << 20);
            assert_eq!(pace.before_look(), 0, "never after an empty look");
            pace.found = true;
        }
        f64::from(pauses) / f64::from(EXCHANGES)
    }

    #[test]
    fn exchanges_are_hardly_ever_waited_for() {
        assert!(exchange(64, 64) < 0.1, "single messages");
        assert!(exchange(72, 8) < 0.25, "a header and a body");
        assert!(exchange(4000, 1) < 0.25, "whatever is there");
    }

    /// The wait that a stream of `per_pause` bytes settles at.
    fn stream(pace: &mut Pace, per_pause: u64) -> u32 {
        pace.found = true;
        for _ in 0..100 {
            let waited = pace.before_look();
            pace.after_look(waited, 64 + per_pause * u64::from(waited), 64, 1 << 20);
        }
        pace.patience
    }

    #[test]
    fn a_stream_is_given_time_to_gather_and_a_flood_is_not() {
        let mut pace = Pace::new();
        assert!((32..=64).contains(&stream(&mut pace, 512)), "16 KiB gather in 32 pauses: {pace:?}");
        let mut pace = Pace::new();
        assert!(stream(&mut pace, 64) >= PAUSES_MAX / 2, "a slow stream is given the longest: {pace:?}");
        for _ in 0..100 {
            let waited = pace.before_look();
            pace.after_look(waited, 1 << 19, 64, 1 << 20);
        }
        assert!(pace.patience <= TRIAL, "more is there than is worth a wait: {pace:?}");
    }
}
