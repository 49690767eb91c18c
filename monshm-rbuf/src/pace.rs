//! When to look at the other side's index again: a little later while a stream flows, at once when it is idle.
//!
//! Pure arithmetic on private numbers; it neither pauses nor looks, its callers do. It changes no outcome
//! of any call, only when a look takes place, and by at most [`PAUSES_MAX`] pauses (about a microsecond).
//!
//! # Why
//! A side that has caught up sees each message as soon as it is published, so that each publication moves the
//! index line and the data line between the cores, and both sides run at the speed of that. Left alone for
//! some tens of lines, they run at the speed of the memory. So the first look after one that found something
//! waits a little, if waiting has been seen to pay: if more than was needed had come together meanwhile. In
//! an exchange of single messages it never pays; then the wait is tried ever more seldom, and only at the
//! moment when the next message cannot be there yet. A look after an empty one never waits.

/// The longest wait before a look, in pauses.
const PAUSES_MAX: u32 = 128;
/// The wait of a trial, in pauses.
const TRIAL: u32 = 4;
/// Looks between two trials, at first and at most.
const TRIAL_EVERY: (u32, u32) = (4, 1024);
/// What is worth waiting for, in bytes.
const WORTH: u64 = 4096;

/// What one side has learnt about the rhythm of the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Pauses before the next first look; 0 while no stream flows.
    patience: u32,
    /// First looks until the next trial, and from one trial to the next.
    trial_in: u32,
    trial_every: u32,
    /// Whether the last look found something.
    found: bool,
}

impl Pace {
    pub(crate) const fn new() -> Self {
        Pace { patience: 0, trial_in: TRIAL_EVERY.0, trial_every: TRIAL_EVERY.0, found: false }
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
        if gained < need.saturating_mul(2) {
            // What came is what an exchange of single messages brings: the wait was for nothing.
            self.patience = 0;
            self.trial_every = (self.trial_every * 2).min(TRIAL_EVERY.1);
        } else {
            self.trial_every = TRIAL_EVERY.0;
            self.patience = match gained {
                _ if gained < worth => (waited * 2).min(PAUSES_MAX),
                _ if gained > 2 * worth => waited * 3 / 4,
                _ => waited,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_messages_are_hardly_ever_waited_for() {
        let mut pace = Pace::new();
        let mut pauses = 0;
        for _ in 0..100_000 {
            let waited = pace.before_look();
            pauses += waited;
            pace.after_look(waited, 64, 64, 1 << 20);
            assert_eq!(pace.before_look() * u32::from(pace.patience > 0), 0);
            pace.after_look(0, 0, 64, 1 << 20);
            assert_eq!(pace.before_look(), 0, "never after an empty look");
            pace.found = true;
        }
        assert!(pauses < 100_000 / 100, "{pauses} pauses");
    }

    #[test]
    fn a_stream_is_given_time_to_gather_and_a_flood_is_not() {
        let mut pace = Pace::new();
        pace.found = true;
        for _ in 0..100 {
            let waited = pace.before_look();
            // 16 bytes for each pause.
            pace.after_look(waited, 64 + 16 * u64::from(waited) * 4, 64, 1 << 20);
        }
        assert!(pace.patience >= 32 && pace.patience <= PAUSES_MAX, "{pace:?}");
        for _ in 0..100 {
            let waited = pace.before_look();
            pace.after_look(waited, 1 << 19, 64, 1 << 20);
        }
        assert!(pace.patience <= TRIAL, "{pace:?}");
    }
}
