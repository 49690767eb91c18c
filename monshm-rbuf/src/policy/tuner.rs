//! Whether an alternative setting moves bytes faster than the default one, here and now: found by trial.
//!
//! Pure arithmetic on private numbers and on a clock that its caller reads. It does not know what the setting does.
//! Without a clock it stays with the default.
//!
//! What is compared is ticks per KiB, whichever side is the slower one. A trial that does not bring a tenth is
//! abandoned, at once when it takes twice the time, and the next one comes four times as late: so an exchange of
//! messages, or a stream at its best, is hardly ever disturbed. What becomes of an alternative that pays is the
//! configuration's to say: [`Success`].
//!
//! ```text
//! CoolDown ──► Baseline ──► WarmUp ──► Trial ──► Adopted (`Success::Adopt`)
//!    ▲        (default,    (alternative)          │ ▲ │
//!    │         timed)        │           │        │ └─┘ still a tenth faster
//!    └───────────────────────┴───────────┴────────┘ not a tenth faster, or `abandon`; or `Success::Swap`
//! ```

/// How trials go; the same for the life of a [`Tuner`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    /// Progress of one sample, in the unit that is given to [`Tuner::observe`].
    pub(crate) sample: u64,
    /// Samples of the default setting that are timed before a trial.
    pub(crate) baseline: u32,
    /// Samples of a trial before those that count.
    pub(crate) warm_up: u32,
    /// Samples of a trial that count.
    pub(crate) trial: u32,
    /// Samples between two trials: at first, and at most.
    pub(crate) cool_down: (u32, u32),
    /// Bytes over which a trial must have taken twice the time before it is abandoned within a phase.
    pub(crate) grace_bytes: u64,
    pub(crate) success: Success,
}

/// What follows a trial that paid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Success {
    /// The alternative is in use for as long as it stays a tenth faster than the default was. The default is not tried
    /// in between: what gathered under the alternative would make it look fast.
    Adopt,
    /// The alternative is the default from then on, and the other is tried in its turn.
    Swap,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    CoolDown,
    Baseline,
    WarmUp,
    Trial,
    Adopted,
}

/// The time that some samples took.
#[derive(Clone, Copy, Debug, Default)]
struct Measurement {
    samples: u32,
    ticks: u64,
    bytes: u64,
    /// Ticks and bytes of the longest sample.
    longest: (u64, u64),
}

impl Measurement {
    fn add(&mut self, ticks: u64, bytes: u64) {
        self.samples += 1;
        self.ticks = self.ticks.saturating_add(ticks);
        self.bytes = self.bytes.saturating_add(bytes);
        if ticks >= self.longest.0 {
            self.longest = (ticks, bytes);
        }
    }

    /// Ticks per KiB, without the longest of several samples: that may be an interruption of this process.
    fn cost(&self) -> u64 {
        let (ticks, bytes) = if self.samples > 1 { self.longest } else { (0, 0) };
        ticks_per_kib(self.ticks - ticks, self.bytes - bytes)
    }
}

fn ticks_per_kib(ticks: u64, bytes: u64) -> u64 {
    (ticks << 10) / bytes.max(1)
}

/// What has been learnt, and what is being tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuner {
    config: Config,
    phase: Phase,
    /// Whether the two settings have changed places.
    is_swapped: bool,
    /// Samples until the phase ends.
    samples_left: u32,
    /// Samples of the next cool-down.
    cool_down: u32,
    /// The default setting, as it was before the last trial.
    baseline: Measurement,
    /// The samples of the present phase that are complete.
    measured: Measurement,
    /// When the present sample began, ticks; `None` where the phase is to be measured anew.
    began: Option<u64>,
    /// Progress and bytes of the present sample.
    progress: u64,
    bytes: u64,
}

impl Tuner {
    pub(crate) const fn new(config: Config) -> Self {
        let none = Measurement { samples: 0, ticks: 0, bytes: 0, longest: (0, 0) };
        Tuner {
            config,
            phase: Phase::CoolDown,
            is_swapped: false,
            samples_left: config.cool_down.0,
            cool_down: config.cool_down.0,
            baseline: none,
            measured: none,
            began: None,
            progress: 0,
            bytes: 0,
        }
    }

    /// Whether the setting that was not the default at first is in use.
    #[inline(always)]
    pub(crate) fn uses_alternative(&self) -> bool {
        self.is_swapped != matches!(self.phase, Phase::WarmUp | Phase::Trial | Phase::Adopted)
    }

    /// Whether the alternative is on trial.
    #[inline(always)]
    pub(crate) fn is_on_trial(&self) -> bool {
        matches!(self.phase, Phase::WarmUp | Phase::Trial)
    }

    /// Whether the default is in use, and untimed.
    pub(crate) fn is_cooling_down(&self) -> bool {
        self.phase == Phase::CoolDown
    }

    /// Whether the setting that was not the default at first has been found to pay.
    pub(crate) fn has_adopted(&self) -> bool {
        self.is_swapped || self.phase == Phase::Adopted
    }

    /// Bytes that came by while the default was timed.
    pub(crate) fn baseline_bytes(&self) -> u64 {
        self.baseline.bytes
    }

    /// Counts `bytes` that came by, which are so much `progress`. `affected`: whether the setting matters to bytes like
    /// these; no trial begins with others. Reads the clock at the end of a sample, and on trial each time.
    pub(crate) fn observe(&mut self, progress: u64, bytes: u64, affected: bool, clock: impl FnOnce() -> Option<u64>) {
        self.progress = self.progress.saturating_add(progress);
        self.bytes = self.bytes.saturating_add(bytes);
        let is_complete = self.progress >= self.config.sample;
        if self.phase == Phase::CoolDown {
            if is_complete {
                (self.progress, self.bytes) = (0, 0);
                self.samples_left = self.samples_left.saturating_sub(1);
            }
            if !is_complete || self.samples_left > 0 || !affected {
                return;
            }
        } else if !is_complete && !self.is_on_trial() && self.began.is_some() {
            return;
        }
        match (clock(), self.began) {
            (None, _) => (self.phase, self.samples_left) = (Phase::CoolDown, self.config.cool_down.1),
            (Some(now), _) if self.phase == Phase::CoolDown => self.begin(Phase::Baseline, now),
            (Some(now), None) => self.begin(self.phase, now),
            (Some(now), Some(began)) => self.measure(now, now.saturating_sub(began), is_complete),
        }
    }

    /// Counts nothing of what goes by now: another setting is on trial.
    pub(crate) fn interrupt(&mut self) {
        self.began = None;
    }

    /// Goes back to the default. The next trial comes later if this one brought nothing.
    pub(crate) fn abandon(&mut self) {
        if self.phase != Phase::Adopted {
            self.cool_down = self.cool_down.saturating_mul(4).min(self.config.cool_down.1);
        }
        self.cool();
    }

    fn cool(&mut self) {
        (self.phase, self.samples_left, self.progress, self.bytes) = (Phase::CoolDown, self.cool_down, 0, 0);
    }

    /// Forgets what was learnt: it was learnt under other circumstances.
    pub(crate) fn start_over(&mut self) {
        *self = Tuner::new(self.config);
    }

    fn begin(&mut self, phase: Phase, now: u64) {
        self.phase = phase;
        self.samples_left = match phase {
            Phase::CoolDown => self.cool_down,
            Phase::Baseline => self.config.baseline,
            Phase::WarmUp => self.config.warm_up,
            Phase::Trial | Phase::Adopted => self.config.trial,
        };
        self.measured = Measurement::default();
        (self.began, self.progress, self.bytes) = (Some(now), 0, 0);
    }

    /// `ticks` have gone by since the present sample began.
    fn measure(&mut self, now: u64, ticks: u64, is_complete: bool) {
        if self.is_on_trial() {
            let bytes = self.measured.bytes.saturating_add(self.bytes).max(self.config.grace_bytes);
            let cost = ticks_per_kib(self.measured.ticks.saturating_add(ticks), bytes);
            if cost > self.baseline.cost().saturating_mul(2) {
                return self.abandon();
            }
        }
        if !is_complete {
            return;
        }
        self.measured.add(ticks, self.bytes);
        (self.began, self.progress, self.bytes) = (Some(now), 0, 0);
        self.samples_left = self.samples_left.saturating_sub(1);
        if self.samples_left == 0 {
            self.end_phase(now);
        }
    }

    fn end_phase(&mut self, now: u64) {
        match self.phase {
            Phase::CoolDown => {}
            Phase::Baseline => {
                self.baseline = self.measured;
                self.begin(Phase::WarmUp, now);
            }
            Phase::WarmUp => self.begin(Phase::Trial, now),
            Phase::Trial | Phase::Adopted => {
                if self.measured.cost().saturating_mul(10) >= self.baseline.cost().saturating_mul(9) {
                    return self.abandon();
                }
                if self.config.success == Success::Adopt {
                    self.cool_down = self.config.cool_down.0;
                    return self.begin(Phase::Adopted, now);
                }
                // Settings that are as good as each other change places now and then: that is no reason to hurry.
                self.cool_down = (self.cool_down / 2).max(self.config.cool_down.0);
                self.is_swapped = !self.is_swapped;
                self.cool();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    const CONFIG: Config = Config {
        sample: 1024,
        baseline: 4,
        warm_up: 1,
        trial: 4,
        cool_down: (4, 64),
        grace_bytes: 1024,
        success: Success::Adopt,
    };

    /// Moves `kib` KiB, message by message, where each setting takes its number of ticks per KiB; tells how many KiB
    /// went by in each.
    fn run(tuner: &mut Tuner, now: &Cell<u64>, ticks: [u64; 2], kib: u64) -> [u64; 2] {
        let mut with = [0; 2];
        for _ in 0..kib * 16 {
            let setting = usize::from(tuner.uses_alternative());
            with[setting] += 1;
            now.set(now.get() + ticks[setting] / 16);
            tuner.observe(64, 64, true, || Some(now.get()));
        }
        with.map(|count| count / 16)
    }

    #[test]
    fn the_faster_setting_is_found_and_kept() {
        for faster in 0..2 {
            let (mut tuner, now) = (Tuner::new(CONFIG), Cell::new(0));
            let mut ticks = [3200; 2];
            ticks[faster] = 1600;
            run(&mut tuner, &now, ticks, 100);
            assert_eq!(usize::from(tuner.has_adopted()), faster);
            let with = run(&mut tuner, &now, ticks, 2000);
            assert!(with[faster] > 1700, "{with:?}");
        }
    }

    #[test]
    fn a_change_of_the_machine_is_followed() {
        let (mut tuner, now) = (Tuner::new(CONFIG), Cell::new(0));
        run(&mut tuner, &now, [1600, 3200], 500);
        assert!(!tuner.has_adopted());
        run(&mut tuner, &now, [16000, 3200], 500);
        assert!(tuner.has_adopted());
        run(&mut tuner, &now, [1600, 16000], 500);
        assert!(!tuner.has_adopted());
    }

    #[test]
    fn equal_settings_are_left_alone() {
        let (mut tuner, now) = (Tuner::new(CONFIG), Cell::new(0));
        let with = run(&mut tuner, &now, [1600, 1500], 4000);
        assert!(!tuner.has_adopted(), "less than a tenth is no reason");
        assert!(with[1] < 400, "and trials become rare: {with:?}");
    }

    #[test]
    fn a_setting_that_pays_is_tried_again_soon_after_it_was_dropped() {
        let (mut tuner, now) = (Tuner::new(CONFIG), Cell::new(0));
        run(&mut tuner, &now, [1600, 1600], 2000);
        assert_eq!(tuner.cool_down, CONFIG.cool_down.1);
        run(&mut tuner, &now, [3200, 1600], 200);
        assert!(tuner.has_adopted() && tuner.cool_down == CONFIG.cool_down.0);
        while tuner.has_adopted() {
            run(&mut tuner, &now, [3200, 3200], 1);
        }
        assert_eq!(tuner.cool_down, CONFIG.cool_down.0, "it had paid, and is tried again as soon as at first");
    }

    /// Observes until a trial begins.
    fn until_on_trial(tuner: &mut Tuner, now: &mut u64) {
        while !tuner.is_on_trial() {
            *now += 100;
            tuner.observe(64, 64, true, || Some(*now));
        }
    }

    #[test]
    fn a_trial_that_takes_twice_the_time_ends_within_the_sample() {
        let (mut tuner, mut now) = (Tuner::new(CONFIG), 0);
        until_on_trial(&mut tuner, &mut now);
        let mut message = |ticks: u64| {
            now += ticks;
            tuner.observe(64, 64, true, || Some(now));
            tuner.is_on_trial()
        };
        // A sixteenth of a sample each, of which one takes 1,600.
        assert!(message(1000) && message(1000) && message(1000), "not yet twice the time of a sample");
        assert!(!message(1000), "that is seen at once, and not at the end of the sample");
    }

    #[test]
    fn no_trial_begins_with_bytes_to_which_the_setting_does_not_matter() {
        let (mut tuner, mut now) = (Tuner::new(CONFIG), 0);
        let mut message = |affected: bool| {
            now += 100;
            tuner.observe(64, 64, affected, || Some(now));
            tuner.is_on_trial()
        };
        assert!((0..10_000).all(|_| !message(false)));
        assert!((0..200).any(|_| message(true)), "that is made up for later");
    }

    #[test]
    fn settings_that_swap_are_held_until_the_other_is_faster() {
        let (mut tuner, now) = (Tuner::new(Config { success: Success::Swap, ..CONFIG }), Cell::new(0));
        run(&mut tuner, &now, [3200, 1600], 2000);
        assert!(tuner.has_adopted());
        run(&mut tuner, &now, [3200, 3200], 2000);
        assert!(tuner.has_adopted(), "as slow as the other, and not slower");
        assert_eq!(tuner.cool_down, CONFIG.cool_down.1);
        while tuner.has_adopted() {
            run(&mut tuner, &now, [1600, 3200], 1);
        }
        assert_eq!(tuner.cool_down, CONFIG.cool_down.1 / 2);
    }

    #[test]
    fn an_interruption_is_not_taken_for_a_slow_setting() {
        // In each message of a baseline in turn.
        for at in 0..64 {
            let (mut tuner, mut now, mut count) = (Tuner::new(CONFIG), 0, 0);
            while !tuner.is_on_trial() {
                now += if count == 64 + at { 1_000_000 } else { 100 };
                count += u32::from(!tuner.is_cooling_down());
                if tuner.is_cooling_down() {
                    count = 64;
                }
                tuner.observe(64, 64, true, || Some(now));
            }
            assert_eq!(tuner.baseline.cost(), 1600, "interrupted at {at}");
        }
    }

    #[test]
    fn what_goes_by_during_an_interruption_is_not_counted() {
        let (mut tuner, now) = (Tuner::new(CONFIG), Cell::new(0));
        run(&mut tuner, &now, [3200, 1600], 100);
        assert!(tuner.has_adopted());
        for _ in 0..100 {
            // Another setting is on trial, and slow.
            now.set(now.get() + 1_000_000);
            tuner.interrupt();
            run(&mut tuner, &now, [3200, 1600], 1);
            assert!(tuner.has_adopted());
        }
    }

    #[test]
    fn without_a_clock_nothing_is_tried() {
        let mut tuner = Tuner::new(CONFIG);
        for _ in 0..10_000 {
            tuner.observe(4096, 4096, true, || None);
            assert!(!tuner.uses_alternative());
        }
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_does_no_harm() {
        let (mut tuner, mut now) = (Tuner::new(CONFIG), u64::MAX);
        for step in 0..10_000_u64 {
            now = if step % 3 == 0 { now } else { now.wrapping_sub(step << 50) };
            tuner.observe((step * step) << 20, (step * step) << 20, true, || Some(now));
        }
    }
}
